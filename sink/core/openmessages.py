"""The open messages of one stream: by token, and by host and queue id.

There may be a hundred thousand of them, most of which wait in Postfix's queue for days. Those that were not met lately
are kept sealed, in a fifth of the memory; whoever asks for one finds it as it was.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import islice
from typing import Any

from sink.core.facts import Fact
from sink.core.forgetting import Chance, Forgetting
from sink.core.hosts import Host
from sink.core.links import LINGER
from sink.core.messages import Message, Waiting
from sink.core.sealed import Seals, look_of
from sink.core.state import decode_message, encode_message, epoch_of, first_of

MOST_WARM = 500  # that are not sealed, besides those whose rows wait
AT_ONCE = 200  # that are looked at for sealing, at least; so many of those that were sealed before are not, besides
NO_FACTS: list[Fact] = []
NO_ATTEMPTS: list[Waiting] = []
NO_READERS: dict[bytes, Any] = {}


class _Shelf(dict[bytes, Message]):
    """Messages that are not sealed, in the order in which they came."""

    def __init__(self, least: int) -> None:
        super().__init__()
        self.least = self.limit = least  # more than limit are too many


class OpenMessages:
    """Finds, keeps and forgets open messages; with a journal it tells what a store must be told.

    readers_of: an epoch's number -> the readers of its parser; host_of: a name -> its host.
    """

    def __init__(
        self, host_of: Callable[[bytes], Host], readers_of: Callable[[int], dict[bytes, Any]], journal: bool
    ) -> None:
        self._host_of = host_of
        self._seals = Seals(host_of)
        self._readers_of = readers_of
        self._journal = journal
        self._all: dict[bytes, Message | bytes] = {}
        # A standing queue is retried in turn. Of one that is a little too long all would be sealed just before they are
        # met again, if those that are met pushed out those that were met longest ago: so they are guests.
        self._warm, self._guests = _Shelf(MOST_WARM), _Shelf(AT_ONCE)
        self._changed: dict[bytes, Message] = {}
        self._dropped: list[bytes] = []
        self.forgetting = Forgetting()

    def __len__(self) -> int:
        return len(self._all)

    def find(self, token: bytes) -> Message | None:
        """Return the message of a token, None where none is open."""
        found = self._all.get(token)
        return self._unsealed(token, found) if isinstance(found, bytes) else found

    def of(self, host: Host, queue_id: bytes) -> Message | None:
        """Return the message of a queue id, given as a pseudonym."""
        token = host.messages.get(queue_id)
        return None if token is None else self.find(token)

    def add(self, message: Message) -> None:
        """Keep a message that is new."""
        token = message.token
        self._all[token] = self._warm[token] = message
        message.host.messages[message.queue_id] = token

    def note(self, message: Message) -> None:
        """Note that a message changed; one that is gone, whose attempt may still be waiting somewhere, does not."""
        if self._journal and not message.gone:
            self._changed[message.token] = message

    def remove(self, message: Message) -> None:
        """Forget a message."""
        token = message.token
        del self._all[token]
        self._warm.pop(token, None)
        self._guests.pop(token, None)
        message.host.messages.pop(message.queue_id, None)
        self.forgetting.end(token)
        _hollow(message)
        if self._journal:
            self._changed.pop(token, None)
            if message.kept:
                self._dropped.append(token)

    def drop(self, token: bytes) -> None:
        """Have the store forget a message that is not kept here."""
        if self._journal:
            self._dropped.append(token)

    def oldest(self, number: int) -> list[Message]:
        """Return the messages that were opened first."""
        tokens = list(islice(self._all, number))
        return [message for token in tokens if (message := self.find(token)) is not None]

    def of_epochs(self, epochs: Set[int]) -> Iterator[Message]:
        """Yield the messages of some epochs; each may be removed."""
        for token, found in list(self._all.items()):
            epoch = epoch_of(self._seals.state(token, found)) if isinstance(found, bytes) else found.epoch
            message = self.find(token) if epoch in epochs else None
            if message is not None:
                yield message

    def since(self) -> int | None:
        """Return the first second of the message that was opened first, None where none is open."""
        for token, found in self._all.items():
            return first_of(self._seals.state(token, found)) if isinstance(found, bytes) else found.first
        return None

    def has_news(self) -> bool:
        """Tell whether changes() would give anything."""
        return bool(self._changed or self._dropped)

    def changes(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Return (states of what changed, by token; the tokens of what is gone) since the last call."""
        puts = {token: encode_message(message) for token, message in self._changed.items()}
        drops, self._changed, self._dropped = self._dropped, {}, []
        return puts, drops

    def states(self) -> dict[bytes, bytes]:
        """Return the state of each message, by token."""
        return {
            token: self._seals.state(token, found) if isinstance(found, bytes) else encode_message(found)
            for token, found in self._all.items()
        }

    def forget(self, listed: Sequence[tuple[int, bytes]], chance: Chance) -> None:
        """Forget persons in messages that are open, and in what their lines will say.

        listed: (second after which no message that names an address may have begun, address).
        """
        ordered = sorted(listed)
        bounds = [bound for bound, _ in ordered]
        groups: dict[int, frozenset[bytes]] = {}
        for token, found in list(self._all.items()):
            text = self._seals.state(token, found) if isinstance(found, bytes) else encode_message(found)
            at = bisect_left(bounds, first_of(text))
            if at == len(bounds):
                continue
            if at not in groups:
                groups[at] = frozenset(address for _, address in ordered[at:])
            self.forgetting.begin(token, groups[at], chance)
            if isinstance(found, Message):
                found.readers = NO_READERS  # all that its lines say goes by Forgetting.cleared()
            cleared = self.forgetting.cleared(token, text)
            if cleared != text:
                message = found if isinstance(found, Message) else self._unsealed(token, found)
                other = decode_message(token, cleared, self._host_of)
                message.facts, message.waiting = other.facts, other.waiting
                self.note(message)

    # -- sealing

    def is_due(self, token: bytes, clock: int) -> bool:
        """Tell whether a message is to be looked at, without unsealing it; False where none is open."""
        found = self._all.get(token)
        if isinstance(found, bytes):
            return look_of(found) <= clock
        return found is not None and found.look <= clock

    def seal(self, lay_down: Callable[[Message], None]) -> None:
        """Seal some where too many are not; whoever calls must hold none. lay_down: told of each before."""
        # Who is met again once will be met again.
        for shelf, seal in ((self._warm, self._seals.tight), (self._guests, self._seals.quick)):
            if len(shelf) > shelf.limit:
                self._seal(shelf, seal, lay_down)

    def _seal(
        self, shelf: "_Shelf", seal: Callable[[Message], bytes], lay_down: Callable[[Message], None]
    ) -> None:
        """Seal those that stand on a shelf longest, and wait for nothing."""
        grown = len(shelf) - shelf.limit + AT_ONCE // 2  # since the last time
        for token, message in list(islice(shelf.items(), 2 * grown)):
            del shelf[token]
            goes = message.ended >= 0 and message.look <= message.ended + 2 * LINGER  # else a child holds it
            if message.waiting or goes or token in self._changed:
                shelf[token] = message  # at the end
            else:
                lay_down(message)
                self._all[token] = seal(message)
                _hollow(message)
        shelf.limit = max(shelf.least, len(shelf) + AT_ONCE // 2)

    def _unsealed(self, token: bytes, sealed: bytes) -> Message:
        message = self._seals.open(token, sealed)
        message.readers = NO_READERS if token in self.forgetting else self._readers_of(message.epoch)
        self._all[token] = self._guests[token] = message
        return message


def _hollow(message: Message) -> None:
    """Empty a message's object, which a cache by queue id may go on knowing for a while."""
    message.gone = True
    message.facts, message.waiting, message.children, message.readers = NO_FACTS, NO_ATTEMPTS, (), NO_READERS
