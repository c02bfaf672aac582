"""The embedded store as an outbox: rows leave it for PostgreSQL as the bytes of a COPY, and go when they are there.

SQLite itself writes the text of a row: it does so several times as fast as Python would. Whatever a row can hold is
escaped here, or of a form that needs no escape: numbers, hex digits, words of closed lists.
"""

import sqlite3
from typing import NamedTuple

# PostgreSQL's column, SQLite's expression. Times are numbers; the insert there makes timestamps of them.
Columns = tuple[tuple[str, str], ...]


def _number(name: str) -> tuple[str, str]:
    return name, f'"{name}"'


def _word(name: str) -> tuple[str, str]:
    return name, f'"{name}"'


def _text(name: str, place: str = "") -> tuple[str, str]:
    """Of what a log line said: a backslash would be an escape, a control byte the end of a field."""
    text = place or f'"{name}"'
    for old, new in (("'\\'", "'\\\\'"), ("char(9)", "'\\t'"), ("char(10)", "'\\n'"), ("char(13)", "'\\r'")):
        text = f"replace({text}, {old}, {new})"
    return name, f"replace({text}, char(0), '?')"


def _half(name: str, place: str = "") -> tuple[str, str]:
    return name, f"nullif(hex({place or name}), '')"


def _queue_id(name: str) -> Columns:
    """A blob, or text where the operator keeps queue ids plain."""
    plain = _text("", f"CASE WHEN typeof({name}) = 'text' THEN {name} END")[1]
    return (name, f"CASE WHEN typeof({name}) = 'blob' THEN hex({name}) END"), (f"{name}_plain", plain)


DELIVERY: Columns = (
    *map(_number, ("logged_second", "first_seen", "date", "message_size", "delay", "spam_score", "logged_micros",
                   "recipients", "subject_size", "epoch", "reply_code", "is_list", "is_outgoing", "is_internal",
                   "headers_cut")),
    _half("delivery_key", "id"),
    *map(_half, ("message_id", "resent_message_id", "re_message_id", "sender_user", "sender_domain", "recipient_user",
                 "recipient_domain", "original_user", "original_domain", "list_user", "list_domain", "submitter_user",
                 "submitter_domain", "relay")),
    *_queue_id("queue_id"), *_queue_id("next_queue_id"), *_queue_id("parent_queue_id"),
    *map(_text, ("host", "instance", "agent")),
    *map(_word, ("status", "delays", "dsn", "reason", "relay_kind", "origin", "sender_kind")),
    *map(_word, ("from", "to", "cc", "bcc")),
)  # fmt: skip
REJECT: Columns = (
    *map(_number, ("logged_second", "logged_micros", "epoch", "reply_code")),
    _half("reject_key", "id"),
    *map(_half, ("sender_user", "sender_domain", "recipient_user", "recipient_domain")),
    *map(_text, ("host", "instance", "agent")),
    *map(_word, ("stage", "dsn", "sender_kind", "category")),
)  # fmt: skip
TABLES = {"delivery": DELIVERY, "reject": REJECT}


def _select(table: str) -> str:
    parts = ", ".join(f"coalesce({expression}, '\\N')" for _, expression in TABLES[table])
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
        within = "WHERE (logged_second, id) <= (?, ?)"
        number = connection.execute(f"SELECT count(*) FROM {table} {within}", keys[-1]).fetchone()[0]
        if number == len(keys):
            connection.execute(f"DELETE FROM {table} {within}", keys[-1])
        else:
            connection.executemany(f"DELETE FROM {table} WHERE logged_second = ? AND id = ?", keys)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def depth(connection: sqlite3.Connection) -> tuple[int, int | None]:
    """Return (number of rows that wait, log second of the oldest)."""
    number, oldest = 0, None
    for table in TABLES:
        found, first = connection.execute(f"SELECT count(*), min(logged_second) FROM {table}").fetchone()
        number += found
        oldest = first if oldest is None or (first is not None and first < oldest) else oldest
    return number, oldest
