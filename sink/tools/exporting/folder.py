"""Makes a folder whole or not at all: its files come to be in another one beside it, which gets its name at the end."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sink import rootonly
from sink.fault import CANTCREATE, TEMPFAIL, Fault


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give the folder to write into; it is renamed where all went well, else gone."""
    path = Path(os.path.abspath(path))
    if os.path.lexists(path):
        raise Fault(CANTCREATE, f"{path} exists already; it is not overwritten, so name a new folder by --output")
    beside = path.with_name(f".{path.name}.part")
    lock = _begin(beside)
    try:
        yield beside
        rootonly.sync_folder(beside / "any")
        os.rename(beside, path)
        rootonly.sync_folder(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        os.close(lock)


def _begin(beside: Path) -> int:
    """Make the folder anew, without what a killed one left; return its lock."""
    try:
        beside.mkdir(0o700, exist_ok=True)
        lock = os.open(beside, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise rootonly.unwritable(beside, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for one in beside.iterdir():
            one.unlink()
    except BlockingIOError:
        os.close(lock)
        raise Fault(TEMPFAIL, f"another export is writing {beside}; wait for it") from None
    except OSError as error:
        os.close(lock)
        raise rootonly.unwritable(beside / "any", error) from None
    return lock
