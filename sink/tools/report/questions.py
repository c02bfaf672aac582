"""The questions of a report: SQL for both stores, and what its answers come to.

The store counts, and answers in cells: so many rows of this hour, direction, outcome ... There are far fewer of them
than rows, and here they are added up; of values, such as delays, it says how often each occurs, which gives exact
percentiles. (`delays` has two significant digits, so few are unlike.)
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from sink.stores.views import Ask

LEAST: Final = 10  # outcomes that a domain must have to be named: as docs/privacy.md advises for data given away
SMALLEST: Final = 10  # mail below 2**10 bytes is one class
LARGEST: Final = 26  # and from 2**26 bytes on
HEADERS: Final = (  # columns that header lines give, of the views
    "message_id", "date", "from", "to", "cc", "bcc", "subject_size", "re_message_id", "spam_score", "is_list",
    "headers_cut",
)  # fmt: skip
LACKS: Final = ("sender", "recipient", "is_outgoing", "agent", "message_size", "delays")
TOTAL: Final = -1  # the whole of these
PARTS: Final = ("before the queue manager", "in the queue manager", "connection set-up", "transmission")

_CLASS = " ".join(f"WHEN message_size < {1 << power} THEN {power}" for power in range(SMALLEST, LARGEST + 1))
CELLS: Final = f"""
SELECT hour, is_outgoing, status, is_list,
    CASE WHEN message_size IS NULL THEN -1 {_CLASS} ELSE {LARGEST + 1} END AS class, count(*), sum(message_size)
FROM outcome GROUP BY 1, 2, 3, 4, 5"""
DELAYS: Final = """
SELECT delays, is_outgoing, count(*) FROM outcome WHERE status = 'sent' AND delays IS NOT NULL GROUP BY 1, 2"""
TIMES: Final = """
SELECT delay, is_outgoing, status, deferrals, count(*) FROM outcome GROUP BY 1, 2, 3, 4"""
REASONS: Final = """
SELECT reason, status, count(*) FROM attempt WHERE reason IS NOT NULL GROUP BY 1, 2"""
REFUSALS: Final = """
SELECT category, epoch, count(*), min(second), max(second) FROM refusal GROUP BY 1, 2"""
DOMAINS: Final = """
SELECT domain, sum(outgoing), sum(1 - outgoing), sum(failed), sum(deferred),
    count(DISTINCT there), count(DISTINCT here)
FROM (
    SELECT recipient_domain AS domain, 1 AS outgoing, recipient_user AS there, sender_user AS here,
        CASE WHEN status IN ('sent', 'deferred') THEN 0 ELSE 1 END AS failed,
        CASE WHEN deferrals > 0 THEN 1 ELSE 0 END AS deferred
    FROM outcome WHERE is_outgoing = 1
    UNION ALL
    SELECT sender_domain, 0, sender_user, recipient_user, 0, 0 FROM outcome WHERE is_outgoing = 0
) AS mail
WHERE domain IS NOT NULL GROUP BY domain HAVING count(*) >= {least} ORDER BY count(*) DESC, domain LIMIT {top}"""
REPLIES: Final = """
SELECT answer.date - asked.date, count(*)
FROM (
    SELECT message_id, sender, re_message_id, min(date) AS date FROM attempt
    WHERE re_message_id IS NOT NULL AND message_id IS NOT NULL AND sender IS NOT NULL AND date IS NOT NULL
    GROUP BY 1, 2, 3
) AS answer JOIN (
    SELECT message_id, sender, min(date) AS date FROM ever
    WHERE date IS NOT NULL AND message_id IS NOT NULL AND sender IS NOT NULL
    GROUP BY 1, 2
) AS asked ON asked.message_id = answer.re_message_id
GROUP BY 1"""
_HELD = ", ".join(f'count("{name}")' for name in (*HEADERS, *LACKS))
ROWS: Final = f"""
SELECT epoch, host, count(*), min(second), max(second), coalesce(sum(headers_cut), 0), {_HELD}
FROM attempt GROUP BY 1, 2"""

Direction = int | None  # 1 outgoing, 0 incoming, None unknown
Values = Counter[float]  # how often each value occurs


@dataclass
class Domain:
    """A domain that mail goes to, or comes from."""

    name: str
    outgoing: int
    incoming: int
    failed: int
    deferred: int
    there: int
    here: int


@dataclass
class Epoch:
    """What the rows of a key have in common."""

    attempts: int = 0
    refusals: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, first: int, last: int) -> None:
        """Widen the range of log seconds."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


@dataclass
class Answers:
    """All that a report tells, in numbers."""

    volume: Counter[tuple[str, Direction]] = field(default_factory=Counter)  # hour; of outcomes
    status: Counter[tuple[str, Direction]] = field(default_factory=Counter)
    lists: Counter[tuple[int | None, Direction]] = field(default_factory=Counter)
    sizes: Counter[tuple[int, Direction]] = field(default_factory=Counter)  # class
    octets: int = 0
    parts: dict[tuple[Direction, int], Values] = field(default_factory=dict)  # of the delay of what was sent
    times: dict[tuple[str, bool], Values] = field(default_factory=dict)  # outcome, was deferred
    retries: Counter[tuple[int, str]] = field(default_factory=Counter)  # deferrals, outcome
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)  # status; of attempts
    refusals: Counter[str] = field(default_factory=Counter)
    domains: list[Domain] = field(default_factory=list)
    replies: Values = field(default_factory=Counter)
    attempts: int = 0
    cut: int = 0
    held: Counter[str] = field(default_factory=Counter)  # column -> attempts that have it
    hosts: set[str] = field(default_factory=set)
    epochs: dict[int, Epoch] = field(default_factory=dict)

    @property
    def outcomes(self) -> int:
        """Return the number of final outcomes."""
        return self.volume.total()

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing was logged in that time."""
        return not self.attempts and not self.refusals


def outcome_of(status: str) -> str:
    """Return what became of the mail: sent, deferred as yet, or failed for good."""
    return status if status in ("sent", "deferred") else "failed"


def answers(ask: Ask, top: int) -> Answers:
    """Ask all questions."""
    found = Answers()
    for hour, direction, status, is_list, kind, number, octets in ask(CELLS):
        found.volume[hour, direction] += number
        found.status[status, direction] += number
        found.lists[is_list, direction] += number
        found.sizes[kind, direction] += number
        found.octets += octets or 0
    for delays, direction, number in ask(DELAYS):
        for part, text in enumerate(delays.split("/")):
            found.parts.setdefault((direction, part), Counter())[float(text)] += number
    _times(found, ask(TIMES))
    for reason, status, number in ask(REASONS):
        found.reasons[reason, status] += number
    for category, epoch, number, first, last in ask(REFUSALS):
        found.refusals[category] += number
        one = found.epochs.setdefault(epoch, Epoch())
        one.refusals += number
        one.add(first, last)
    if top:
        found.domains = [Domain(*row) for row in ask(DOMAINS.format(least=LEAST, top=top))]
    for latency, number in ask(REPLIES):
        found.replies[latency] += number
    _rows(found, ask(ROWS))
    return found


def _times(found: Answers, cells: Iterable[tuple[float | None, Direction, str, int, int]]) -> None:
    for delay, direction, status, deferrals, number in cells:
        outcome = outcome_of(status)
        found.retries[deferrals, outcome] += number
        if delay is None:
            continue
        found.times.setdefault((outcome, deferrals > 0), Counter())[delay] += number
        if status == "sent":
            found.parts.setdefault((direction, TOTAL), Counter())[delay] += number


def _rows(found: Answers, cells: Iterator[tuple[Any, ...]]) -> None:
    for epoch, host, number, first, last, cut, *held in cells:
        found.attempts += number
        found.cut += cut
        found.held.update(dict(zip((*HEADERS, *LACKS), held, strict=True)))
        found.hosts.add(host)
        one = found.epochs.setdefault(epoch, Epoch())
        one.attempts += number
        one.add(first, last)


# -- values


def together(values: Iterable[Values]) -> Values:
    """Return several lists of values as one."""
    found: Values = Counter()
    for one in values:
        found.update(one)
    return found


def percentiles(values: Mapping[float, int], wanted: Iterable[int]) -> list[float]:
    """Return the least value that so many in a hundred do not exceed, for each; of no values, []."""
    number = sum(values.values())
    if not number:
        return []
    found, places = [], iter(sorted(wanted))
    ordered = iter(sorted(values.items()))
    value, reached = next(ordered)
    for place in places:
        while reached < ceil(place * number / 100):
            value, more = next(ordered)
            reached += more
        found.append(value)
    return found


def within(values: Mapping[float, int], bound: float) -> int:
    """Return how many values are at most a bound."""
    return sum(number for value, number in values.items() if value <= bound)
