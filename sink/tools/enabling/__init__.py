"""Puts our pieces of configuration into the mail host's programs, and takes them out again."""
