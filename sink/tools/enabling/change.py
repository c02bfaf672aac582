"""A change of the machine: files to write or remove, checks, services to start anew; whole, or not at all.

What the files held before is kept in memory until the checks have passed and the services run. Whatever goes wrong,
an interrupt included, puts it back, and starts anew what had been started with the new files.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sink.fault import CONFIG, NOPERM, TEMPFAIL, Fault
from sink.rootonly import unwritable
from sink.tools.enabling.machine import Machine, shown

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Edit:
    """A file's new bytes, or None: it goes. A file that is there keeps its mode and owner."""

    path: Path
    data: bytes | None
    mode: int = 0o644
    owner: str = ""  # a user's name; "": who runs this


@dataclass(frozen=True, slots=True)
class Change:
    """What one word of `enable` or `disable` does."""

    edits: tuple[Edit, ...] = ()
    checks: tuple[Check, ...] = ()  # with the new files; each raises a Fault
    commands: tuple[tuple[str, ...], ...] = ()  # where systemd runs
    by_hand: str = ""  # the one line to type where it does not
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Before:
    path: Path
    data: bytes | None
    status: os.stat_result | None
    folders: tuple[Path, ...]  # that were missing, the innermost first


def content(path: Path) -> bytes | None:
    """Return a file's bytes, or None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Fault(NOPERM, f"no permission to read {path}; run this as root") from None
        raise Fault(CONFIG, f"{path} can't be read; check that it is a file") from None


def differing(*edits: Edit) -> tuple[Edit, ...]:
    """Return those edits that would change something."""
    return tuple(edit for edit in edits if content(edit.path) != edit.data)


def carry_out(change: Change, machine: Machine) -> bool:
    """Do all of a change, or nothing; return whether anything was to be done."""
    if not change.edits:
        return False
    done: list[_Before] = []
    started = False
    try:
        for edit in change.edits:
            done.append(_before(edit.path))
            _put(edit)
        for check in change.checks:
            check()
        if machine.has_systemd():
            started = True
            _start(change, machine)
    except BaseException:
        for before in reversed(done):
            _put_back(before)
        if started:
            _start_again(change, machine)
        raise
    return True


def _start(change: Change, machine: Machine) -> None:
    for command in change.commands:
        if machine.run(*command).status:
            raise Fault(
                TEMPFAIL,
                f"`{shown(command)}` failed, so all was put back; look with: journalctl -xe",
            )


def _start_again(change: Change, machine: Machine) -> None:
    """Bring the services back to the files as they were, as far as that goes."""
    for command in change.commands:
        with suppress(Fault):
            machine.run(*command)


def _before(path: Path) -> _Before:
    folders = []
    for folder in path.parents:
        if folder.exists():
            break
        folders.append(folder)
    data = content(path)
    return _Before(path, data, None if data is None else path.stat(), tuple(folders))


def _put(edit: Edit) -> None:
    if edit.data is None:
        edit.path.unlink(missing_ok=True)
        return
    status = edit.path.stat() if edit.path.exists() else None
    mode = edit.mode if status is None else stat.S_IMODE(status.st_mode)
    try:
        _make_folders(edit.path.parent)
        owner = None if status is None else (status.st_uid, status.st_gid)
        _write(edit.path, edit.data, mode, owner, edit.owner)
    except OSError as error:
        raise unwritable(edit.path, error) from None


def _make_folders(folder: Path) -> None:
    """Make what is missing, for all to enter: the umask of a command is for its own files."""
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            path.mkdir()
            path.chmod(0o755)


def _write(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None, name: str = "") -> None:
    """Write beside the file, then over it, so that no program ever reads half of it."""
    path = Path(os.path.realpath(path))  # a link stays one
    new = path.with_name(f".{path.name}.postsink")  # no program's *.conf
    new.unlink(missing_ok=True)
    try:
        with open(new, "xb", opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW, 0o600)) as file:
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), *owner)
            elif owner is None and name and os.geteuid() == 0:
                shutil.chown(new, name)
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _put_back(before: _Before) -> None:
    if before.data is None or before.status is None:
        before.path.unlink(missing_ok=True)
        for folder in before.folders:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        return
    status = before.status
    _write(before.path, before.data, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
