"""The embedded store as an outbox: rows leave it for PostgreSQL as the bytes of a COPY, and go when they are there.

SQLite itself writes the text of a row: it does so several times as fast as Python would. Whatever a row can hold is
escaped here, or of a form that needs no escape: numbers, hex digits, words of closed lists. Who moves rows, or changes
those that wait, holds moving(): so a row that somebody changes is not on its way meanwhile.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sink.fault import CANTCREATE, Fault

MOST_COUNTED = 100_000  # rows of a table: to count more takes long, and whoever asks waits

# PostgreSQL's column, SQLite's expression of its text. Times are numbers; the insert there makes timestamps of them.
# Written so that SQLite calls as few functions as it can: this is a third of what a drain costs.
Columns = tuple[tuple[str, str], ...]
_NULL = "'\\N'"
_ESCAPES = (("'\\'", "'\\\\'"), ("char(9)", "'\\t'"), ("char(10)", "'\\n'"), ("char(13)", "'\\r'"))


def _always(name: str) -> tuple[str, str]:
    """Of a number, or a word of a closed list, that no row lacks."""
    return name, name


def _plain(name: str) -> tuple[str, str]:
    """Likewise, where rows may lack it."""
    return name, f'coalesce("{name}", {_NULL})'


def _text(name: str) -> tuple[str, str]:
    """Of what a log line said: a backslash would be an escape, a control byte the end of a field.

    printf() ends it before a NUL, which PostgreSQL would refuse.
    """
    escaped = name
    for old, new in _ESCAPES:
        escaped = f"replace({escaped}, {old}, {new})"
    return name, f"CASE WHEN {name} GLOB '*[\\\t\n\r]*' THEN {escaped} ELSE {name} END"


def _half(name: str) -> tuple[str, str]:
    """Of a pseudonym; the null sender's is empty."""
    return name, f"CASE WHEN length({name}) THEN hex({name}) ELSE {_NULL} END"


def _queue_id(name: str) -> Columns:
    """A pseudonym, or letters and digits where the operator keeps queue ids plain."""
    return (
        (name, f"CASE typeof({name}) WHEN 'blob' THEN hex({name}) ELSE {_NULL} END"),
        (f"{name}_plain", f"CASE typeof({name}) WHEN 'text' THEN {name} ELSE {_NULL} END"),
    )


DELIVERY: Columns = (
    *map(_always, ("logged_second", "first_seen", "logged_micros", "epoch", "is_internal", "status")),
    *map(_plain, ("date", "message_size", "delay", "spam_score", "recipients", "subject_size", "reply_code", "is_list",
                  "is_outgoing", "headers_cut")),
    ("delivery_key", "hex(id)"),
    *map(_half, ("message_id", "resent_message_id", "re_message_id", "sender_user", "sender_domain", "recipient_user",
                 "recipient_domain", "original_user", "original_domain", "list_user", "list_domain", "submitter_user",
                 "submitter_domain", "relay")),
    *_queue_id("queue_id"), *_queue_id("next_queue_id"), *_queue_id("parent_queue_id"),
    *map(_text, ("host", "instance")),
    *map(_plain, ("agent", "delays", "dsn", "reason", "relay_kind", "origin", "sender_kind")),
    *map(_plain, ("from", "to", "cc", "bcc")),
)  # fmt: skip
REJECT: Columns = (
    *map(_always, ("logged_second", "logged_micros", "epoch", "stage", "category")),
    ("reject_key", "hex(id)"),
    *map(_half, ("sender_user", "sender_domain", "recipient_user", "recipient_domain")),
    *map(_text, ("host", "instance")),
    *map(_plain, ("reply_code", "agent", "dsn", "sender_kind")),
)  # fmt: skip
TABLES = {"delivery": DELIVERY, "reject": REJECT}


def _select(table: str) -> str:
    parts = ", ".join(expression for _, expression in TABLES[table])
    line = f"printf('{chr(9).join(['%s'] * len(TABLES[table]))}', {parts})"
    return f"SELECT logged_second, id, CAST({line} AS BLOB) FROM {table} ORDER BY logged_second, id LIMIT ?"


_SELECT = {table: _select(table) for table in TABLES}
Key = tuple[int, bytes]


class Load(NamedTuple):
    """Rows of one table on their way."""

    keys: list[Key]
    lines: bytes  # of a COPY in text format


def load(connection: sqlite3.Connection, table: str, most: int) -> Load:
    """Return the oldest rows of a table, at most so many."""
    rows = connection.execute(_SELECT[table], (most,)).fetchall()
    return Load([row[:2] for row in rows], b"".join([row[2] + b"\n" for row in rows]))


def unload(connection: sqlite3.Connection, table: str, keys: list[Key]) -> None:
    """Delete rows that have arrived, in one transaction; what came between them since stays."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.executemany(f"DELETE FROM {table} WHERE logged_second = ? AND id = ?", keys)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def depth(connection: sqlite3.Connection) -> tuple[int, int | None]:
    """Return (number of rows that wait, at most MOST_COUNTED of each table; log second of the oldest)."""
    number, oldest = 0, None
    for table in TABLES:
        some = f"SELECT logged_second FROM {table} ORDER BY logged_second, id LIMIT {MOST_COUNTED}"
        found, first = connection.execute(f"SELECT count(*), min(logged_second) FROM ({some})").fetchone()
        number += found
        oldest = first if oldest is None or (first is not None and first < oldest) else oldest
    return number, oldest


def used(connection: sqlite3.Connection) -> int:
    """Return the bytes of the file that hold something."""
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


@contextmanager
def moving(store: Path) -> Iterator[bool]:
    """Be the one who moves the rows of a store, or changes them; gives False where another is."""
    path = store.with_name(f"{store.name}-drain.lock")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        raise Fault(CANTCREATE, f"can't write {path}; look at its disk and its permissions") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)
