"""Reads some columns of a view of the database from end to end, for an export.

In one transaction that only reads: rows that come or go meanwhile are not seen.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection, sql

AT_ONCE = 2_000  # rows of a round trip


def read(
    connection: Connection[Any], table: str, columns: Sequence[str], since: int | None, until: int | None
) -> Iterator[tuple[Any, ...]]:
    """Yield columns of delivery_text or reject_text, logged in a range of seconds."""
    (text,) = connection.execute("SELECT pg_get_viewdef(%s::regclass)", (f"{table}_text",)).fetchone() or ("",)
    logged = sql.Identifier(table, "logged_at")
    conditions: list[sql.Composable] = [sql.SQL("true")]
    conditions += [sql.SQL("{} >= to_timestamp({})").format(logged, sql.Literal(since))] if since is not None else []
    conditions += [sql.SQL("{} < to_timestamp({})").format(logged, sql.Literal(until))] if until is not None else []
    # The view's own SELECT, narrowed: of what the view computes no partition knows.
    query = sql.SQL("SELECT {} FROM ({} WHERE {}) AS shown").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(text.strip().removesuffix(";")),
        sql.SQL(" AND ").join(conditions),
    )  # fmt: skip
    with connection.transaction():
        connection.execute("SET TRANSACTION READ ONLY")
        with connection.cursor(f"read_{table}") as cursor:
            cursor.itersize = AT_ONCE
            cursor.execute(query)
            yield from cursor
