"""PostgreSQL, and Citus: takes rows that wait in the embedded store's outbox.

Rules: rows come by COPY into a temporary table, typed and formatted here, and go on by one INSERT in the order of
their keys, so that several writers do not deadlock; a row that is there already changes nothing (law 6), and no
target is named, so that the writer needs no right to read. PostgreSQL quotes rows in its errors: only SQLSTATE and the
name of a constraint are passed on, never its words.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from sink.fault import CONFIG, Fault
from sink.stores.outbox import TABLES

# Classes that pass: connection, resources, operator's intervention, serialisation, deadlock [errcodes-appendix].
PASSING = ("08", "53", "57P0", "40001", "40P01", "25006", "55P03", "57014")
APPLICATION = "postsink"
CONNECT = 10  # seconds for a connection
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}  # seconds, times
LOCK = 10_000  # ms for a lock: somebody changes the tables

_TYPES = {
    "delivery": dict.fromkeys(("logged_second", "first_seen", "date", "message_size"), "bigint")
    | dict.fromkeys(("delay", "spam_score"), "double precision")
    | dict.fromkeys(("logged_micros", "recipients", "subject_size"), "integer")
    | dict.fromkeys(("epoch", "reply_code"), "smallint")
    | dict.fromkeys(("is_list", "is_outgoing", "is_internal", "headers_cut"), "boolean")
    | dict.fromkeys(
        ("delivery_key", "queue_id", "message_id", "resent_message_id", "re_message_id", "sender_user",
         "sender_domain", "recipient_user", "recipient_domain", "original_user", "original_domain", "list_user",
         "list_domain", "submitter_user", "submitter_domain", "relay", "next_queue_id", "parent_queue_id"), "uuid"),
    "reject": {"logged_second": "bigint", "logged_micros": "integer", "epoch": "smallint", "reply_code": "smallint"}
    | dict.fromkeys(("reject_key", "sender_user", "sender_domain", "recipient_user", "recipient_domain"), "uuid"),
}  # fmt: skip
_MADE = {  # what a staged column becomes
    "logged_second": ("logged_at", "to_timestamp(logged_second)"),
    "first_seen": ("first_seen_at", "'epoch'::timestamptz + first_seen * interval '1 microsecond'"),
    "date": ("date", "to_timestamp(date)"),
}


class Interrupted(Exception):
    """The database is away or busy; the same can be tried again. Its text is a SQLSTATE, or "connection"."""


def fault_of(error: psycopg.Error) -> Fault | Interrupted:
    """Say what an error means, without PostgreSQL's words."""
    state = error.sqlstate
    if state is None:
        return Interrupted("connection")
    if state.startswith(PASSING):
        return Interrupted(state)
    name = error.diag.constraint_name
    where = f", constraint {name}" if name else ""
    remedy = {
        "28": "correct database: in the config, or pg_hba.conf", "3D": "make it, or correct database: in the config",
        "42501": "grant postsink_writer to who connects", "42P01": "type postsink db init",
        "42703": "type postsink db upgrade",
    }  # fmt: skip
    what = next((words for code, words in remedy.items() if state.startswith(code)), "look at its log")
    return Fault(CONFIG, f"the database refuses: SQLSTATE {state}{where}; {what}")


def connect(conninfo: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connect; raises Interrupted where nobody answers, Fault where the conninfo is wrong."""
    try:
        options = {"connect_timeout": CONNECT, "application_name": APPLICATION, **KEEPALIVE}
        connection = psycopg.connect(conninfo, **options)  # type: ignore[arg-type]
        connection.execute(f"SET lock_timeout = {LOCK}")
        connection.execute("SET timezone = 'UTC'")
        connection.commit()
    except psycopg.ProgrammingError as error:
        if error.sqlstate is None:
            raise Fault(CONFIG, "database: is no conninfo or URI of PostgreSQL; correct it in the config") from None
        raise fault_of(error) from None
    except psycopg.Error as error:
        raise fault_of(error) from None
    return connection


class PostgresStore:
    """A connection as writer. Use it as a context manager; raises Interrupted, or Fault where waiting mends nothing."""

    def __init__(self, conninfo: str) -> None:
        self._connection = connect(conninfo)
        try:
            with self._connection.transaction():
                for table, columns in TABLES.items():
                    self._connection.execute(_stage(table, [name for name, _ in columns]))
        except psycopg.Error as error:
            self.close()
            raise fault_of(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def bind(self, settings: str, checks: Mapping[int, str]) -> None:
        """Record epochs' check values, and what else pseudonyms depend on; Fault 78 where the database has others."""
        try:
            with self._connection.transaction():
                for number, check in checks.items():
                    self._connection.execute(
                        "INSERT INTO epoch (number, check_value, settings) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                        (number, check, settings),
                    )
                found = self._connection.execute("SELECT number, check_value, settings FROM epoch").fetchall()
        except psycopg.Error as error:
            raise fault_of(error) from None
        known = {row[0]: row[1:] for row in found}
        for number, check in checks.items():
            if known[number][0] != check:
                raise Fault(
                    CONFIG,
                    f"the database has rows under another key for epoch {number}; use the keyring of its fleet, or"
                    " another database",
                )
            if known[number][1] != settings:
                raise Fault(
                    CONFIG, "the database was made with other settings of addresses or queue ids; set them as its fleet"
                )

    def take(self, loads: Mapping[str, bytes]) -> dict[str, int]:
        """Keep rows by table, each the lines of a COPY, in one transaction; return how many were new."""
        found = {}
        try:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                for table, lines in loads.items():
                    with cursor.copy(_COPY[table]) as copy:
                        copy.write(lines)
                    cursor.execute(_INSERT[table])
                    found[table] = cursor.rowcount
        except psycopg.Error as error:
            raise fault_of(error) from None
        return found


def _stage(table: str, names: list[str]) -> sql.Composed:
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_TYPES[table].get(name, "text")))
        for name in names
    ]
    return sql.SQL("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DELETE ROWS").format(
        sql.Identifier(f"staged_{table}"), sql.SQL(", ").join(columns)
    )


def _copy(table: str) -> sql.Composed:
    names = [sql.Identifier(name) for name, _ in TABLES[table]]
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(f"staged_{table}"), sql.SQL(", ").join(names))


def _insert(table: str) -> sql.Composed:
    names, values = [], []
    for name, _ in TABLES[table]:
        made = _MADE.get(name)
        names.append(sql.Identifier(name if made is None else made[0]))
        values.append(sql.Identifier(name) if made is None else sql.SQL(made[1]))
    return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} ORDER BY {} ON CONFLICT DO NOTHING").format(
        sql.Identifier(table), sql.SQL(", ").join(names), sql.SQL(", ").join(values),
        sql.Identifier(f"staged_{table}"), sql.Identifier(f"{table}_key"),
    )  # fmt: skip


_COPY = {table: _copy(table) for table in TABLES}
_INSERT = {table: _insert(table) for table in TABLES}
