"""One writer a stream: a lock on a file beside the store, in which its holder says what it works with.

What it says is for the commands that wait until a daemon has done what they changed: which epochs' keys it has, which
list of the forgotten it has gone through, and by a number of its own since when it lives.
"""

import fcntl
import json
import os
import time
from contextlib import suppress
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


def claim(path: Path, stream: str, *, shared: bool = False) -> int:
    """Take the lock and return its descriptor; the kernel lets it go when the process ends. Faults: 73, 75.

    shared: with others who only keep writers out meanwhile.
    """
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
        os.ftruncate(lock, 0)
        os.pwrite(lock, text, 0)


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
