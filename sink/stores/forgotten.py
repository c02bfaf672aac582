"""The list of the forgotten: whom `postsink forget` was told to forget, so that a restored store can forget them again.

A file beside the store, mode 0600, and not in it: the store is to hold these pseudonyms no more. A line each: epoch,
32 hex digits of the user, 32 of the domain, UTC second. It only grows; what stands behind the last newline is of an
addition that was cut off, before anybody was forgotten.
"""

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sink import rootonly
from sink.core.pseudonym import WIDTH
from sink.fault import CONFIG, Fault

MOST_BYTES = 1 << 28
MOST_LINE = 128  # bytes


class Entry(NamedTuple):
    """One line of the list."""

    second: int  # when it was forgotten
    address: bytes  # user and domain side by side
    epoch: int


def place(store: Path) -> Path:
    """Return where the list of a store is."""
    return store.with_name(store.name + ".forgotten")


def add(store: Path, addresses: Iterable[tuple[int, bytes]], now: int) -> None:
    """Add (epoch, user and domain side by side), and have it on the disk. Faults: 73, 77."""
    path = place(store)
    text = "".join(
        f"{epoch} {address[:WIDTH].hex()} {address[WIDTH:].hex()} {now}\n" for epoch, address in addresses
    ).encode()
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = _cut(file)
            # In one piece: a daemon may be reading.
            if os.write(file, text) < len(text):
                os.ftruncate(file, size)
                raise OSError(errno.ENOSPC, "")
            os.fsync(file)
        finally:
            os.close(file)
        rootonly.sync_folder(path)
    except OSError as error:
        raise rootonly.unwritable(path, error) from None


def _cut(file: int) -> int:
    """Take away what stands behind the last newline; return the size."""
    size = os.fstat(file).st_size
    last = os.pread(file, MOST_LINE, max(size - MOST_LINE, 0))
    if last and not last.endswith(b"\n"):
        size -= len(last) - last.rfind(b"\n") - 1
        os.ftruncate(file, size)
    return size


def read(store: Path) -> list[Entry]:
    """Return the entries, the oldest first. Faults: 77, 78."""
    path = place(store)
    if not os.path.lexists(path):
        return []
    found = []
    lines = rootonly.read(path, MOST_BYTES, missing="", any_owner=True).split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            epoch, user, domain, second = line.decode("ascii").split(" ")
            halves = bytes.fromhex(user), bytes.fromhex(domain)
            if [len(half) for half in halves] != [WIDTH, WIDTH]:
                raise ValueError
            found.append(Entry(int(second), b"".join(halves), int(epoch)))
        except ValueError:
            raise Fault(CONFIG, f"{path} line {number} is damaged; restore the file from its backup") from None
    return found


def stamp(store: Path) -> list[int]:
    """Return what tells the list from what it was before: inode, size, time; [] where there is none."""
    try:
        found = os.stat(place(store))
    except OSError:
        return []
    return [found.st_ino, found.st_size, found.st_mtime_ns]
