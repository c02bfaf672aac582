"""Makes and replaces a secret's file, whole or not at all, and leaves as little as can be of what it was.

A change holds a lock on the folder. The new file is written beside the old one and takes its name in one step; the old
one has a name, too, until its bytes are overwritten: so the next change finds what a killed one left, and wipes it.
What a disk or a file system keeps of overwritten bytes all the same is out of reach.
"""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sink import rootonly
from sink.fault import TEMPFAIL, Fault


@contextmanager
def changing(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file that is to be changed; take away what a killed change of it left.

    wait: for whoever holds the lock; else that is Fault 75. Faults: 73, 77.
    """
    path = _real(path)
    with _writable(path):
        lock = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(path, lock, wait)
        ours = _ours(path.name)
        for name in os.listdir(path.parent):
            if ours.fullmatch(name):
                _wipe(path.with_name(name))
        yield
    finally:
        os.close(lock)


def _lock(path: Path, lock: int, wait: bool) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise Fault(TEMPFAIL, f"another command changes {path}; try again") from None


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise rootonly.unwritable(path, error) from None


def replace(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Put a file in another one's place, by who holds its lock; make it where there is none."""
    path = _real(path)
    old = _beside(path)
    if os.path.lexists(path):
        with _writable(path):
            os.link(path, old)
    try:
        _put(path, data, mode, owner, os.replace)
    except BaseException:
        with suppress(OSError):
            old.unlink()
        raise
    _wipe(old)


def make(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Make a file, by who holds its lock; one that is there, or a link in its place, stays: Fault 73."""
    _put(path, data, mode, owner, os.link)  # unlike a rename it fails then


def _put(
    path: Path, data: bytes, mode: int, owner: tuple[int, int] | None, place: Callable[[Path, Path], None]
) -> None:
    fresh = _beside(path)
    rootonly.write(fresh, data, mode, owner)
    try:
        with _writable(path):
            place(fresh, path)
            rootonly.sync_folder(path)
    finally:
        _wipe(fresh)


def _wipe(path: Path) -> None:
    """Overwrite a file that has no other name, on the disk, and take its name away."""
    with suppress(OSError):
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.pwrite(file, bytes(status.st_size), 0)
                os.fsync(file)
        finally:
            os.close(file)
    with suppress(OSError):
        path.unlink()


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # a link to it stays one


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def _ours(name: str) -> re.Pattern[str]:
    """Return what names of _beside() look like: a copy that somebody made is none of them."""
    return re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}")
