"""`postsink omprog`: rsyslogd's child hands each line to the daemon, and confirms what the daemon confirms.

It has no key and opens no store: on Debian 13 it runs as root and cannot become anyone else. While the daemon is away
it waits, and sends the line again that was not confirmed; the daemon makes nothing twice of it (law 6).
"""

import socket
import time
from contextlib import suppress
from pathlib import Path

from sink import hardening
from sink.config import Config
from sink.fault import CONFIG, OK, Fault
from sink.service import omprog
from sink.service.protocol import MAGIC, Answers, frame

FIRST, LONGEST = 0.05, 1.0  # seconds between tries of a daemon that is away


class Relay:
    """A connection to the daemon that comes back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._answers = Answers()
        self._sent = 0

    def connect(self) -> None:
        """Wait until the daemon lets us in."""
        pause, pulse = FIRST, time.monotonic()
        while not self._try():
            time.sleep(pause)
            pause = min(pause * 2, LONGEST)
            if time.monotonic() >= pulse + omprog.PULSE:
                omprog.dot()
                pulse = time.monotonic()

    def _try(self) -> bool:
        self.close()
        one = socket.socket(socket.AF_UNIX)
        try:
            one.settimeout(omprog.PULSE)
            one.connect(str(self._path))
            one.sendall(MAGIC)
        except OSError:
            one.close()
            return False
        self._socket, self._answers, self._sent = one, Answers(), 0
        return True

    def hand_over(self, line: bytes) -> None:
        """Return when the daemon has committed a line."""
        sent, pause = frame(line), FIRST
        while True:
            if self._socket is None:
                self.connect()
            if self._say(sent) and self._hear():
                return
            # Whoever lets us in and hangs up does so again: not too often.
            self.close()
            time.sleep(pause)
            pause = min(pause * 2, LONGEST)
            omprog.dot()

    def _say(self, sent: bytes) -> bool:
        assert self._socket is not None
        self._sent += 1
        rest = memoryview(sent)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except TimeoutError:
                omprog.dot()
            except OSError:
                return False
        return True

    def _hear(self) -> bool:
        assert self._socket is not None
        while True:
            try:
                chunk = self._socket.recv(omprog.CHUNK)
            except TimeoutError:
                omprog.dot()
                continue
            except OSError:
                return False
            if not chunk:
                return False
            if self._answers.take(chunk) >= self._sent:
                return True

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


def run(config: Config) -> int:
    """Relay stdin until it ends."""
    streams = [one.path for one in config.listen if one.kind == "stream"]
    if not streams:
        raise Fault(CONFIG, "listen: names no stream socket; add {stream: /run/postsink/stream}")
    omprog.stay()
    hardening.lock()  # what it can't have, the daemon tells
    relay = Relay(streams[0])
    try:
        relay.connect()
        omprog.ok()
        for line in omprog.Lines():
            if line is not None:
                relay.hand_over(line)
                omprog.ok()
    except omprog.Gone:
        pass
    finally:
        relay.close()
    return OK
