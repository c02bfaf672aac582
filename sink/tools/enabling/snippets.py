"""Finds the shipped pieces of configuration, and knows its own ones again.

In a checkout they lie beside the package, in syslog-conf/, and inside it when installed. What is written ends in a
line with a checksum, so that a file that an admin has changed since is known, and stays as he wants it.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

from sink.tools.enabling.change import Edit, content

_WORDS: Final = "# postsink enable wrote this file; unchanged it has the checksum "
_SEAL: Final = re.compile(_WORDS.encode() + rb"([0-9a-f]{16})\.\n\Z")


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return the folder of the shipped pieces."""
    inside = Path(__file__).parents[2] / "syslog-conf"
    return inside if inside.is_dir() else inside.parents[1] / "syslog-conf"


def text(name: str) -> str:
    """Return a shipped piece, by its path in that folder."""
    return (folder() / name).read_text(encoding="utf-8")


def marked(body: str) -> bytes:
    """Return what is written for a body: itself and the checksum."""
    data = body.encode()
    return data + f"{_WORDS}{_sum(data)}.\n".encode()


def _sum(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def is_ours(data: bytes) -> bool:
    """Whether a file is as we wrote it, at whatever time."""
    seal = _SEAL.search(data)
    return seal is not None and seal[1].decode() == _sum(data[: seal.start()])


def installed(path: Path, body: str) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """Return the edit that puts a piece there, and words where an admin's own version of it stays."""
    data, old = marked(body), content(path)
    if old == data:
        return (), ()
    if old is not None and not is_ours(old):
        return (), (f"{path} was changed by hand and stays; to have it made anew, disable and enable",)
    return (Edit(path, data),), ()


def active(data: bytes | None) -> str:
    """Return the lines of a piece that are no comment."""
    lines = (data or b"").decode(errors="replace").split("\n")
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))
