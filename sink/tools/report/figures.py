"""The figures of a report, as inline SVG: matplotlib lays them out, the page's style sheet colours them.

Text stays text. A colour is a stand-in that becomes a variable of the style sheet, so that one figure serves both
themes. Each figure is drawn twice, for wide and for narrow windows: scaled down to a telephone it could not be read.
Importing this loads matplotlib, which keeps a list of fonts: in a folder that is gone at once, since the user that a
report is made as may have none, and root is none to read somebody's settings from.
"""

import logging
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any, Final

from sink.fault import UNAVAILABLE, Fault
from sink.tools.report.parts import COLOURS, Columns, Curves, Dots, Plot, Rows, colour

try:
    with tempfile.TemporaryDirectory(prefix="postsink-") as _folder:
        os.environ["MPLCONFIGDIR"] = _folder
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator
except ImportError:
    words = "the plots need matplotlib; type: apt-get install python3-matplotlib, or pip install 'postsink[report]'"
    raise Fault(UNAVAILABLE, words) from None

logging.getLogger("matplotlib").setLevel(logging.CRITICAL + 1)  # it warns of fonts, which browsers choose

WIDE, NARROW = (720, 250), (340, 250)  # units of SVG; 72 are matplotlib's inch
_STAND_INS: Final = {name: f"#0a0b{number:02x}" for number, name in enumerate((*COLOURS, "ink", "line"))}
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11, "text.usetex": False,
    "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.titlesize": 11, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.6,
    "axes.edgecolor": _STAND_INS["ink"], "axes.labelcolor": _STAND_INS["ink"], "text.color": _STAND_INS["ink"],
    "xtick.color": _STAND_INS["ink"], "ytick.color": _STAND_INS["ink"], "grid.color": _STAND_INS["line"],
}  # fmt: skip
MARKS: Final = ("o", "s", "D", "^")
_STEPS: Final = (1, 2, 5, 10)
DASHES: Final = ("-", "--", ":", "-.")


def draw(plot: Plot, name: str, *, narrow: bool) -> str:
    """Return a plot as an SVG element; name: what its ids begin with."""
    width, height = NARROW if narrow else WIDE
    if isinstance(plot, Rows | Dots):
        height = 66 + 27 * len(plot.labels)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not those of the folder where the command was typed
        matplotlib.rcParams.update({**_SETTINGS, "svg.hashsalt": name})
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        axes = figure.add_subplot()
        axes.tick_params(length=3)
        _DRAWN[type(plot)](axes, plot, narrow)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return _inline(out.getvalue(), name)


def warm_up() -> None:
    """Have matplotlib load all that it needs, fonts too: root may read it, who it becomes perhaps not."""
    for plot in (
        Columns(["1"], {"": [1]}, "", ""), Rows(["1"], {"": [1]}, ""), Curves({"": ([1.0], [100.0])}, "", ""),
        Dots(["1"], {"": [1.0]}, ""),
    ):  # fmt: skip
        draw(plot, "none", narrow=True)


def _columns(axes: Any, plot: Columns, narrow: bool) -> None:
    places = range(len(plot.labels))
    below = [0] * len(plot.labels)
    for place, (name, values) in enumerate(plot.series.items()):
        hue = _STAND_INS[colour(name, place)]
        axes.bar(places, values, bottom=below, width=0.86 if len(places) < 60 else 1.0, color=hue)
        below = [low + value for low, value in zip(below, values, strict=True)]
    room = max(1, (230 if narrow else 600) // (8 * max(map(len, plot.labels))))  # units of a character
    step = -(-len(places) // room)
    axes.set_xticks(list(places)[::step], list(plot.labels)[::step])
    axes.set_xlim(-0.6, max(len(places), 8) - 0.4)  # a single column does not fill the figure
    axes.set_ylim(0, 1.05 * max(1, *below))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=_STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _rows(axes: Any, plot: Rows, narrow: bool) -> None:
    places = range(len(plot.labels))
    left = [0.0] * len(plot.labels)
    for place, (name, values) in enumerate(plot.series.items()):
        axes.barh(places, values, left=left, height=0.62, color=_STAND_INS[colour(name, place)])
        left = [low + value for low, value in zip(left, values, strict=True)]
    _labelled(axes, plot.labels)
    axes.set_xlabel(plot.x)
    if plot.whole:
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    else:
        axes.set_xlim(0, 1.03 * max(1, *left))
        axes.xaxis.set_major_locator(MaxNLocator(3 if narrow else 6, integer=True, steps=_STEPS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _labelled(axes: Any, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


_TICKS: Final = {
    0.01: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 21_600: "6 h",
    86_400: "1 d", 604_800: "7 d", 31_536_000: "1 y",
}  # fmt: skip


def _seconds(axes: Any, low: float, high: float, narrow: bool) -> None:
    """Make the x axis one of seconds in powers, with words that people use of time."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    ticks = ticks[:: 1 + len(ticks) // 5] if narrow else ticks
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _TICKS.get(round(value, 2), "")))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _curves(axes: Any, plot: Curves, narrow: bool) -> None:
    for (xs, ys), hue, dash in zip(plot.series.values(), COLOURS, DASHES, strict=False):
        axes.plot(xs, ys, drawstyle="steps-post", color=_STAND_INS[hue], linestyle=dash, linewidth=2)
    last = max(x for xs, _ in plot.series.values() for x in xs)
    seen = min(x for xs, ys in plot.series.values() for x, y in zip(xs, ys, strict=True) if y >= 1)
    first = max((tick for tick in _TICKS if tick <= min(seen, 600)), default=0.1)
    _seconds(axes, max(first, 0.1), max(100.0 * first, last * 1.5), narrow)
    axes.set_ylim(0, 104)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)


def _dots(axes: Any, plot: Dots, narrow: bool) -> None:
    for (number, values), mark in zip(enumerate(plot.series.values()), MARKS, strict=False):
        seen = [max(value, 0.01) for value in values]  # what is 0 has a place, too
        axes.plot(seen, range(len(seen)), mark, color=_STAND_INS[COLOURS[number]], markersize=8)
    _labelled(axes, plot.labels)
    _seconds(axes, 0.007, max(100.0, *(2 * value for values in plot.series.values() for value in values)), narrow)
    axes.set_xlabel(plot.x)


_DRAWN: Final[dict[type, Callable[[Any, Any, bool], None]]] = {
    Columns: _columns, Rows: _rows, Curves: _curves, Dots: _dots,
}  # fmt: skip


def _inline(text: str, name: str) -> str:
    """Return an SVG file as an element: without prologue and metadata, its ids apart from another one's."""
    text = re.sub(r"(?s)\A.*?(?=<svg)|<metadata>.*?</metadata>|<!--.*?-->", "", text)
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', text)
    used = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    for hue, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, f"var(--{hue})")
    text = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1 'DejaVu Sans', Verdana, sans-serif", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()
