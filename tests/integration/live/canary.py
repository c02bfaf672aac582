"""Looks for raw text of a log in every file that a test left.

All names in our logs are of example.com, .net and .org, all clients of the documentation networks: so these words are
the canary, in every form that tests/leak knows.
"""

from __future__ import annotations

from pathlib import Path

from tests.leak.canaries import Searcher

WORDS = (b"example.com", b"example.net", b"example.org", b"198.51.100.", b"203.0.113.", b"canary")
OURS = {"postsink.yaml"}  # local_domains stand there, by their operator's hand
_SEARCHER = Searcher(WORDS)


def leaks(*folders: Path) -> list[str]:
    """Return each file with raw text in it, or in its name."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if _SEARCHER.find(bytes(path.relative_to(folder))):
                found.append(f"the name of {path}")
            if path.is_file() and not path.is_symlink() and path.name not in OURS:
                words = _SEARCHER.find(path.read_bytes())
                if words:
                    found.append(f"{path} holds {words}")
    return found
