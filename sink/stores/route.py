"""The way of rows from the embedded store to a database; apart from the drain, which loads psycopg."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Route(NamedTuple):
    """From where to where, and what both must agree on."""

    store: Path
    conninfo: str
    settings: str
    checks: Mapping[int, str]

    def __repr__(self) -> str:
        return "Route()"  # the conninfo may hold a password
