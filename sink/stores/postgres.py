"""PostgreSQL, and Citus: takes rows that wait in the embedded store's outbox.

Rules: rows come by COPY into a temporary table, typed and formatted in sink.stores.outbox, and go on by one INSERT in
the order of their keys, so that several writers do not deadlock; a row that is there already changes nothing (law 6),
and no target is named, so that the writer needs no right to read. PostgreSQL quotes rows in its errors, and libpq
passwords: only SQLSTATE and the name of a constraint are passed on, never their words.
"""

import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sink.fault import CONFIG, TEMPFAIL, UNAVAILABLE, Fault
from sink.stores.outbox import TABLES

try:
    import psycopg
    from psycopg import conninfo as infos
    from psycopg import sql
except ImportError:  # psycopg without libpq says so in a page of text
    raise Fault(UNAVAILABLE, "PostgreSQL's client library is missing; type: apt-get install libpq5") from None
from sink.stores import citus

logging.getLogger("psycopg").setLevel(logging.CRITICAL + 1)  # it warns by quoting errors; each is ours to tell

# Classes that pass: connection, resources, operator's intervention, serialisation, deadlock, a lock that others hold,
# a server that only reads, as a standby does [errcodes-appendix].
PASSING = ("08", "53", "57P0", "40001", "40P01", "40003", "25006", "55P03", "57014")
NO_ROLE = ("42704", "22023")  # of SET ROLE: no such role
DEFAULTS = {  # what the conninfo may say otherwise
    "application_name": "postsink", "client_encoding": "UTF8",
    "connect_timeout": "10",  # seconds
    "keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3", "tcp_user_timeout": "60000",
}  # fmt: skip
SESSION = (
    "SET timezone = 'UTC'; SET lock_timeout = '10s';"  # somebody changes the tables
    " SET idle_in_transaction_session_timeout = '60s'"  # this host is gone, and its locks with it
)
# What libpq says of a connection that the server, or itself, refuses, and what that means; it has no SQLSTATE then.
# Of servers that speak English; what others say means "connection".
REFUSALS = {
    re.compile(pattern): words
    for pattern, words in {
        "password authentication failed": "the password is wrong; correct the passfile",
        "no password supplied": "it asks for a password; name a passfile= in the conninfo",
        "[Pp]eer authentication failed": "its pg_ident.conf knows no such pair of users; correct user= or that",
        "no pg_hba.conf entry": "its pg_hba.conf does not let us in; add a line there",
        'role "[^"]*" does not exist': "it has no such user; make it, or correct user= in the conninfo",
        'role "[^"]*" is not permitted to log in': "that user may not log in; name one who may by user=",
        'database "[^"]*" does not exist': "it has no such database; make it, or correct dbname= in the conninfo",
        "permission denied for database": "the user may not connect; grant postsink_writer to it",
        "certificate verify failed": "its certificate is of another authority; correct sslrootcert=",
        "root certificate file": "the authority's certificate is not there; correct sslrootcert=",
        "does not match host name": "its certificate is of another host; correct host= in the conninfo",
        "server does not support SSL": "it has no TLS; set ssl = on there",
        "private key file": "the file of sslkey= is missing or open to others; see its mode",
    }.items()
}
VERIFIED = ("verify-full", "verify-ca")
UNVERIFIED = ("disable", "allow", "prefer", "require")

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


def fault_of(error: psycopg.Error, role: str = "postsink_writer") -> Fault | Interrupted:
    """Say what an error means, without PostgreSQL's words."""
    state = error.sqlstate
    if state is None:
        said = str(error)
        found = next((words for pattern, words in REFUSALS.items() if pattern.search(said)), None)
        return Interrupted("connection") if found is None else Fault(CONFIG, f"the database refuses: {found}")
    if state.startswith(PASSING):
        return Interrupted(state)
    name = error.diag.constraint_name
    where = f", constraint {name}" if name else ""
    remedy = {
        "28": "correct database: in the config, or its pg_hba.conf", "42501": f"grant {role} to who connects",
        "42P01": "type: postsink db init", "42703": "type: postsink db upgrade", "23514": "type: postsink db upgrade",
        "23502": "it is of a newer postsink; install that",
    }  # fmt: skip
    what = next((words for code, words in remedy.items() if state.startswith(code)), "look at its log")
    return Fault(CONFIG, f"the database refuses: SQLSTATE {state}{where}; {what}")


def check(conninfo: str) -> list[str]:
    """Return what is unwise in a conninfo or URI, as lines for the admin; Fault 78 where it is neither."""
    given = _parsed(conninfo)
    found = []
    if given.get("password") is not None:
        found.append("database: holds a password, for all who can read the config; put it into a file of mode 0600, and"
                     " name that by passfile= instead")  # fmt: skip
    hosts = str(given.get("hostaddr") or given.get("host") or "").split(",")
    is_far = any(host and not host.startswith(("/", "@", "127.", "::1")) and host != "localhost" for host in hosts)
    if is_far and given.get("sslmode") not in VERIFIED:
        found.append("database: leads through a network; add sslmode=verify-full and sslrootcert= to it, or others may"
                     " read and take the rows")  # fmt: skip
    return found


def _parsed(conninfo: str) -> dict[str, Any]:
    try:
        given = dict(infos.conninfo_to_dict(conninfo))
    except psycopg.Error:
        raise Fault(CONFIG, "database: is no conninfo or URI of PostgreSQL; correct it in the config") from None
    if given.get("sslmode", "disable") not in (*VERIFIED, *UNVERIFIED):
        raise Fault(CONFIG, "database: sslmode= is no word of libpq; take verify-full")
    return given


def connect(conninfo: str, role: str = "") -> psycopg.Connection[tuple[object, ...]]:
    """Connect, and act as a role; raises Interrupted where nobody answers, Fault where we are not let in."""
    given = _parsed(conninfo)
    connection = None
    try:
        with _passfile(str(given.get("passfile", ""))) as passfile:
            options = {name: value for name, value in DEFAULTS.items() if name not in given} | passfile
            connection = psycopg.connect(conninfo, prepare_threshold=None, **options)  # type: ignore[arg-type]
        connection.execute(SESSION)
        if role:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.commit()
    except psycopg.Error as error:
        if connection is not None:
            connection.close()
        found = fault_of(error, role or "postsink_writer")
        if role and error.sqlstate in NO_ROLE:
            found = Fault(CONFIG, "the database has no roles of postsink yet; type: postsink db init")
    else:
        return connection
    raise found


@contextmanager
def conversation(conninfo: str, role: str, needed: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect for a command, which waits for nobody: Fault 69 where nobody answers, 75 where it was broken off, 78.

    role: whom to act as, or ""; needed: the role that who connects lacks where something is refused.
    """
    try:
        connection: psycopg.Connection[Any] = connect(conninfo, role)
    except Interrupted:
        raise Fault(UNAVAILABLE, "the database does not answer; start it, or correct database: in the config") from None
    try:
        yield connection
    except psycopg.Error as error:
        found = fault_of(error, needed)
    else:
        return
    finally:
        connection.close()
    if isinstance(found, Interrupted):
        found = Fault(TEMPFAIL, f"the database broke off (SQLSTATE {found}); try again")
    raise found


@contextmanager
def _passfile(name: str) -> Iterator[dict[str, str]]:
    """Give a passfile that libpq takes in place of one that is a systemd credential.

    systemd lets our user read it by an access list, which looks like a right of the group, and libpq wants none.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if folder is None or Path(name).parent != Path(folder):
        yield {}
        return
    try:
        text = Path(name).read_bytes()
    except OSError:
        words = f"the credential {Path(name).name} is not there; add it to the unit, or correct passfile="
        raise Fault(CONFIG, words) from None
    hidden = os.memfd_create("passfile", os.MFD_CLOEXEC)
    try:
        os.fchmod(hidden, 0o600)
        os.write(hidden, text)
        yield {"passfile": f"/proc/self/fd/{hidden}"}
    finally:
        os.close(hidden)


class PostgresStore:
    """A connection as writer. Use it as a context manager; raises Interrupted, or Fault where waiting mends nothing."""

    def __init__(self, conninfo: str) -> None:
        self._connection = connect(conninfo)
        try:
            with self._connection.transaction():
                self._is_citus = citus.is_there(self._connection)
                if self._is_citus:
                    self._connection.execute(citus.SESSION)
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
                bind(self._connection, settings, checks)
        except psycopg.Error as error:
            raise fault_of(error) from None

    def take(self, loads: Mapping[str, bytes]) -> dict[str, int] | None:
        """Keep rows by table, each the lines of a COPY, in one transaction; return how many were new.

        None: nobody knows. Citus counts what it was given, and a writer can't look.
        """
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
        return None if self._is_citus else found


def bind(connection: psycopg.Connection[tuple[object, ...]], settings: str, checks: Mapping[int, str]) -> None:
    """Record check values and settings within a transaction; a Fault, where they differ, has it write none."""
    for number, check in checks.items():
        connection.execute(
            "INSERT INTO epoch (number, check_value, settings) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (number, check, settings),
        )
    known = {row[0]: row[1:] for row in connection.execute("SELECT number, check_value, settings FROM epoch")}
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
