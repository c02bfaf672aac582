"""Correlates the events of each queue id: open messages, log clocks, and when a row may leave.

Law 4. Facts go to the message of their (host, queue id). A row waits until its host's log clock is 7 s past it,
then is settled with the facts whose second is at most 5 s after its own, and never changes afterwards. Time here is
log time, a clock for each host; only tick() brings wall clock, from outside.
"""

from collections import Counter
from collections.abc import Callable, Set
from heapq import heappop, heappush
from typing import Any

from sink.core.deliveries import Link
from sink.core.ends import Ends
from sink.core.facts import ACTIVE, ARRIVED, CUT, END, FIRST_HEADER, LATE, MESSAGE_ID, PARENT, SENDER, Fact, compact
from sink.core.headers import Facts
from sink.core.hosts import Host, Standing
from sink.core.links import Links
from sink.core.messages import Message, Waiting
from sink.core.openmessages import OpenMessages
from sink.core.rows import Row
from sink.core.rules import Rules
from sink.core.settle import Settler

# Law 4's times, in seconds
HOLD = 7  # a row leaves when its host's log clock is this much past it
QUIET = 10.0  # or after this much wall clock without a newer line
AHEAD, BEHIND = 600, 60  # a line further off moves the clock only when
AGREE = 3  # so many in a row agree
MOST_HEADERS = 2_500  # header facts of one message: 300 Subjects in one mail give 300 lines
MOST_PARENTS, MOST_CHILDREN = 100, 1_000  # of one message; remote servers say who they are
KEPT_LOOSE = 600  # facts younger than this are not compacted
RETRY_FACTS = 2  # SENDER and ACTIVE
SHARE = 100  # finding the oldest message costs, so that at the cap one in so many goes at a time


class Correlator:
    """Open messages of one stream."""

    def __init__(
        self, rules: Rules, counts: Counter[str], readers_of: Callable[[int], dict[bytes, Any]], journal: bool
    ) -> None:
        self.hosts: dict[bytes, Host] = {}
        self.messages = OpenMessages(self.host, readers_of, journal)
        self.links = Links(counts, journal)
        self.heard: set[Host] = set()  # hosts whose clock may have moved
        self.rows: list[Row] = []
        self._journal = journal
        self._rules = rules
        self._counts = counts
        self._ends = Ends(rules, counts, self.messages)
        self._settler = Settler(rules.plain_queue_id, self.messages)

    def host(self, name: bytes) -> Host:
        """Return the host of a name, a new one where no line of it was seen."""
        found = self.hosts.get(name)
        if found is None:
            found = self.hosts[name] = Host(name)
        return found

    # -- clocks

    def hear(self, name: bytes, second: int) -> Host:
        """Return the host of a name; its log clock moves to a line's second, unless the line is off."""
        host = self.hosts.get(name) or self.host(name)
        self.heard.add(host)
        if host.clock < 0:
            host.clock = second
        ahead = second - host.clock
        if -BEHIND <= ahead <= AHEAD:
            if host.strays:
                host.strays.clear()
            if ahead > 0:
                self._move(host, second)
            return host
        strays = host.strays
        if strays and not -BEHIND <= second - strays[0] <= AHEAD:
            strays.clear()
        strays.append(second)
        if len(strays) == AGREE:
            jump = max(strays)
            strays.clear()
            if jump < host.clock:
                # The clock was set back: what waited for the old time has waited long enough.
                self._release(host, [at for at in host.slots if at > jump + AHEAD])
            self._move(host, jump)
        return host

    def _move(self, host: Host, second: int) -> None:
        host.clock = second
        order = host.order
        while order and order[0] + HOLD <= second:
            self._settle(host, heappop(order))
        if host.naming and host.naming[0][0] <= second:
            self.links.forget(host, second)
        self._ends.move(host, second)

    def tick(self, now: float) -> None:
        """Let wall clock (any seconds that only grow) pass: rows of quiet hosts leave, old messages end."""
        for host in self.hosts.values():
            if host.heard is None or host.read != host.clock:
                host.heard, host.read = now, host.clock
                continue
            quiet = now - host.heard
            if quiet < QUIET:
                continue
            self._release(host, list(host.slots))
            self._ends.move(host, host.clock + int(quiet))

    def standing(self) -> Standing:
        """Return how the stream stands."""
        clocks = {host.text: host.clock for host in self.hosts.values() if host.clock >= 0}
        return Standing(len(self.messages), self.messages.since(), clocks)

    def flush(self) -> None:
        """Let every waiting row leave: no line will follow."""
        for host in self.hosts.values():
            self._release(host, list(host.slots))

    # -- rows

    def _release(self, host: Host, seconds: list[int]) -> None:
        for second in sorted(seconds):
            self._settle(host, second)

    def _settle(self, host: Host, second: int) -> None:
        """Let the rows of a second leave; nothing waits where they have left already."""
        for message in host.slots.pop(second, ()):
            self._settler.settle(message, second, second + LATE, self.rows)
            waiting = message.waiting
            if len(waiting) == 1:
                waiting.clear()
            else:
                message.waiting = [attempt for attempt in waiting if attempt[0] != second]
            self.messages.note(message)

    def preview(self) -> list[Row]:
        """Return the rows that wait, settled with what is known now; they go on waiting."""
        found: list[Row] = []
        for host in self.hosts.values():
            for second, messages in host.slots.items():
                for message in messages:
                    self._settler.settle(message, second, second + LATE, found)
        return found

    # -- facts

    def open(
        self, host: Host, token: bytes, queue_id: bytes, epoch: int, second: int, readers: dict[bytes, Any]
    ) -> Message:
        """Open the message of a token and queue id, which are not open."""
        message = Message(token, host, queue_id, epoch, second, readers)
        self.messages.add(message)
        if host.named:
            fact = self.links.take(host, queue_id)
            if fact is not None:
                message.facts.append(fact)
                self._name_parent(host, message, fact[2][1])
        self._ends.note_new(host, message, second)
        if len(self.messages) > self._rules.most_messages:
            self._evict(message)
        return message

    def learn(self, host: Host, message: Message, second: int, micros: bytes, facts: Facts) -> None:
        """Take facts of a line into its message."""
        own = message.facts
        if second > message.last:
            message.last = second
        elif second < message.opened:
            message.plain = False
        if second <= message.first and (second < message.first or micros < message.first_micros):
            message.first, message.first_micros = second, micros
        if message.active and facts and facts[0][0] == SENDER and message.ended < 0 and len(facts) == RETRY_FACTS:
            self._retry(message, second, micros, facts)
            facts = ()
        for kind, value in facts:
            if kind <= ACTIVE:
                if kind >= MESSAGE_ID:
                    if message.ended >= 0:
                        message.go_on(second)
                    if kind == ACTIVE:
                        message.active = True
                    else:
                        message.arrived = True
                elif kind:
                    message.open(second)
                elif any([fact[1] != PARENT for fact in own]):
                    break
            elif kind >= END and not self._may_keep(host, message, second, kind, value):
                own.append((second, CUT, 1, micros))
                break
            own.append((second, kind, value, micros))
        if len(own) >= message.limit:
            message.facts = compact(own, host.clock - KEPT_LOOSE)
            message.limit = max(message.limit, 2 * len(message.facts))
            message.retry = -1
        if self._journal:
            self.messages.note(message)

    def _may_keep(self, host: Host, message: Message, second: int, kind: int, value: Any) -> bool:
        """Note an end, a parent, a header; False where a message has more header facts than are kept."""
        if kind == END:
            message.end(second)
            self._ends.note_end(host, message, second)
        elif kind == PARENT:
            self._name_parent(host, message, value[1])
        elif kind >= FIRST_HEADER:
            message.headers += 1
            return message.headers <= MOST_HEADERS
        return True

    def _retry(self, message: Message, second: int, micros: bytes, facts: Facts) -> None:
        """Take another "queue active": of all retries only the first and the last can ever matter.

        The last, since a client= line of its second may still come and make it another message's.
        """
        own, at = message.facts, message.retry
        known = {fact[1]: fact[2] for fact in own}
        # What it says again is kept once: a standing queue is mostly that.
        fresh = [(second, kind, known[kind] if known.get(kind) == value else value, micros) for kind, value in facts]
        if 0 <= at < len(own) - 1 and own[at][1] == SENDER and own[at][0] < second - BEHIND:
            own[at : at + RETRY_FACTS] = fresh
        else:
            message.retry = len(own)
            own += fresh

    def arrive(self, message: Message, fact: Fact) -> None:
        """Take what an attempt tells of a message's arrival, where nothing else did: the least of a second counts."""
        own = message.facts
        known = [place for place, other in enumerate(own) if other[1] == ARRIVED]
        if known and own[known[-1]][0] == fact[0]:
            own[known[-1]] = min(own[known[-1]], fact)
        elif len(known) > 1 and own[known[-1]][0] < fact[0] - BEHIND:
            own[known[-1]] = fact  # as of retries, the first and the last
        else:
            own.append(fact)

    def wait(self, host: Host, message: Message, attempt: Waiting) -> None:
        """Let an attempt wait for its row's time."""
        waiting, second = message.waiting, attempt[0]
        if not waiting or (waiting[-1][0] != second and all([known[0] != second for known in waiting])):
            slot = host.slots.get(second)
            if slot is None:
                host.slots[second] = [message]
                heappush(host.order, second)
            else:
                slot.append(message)
        waiting.append(attempt)
        if host.clock >= second + HOLD:
            self._settle(host, second)

    def hand_on(self, host: Host, parent: Message, second: int, micros: bytes, link: Link) -> None:
        """Note at the child that a message was handed to it."""
        kind, queue_id = link
        if queue_id == parent.queue_id:
            return
        fact = (second, PARENT, (kind, parent.queue_id), micros)
        child = self.messages.of(host, queue_id)
        if child is None:
            self.links.name(host, queue_id, fact)
            return
        # A server may name the same queue id to each mail that it gets; of parents only the first matters.
        if len(child.facts) > MOST_PARENTS and [known[1] for known in child.facts].count(PARENT) > MOST_PARENTS:
            return
        self._name_parent(host, child, parent.queue_id)
        child.facts.append(fact)
        if second < child.opened:
            child.plain = False
        self.messages.note(child)

    def _name_parent(self, host: Host, child: Message, queue_id: bytes) -> None:
        """Note at the parent that a child, which is open, hangs on it."""
        parent = None if queue_id == child.queue_id else self.messages.of(host, queue_id)
        if parent is None or len(parent.children) == MOST_CHILDREN or child.queue_id in parent.children:
            return
        parent.children = (*parent.children, child.queue_id)
        self.messages.note(parent)

    def take_up(self, message: Message) -> None:
        """Take up an open message that an earlier run left."""
        host = message.host
        self.messages.add(message)
        for second in {waiting[0] for waiting in message.waiting}:
            if second not in host.slots:
                heappush(host.order, second)
            host.slots.setdefault(second, []).append(message)
        self._ends.take_up(message)

    # -- ends

    def seal(self) -> None:
        """Seal open messages where too many are not, between lines."""
        self.messages.seal(self._ends.lay_down)

    def _evict(self, fresh: Message) -> None:
        """Forget the oldest messages: there are more than the operator allows."""
        for oldest in self.messages.oldest(max(self._rules.most_messages // SHARE, 1)):
            if oldest is not fresh:
                self._dismiss(oldest, "too_many")

    def part(self, epochs: Set[int]) -> None:
        """Forget the messages of some epochs."""
        for message in self.messages.of_epochs(epochs):
            self._dismiss(message, "epoch_destroyed")

    def _dismiss(self, message: Message, why: str) -> None:
        """Forget a message before its time; its own rows leave before."""
        for second in sorted({attempt[0] for attempt in message.waiting}):
            self._settler.settle(message, second, second + LATE, self.rows)
        self._ends.forget(message, why, message.host.clock)
