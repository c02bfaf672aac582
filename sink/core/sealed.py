"""Open messages in few bytes, in memory only, and back.

Two ways: tight is the state as a store keeps it, packed by zlib; quick takes half of that time, and some 20 bytes more.
Most messages that wait are tried again in turn, and each time are taken out and put back: they go the quick way.
"""

import marshal
import zlib
from collections.abc import Callable
from functools import cache
from struct import Struct, error
from typing import Any

from sink.core.addressbook import NO_ADDRESS
from sink.core.facts import ACTIVE, ARRIVED, PICKUP_SENDER, SENDER
from sink.core.hosts import Host
from sink.core.messages import MOST_LOOSE, Message
from sink.core.pseudonym import NONE
from sink.core.state import decode_message, encode_message

FAST = 1  # zlib's level: others take as much memory
A_SECOND = 1_800_000_000  # UTC, of January 2027
MOST_FACTS = 200
TIGHT = 0
_SENDERS = (SENDER, PICKUP_SENDER)
# When it will be looked at; TIGHT, or 1 + number of facts
_LOOK = Struct("<qB")
# These; queue id, number of the host, epoch, least second, its microseconds and what is true of it, greatest second,
# second of the last opening, header facts, place of the retry
_HEAD = Struct("<qB16sHHIIIiHb")
# Of a fact: its second; its microseconds, kind, and value by number
_MICROS, _KIND, _FLAGS = 11, 5, 3  # bits to the right of them
_REFERENCE = (1 << _KIND) - 1
_KINDS = (1 << _MICROS - _KIND) - 1


@cache
def _facts(number: int) -> Struct:
    return Struct(f"<{2 * number}I")


class Seals:
    """Seals open messages, and knows their hosts by number."""

    def __init__(self, host_of: Callable[[bytes], Host]) -> None:
        self._host_of = host_of
        self._hosts: list[Host] = []
        self._numbers: dict[Host, int] = {}

    def tight(self, message: Message) -> bytes:
        """Return a message as few bytes."""
        packer = zlib.compressobj(FAST, wbits=-zlib.MAX_WBITS, zdict=_TYPICAL)
        return _LOOK.pack(message.look, TIGHT) + packer.compress(encode_message(message)) + packer.flush()

    def quick(self, message: Message) -> bytes:
        """Return a message as not many bytes, in a short time."""
        facts = message.facts
        if len(message.queue_id) != len(NONE):  # kept plain
            return self.tight(message)
        if message.ended >= 0 or message.waiting or message.children or message.limit != MOST_LOOSE:
            return self.tight(message)
        number = self._numbers.setdefault(message.host, len(self._hosts))
        if number == len(self._hosts):
            self._hosts.append(message.host)
        values: dict[tuple[int, Any], int] = {}  # retries say the same again
        number_of = values.setdefault
        bits = [
            int(b"1" + micros) << _MICROS | kind << _KIND | number_of((kind, value), len(values))
            for _, kind, value, micros in facts
        ]
        if len(values) > _REFERENCE or len(facts) > MOST_FACTS:
            return self.tight(message)
        flags = message.active | message.arrived << 1 | message.plain << 2
        try:
            head = _HEAD.pack(
                message.look, 1 + len(facts), message.queue_id, number, message.epoch, message.first,
                int(b"1" + message.first_micros) << _FLAGS | flags, message.last, message.opened, message.headers,
                message.retry,
            )  # fmt: skip
            found = head + _facts(len(facts)).pack(*[fact[0] for fact in facts], *bits)
        except error:  # a number that is too great
            return self.tight(message)
        message.kept = True
        return found + marshal.dumps([_short(kind, value) for kind, value in values])

    def open(self, token: bytes, sealed: bytes) -> Message:
        """Return the message that was sealed."""
        look, size = _LOOK.unpack_from(sealed)
        if size == TIGHT:
            message = decode_message(token, _state(sealed), self._host_of)
            message.look = look
            return message
        _, _, queue_id, number, epoch, first, micros, last, opened, headers, retry = _HEAD.unpack_from(sealed)
        message = Message(token, self._hosts[number], queue_id, epoch, first, {})
        message.look, message.last, message.opened, message.headers, message.retry = look, last, opened, headers, retry
        message.first_micros = (b"%d" % (micros >> _FLAGS))[1:]
        message.active, message.arrived, message.plain = bool(micros & 1), bool(micros & 2), bool(micros & 4)
        message.kept = True
        layout = _facts(size - 1)
        parts = layout.unpack_from(sealed, _HEAD.size)
        values = [
            (value[0], value[1], NO_ADDRESS, value[2]) if type(value) is list else value
            for value in marshal.loads(sealed[_HEAD.size + layout.size :])
        ]
        message.facts = [
            (second, bits >> _KIND & _KINDS, values[bits & _REFERENCE], (b"%d" % (bits >> _MICROS))[1:])
            for second, bits in zip(parts, parts[size - 1 :], strict=False)
        ]
        return message

    def state(self, token: bytes, sealed: bytes) -> bytes:
        """Return the state of a message that was sealed, as encode_message() has it."""
        is_tight = _LOOK.unpack_from(sealed)[1] == TIGHT
        return _state(sealed) if is_tight else encode_message(self.open(token, sealed))


def look_of(sealed: bytes) -> int:
    """Return when a sealed message will be looked at."""
    return int(_LOOK.unpack_from(sealed)[0])


def _short(kind: int, value: Any) -> Any:
    """Return a value without what most of its kind say; it is a list then."""
    return [value[0], value[1], value[3]] if kind in _SENDERS and value[2] == NO_ADDRESS else value


def _typical() -> bytes:
    """Return a state like most of those that are sealed: zlib is told of it, and packs what they share to nothing."""
    message = Message(NONE, Host(b"mx1"), NONE, 1, A_SECOND, {})
    sender, size, arrived = (SENDER, ("plain", NO_ADDRESS, NO_ADDRESS, 0)), (ACTIVE, (1_000, 1)), (ARRIVED, A_SECOND)
    message.facts = [(A_SECOND, *fact, b"000000") for fact in (sender, size, arrived, sender, size)]
    message.active = True
    return encode_message(message)


_TYPICAL = _typical()


def _state(sealed: bytes) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS, zdict=_TYPICAL).decompress(sealed[_LOOK.size :])
