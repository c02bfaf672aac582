"""What the daemon can tell of itself, for `postsink status` and for metrics.

Laws: it holds numbers, times, words of closed lists and the names of logging hosts, nothing else. No line pays for it:
clocks and counts are looked at once a second; of what is committed, each row's status is counted, and the header
columns of some rows a second.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple

from sink.core.batch import Batch
from sink.core.hosts import Standing
from sink.core.pseudonym import NONE, WIDTH
from sink.core.rows import HALVES, REJECT_SCALARS, SCALARS, Row

MOST_HOSTS = 200  # whose names are told; the others are counted
FORGOTTEN = 7 * 86_400  # seconds of silence after which a host is one no more
STEP = 10.0  # seconds between two marks
RECENT = 60  # marks that are kept: ten minutes
RATED = 6  # marks that a rate is of: one minute
MOST_SAMPLED = 50  # rows a second whose header columns are counted
MARKED: Final = ("lines", "postfix_lines", "deliveries", "rejects", "not_understood", "dropped", "evicted")
RATES: Final = ("lines", "deliveries", "rejects")

# Where a header's value is in a row: in the halves, or among the scalars.
_HALVES = {
    name: slice(HALVES.index(name) * WIDTH, (HALVES.index(name) + 1) * WIDTH)
    for name in ("message_id", "resent_message_id", "re_message_id")
}
_SCALARS = {
    name: 2 + SCALARS.index(name) for name in ("date", "from", "to", "cc", "bcc", "subject_size", "spam_score")
}
_CUT = 2 + SCALARS.index("headers_cut")
HEADERS: Final = (*_HALVES, *_SCALARS)
COVERED: Final = (*HEADERS, "any_header", "headers_cut")
_STATUS = itemgetter(2 + SCALARS.index("status"))
_CATEGORY = itemgetter(2 + REJECT_SCALARS.index("category"))

# What goes wrong with a database, by the first characters of its SQLSTATE [PostgreSQL, appendix A].
CLASSES = {
    "connection": "connection", "08": "connection", "refused": "refused", "25": "read-only", "40": "conflict",
    "53": "resources", "55": "locked", "57": "interrupted",
}  # fmt: skip


class Mark(NamedTuple):
    """Totals at a time."""

    at: float
    totals: dict[str, int]


class Figures:
    """Gathers figures while the daemon runs; `now` is always wall clock, in seconds."""

    def __init__(self, now: float, standing: Standing) -> None:
        self.started = now
        self.committed: float | None = None  # when something was last
        self.dropped = 0  # datagrams, while the store could take no more
        self.statuses: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.sampled = 0  # rows whose header columns are counted
        self.headers: Counter[str] = Counter()
        self.unnamed = 0  # hosts beyond MOST_HOSTS
        self._left = MOST_SAMPLED
        self._clocks = dict(standing.clocks)
        # A host that logged before the start did so when its log clock says.
        self._heard = {name: min(float(clock), now) for name, clock in standing.clocks.items()}
        self._marks: deque[Mark] = deque(maxlen=RECENT)

    def note(self, batch: Batch, now: float) -> None:
        """Count what a transaction committed."""
        self.committed = now
        rows = batch.rows
        if rows:
            self.statuses.update(map(_STATUS, rows))
            if self._left > 0:
                self._sample(rows[: self._left])
        if batch.rejects:
            self.categories.update(map(_CATEGORY, batch.rejects))

    def _sample(self, rows: Sequence[Row]) -> None:
        self._left -= len(rows)
        self.sampled += len(rows)
        for row in rows:
            self.headers.update([name for name, place in _HALVES.items() if row[1][place] != NONE])
            self.headers.update([name for name, place in _SCALARS.items() if row[place] != ""])
            if row[_CUT] != "":
                self.headers["any_header"] += 1
                self.headers["headers_cut"] += row[_CUT]

    def look(self, now: float, standing: Standing, counts: Mapping[str, int]) -> None:
        """See which hosts have logged since the last look, and how far the totals are; once a second."""
        self._left = MOST_SAMPLED
        for name, clock in standing.clocks.items():
            if self._clocks.get(name) != clock:
                self._clocks[name] = clock
                self._heard[name] = now
        if not self._marks or not self._marks[-1].at <= now < self._marks[-1].at + STEP:
            self._forget(now)
            self._marks.append(Mark(now, self.totals(counts)))

    def _forget(self, now: float) -> None:
        """Forget hosts that are silent for long, and the names of those that are too many."""
        heard = {name: at for name, at in self._heard.items() if at > now - FORGOTTEN}
        self.unnamed = max(len(heard) - MOST_HOSTS, 0)
        self._heard = dict(list(heard.items())[:MOST_HOSTS])

    def totals(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Return what marks hold."""
        found = {**counts, "dropped": self.dropped, "evicted": counts.get("forgotten_too_many", 0)}
        return {name: found.get(name, 0) for name in MARKED}

    def told(self, now: float, standing: Standing, counts: Mapping[str, int]) -> dict[str, object]:
        """Return the figures."""
        totals = self.totals(counts)
        rated = self._since(totals, now, RATED, RATES)
        seconds, memory = rated.pop("seconds"), memory_used()
        heard = list(self._heard.items())[:MOST_HOSTS]
        return {
            "now": int(now),
            "started": int(self.started),
            "last_commit": None if self.committed is None else int(self.committed),
            "by_second": {name: round(number / max(seconds, 1), 3) for name, number in rated.items()},
            "recent": self._since(totals, now, RECENT, MARKED),
            "dropped": self.dropped,
            "evicted": totals["evicted"],
            "open_messages": standing.open_messages,
            "oldest_open": standing.oldest,
            "statuses": dict(self.statuses),
            "categories": dict(self.categories),
            "headers": {"rows": self.sampled, "with": {name: self.headers[name] for name in COVERED}},
            "hosts": {name: {"last_line": int(at), "silent": max(int(now - at), 0)} for name, at in heard},
            "hosts_not_named": self.unnamed,
            "memory": memory[0],
            "memory_peak": memory[1],
        }

    def _since(self, totals: Mapping[str, int], now: float, marks: int, names: Sequence[str]) -> dict[str, int]:
        """Return by how much totals grew since so many marks ago, and the seconds."""
        before = self._marks[-min(marks, len(self._marks))] if self._marks else Mark(now, dict(totals))
        return {"seconds": max(int(now - before.at), 0), **{name: totals[name] - before.totals[name] for name in names}}


def memory_used() -> tuple[int, int]:
    """Return the bytes of memory that this process has now, and that it had at most."""
    # Not getrusage(): its most is also that of whoever started this program.
    with open("/proc/self/status", "rb") as file:
        sizes = dict(line.split(b":", 1) for line in file if line.startswith((b"VmRSS:", b"VmHWM:")))
    now, most = (int(sizes[name].split()[0]) * 1024 for name in (b"VmRSS", b"VmHWM"))
    return now, max(now, most)  # the kernel notes the most only now and then


def class_of(trouble: str) -> str:
    """Return a word of CLASSES for what a drain says, or "other"."""
    return CLASSES.get(trouble) or CLASSES.get(trouble[:2], "other")
