"""Reads some columns of a view from end to end, for an export; the embedded store's part and PostgreSQL's.

By pages, so that whoever reads slowly keeps no checkpoint of the store waiting.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

AT_ONCE = 2_000  # rows of a page
FIRST = -1 << 62  # a second before all others


def read(
    connection: sqlite3.Connection, table: str, columns: Sequence[str], since: int | None, until: int | None
) -> Iterator[tuple[Any, ...]]:
    """Yield columns of delivery_text or reject_text, logged in a range of seconds, in the order of time."""
    (text,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (f"{table}_text",)).fetchone()
    # The view's own SELECT with the table's key: SQLite computes those of its columns alone that are asked for.
    select = text.partition(" AS\n")[2].replace("SELECT", f"SELECT logged_second AS second, {table}.id AS key,", 1)
    names = ", ".join(f'"{name}"' for name in columns)
    query = (
        f"SELECT second, key, {names} FROM ({select}) WHERE (second, key) > (?, ?) AND (?3 IS NULL OR second < ?3)"
        f" ORDER BY second, key LIMIT {AT_ONCE}"
    )
    place: tuple[int, bytes] = (FIRST if since is None else since, b"")
    while True:
        page = connection.execute(query, (*place, until)).fetchall()
        for row in page:
            yield row[2:]
        if len(page) < AT_ONCE:
            return
        place = page[-1][:2]
