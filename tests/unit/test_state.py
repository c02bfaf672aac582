"""Open state that somebody damaged is refused; nothing else comes of it."""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import Any

import pytest

from sink.core.facts import ACTIVE, LIST, SCORE
from sink.core.hosts import Host
from sink.core.messages import Message
from sink.core.state import FORMAT, StateError, decode_message, encode_message

TOKEN, NAME = b"t" * 16, b"q" * 16
SECOND, MICROS = 1_793_606_400, b"000017"
# places in a state, and in the plain part of it
VERSION, HOST, QUEUE_ID, PLAIN, FACTS, WAITING, CHILDREN = range(7)
FIRST_MICROS = 3


def message() -> Message:
    found = Message(TOKEN, Host(b"mx1"), NAME, 1, SECOND, {})
    found.facts = [(SECOND, ACTIVE, (1000, 1), MICROS), (SECOND, LIST, 1, b""), (SECOND, SCORE, 1.0, MICROS)]
    return found


def test_it_is_read_as_it_was_written() -> None:
    found = decode_message(TOKEN, encode_message(message()), Host)
    assert encode_message(found) == encode_message(message())
    assert [type(fact[2]) for fact in found.facts] == [tuple, int, float]


def _with(place: int, change: Callable[[Any], Any]) -> bytes:
    parts = list(marshal.loads(encode_message(message())))
    parts[place] = change(parts[place])
    return marshal.dumps(tuple(parts), FORMAT)


def _fact(*fact: Any) -> bytes:
    return _with(FACTS, lambda facts: [*facts, fact])


DAMAGED = {
    "nothing": b"",
    "half": encode_message(message())[:-9],
    "of another version": _with(VERSION, lambda version: version + 1),
    "host": _with(HOST, lambda name: name.decode()),
    "queue id": _with(QUEUE_ID, lambda name: None),
    "plain part": _with(PLAIN, lambda plain: plain[:-1]),
    "first microseconds": _with(PLAIN, lambda plain: (*plain[:FIRST_MICROS], b"x", *plain[FIRST_MICROS + 1 :])),
    "facts": _with(FACTS, tuple),
    "fact's length": _fact(SECOND, ACTIVE, (1000, 1)),
    "fact's second": _fact("1", ACTIVE, (1000, 1), MICROS),
    "fact's kind": _fact(SECOND, None, (1000, 1), MICROS),
    "fact's value": _fact(SECOND, ACTIVE, [1000, 1], MICROS),
    "fact's microseconds": _fact(SECOND, ACTIVE, (1000, 1), b"-1"),
    "type of microseconds": _fact(SECOND, ACTIVE, (1000, 1), 17),
    "attempt": _with(WAITING, lambda waiting: [(SECOND,)]),
    "attempt's type": _with(WAITING, lambda waiting: [SECOND]),
    "children": _with(CHILDREN, list),
}


@pytest.mark.parametrize("state", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_one_is_refused(state: bytes) -> None:
    with pytest.raises(StateError):
        decode_message(TOKEN, state, Host)
