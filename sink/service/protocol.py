"""What the relay and the daemon say to each other over the stream socket.

The relay opens with MAGIC, whose first byte no log line begins with, and whose number is the protocol's version.
Then it sends frames: four bytes, big-endian, the length of a line, and the line without its newline. The daemon
answers with the number of this connection's frames that are committed so far, eight bytes, big-endian; it may
answer once for many. A connection that opens otherwise gives plain lines, each ended by a newline, and gets no
answer.
"""

import struct

from sink.core.syslog import MOST_LINE

MAGIC = b"\0postsink 1\n"
MOST_FRAME = 1 << 20  # bytes; a longer one is no line, and ends the connection
_LENGTH = struct.Struct(">I")
_COUNT = struct.Struct(">Q")


class ProtocolError(Exception):
    """The other side speaks something else."""


def frame(line: bytes) -> bytes:
    """Return a line as a frame; of one that is too long for the daemon its beginning, so that it is counted."""
    line = line[: MOST_LINE + 1]
    return _LENGTH.pack(len(line)) + line


def answer(count: int) -> bytes:
    """Return the daemon's answer: so many frames are committed."""
    return _COUNT.pack(count)


class Frames:
    """Cuts chunks into the lines of frames."""

    def __init__(self) -> None:
        self._rest = b""

    def lines(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes; raises ProtocolError."""
        data, at, found = self._rest + chunk if self._rest else chunk, 0, []
        while len(data) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            if length > MOST_FRAME:
                raise ProtocolError
            end = at + _LENGTH.size + length
            if end > len(data):
                break
            found.append(data[at + _LENGTH.size : end])
            at = end
        self._rest = data[at:]
        return found


class Answers:
    """Reads the daemon's answers; `count` is the last."""

    def __init__(self) -> None:
        self.count = 0
        self._rest = b""

    def take(self, chunk: bytes) -> int:
        """Take what came; return the number of frames that are committed."""
        data = self._rest + chunk
        whole = len(data) - len(data) % _COUNT.size
        if whole:
            (self.count,) = _COUNT.unpack_from(data, whole - _COUNT.size)
        self._rest = data[whole:]
        return self.count
