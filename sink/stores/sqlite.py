"""The embedded store: one SQLite file, mode 0600, that takes batches of rows.

Rules: a batch is one transaction; a row that is there already changes nothing (law 6); one writer at a time holds the
lock; what the rows' pseudonyms depend on is recorded, and a mismatch stops before any row is written. Errors
of SQLite quote no values, but only their class and our own words are passed on all the same.
"""

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sink.core.batch import Batch
from sink.core.pseudonym import WIDTH
from sink.core.rows import HALVES, PLAIN, REJECT_HALVES, REJECT_SCALARS, SCALARS, Row
from sink.fault import CANTCREATE, CONFIG, NOINPUT, NOPERM, TEMPFAIL, Fault
from sink.stores import locks, person, retention, schema
from sink.stores.faults import explained, fault_of
from sink.stores.person import Whom

PAGE_SIZE = 8192  # bytes; rows of about 370 bytes, appended in time's order
CACHE = 512  # kB: rows are appended, so that few pages are needed again
BUSY = 10_000  # ms that another command's short transaction may take
SETTLING = 6  # times BUSY that a checkpoint waits for readers
PLAIN_WIDTH = 2 + len(SCALARS) + len(PLAIN)
ALWAYS = frozenset(  # columns that no row lacks: "" need not be looked for
    {"id", "queue_id", "logged_micros", "epoch", "host", "instance", "first_seen", "is_internal", "status", "stage"}
)
_PUT = "INSERT OR REPLACE INTO open_message VALUES (?, ?, ?)"
_OURS = 0x70736E6B  # application_id, "psnk"


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
        _may_open(path, new=True)
        with explained(path):
            connection = _connect(path, "rwc")
            if _is_new(connection):
                _make(path, connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            _check_version(path, connection)
        return cls(path, connection)

    @classmethod
    def memory(cls) -> Self:
        """Open a new store that no disk ever sees."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.executescript(schema.tables())
        return cls(Path(":memory:"), connection)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing store beside a writer, for reading and short transactions."""
        _may_open(path, new=False)
        with explained(path):
            connection = _connect(path, "rw")
            _check_version(path, connection)
        return cls(path, connection)

    def close(self) -> None:
        """Close the file and let its locks go."""
        self._connection.close()
        while self._locks:
            os.close(self._locks.pop())

    def hurry(self, milliseconds: int) -> None:
        """Wait no longer than this for another command's transaction."""
        self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def claim(self, stream: str) -> int:
        """Be the one writer of a stream's open messages, until the store is closed; 75 where another is.

        Returns the lock, for locks.tell().
        """
        lock = locks.claim(self.path, stream)
        self._locks.append(lock)
        return lock

    # -- what the pseudonyms depend on

    def settings(self) -> dict[str, str]:
        """Return what was recorded when the store was made."""
        with explained(self.path):
            return dict(self._connection.execute("SELECT name, value FROM setting").fetchall())

    def bind(self, settings: Mapping[str, str], checks: Mapping[int, str]) -> None:
        """Record settings and epoch check values in a new store; stop (78) where they do not match an old one's."""
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
            for name, value in settings.items():
                if known.get(name, value) != value:
                    raise Fault(
                        CONFIG,
                        f"{self.path} was made with {name} {known[name]}, the config says {value};"
                        " set it back, or use another store",
                    )
            self._connection.executemany("INSERT OR IGNORE INTO setting VALUES (?, ?)", settings.items())
            self._connection.executemany("INSERT OR IGNORE INTO epoch VALUES (?, ?)", checks.items())

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

    def has_rows(self, epoch: int, until: int) -> bool:
        """Tell whether an epoch has rows logged before a second."""
        with explained(self.path):
            return retention.has_rows(self._connection, epoch, until)

    def open_by_epoch(self) -> dict[int, int]:
        """Return the number of open messages of each epoch, in all streams."""
        with explained(self.path):
            return retention.open_by_epoch(self._connection)

    # -- a person's rows

    def find(
        self, whom: Sequence[Whom], since: int | None, until: int | None
    ) -> Iterator[tuple[str, dict[str, object]]]:
        """Yield (table, row of its view) for the rows in which each of whom stands, logged in a range of seconds."""
        with explained(self.path):
            yield from person.find(self._connection, whom, since, until)

    def forget(self, whom: Whom) -> dict[str, int]:
        """Put others in the place of addresses, in short transactions; return numbers of rows by table."""
        with explained(self.path):
            return person.forget(self._connection, whom)

    def wipe(self) -> None:
        """Have nothing in the files that was overwritten or deleted."""
        self.settle()
        with explained(self.path):
            self._connection.execute("VACUUM")
        self.settle()

    def settle(self) -> None:
        """Bring the log of writes into the file and empty it, on the disk; 75 where others use the store too long."""
        with explained(self.path):
            self._connection.execute("PRAGMA synchronous = FULL")
            for _ in range(SETTLING):
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
                if not busy:
                    return
        raise Fault(TEMPFAIL, f"{self.path} is in use; try again")

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
            self._connection.executescript("BEGIN IMMEDIATE;\n" + schema.indexes() + "\nCOMMIT;")

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


def _may_open(path: Path, new: bool) -> None:
    """Say what keeps a store from being opened, or made where it is new: SQLite itself tells less."""
    try:
        status = path.stat()
    except FileNotFoundError:
        if not new:
            raise Fault(NOINPUT, f"there is no store at {path}; make one with: postsink db init") from None
        if not os.path.isdir(path.parent):
            raise Fault(
                CANTCREATE, f"there is no folder {path.parent}; make it, or set store: in the config"
            ) from None
        if not os.access(path.parent, os.R_OK | os.W_OK | os.X_OK):
            raise Fault(NOPERM, f"no permission to make {path}; run this as the user who owns its folder") from None
        return
    except PermissionError:
        raise Fault(NOPERM, f"no permission to look into {path.parent}; run this as the user who owns it") from None
    except OSError:
        raise Fault(CANTCREATE, f"{path} can't be a store; set store: to the path of a file") from None
    if stat.S_ISDIR(status.st_mode):
        raise Fault(CANTCREATE, f"{path} is a folder; set store: to the path of a file")
    if not os.access(path, os.R_OK | (os.W_OK if new else 0)):
        raise Fault(NOPERM, f"no permission to read and write {path}; run this as the user who owns it")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    mask = os.umask(0o077)
    try:
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode={mode}", uri=True, isolation_level=None)
    finally:
        os.umask(mask)
    connection.execute(f"PRAGMA busy_timeout = {BUSY}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{CACHE}")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _is_new(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing is in a database yet, be it ours or another program's."""
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def _make(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file; two processes at once do so one after the other.

    A lock on the folder, since SQLite does not wait for another process that changes the journal mode.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not _is_new(connection):
            return
        path.chmod(0o600)
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(
            f"BEGIN IMMEDIATE;\nPRAGMA application_id = {_OURS};\nPRAGMA user_version = {schema.VERSION};\n"
            f"{schema.tables()}\nCOMMIT;"
        )
    finally:
        os.close(folder)


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _OURS:
        raise Fault(CONFIG, f"{path} is no store of postsink; set store: to another path")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != schema.VERSION:
        raise Fault(
            CONFIG, f"{path} has schema version {version}, this postsink knows {schema.VERSION}; use its own version"
        )
