"""What an admin does to the database: schema, partitions, indexes, old rows.

The drain's role can do none of it. Months get a partition of their own ahead of time; rows of a month without one lie
in the default partition until make_partitions() moves them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from sink.fault import TEMPFAIL, UNAVAILABLE, Fault
from sink.stores import schema
from sink.stores.postgres import Interrupted, connect, fault_of

DIALECT = "postgres"
LOCK = 0x70736E6B  # "psnk": of those who change the schema
AHEAD = 3  # months that have a partition before they begin
TABLES = ("delivery", "reject")
_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_version (
    version integer NOT NULL PRIMARY KEY, compat integer NOT NULL, sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE schema_version IS 'The steps of sql/postgres that were run, who can use them, and their hashes.';"""

Connection = psycopg.Connection[Any]


@contextmanager
def opened(conninfo: str) -> Iterator[Connection]:
    """Give a connection as admin; Fault 69 where nobody answers, 75 where it was broken off."""
    try:
        connection: Connection = connect(conninfo)
    except Interrupted:
        raise Fault(UNAVAILABLE, "the database does not answer; start it, or correct database: in the config") from None
    try:
        yield connection
    except psycopg.Error as error:
        found = fault_of(error)
        if isinstance(found, Fault):
            raise found from None
        raise Fault(TEMPFAIL, f"the database broke off (SQLSTATE {found}); try again") from None
    finally:
        connection.close()


def upgrade(connection: Connection) -> list[int]:
    """Bring the schema up to date, in one transaction; return the versions that were run."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(_VERSIONS)
        applied = {
            version: (compat, digest)
            for version, compat, digest in connection.execute("SELECT version, compat, sha256 FROM schema_version")
        }
        steps = schema.missing(DIALECT, applied, "the database")
        for step in steps:
            connection.execute(step.text)
            connection.execute(
                "INSERT INTO schema_version (version, compat, sha256) VALUES (%s, %s, %s)",
                (step.version, step.compat, step.sha256),
            )
        connection.execute(schema.extra(DIALECT, "roles"))
        if _is_citus(connection):
            connection.execute(schema.extra(DIALECT, "citus"))
    return [step.version for step in steps]


def _is_citus(connection: Connection) -> bool:
    return connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'citus'").fetchone() is not None


# -- partitions


def _month(moment: datetime, ahead: int = 0) -> datetime:
    number = moment.year * 12 + moment.month - 1 + ahead
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def make_partitions(connection: Connection, now: datetime) -> list[str]:
    """Give each month that has rows, this one and the next ones a partition; return the names of the new ones."""
    made = []
    for table in TABLES:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            months = {_month(now, ahead) for ahead in range(AHEAD + 1)}
            months |= {
                _month(row[0].astimezone(UTC))
                for row in connection.execute(
                    f"SELECT DISTINCT date_trunc('month', logged_at, 'UTC') FROM {table}_default"
                )
            }
            there = set(partitions(connection, table))
            for month in sorted(months):
                name = f"{table}_{month:%Y_%m}"
                if name not in there:
                    _make_partition(connection, table, name, month)
                    made.append(name)
    return made


def partitions(connection: Connection, table: str) -> list[str]:
    """Return the names of a table's partitions, but the default one."""
    found = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass AND c.relname <> %s ORDER BY 1",
        (table, f"{table}_default"),
    )
    return [row[0] for row in found]


def _make_partition(connection: Connection, table: str, name: str, month: datetime) -> None:
    """Make a partition, with the rows that lie in the default one."""
    whole, part, default = map(sql.Identifier, (table, name, f"{table}_default"))
    begin, end = sql.Literal(month.isoformat()), sql.Literal(_month(month, 1).isoformat())
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(part, whole))
    connection.execute(
        sql.SQL(
            "WITH moved AS (DELETE FROM {} WHERE logged_at >= {} AND logged_at < {} RETURNING *)"
            " INSERT INTO {} SELECT * FROM moved"
        ).format(default, begin, end, part)
    )
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(whole, part, begin, end)
    )


# -- rows


def prune(connection: Connection, before: int) -> int:
    """Delete rows logged before a second: whole months by dropping their partition; return how many."""
    gone = 0
    limit = datetime.fromtimestamp(before, UTC)
    for table in TABLES:
        for name in partitions(connection, table):
            year, month = map(int, name.rsplit("_", 2)[1:])
            if _month(datetime(year, month, 1, tzinfo=UTC), 1) <= limit:
                part = sql.Identifier(name)
                with connection.transaction():
                    gone += _number(connection.execute(sql.SQL("SELECT count(*) FROM {}").format(part)).fetchone())
                    connection.execute(sql.SQL("DROP TABLE {}").format(part))
        with connection.transaction():
            gone += connection.execute(f"DELETE FROM {table} WHERE logged_at < to_timestamp(%s)", (before,)).rowcount
    return gone


def _number(row: Any) -> int:
    return int(row[0])


def counts(connection: Connection) -> dict[str, int]:
    """Return the number of rows of each table."""
    return {table: _number(connection.execute(f"SELECT count(*) FROM {table}").fetchone()) for table in TABLES}


def rows_by_epoch(connection: Connection) -> dict[int, int]:
    """Return the number of deliveries and refusals of each epoch."""
    found: dict[int, int] = {}
    for table in TABLES:
        for epoch, number in connection.execute(f"SELECT epoch, count(*) FROM {table} GROUP BY epoch"):
            found[epoch] = found.get(epoch, 0) + number
    return found


def make_indexes(connection: Connection) -> None:
    """Make the optional indexes."""
    with connection.transaction():
        connection.execute(schema.extra(DIALECT, "indexes"))


def empty(connection: Connection) -> None:
    """Delete all rows."""
    with connection.transaction():
        connection.execute("TRUNCATE delivery, reject")
