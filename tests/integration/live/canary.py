"""Looks for raw text of a log in every file that a test left.

All names in our logs are of example.com, .net and .org, all clients of the documentation networks: so these words are
the canary, plain, in UTF-16, in hex, and in base64 at each of its three phases.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from pathlib import Path

WORDS = (b"example.com", b"example.net", b"example.org", b"198.51.100.", b"203.0.113.", b"canary")
OURS = {"postsink.yaml"}  # local_domains stand there, by their operator's hand


def _forms(word: bytes) -> Iterable[bytes]:
    yield word
    yield word.decode().encode("utf-16-le")
    yield word.hex().encode()
    for phase in range(3):
        # The letters at both ends depend on the neighbours.
        yield base64.b64encode(b"\0" * phase + word)[phase and phase + 1 : -4]


_CANARY = re.compile(b"|".join(re.escape(form) for word in WORDS for form in _forms(word)), re.IGNORECASE)


def leaks(*folders: Path) -> list[str]:
    """Return each file with raw text in it, or in its name."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if _CANARY.search(bytes(path.relative_to(folder))):
                found.append(f"the name of {path}")
            if path.is_file() and not path.is_symlink() and path.name not in OURS:
                match = _CANARY.search(path.read_bytes())
                if match:
                    found.append(f"{path} holds {match[0]!r}")
    return found
