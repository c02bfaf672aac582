"""Draws curves of growth as SVG files for docs/: on white, so that they can be read in light and dark themes.

Text stays text. The same curves give the same file.
"""

import os
import tempfile
from collections.abc import Sequence
from io import StringIO
from typing import Any

from bench.curves import Curve

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "postsink", "font.family": "sans-serif", "font.size": 11,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#dddddd", "grid.linewidth": 0.6, "savefig.facecolor": "white", "text.parse_math": False,
}  # fmt: skip
STYLES = (("#1b6f8a", "o", "-"), ("#b8651b", "s", "--"), ("#7a4fa3", "D", ":"))
SIZE = (8.6, 3.0)  # inches


def draw(curves: Sequence[Curve], noun: str) -> str:
    """Return an SVG of CPU a line and of memory over the size of what grows."""
    with tempfile.TemporaryDirectory(prefix="bench-plots-") as folder:
        os.environ["MPLCONFIGDIR"] = folder  # it keeps a list of fonts
        import matplotlib
        from matplotlib.figure import Figure

        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # not those of whoever measures
            matplotlib.rcParams.update(SETTINGS)
            figure = Figure(figsize=SIZE, layout="constrained")
            left, right = figure.subplots(1, 2)
            _plot(left, [(curve.way, [(point.at, point.micros) for point in curve.points]) for curve in curves])
            _plot(right, [(curve.way, [(point.at, point.memory) for point in curve.points]) for curve in curves])
            for axes, label in ((left, "µs of CPU a line"), (right, "MB of memory")):
                axes.set_xlabel(noun)
                axes.set_ylabel(label)
            left.legend(frameon=False)
            out = StringIO()
            figure.savefig(out, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _plot(axes: Any, series: Sequence[tuple[str, Sequence[tuple[int, float]]]]) -> None:
    for (way, points), (hue, mark, dash) in zip(series, STYLES, strict=False):
        axes.plot(*zip(*points, strict=True), color=hue, marker=mark, linestyle=dash, label=way)
    sizes = sorted({at for _, points in series for at, _ in points})
    axes.set_xscale("symlog", linthresh=max(1, next((size for size in sizes if size), 1)))  # 0 has a place, too
    axes.set_xticks(sizes, [short(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 1.15 * max(value for _, points in series for _, value in points))


def short(size: int) -> str:
    """A size as it fits below an axis."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit:
            return f"{size / unit:g}{letter}"
    return str(size)
