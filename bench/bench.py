"""Measures lines per CPU second and memory of `postsink import`, beside reading alone and pflogsumm.

    make bench                        # a million lines; five runs of each, in turns
    make bench ARGS="--lines 200000 --rounds 3"
    make bench ARGS=--json            # the figures as one JSON object
    make bench-docs                   # the same as `make bench`, and the table into docs/performance.md

CPU seconds are user and system time of the whole process with its children, start-up included, so they
depend little on what else the machine does. Runs of the contenders take turns, and the median counts. The
log is made once and kept in build/bench. The exit status is 1 where import is below the floor or above the
memory limit, or scrub has less than half of its speed.
"""

import argparse
import gzip
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "bench"
TOKEN = "k7Qm2Zx9RtW4bN8s"  # that of generate.py's header lines
CONFIG = """\
store: s.sqlite
keyring: keyring
seal: {file: seal.key}
timezone: UTC
local_domains: [example.com]
trusted_networks: [192.0.2.0/28]
header_tokens: tokens
"""
READING = "import sys\nfor line in open(sys.argv[1], 'rb'): pass"
# A process's peak of memory begins with that of whoever starts it: here one that holds nothing.
WITNESS = """import os, sys
null = os.open(os.devnull, os.O_WRONLY)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))"""
PAGE = ROOT / "docs" / "performance.md"
TABLE = re.compile(r"(?<=<!-- make bench-docs -->\n).*?(?=<!-- -->)", re.DOTALL)
IMPORT, SCRUB = "postsink import", "postsink scrub"
FLOOR = 300_000  # lines per CPU second
MEMORY = 60.0  # MB
SHARE = 0.5  # of import's speed that scrub must have


class Run(NamedTuple):
    """What one run cost."""

    cpu: float  # seconds
    memory: float  # MB of resident set, at its peak


class Contender(NamedTuple):
    """A command that reads a log, or the same log packed."""

    name: str
    command: Callable[[Path], Sequence[str]]
    packed: bool = False


def measured(command: Sequence[str], folder: Path) -> Run:
    """Run a command; return what it and its children used."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-c", WITNESS, *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
    if child.returncode:
        said = child.stderr.decode("utf-8", "replace").strip()[-1000:]
        sys.exit(f"bench: {command[0]} ended with {child.returncode}: {said}")
    return Run(*map(float, child.stdout.split()))


def made_log(lines: int, seed: int) -> Path:
    """The generated log, made when it is missing or when the generator changed since."""
    log = CACHE / f"mail-{lines}-{seed}.log"
    sources = [ROOT / "bench" / name for name in ("generate.py", "lines.py", "pools.py")]
    if not log.exists() or log.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"Making a log of {lines} lines in {log} ...", file=sys.stderr)
        part = log.with_suffix(".partial")
        with part.open("wb") as out:
            command = [sys.executable, "-m", "bench.generate", "--lines", str(lines), "--seed", str(seed)]
            subprocess.run(command, stdout=out, check=True, cwd=ROOT)
        part.rename(log)
    return log


def made_installation(folder: Path) -> None:
    """A config, a keyring and header tokens, as an operator has them."""
    (folder / "postsink.yaml").write_text(CONFIG)
    (folder / "tokens").write_text(TOKEN + "\n")
    for path in folder.iterdir():
        path.chmod(0o600)
    subprocess.run(
        [*program(folder), "keys", "init"], check=True, cwd=folder, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def program(folder: Path) -> list[str]:
    """The command of the checkout."""
    return [sys.executable, "-m", "sink", "--config", str(folder / "postsink.yaml")]


def contenders(folder: Path) -> list[Contender]:
    """What is measured; other programs where they are installed."""
    found = [
        Contender(IMPORT, lambda log: [*program(folder), "import", str(log)]),
        Contender("... without store", lambda log: [sys.executable, "-m", "bench.pipeline", str(log)]),
        Contender("... of .gz", lambda log: [*program(folder), "import", str(log)], packed=True),
        Contender(SCRUB, lambda log: [*program(folder), "scrub", str(log)]),
        Contender("for line in file", lambda log: [sys.executable, "-c", READING, str(log)]),
        Contender("zcat", lambda log: ["/usr/bin/zcat", str(log)], packed=True),
    ]
    path = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    for name, words in {"pflogsumm": ["--detail", "0"], "postfix-logsums": []}.items():
        tool = shutil.which(name, path=path)
        if tool:
            found.append(Contender(name, partial(_typed, tool, words)))
        else:
            print(f"{name} is not installed: left out.", file=sys.stderr)
    return found


def _typed(tool: str, words: list[str], log: Path) -> list[str]:
    return [tool, *words, str(log)]


def packed(log: Path) -> Path:
    """The same log as logrotate packs it, made once."""
    made = log.with_suffix(".log.gz")
    if not made.exists() or made.stat().st_mtime < log.stat().st_mtime:
        with log.open("rb") as plain, gzip.open(made, "wb", 6) as out:
            shutil.copyfileobj(plain, out, 1 << 20)
    return made


def race(log: Path, rounds: int, folder: Path) -> dict[str, list[Run]]:
    """All runs, the contenders in turns; each import begins with no store."""
    runs: dict[str, list[Run]] = {}
    entered = contenders(folder)
    for number in range(rounds):
        for name, command, is_packed in entered:
            for old in folder.glob("s.sqlite*"):
                old.unlink()
            runs.setdefault(name, []).append(measured(command(packed(log) if is_packed else log), folder))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return runs


def middle(runs: dict[str, list[Run]]) -> dict[str, Run]:
    """The median of the CPU seconds of each contender, and its greatest memory."""
    return {
        name: Run(statistics.median(run.cpu for run in made), max(run.memory for run in made))
        for name, made in runs.items()
    }


def figures(runs: dict[str, list[Run]], lines: int) -> dict[str, dict[str, float]]:
    """What is told of each contender; floor: CPU seconds, of those that reading alone takes."""
    medians = middle(runs)
    floor = medians["for line in file"].cpu
    found = {}
    for name, run in medians.items():
        times = [one.cpu for one in runs[name]]
        found[name] = {
            "lines_a_second": lines / run.cpu, "microseconds_a_line": run.cpu / lines * 1e6, "seconds": run.cpu,
            "megabytes": run.memory, "floor": run.cpu / floor, "spread": (max(times) - min(times)) / run.cpu,
        }  # fmt: skip
    return found


HEADS = ("lines/CPU s", "us a line", "CPU s", "peak MB", "of reading", "spread")
FORMS = ("12,.0f", "11.2f", "8.2f", "9.1f", "11.1f", "8.0%")


def table(told: dict[str, dict[str, float]]) -> None:
    """Print the figures."""
    widths = [int(re.match(r"\d+", form)[0]) for form in FORMS]  # type: ignore[index]
    print(" " * 18 + "".join(head.rjust(width) for head, width in zip(HEADS, widths, strict=True)))
    for name, of in told.items():
        print(f"{name:18}" + "".join(format(value, form) for value, form in zip(of.values(), FORMS, strict=True)))


def document(told: dict[str, dict[str, float]], lines: int) -> None:
    """Put the figures into the page about performance."""
    rows = [f"| of {lines:,} lines | " + " | ".join(HEADS).replace("us", "µs") + " |", "|---" * (len(HEADS) + 1) + "|"]
    for name, of in told.items():
        cells = [format(value, form).strip() for value, form in zip(of.values(), FORMS, strict=True)]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    PAGE.write_text(TABLE.sub(lambda _: "\n" + "\n".join(rows) + "\n\n", PAGE.read_text()))


def main() -> int:
    options = argparse.ArgumentParser(prog="make bench", description="Measure postsink import.")
    options.add_argument("--lines", type=int, default=1_000_000, help="lines of the generated log")
    options.add_argument("--seed", type=int, default=1, help="seed of the generated log")
    options.add_argument("--rounds", type=int, default=5, help="runs of each contender")
    options.add_argument("--floor", type=float, default=FLOOR, help="least lines per CPU second of import")
    options.add_argument("--memory", type=float, default=MEMORY, help="most MB of import")
    options.add_argument("--json", action="store_true", help="as one JSON object")
    options.add_argument("--docs", action="store_true", help="put the table into docs/performance.md, too")
    given = options.parse_args()
    log = made_log(given.lines, given.seed)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as name:
        folder = Path(name)
        made_installation(folder)
        runs = race(log, given.rounds, folder)
    medians, told = middle(runs), figures(runs, given.lines)
    if given.json:
        print(json.dumps(told, indent=1))
    else:
        table(told)
    if given.docs:
        document(told, given.lines)
    mine = medians[IMPORT]
    missed = []
    if given.lines / mine.cpu < given.floor:
        missed.append(f"below the floor of {given.floor:,.0f} lines per CPU second")
    if mine.memory > given.memory:
        missed.append(f"above the limit of {given.memory:g} MB")
    for one in missed:
        print(f"bench: {IMPORT} is {one}.", file=sys.stderr)
    if medians[SCRUB].cpu * SHARE > mine.cpu:
        missed.append(f"less than {SHARE:g} of {IMPORT}'s speed")
        print(f"bench: {SCRUB} has {missed[-1]}.", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
