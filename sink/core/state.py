"""Open messages as bytes, for a store, and back.

Written by marshal, in its format 2, which has not changed since Python 2.5: a line that has an effect costs one
such state, and JSON takes fifteen times as long. What is read is of plain types only and cannot run code; its first
part is the version of what we write. It holds pseudonyms and numbers only (law 1).
"""

import marshal
from collections.abc import Callable, Iterable
from typing import Any

from sink.core.facts import Fact
from sink.core.hosts import Host
from sink.core.messages import Message

VERSION = 3
FORMAT = 2  # marshal's
FACT, WAITING = 4, 9  # parts of a fact and of an attempt that waits


class StateError(Exception):
    """Open state that this version cannot read."""


_DAMAGED = StateError("open state is damaged")


def _parts(text: bytes, *kinds: type) -> list[Any]:
    """Return the parts behind the version; raises StateError where they are not of these kinds."""
    try:
        value = marshal.loads(text)
    except (ValueError, EOFError, TypeError):
        raise _DAMAGED from None
    if not isinstance(value, tuple) or value[:1] != (VERSION,):
        raise StateError("open state is of another version")
    parts = list(value[1:])
    if len(parts) != len(kinds) or not all(map(isinstance, parts, kinds)):
        raise _DAMAGED
    return parts


def encode_message(message: Message) -> bytes:
    """Return an open message as bytes, for a store that keeps it."""
    message.kept = True
    return marshal.dumps(
        (
            VERSION, message.host.name, message.queue_id,
            (
                message.epoch, message.limit, message.first, message.first_micros, message.last, message.opened,
                message.ended, message.active, message.arrived, message.plain, message.headers, message.retry,
            ),
            message.facts, message.waiting, message.children,
        ),
        FORMAT,
    )  # fmt: skip


def decode_message(token: bytes, text: bytes, host_of: Callable[[bytes], Host]) -> Message:
    """Return the open message of encode_message(); raises StateError."""
    name, queue_id, plain, facts, waiting, children = _parts(text, bytes, bytes, tuple, list, list, tuple)
    message = Message(token, host_of(name), queue_id, 0, 0, {})
    try:
        (
            message.epoch, message.limit, message.first, message.first_micros, message.last, message.opened,
            message.ended, message.active, message.arrived, message.plain, message.headers, message.retry,
        ) = plain  # fmt: skip
    except ValueError:
        raise _DAMAGED from None
    if not _is_fraction(message.first_micros):
        raise _DAMAGED
    if any(not isinstance(attempt, tuple) or len(attempt) != WAITING for attempt in waiting):
        raise _DAMAGED
    values: dict[tuple[int, Any], Any] = {}  # retries say the same again; by kind, since 1 and 1.0 are one key
    try:
        message.facts = [
            (second, kind, values.setdefault((kind, value), value), micros)
            for second, kind, value, micros in map(_fact, facts)
        ]
    except TypeError:  # a value that can change
        raise _DAMAGED from None
    message.waiting = waiting
    message.children = children
    message.kept = True
    return message


def epoch_of(text: bytes) -> int:
    """Return the epoch of an encoded message; raises StateError."""
    return _plain(text, 0)


def first_of(text: bytes) -> int:
    """Return the least second of an encoded message's lines; raises StateError."""
    return _plain(text, 2)


def _plain(text: bytes, place: int) -> int:
    plain = _parts(text, bytes, bytes, tuple, list, list, tuple)[2]
    if len(plain) <= place or not isinstance(plain[place], int):
        raise _DAMAGED
    return int(plain[place])


def in_order(state: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return open state as it grew: who is opened first comes first; raises StateError.

    A store gives it by token, and of too many messages the oldest are forgotten.
    """
    return dict(sorted(state.items(), key=lambda one: first_of(one[1]) if is_message(one[0]) else 0))


def is_message(token: bytes) -> bool:
    """Tell whether a token is a message's, not a link's or a clock's."""
    return not token.startswith((b"host:", b"link:"))


def _fact(fact: Any) -> Fact:
    if not isinstance(fact, tuple) or [type(part) for part in fact[:2]] != [int, int] or len(fact) != FACT:
        raise _DAMAGED
    if not _is_fraction(fact[3]):
        raise _DAMAGED
    return fact


def _is_fraction(micros: Any) -> bool:
    """Tell whether it is what a message or a fact has of microseconds."""
    return isinstance(micros, bytes) and (micros.isdigit() or not micros)


def encode_link(host: bytes, queue_id: bytes, fact: Fact) -> bytes:
    """Return a link to a queue id of which no line was seen as bytes."""
    return marshal.dumps((VERSION, host, queue_id, fact), FORMAT)


def decode_link(text: bytes) -> tuple[bytes, bytes, Fact]:
    """Return (host, queue id, fact) of encode_link(); raises StateError."""
    host, queue_id, fact = _parts(text, bytes, bytes, tuple)
    return host, queue_id, _fact(fact)


def encode_host(host: Host) -> bytes:
    """Return a host's log clock as bytes."""
    return marshal.dumps((VERSION, host.clock, host.strays), FORMAT)


def changed_clocks(hosts: Iterable[Host]) -> dict[bytes, bytes]:
    """Return the clocks of hosts that a store does not have as they are, as bytes, and note that it gets them."""
    found = {}
    for host in hosts:
        clock = encode_host(host)
        if clock != host.kept:
            found[b"host:" + host.name] = host.kept = clock
    return found


def decode_host(text: bytes, host: Host) -> None:
    """Set a host's log clock from encode_host()'s bytes; raises StateError."""
    host.clock, host.strays = _parts(text, int, list)
