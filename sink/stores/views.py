"""Asks the embedded store's views: questions in SQL that both stores understand, all answered of one moment.

A question reads `attempt`, `refusal` and `outcome`, which are delivery_text, reject_text and delivery_final in a range
of log time, and `ever`, which is delivery_text without one; outcomes.sql of each dialect has their columns. Nothing is
written but a temporary table, in an unnamed file beside the store: in memory it would take a third of its size.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sink.stores import opening, schema
from sink.stores.faults import explained

Ask = Callable[[str], Iterator[tuple[Any, ...]]]
CACHE = 16_384  # kB: sorting and counting go through the temporary file


def in_range(since: int | None, until: int | None) -> str:
    """Return the condition that a row is logged in a range of seconds."""
    bounds = [f"second {sign} {second}" for sign, second in ((">=", since), ("<", until)) if second is not None]
    return " AND ".join(bounds) or "1 = 1"


@contextmanager
def of_store(path: Path, since: int | None, until: int | None) -> Iterator[Ask]:
    """Open the store of a path to be asked; raises Fault for all that can go wrong."""
    opening.may_open(path, new=False)
    with explained(path), closing(opening.connect(path, "rw")) as connection:
        opening.check_version(path, connection)
        connection.execute("PRAGMA temp_store = FILE")
        folder = str(path.parent.absolute()).replace("'", "''")
        connection.execute(f"PRAGMA temp_store_directory = '{folder}'")
        connection.execute(f"PRAGMA cache_size = -{CACHE}")
        connection.execute(f"PRAGMA temp.cache_size = -{CACHE}")
        script = schema.extra(opening.DIALECT, "outcomes").replace("{range}", in_range(since, until))
        connection.executescript(f"BEGIN;\n{script}")
        connection.execute("PRAGMA query_only = ON")
        yield lambda question: _plain(connection.execute(question))


def _plain(found: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """Yield rows with halves of addresses in hex."""
    for row in found:
        yield tuple(value.hex() if isinstance(value, bytes) else value for value in row)
