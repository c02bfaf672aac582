"""A file that exported rows lie in until they are settled and shuffled; it lives as long as the export.

Rows are coarse and re-keyed when they come; what it holds besides are hashes that mean nothing outside of the process.
They leave in the order of random numbers, so that nothing tells in which order they were stored. More rows than memory
holds are no matter: SQLite sorts on the disk, in the same folder.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sink.stores.faults import explained

CACHE = 16_384  # kB


class Staging:
    """Rows of one table, on their way. Use it as a context manager."""

    def __init__(self, path: Path, levels: int, width: int) -> None:
        self.path = path
        self._levels, self._width = levels, width
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        columns = [*(f"class{level}" for level in range(levels)), "sender", "recipient"]
        columns += [f"value{place}" for place in range(width)]
        with explained(path):
            self._connection = sqlite3.connect(path, isolation_level=None)
            folder = str(path.parent.absolute()).replace("'", "''")
            for words in (
                "journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE}", "temp_store = FILE",
                f"temp_store_directory = '{folder}'",
            ):  # fmt: skip
                self._connection.execute(f"PRAGMA {words}")
            self._connection.execute(f"CREATE TABLE staged (chance, level DEFAULT -1, {', '.join(columns)})")
            self._connection.execute("CREATE TABLE seen (id PRIMARY KEY) WITHOUT ROWID")
            self._connection.execute("CREATE TABLE tally (class PRIMARY KEY, number) WITHOUT ROWID")
        marks = ", ".join("?" * len(columns))
        self._add = f"INSERT INTO staged (chance, {', '.join(columns)}) VALUES (random(), {marks})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self.path.unlink(missing_ok=True)

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Take rows: the key of the class at each level, what tells sender and recipient, values."""
        with explained(self.path):
            self._connection.execute("BEGIN")
            self._connection.executemany(self._add, rows)
            self._connection.execute("COMMIT")

    def note(self, ids: Iterable[str]) -> None:
        """Remember rows that may come a second time."""
        with explained(self.path):
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(one,) for one in ids])
            self._connection.execute("COMMIT")

    def known(self, one: str) -> bool:
        """Tell whether a row was noted."""
        with explained(self.path):
            return self._connection.execute("SELECT 1 FROM seen WHERE id = ?", (one,)).fetchone() is not None

    def settle(self, least: int) -> list[int]:
        """Give each row the first level at which its class is large enough; return how many rows are at each."""
        found = []
        with explained(self.path):
            for level in range(self._levels):
                done = self._connection.execute(
                    f"UPDATE staged SET level = ?1 WHERE level = -1 AND class{level} IN ("
                    f" SELECT class{level} FROM staged WHERE level = -1 GROUP BY class{level} HAVING count(*) >= ?2"
                    " AND count(DISTINCT sender) >= ?2 AND count(DISTINCT recipient) >= ?2)",
                    (level, least),
                )
                found.append(done.rowcount)
        return found

    def number(self) -> int:
        """Return how many rows there are."""
        with explained(self.path):
            return int(self._connection.execute("SELECT count(*) FROM staged").fetchone()[0])

    def shuffled(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Yield (level, values) of the rows that are settled, in an order by chance."""
        values = ", ".join(f"value{place}" for place in range(self._width))
        with explained(self.path):
            for level, *row in self._connection.execute(
                f"SELECT level, {values} FROM staged WHERE level >= 0 ORDER BY chance"
            ):
                yield level, tuple(row)

    def smallest(self, keys: Iterable[bytes]) -> tuple[int, int]:
        """Count rows by a key that tells their class; return (rows, rows of the smallest class; 0 without rows)."""
        with explained(self.path):
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO tally VALUES (?, 1) ON CONFLICT (class) DO UPDATE SET number = number + 1",
                ((key,) for key in keys),
            )
            self._connection.execute("COMMIT")
            found = self._connection.execute("SELECT coalesce(sum(number), 0), coalesce(min(number), 0) FROM tally")
            rows, least = found.fetchone()
        return int(rows), int(least)
