"""A database that lines are played into, once through the embedded store's outbox, to compare what both show."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from sink.stores import outbox
from sink.stores.postgres import PostgresStore
from sink.stores.sqlite import SqliteStore
from tests.integration.postgres.server import Database
from tests.judges.program import Row

VIEWS = ("delivery_text", "delivery_final", "reject_text")
Views = dict[str, list[Row]]


class Stage:
    """One database, and who writes, reads and cleans it."""

    def __init__(self, database: Database) -> None:
        self._writer = PostgresStore(database.conninfo("drain"))
        self._reader = psycopg.connect(database.conninfo("analyst"), autocommit=True, row_factory=dict_row)
        self._broom = psycopg.connect(database.conninfo(), autocommit=True)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()
        self._broom.close()

    def views(self, store: SqliteStore) -> Views:
        """What comes of a store's rows there; twice changes nothing."""
        loads = {table: outbox.load(store._connection, table, 10_000) for table in outbox.TABLES}
        lines = {table: load.lines for table, load in loads.items()}
        assert self._writer.take(lines) == {table: len(load.keys) for table, load in loads.items()}
        assert set(self._writer.take(lines).values()) == {0}
        found = {}
        for view in VIEWS:
            question = sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(view))
            found[view] = self._reader.execute(question).fetchall()
        self._broom.execute("TRUNCATE delivery, reject")
        return found


def embedded(store: SqliteStore) -> Views:
    """The same views of the store itself."""
    found = {}
    for view in VIEWS:
        cursor = store._connection.execute(f"SELECT * FROM {view} ORDER BY id")
        names = [column[0] for column in cursor.description]
        found[view] = [dict(zip(names, row, strict=True)) for row in cursor]
    return found
