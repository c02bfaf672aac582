"""Finds the numbered schema files, beside the package in a checkout and inside it when installed.

A file NNN-name.sql brings a schema from the version before to NNN. A line `-- compat: N` says which version's program
can still use it; where there is none, this one's alone. A database remembers its version, compat, and the hash of
what was run, in `schema_version`.
"""

import re
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sink.fault import CONFIG, Fault

# A statement ends at a semicolon outside texts, bodies and comments.
_TOKEN = re.compile(r"'(?:[^']|'')*'|\$\$.*?\$\$|--[^\n]*|;", re.S)
_COMPAT = re.compile(r"^-- compat: (\d+)$", re.M)


class File(NamedTuple):
    """One step of a schema."""

    version: int
    compat: int
    sha256: str
    text: str


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return the folder of the schema files of all stores."""
    inside = Path(__file__).parent.parent / "sql"
    return inside if inside.is_dir() else inside.parent.parent / "sql"


@lru_cache(maxsize=2)
def files(dialect: str) -> tuple[File, ...]:
    """Return the steps of a dialect's schema, in order."""
    found = []
    for path in sorted((folder() / dialect).glob("[0-9]*.sql")):
        text = path.read_text(encoding="utf-8")
        version = int(path.name[:3])
        compat = _COMPAT.search(text)
        digest = sha256(text.encode()).hexdigest()
        found.append(File(version, int(compat[1]) if compat else version, digest, text))
    return tuple(found)


def version(dialect: str) -> int:
    """Return the version that this program makes."""
    return files(dialect)[-1].version


def missing(dialect: str, applied: dict[int, tuple[int, str]], name: str) -> list[File]:
    """Return the steps that a database lacks, of whose versions (compat, hash) are known. Fault 78: it can't be used.

    name: what the database is called in words.
    """
    ours = {file.version: file for file in files(dialect)}
    last = max(applied, default=0)
    if last > max(ours) and max(compat for compat, _ in applied.values()) > max(ours):
        raise Fault(CONFIG, f"{name} is of a newer postsink (schema {last}); install that")
    for number, (_, digest) in applied.items():
        if number in ours and digest != ours[number].sha256:
            raise Fault(CONFIG, f"{name} was made by another build of schema {number}; use the postsink that made it")
    return [file for number, file in sorted(ours.items()) if number > last]


def extra(dialect: str, name: str) -> str:
    """Return a file beside the numbered ones: indexes, roles."""
    return (folder() / dialect / f"{name}.sql").read_text(encoding="utf-8")


def statements(text: str) -> list[str]:
    """Return the statements of a file, one by one, as Citus wants what it hands on."""
    ends = [match.end() for match in _TOKEN.finditer(text) if match[0] == ";"]
    return [text[start:end].strip() for start, end in pairwise([0, *ends])]
