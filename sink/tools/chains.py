"""Chains of files: what must be read by one pipeline, in order of time; and the reading of one.

Facts, clocks and links are a host's own, so files that share no host don't touch each other. Files that do, even by
one line, are of one chain; so rows are those that one process makes of all files. (But for the cap on open messages,
which is each chain's own.)
"""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from typing import Any, NamedTuple

from sink.core.batch import Batch
from sink.core.hosts import Host
from sink.core.pipeline import Pipeline
from sink.core.rows import REJECT_SCALARS, SCALARS, Row
from sink.core.syslog import Reader
from sink.fault import TEMPFAIL, Fault
from sink.sources.archive import Archive
from sink.tools.gathering import Gathering

_HOST = 2 + SCALARS.index("host")  # its place in a row
_REJECT_HOST = 2 + REJECT_SCALARS.index("host")


class Outcome(NamedTuple):
    """What came of reading some files."""

    counts: dict[str, int]  # the pipeline's
    undecided: int = 0
    repeated: int = 0
    years: tuple[int, ...] = ()
    open_messages: int = 0
    fault: tuple[int, str] | None = None  # what ended it before its end

    def __add__(self, other: "Outcome") -> "Outcome":  # type: ignore[override]
        """Return what came of both; of faults the first."""
        return Outcome(
            Counter(self.counts) + Counter(other.counts), self.undecided + other.undecided,
            self.repeated + other.repeated, tuple(sorted({*self.years, *other.years})),
            self.open_messages + other.open_messages, self.fault or other.fault,
        )  # fmt: skip


NOTHING = Outcome({})


class Parcel(NamedTuple):
    """A step of a chain: rows for a transaction, and how far it is; the last has the outcome."""

    rows: list[Row]
    rejects: list[Row]
    done: int  # bytes of the files, as packed
    lines: int
    outcome: Outcome | None = None

    def plain(self) -> tuple[Any, ...]:
        """Return it as marshal takes it."""
        return *self[:4], None if self.outcome is None else tuple(self.outcome)

    @classmethod
    def of(cls, parts: Sequence[Any]) -> "Parcel":
        """Return what plain() gave."""
        rows, rejects, done, lines, outcome = parts
        return cls(rows, rejects, done, lines, None if outcome is None else Outcome(*outcome))


def chains(hosts: Sequence[Set[bytes]]) -> list[list[int]]:
    """Return which files, by number, belong together, by the hosts of each; within a chain in the order given."""
    found: list[tuple[set[bytes], list[int]]] = []
    for number, names in enumerate(hosts):
        joined = set(names), [number]
        apart = []
        for chain in found:
            if chain[0] & names:
                joined[0].update(chain[0])
                joined[1].extend(chain[1])
            else:
                apart.append(chain)
        found = [*apart, joined]
    return sorted(sorted(numbers) for _, numbers in found)


def outcome_of(pipe: Pipeline, readers: Sequence[Reader], fault: Fault | None) -> Outcome:
    """Return what came of the files that a pipeline has read by some readers."""
    return Outcome(
        dict(pipe.counts), sum(reader.undecided for reader in readers), sum(reader.repeats for reader in readers),
        tuple(sorted({year for reader in readers for year in reader.years})),
        fault=None if fault is None else (fault.status, fault.message),
    )  # fmt: skip


class Chain:
    """The files of one chain under way; dated, in order of time, and their hosts known."""

    def __init__(self, archives: Sequence[Archive], hosts: Set[bytes], pipe: Pipeline, enough: int) -> None:
        self._archives = archives
        self._hosts = {Host(name).text for name in hosts}
        self._pipe = pipe
        self._gathered = Gathering(enough)
        self._readers: list[Reader] = []
        self._done = 0

    def parcels(self) -> Iterator[Parcel]:
        """Read; yield parcels of enough rows, and the rest with the outcome. What comes before damage is kept."""
        fault = None
        try:
            for archive in self._archives:
                yield from self._read(archive)
                fault = archive.damage()
                if fault is not None:
                    break
            self._gathered.take(self._pipe.flush())
        except Fault as found:
            fault = found
        yield self._parcel(self._done, outcome_of(self._pipe, self._readers, fault))

    def _read(self, archive: Archive) -> Iterator[Parcel]:
        self._pipe.reader = archive.reader()
        self._readers.append(self._pipe.reader)
        for lines in archive.lines():
            batch = self._pipe.feed(lines)
            self._check(batch, archive)
            if self._gathered.take(batch):
                yield self._parcel(self._done + archive.position())
        self._done += archive.size

    def _check(self, batch: Batch, archive: Archive) -> None:
        """Refuse rows of another chain's host: lines that were written since the hosts were looked for."""
        found = {row[_HOST] for row in batch.rows}
        found.update(row[_REJECT_HOST] for row in batch.rejects)
        if not found <= self._hosts:
            raise Fault(TEMPFAIL, f"{archive.name} has got lines of another host meanwhile; start the import again")

    def _parcel(self, done: int, outcome: Outcome | None = None) -> Parcel:
        batch = self._gathered.give()
        return Parcel(batch.rows, batch.rejects, done, self._pipe.counts["lines"], outcome)
