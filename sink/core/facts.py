"""Facts of a message, and how they merge.

Law 4: order is not trusted, correlation is a fold over facts. A fact is (second, kind, value, micros).
Of a kind that is single the least (second, value) stays; of a kind that is many the set of values stays.
So merging is commutative, associative and idempotent, whatever order the lines came in; microseconds
ride along and never decide. Values are numbers, 16-byte pseudonyms, words of closed lists, and tuples of
these, and values of one kind compare with each other: absent is pseudonym.NONE or "", never None.
"""

from collections.abc import Iterable
from typing import Any

Fact = tuple[int, int, Any, bytes]
Folded = dict[int, Any]

# single: the least (second, value) stays; an address is user and domain side by side, 32 bytes
SEEN = 0  # any line with the queue id: 0
CLIENT = 1  # smtpd's client=: (origin, loopback 0/1, submitter)
UID = 2  # pickup's uid=: 0
MESSAGE_ID = 3  # pseudonym, NONE where the header is missing or empty
ACTIVE = 4  # qmgr's "queue active": (size, recipients)
SENDER = 5  # (kind, address, address of the list's member, is_list 0/1)
PICKUP_SENDER = 6  # as SENDER, before rewriting: used where qmgr's is not seen
RESENT_ID = 7
END = 8  # 0
PARENT = 9  # (link, parent's queue id): who handed the message over
PROBE = 10  # 1: an address verification probe
ARRIVED = 11  # a delivery line's second less its delay, where nothing earlier was seen
DATE = 16  # UTC seconds
SUBJECT = 17  # characters
REPLY_ID = 18  # In-Reply-To
REFERENCE = 19  # the last uncut one of References
LIST = 20  # 1: a header says that a list sent it
HEADERS = 21  # 1: a header line was understood that gave no other fact
CUT = 22  # 1: one of them hit the length limit
FIRST_HEADER = DATE
# many: the set of values stays
FROM = 32
TO = 33
CC = 34
BCC = 35  # addresses
SCORE = 36  # spam score logged by our own milter
FILTER_SCORE = 37  # spam score in a header, to be believed behind a content filter only
FIRST_MANY = FROM
MANY = frozenset({FROM, TO, CC, BCC, SCORE, FILTER_SCORE})
# one of these was seen: the message has header lines
FROM_HEADERS = frozenset({DATE, SUBJECT, REPLY_ID, REFERENCE, LIST, HEADERS, CUT, FROM, TO, CC, BCC})

# links, in PARENT's value
FILTER = 1  # "queued as" to a queue of ours, orig_queue_id=
REQUEUE = 2  # postsuper -r, orig_id=
PROXY = 3  # before-queue proxy, joined by smtpd's pid
FORWARD = 4  # "forwarded as"
NOTIFICATION = 5  # "sender non-delivery notification" and its kin

OPENINGS = frozenset({CLIENT, UID})  # a line of these kinds opens a message
SOFT_OPENINGS = frozenset({MESSAGE_ID, ACTIVE})  # these open one when the one before has ended

LATE = 5  # seconds: a row uses facts at most this much after its own second (law 4)
SPLIT = 1  # seconds after an end from which a soft opening opens


def lives(facts: Iterable[Fact]) -> list[tuple[int, list[Fact]]]:
    """Split the facts of one queue id into the messages that bore it, as [(first second, facts)].

    Short queue ids come back. A client= or uid= line of another second than the one known opens a message;
    without either, the first message-id= or "queue active" more than SPLIT after the end does. A fact
    belongs, by its second, to the last opening not after it.
    """
    ordered = sorted(facts)
    hard = sorted({fact[0] for fact in ordered if fact[1] in OPENINGS})
    found: list[tuple[int, list[Fact]]] = []
    current: list[Fact] = []
    start, queued, ended = -1, False, -1
    index = 0
    for fact in ordered:
        second, kind = fact[0], fact[1]
        opens = -1
        if index < len(hard) and hard[index] <= second:
            opens = hard[index]
            index += 1
        elif kind in SOFT_OPENINGS and ended >= 0 and second > ended + SPLIT:
            opens = second
        if opens >= 0:
            if current:
                found.append((start, current))
            current, start, queued, ended = [], opens, False, -1
        current.append(fact)
        if kind in SOFT_OPENINGS:
            queued = True
        elif kind == END and (queued or second > start):
            # In the opening second an end counts only for a message that was queued by then:
            # the one before may have ended in that second, too.
            ended = max(ended, second)
    if current:
        found.append((start, current))
    return found


def fold(facts: Iterable[Fact], until: int) -> Folded:
    """Merge facts of one message up to a second: {kind: least fact, or set of values}."""
    ordered = sorted(facts, reverse=True)
    if ordered and ordered[0][0] > until:
        ordered = [fact for fact in ordered if fact[0] <= until]
    folded: Folded = {fact[1]: fact for fact in ordered}  # the least comes last and stays
    if not MANY.isdisjoint(folded):
        for kind in MANY & folded.keys():
            folded[kind] = set()
        for fact in ordered:
            if fact[1] >= FIRST_MANY:
                folded[fact[1]].add(fact[2])
    return folded


def compact(facts: list[Fact], before: int) -> list[Fact]:
    """Drop facts older than a second that no row can use any more, keeping every opening and end.

    A deferred message gathers a "queue active" at each retry. Only repeats of a single kind within one
    message are dropped, so that folding gives what it gave.
    """
    kept: list[Fact] = []
    for _, life in lives(facts):
        least: dict[int, Fact] = {}
        for fact in life:
            kind = fact[1]
            if fact[0] >= before or kind >= FIRST_MANY or kind == END:
                kept.append(fact)
            elif kind not in least or fact < least[kind]:
                least[kind] = fact
        kept += least.values()
    return kept
