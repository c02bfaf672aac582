"""The file of lines with clients' IP addresses, in memory alone and for a stated time; see `clear_ips`.

Laws: its file system is one that never writes to a disk; no line is in it for longer than `keep` while this process
runs, and none when it has ended in order. It is emptied as a whole: while nobody writes, so that who follows it has
read all, else at the last moment. Whoever is killed leaves what is there until the next start.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from sink.outputs import ClearIps
from sink.service.logfile import LogFile
from sink.service.words import Seldom

IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
MOUNTS: Final = Path("/proc/self/mountinfo")  # ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE ... [proc(5)]
MOST: Final = 16 << 20  # bytes, ours: an attack must not fill the memory
QUIET: Final = 5.0  # seconds in which who follows a file reads what was written
MARGIN: Final = 3.0  # seconds: it is looked at once a second, or somewhat later


class ShortLived(LogFile):
    """A file in memory, whose lines go in time."""

    def __init__(self, choice: ClearIps) -> None:
        self._keep = choice.keep
        self._first: float | None = None  # when the first line was written that is in it
        self._last = 0.0
        self._size = 0
        super().__init__("clear_ips", choice.path)
        self._empty()  # how old that is nobody knows

    def _opened(self) -> int:
        with suppress(OSError):  # that is said next
            self._hold(os.stat(self._path.parent).st_dev)  # before a file is made
        return super()._opened()

    def _check(self, file: int) -> None:
        self._hold(os.fstat(file).st_dev)
        super()._check(file)

    def _hold(self, device: int) -> None:
        if _type_of(device) not in IN_MEMORY:
            raise self._fault("is not in memory; name a file on a tmpfs, such as one in /run/postsink")

    def write(self, lines: list[bytes]) -> None:
        """Append lines."""
        size = sum(map(len, lines)) + len(lines)
        if self._size + size > MOST:
            self._empty()
        now = time.clock_gettime(time.CLOCK_BOOTTIME)  # a suspended machine's lines grow old, too
        self._first = now if self._first is None else self._first
        self._last, self._size = now, self._size + size
        super().write(lines)

    def look(self, seldom: Seldom) -> None:
        """Empty the file in time."""
        if self._first is not None:
            now = time.clock_gettime(time.CLOCK_BOOTTIME)
            age = now - self._first
            if age >= self._keep - MARGIN or (age >= self._keep * 0.8 and now >= self._last + QUIET):
                self._empty()
        super().look(seldom)

    def _empty(self) -> None:
        """Take all away, in place: who has the file open has it no longer."""
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
        self._first, self._size = None, 0

    def close(self) -> None:
        """Leave nothing."""
        self._empty()
        super().close()


def _type_of(device: int) -> str:
    """Return the type of a file system, "" where the kernel does not tell."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        words, _, rest = line.partition(" - ")
        if words.split(" ")[2:3] == [wanted]:
            return rest.partition(" ")[0]
    return ""
