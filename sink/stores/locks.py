"""One writer a stream: a lock on a file beside the store, in which its holder says what it works with.

What it says is for the commands that wait until a daemon has done what they changed: which epochs' keys have been in
its memory, and which list of the forgotten it has gone through. Who begins anew goes on with the same lock.

Imports share a lock of their own, so that a key is not destroyed which one of them works with.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sink.fault import CANTCREATE, TEMPFAIL, Fault

MOMENT = 0.3  # seconds that a look of another command at the lock may last
MOST_TOLD = 1 << 16  # bytes


def _name(path: Path, stream: str) -> Path:
    return path.with_name(f"{path.name}.{stream}.lock")


def streams(path: Path) -> list[str]:
    """Return the streams of a store that ever were claimed."""
    begin, end = f"{path.name}.", ".lock"
    names = [one.name for one in path.parent.iterdir()]
    return sorted(name[len(begin) : -len(end)] for name in names if name.startswith(begin) and name.endswith(end))


def claim(path: Path, stream: str, held: int | None = None, *, shared: bool = False) -> int:
    """Take the lock and return its descriptor; the kernel lets it go when the process ends. Faults: 73, 75.

    held: a descriptor of the lock that this process has already; shared: with others who only keep writers out
    meanwhile.
    """
    if held is not None:
        with suppress(OSError):
            if os.path.samestat(os.fstat(held), os.stat(_name(path, stream))):
                return held
            os.close(held)  # of another store
    try:
        lock = os.open(_name(path, stream), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        raise Fault(CANTCREATE, f"can't write in {path.parent}; look at its disk and its permissions") from None
    end = time.monotonic() + MOMENT
    while True:
        with suppress(OSError):
            fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            return lock
        if time.monotonic() >= end:
            os.close(lock)
            raise Fault(TEMPFAIL, f"another postsink writes stream {stream} of {path}; wait until it ends")
        time.sleep(MOMENT / 30)


def tell(lock: int, told: dict[str, object]) -> None:
    """Say in a lock that is held what its holder works with."""
    text = json.dumps(told).encode()
    with suppress(OSError):  # a full disk; who waits for this gives up in time
        os.pwrite(lock, text, 0)  # first: on a full disk the place that it has may not come again
        os.ftruncate(lock, len(text))


def told(path: Path, stream: str) -> dict[str, object] | None:
    """Return what the holder of a lock said, {} where it said nothing yet, None where nobody holds it."""
    try:
        lock = os.open(_name(path, stream), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            found = json.loads(os.pread(lock, MOST_TOLD, 0) or b"{}")
            return found if isinstance(found, dict) else {}
        return None
    except ValueError:  # it is just being written
        return {}
    finally:
        os.close(lock)


def _imports(path: Path) -> Path:
    return path.with_name(f"{path.name}.imports")


def importing(path: Path) -> int | None:
    """Share the lock of imports into a store, until this process ends; None where whoever opens it will say why."""
    try:
        lock = os.open(_imports(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


@contextmanager
def without_imports(path: Path) -> Iterator[None]:
    """Have no import begin; Fault 75 while one is under way."""
    lock = importing(path)
    try:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Fault(TEMPFAIL, f"an import into {path} is under way, and has the key; wait until it ends") from None
    finally:
        if lock is not None:
            os.close(lock)
