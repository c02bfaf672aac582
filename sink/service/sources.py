"""Where lines come from while the daemon runs: connections, datagrams, a pipe.

Each source reads without waiting and gives whole lines; one that confirms counts what it took, and answers when the
daemon says that this is committed.
"""

import os
import select
import socket
import time
from contextlib import suppress

from sink.service.protocol import MAGIC, Frames, ProtocolError, answer
from sink.sources.framer import Framer

CHUNK = 1 << 16  # bytes read at a time
MANY = 256  # datagrams read at a time
MOST_DATAGRAM = 1 << 17  # bytes; longer ones are cut, and counted as too long


class Source:
    """Something that the daemon waits on and reads lines from."""

    confirms = False

    @property
    def hurries(self) -> bool:
        """Whether the other side waits for us to read, or for an answer."""
        return self.confirms

    def __init__(self, file: socket.socket | int) -> None:
        self.file = file
        self.ended = False  # nothing more will come

    def read(self) -> list[bytes]:
        """Return the lines that have come; what has no newline at the end was cut off, and is no line."""
        raise NotImplementedError

    def confirm(self) -> None:
        """Tell the other side that all it sent so far is committed."""

    def last(self) -> list[bytes]:
        """Return what is left to read, and let nothing follow it, where who sends would not learn that it is lost."""
        return []

    def close(self) -> None:
        """Close it."""
        if isinstance(self.file, socket.socket):
            self.file.close()


class Pipe(Source):
    """Lines on a descriptor, such as standard input."""

    def __init__(self, file: int) -> None:
        super().__init__(file)
        self._framer = Framer()

    def read(self) -> list[bytes]:
        """Return the lines that one read brings."""
        assert isinstance(self.file, int)
        chunk = os.read(self.file, CHUNK)
        self.ended = not chunk
        return self._framer.lines(chunk)

    def rest(self, seconds: float) -> list[bytes]:
        """Return the line that has begun, when its end comes in time; nothing behind it is read."""
        assert isinstance(self.file, int)
        end, found = time.monotonic() + seconds, list[bytes]()
        while self._framer.is_within and not self.ended and time.monotonic() < end:
            if select.select([self.file], [], [], end - time.monotonic())[0]:
                byte = os.read(self.file, 1)
                self.ended = not byte
                found += self._framer.lines(byte)
        return found


class Datagrams(Source):
    """A datagram socket: a line each. A newline within is none of a line's end: Postfix logs none.

    The kernel holds few (net.unix.max_dgram_qlen, 10 by default), and whoever sends more waits.
    """

    hurries = True

    def read(self) -> list[bytes]:
        """Return the lines that have come, at most MANY."""
        assert isinstance(self.file, socket.socket)
        found: list[bytes] = []
        with suppress(BlockingIOError):
            while len(found) < MANY:
                found.append(self.file.recv(MOST_DATAGRAM).rstrip(b"\n\0").replace(b"\n", b"?"))
        return found


class Connection(Source):
    """A connection of the stream socket: the relay, which is answered, or plain lines."""

    def __init__(self, file: socket.socket) -> None:
        super().__init__(file)
        self._socket = file
        self._opening = b""  # what came before it was clear who speaks
        self._cutter: Framer | Frames | None = None
        self._taken = self._told = 0
        self._unsent = b""

    def read(self) -> list[bytes]:
        """Return the lines that one read brings; a connection that breaks or speaks something else has ended."""
        try:
            chunk = self._socket.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            chunk = b""
        if not chunk:
            self.ended = True
            return []
        if self._cutter is None:
            self._opening += chunk
            chunk = self._opened()
        if self._cutter is None:
            return []
        try:
            found = self._cutter.lines(chunk)
        except ProtocolError:
            self.ended = True
            return []
        if self.confirms:
            self._taken += len(found)
        return found

    def _opened(self) -> bytes:
        """Find out who speaks; return what came behind that."""
        opening = self._opening
        if opening.startswith(MAGIC):
            self._cutter, self.confirms, opening = Frames(), True, opening[len(MAGIC) :]
        elif MAGIC.startswith(opening):
            return b""
        elif opening.startswith(MAGIC[:1]):
            self.ended = True  # another version of the protocol
            return b""
        else:
            self._cutter = Framer()
        self._opening = b""
        return opening

    def confirm(self) -> None:
        """Answer the relay; what its socket does not take now is sent by the next call."""
        if self._taken != self._told:
            self._unsent += answer(self._taken)
            self._told = self._taken
        if self._unsent:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self.ended = True
                self._unsent = b""

    def last(self) -> list[bytes]:
        """As above; what was sent before a shutdown() can still be read, and answered [unix(7)]."""
        found: list[bytes] = []
        if not self.confirms:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RD)
                while not self.ended:
                    found += self.read()
        return found

    @property
    def is_owing(self) -> bool:
        """Whether an answer is due."""
        return self._taken != self._told or bool(self._unsent)
