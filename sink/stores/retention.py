"""What leaves a store in time: rows that are too old, and what tells whether an epoch still has any."""

import sqlite3
from collections import Counter

from sink.core.state import StateError, epoch_of, is_message

TABLES = ("delivery", "reject")
Place = tuple[int, int, bytes]  # of a row: its table, second and id
START: Place = (0, -(1 << 62), b"")
END: Place = (len(TABLES), *START[1:])


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


def search(connection: sqlite3.Connection, epoch: int, place: Place, most: int) -> tuple[bool, Place]:
    """Look for a row of an epoch among so many rows from a place on; return (whether there is one, where to go on).

    There is no index that would tell, and a daemon can't wait for a look at all rows. The search is over at END.
    """
    number, *key = place
    table, begin = TABLES[number], "(logged_second, id) >= (?, ?)"
    last = connection.execute(
        f"SELECT logged_second, id FROM {table} WHERE {begin} ORDER BY logged_second, id LIMIT 1 OFFSET ?", (*key, most)
    ).fetchone()
    end = "" if last is None else " AND (logged_second, id) < (?, ?)"
    found = connection.execute(
        f"SELECT 1 FROM {table} WHERE {begin}{end} AND epoch = ? LIMIT 1", (*key, *(last or ()), epoch)
    ).fetchone()
    if found:
        return True, place
    return False, (number, *last) if last else (number + 1, *START[1:])


def open_by_epoch(connection: sqlite3.Connection) -> dict[int, Counter[str]]:
    """Return the number of open messages of each epoch, by stream; what can't be read is of epoch 0."""
    found: dict[int, Counter[str]] = {}
    for stream, token, state in connection.execute("SELECT stream, token, state FROM open_message"):
        if is_message(token):
            try:
                epoch = epoch_of(state)
            except StateError:
                epoch = 0
            found.setdefault(epoch, Counter())[stream] += 1
    return found
