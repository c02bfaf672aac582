"""Forgets persons in open messages.

In an address's place comes another user, by chance, and the same one throughout a message: who stands in several of
its facts stays one. What a message's later lines say of the person is replaced, too, since a mail that waits names its
recipient at each attempt. A message that begins later is new.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from sink.core.pseudonym import WIDTH

ADDRESS = 2 * WIDTH  # bytes: user and domain side by side
FEW = 50  # addresses that are looked for one by one
Chance = Callable[[int], bytes]  # so many bytes by chance


def standing(text: bytes, addresses: AbstractSet[bytes]) -> AbstractSet[bytes]:
    """Return those of some addresses that stand in bytes; a list of thousands costs no more than of FEW."""
    if len(addresses) <= FEW:
        return {address for address in addresses if address in text}
    return {text[at : at + ADDRESS] for at in range(len(text) - ADDRESS + 1)} & addresses


def blanked(text: bytes, addresses: AbstractSet[bytes], others: dict[bytes, bytes], chance: Chance) -> bytes:
    """Return bytes with others in the place of addresses; what comes in whose place is noted in others."""
    for address in standing(text, addresses):
        other = others.get(address)
        if other is None:
            other = others[address] = chance(WIDTH) + address[WIDTH:]
        text = text.replace(address, other)
    return text


class Forgetting:
    """Whom each open message is to name no more."""

    def __init__(self) -> None:
        self._wanted: dict[bytes, frozenset[bytes]] = {}  # by token
        self._joined: dict[tuple[frozenset[bytes], frozenset[bytes]], frozenset[bytes]] = {}
        self._others: dict[bytes, dict[bytes, bytes]] = {}
        self._chance: Chance = bytes

    def __contains__(self, token: bytes) -> bool:
        return token in self._wanted

    def begin(self, token: bytes, addresses: frozenset[bytes], chance: Chance) -> None:
        """Have a message name some addresses no more."""
        self._chance = chance
        known = self._wanted.get(token)
        if known is not None:
            # Most messages share a set: there may be many of them, and of addresses.
            addresses = self._joined.setdefault((known, addresses), known | addresses)
        self._wanted[token] = addresses

    def end(self, token: bytes) -> None:
        """Note that a message is open no more."""
        if self._wanted.pop(token, None) is not None:
            self._others.pop(token, None)
            if not self._wanted:
                self._joined.clear()

    def cleared(self, token: bytes, value: Any) -> Any:
        """Return what is said of a message, bytes or tuples of them, without whom it is to name no more."""
        wanted = self._wanted.get(token)
        return value if wanted is None else self._without(value, wanted, self._others.setdefault(token, {}))

    def _without(self, value: Any, wanted: frozenset[bytes], others: dict[bytes, bytes]) -> Any:
        if isinstance(value, bytes):
            return blanked(value, wanted, others, self._chance)
        if isinstance(value, tuple):
            return tuple([self._without(part, wanted, others) for part in value])
        return value
