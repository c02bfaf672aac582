"""Open messages as bytes, for a store, and back.

JSON with bytes as {"b": hex}: a format that outlives a Python version and cannot run code when it is read. The
first number is the format's version. What is written holds pseudonyms and numbers only (law 1).
"""

import json
from collections.abc import Callable
from typing import Any

from sink.core.facts import Fact
from sink.core.hosts import Host
from sink.core.messages import Message

VERSION = 2
FACT, WAITING = 4, 9  # parts of a fact and of an attempt that waits
_PLAIN_SLOTS = (
    "epoch", "limit", "first", "first_micros", "last", "opened", "ended", "active", "arrived", "plain", "headers",
)  # fmt: skip


class StateError(Exception):
    """Open state that this version cannot read."""


_DAMAGED = StateError("open state is damaged")


def _hidden(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"b": value.hex()}
    raise TypeError("no such value in open state")


def _dump(value: object) -> bytes:
    return json.dumps(value, default=_hidden, separators=(",", ":")).encode()


def _tuples(value: Any) -> Any:
    """Turn the lists of JSON back into tuples, which compare and hash."""
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def _load(text: bytes) -> Any:
    try:
        value = json.loads(text, object_hook=lambda found: bytes.fromhex(found["b"]))
    except (ValueError, KeyError, TypeError):
        raise _DAMAGED from None
    if not isinstance(value, list) or not value or value[0] != VERSION:
        raise StateError("open state is of another version")
    return value[1:]


def _parts(text: bytes, *kinds: type) -> list[Any]:
    value: list[Any] = _load(text)
    if len(value) != len(kinds) or not all(map(isinstance, value, kinds)):
        raise _DAMAGED
    return value


def encode_message(message: Message) -> bytes:
    """Return an open message as bytes."""
    plain = [getattr(message, name) for name in _PLAIN_SLOTS]
    return _dump(
        [VERSION, message.host.name, message.queue_id, plain, message.facts, message.waiting, message.children]
    )


def decode_message(token: bytes, text: bytes, host_of: Callable[[bytes], Host]) -> Message:
    """Return the open message of encode_message(); raises StateError."""
    name, queue_id, plain, facts, waiting, children = _parts(text, bytes, bytes, list, list, list, list)
    if len(plain) != len(_PLAIN_SLOTS) or {len(attempt) for attempt in waiting} - {WAITING}:
        raise _DAMAGED
    message = Message(token, host_of(name), queue_id, 0, 0, {})
    for slot, value in zip(_PLAIN_SLOTS, plain, strict=True):
        setattr(message, slot, value)
    message.facts = [_fact(fact) for fact in facts]
    message.waiting = [_tuples(attempt) for attempt in waiting]
    message.children = tuple(children)
    return message


def _fact(value: Any) -> Fact:
    fact = _tuples(value)
    if not isinstance(fact, tuple) or [type(part) for part in fact[:2]] != [int, int] or len(fact) != FACT:
        raise _DAMAGED
    return fact


def encode_link(host: bytes, queue_id: bytes, fact: Fact) -> bytes:
    """Return a link to a queue id of which no line was seen as bytes."""
    return _dump([VERSION, host, queue_id, fact])


def decode_link(text: bytes) -> tuple[bytes, bytes, Fact]:
    """Return (host, queue id, fact) of encode_link(); raises StateError."""
    host, queue_id, fact = _parts(text, bytes, bytes, list)
    return host, queue_id, _fact(fact)


def encode_host(host: Host) -> bytes:
    """Return a host's log clock as bytes."""
    return _dump([VERSION, host.clock, host.strays])


def decode_host(text: bytes, host: Host) -> None:
    """Set a host's log clock from encode_host()'s bytes; raises StateError."""
    host.clock, host.strays = _parts(text, int, list)
