"""Fills a store with as many rows as years leave, in a minute.

The rows of a generated log are repeated, under ids of their own, each copy as much later as the log is long, from years
before the log on: time leads their key, as that of real ones, and what is imported next comes behind them.
"""

import sqlite3
from pathlib import Path

from bench.generate import START

IDS = ("id", "queue_id", "message_id", "re_message_id", "next_queue_id", "parent_queue_id")
YEARS = 10 * 365 * 86_400  # seconds: the first row is so much older than a generated log
MEMORY = 64_000  # kB of cache while it is filled


def fill(path: Path, rows: int, table: str = "delivery", template: Path | None = None) -> int:
    """Put rows into a store until it has so many; return how many it has.

    template: a store that has imported a generated log, of whose rows copies are made.
    """
    store = sqlite3.connect(path, isolation_level=None)
    try:
        store.execute(f"PRAGMA cache_size = -{MEMORY}")
        store.execute("ATTACH ? AS given", [str(template or path)])
        store.execute(f"CREATE TEMP TABLE old AS SELECT * FROM given.{table} ORDER BY logged_second, id")
        asked = "SELECT min(logged_second), max(logged_second), count(*) FROM old"
        first, last, number = store.execute(asked).fetchone()
        there, newest = store.execute(f"SELECT count(*), max(logged_second) FROM main.{table}").fetchone()
        span = last - first + 1
        copies = -(-max(0, rows - there) // number)
        start = START - YEARS if newest is None else newest + 1
        assert start + copies * span < START, "so many rows are of more years"
        names = [row[1] for row in store.execute(f"PRAGMA main.table_info({table})")]
        for copy in range(copies):
            later = start + copy * span - first
            made = {name: f"CASE WHEN {name} IS NOT NULL THEN randomblob(16) END" for name in IDS}
            made |= {"logged_second": f"logged_second + {later}", "first_seen": f"first_seen + {later}000000",
                     "date": f"date + {later}"}  # fmt: skip
            columns = ", ".join(made.get(name, f'"{name}"') for name in names)
            wanted = min(number, rows - there)
            store.execute(f"INSERT INTO main.{table} SELECT {columns} FROM old LIMIT {wanted}")
            there += wanted
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(there)
    finally:
        store.close()


def cleared(path: Path) -> None:
    """Delete all rows of a store, and give the space back; what it is bound to stays."""
    store = sqlite3.connect(path, isolation_level=None)
    for statement in ("DELETE FROM delivery", "DELETE FROM reject", "VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
        store.execute(statement)
    store.close()


def each_held(path: Path, table: str) -> float:
    """How many bytes of a store's file a row of a table takes, indexes included: the pages free without it."""
    store = sqlite3.connect(path, isolation_level=None)
    try:
        store.execute("BEGIN IMMEDIATE")
        number = store.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        page = store.execute("PRAGMA page_size").fetchone()[0]
        before = store.execute("PRAGMA freelist_count").fetchone()[0]
        for (view,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall():
            store.execute(f"DROP VIEW {view}")
        store.execute(f"DROP TABLE {table}")
        after = store.execute("PRAGMA freelist_count").fetchone()[0]
        store.execute("ROLLBACK")
        return float((after - before) * page / max(1, number))
    finally:
        store.close()
