"""Archived logs: plain, .gz, .bz2, .xz, .zst, or standard input, read in chunks.

The form is told by the first bytes, not by the name. A file is opened once, when it is named, so that a log rotation
under way does not put another one in its place; its bytes are read when its turn comes, by a position that is this
process's own: others may have the descriptor from a fork(). Damage is a Fault that comes after what could be read.
"""

import bz2
import errno
import gzip
import lzma
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import tzinfo
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol, cast

from sink.core.syslog import Reader
from sink.fault import DATA, NOINPUT, NOPERM, UNAVAILABLE, Fault
from sink.sources.framer import Framer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 16  # bytes; larger ones cost memory and save nothing
HEAD = 1 << 16  # bytes in which the first time and a year are looked for
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError)
STDIN = "-"
ZSTD = b"\x28\xb5\x2f\xfd"


class _Unpacked(Protocol):
    """A file of unpacked bytes; read1() gives what one step brings, so that damage costs no more than that."""

    def read1(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class _Regular(RawIOBase):
    """A regular file, read at a position of our own: that of a descriptor moves for all processes that share it."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._at = file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._file.fileno()  # ValueError where it is closed
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        assert whence == os.SEEK_SET
        self._at = offset
        return offset

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        count = os.preadv(self.fileno(), [buffer], self._at)
        self._at += count
        return count

    def pour(self, pipe: IO[bytes]) -> None:
        """Write what is left of it into a pipe, and close that, or leave when nobody reads it any more."""
        with suppress(OSError), pipe:
            while data := os.pread(self.fileno(), CHUNK, self._at):
                self._at += len(data)
                pipe.write(data)

    def close(self) -> None:
        super().close()
        self._file.close()


class Archive:
    """One archived log; name is as given on the command line, "-" is standard input."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == STDIN else name
        self.first: tuple[int, int] = (0, 0)  # (second, micros) of its first line with a time
        file = _stdin() if name == STDIN else _open(Path(name))
        status = os.fstat(file.fileno())
        regular = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if regular else 0
        self.modified = int(status.st_mtime) if regular else None
        self._raw: FileIO | _Regular = _Regular(file) if regular else file
        self._start = self._raw.tell() if regular else None
        self._near: tuple[tzinfo, int | None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._feeder: threading.Thread | None = None  # of the child
        self._packed: BufferedReader | None = None
        self._file: _Unpacked | None = None
        self._head = b""  # of a stream, which can't be begun twice, what was looked at
        self._damaged = False

    def date(self, zone: tzinfo, year: int | None) -> Reader:
        """Find the time of the first line; return a reader of this file's lines.

        The year of lines without one: as given, else as a long queue id tells, else by the file's age (law 6).
        Raises Fault (65) where nothing tells it.
        """
        lines = self._look().split(b"\n")
        probe = Reader(zone, year)
        if _first(probe, lines) is None and probe.undecided:
            if self.modified is None:
                raise Fault(DATA, f"nothing in {self.name} tells the year of its lines; give --year YYYY")
            probe = Reader(zone, fallback=self.modified)
            _first(probe, lines)
        found = _first(probe, lines)
        if found is not None:
            self.first = found
        self._near = zone, found[0] if found else None
        return self.reader()

    def reader(self) -> Reader:
        """Return another reader of this file's lines, once it is dated."""
        assert self._near is not None
        return Reader(self._near[0], near=self._near[1], fallback=self.modified)

    @property
    def may_be_read_twice(self) -> bool:
        """Whether it is a file, no stream."""
        return self._start is not None

    @property
    def is_empty(self) -> bool:
        """Whether not one byte was in it; known when it was dated."""
        return not self._head and not self._damaged

    def chunks(self, again: bool = False) -> Iterator[bytes]:
        """Yield what it holds, unpacked; see damage() afterwards. again: it stays open, to be read once more."""
        if self._start is None and self._head:
            yield self._head
        try:
            while chunk := self._read(CHUNK):
                yield chunk
            self._end(whole=True)
        finally:
            if again:
                self.rewind()
            else:
                self.close()

    def rewind(self) -> None:
        """Set a file back to its beginning."""
        assert self._start is not None
        self._end(whole=False)
        self._raw.seek(self._start)
        self._damaged = False

    def damage(self) -> Fault | None:
        """Return what to tell of a file that broke off: what came before was read."""
        if not self._damaged:
            return None
        return Fault(DATA, f"{self.name}: damaged or cut off; what came before is kept; import a whole copy again")

    def lines(self, again: bool = False) -> Iterator[list[bytes]]:
        """Yield lists of lines, without their newline; again: as of chunks()."""
        framer = Framer()
        for chunk in self.chunks(again):
            yield framer.lines(chunk)
        if not self._damaged:  # else it is half a line, which would pass for another one
            yield framer.last()

    def position(self) -> int:
        """Return how many bytes of the file were read, as packed."""
        try:
            return self._raw.tell()
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Close the file; chunks() does it at their end."""
        self._end(whole=False)
        self._raw.close()

    def _look(self) -> bytes:
        """Return the first HEAD bytes, unpacked; a file is then set back to its beginning."""
        head = b""
        while len(head) < HEAD and (chunk := self._read(HEAD)):
            head += chunk
        if self._start is None:
            self._head = head
            return head
        self._end(len(head) < HEAD)
        self._raw.seek(self._start)
        # Many files may wait for their turn: one byte tells that it is not empty.
        self._head = head[:1]
        return head

    def _read(self, size: int) -> bytes:
        try:
            if self._file is None:
                self._packed = self._packed or BufferedReader(self._raw)
                self._file = self._unpacked(self._packed)
            return self._file.read1(size)
        except _DAMAGE:
            self._damaged = True
            return b""

    def _end(self, whole: bool) -> None:
        """Let go of what unpacks, but keep the file; an unpacking program's verdict counts when it saw all."""
        if self._file is not None and self._file is not self._packed:
            self._file.close()
        self._file = None
        if self._feeder is not None:
            self._feeder.join()
            self._feeder = None
        if self._child is not None:
            failed, self._child = self._child.wait() != 0, None
            self._damaged = self._damaged or (failed and whole)
        if self._packed is not None and not self._packed.closed:
            self._packed.detach()  # else it would take the file with it
        self._packed = None

    def _unpacked(self, packed: BufferedReader) -> _Unpacked:
        begin = packed.peek(6)[:6]
        if begin.startswith(b"\x1f\x8b"):
            return gzip.GzipFile(fileobj=packed)
        if begin.startswith(b"BZh"):
            return bz2.BZ2File(packed)
        if begin.startswith(b"\xfd7zXZ\0"):
            return lzma.LZMAFile(packed)
        return self._zstd() if begin.startswith(ZSTD) else packed

    def _zstd(self) -> _Unpacked:
        """Unpack by the zstd program: Python has no zstd of its own before 3.14."""
        program = shutil.which("zstd")
        if program is None:
            raise Fault(UNAVAILABLE, f"{self.name} needs the program zstd; type: apt install zstd")
        if not isinstance(self._raw, _Regular) or self._start is None:
            raise Fault(UNAVAILABLE, "zstd on standard input is not read; type: zstd -dc FILE | postsink import")
        self._raw.seek(self._start)
        self._child = subprocess.Popen(
            [program, "-dcq"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # Not the file itself, whose position a zstd would go on moving when who started it was killed.
        self._feeder = threading.Thread(target=self._raw.pour, args=(self._child.stdin,), daemon=True)
        self._feeder.start()
        return cast(BufferedReader, self._child.stdout)


def allow_many_files() -> None:
    """Let this process hold as many files open as it may: years of daily logs are more than the usual 1,024."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _first(reader: Reader, lines: list[bytes]) -> tuple[int, int] | None:
    """Return (second, micros) of the first line whose time the reader can tell."""
    for line in lines:
        record = reader.read(line)
        if record is not None:
            return record[0], int(record[1])
    return None


def _stdin() -> FileIO:
    if sys.stdin is None:
        raise Fault(NOINPUT, "standard input is closed; name a file, or hand lines over by a pipe")
    if sys.stdin.isatty():
        print("postsink: reading lines from the terminal; Ctrl-D ends them", file=sys.stderr)
    return FileIO(sys.stdin.fileno(), closefd=False)


def _open(path: Path) -> FileIO:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise Fault(NOINPUT, f"{path} is a folder; name the files in it")
        return FileIO(path)
    except FileNotFoundError:
        raise Fault(NOINPUT, f"there is no file {_without_address(path)}; look at its name") from None
    except PermissionError:
        raise Fault(NOPERM, f"no permission to read {path}; run this as a user who may") from None
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise Fault(UNAVAILABLE, "too many files at once; import them by several commands") from None
        raise Fault(NOINPUT, f"can't read {_without_address(path)}; look at its name and its disk") from None


def _without_address(path: Path) -> str:
    """Return a file's name, unless it looks like an address, typed where a file's name is asked for."""
    return "of that name" if "@" in path.name else str(path)
