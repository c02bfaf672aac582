"""Correlates the events of each queue id: open messages, log clocks, and when a row may leave.

Law 4. Facts go to the message of their (host, queue id). A row waits until its host's log clock is 7 s past it,
then is settled with the facts whose second is at most 5 s after its own, and never changes afterwards. Time here is
log time, a clock for each host; only tick() brings wall clock, from outside.
"""

from collections import Counter, deque
from heapq import heappop, heappush

from sink.core.deliveries import Attempt, Event, Link
from sink.core.facts import ACTIVE, ARRIVED, CUT, END, FIRST_HEADER, LATE, PARENT, SEEN, SENDER, Fact, compact
from sink.core.headers import Facts
from sink.core.messages import MARKS, Message, Waiting
from sink.core.rows import Row
from sink.core.rules import Rules
from sink.core.settle import Settler

# Law 4's times, in seconds
HOLD = 7  # a row leaves when its host's log clock is this much past it
QUIET = 10.0  # or after this much wall clock without a newer line
LINGER = 60  # an ended message, and a stub that only a link named
UNQUEUED = 3_600  # one that was never active
AHEAD, BEHIND = 600, 60  # a line further off moves the clock only when
AGREE = 3  # so many in a row agree
MOST_HEADERS = 2_500  # header facts of one message: 300 Subjects in one mail give 300 lines
KEPT_LOOSE = 600  # facts younger than this are not compacted
NEVER = 1 << 62
NO_FACTS: list[Fact] = []
NO_ATTEMPTS: list[Waiting] = []
NO_KIN: dict[bytes, Message] = {}
RETRY_FACTS = 2  # SENDER and ACTIVE
MOST_RECENT = 2_000  # queue ids whose message is found without a token, clear text in RAM only


class Host:
    """One host's log clock, and what waits for it."""

    __slots__ = (
        "born", "clock", "dues", "ending", "heap", "heard", "messages", "name", "named", "read", "recent", "ripe",
        "slots", "strays", "text",
    )  # fmt: skip

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.text = name.decode("utf-8", "replace")
        self.clock = -1
        self.strays: list[int] = []  # seconds of the last lines that were off
        self.slots: dict[int, list[Message]] = {}  # messages with rows of a second that wait
        # Messages to look at in a second: of those that ended and those that are new it comes in order, so that
        # two queues do; the few that are looked at again go by a heap.
        self.ending: deque[tuple[int, Message]] = deque()
        self.born: deque[tuple[int, bytes]] = deque()  # queue ids: most messages are gone by then
        self.dues: dict[int, list[Message]] = {}
        self.heap: list[int] = []  # the seconds of dues
        self.recent: dict[bytes, Message] = {}
        self.ripe = NEVER  # log clock at which the first of them may leave
        self.messages: dict[bytes, Message] = {}  # by queue id
        self.named: dict[bytes, Fact] = {}  # links to queue ids of which no line was seen
        self.heard: float | None = None  # wall clock at which the log clock stood still
        self.read = -1  # where it stood then


class Correlator:
    """Open messages of one stream."""

    def __init__(self, rules: Rules, counts: Counter[str]) -> None:
        self.hosts: dict[bytes, Host] = {}
        self.messages: dict[bytes, Message] = {}
        self.rows: list[Row] = []
        self.changed: dict[bytes, Message | None] | None = None  # filled where a store keeps open messages
        self.dropped: list[bytes] = []
        self._rules = rules
        self._counts = counts
        self._settler = Settler(rules.plain_queue_id)

    def host(self, name: bytes) -> Host:
        """Return the host of a name, a new one where no line of it was seen."""
        found = self.hosts.get(name)
        if found is None:
            found = self.hosts[name] = Host(name)
        return found

    # -- clocks

    def hear(self, host: Host, second: int) -> None:
        """Move a host's log clock to a line's second, unless the line is off."""
        if host.clock < 0:
            host.clock = second
        ahead = second - host.clock
        if -BEHIND <= ahead <= AHEAD:
            if host.strays:
                host.strays.clear()
            if ahead > 0:
                self._move(host, second)
            return
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

    def _move(self, host: Host, second: int) -> None:
        host.clock = second
        if host.ripe <= second:
            self._release(host, [at for at in host.slots if at + HOLD <= second])
            host.ripe = min(host.slots, default=NEVER) + HOLD
            self._unname(host, second - LINGER)
        self._end_due(host, second)

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
            self._end_due(host, host.clock + int(quiet))

    def flush(self) -> None:
        """Let every waiting row leave: no line will follow."""
        for host in self.hosts.values():
            self._release(host, list(host.slots))

    # -- rows

    def _release(self, host: Host, seconds: list[int]) -> None:
        settler = self._settler
        for second in sorted(seconds):
            for message in host.slots.pop(second):
                view = settler.view(message, second, second + LATE)
                later = []
                for waiting in message.waiting:
                    if waiting[0] == second:
                        self.rows.append(settler.row(message, view, waiting, host.text))
                    else:
                        later.append(waiting)
                message.waiting = later
                if self.changed is not None:
                    self.changed[message.token] = message

    def preview(self) -> list[Row]:
        """Return the rows that wait, settled with what is known now; they go on waiting."""
        found: list[Row] = []
        for host in self.hosts.values():
            for second, messages in host.slots.items():
                for message in messages:
                    view = self._settler.view(message, second, second + LATE)
                    found += [
                        self._settler.row(message, view, waiting, host.text)
                        for waiting in message.waiting
                        if waiting[0] == second
                    ]
        return found

    # -- facts

    def message(self, host: Host, token: bytes, queue_id: bytes, epoch: int, second: int) -> Message:
        """Open the message of a token and queue id, which are not open."""
        message = self.messages[token] = host.messages[queue_id] = Message(token, host.name, queue_id, epoch, second)
        message.kin = host.messages
        if host.named:
            fact = host.named.pop(queue_id, None)
            if fact is not None:
                message.facts.append(fact)
                self._drop(b"link:" + host.name + b":" + queue_id)
        if len(self.messages) > self._rules.most_messages:
            self._evict()
        host.born.append((host.clock + UNQUEUED, queue_id))
        return message

    def learn(self, host: Host, message: Message, second: int, micros: int, facts: Facts) -> None:
        """Take facts of a line into its message."""
        own = message.facts
        if second != message.last:
            if second > message.last:
                message.last = second
            elif second < message.opened:
                message.plain = False
        if second <= message.first and (second < message.first or micros < message.first_micros):
            message.first, message.first_micros = second, micros
        if message.active and len(facts) == RETRY_FACTS and facts[1][0] == ACTIVE and message.ended < 0:
            self._retry(message, second, micros, facts)
            facts = ()
        for kind, value in facts:
            if kind in MARKS:
                message.mark(second, kind)
                if kind == END:
                    host.ending.append((second + LINGER, message))
            elif kind >= FIRST_HEADER:
                message.headers += 1
                if message.headers > MOST_HEADERS:
                    own.append((second, CUT, 1, micros))
                    break
            elif kind == PARENT:
                self._name_parent(host, message, value[1])
            elif kind == SEEN and any(fact[1] != PARENT for fact in own):
                break
            own.append((second, kind, value, micros))
        if len(own) >= message.limit:
            message.facts = compact(own, host.clock - KEPT_LOOSE)
            message.limit = max(message.limit, 2 * len(message.facts))
            message.retry = -1
        if self.changed is not None:
            self.changed[message.token] = message

    def apply(self, host: Host, message: Message, second: int, micros: int, event: Event) -> None:
        """Take an event's facts and link into its message."""
        facts, attempt, _, link = event
        if facts or second != message.last or micros < message.first_micros or self.changed is not None:
            self.learn(host, message, second, micros, facts)
        if attempt is not None and not message.arrived and attempt[3] != "":
            message.facts.append((second, ARRIVED, second - round(float(attempt[3])), 0))
        if link is not None:
            self._hand_on(host, message, second, micros, link)

    def _retry(self, message: Message, second: int, micros: int, facts: Facts) -> None:
        """Take another "queue active": of all retries only the first and the last can ever matter.

        The last, since a client= line of its second may still come and make it another message's.
        """
        own, at = message.facts, message.retry
        fresh = [(second, kind, value, micros) for kind, value in facts]
        if 0 <= at < len(own) - 1 and own[at][1] == SENDER and own[at][0] < second - BEHIND:
            own[at : at + RETRY_FACTS] = fresh
        else:
            message.retry = len(own)
            own += fresh

    def wait(
        self, host: Host, message: Message, second: int, micros: int, key: bytes, instance: str,
        agent: str | None, attempt: Attempt,
    ) -> None:  # fmt: skip
        """Let an attempt wait for its row's time."""
        waiting = message.waiting
        if not waiting or (waiting[-1][0] != second and all([known[0] != second for known in waiting])):
            slot = host.slots.get(second)
            if slot is None:
                host.slots[second] = [message]
                host.ripe = min(host.ripe, second + HOLD)
            else:
                slot.append(message)
        if waiting:
            waiting.append((second, micros, key, instance, agent, attempt))
        else:
            message.waiting = [(second, micros, key, instance, agent, attempt)]
        if host.clock >= second + HOLD:
            self._release(host, [second])

    def _hand_on(self, host: Host, parent: Message, second: int, micros: int, link: Link) -> None:
        """Note at the child that a message was handed to it."""
        kind, queue_id = link
        if queue_id == parent.queue_id:
            return
        if queue_id not in parent.children:
            parent.children = (*parent.children, queue_id)
        fact = (second, PARENT, (kind, parent.queue_id), micros)
        child = host.messages.get(queue_id)
        if child is None:
            # Most of these ids are a remote server's own: kept apart, and forgotten soon.
            host.named[queue_id] = min(fact, host.named.get(queue_id, fact))
            if self.changed is not None:
                self.changed[b"link:" + host.name + b":" + queue_id] = None
            return
        child.facts.append(fact)
        if second < child.opened:
            child.plain = False
        if self.changed is not None:
            self.changed[child.token] = child

    def _name_parent(self, host: Host, child: Message, queue_id: bytes) -> None:
        """Note at the parent, which a child's own line names, that a child hangs on it."""
        parent = host.messages.get(queue_id)
        if parent is not None and child.queue_id not in parent.children:
            parent.children = (*parent.children, child.queue_id)
            if self.changed is not None:
                self.changed[parent.token] = parent

    def take_up(self, message: Message) -> None:
        """Take up an open message that an earlier run left."""
        host = self.host(message.host)
        self.messages[message.token] = host.messages[message.queue_id] = message
        message.kin = host.messages
        for second in {waiting[0] for waiting in message.waiting}:
            host.slots.setdefault(second, []).append(message)
            host.ripe = min(host.ripe, second + HOLD)
        self._look_at(host, message, max(host.clock, 0) + LINGER)

    def take_up_link(self, host: Host, queue_id: bytes, fact: Fact) -> None:
        """Take up a link to a queue id of which no line was seen."""
        host.named[queue_id] = fact

    def _unname(self, host: Host, before: int) -> None:
        """Forget links to queue ids of which no line came in time."""
        old = []
        for queue_id, fact in host.named.items():  # the oldest stand first
            if fact[0] >= before:
                break
            old.append(queue_id)
        for queue_id in old:
            del host.named[queue_id]
            if self.changed is not None:
                self._drop(b"link:" + host.name + b":" + queue_id)
        self._counts["forgotten_named_only"] += len(old)

    def _drop(self, token: bytes) -> None:
        if self.changed is not None:
            self.changed.pop(token, None)
            self.dropped.append(token)

    # -- ends

    def _end_due(self, host: Host, clock: int) -> None:
        """Look at the messages whose time may be over."""
        ending, born = host.ending, host.born
        while ending and ending[0][0] <= clock:
            message = ending.popleft()[1]
            if not message.gone:
                self._end(host, message, clock)
        while born and born[0][0] <= clock:
            found = host.messages.get(born.popleft()[1])
            if found is not None:
                self._end(host, found, clock)
        heap = host.heap
        while heap and heap[0] <= clock:
            for message in host.dues.pop(heappop(heap)):
                if not message.gone:
                    self._end(host, message, clock)

    def _look_at(self, host: Host, message: Message, second: int) -> None:
        due = host.dues.get(second)
        if due is None:
            host.dues[second] = [message]
            heappush(host.heap, second)
        else:
            due.append(message)

    def _end(self, host: Host, message: Message, clock: int) -> None:
        """Forget a message whose time is over; look again later at one whose time is not."""
        if message.ended >= 0:
            why, due = "ended", message.ended + LINGER
        elif not message.active:
            why, due = "never_active", message.last + UNQUEUED
        else:
            why, due = "out_of_patience", message.last + self._rules.patience
        if due > clock:
            self._look_at(host, message, due)
        elif message.waiting or (message.children and any([child in host.messages for child in message.children])):
            self._look_at(host, message, clock + LINGER)
        else:
            self._forget(host, message, why)

    def _forget(self, host: Host, message: Message, why: str) -> None:
        # The cache by queue id may go on knowing it for a while: leave it light.
        message.gone = True
        message.facts, message.waiting, message.children, message.kin = NO_FACTS, NO_ATTEMPTS, (), NO_KIN
        del self.messages[message.token]
        host.messages.pop(message.queue_id, None)
        self._counts["forgotten_" + why] += 1
        if self.changed is not None:
            self._drop(message.token)

    def _evict(self) -> None:
        """Forget the oldest message: there are more than the operator allows."""
        oldest = next(iter(self.messages.values()))
        host = self.host(oldest.host)
        self._release(host, sorted({waiting[0] for waiting in oldest.waiting} & host.slots.keys()))
        self._forget(host, oldest, "too_many")
