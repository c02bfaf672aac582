"""Sends lines beside what a test does, in each way in which lines come."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.integration.asking import PATIENCE
from tests.integration.epochs import NEW, refusal
from tests.integration.live.omprog import Child


class Sender:
    """Sends the line of a number, and returns it."""

    def send(self, number: int) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Datagrams(Sender):
    """A refusal a time, as Postfix sends: whatever keeps it from being taken is an error."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))

    def send(self, number: int) -> bytes:
        line = refusal(NEW + number % 300, number, b"dg1")
        self._socket.send(line)
        return line

    def close(self) -> None:
        self._socket.close()


class Plain(Sender):
    """A refusal a time, as syslog-ng sends: it connects again, and again sends what was not taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, number: int) -> bytes:
        line = refusal(NEW + number % 300, number, b"st1")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.connect(str(self._path))
                self._socket.sendall(line + b"\n")
            except OSError:
                self.close()
            else:
                return line
        raise AssertionError("nobody takes it")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


class LockStep(Sender):
    """The next line by a child of rsyslogd's, confirmed."""

    def __init__(self, child: Child, lines: Sequence[bytes]) -> None:
        self._child = child
        self._left = iter(lines)

    def send(self, number: int) -> bytes:
        line = next(self._left)
        assert self._child.send(line), "the child has gone"
        return line


class Slowest(Sender):
    """Measures another sender; `seconds` is what its slowest line took."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def of(self, sender: Sender) -> Slowest:
        self._sender = sender
        return self

    def send(self, number: int) -> bytes:
        started = time.monotonic()
        line = self._sender.send(number)
        self.seconds = max(self.seconds, time.monotonic() - started)
        return line


class Meanwhile:
    """Sends again and again, beside what the test does; the lines that were sent are in `sent`."""

    def __init__(self, sender: Sender) -> None:
        self.sent: list[bytes] = []
        self.wrong: list[BaseException] = []
        self._sender = sender
        self._over = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self.sent.append(self._sender.send(len(self.sent)))
                self._begun.set()
                self._over.wait(0.002)
        except StopIteration:
            pass
        except (OSError, AssertionError) as error:
            self.wrong.append(error)
        finally:
            self._begun.set()
            self._sender.close()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if not any(error):
            assert self.wrong == []
