"""Measures rows per second on their way to PostgreSQL, beside a bare COPY of the same bytes.

    make bench-postgres               # a million lines
    make bench-postgres ARGS="--lines 200000 --rounds 5"

One server of its own, in a temporary folder, with the settings that PostgreSQL comes with but for the syncing of each
write, which would measure the disk. All is wall clock of one run, contenders in turns, and the medians count; the
figures that matter are ratios:

    COPY      the bytes of all rows into a table without keys and indexes, in one go: what the server can take
    staged    the same bytes as the drain sends them: COPY into a temporary table, and on by INSERT into partitions
    drain     all of it: rows read from an SQLite store, formatted, sent, and deleted there
    import    a log into SQLite alone, and a log into PostgreSQL until the last row has left

The exit status is 1 where a ratio is below its floor.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from bench.measure import CACHE, ROOT, made_installation, made_log, program
from sink.stores.drain import MOST, Drain
from sink.stores.outbox import TABLES
from sink.stores.postgres import PostgresStore
from sink.stores.route import Route
from sink.stores.sqlite import SqliteStore
from tests.integration.postgres.server import Database, Server, made_folder, programs

DRAIN, IMPORT = 0.5, 0.6  # the least that the drain has of staged, and an import into PostgreSQL of one into SQLite
SETTINGS = {
    "log_statement": "none", "autovacuum": "on", "shared_buffers": "128MB", "max_wal_size": "1GB",
    "log_min_error_statement": "error",
}  # fmt: skip
Loads = list[dict[str, bytes]]


def seconds(what: Callable[[], object]) -> float:
    start = time.monotonic()
    what()
    return time.monotonic() - start


def run(folder: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*program(folder), *words], check=True, cwd=folder, env=environment, capture_output=True)


class Race:
    """A store full of rows, and a server to take them."""

    def __init__(self, folder: Path, server: Server, log: Path) -> None:
        self.folder, self.log = folder, log
        made_installation(folder)
        run(folder, "import", str(log))
        self.full = folder / "full.sqlite"
        shutil.move(folder / "s.sqlite", self.full)
        self.database = server.make_database()
        with (folder / "postsink.yaml").open("a") as file:
            file.write(f"database: {self.database.conninfo()}\n")
        run(folder, "db", "init")
        self.columns = ", ".join(f'"{name}" text' for name, _ in TABLES["delivery"])
        self.loads = self._loads()
        self.rows = sum(load["delivery"].count(b"\n") for load in self.loads)

    def _loads(self) -> Loads:
        """The bytes of all deliveries, as the drain sends them."""
        found: Loads = []
        copy = self._copy_of_store()
        with SqliteStore.open(copy) as store:
            while load := store.load(MOST).get("delivery"):
                found.append({"delivery": load.lines})
                store.unload({"delivery": load.keys})
        return found

    def _copy_of_store(self) -> Path:
        path = self.folder / "copy.sqlite"
        shutil.copy2(self.full, path)
        return path

    def _emptied(self, database: Database) -> None:
        database.run("TRUNCATE delivery, reject", "CHECKPOINT")

    def copy(self) -> float:
        """One COPY into a bare table."""
        self.database.run("DROP TABLE IF EXISTS bare", f"CREATE TABLE bare ({self.columns})", "CHECKPOINT")
        with psycopg.connect(self.database.conninfo()) as connection, connection.cursor() as cursor:

            def do() -> None:
                with cursor.copy("COPY bare FROM STDIN") as copy:
                    for load in self.loads:
                        copy.write(load["delivery"])
                connection.commit()

            return seconds(do)

    def staged(self) -> float:
        self._emptied(self.database)
        with PostgresStore(self.database.conninfo()) as store:
            return seconds(lambda: [store.take(load) for load in self.loads])

    def drain(self) -> float:
        self._emptied(self.database)
        path = self._copy_of_store()
        with SqliteStore.open(path) as store:
            store._connection.execute("DELETE FROM reject")
        drain = Drain(Route(path, self.database.conninfo(), "", {}), print, strict=True)
        drain.finish()

        def do() -> None:
            drain.start()
            drain.join()

        found = seconds(do)
        assert drain.moved["delivery"] == self.rows, "rows are missing"
        return found

    def imported(self, there: bool) -> float:
        """An import, with the database or without it."""
        self._emptied(self.database)
        config = self.folder / "postsink.yaml"
        text = config.read_text()
        for old in self.folder.glob("s.sqlite*"):
            old.unlink()
        config.write_text(text if there else text.partition("database:")[0])
        try:
            found = seconds(lambda: run(self.folder, "import", str(self.log)))
        finally:
            config.write_text(text)
        assert (self.database.count() > 0) == there
        return found


def main() -> int:
    options = argparse.ArgumentParser(prog="make bench-postgres", description="Measure the way to PostgreSQL.")
    options.add_argument("--lines", type=int, default=1_000_000, help="lines of the generated log")
    options.add_argument("--rounds", type=int, default=3, help="runs of each contender")
    given = options.parse_args()
    if programs() is None:
        print("bench: PostgreSQL is not installed (apt-get install postgresql).", file=sys.stderr)
        return 1
    log = made_log(given.lines, 1)
    top = made_folder()
    server = Server(top).make()
    server.configure(**SETTINGS)
    server.start()
    try:
        with tempfile.TemporaryDirectory(prefix="postgres-", dir=CACHE) as name:
            race = Race(Path(name), server, log)
            contenders: dict[str, Callable[[], float]] = {
                "COPY": race.copy, "staged": race.staged, "drain": race.drain,
                "import, SQLite": lambda: race.imported(False), "import, PostgreSQL": lambda: race.imported(True),
            }  # fmt: skip
            found: dict[str, list[float]] = {what: [] for what in contenders}
            for _ in range(given.rounds):
                for what, measure in contenders.items():
                    found[what].append(measure())
    finally:
        server.stop()
        shutil.rmtree(top)
    return told({what: statistics.median(times) for what, times in found.items()}, race.rows, given.lines)


def told(medians: dict[str, float], rows: int, lines: int) -> int:
    """Print the medians and the ratios; 1 where one is below its floor."""
    print(f"{rows:,} rows of {lines:,} lines")
    for what, took in medians.items():
        number, unit = (lines, "lines/s") if what.startswith("import") else (rows, "rows/s")
        print(f"{what:20}{number / took:12,.0f} {unit}")
    missed = 0
    for what, of, floor in (
        ("staged", "COPY", 0.0), ("drain", "COPY", 0.0), ("drain", "staged", DRAIN),
        ("import, PostgreSQL", "import, SQLite", IMPORT),
    ):  # fmt: skip
        ratio = medians[of] / medians[what]
        is_missed = ratio < floor
        missed += is_missed
        print(f"{what} of {of:28}{ratio:6.2f}" + (f"  at least {floor}" if floor else "") + "  MISSED" * is_missed)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
