"""A connection at the daemon's end: what was sent is read to the last, and nothing is sent into the void."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from sink.service.protocol import MAGIC, answer, frame
from sink.service.sources import Connection

LINES = [b"one", b"two", b"three"]
PLAIN = b"".join(line + b"\n" for line in LINES)
FRAMES = MAGIC + b"".join(map(frame, LINES))


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Connection]]:
    far, near = socket.socketpair()
    near.setblocking(False)
    yield far, Connection(near)
    far.close()
    near.close()


@pytest.mark.parametrize("read", [0, 1, 2], ids=["nothing yet", "a line", "half a line"])
def test_plain_lines_are_read_to_the_last(read: int, ends: tuple[socket.socket, Connection]) -> None:
    """Whoever goes on sending has an error, and sends that line elsewhere."""
    far, connection = ends
    found = []
    if read:
        cut = 4 if read == 1 else 6
        far.sendall(PLAIN[:cut])
        found += connection.read()
        far.sendall(PLAIN[cut:])
    else:
        far.sendall(PLAIN)
    assert found + connection.last() == LINES
    with pytest.raises(BrokenPipeError):
        far.sendall(b"four\n")
    assert connection.last() == []


def test_a_relay_that_has_just_come_is_answered(ends: tuple[socket.socket, Connection]) -> None:
    far, connection = ends
    far.sendall(FRAMES)
    assert connection.last() == LINES
    connection.confirm()
    assert far.recv(100) == answer(3)


def test_a_relay_may_send_on(ends: tuple[socket.socket, Connection]) -> None:
    """What is not confirmed it sends again."""
    far, connection = ends
    far.sendall(FRAMES)
    assert connection.read() == LINES
    assert connection.last() == []
    far.sendall(frame(b"four"))
    assert not connection.ended
