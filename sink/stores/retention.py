"""What leaves a store in time: rows that are too old, and what tells whether an epoch still has any."""

import sqlite3

from sink.core.state import StateError, epoch_of, is_message

TABLES = ("delivery", "reject")


def prune(connection: sqlite3.Connection, before: int, most: int) -> int:
    """Delete the oldest rows of those logged before a second, at most so many of each table; return how many."""
    gone = 0
    for table in TABLES:
        last = connection.execute(
            f"SELECT logged_second, id FROM {table} WHERE logged_second < ?"
            " ORDER BY logged_second, id LIMIT 1 OFFSET ?",
            (before, most),
        ).fetchone()
        bound = last or (before, b"")
        gone += connection.execute(f"DELETE FROM {table} WHERE (logged_second, id) < (?, ?)", bound).rowcount
    return gone


def rows_by_epoch(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the number of deliveries and refusals of each epoch; reads all of them."""
    found: dict[int, int] = {}
    for table in TABLES:
        for epoch, number in connection.execute(f"SELECT epoch, count(*) FROM {table} GROUP BY epoch"):
            found[epoch] = found.get(epoch, 0) + number
    return found


def has_rows(connection: sqlite3.Connection, epoch: int, until: int) -> bool:
    """Tell whether an epoch has rows logged before a second."""
    return any(
        connection.execute(
            f"SELECT 1 FROM {table} WHERE logged_second < ? AND epoch = ? LIMIT 1", (until, epoch)
        ).fetchone()
        for table in TABLES
    )


def open_by_epoch(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the number of open messages of each epoch, in all streams; what can't be read is of epoch 0."""
    found: dict[int, int] = {}
    for token, state in connection.execute("SELECT token, state FROM open_message"):
        if is_message(token):
            try:
                epoch = epoch_of(state)
            except StateError:
                epoch = 0
            found[epoch] = found.get(epoch, 0) + 1
    return found
