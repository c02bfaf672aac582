"""A person's rows in the database: found and forgotten as in the embedded store, see sink.stores.person.

A server may log statements and their parameters, so that neither says who was looked up, nor which rows were his: they
would belong together again. Addresses and new values go by COPY into temporary tables, which end with the connection;
keys of rows never leave the server but as an answer.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import merge
from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from sink.core.pseudonym import NONE, WIDTH
from sink.core.rows import shown
from sink.stores.person import AT_ONCE, LISTS, PAIRS, Whom, other_of, replaced
from sink.stores.postgres_admin import LOCK
from sink.stores.postgres_reading import narrowed

_NOBODY = UUID(bytes=NONE)  # in the place of a domain that an address has not
_EPOCH = datetime.fromtimestamp(0, UTC)
Row = tuple[str, dict[str, object]]


def _named(connection: Connection[Any], whom: Whom, name: str) -> None:
    """Make a table of whom is meant."""
    table = sql.Identifier(name)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(table))
    connection.execute(sql.SQL("CREATE TEMPORARY TABLE {} (person uuid, domain uuid, shown text)").format(table))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY pg_temp.{} FROM STDIN").format(table)) as copy:
        for one in whom.addresses:
            copy.write_row((UUID(bytes=one[:WIDTH]), UUID(bytes=one[WIDTH:]), shown(one)))


def _condition(whom: Whom, table: str, name: str) -> sql.Composed:
    """Return the condition that rows of a table fulfil, by what _named() made."""
    there = sql.Identifier("pg_temp", name)
    found: list[sql.Composable] = [
        sql.SQL("({}, coalesce({}, {})) IN (SELECT person, domain FROM {})").format(
            sql.Identifier(f"{pair}_user"), sql.Identifier(f"{pair}_domain"), _NOBODY, there
        )
        for pair in PAIRS[table] if pair in whom.columns
    ]  # fmt: skip
    found += [
        sql.SQL("string_to_array({}, ' ') && (SELECT array_agg(shown) FROM {})").format(sql.Identifier(one), there)
        for one in LISTS[table] if one in whom.columns
    ]  # fmt: skip
    return sql.SQL("({})").format(sql.SQL(" OR ").join(found or [sql.SQL("false")]))


def count(connection: Connection[Any], whom: Whom) -> int:
    """Return the number of rows in which one of whom stands."""
    _named(connection, whom, "whom0")
    found = 0
    for table in PAIRS:
        condition = _condition(whom, table, "whom0")
        query = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(sql.Identifier(table), condition)
        found += (connection.execute(query).fetchone() or (0,))[0]
    return found


def find(connection: Connection[Any], whom: Sequence[Whom], since: int | None, until: int | None) -> Iterator[Row]:
    """Yield (table, row of its view) for the rows in which each of whom stands, oldest first."""
    for number, one in enumerate(whom):
        _named(connection, one, f"whom{number}")
    tables = [_find_in(connection, table, whom, since, until) for table in PAIRS]
    yield from merge(*tables, key=lambda found: str(found[1]["logged_at"]))


def _find_in(
    connection: Connection[Any], table: str, whom: Sequence[Whom], since: int | None, until: int | None
) -> Iterator[Row]:
    """Yield those of one table; who reads them slowly holds no transaction open."""
    logged, micros, key = (sql.Identifier(table, name) for name in ("logged_at", "logged_micros", f"{table}_key"))
    conditions = [_condition(one, table, f"whom{number}") for number, one in enumerate(whom)]
    query = sql.SQL("{} ORDER BY {}, {}, {}").format(
        narrowed(connection, table, conditions, since, until), logged, micros, key
    )
    with connection.cursor(f"found_{table}", withhold=True) as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(query)
        names = [column.name for column in cursor.description or ()]
        for row in cursor:
            yield table, dict(zip(names, row, strict=True))


# -- forgetting


def forget(connection: Connection[Any], whom: Whom, key: bytes) -> dict[str, int]:
    """Put others in the place of addresses, as key makes them, in short transactions; return numbers of rows by table.

    Then have nothing in the tables that was replaced, as far as that is in a VACUUM's power.
    """
    _named(connection, whom, "whom0")
    found = {}
    for table in PAIRS:
        number = _find_keys(connection, table, whom)
        _make_stage(connection, table)
        found[table] = sum(
            _forget_in(connection, table, first, whom.addresses, key) for first in range(1, number + 1, AT_ONCE)
        )
    for table in PAIRS:
        connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(table)))
    return found


def _find_keys(connection: Connection[Any], table: str, whom: Whom) -> int:
    """Make a numbered table of the keys of the rows that are meant; return how many they are."""
    made = connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} AS SELECT row_number() OVER (ORDER BY logged_at, {key}) AS number, logged_at,"
            " {key} AS row_key FROM {} WHERE {}"
        ).format(
            sql.Identifier(f"keys_{table}"), sql.Identifier(table), _condition(whom, table, "whom0"),
            key=sql.Identifier(f"{table}_key"),
        )
    )  # fmt: skip
    return made.rowcount


def _read(table: str) -> tuple[list[str], list[str], list[str]]:
    """Return the columns that are read: what rows of a message share, halves, lists."""
    shared = ["host", "queue_id", "queue_id_plain", "first_seen_at"] if table == "delivery" else []
    return shared, [f"{pair}_{half}" for pair in PAIRS[table] for half in ("user", "domain")], list(LISTS[table])


def _make_stage(connection: Connection[Any], table: str) -> None:
    """Make a table for the new values of rows."""
    columns = [sql.SQL("{} uuid").format(sql.Identifier(f"{pair}_user")) for pair in PAIRS[table]]
    columns += [sql.SQL("{} text").format(sql.Identifier(name)) for name in LISTS[table]]
    connection.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} (logged_at timestamptz, row_key uuid, {}) ON COMMIT DELETE ROWS").format(
            sql.Identifier(f"stage_{table}"), sql.SQL(", ").join(columns)
        )
    )


def _forget_in(
    connection: Connection[Any], table: str, first: int, addresses: frozenset[bytes], secret: bytes
) -> int:
    """Forget in some rows, from a number on, in one transaction; return the number of those that are still there."""
    shared, halves, lists = _read(table)
    whole, keys, stage = map(sql.Identifier, (table, f"keys_{table}", f"stage_{table}"))
    row_key = sql.Identifier(f"{table}_key")
    changed = [sql.Identifier(name) for name in (*(f"{pair}_user" for pair in PAIRS[table]), *lists)]
    with connection.transaction(), connection.cursor() as cursor:
        # Only commands of an admin change rows, and they do it one after the other; Citus can't lock rows.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        columns = sql.SQL(", ").join([sql.Identifier("old", name) for name in (*shared, *halves, *lists)])
        cursor.execute(
            sql.SQL(
                "SELECT old.logged_at, old.{}, {} FROM {} AS old JOIN {} AS key ON (old.logged_at, old.{}) ="
                " (key.logged_at, key.row_key) WHERE key.number BETWEEN %s AND %s"
            ).format(row_key, columns, whole, keys, row_key),
            (first, first + AT_ONCE - 1),
        )
        rows = cursor.fetchall()
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(stage)) as copy:
            for moment, one, *values in rows:
                told = [value.bytes if isinstance(value, UUID) else value for value in values]
                other = other_of(secret, _shared(table, one, told))
                new = replaced(told[len(shared) :], len(PAIRS[table]), addresses, other)
                copy.write_row((moment, one, *[UUID(bytes=v) if isinstance(v, bytes) else v for v in new]))
        assigned = sql.SQL(", ").join([sql.SQL("{0} = stage.{0}").format(name) for name in changed])
        cursor.execute(
            sql.SQL(
                "UPDATE {} AS old SET {} FROM {} AS stage"
                " WHERE (old.logged_at, old.{}) = (stage.logged_at, stage.row_key)"
            ).format(whole, assigned, stage, row_key)
        )
        return cursor.rowcount


def _shared(table: str, key: UUID, values: Sequence[Any]) -> tuple[object, ...]:
    """Return what rows of one message share, as the embedded store has it: there some of them may wait."""
    if table == "reject":
        return (key.bytes,)
    host, queue_id, plain, seen = values[:4]
    micros = (seen - _EPOCH) // (datetime.resolution)
    return host, plain if queue_id is None else queue_id, micros
