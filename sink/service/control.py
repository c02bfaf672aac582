"""The control socket: one JSON object a line in, one a line out; beside the store, for root and who runs the daemon.

{"ask": "status"} gives counts, {"ask": "reload"} does what SIGHUP does. Counts are all it tells.
"""

import json
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sink.config import Listen
from sink.fault import UNAVAILABLE, Fault
from sink.service import sockets

MOST_QUESTION = 4096  # bytes
PATIENCE = 5.0  # seconds for an answer

Answerer = Callable[[str], dict[str, object]]


def place(store: Path) -> Path:
    """Return where the control socket of a store's daemon is."""
    return store.with_name(store.name + ".control")


class Control:
    """The daemon's end."""

    def __init__(self, store: Path, answer: Answerer) -> None:
        self._path = place(store)
        self._answer = answer
        self._listener = sockets.bind(Listen("stream", self._path, 0o600))

    def register(self, selector: selectors.BaseSelector) -> None:
        """Be waited for."""
        selector.register(self._listener, selectors.EVENT_READ, lambda: self._accept(selector))

    def _accept(self, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if sockets.peer(connection) not in {0, os.geteuid()}:
            connection.close()
            return
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, lambda: self._serve(selector, connection))

    def _serve(self, selector: selectors.BaseSelector, connection: socket.socket) -> None:
        """Answer one question, and hang up."""
        try:
            asked = json.loads(connection.recv(MOST_QUESTION))
            question = asked.get("ask") if isinstance(asked, dict) else None
            connection.send(json.dumps(self._answer(question if isinstance(question, str) else "")).encode() + b"\n")
        except (OSError, ValueError, RecursionError):
            pass
        selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        """Close it and take its name away."""
        self._listener.close()
        with suppress(OSError):
            self._path.unlink()


def ask(store: Path, question: str) -> dict[str, object]:
    """Ask the daemon of a store; raises Fault 69 where none answers."""
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE)
            one.connect(str(place(store)))
            one.sendall(json.dumps({"ask": question}).encode() + b"\n")
            with one.makefile("rb") as file:
                found = json.loads(file.readline())
    except (OSError, ValueError):
        raise Fault(UNAVAILABLE, "no daemon answers; start it: systemctl start postsink, or postsink run") from None
    assert isinstance(found, dict)
    return found
