"""Open messages: what is remembered of a queue id while its rows can still come.

An open message holds facts and attempts, no raw text. Its key is a token of (host, queue id).
"""

from typing import Any

from sink.core.facts import (
    ACTIVE,
    ARRIVALS,
    END,
    OPENINGS,
    PARENT,
    SOFT_OPENINGS,
    SPLIT,
    Fact,
    Folded,
    fold,
    lives,
)

# (second, micros, delivery key, instance, agent, attempt)
Waiting = tuple[int, int, bytes, str, str | None, Any]

MARKS = OPENINGS | SOFT_OPENINGS | {END}  # kinds that say something of a message's life
MOST_LOOSE = 64  # facts kept as they came; a message of many retries gathers more


class Message:
    """One open queue id on one host, with all messages that bore it lately."""

    __slots__ = (
        "active", "arrived", "children", "ended", "epoch", "facts", "first", "first_micros", "gone", "handlers",
        "headers", "host", "kin", "last",
        "limit", "opened", "plain", "queue_id", "retry", "token", "waiting",
    )  # fmt: skip

    def __init__(self, token: bytes, host: bytes, queue_id: bytes, epoch: int, second: int) -> None:
        self.token = token
        self.host = host
        self.queue_id = queue_id
        self.epoch = epoch
        self.facts: list[Fact] = []
        self.waiting: list[Waiting] = []
        self.children: tuple[bytes, ...] = ()  # queue ids that it was handed to, or that name it
        self.kin: dict[bytes, Message] = {}  # the open messages of its host, by queue id
        self.first = second  # least and greatest second of its own lines
        self.last = second
        self.first_micros = 999_999
        self.handlers: dict[bytes, Any] = {}  # of the parser of its epoch
        self.opened = -1  # second of the last client= or uid=, -1: none seen
        self.ended = -1  # second of the last end, -1: none
        self.active = False
        self.arrived = False  # one of ARRIVALS was seen
        self.plain = True  # all facts are of one message
        self.headers = 0  # header facts kept
        self.retry = -1  # place of the last "queue active" but the first among the facts
        self.limit = MOST_LOOSE  # number of facts at which they are compacted
        self.gone = False

    def mark(self, second: int, kind: int) -> None:
        """Note what a fact of one of MARKS says of the message's life."""
        if kind in OPENINGS:
            if self.first < second or 0 <= self.opened != second:
                self.plain = False
            if second > self.opened:
                self.opened = second
                if self.ended < second:
                    self.ended = -1
            self.arrived = True
        elif kind == END:
            if second >= self.opened:
                self.ended = max(self.ended, second)
        else:
            self.active = self.active or kind == ACTIVE
            self.arrived = self.arrived or kind in ARRIVALS
            if 0 <= self.ended < second - SPLIT:
                self.plain = False
                self.ended = -1

    def life(self, second: int) -> list[Fact]:
        """Return the facts of the message that bore this queue id in a second."""
        if self.plain and (self.opened <= second or self.opened < 0):
            return self.facts
        found: list[Fact] = []
        for start, facts in lives(self.facts):
            if found and start > second:
                break
            found = facts
        return found

    def fold(self, second: int, until: int) -> tuple[Folded, list[Fact]]:
        """Return (merged facts, facts) of the message that bore this queue id in a second."""
        facts = self.life(second)
        return fold(facts, until), facts

    def first_seen(self, facts: list[Fact], until: int) -> tuple[int, int]:
        """Return (second, micros) of the first of the facts that is no link's."""
        if facts is self.facts:
            return self.first, self.first_micros
        return min(
            [(fact[0], fact[3]) for fact in facts if fact[1] != PARENT and fact[0] <= until],
            default=(self.first, 0),
        )
