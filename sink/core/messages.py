"""Open messages: what is remembered of a queue id while its rows can still come.

An open message holds facts and attempts, no raw text. Its key is a token of (host, queue id).
"""

from typing import Any

from sink.core.facts import MANY, PARENT, SPLIT, Fact, Folded, fold, lives
from sink.core.hosts import Host

# An attempt that waits for its row: (second, micros, pseudonyms from the delivery key on, instance, agent, whether its
# recipient is local (None: it has none), link or 0, queue id that it names, scalars from status on)
Waiting = tuple[int, bytes, bytes, str, str, bool | None, int, bytes, tuple[Any, ...]]

MOST_LOOSE = 64  # facts kept as they came; a message of many retries gathers more
MILLION = 1_000_000
LATEST = b"999999"  # microseconds


class Message:
    """One open queue id on one host, with all messages that bore it lately."""

    __slots__ = (
        "active", "arrived", "children", "ended", "epoch", "facts", "first", "first_micros", "gone", "headers", "host",
        "kept", "last", "limit", "look", "opened", "plain", "queue_id", "readers", "retry", "token", "waiting",
    )  # fmt: skip

    def __init__(
        self, token: bytes, host: Host, queue_id: bytes, epoch: int, second: int, readers: dict[bytes, Any]
    ) -> None:
        self.token = token
        self.host = host
        self.queue_id = queue_id
        self.epoch = epoch
        self.readers = readers  # of its epoch, for lines that give facts alone
        self.facts: list[Fact] = []
        self.waiting: list[Waiting] = []
        self.children: tuple[bytes, ...] = ()  # queue ids that it was handed to, or that name it
        self.first = self.last = second  # least and greatest second of its own lines
        self.first_micros = LATEST
        self.opened = self.ended = self.retry = -1
        # opened: second of the last client= or uid=; ended: of the last end; -1: none. retry: place of the last
        # "queue active" but the first among the facts
        self.active = self.gone = False
        self.arrived = False  # client=, uid= or message-id= was seen
        self.kept = False  # a store has it
        self.plain = True  # all facts are of one message
        self.headers = 0  # header facts kept
        self.look = second  # when it will be looked at, whether its time is over
        self.limit = MOST_LOOSE  # number of facts at which they are compacted

    def open(self, second: int) -> None:
        """Note a client= or uid= line: it opens a message."""
        if self.first < second or 0 <= self.opened != second:
            self.plain = False
        if second > self.opened:
            self.opened = second
            if self.ended < second:
                self.ended = -1
        self.arrived = True

    def end(self, second: int) -> None:
        """Note an end."""
        if second >= self.opened and second > self.ended:
            self.ended = second

    def go_on(self, second: int) -> None:
        """Note a message-id= or "queue active" behind an end: some time after it, it is another message's."""
        if self.ended < second - SPLIT:
            self.plain = False
            self.ended = -1

    def life(self, second: int) -> list[Fact]:
        """Return the facts of the message that bore this queue id in a second."""
        if self.plain and self.opened <= second:
            return self.facts
        found: list[Fact] = []
        for start, facts in lives(self.facts):
            if found and start > second:
                break
            found = facts
        return found

    def fold(self, second: int, until: int) -> tuple[Folded, int]:
        """Return (merged facts, first second seen in microseconds) of the message that bore this id in a second."""
        facts = self.life(second)
        if facts is self.facts:
            first, micros = self.first, self.first_micros
            folded: Folded = {fact[1]: fact for fact in facts}
            if len(folded) == len(facts) and self.last <= until and PARENT not in folded and MANY.isdisjoint(folded):
                # Each kind once, and none of them too late: nothing to merge.
                return folded, first * MILLION + int(micros or 0)
        else:
            first, micros = min(
                [(fact[0], fact[3]) for fact in facts if fact[1] != PARENT and fact[0] <= until],
                default=(self.first, b""),
            )
        return fold(facts, until), first * MILLION + int(micros or 0)
