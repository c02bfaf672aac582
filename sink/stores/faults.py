"""SQLite's errors in our own words: one line that says what to do, without any value."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sink.fault import CANTCREATE, DATA, NOPERM, TEMPFAIL, Fault


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        fault = fault_of(path, getattr(error, "sqlite_errorcode", 0) & 0xFF)
    else:
        return
    raise fault from None


def fault_of(path: Path, code: int) -> Fault:
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
