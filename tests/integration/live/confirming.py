"""A client of the daemon's confirming protocol, and a plain one.

A connection begins with MAGIC; then each line is a frame, its length as four bytes before it, without a newline. The
daemon answers with eight bytes: how many frames of this connection are committed, in all.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from tests.integration.asking import PATIENCE

MAGIC = b"\0postsink 1\n"


def frame(line: bytes) -> bytes:
    return struct.pack(">I", len(line)) + line


class Confirming:
    """One connection."""

    def __init__(self, path: Path) -> None:
        self.confirmed = 0
        self._answer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect(str(path))
            self._socket.sendall(MAGIC)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Confirming:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, *lines: bytes) -> None:
        self._socket.sendall(b"".join(map(frame, lines)))

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def no_more(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def take(self) -> bool:
        """Wait for an answer; False at the end of the connection."""
        try:
            data = self._socket.recv(4096)
        except ConnectionError:
            return False
        self._answer += data
        whole = len(self._answer) // 8 * 8
        for (number,) in struct.iter_unpack(">Q", self._answer[:whole]):
            assert number >= self.confirmed, "the count went back"
            self.confirmed = number
        self._answer = self._answer[whole:]
        return bool(data)

    def until(self, number: int) -> None:
        """Wait until so many frames are committed."""
        while self.confirmed < number:
            assert self.take(), f"the connection ended at {self.confirmed}, not {number}"
        assert self.confirmed == number, "more is confirmed than was sent"

    def has_answer(self, seconds: float = 0) -> bool:
        """Whether an answer comes within that time."""
        return bool(select.select([self._socket], [], [], seconds)[0])


def deliver(path: Path, lines: Sequence[bytes], window: int = 1) -> int:
    """Send lines on one connection, so many ahead of their confirmation; return how many were confirmed.

    With a window of one this is rsyslogd's lock step. Less than all were confirmed when the daemon died.
    """
    try:
        client = Confirming(path)
    except OSError:
        return 0  # the daemon died before
    sent = 0
    with client:
        while client.confirmed < len(lines):
            ahead = min(client.confirmed + window, len(lines))
            try:
                client.send(*lines[sent:ahead])
            except ConnectionError:
                while client.take():  # what was confirmed before it died
                    pass
                break
            sent = max(sent, ahead)
            if not client.take():
                break
            assert client.confirmed <= sent, "more is confirmed than was sent"
    return client.confirmed


def send_plain(path: Path, lines: Sequence[bytes]) -> None:
    """Send newline-terminated lines, as a source that waits for no answer, and close."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(b"".join(line + b"\n" for line in lines))


def send_datagrams(path: Path, lines: Sequence[bytes]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        for line in lines:
            client.send(line)
