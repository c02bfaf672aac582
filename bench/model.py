"""What a line, a message and a row cost, and what follows for a host: the constants of the cost model.

Logs consist of known numbers of ignored lines, refusals, header lines, further facts, messages, rows and retries of
messages that wait, which are kept packed: some composed so that they have much of one, the others generated, one for
each kind of host. What each of these costs is what least squares over the CPU of all logs give, of relative errors; how
far that is from the generated logs is told beside. Start and end of a program are left out: those of a log of one chunk
are taken off.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import bare, growing
from bench.climb import Climb, cut
from bench.curves import emptied
from bench.growing import Mix
from bench.live import memory as peak
from bench.measure import PUBLIC, Kind, made_log
from bench.mixes import MIXES
from sink.sources.framer import Framer

TICKS = os.sysconf("SC_CLK_TCK")
LEAST = 0.1  # seconds: of less the clock of a process that is not ours tells too little
OWN = 4  # lines of a message: client, message-id, queue active, removed
COMPOSED = (  # each has much of one unit
    Mix(0, 0, 0, 0, 1), Mix(24, 0, 0, 0, 1), Mix(0, 12, 0, 0, 1), Mix(0, 0, 8, 0, 1), Mix(0, 0, 0, 8, 1),
    Mix(0, 0, 0, 0, 8),
)  # fmt: skip
REAL = [PUBLIC, *(Kind(mix, headers) for mix in MIXES for headers in ("none", "all"))]
TRIES = 3  # of a message that waits, after the first
UNITS = ("an ignored line", "a refusal", "a header line", "another line of a message", "a message, with its four lines",
         "a delivery line, with its row", "a message that waited is tried again")  # fmt: skip


class Way(NamedTuple):
    """Where rows go, and what reads the lines."""

    name: str
    command: Sequence[str]
    folder: Path  # its installation
    server: int = 0  # process of a database server
    reset: Callable[[], object] = int  # empties the database


class Cost(NamedTuple):
    """CPU seconds of a run and peak MB, of the program; CPU seconds of the server."""

    cpu: float
    memory: float
    server: float = 0.0


class Counts(NamedTuple):
    """What a log consists of, in the order of UNITS."""

    ignored: int
    refused: int
    headers: int
    facts: int
    messages: int
    rows: int
    again: int

    @classmethod
    def of(cls, mix: Mix, messages: int) -> "Counts":
        """Those of a log that is all alike."""
        return cls(*(each * messages for each in (mix.ignored, mix.refused, mix.headers, mix.said, 1, mix.rows, 0)))

    @property
    def lines(self) -> int:
        """All lines."""
        return sum(self) + (OWN - 1) * self.messages

    def less(self, other: "Counts") -> list[int]:
        """What is left without another log."""
        return [one - two for one, two in zip(self, other, strict=True)]


def counted(log: Path) -> Counts:
    """What a generated log consists of; as messages count those that end in it."""
    pipe, framer, headers, messages, again = bare.pipeline(journal=False), Framer(), 0, 0, 0
    with log.open("rb") as file:
        while data := file.read(1 << 20):
            lines = framer.lines(data)
            pipe.feed(lines)
            headers += sum(b": info: header " in line for line in lines)
            messages += sum(line.endswith(b": removed") for line in lines)
            again += sum(line.endswith(b"(queue active)") for line in lines)
            again -= sum(b": message-id=" in line for line in lines)
    pipe.flush()
    counts = pipe.counts
    refused = counts["rejects"] + counts["rejects_not_kept"]
    rows, again = counts["delivery_lines"], max(0, again)
    others = counts["ignored"] + refused + headers + OWN * messages + rows + again
    return Counts(counts["ignored"], refused, headers, counts["lines"] - others, messages, rows, again)


def server_cpu(server: int) -> float:
    """CPU seconds of a server and all processes that it ever started."""
    found = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended, and its father has its time
        if name == server:
            found += sum(map(int, fields[11:15]))
        elif int(fields[1]) == server:
            found += sum(map(int, fields[11:13]))
    return found / TICKS


def run(way: Way, log: Path, lines: int) -> Cost:
    """Read a log to its end; return what all of it cost."""
    emptied(way.folder)
    way.reset()
    before = server_cpu(way.server) if way.server else 0.0
    with Climb(way.command, way.folder) as child:
        parts = cut(log, [lines])
        child.feed(next(parts))
        memory = peak(child.pid)
        used = child.end()
    return Cost(used, memory, server_cpu(way.server) - before if way.server else 0.0)


def solved(counts: Sequence[Sequence[int]], seconds: Sequence[float]) -> list[float]:
    """What one of each unit costs, in microseconds: the least squares of relative errors."""
    import numpy

    weight = numpy.maximum(seconds, LEAST)
    table = numpy.array(counts) / weight[:, None]
    return [float(found) * 1e6 for found in numpy.linalg.lstsq(table, numpy.array(seconds) / weight, rcond=None)[0]]


def told_by(constants: Sequence[float], counts: Sequence[int]) -> float:
    """The CPU seconds that the model tells for a log."""
    return sum(one * number for one, number in zip(constants, counts, strict=True)) / 1e6


class Log(NamedTuple):
    """A log that constants are made of."""

    path: Path
    counts: Counts


class Constants(NamedTuple):
    """What one way costs."""

    way: str
    each: list[float]  # microseconds of UNITS
    line: float  # microseconds of a line of the public mix
    apart: list[float]  # how much more the model tells of each real mix, as a share
    memory: float  # peak MB over the public mix


def composed(folder: Path, lines: int) -> list[Log]:
    """A log of about so many lines for each of COMPOSED."""
    found = []
    for place, mix in enumerate(COMPOSED):
        number = max(2, lines // (OWN + sum(mix)) // growing.CHUNK) * growing.CHUNK
        log = folder / f"mix-{place}.log"
        with log.open("wb") as file:
            file.writelines(growing.mixed(number, mix))
        found.append(Log(log, Counts.of(mix, number)))
    number = max(1, lines // (2 * TRIES + OWN))
    log = folder / "again.log"
    with log.open("wb") as file:
        file.writelines(growing.retried(number, TRIES))
    # A message that stays has three of its four lines.
    found.append(Log(log, Counts(0, 0, 0, -number, number, number * (TRIES + 1), number * TRIES)))
    return found


def generated(lines: int) -> list[Log]:
    """A log of so many lines for each of REAL."""
    logs = [made_log(lines, 1, kind) for kind in REAL]
    return [Log(log, counted(log)) for log in logs]


def fitted(way: Way, made: Sequence[Log], real: Sequence[Log]) -> list[Constants]:
    """The constants of a way, and those of its server; the public log, the first of the real ones, is read last."""
    first = Counts.of(COMPOSED[0], growing.CHUNK)
    base = run(way, made[0].path, first.lines)
    logs = [*made, *real[1:], real[0]]
    costs = [run(way, log.path, log.counts.lines) for log in logs]
    rows = [log.counts.less(first) for log in logs]
    found = []
    for name, field in ((way.name, 0), *([(f"{way.name}, its server", 2)] if way.server else [])):
        seconds = [cost[field] - base[field] for cost in costs]
        each = solved(rows, seconds)
        pairs = list(zip(rows, seconds, strict=True))[len(made) :]
        apart = [told_by(each, row) / max(second, 1e-9) - 1 for row, second in pairs]
        line = seconds[-1] / (real[0].counts.lines - first.lines) * 1e6
        found.append(Constants(name, each, line, apart, 0 if field else costs[-1].memory))
    print(f"model: {way.name} done", file=sys.stderr)
    return found
