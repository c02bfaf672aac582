"""A file that the daemon appends lines to.

Laws: mail comes first, so what can't be written is dropped and counted, and rows go on; a line is whole or not there;
nothing but a regular file of our own with one name is written to, and no link is followed at its end. Another file of
that name (logrotate) is opened at SIGHUP, or within a second.
"""

import grp
import os
import stat
from contextlib import suppress
from errno import EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS
from pathlib import Path
from typing import Final

from sink.fault import CONFIG, Fault
from sink.service.words import Seldom

MODE: Final = 0o640
FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
PASSING: Final = frozenset({EDQUOT, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS})  # the world's, not the config's


class LogFile:
    """A file that lines are appended to; `lost` counts those that could not be written."""

    def __init__(self, key: str, path: Path, group: str = "") -> None:
        self.lost = 0
        self._told = 0  # of them
        self._key, self._path, self._group = key, path, group
        self._file: int | None = None
        with suppress(OSError):  # look() tries again
            self._file = self._opened()

    def _fault(self, what: str) -> Fault:
        return Fault(CONFIG, f"{self._key}: {self._path} {what}")

    def _opened(self) -> int:
        """Open it; OSError where waiting may mend that, else Fault."""
        try:
            file = os.open(self._path, FLAGS, MODE)
        except OSError as error:
            if error.errno in PASSING:
                raise
            if isinstance(error, FileNotFoundError):
                wrong = self._fault("is in a folder that is missing; make that")
            elif isinstance(error, PermissionError):
                wrong = self._fault("can't be written by the daemon's user; give it the folder")
            else:
                wrong = self._fault("is a link, a folder or no file; name a plain file")
            raise wrong from None
        try:
            self._check(file)
        except BaseException:
            os.close(file)
            raise
        return file

    def _check(self, file: int) -> None:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise self._fault("is no plain file with one name; name another one")
        if found.st_uid != os.geteuid():
            raise self._fault("belongs to another user than the daemon's; move it away, and it is made anew")
        if self._group:
            self._give(file, found.st_gid)
        if stat.S_IMODE(found.st_mode) != MODE:
            os.fchmod(file, MODE)

    def _give(self, file: int, gid: int) -> None:
        try:
            wanted = grp.getgrnam(self._group).gr_gid
            if wanted != gid:
                os.fchown(file, -1, wanted)
        except (KeyError, PermissionError):
            raise self._fault("can't be given to its group; put the daemon's user into that, or leave it out") from None

    def write(self, lines: list[bytes]) -> None:
        """Append lines; those that can't be written are lost."""
        if self._file is None:
            self.lost += len(lines)
            return
        data = b"\n".join(lines) + b"\n"
        rest, done = memoryview(data), 0
        try:
            while done < len(data):
                done += os.write(self._file, rest[done:])
        except OSError:
            whole = data.rfind(b"\n", 0, done) + 1
            self.lost += data.count(b"\n", whole)
            with suppress(OSError):  # what was begun is taken away
                os.ftruncate(self._file, os.fstat(self._file).st_size - (done - whole))

    def look(self, seldom: Seldom) -> None:
        """Open the file of its name where that is another one; have told what was lost."""
        self.reopen(seldom)
        if self.lost > self._told:
            lost, self._told = self.lost - self._told, self.lost
            seldom.note(f"{self._key}: lines can't be written and are dropped; look at its disk", lost)

    def reopen(self, seldom: Seldom) -> None:
        """Go on in the file that has the name now."""
        if self._is_there():
            return
        try:
            fresh = self._opened()
        except OSError:
            fresh = None
        except Fault as fault:
            seldom.note(str(fault))
            fresh = None
        old, self._file = self._file, fresh
        if old is not None:
            os.close(old)

    def _is_there(self) -> bool:
        """Whether the file that is open has the name."""
        if self._file is None:
            return False
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._file))

    def close(self) -> None:
        """Close it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
