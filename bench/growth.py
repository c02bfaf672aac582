"""Measures what a line costs as things grow: lines read, messages open, rows in the store, distinct addresses.

    make bench-growth                                # up to a million lines and rows: some minutes
    make bench-growth ARGS=--full                    # up to five million lines, ten million rows: half an hour
    make bench-growth ARGS="--only open --sizes 1000,10000"
    make bench-growth ARGS="--full --rounds 3 --docs"  # tables and plots into docs/, too
    make bench-growth ARGS="--only model"            # the constants of the cost model

Of several rounds the median counts. A ratio is that of the last point of a curve to its first, the limits are the
issue's; the exit status is 1 where one is passed. bench/curves.py says how it is measured.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.curves import PARTS, Curve, Figure, daemon, judged, middle
from bench.measure import CACHE, ROOT, made_installation

PAGE = ROOT / "docs" / "performance.md"
MEMORY, MODEL = "memory", "model"
NAMES = (*PARTS, MEMORY, MODEL)


def heads(name: str) -> list[str]:
    """What stands over the columns of a part's table."""
    part = PARTS[name]
    return [part.noun, "", "us of CPU a line", "of the first", "MB", *([part.each] if part.each else [])]


def cells(name: str, curves: Iterable[Curve]) -> list[list[str]]:
    """The rows of a part's table."""
    found = []
    for curve in curves:
        for point in curve.points:
            row = [f"{point.at:,}", curve.way, f"{point.micros:.2f}", f"{point.micros / curve.points[0].micros:.2f}",
                   f"{point.memory:.1f}"]  # fmt: skip
            if PARTS[name].each:
                row.append(f"{point.bytes:,.0f}" if point.bytes else "-")
            found.append(row)
    return found


def printed(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) + 2 for column in zip(head, *rows, strict=True)]
    lines = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    return "\n".join(map("".join, lines))


def written(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a document."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines).replace("us of", "µs of")


def verdicts(figures: Iterable[Figure]) -> list[list[str]]:
    """A row for each single number, beside what is asked."""
    return [
        [one.what, f"{one.value:,.2f}" if one.value < 20 else f"{one.value:,.0f}", one.unit,
         "-" if one.most is None else f"{one.most:g}", "MISSED" if one.is_missed else ""]
        for one in figures
    ]  # fmt: skip


VERDICT = ("what", "value", "", "at most", "")


def put(page: str, mark: str, text: str) -> str:
    """Put a text between a page's markers of that name."""
    pattern = rf"(<!-- bench-growth {mark} -->\n).*?(<!-- -->)"
    found, number = re.subn(pattern, lambda place: f"{place[1]}\n{text}\n\n{place[2]}", page, flags=re.DOTALL)
    if number != 1:
        sys.exit(f"bench: {PAGE.name} has not one marker <!-- bench-growth {mark} -->; put it where the table is to be")
    return found


def document(name: str, curves: Sequence[Curve], figures: Sequence[Figure], page: Path = PAGE) -> None:
    """Put a part's table, and its plot, into the page about performance."""
    parts = []
    if curves:
        from bench.plots import draw

        part = PARTS[name]
        picture = page.with_name(f"growth-{name}.svg")
        picture.write_text(draw(curves, part.noun))
        parts = [f"![{part.title}: CPU a line, and memory]({picture.name})", written(heads(name), cells(name, curves))]
    parts.append(written(VERDICT[:4], [row[:4] for row in verdicts(figures)]))
    page.write_text(put(page.read_text(), name, "\n\n".join(parts)))


def measure(name: str, folder: Path, sizes: Sequence[int], rounds: int) -> tuple[list[Curve], list[Figure]]:
    """A part's curves and what they are judged by."""
    if name == MEMORY:
        return [], daemon(folder)
    made = []
    for number in range(rounds):
        made.append(PARTS[name].measure(folder, sizes))
        print(f"{name}: round {number + 1} of {rounds} done", file=sys.stderr)
    curves = middle(made)
    return curves, judged(name, curves)


def sizes_of(text: str) -> list[int]:
    """Sizes as they are typed."""
    return sorted(int(size) for size in text.split(","))


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="make bench-growth", description="Measure what a line costs as things grow.")
    parser.add_argument("--only", choices=NAMES, action="append", help="this part alone; may be given again")
    parser.add_argument("--sizes", type=sizes_of, help="sizes, with commas, in place of the usual ones")
    parser.add_argument("--full", action="store_true", help="the largest sizes, too: half an hour")
    parser.add_argument("--rounds", type=int, default=1, help="runs of each curve")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument("--docs", action="store_true", help="put tables and plots into docs/, too")
    return parser.parse_args()


def modelled(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Measure the cost model, and tell it."""
    from bench import sizing

    found = {}
    for name, head, rows in sizing.tables(folder):
        found[name] = [dict(zip(head, row, strict=True)) for row in rows]
        if not given.json:
            print(f"\n{name}", printed(head, rows), sep="\n", flush=True)
        if given.docs:
            PAGE.write_text(put(PAGE.read_text(), name, written(head, rows)))
    return found


def main() -> int:
    given = options()
    CACHE.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    missed = 0
    for name in given.only or NAMES:
        sizes = () if name not in PARTS else given.sizes or PARTS[name].sizes + (PARTS[name].more if given.full else ())
        with tempfile.TemporaryDirectory(prefix="growth-", dir=CACHE) as folder:
            if name == MODEL:
                found[name] = modelled(Path(folder), given)
                continue
            made_installation(Path(folder))
            curves, figures = measure(name, Path(folder), sizes, given.rounds)
        missed += sum(one.is_missed for one in figures)
        found[name] = {
            "curves": {curve.way: [point._asdict() for point in curve.points] for curve in curves},
            "figures": [{**one._asdict(), "missed": one.is_missed} for one in figures],
        }
        if not given.json:
            tables = [(heads(name), cells(name, curves))] if curves else []
            tables.append((list(VERDICT), verdicts(figures)))
            print(f"\n{name}", *(printed(*table) for table in tables), sep="\n", flush=True)
        if given.docs:
            document(name, curves, figures)
    if given.json:
        print(json.dumps(found, indent=1))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
