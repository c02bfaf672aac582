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
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sink.core.batch import Batch
from sink.core.pseudonym import WIDTH
from sink.core.rows import HALVES, PLAIN, REJECT_HALVES, REJECT_SCALARS, SCALARS, Row
from sink.fault import CANTCREATE, CONFIG, DATA, NOINPUT, NOPERM, TEMPFAIL, Fault
from sink.stores import schema

PAGE_SIZE = 8192  # bytes; rows of about 370 bytes, appended in time's order
CACHE = 512  # kB: rows are appended, so that few pages are needed again
BUSY = 10_000  # ms that another command's short transaction may take
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
        with _explained(path):
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
        with _explained(path):
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

    def claim(self, stream: str) -> None:
        """Be the one writer of a stream's open messages, until the store is closed; 75 where another is."""
        self._locks.append(_lock(self.path, stream))

    # -- what the pseudonyms depend on

    def settings(self) -> dict[str, str]:
        """Return what was recorded when the store was made."""
        with _explained(self.path):
            return dict(self._connection.execute("SELECT name, value FROM setting").fetchall())

    def bind(self, settings: Mapping[str, str], checks: Mapping[int, str]) -> None:
        """Record settings and epoch check values in a new store; stop (78) where they do not match an old one's."""
        with _explained(self.path), self._transaction():
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
            fault = _fault(self.path, getattr(error, "sqlite_errorcode", 0) & 0xFF)
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

    def take(self, view: str) -> list[dict[str, object]]:
        """Return the rows of delivery_text or reject_text, oldest first, and delete them."""
        table = {"delivery_text": "delivery", "reject_text": "reject"}[view]
        with _explained(self.path), self._transaction():
            found = self._connection.execute(f"SELECT * FROM {view} ORDER BY logged_at, id")
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            self._connection.execute(f"DELETE FROM {table}")
        return rows

    def state(self, stream: str) -> dict[bytes, bytes]:
        """Return a stream's open messages by token."""
        with _explained(self.path):
            return dict(
                self._connection.execute("SELECT token, state FROM open_message WHERE stream = ?", (stream,)).fetchall()
            )

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        with _explained(self.path):
            return {
                table: self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("delivery", "reject", "open_message")
            }

    def span(self) -> tuple[int | None, int | None]:
        """Return the first and the last log second of the deliveries."""
        with _explained(self.path):
            first, last = self._connection.execute(
                "SELECT min(logged_second), max(logged_second) FROM delivery"
            ).fetchone()
            return first, last

    def make_indexes(self) -> None:
        """Make the optional indexes."""
        with _explained(self.path):
            self._connection.executescript("BEGIN IMMEDIATE;\n" + schema.indexes() + "\nCOMMIT;")

    def has_indexes(self) -> bool:
        """Tell whether the optional indexes are there."""
        with _explained(self.path):
            found = self._connection.execute("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'delivery_by_*'")
            return bool(found.fetchone()[0])

    def empty(self) -> None:
        """Delete all rows and open messages; settings and check values stay."""
        with _explained(self.path):
            with self._transaction():
                for table in ("delivery", "reject", "open_message"):
                    self._connection.execute(f"DELETE FROM {table}")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

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


def _lock(path: Path, stream: str) -> int:
    """Take a lock on a file beside the store; the kernel lets it go when the process ends."""
    beside = path.with_name(f"{path.name}.{stream}.lock")
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        raise Fault(CANTCREATE, f"can't write in {path.parent}; look at its disk and its permissions") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Fault(TEMPFAIL, f"another postsink writes stream {stream} of {path}; wait until it ends") from None
    return lock


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _OURS:
        raise Fault(CONFIG, f"{path} is no store of postsink; set store: to another path")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != schema.VERSION:
        raise Fault(
            CONFIG, f"{path} has schema version {version}, this postsink knows {schema.VERSION}; use its own version"
        )


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        fault = _fault(path, getattr(error, "sqlite_errorcode", 0) & 0xFF)
    else:
        return
    raise fault from None


def _fault(path: Path, code: int) -> Fault:
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return Fault(TEMPFAIL, f"the disk of {path} is full or failing; free some space and start again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Fault(TEMPFAIL, f"{path} is in use; try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return Fault(NOPERM, f"no permission to write {path}; run this as the user who owns it")
    if code == sqlite3.SQLITE_CANTOPEN:
        return Fault(CANTCREATE, f"can't open {path}; look at its folder and its permissions")
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return Fault(DATA, f"{path} is damaged or no SQLite file; restore it, or set store: to another path")
    return Fault(TEMPFAIL, f"{path}: SQLite error {code}; try again")
