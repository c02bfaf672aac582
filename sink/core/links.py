"""Links to queue ids of which no line was seen yet.

"queued as" names them; most are a remote server's own. They are kept apart from the messages, and forgotten soon.
"""

from collections import Counter
from heapq import heappop, heappush

from sink.core.facts import Fact
from sink.core.hosts import Host
from sink.core.state import encode_link

LINGER = 60  # seconds


def token_of(host: Host, queue_id: bytes) -> bytes:
    """Return what a link is kept under in a store."""
    return b"link:" + host.name + b":" + queue_id


class Links:
    """The links of all hosts; with a journal it tells what a store must be told."""

    def __init__(self, counts: Counter[str], journal: bool) -> None:
        self._counts = counts
        self._journal = journal
        self._fresh: set[tuple[Host, bytes]] = set()
        self._stored: set[tuple[Host, bytes]] = set()
        self._dropped: list[bytes] = []

    def name(self, host: Host, queue_id: bytes, fact: Fact) -> None:
        """Keep a link; of several the least fact."""
        known = host.named.get(queue_id)
        if known is None or fact < known:
            host.named[queue_id] = fact
            heappush(host.naming, (fact[0] + LINGER, queue_id))
            if self._journal:
                self._fresh.add((host, queue_id))

    def take(self, host: Host, queue_id: bytes) -> Fact | None:
        """Return the link to a queue id of which a line came, and keep it no more."""
        fact = host.named.pop(queue_id, None)
        if fact is not None:
            self._drop(host, queue_id)
        return fact

    def forget(self, host: Host, clock: int) -> None:
        """Forget those of which no line came in time."""
        naming, named = host.naming, host.named
        while naming and naming[0][0] <= clock:
            queue_id = heappop(naming)[1]
            fact = named.get(queue_id)
            if fact is not None and fact[0] + LINGER <= clock:
                del named[queue_id]
                self._drop(host, queue_id)
                self._counts["forgotten_named_only"] += 1

    def _drop(self, host: Host, queue_id: bytes) -> None:
        if self._journal:
            self._fresh.discard((host, queue_id))
            if (host, queue_id) in self._stored:
                self._stored.discard((host, queue_id))
                self._dropped.append(token_of(host, queue_id))

    def take_up(self, host: Host, queue_id: bytes, fact: Fact) -> None:
        """Take up a link that an earlier run left."""
        host.named[queue_id] = fact
        heappush(host.naming, (fact[0] + LINGER, queue_id))
        if self._journal:
            self._stored.add((host, queue_id))

    def has_news(self) -> bool:
        """Tell whether changes() would give anything."""
        return bool(self._fresh or self._dropped)

    def changes(self) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Return (what is new, by token; the tokens of what is gone) since the last call."""
        puts = {token_of(host, name): encode_link(host.name, name, host.named[name]) for host, name in self._fresh}
        self._stored |= self._fresh
        self._fresh.clear()
        drops, self._dropped = self._dropped, []
        return puts, drops


def links_of(host: Host) -> dict[bytes, bytes]:
    """Return all links of a host as bytes, by token."""
    return {token_of(host, name): encode_link(host.name, name, fact) for name, fact in host.named.items()}
