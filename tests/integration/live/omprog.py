"""Plays rsyslogd to its omprog child: with confirmMessages, strictly one line, one reply.

What a real one does is followed to the letter: nothing is sent before the first OK; a reply is one line in one
write, before it dots that ask for patience; a child that has gone is started again, and gets the line again that it
has not confirmed. The child's current folder is /, SIGINT is ignored, and it has no other files than 0, 1 and 2.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time

from tests.integration.asking import PATIENCE, command, environment
from tests.integration.live.service import failing, with_bug
from tests.judges.program import Program

IGNORING = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")


class Child:
    """One child, before its first reply."""

    def __init__(
        self, program: Program, *options: str, place: str = "", number: int = 1, bug: str = "",
        prefix: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        words = failing(program, place, number) if place else command(program)
        words = with_bug(program, bug) if bug else words
        self.dots = 0
        self.replies = 0
        self.process = subprocess.Popen(
            [*IGNORING, *prefix, *words, "omprog", *options], env=environment(), cwd="/", bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def reply(self, seconds: float = PATIENCE) -> bool:
        """Wait for OK; False when the child has gone."""
        assert self.process.stdout is not None
        until = time.monotonic() + seconds
        while True:
            left = until - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], "no reply"
            said = os.read(self.process.stdout.fileno(), 4096)
            if not said:
                return False
            # Two replies in one write would be an error to rsyslogd.
            assert re.fullmatch(rb"\.*(OK\n)?", said), said
            self.dots += said.count(b".")
            if said.endswith(b"OK\n"):
                self.replies += 1
                return True

    def says_nothing(self, seconds: float) -> bool:
        """Whether no reply comes for some time; dots may."""
        assert self.process.stdout is not None
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([self.process.stdout], [], [], left)[0]:
                said = os.read(self.process.stdout.fileno(), 4096)
                if said.strip(b"."):
                    return False
                self.dots += len(said)
        return True

    def give(self, line: bytes) -> None:
        assert self.process.stdin is not None
        rest = line + b"\n"
        while rest:
            rest = rest[os.write(self.process.stdin.fileno(), rest) :]

    def send(self, line: bytes) -> bool:
        """Give a line and wait for its reply; False when the child has gone."""
        try:
            self.give(line)
        except BrokenPipeError:
            return False
        return self.reply()

    def close(self) -> int:
        """End of input, and the child's exit status; it has said nothing more."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        assert self.process.stdout.read() == b""
        return status

    def deliver(self, lines: list[bytes]) -> int:
        """Send lines one by one; return how many were confirmed until the end, or until the child was gone."""
        for number, line in enumerate(lines):
            if not self.send(line):
                return number
        return len(lines)
