"""Reads and makes files that only root, or whoever runs postsink, may read: seals, keyring, header tokens.

A secret that others can read is none, so such a file is refused, not warned about. What is checked is
the open file, never its name, so that nobody can swap the file between the look and the reading.
"""

import errno
import os
import shlex
import stat
from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from sink.fault import CANTCREATE, CONFIG, NOINPUT, NOPERM, Fault

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH
_held: dict[Path, int] = {}  # descriptors of files that root opened before it became another user
_MISSING = -1  # in place of a descriptor


def read(
    path: Path, limit: int, *, missing: str, bits: int = _OTHERS, any_owner: bool = False, owner: int = 0
) -> bytes:
    """Gives the bytes of a regular file, at most `limit` of them.

    `missing` says what to do when the file is not there; `bits` are the permission bits that must be
    clear; `owner` is one more user it may belong to; `any_owner` suits a file that proves itself by its seal.
    Faults: 66 missing, 77 no permission, 78 for everything that the operator must set right.
    """
    owners = None if any_owner else {0, os.geteuid(), owner}
    try:
        held = _held.get(path)
        if held == _MISSING:
            raise FileNotFoundError(errno.ENOENT, "")
        with open(_open(path, owners), "rb") if held is None else open(held, "rb", closefd=False) as file:
            _check_file(path, os.fstat(file.fileno()), bits, owners)
            file.seek(0)
            data = file.read(limit + 1)
    except OSError as error:
        raise _refused(path, error.errno, missing) from None
    if len(data) > limit:
        raise Fault(CONFIG, f"{path} is larger than {limit} bytes; check that it is the right file")
    return data


def hold(path: Path) -> None:
    """Open a file for every read() to come: root is about to become a user who may not.

    A file that takes its place later is not seen. What is not root's is left to read().
    """
    with suppress(OSError, Fault):
        try:
            _held[path] = _open(path, {0})
        except FileNotFoundError:
            _held[path] = _MISSING


def held() -> list[int]:
    """Gives the descriptors that must stay open."""
    return [file for file in _held.values() if file != _MISSING]


def is_there(path: Path) -> bool:
    """Tells whether a file is there, also where it is held in a folder that only root may look into."""
    return _held.get(path, _MISSING) != _MISSING or os.path.lexists(path)


def folder_of(*paths: Path) -> os.stat_result | None:
    """Gives the status of the first folder that is there, of those of some files."""
    for path in paths:
        with suppress(OSError):
            return os.stat(path.parent)
    return None


def _open(path: Path, owners: Set[int] | None) -> int:
    _check_link(path, owners)
    # The name without its links, and none followed now: a link made since the look is an error.
    # O_NONBLOCK: a FIFO of that name must not hang the command.
    return os.open(os.path.realpath(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _refused(path: Path, number: int | None, missing: str) -> Fault:
    if number == errno.ENOENT:
        return Fault(NOINPUT, f"{path} is missing; {missing}")
    if number in (errno.EACCES, errno.EPERM):
        return Fault(NOPERM, f"no permission to read {path}; run this as root or its owner")
    return Fault(CONFIG, f"{path} can't be read ({os.strerror(number or 0)}); check its path and its disk")


def _check_link(path: Path, owners: Set[int] | None) -> None:
    """Refuses a symbolic link that somebody else can turn elsewhere, by its owner or its target's folder."""
    link = os.lstat(path)
    if not stat.S_ISLNK(link.st_mode):
        return
    _check_owner(path, link, owners)
    folder = os.path.dirname(os.path.realpath(path))
    mode = os.stat(folder).st_mode
    if mode & _WRITABLE and not mode & stat.S_ISVTX:
        remedy = f"type: chmod go-w {shlex.quote(folder)}"
        raise Fault(CONFIG, f"{path} links into a folder that others can write; {remedy}")


def _check_file(path: Path, status: os.stat_result, bits: int, owners: Set[int] | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Fault(CONFIG, f"{path} is not a regular file; give the path of one")
    _check_owner(path, status, owners)
    if status.st_mode & bits:
        remedy = f"type: chmod go= {shlex.quote(os.path.realpath(path))}"
        raise Fault(CONFIG, f"{path} is open to group or others; {remedy}")


def _check_owner(path: Path, status: os.stat_result, owners: Set[int] | None) -> None:
    if owners is not None and status.st_uid not in owners:
        raise Fault(CONFIG, f"{path} belongs to another user; type: chown -h root {shlex.quote(str(path))}")


def write(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Makes a new file of that mode and has it on the disk before it returns; never follows a link.

    `owner` is a user and a group, for root to hand it to. Faults: 73 it exists or can't be made, 77.
    """
    try:
        # "x" is O_CREAT and O_EXCL, which does not follow a link either.
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            try:
                _fill(file, data, mode, owner)
            except BaseException:
                # Half a secret would be taken for a whole one.
                os.unlink(path)
                raise
        sync_folder(path)
    except OSError as error:
        raise unwritable(path, error) from None


def _fill(file: BinaryIO, data: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    os.fchmod(file.fileno(), mode)  # the umask may have taken bits away
    if owner is not None:
        os.fchown(file.fileno(), *owner)
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Has the name of a new file on the disk: fsync of the file alone does not promise that, see fsync(2)."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unwritable(path: Path, error: OSError) -> Fault:
    """Says why a file can't be made."""
    if error.errno == errno.EEXIST:
        return Fault(CANTCREATE, f"{path} exists already; it is not overwritten, so move it away first")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Fault(NOPERM, f"no permission to write in {path.parent}; run this as root or its owner")
    reason = os.strerror(error.errno or 0)
    return Fault(CANTCREATE, f"{path} can't be written ({reason}); check the folder and the disk")


def make_folder(path: Path, mode: int) -> None:
    """Makes the folder of a file, with that mode, where it is missing."""
    try:
        path.parent.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None
