"""What a line costs as things grow: lines read, messages open, rows in the store, distinct addresses.

CPU is user and system time of the program that reads. But for the import into a store that has rows, whose start and
end are part of it, warm-up is left out. The limits are those of the issue about growth.
"""

import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import growing
from bench.climb import Climb, cut
from bench.filled import cleared, each_held, fill
from bench.live import memory as peak
from bench.measure import made_log, measured, program

BARE = (sys.executable, "-m", "bench.bare")
NONE, SQLITE, JOURNAL = "no store", "SQLite", "daemon's store"
FIRST = 1_000  # lines, until a program has started
WARM = 20_000  # lines
FEW = 500  # lines that a busy host logs while the daemon commits
TEMPLATE = 200_000  # lines of the log that is imported, and of which rows are copied


class Point(NamedTuple):
    """What was seen where something had grown to a size."""

    at: int
    micros: float  # of CPU a line
    memory: float  # MB resident
    bytes: float = 0.0  # of the store, for each message or row


class Curve(NamedTuple):
    """One thing that grows, measured in one way."""

    way: str
    points: list[Point]

    @property
    def ratio(self) -> float:
        """What a line costs at the end, of what it cost at the beginning."""
        return self.points[-1].micros / self.points[0].micros

    @property
    def each(self) -> float:
        """Bytes of memory that one more of them takes, between the last two points: the first ones are kept warm."""
        first, last = self.points[-2:]
        return (last.memory - first.memory) * (1 << 20) / max(1, last.at - first.at)


class Figure(NamedTuple):
    """A single number, and what it may be at most."""

    what: str
    value: float
    unit: str
    most: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it is above."""
        return self.most is not None and self.value > self.most


Measure = Callable[[Path, Sequence[int]], list[Curve]]


def emptied(folder: Path) -> None:
    """Take away the store that an earlier run left."""
    for old in folder.glob("*.sqlite*"):
        old.unlink()


def importing(folder: Path) -> list[str]:
    """The command of an import of stdin."""
    return [*program(folder), "import"]


def by_lines(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """One log; at each size the lines since the last one are told."""
    log = made_log(max(sizes), 1)
    found = []
    for way, command in ((NONE, BARE), (SQLITE, importing(folder))):
        points: list[Point] = []
        emptied(folder)
        with Climb(command, folder) as child:
            parts = cut(log, [FIRST, *sizes])
            before, done = child.feed(next(parts)), FIRST
            for size in sizes:
                look = child.feed(next(parts))
                points.append(Point(size, (look.cpu - before.cpu) / (size - done) * 1e6, look.memory))
                before, done = look, size
            child.end()
        found.append(Curve(way, points))
    return found


def stood(child: Climb, number: int) -> float:
    """Have a program remember so many open messages; return the MB that it then has.

    What was read last may be under way still, and be the hour after which all are looked at: not so once it reads on.
    """
    child.feed(growing.standing(number))
    return child.feed([growing.connect(growing.START - 1)]).memory


def by_open(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """The same traffic over more and more messages that wait."""
    log = made_log(TEMPLATE, 1)
    found = []
    for way in (NONE, JOURNAL):
        points = []
        for size in sizes:
            emptied(folder)
            path = folder / "open.sqlite"
            with Climb([*BARE, *([str(path)] if way is JOURNAL else [])], folder) as child:
                memory = stood(child, size)
                parts = cut(log, [WARM, TEMPLATE])
                before = child.feed(next(parts))
                cpu = child.feed(next(parts)).cpu - before.cpu
                child.end()
            kept = each_held(path, "open_message") if way is JOURNAL else 0.0
            points.append(Point(size, cpu / (TEMPLATE - WARM) * 1e6, memory, kept))
        found.append(Curve(way, points))
    return found


def by_rows(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """Import of the same log into a store with more and more rows."""
    log = made_log(TEMPLATE, 1)
    emptied(folder)
    measured([*program(folder), "import", str(log)], folder)
    template, grown, store = folder / "template.sqlite", folder / "grown.sqlite", folder / "s.sqlite"
    shutil.move(store, template)
    shutil.copy(template, grown)
    cleared(grown)
    points = []
    for size in sizes:
        fill(grown, size, template=template)
        shutil.copy(grown, store)
        os.sync()  # what is written late is no business of an import
        run = measured([*program(folder), "import", str(log)], folder)
        kept = each_held(grown, "delivery") if size else 0.0
        points.append(Point(size, run.cpu / TEMPLATE * 1e6, run.memory, kept))
    return [Curve(SQLITE, points)]


def by_addresses(folder: Path, sizes: Sequence[int]) -> list[Curve]:
    """As many deliveries as there are recipients at the last size, to more and more of them."""
    found = []
    number = max(sizes)
    for way, command in ((NONE, BARE), (SQLITE, importing(folder))):
        points = []
        for size in sizes:
            emptied(folder)
            with Climb(command, folder) as child:
                warm, *chunks = growing.mailings(number, size)
                before = child.feed([warm])
                look = child.feed(chunks)
                child.end()
            count = sum(chunk.count(b"\n") for chunk in chunks)
            points.append(Point(size, (look.cpu - before.cpu) / count * 1e6, look.memory))
        found.append(Curve(way, points))
    return found


class Part(NamedTuple):
    """What grows, how it is measured, and what the issue allows."""

    title: str
    noun: str
    measure: Measure
    sizes: tuple[int, ...]
    more: tuple[int, ...]  # with --full
    most: float | None
    each: str = ""  # what the bytes of a point are of


PARTS = {
    "lines": Part(
        "Lines read", "lines", by_lines, (100_000, 300_000, 1_000_000), (3_000_000, 5_000_000), 1.15
    ),
    "open": Part(
        "Open messages", "messages", by_open, (1_000, 10_000, 100_000), (1_000_000,), 1.6,
        "bytes a message in the store",
    ),
    "rows": Part(
        "Rows in the store", "rows", by_rows, (0, 1_000_000), (10_000_000,), 1.25, "bytes a row",
    ),
    "addresses": Part(
        "Distinct recipients", "recipients", by_addresses, (1_000, 10_000, 100_000), (1_000_000,), None
    ),
}  # fmt: skip
AT_START, LOADED, EACH = 40, 50, 500  # MB, MB, bytes: the issue's


def daemon(folder: Path, numbers: Sequence[int] = (10_000, 100_000), lines: int = 300_000) -> list[Figure]:
    """Memory of the daemon: at its start, under load, and for each open message."""
    log, at_start, seen = made_log(lines, 1), 0.0, []
    peaks = {}
    for name, few in ((f"{FEW} lines at a time", FEW), ("as fast as it reads", lines)):
        emptied(folder)
        with Climb([*program(folder), "run", "--stdin"], folder) as child:
            at_start = child.feed([growing.connect(growing.START - 86_400)]).memory
            for part in cut(log, range(few, lines + 1, few)):
                child.feed(part)
            peaks[name] = peak(child.pid)
            child.end()
    for number in numbers:
        emptied(folder)
        with Climb([*program(folder), "run", "--stdin"], folder) as child:
            seen.append(stood(child, number))
            child.end()
    each = (seen[-1] - seen[0]) * (1 << 20) / (numbers[-1] - numbers[0])
    return [
        Figure("daemon, at its start", at_start, "MB", AT_START),
        *(Figure(f"daemon, peak over {lines:,} lines, {name}", most, "MB", LOADED if place == 0 else None)
          for place, (name, most) in enumerate(peaks.items())),
        Figure(f"daemon, each open message beyond {numbers[0]:,}", each, "bytes", EACH),
        Figure(f"daemon, all of it with {numbers[-1]:,} open messages", seen[-1], "MB"),
    ]  # fmt: skip


def middle(rounds: Sequence[list[Curve]]) -> list[Curve]:
    """The median of each point."""
    found = []
    for curves in zip(*rounds, strict=True):
        points = [
            Point(same[0].at, *(statistics.median(values) for values in list(zip(*same, strict=True))[1:]))
            for same in zip(*(curve.points for curve in curves), strict=True)
        ]
        found.append(Curve(curves[0].way, points))
    return found


def whole(points: Sequence[Point]) -> float:
    """What a line costs of all that were read, of what it cost of those up to the first point."""
    done, cpu = 0, 0.0
    for point in points:
        cpu += point.micros * (point.at - done)
        done = point.at
    return cpu / done / points[0].micros


def judged(name: str, curves: Iterable[Curve]) -> list[Figure]:
    """The ratios of a part's curves, and what an open message takes."""
    part = PARTS[name]
    found = []
    for curve in curves:
        first, last = curve.points[0].at, curve.points[-1].at
        what = f"{part.title.lower()}, {curve.way}: {last:,} against {first:,}"
        found.append(Figure(what, curve.ratio, "of the CPU a line", part.most))
        if name == "lines":
            what = f"{part.title.lower()}, {curve.way}: all {last:,} against {first:,}"
            found.append(Figure(what, whole(curve.points), "of the CPU a line"))
        if name == "open":
            found.append(Figure(f"memory of an open message, {curve.way}", curve.each, "bytes", EACH))
    return found
