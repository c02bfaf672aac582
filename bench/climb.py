"""Feeds a program on its stdin, and looks at its CPU and memory while it goes on: one run gives a whole curve.

The clock of a process tells nanoseconds of all its threads. A program is behind by what it has read last, at most
64 KiB here, at each look, so that a difference of two looks is right to half a hundredth of 100,000 lines.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from fcntl import ioctl
from pathlib import Path
from struct import unpack
from termios import FIONREAD
from types import TracebackType
from typing import NamedTuple, Self

from bench.measure import ROOT

PAUSE = 0.0005  # seconds, until the pipe is looked at again


class Look(NamedTuple):
    """What a program has used so far."""

    cpu: float  # seconds
    memory: float  # MB resident now


class Climb:
    """A program that reads a log on stdin."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._child = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.pid = self._child.pid
        assert self._child.stdin
        self._stdin = self._child.stdin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stdin.close()
        if self._child.returncode is None:
            self._child.kill()
            self._child.wait()
        assert self._child.stderr
        self._child.stderr.close()

    def feed(self, chunks: Iterable[bytes]) -> Look:
        """Write chunks, wait until they were read, and look."""
        try:
            for chunk in chunks:
                self._write(chunk)
            while unpack("i", ioctl(self._stdin, FIONREAD, bytes(4)))[0]:
                if self._child.poll() is not None:
                    raise BrokenPipeError
                time.sleep(PAUSE)
        except BrokenPipeError:
            self._broken()
        return self.look()

    def _write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            left = left[self._stdin.write(left) :]

    def look(self) -> Look:
        """Look at the program as it is now."""
        cpu = time.clock_gettime(~self.pid << 3 | 2)  # clock_getcpuclockid(3) of all its threads
        status = Path(f"/proc/{self.pid}/status").read_text()
        return Look(cpu, int(status.partition("VmRSS:")[2].split()[0]) / 1024)

    def end(self) -> float:
        """Close its stdin, and wait; return the CPU seconds of all its life."""
        self._stdin.close()
        assert self._child.stderr
        said = self._child.stderr.read().decode("utf-8", "replace")
        _, status, used = os.wait4(self.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        if self._child.returncode:
            sys.exit(f"bench: a program ended with {self._child.returncode}: {said[-1000:]}")
        return used.ru_utime + used.ru_stime

    def _broken(self) -> None:
        self.end()
        sys.exit("bench: a program ended before its log did")


def cut(log: Path, sizes: Sequence[int]) -> Iterator[Iterator[bytes]]:
    """Yield, for each of some sizes that grow, the chunks that lead up to so many lines of a log.

    Each is to be read to its end before the next is taken.
    """
    with log.open("rb") as file:
        before = 0
        for size in sizes:
            yield _lines(file, size - before)
            before = size


def _lines(file: Iterable[bytes], number: int) -> Iterator[bytes]:
    part: list[bytes] = []
    for left, line in zip(range(number, 0, -1), file, strict=False):  # in this order: no line is read and left
        part.append(line)
        if left == 1 or len(part) == 1_000:
            yield b"".join(part)
            part.clear()
    if part:
        yield b"".join(part)
