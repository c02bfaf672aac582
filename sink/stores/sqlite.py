"""The embedded store: one SQLite file, mode 0600, that takes batches of rows.

Rules: a batch is one transaction; a row that is there already changes nothing (law 6); one writer at a time holds the
lock; what the rows' pseudonyms depend on is recorded, and a mismatch stops before any row is written. Errors
of SQLite quote no values, but only their class and our own words are passed on all the same.
"""

import contextlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sink.core.batch import Batch
from sink.core.pseudonym import WIDTH
from sink.core.rows import HALVES, PLAIN, REJECT_HALVES, REJECT_SCALARS, SCALARS, Row
from sink.fault import CONFIG, TEMPFAIL, Fault
from sink.stores import locks, opening, outbox, person, reading, retention, schema
from sink.stores.faults import explained, fault_of
from sink.stores.outbox import Load
from sink.stores.person import Whom
from sink.stores.retention import Place

SETTLING, PAUSE = 60.0, 0.02  # seconds that a checkpoint is tried, and between two tries
PLAIN_WIDTH = 2 + len(SCALARS) + len(PLAIN)
ALWAYS = frozenset(  # columns that no row lacks: "" need not be looked for
    {"id", "queue_id", "logged_micros", "epoch", "host", "instance", "first_seen", "is_internal", "status", "stage"}
)
_PUT = "INSERT OR REPLACE INTO open_message VALUES (?, ?, ?)"


def _insert(table: str, halves: tuple[str, ...], scalars: tuple[str, ...], plain: tuple[str, ...] = ()) -> str:
    """Return the statement that takes a row of sink.core.rows: second, halves, scalars, plain queue ids."""
    columns = {"logged_second": "?1"}
    for place, name in enumerate(halves):
        half = f"substr(?2, {WIDTH * place + 1}, {WIDTH})"
        columns[name] = half if name in ALWAYS else f"nullif({half}, zeroblob({WIDTH}))"
    for place, name in enumerate(scalars, 3):
        columns[name] = f"?{place}" if name in ALWAYS else f"nullif(?{place}, '')"
    for place, name in enumerate(plain, 3 + len(scalars)):
        columns[name] = f"nullif(?{place}, '')"
    # The null sender's user is empty; a row without a sender has none.
    kind = 3 + scalars.index("sender_kind")
    columns["sender_user"] = f"CASE ?{kind} WHEN 'null' THEN x'' ELSE {columns['sender_user']} END"
    names = ", ".join(f'"{column}"' for column in columns)
    return f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({', '.join(columns.values())})"


class SqliteStore:
    """An open store. Use it as a context manager; raises Fault for all that can go wrong."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._locks: list[int] = []
        self._deliveries = _insert("delivery", HALVES, SCALARS)
        self._plain = _insert("delivery", HALVES, SCALARS, PLAIN)
        self._rejects = _insert("reject", REJECT_HALVES, REJECT_SCALARS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def create(cls, path: Path) -> Self:
        """Open the store of a path for writing, and make it where it is missing."""
        opening.may_open(path, new=True)
        with explained(path):
            connection = opening.connect(path, "rwc")
            if opening.is_new(connection):
                opening.make(path, connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            opening.check_version(path, connection)
        return cls(path, connection)

    @classmethod
    def upgrade(cls, path: Path) -> list[int]:
        """Bring an existing store's schema up to date; return the versions that were run."""
        opening.may_open(path, new=False)
        with explained(path):
            connection = opening.connect(path, "rw")
            try:
                return opening.upgrade(path, connection)
            finally:
                connection.close()

    @classmethod
    def memory(cls) -> Self:
        """Open a new store that no disk ever sees."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.executescript(opening.script())
        return cls(Path(":memory:"), connection)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing store beside a writer, for reading and short transactions."""
        opening.may_open(path, new=False)
        with explained(path):
            connection = opening.connect(path, "rw")
            opening.check_version(path, connection)
        return cls(path, connection)

    def close(self) -> None:
        """Close the file and let its locks go."""
        self._connection.close()
        while self._locks:
            os.close(self._locks.pop())

    def hurry(self, milliseconds: int) -> None:
        """Wait no longer than this for another command's transaction."""
        self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def claim(self, stream: str, held: int | None = None, *, shared: bool = False) -> int:
        """Be the one writer of a stream's open messages, until the store is closed; 75 where another is.

        held: the lock, where this process has it already; shared: keep writers out, as others may. Returns the lock,
        for locks.tell().
        """
        lock = locks.claim(self.path, stream, held, shared=shared)
        self._locks.append(lock)
        return lock

    # -- what the pseudonyms depend on

    def settings(self) -> dict[str, str]:
        """Return what was recorded when the store was made."""
        with explained(self.path):
            return dict(self._connection.execute("SELECT name, value FROM setting").fetchall())

    def bind(self, settings: Mapping[str, str], checks: Mapping[int, str], *, anew: bool = False) -> None:
        """Record settings and epoch check values in a new store; stop (78) where they do not match an old one's.

        anew: settings of a store in which nothing is, and which no daemon has open, are replaced.
        """
        with explained(self.path), self._transaction():
            known = dict(self._connection.execute("SELECT name, value FROM setting").fetchall())
            epochs = dict(self._connection.execute("SELECT number, check_value FROM epoch").fetchall())
            for number, check in checks.items():
                if epochs.get(number, check) != check:
                    raise Fault(
                        CONFIG,
                        f"{self.path} was made with another key for epoch {number}; use the keyring it was made with,"
                        " or another store",
                    )
            changed = [name for name, value in settings.items() if known.get(name, value) != value]
            if changed and anew and self._is_unused():
                self._connection.executemany("REPLACE INTO setting VALUES (?, ?)", settings.items())
                changed = []
            if changed:
                name = changed[0]
                raise Fault(
                    CONFIG,
                    f"{self.path} was made with {name} {known[name]}, the config says {settings[name]};"
                    " set it back, or use another store",
                )
            self._connection.executemany("INSERT OR IGNORE INTO setting VALUES (?, ?)", settings.items())
            self._connection.executemany("INSERT OR IGNORE INTO epoch VALUES (?, ?)", checks.items())

    def _is_unused(self) -> bool:
        tables = " UNION ALL ".join(f"SELECT 1 FROM {table}" for table in ("delivery", "reject", "open_message"))
        return not self._connection.execute(f"SELECT EXISTS ({tables})").fetchone()[0] and (
            locks.told(self.path, "live") is None
        )

    # -- rows

    def commit(self, batch: Batch, stream: str | None = None) -> tuple[int, int]:
        """Keep a batch in one transaction; return the number of (deliveries, rejects) that were new."""
        # Without the context managers used elsewhere: a daemon does this for each line.
        connection = self._connection
        rows, rejects, puts, drops, again = batch
        try:
            if len(puts) == 1 and stream is not None and not (rows or rejects or drops or again):
                ((token, state),) = puts.items()
                connection.execute(_PUT, (stream, token, state))  # a statement alone is a transaction
                return 0, 0
            connection.execute("BEGIN IMMEDIATE")
            try:
                found = self._write(batch, stream)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            fault = fault_of(self.path, getattr(error, "sqlite_errorcode", 0) & 0xFF)
        else:
            return found
        raise fault from None

    def _write(self, batch: Batch, stream: str | None) -> tuple[int, int]:
        connection = self._connection
        before = connection.total_changes
        if batch.rows:
            connection.executemany(self._statement(batch.rows), sorted(batch.rows))
        between = connection.total_changes
        if batch.rejects:
            connection.executemany(self._rejects, sorted(batch.rejects))
        after = connection.total_changes
        if batch.again:
            again = self._statement(batch.again).replace("OR IGNORE", "OR REPLACE", 1)
            # Of two lines alike the least stays, here as above.
            connection.executemany(again, sorted(batch.again, reverse=True))
        if stream is not None:
            if batch.drops:
                gone = [(stream, token) for token in batch.drops]
                connection.executemany("DELETE FROM open_message WHERE stream = ? AND token = ?", gone)
            kept = [(stream, token, state) for token, state in batch.puts.items()]
            connection.executemany(_PUT, kept)
        return between - before, after - between

    def _statement(self, rows: list[Row]) -> str:
        """Return the statement for rows, which all keep queue ids plain or none does."""
        return self._plain if rows and len(rows[0]) == PLAIN_WIDTH else self._deliveries

    # -- what leaves in time

    def prune(self, before: int, most: int) -> int:
        """Delete at most so many deliveries and refusals of those logged before a second; return how many."""
        with explained(self.path), self._transaction():
            return retention.prune(self._connection, before, most)

    def rows_by_epoch(self) -> dict[int, int]:
        """Return the number of rows of each epoch; reads all of them."""
        with explained(self.path):
            return retention.rows_by_epoch(self._connection)

    def search(self, epoch: int, place: Place, most: int) -> tuple[bool, Place]:
        """Look for a row of an epoch among so many rows; see retention.search()."""
        with explained(self.path):
            return retention.search(self._connection, epoch, place, most)

    def open_by_epoch(self) -> dict[int, Counter[str]]:
        """Return the number of open messages of each epoch, by stream."""
        with explained(self.path):
            return retention.open_by_epoch(self._connection)

    # -- the outbox

    def load(self, most: int) -> dict[str, Load]:
        """Return the oldest rows on their way to PostgreSQL, at most so many of each table; {} where there are none."""
        with explained(self.path):
            loads = {table: outbox.load(self._connection, table, most) for table in outbox.TABLES}
        return {table: load for table, load in loads.items() if load.keys}

    def unload(self, keys: Mapping[str, list[outbox.Key]]) -> None:
        """Delete rows that have arrived."""
        with explained(self.path):
            for table, gone in keys.items():
                outbox.unload(self._connection, table, gone)

    def limit(self, size: int | None) -> None:
        """Let the file grow to so many bytes at most; a commit beyond that fails as on a full disk. None: no limit."""
        with explained(self.path):
            self._connection.execute(f"PRAGMA max_page_count = {(size or opening.MOST_BYTES) // opening.PAGE_SIZE}")

    def depth(self) -> tuple[int, int | None]:
        """Return (number of rows that wait, log second of the oldest)."""
        with explained(self.path):
            return outbox.depth(self._connection)

    def used(self) -> int:
        """Return how many bytes of the file hold something."""
        with explained(self.path):
            return outbox.used(self._connection)

    # -- rows for others

    def read(
        self, table: str, columns: Sequence[str], since: int | None, until: int | None
    ) -> Iterator[tuple[Any, ...]]:
        """Yield columns of a table's view, of rows logged in a range of seconds."""
        with explained(self.path):
            yield from reading.read(self._connection, table, columns, since, until)

    # -- a person's rows

    def find(
        self, whom: Sequence[Whom], since: int | None, until: int | None
    ) -> Iterator[tuple[str, dict[str, object]]]:
        """Yield (table, row of its view) for the rows in which each of whom stands, logged in a range of seconds."""
        with explained(self.path):
            yield from person.find(self._connection, whom, since, until)

    def count(self, whom: Whom) -> int:
        """Return the number of rows in which one of whom stands."""
        with explained(self.path):
            return person.count(self._connection, whom)

    def forget(self, whom: Whom, key: bytes) -> dict[str, int]:
        """Put others in the place of addresses, in short transactions; return numbers of rows by table."""
        with explained(self.path):
            return person.forget(self._connection, whom, key)

    def wipe(self) -> None:
        """Have nothing in the files that was overwritten or deleted."""
        self.settle()
        with explained(self.path):
            # In a file, beside the store and without a name: in memory it would take as much as the store has.
            self._connection.execute("PRAGMA temp_store = FILE")
            folder = str(self.path.parent.absolute()).replace("'", "''")
            self._connection.execute(f"PRAGMA temp_store_directory = '{folder}'")
            self._connection.execute("VACUUM")
        self.settle()

    def settle(self) -> None:
        """Bring the log of writes into the file and empty it, on the disk; 75 where others use the store too long."""
        with explained(self.path):
            self._connection.execute("PRAGMA synchronous = FULL")
            end = time.monotonic() + SETTLING
            # SQLite waits for readers and writers, but not for who brings the log into the file just now.
            while self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() >= end:
                    break
                time.sleep(PAUSE)
            else:
                return
        raise Fault(TEMPFAIL, f"{self.path} is in use; try again")

    def truncate(self) -> bool:
        """Empty the log of writes, where nobody reads from it now; tell whether that was so."""
        with explained(self.path):
            return not self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    def take(self, view: str) -> list[dict[str, object]]:
        """Return the rows of delivery_text or reject_text, oldest first, and delete them."""
        table = {"delivery_text": "delivery", "reject_text": "reject"}[view]
        with explained(self.path), self._transaction():
            found = self._connection.execute(f"SELECT * FROM {view} ORDER BY logged_at, id")
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            self._connection.execute(f"DELETE FROM {table}")
        return rows

    def state(self, stream: str) -> dict[bytes, bytes]:
        """Return a stream's open messages by token."""
        with explained(self.path):
            return dict(
                self._connection.execute("SELECT token, state FROM open_message WHERE stream = ?", (stream,)).fetchall()
            )

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        with explained(self.path):
            return {
                table: self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("delivery", "reject", "open_message")
            }

    def span(self) -> tuple[int | None, int | None]:
        """Return the first and the last log second of the deliveries."""
        with explained(self.path):
            first, last = self._connection.execute(
                "SELECT min(logged_second), max(logged_second) FROM delivery"
            ).fetchone()
            return first, last

    def make_indexes(self) -> None:
        """Make the optional indexes."""
        with explained(self.path):
            script = schema.extra(opening.DIALECT, "indexes")
            self._connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nCOMMIT;")

    def has_indexes(self) -> bool:
        """Tell whether the optional indexes are there."""
        with explained(self.path):
            found = self._connection.execute("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'delivery_by_*'")
            return bool(found.fetchone()[0])

    def empty(self) -> None:
        """Delete all rows and open messages; settings and check values stay."""
        with explained(self.path), self._transaction():
            for table in ("delivery", "reject", "open_message"):
                self._connection.execute(f"DELETE FROM {table}")
        self.wipe()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
