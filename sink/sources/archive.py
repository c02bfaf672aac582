"""Archived logs: plain, .gz, .bz2, .xz, .zst, or standard input, read in chunks.

The form is told by the first bytes, not by the name. Damage is a Fault that comes after what could be read.
"""

import bz2
import gzip
import lzma
import os
import shutil
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterator
from datetime import tzinfo
from io import BufferedReader
from pathlib import Path
from typing import IO, cast

from sink.core.syslog import Reader
from sink.fault import DATA, NOINPUT, NOPERM, UNAVAILABLE, Fault
from sink.sources.framer import Framer

CHUNK = 1 << 17  # bytes; larger ones cost memory and save nothing
HEAD = 1 << 16  # bytes in which the first time and a year are looked for
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, OSError)
STDIN = "-"


class Archive:
    """One archived log; name is as given on the command line, "-" is standard input."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == STDIN else name
        self.first: tuple[int, int] = (0, 0)  # (second, micros) of its first line with a time
        self._child: subprocess.Popen[bytes] | None = None
        self._raw = _stdin() if name == STDIN else _open(Path(name))
        status = os.fstat(self._raw.fileno())
        regular = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if regular else 0
        self.modified = int(status.st_mtime) if regular else None
        self._file = self._unpacked()
        self._head = b""
        self._damaged = False
        while len(self._head) < HEAD:
            chunk = self._read(HEAD)
            if not chunk:
                break
            self._head += chunk
        self.empty_file = not self._head and not self._damaged

    def date(self, zone: tzinfo, year: int | None) -> Reader:
        """Find the time of the first line; return a reader of this file's lines.

        The year of lines without one: as given, else as a long queue id tells, else by the file's age (law 6).
        Raises Fault (65) where nothing tells it.
        """
        lines = self._head.split(b"\n")
        probe = Reader(zone, year)
        if _first(probe, lines) is None and probe.undecided:
            if self.modified is None:
                raise Fault(DATA, f"nothing in {self.name} tells the year of its lines; give --year YYYY")
            probe = Reader(zone, fallback=self.modified)
            _first(probe, lines)
        found = _first(probe, lines)
        if found is not None:
            self.first = found
        return Reader(zone, near=found[0] if found else None, fallback=self.modified)

    def chunks(self) -> Iterator[bytes]:
        """Yield what it holds, unpacked; see damage() afterwards."""
        head, self._head = self._head, b""
        if head:
            yield head
        while chunk := self._read(CHUNK):
            yield chunk
        self.close()

    def damage(self) -> Fault | None:
        """Return what to tell of a file that broke off: what came before was read."""
        if not self._damaged:
            return None
        return Fault(DATA, f"{self.name}: damaged or cut off; what came before is kept; import a whole copy again")

    def lines(self) -> Iterator[list[bytes]]:
        """Yield lists of lines, without their newline."""
        framer = Framer()
        for chunk in self.chunks():
            yield framer.lines(chunk)
        yield framer.last()

    def position(self) -> int:
        """Return how many bytes of the file were read, as packed."""
        try:
            return self._raw.tell()
        except (OSError, ValueError):
            return 0

    def close(self) -> None:
        """Close the file and end the unpacking program."""
        self._file.close()
        if self._child is not None:
            self._damaged = self._child.wait() != 0 or self._damaged

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except _DAMAGE:
            self._damaged = True
            return b""

    def _unpacked(self) -> IO[bytes]:
        begin = self._raw.peek(6)[:6]
        if begin.startswith(b"\x1f\x8b"):
            return cast(IO[bytes], gzip.GzipFile(fileobj=self._raw))
        if begin.startswith(b"BZh"):
            return bz2.BZ2File(self._raw)
        if begin.startswith(b"\xfd7zXZ\0"):
            return lzma.LZMAFile(self._raw)
        if begin.startswith(b"\x28\xb5\x2f\xfd"):
            return self._zstd()
        return self._raw

    def _zstd(self) -> IO[bytes]:
        """Unpack by the zstd program: Python has no zstd of its own before 3.14."""
        program = shutil.which("zstd")
        if program is None:
            raise Fault(UNAVAILABLE, f"{self.name} needs the program zstd; type: apt install zstd")
        if not self._raw.seekable():
            raise Fault(UNAVAILABLE, "zstd on standard input is not read; type: zstd -dc FILE | postsink import")
        self._raw.seek(0)
        os.lseek(self._raw.fileno(), 0, os.SEEK_SET)
        self._child = subprocess.Popen(
            [program, "-dcq"], stdin=self._raw.fileno(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._child.stdout is not None
        return self._child.stdout


def _first(reader: Reader, lines: list[bytes]) -> tuple[int, int] | None:
    """Return (second, micros) of the first line whose time the reader can tell."""
    for line in lines:
        record = reader.read(line)
        if record is not None:
            return record[0], record[1]
    return None


def _stdin() -> BufferedReader:
    return cast(BufferedReader, sys.stdin.buffer)


def _open(path: Path) -> BufferedReader:
    try:
        if stat.S_ISDIR(path.stat().st_mode):
            raise Fault(NOINPUT, f"{path} is a folder; name the files in it")
        return path.open("rb")
    except FileNotFoundError:
        raise Fault(NOINPUT, f"there is no file {path}; look at its name") from None
    except PermissionError:
        raise Fault(NOPERM, f"no permission to read {path}; run this as a user who may") from None
    except OSError:
        raise Fault(NOINPUT, f"can't read {path}; look at its disk") from None
