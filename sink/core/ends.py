"""When open messages are forgotten: by a host's log clock, each when its own time is over.

A message is looked at in the second in which its time may be over; one that went on, when its new time is. One whose
child is open is held, since the child's rows may ask for it, and goes when the child does.
"""

from collections import Counter
from heapq import heappop, heappush
from operator import itemgetter

from sink.core.facts import PARENT
from sink.core.hosts import Host
from sink.core.links import LINGER
from sink.core.messages import Message
from sink.core.openmessages import OpenMessages
from sink.core.rules import Rules
from sink.core.settle import MOST_LINKS

UNQUEUED = 3_600  # one that was never active
LATER = 1 << 62  # no look is due
_KIND_OF = itemgetter(1)
LONGEST_WAIT = 10  # looks at one that is held are at most LINGER << this apart


class Ends:
    """Looks at the open messages of all hosts when their time may be over."""

    def __init__(self, rules: Rules, counts: Counter[str], messages: OpenMessages) -> None:
        self._rules = rules
        self._counts = counts
        self._messages = messages

    def note_new(self, host: Host, message: Message, second: int) -> None:
        """Have a message looked at that was opened in a second."""
        due, born = second + UNQUEUED, host.born
        if due <= host.clock or (born and born[-1][0] > due):  # it keeps its order
            self._look_at(host, message, due, host.clock)
        else:
            if not born or born[-1][0] != due:
                born.append((due, []))
            born[-1][1].append(message.queue_id)
            message.look = due

    def note_end(self, host: Host, message: Message, second: int) -> None:
        """Have a message looked at that ended in a second."""
        due, ending = second + LINGER, host.ending
        if due <= host.clock or (ending and ending[-1][0] > due):  # it keeps its order
            self._look_at(host, message, due, host.clock)
        else:
            ending.append((due, message))
            message.look = min(message.look, due)

    def take_up(self, message: Message) -> None:
        """Have a message looked at that an earlier run left."""
        self._look_at(message.host, message, self._due(message)[1], message.host.clock)

    def lay_down(self, message: Message) -> None:
        """Have a message that is sealed looked at when its time is over, not long before: a look unseals it."""
        due, clock = self._due(message)[1], message.host.clock
        # Each second to look at it stays noted: one that is tried again each hour shall not have a hundred of them.
        if message.look - clock < (due - clock) // 2:
            self._look_at(message.host, message, due, clock)

    def move(self, host: Host, clock: int) -> None:
        """Look at the messages whose time may be over by a second."""
        ending, born, heap = host.ending, host.born, host.heap
        found: list[Message] = []
        tokens: list[bytes] = []
        while ending and ending[0][0] <= clock:
            found.append(ending.popleft()[1])
        while born and born[0][0] <= clock:
            tokens += [token for name in born.popleft()[1] if (token := host.messages.get(name)) is not None]
        while heap and heap[0] <= clock:
            due = host.dues.pop(heappop(heap))
            tokens += [due] if isinstance(due, bytes) else due
        for token in tokens:
            message = self._messages.find(token) if self._messages.is_due(token, clock) else None
            if message is not None:
                found.append(message)
        if found:
            self._end(host, found, clock)

    def forget(self, message: Message, why: str, clock: int) -> None:
        """Forget a message; whom it held is looked at within a minute."""
        host = message.host
        facts = message.facts
        parents = [fact[2][1] for fact in facts if fact[1] == PARENT] if PARENT in map(_KIND_OF, facts) else ()
        self._messages.remove(message)
        self._counts["forgotten_" + why] += 1
        for queue_id in parents:
            token = host.messages.get(queue_id)
            if token is not None and not self._messages.is_due(token, clock + LINGER):
                parent = self._messages.find(token)
                due = LATER if parent is None else self._due(parent)[1]
                if parent is not None and due <= clock:
                    self._look_at(host, parent, due, clock)

    def _look_at(self, host: Host, message: Message, second: int, clock: int) -> None:
        """Look at a message in a second; where that is over, whole minutes after it, whoever looks."""
        if second <= clock:
            second = clock + LINGER - (clock - second) % LINGER
        message.look = second
        due = host.dues.get(second)
        if due is None:
            host.dues[second] = message.token
            heappush(host.heap, second)
        elif isinstance(due, bytes):
            host.dues[second] = [due, message.token]
        else:
            due.append(message.token)

    def _due(self, message: Message) -> tuple[str, int]:
        """Return (why a message will be forgotten, when)."""
        if message.ended >= 0:
            return "ended", message.ended + LINGER
        if not message.active:
            return "never_active", message.last + UNQUEUED
        return "out_of_patience", message.last + self._rules.patience

    def _end(self, host: Host, found: list[Message], clock: int) -> None:
        """Forget the messages whose time is over; look again later at those whose time is not."""
        over: list[tuple[Message, str, int]] = []
        for message in found:
            if message.look > clock or message.gone:
                continue
            message.look = LATER  # it may be found twice
            why, due = self._due(message)
            if due > clock:
                self._look_at(host, message, due, clock)
            else:
                over.append((message, why, due))
        # A message stays while a child is open; of a chain that is over at once, the last goes first.
        for _ in range(MOST_LINKS):
            kept = []
            for message, why, due in over:
                # Not for ever: a reply may name any queue id, so that two messages can wait for each other.
                children = clock < due + self._rules.patience and message.children
                if message.waiting or (children and any([child in host.messages for child in children])):
                    kept.append((message, why, due))
                else:
                    self.forget(message, why, clock)
            if not kept or len(kept) == len(over):
                break
            over = kept
        for message, _, due in kept:
            if message.look != LATER:
                continue  # its child has just gone
            # A child's end brings it here. Not each child tells of it: one that was opened long after it was named,
            # one of many parents. So it is looked at less and less often, and by its own time, whoever looks. One whose
            # row waits is only seconds behind.
            minutes = 0 if message.waiting else (clock - due) // LINGER
            wait = LINGER << min(minutes.bit_length(), LONGEST_WAIT)
            second, last = due + wait + (clock - due) // wait * wait, due + self._rules.patience
            self._look_at(host, message, min(second, last) if clock < last else second, clock)
