"""Finds the numbered schema files, beside the package in a checkout and inside it when installed."""

from functools import lru_cache
from pathlib import Path

VERSION = 1  # of the embedded store's tables; PRAGMA user_version


@lru_cache(maxsize=1)
def folder() -> Path:
    """Return the folder of the schema files of all stores."""
    inside = Path(__file__).parent.parent / "sql"
    return inside if inside.is_dir() else inside.parent.parent / "sql"


def tables() -> str:
    """Return the SQL that makes a new embedded store."""
    files = sorted((folder() / "sqlite").glob("[0-9]*.sql"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def indexes() -> str:
    """Return the SQL that makes the optional indexes of an embedded store."""
    return (folder() / "sqlite" / "indexes.sql").read_text(encoding="utf-8")
