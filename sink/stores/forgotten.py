"""The list of the forgotten: whom `postsink forget` was told to forget, so that a restored store can forget them again.

A file beside the store, mode 0600, and not in it: the store is to hold these pseudonyms no more. A line each: epoch,
32 hex digits of the user, 32 of the domain, UTC second. It only grows.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from sink import rootonly
from sink.core.pseudonym import WIDTH
from sink.fault import CONFIG, Fault

MOST_BYTES = 1 << 28


def place(store: Path) -> Path:
    """Return where the list of a store is."""
    return store.with_name(store.name + ".forgotten")


def add(store: Path, addresses: Sequence[tuple[int, bytes]], now: int) -> None:
    """Add (epoch, user and domain side by side) and have it on the disk. Faults: 73, 77."""
    path = place(store)
    text = "".join(
        f"{epoch} {address[:WIDTH].hex()} {address[WIDTH:].hex()} {now}\n" for epoch, address in addresses
    )
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(path, flags, 0o600)
        try:
            os.write(file, text.encode())  # in one piece: a daemon may be reading
            os.fsync(file)
        finally:
            os.close(file)
        rootonly.sync_folder(path)
    except OSError as error:
        raise rootonly.unwritable(path, error) from None


def read(store: Path) -> list[tuple[int, bytes]]:
    """Return all (epoch, user and domain side by side), the oldest first. Faults: 77, 78."""
    path = place(store)
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(rootonly.read(path, MOST_BYTES, missing="", any_owner=True).splitlines(), 1):
        try:
            epoch, user, domain, _ = line.decode("ascii").split(" ")
            address = bytes.fromhex(user) + bytes.fromhex(domain)
            if len(address) != 2 * WIDTH:
                raise ValueError
            found.append((int(epoch), address))
        except ValueError:
            raise Fault(CONFIG, f"{path} line {number} is damaged; restore the file from its backup") from None
    return found


def length(store: Path) -> int:
    """Return the size of the list in bytes."""
    try:
        return place(store).stat().st_size
    except OSError:
        return 0
