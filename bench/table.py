"""What `make bench` tells of its runs: figures of each contender, as text and as tables in docs/performance.md."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from bench.contenders import BARE, IMPORT, PFLOGSUMM, READING
from bench.measure import ROOT, Run

PAGE = ROOT / "docs" / "performance.md"
Figures = dict[str, float | None]


class Column(NamedTuple):
    """A column of a table, and what of the figures is in it."""

    head: str
    key: str
    form: str


COLUMNS = (
    Column("lines/CPU s", "lines_a_second", ",.0f"),
    Column("µs a line", "microseconds_a_line", ".2f"),
    Column("CPU s", "seconds", ".2f"),
    Column("wall s", "wall", ".2f"),
    Column("peak MB", "megabytes", ".1f"),
    Column("rows", "rows", ",.0f"),
    Column("x reading's CPU", "floor", ".1f"),
    Column("x pflogsumm's speed", "pflogsumm", ".2f"),
    Column("spread", "spread", ".0%"),
)
MIXED = (
    Column("µs a line, no store", "bare", ".2f"),
    Column("into SQLite", "import", ".2f"),
    Column("rows", "rows", ",.0f"),
    Column("x reading's CPU", "floor", ".1f"),
    Column("x pflogsumm's speed", "pflogsumm", ".2f"),
)


def middle(runs: Sequence[Run]) -> Run:
    """The median of seconds, the greatest memory, and the rows, which do not change."""
    return Run(
        statistics.median(run.cpu for run in runs), max(run.memory for run in runs),
        statistics.median(run.wall for run in runs), runs[0].rows,
    )  # fmt: skip


def figures(runs: Mapping[str, Sequence[Run]], lines: Mapping[str, int]) -> dict[str, Figures]:
    """What is told of each contender.

    floor: of the CPU that reading alone takes. pflogsumm: of its speed; None where it took no part. spread: between the
    cheapest and the dearest run.
    """
    cost = {name: middle(made).cpu / lines[name] for name, made in runs.items()}
    found: dict[str, Figures] = {}
    for name, made in runs.items():
        run = middle(made)
        times = [one.cpu for one in made]
        found[name] = {
            "lines": lines[name], "lines_a_second": 1 / cost[name], "microseconds_a_line": cost[name] * 1e6,
            "seconds": run.cpu, "wall": run.wall, "megabytes": run.memory, "rows": run.rows,
            "floor": cost[name] / cost[READING],
            "pflogsumm": cost[PFLOGSUMM] / cost[name] if PFLOGSUMM in cost else None,
            "spread": (max(times) - min(times)) / run.cpu,
        }  # fmt: skip
    return found


def of_mix(told: Mapping[str, Figures]) -> Figures:
    """The line of a mix: what its figures come down to."""
    mine = told[IMPORT]
    return {
        "bare": told[BARE]["microseconds_a_line"], "import": mine["microseconds_a_line"], "rows": mine["rows"],
        "floor": mine["floor"], "pflogsumm": mine["pflogsumm"],
    }  # fmt: skip


def cells(of: Figures, columns: Iterable[Column]) -> list[str]:
    values = ((of[column.key], column.form) for column in columns)
    return ["" if value is None else format(value, form) for value, form in values]


def table(title: str, told: Mapping[str, Figures], columns: Sequence[Column]) -> None:
    """Print figures."""
    rows = [[title, *(column.head.replace("µ", "u") for column in columns)]]
    rows += [[name, *cells(of, columns)] for name, of in told.items()]
    first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *others in rows:
        print(name.ljust(first), *(cell.rjust(width) for cell, width in zip(others, widths, strict=True)), sep="  ")


def document(
    target: str, title: str, told: Mapping[str, Figures], columns: Sequence[Column], note: str = ""
) -> None:
    """Put figures, and a note under them, into the page about performance, at the mark of a target."""
    rows = [[title, *(column.head for column in columns)], ["---"] * (len(columns) + 1)]
    rows += [[name, *cells(of, columns)] for name, of in told.items()]
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows).replace("| --- ", "|---").replace("--- |", "---|")
    text += f"\n\n{note}" if note else ""
    place = re.compile(rf"(?<=<!-- make {target} -->\n).*?(?=<!-- -->)", re.DOTALL)
    changed, times = place.subn(lambda _: f"\n{text}\n\n", PAGE.read_text(), count=1)
    if times != 1:
        raise SystemExit(f"bench: {PAGE.name} has no place for it; write  <!-- make {target} -->  and  <!-- -->")
    PAGE.write_text(changed)

