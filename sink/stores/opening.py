"""Opens an SQLite file as a store, makes it where it is new, and brings its schema up to date."""

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from sink import rootonly
from sink.fault import CANTCREATE, CONFIG, NOINPUT, NOPERM, Fault
from sink.stores import schema

DIALECT = "sqlite"
PAGE_SIZE = 8192  # bytes; rows of about 370 bytes, appended in time's order
MOST_BYTES = PAGE_SIZE * 0xFFFF_FFFE  # SQLite's own limit
CACHE = 512  # kB: rows are appended, so that few pages are needed again
BUSY = 10_000  # ms that another command's short transaction may take
_OURS = 0x70736E6B  # application_id, "psnk"
_VERSIONS = """CREATE TABLE IF NOT EXISTS schema_version (  -- the steps of sql/sqlite that were run
    version INTEGER NOT NULL PRIMARY KEY, compat INTEGER NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID;"""


def may_open(path: Path, new: bool) -> None:
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


def connect(path: Path, mode: str) -> sqlite3.Connection:
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


def is_new(connection: sqlite3.Connection) -> bool:
    """Tell whether nothing is in a database yet, be it ours or another program's."""
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Be the one who makes or changes a schema there: a lock on the folder, since the file may not be there yet."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def make(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file; two processes at once do so one after the other.

    SQLite does not wait for another process that changes the journal mode.
    """
    with _alone(path):
        if not is_new(connection):
            return
        path.chmod(0o600)
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE;\nPRAGMA application_id = {_OURS};\n{_steps({})}\nCOMMIT;")


def script() -> str:
    """Return the SQL that makes a whole schema, for a store in memory."""
    return _steps({})


def _steps(applied: dict[int, tuple[int, str]], path: Path = Path(":memory:")) -> str:
    """Return the SQL that a schema lacks, of whose versions (compat, hash) are known."""
    parts = [_VERSIONS]
    for version, (compat, digest) in applied.items():
        parts.append(f"INSERT OR IGNORE INTO schema_version VALUES ({version}, {compat}, '{digest}');")
    for step in schema.missing(DIALECT, applied, str(path)):
        parts += [step.text, f"INSERT INTO schema_version VALUES ({step.version}, {step.compat}, '{step.sha256}');"]
    return "\n".join([*parts, f"PRAGMA user_version = {schema.version(DIALECT)};"])


def upgrade(path: Path, connection: sqlite3.Connection) -> list[int]:
    """Bring a store's schema up to date, in one transaction; return the versions that were run.

    A copy of the old store is beside it until that has succeeded: a step may do what its author did not mean.
    """
    with _alone(path):
        _check_ours(path, connection)
        applied = _applied(connection)
        steps = [step.version for step in schema.missing(DIALECT, applied, str(path))]
        behind = connection.execute("PRAGMA user_version").fetchone()[0] < schema.version(DIALECT)
        if steps or behind:
            _copy(connection, copy_of(path))
            connection.executescript(f"BEGIN IMMEDIATE;\n{_steps(applied, path)}\nCOMMIT;")
        copy_of(path).unlink(missing_ok=True)  # this one's, or of an upgrade that was killed at its very end
    return steps


def copy_of(path: Path) -> Path:
    """Return where a store's copy lies while its schema is changed."""
    return path.with_name(f"{path.name}.before-upgrade")


def _copy(connection: sqlite3.Connection, to: Path) -> None:
    """Copy a database, whole or not at all, onto the disk."""
    new = to.with_name(f"{to.name}.new")
    new.unlink(missing_ok=True)
    try:
        with contextlib.closing(connect(new, "rwc")) as target:
            connection.backup(target)  # committed in one transaction, with SQLite's own fsync
        os.replace(new, to)
    finally:
        new.unlink(missing_ok=True)
    rootonly.sync_folder(to)


def _applied(connection: sqlite3.Connection) -> dict[int, tuple[int, str]]:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchone():
        # Before there was this table, a store had the first two steps.
        old = schema.files(DIALECT)[:2] if connection.execute("PRAGMA user_version").fetchone()[0] else ()
        return {step.version: (step.compat, step.sha256) for step in old}
    found = connection.execute("SELECT version, compat, sha256 FROM schema_version")
    return {version: (compat, digest) for version, compat, digest in found}


def _check_ours(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _OURS:
        raise Fault(CONFIG, f"{path} is no store of postsink; set store: to another path")


def check_version(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a file that is no store, or of another schema than this program can use. Fault 78."""
    _check_ours(path, connection)
    ours, version = schema.version(DIALECT), connection.execute("PRAGMA user_version").fetchone()[0]
    if version == ours:
        return
    if version < ours:
        raise Fault(CONFIG, f"{path} is of an older postsink; type: postsink db upgrade")
    applied = _applied(connection)
    if max(applied, default=0) != version:
        raise Fault(CONFIG, f"{path} is of a newer postsink (schema {version}); install that")
    schema.missing(DIALECT, applied, str(path))
