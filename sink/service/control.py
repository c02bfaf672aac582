"""The daemon's end of the control socket, which lies beside the store, for root and who runs the daemon.

{"ask": "status"} gives counts, {"ask": "reload"} does what SIGHUP does; {"ask": "look"} has it look at once whether
the keyring is another one, and whom it is to forget. Figures are all it tells (sink.service.figures).
"""

import json
import os
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sink.config import Listen
from sink.control import PATIENCE, place
from sink.service import sockets

MOST_QUESTION = 4096  # bytes
MOST_ANSWER = 1 << 20  # bytes; of 200 hosts it can be a fifth of that
MOST_OPEN = 16

Answerer = Callable[[str], dict[str, object]]


class Control:
    """The daemon's end."""

    def __init__(self, store: Path, answer: Answerer) -> None:
        self._path = place(store)
        self._answer = answer
        self._listener = sockets.bind(Listen("stream", self._path, 0o600))
        self._selector: selectors.BaseSelector | None = None
        self._open: dict[socket.socket, float] = {}  # who has asked nothing yet, and since when

    def register(self, selector: selectors.BaseSelector) -> None:
        """Be waited for."""
        self._selector = selector
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def tick(self, now: float) -> None:
        """Hang up on those who have asked nothing for long."""
        for connection in [one for one, since in self._open.items() if now > since + PATIENCE]:
            self._hang_up(connection)

    def _accept(self) -> None:
        assert self._selector is not None
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if sockets.peer(connection) not in {0, os.geteuid()} or len(self._open) >= MOST_OPEN:
            connection.close()
            return
        connection.setblocking(False)
        self._open[connection] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._serve(connection))

    def _serve(self, connection: socket.socket) -> None:
        """Answer one question, and hang up."""
        with suppress(OSError, ValueError, RecursionError):
            asked = json.loads(connection.recv(MOST_QUESTION))
            question = asked.get("ask") if isinstance(asked, dict) else None
            answer = json.dumps(self._answer(question if isinstance(question, str) else ""), ensure_ascii=False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST_ANSWER)
            connection.send(answer.encode() + b"\n")
        self._hang_up(connection)

    def _hang_up(self, connection: socket.socket) -> None:
        assert self._selector is not None
        del self._open[connection]
        self._selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        """Close it and take its name away."""
        for connection in self._open:
            connection.close()
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()
