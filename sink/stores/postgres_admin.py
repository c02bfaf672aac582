"""What an admin does to the database: schema, partitions, indexes, old rows.

The drain's role can do none of it. Who connects owns nothing: all is done as the role postsink_admin, which owns it.
Months get a partition of their own ahead of time; rows of a month without one lie in the default partition until
make_partitions() moves them.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from sink.fault import CONFIG, NOPERM, Fault
from sink.stores import citus, schema
from sink.stores.postgres import conversation

DIALECT = "postgres"
ROLE = "postsink_admin"
LOCK = 0x70736E6B  # "psnk": of those who change the schema
AHEAD = 3  # months that have a partition before they begin
FIRST = datetime(1998, 1, 1, tzinfo=UTC)  # Postfix is of that year: an older line is of a wrong clock
TABLES = ("delivery", "reject")
FORBIDDEN = "42501"
_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_version (
    version integer NOT NULL PRIMARY KEY, compat integer NOT NULL, sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now());
COMMENT ON TABLE schema_version IS 'The steps of sql/postgres that were run.';
COMMENT ON COLUMN schema_version.version IS 'Number of the step.';
COMMENT ON COLUMN schema_version.compat IS 'The oldest schema whose programs can use what the step made.';
COMMENT ON COLUMN schema_version.sha256 IS 'Of the file that was run.';
COMMENT ON COLUMN schema_version.applied_at IS 'When it was run.';"""
_PART = re.compile(r"_(\d{4})_(\d\d)\Z")

Connection = psycopg.Connection[Any]


@contextmanager
def opened(conninfo: str, role: str = ROLE) -> Iterator[Connection]:
    """Give a connection that acts as a role; Fault 69 where nobody answers, 75 where it was broken off."""
    with conversation(conninfo, role, ROLE) as connection:
        connection.autocommit = True  # else what is asked first begins a transaction that nobody ends
        yield connection


def upgrade(conninfo: str) -> list[int]:
    """Make roles, and bring the schema up to date, in one transaction; return the versions that were run."""
    with opened(conninfo, "") as connection, connection.transaction():
        _check_encoding(connection)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        _make_roles(connection)
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(ROLE)))
        connection.execute(_VERSIONS)
        applied = {
            version: (compat, digest)
            for version, compat, digest in connection.execute("SELECT version, compat, sha256 FROM schema_version")
        }
        steps = schema.missing(DIALECT, applied, "the database")
        for step in steps:
            citus.run(connection, step.text)
            connection.execute(
                "INSERT INTO schema_version (version, compat, sha256) VALUES (%s, %s, %s)",
                (step.version, step.compat, step.sha256),
            )
        if max(applied, default=0) <= schema.version(DIALECT):  # a newer one has other tables and views
            citus.run(connection, schema.extra(DIALECT, "grants"))
            if citus.is_distributed(connection):
                citus.distribute(connection)  # its rights
    return [step.version for step in steps]


def distribute(conninfo: str) -> None:
    """Have the rows lie on the workers of Citus, in one transaction."""
    with opened(conninfo, "") as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        citus.distribute(connection)


def _check_encoding(connection: Connection) -> None:
    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise Fault(CONFIG, "the database is not in UTF-8, as names of hosts are; make it with ENCODING 'UTF8'")


def _make_roles(connection: Connection) -> None:
    """Make the roles and what they need of database and schema; Fault 77 where who connects may not."""
    try:
        connection.execute(schema.extra(DIALECT, "roles"))
    except psycopg.Error as error:
        if error.sqlstate != FORBIDDEN:
            raise
    else:
        return
    user = sql.Identifier(connection.info.user).as_string(connection)
    line = shlex.join([
        "psql", "-d", connection.info.dbname, "-f", str(schema.folder() / DIALECT / "roles.sql"),
        "-c", f"GRANT {ROLE} TO {user}",
    ])  # fmt: skip
    raise Fault(NOPERM, f"{user} may not make roles and rights there; as superuser of the database type: {line}")


# -- partitions


def _month(moment: datetime, ahead: int = 0) -> datetime:
    number = moment.year * 12 + moment.month - 1 + ahead
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def make_partitions(connection: Connection, now: datetime) -> list[str]:
    """Give each month that has rows, this one and the next ones a partition; return the names of the new ones.

    Rows of wrong clocks stay in the default partition: before Postfix, or beyond the months ahead.
    """
    made = []
    for table in TABLES:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            _make_default(connection, table)
            wanted = {_month(now, ahead) for ahead in range(AHEAD + 1)}
            wanted |= {
                _month(row[0].astimezone(UTC))
                for row in connection.execute(
                    f"SELECT DISTINCT date_trunc('month', logged_at, 'UTC') FROM {table}_default"
                    " WHERE logged_at >= %s AND logged_at < %s",
                    (FIRST, _month(now, AHEAD + 1)),
                )
            }
            there = set(partitions(connection, table))
            for month in sorted(wanted):
                name = f"{table}_{month:%Y_%m}"
                if name not in there:
                    _make_partition(connection, table, name, month)
                    made.append(name)
    return made


def _make_default(connection: Connection, table: str) -> None:
    """Make the default partition anew where somebody took it away: without it rows would be refused."""
    name = f"{table}_default"
    if name in partitions(connection, table):
        return
    whole, default = sql.Identifier(table), sql.Identifier(name)
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (LIKE {} INCLUDING ALL)").format(default, whole))
    connection.execute(sql.SQL("ALTER TABLE {} ATTACH PARTITION {} DEFAULT").format(whole, default))
    _comment(connection, default, "Rows of months without a partition; postsink db upgrade moves them.")


def _comment(connection: Connection, table: sql.Identifier, words: str) -> None:
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(words)))


def partitions(connection: Connection, table: str) -> list[str]:
    """Return the names of a table's partitions, that of the default one too."""
    found = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = %s::regclass ORDER BY 1",
        (table,),
    )
    return [row[0] for row in found]


def months(connection: Connection, table: str) -> dict[str, datetime]:
    """Return the months that have a partition: their names, and their first moments."""
    found = {name: _PART.search(name) for name in partitions(connection, table)}
    return {
        name: datetime(int(part[1]), int(part[2]), 1, tzinfo=UTC) for name, part in found.items() if part is not None
    }


def _make_partition(connection: Connection, table: str, name: str, month: datetime) -> None:
    """Make a partition, with the rows that lie in the default one."""
    whole, part, default = map(sql.Identifier, (table, name, f"{table}_default"))
    begin, end = sql.Literal(month.isoformat()), sql.Literal(_month(month, 1).isoformat())
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(part, whole))
    _comment(connection, part, f"Rows of {month:%Y-%m}.")
    # Before rows are moved: one that a drain adds meanwhile would keep the partition from being attached.
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(default))
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
        for name, month in months(connection, table).items():
            if _month(month, 1) <= limit:
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
        citus.run(connection, schema.extra(DIALECT, "indexes"))


def empty(connection: Connection) -> None:
    """Delete all rows."""
    with connection.transaction():
        connection.execute("TRUNCATE delivery, reject")
