"""Reads the views of the database: for an export from end to end, in one transaction that only reads.

Rows that come or go meanwhile are not seen.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection, sql

AT_ONCE = 2_000  # rows of a round trip


def narrowed(
    connection: Connection[Any], table: str, conditions: Sequence[sql.Composable], since: int | None, until: int | None
) -> sql.Composed:
    """Return the own SELECT of delivery_text or reject_text, narrowed by conditions and to a range of seconds.

    Of what a view computes no partition and no index knows.
    """
    (text,) = connection.execute("SELECT pg_get_viewdef(%s::regclass)", (f"{table}_text",)).fetchone() or ("",)
    logged = sql.Identifier(table, "logged_at")
    wanted = list(conditions)
    wanted += [sql.SQL("{} >= to_timestamp({})").format(logged, sql.Literal(since))] if since is not None else []
    wanted += [sql.SQL("{} < to_timestamp({})").format(logged, sql.Literal(until))] if until is not None else []
    return sql.SQL("{} WHERE {}").format(
        sql.SQL(text.strip().removesuffix(";")), sql.SQL(" AND ").join(wanted or [sql.SQL("true")])
    )


def read(
    connection: Connection[Any], table: str, columns: Sequence[str], since: int | None, until: int | None
) -> Iterator[tuple[Any, ...]]:
    """Yield columns of delivery_text or reject_text, logged in a range of seconds."""
    query = sql.SQL("SELECT {} FROM ({}) AS shown").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), narrowed(connection, table, (), since, until)
    )
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        with connection.cursor(f"read_{table}") as cursor:
            cursor.itersize = AT_ONCE
            cursor.execute(query)
            yield from cursor
