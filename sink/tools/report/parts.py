"""What the page of a report consists of: sections, tables, figures; and how numbers are written in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

COLOURS: Final = ("sea", "amber", "stone", "rose")  # variables of the style sheet, in the order of series
MEANT: Final = {"deferred": "amber", "failed": "rose", "direction unknown": "stone", "not known": "stone"}
WAYS: Final[dict[int | None, str]] = {0: "incoming", 1: "outgoing", None: "direction unknown"}


@dataclass(frozen=True)
class Columns:
    """Stacked columns over time or classes; `series` by name, each as long as `labels`."""

    labels: Sequence[str]
    series: Mapping[str, Sequence[int]]
    x: str
    y: str


@dataclass(frozen=True)
class Rows:
    """Stacked horizontal bars with a label each; with `whole` their numbers are parts of a hundred."""

    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    x: str
    whole: bool = False


@dataclass(frozen=True)
class Curves:
    """Shares in a hundred that are reached within some seconds: (seconds, share) by name."""

    series: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    x: str
    y: str


@dataclass(frozen=True)
class Dots:
    """Seconds on a scale of powers of ten, with a label for each line of dots."""

    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    x: str


Plot = Columns | Rows | Curves | Dots


@dataclass(frozen=True)
class Table:
    """Numbers with their heads; the first cell of a row is its head."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A plot, what it shows in one sentence, and the same numbers as a table."""

    name: str
    title: str
    plot: Plot
    table: Table


@dataclass
class Section:
    """A part of the page under a heading of its own."""

    name: str
    title: str
    words: str = ""
    parts: list[Figure | Table] = field(default_factory=list)


def colour(name: str, place: int) -> str:
    """Return the colour of a series: what means the same looks the same in all figures."""
    return MEANT.get(name, COLOURS[place])


def number(value: int) -> str:
    """Return a number as people read it."""
    return f"{value:,}"


def share(part: float, whole: float) -> str:
    """Return a part as parts in a hundred."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def seconds(value: float) -> str:
    """Return seconds, with as many digits as matter."""
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def moment(second: int | None) -> str:
    """Return a second of UTC."""
    return "-" if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")
