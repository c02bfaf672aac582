"""postsink: Postfix log lines in, one pseudonymous row per delivery out."""

__version__ = "0.1.0"
