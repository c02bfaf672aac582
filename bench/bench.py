"""Measures what `postsink` takes for a log, in each of its ways, beside reading alone and other programs.

    make bench                        # a million lines; five runs of each, in turns
    make bench ARGS="--lines 200000 --rounds 3"
    make bench ARGS="--mix attack --headers all"
    make bench ARGS=--json            # the figures as one JSON object
    make bench-mixes                  # of each kind of host, a line: mixes.py
    make bench-docs                   # both, and their tables into docs/performance.md

CPU seconds are user and system time of the whole process with its children, start-up included, so they depend little on
what else the machine does; live, they are those of the daemon and rsyslog's child, start-up left out. Runs of the
contenders take turns, and the median counts. Logs are made once and kept in build/bench. The exit status is 1 where
import is below the floor or above the memory limit, or scrub has less than half of its speed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import measure, table
from bench.contenders import IMPORT, SCRUB, Contender, Course, all_of_them, few
from bench.measure import Kind, Run, made_log
from bench.mixes import HEADERS, MIXES

FLOOR = 300_000  # lines per CPU second
MEMORY = 60.0  # MB
SHARE = 0.5  # of import's speed that scrub must have


def race(entered: Sequence[Contender], rounds: int, of: object) -> dict[str, table.Figures]:
    """All runs, the contenders in turns; return what is told of them."""
    runs: dict[str, list[Run]] = {one.name: [] for one in entered}
    for number in range(rounds):
        for one in entered:
            runs[one.name].append(one.run())
        print(f"{of}: round {number + 1} of {rounds} done", file=sys.stderr)
    return table.figures(runs, {one.name: one.lines for one in entered})


def whole(given: argparse.Namespace) -> int:
    """Everybody on one log."""
    kind, number = Kind(given.mix, given.headers), given.lines or 1_000_000
    log = made_log(number, given.seed, kind)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=measure.CACHE) as name, ExitStack() as stack:
        course = Course(Path(name), log, number)
        told = race(all_of_them(course, stack, kind), given.rounds or 5, kind)
    tell("bench-docs", f"of {number:,} lines", told, table.COLUMNS, given, note=side_by_side(told))
    return missed(told, given)


def side_by_side(told: dict[str, table.Figures]) -> str:
    """What a second process is good for."""
    one, two = (told[name]["wall"] for name in told if name.endswith(("hosts", "--jobs 2")))
    assert one and two
    return f"`--jobs 2` took {two / one:.2f} of the wall time of one process over the same files."


def mixes(given: argparse.Namespace) -> int:
    """A few on the log of each kind of host."""
    number = given.lines or 200_000
    kinds = [Kind(mix, given.headers) for mix in MIXES]
    if given.headers == "some":
        kinds[1:1] = [Kind("public", "none"), Kind("public", "all")]
    told: dict[str, dict[str, table.Figures]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=measure.CACHE) as name:
        for kind in kinds:
            course = Course(Path(name, f"{kind.mix}-{kind.headers}"), made_log(number, given.seed, kind), number)
            told[str(kind)] = race(few(course), given.rounds or 3, kind)
    lines = {kind: table.of_mix(of) for kind, of in told.items()}
    tell("bench-mixes", f"of {number:,} lines", lines, table.MIXED, given, told)
    return 0


def tell(
    target: str, title: str, told: dict[str, table.Figures], columns: Sequence[table.Column],
    given: argparse.Namespace, whole: object = None, note: str = "",
) -> None:  # fmt: skip
    """Print figures, and a note under them; whole: as JSON, these instead."""
    if given.json:
        print(json.dumps(whole or told, indent=1))
    else:
        table.table(title, told, columns)
        print(note, end="\n" * bool(note))
    if given.docs:
        table.document(target, title, told, columns, note)


def missed(told: dict[str, table.Figures], given: argparse.Namespace) -> int:
    """Say what is not as asked; 1 where anything is."""
    mine = told[IMPORT]
    speed, memory, scrub = mine["lines_a_second"], mine["megabytes"], told[SCRUB]["lines_a_second"]
    assert speed and memory and scrub
    found = []
    if speed < given.floor:
        found.append(f"{IMPORT} is below the floor of {given.floor:,.0f} lines per CPU second")
    if memory > given.memory:
        found.append(f"{IMPORT} is above the limit of {given.memory:g} MB")
    if scrub < speed * SHARE:
        found.append(f"{SCRUB} has less than {SHARE:g} of {IMPORT}'s speed")
    for one in found:
        print(f"bench: {one}.", file=sys.stderr)
    return 1 if found else 0


def options(words: Sequence[str] | None) -> argparse.Namespace:
    known = argparse.ArgumentParser(prog="make bench", description="Measure postsink.")
    known.add_argument("--lines", type=int, help="lines of the generated log (1000000; of each mix 200000)")
    known.add_argument("--seed", type=int, default=1, help="seed of the generated log")
    known.add_argument("--mix", choices=[*MIXES, "all"], default="public", help="kind of host; all: a line for each")
    known.add_argument("--headers", choices=HEADERS, default="some", help="of which messages they are logged")
    known.add_argument("--rounds", type=int, help="runs of each contender (5; of each mix 3)")
    known.add_argument("--floor", type=float, default=FLOOR, help="least lines per CPU second of import")
    known.add_argument("--memory", type=float, default=MEMORY, help="most MB of import")
    known.add_argument("--json", action="store_true", help="as one JSON object")
    known.add_argument("--docs", action="store_true", help="put the table into docs/performance.md, too")
    return known.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    given = options(words)
    measure.CACHE.mkdir(parents=True, exist_ok=True)
    return mixes(given) if given.mix == "all" else whole(given)


if __name__ == "__main__":
    sys.exit(main())
