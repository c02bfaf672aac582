"""Measures lines per CPU second and memory of `postsink import`, beside reading alone and pflogsumm.

    make bench                        # a million lines; five runs of each, in turns
    make bench ARGS="--lines 200000 --rounds 3"

CPU seconds are user and system time of the whole process with its children, start-up included, so they
depend little on what else the machine does. Runs of the contenders take turns, and the median counts. The
log is made once and kept in build/bench. The exit status is 1 where import is below the floor or above the
memory limit, or scrub has less than half of its speed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
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
IMPORT, SCRUB = "postsink import", "postsink scrub"
FLOOR = 300_000  # lines per CPU second
MEMORY = 60.0  # MB
SHARE = 0.5  # of import's speed that scrub must have


class Run(NamedTuple):
    """What one run cost."""

    cpu: float  # seconds
    memory: float  # MB of resident set, at its peak


class Contender(NamedTuple):
    """A command that reads a log."""

    name: str
    command: Callable[[Path], Sequence[str]]


def measured(command: Sequence[str], folder: Path) -> Run:
    """Run a command; wait4 tells what it and its children used.

    This process stays small on purpose: what it holds at a fork counts as the child's peak.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            command, cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words,
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            words.seek(0)
            said = words.read().decode("utf-8", "replace").strip()[-1000:]
            sys.exit(f"bench: {command[0]} ended with {child.returncode}: {said}")
    return Run(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def made_log(lines: int, seed: int) -> Path:
    """The generated log, made when it is missing or when the generator changed since."""
    log = CACHE / f"mail-{lines}-{seed}.log"
    sources = [ROOT / "bench" / name for name in ("generate.py", "lines.py", "pools.py")]
    if not log.exists() or log.stat().st_mtime < max(source.stat().st_mtime for source in sources):
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"Making a log of {lines} lines in {log} ...", file=sys.stderr)
        partial = log.with_suffix(".partial")
        with partial.open("wb") as out:
            command = [sys.executable, "-m", "bench.generate", "--lines", str(lines), "--seed", str(seed)]
            subprocess.run(command, stdout=out, check=True, cwd=ROOT)
        partial.rename(log)
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
    """What is measured; pflogsumm where it is installed."""
    found = [
        Contender(IMPORT, lambda log: [*program(folder), "import", str(log)]),
        Contender(SCRUB, lambda log: [*program(folder), "scrub", str(log)]),
        Contender("for line in file", lambda log: [sys.executable, "-c", READING, str(log)]),
    ]
    tool = shutil.which("pflogsumm", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if tool:
        found.append(Contender("pflogsumm", lambda log: [tool, "--detail", "0", str(log)]))
    else:
        print("pflogsumm is not installed: left out (apt-get install pflogsumm).", file=sys.stderr)
    return found


def race(log: Path, rounds: int, folder: Path) -> dict[str, list[Run]]:
    """All runs, the contenders in turns; each import begins with no store."""
    runs: dict[str, list[Run]] = {}
    entered = contenders(folder)
    for number in range(rounds):
        for name, command in entered:
            for old in folder.glob("s.sqlite*"):
                old.unlink()
            runs.setdefault(name, []).append(measured(command(log), folder))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr)
    return runs


def table(runs: dict[str, list[Run]], lines: int) -> dict[str, Run]:
    """Print the medians and return them."""
    medians = {
        name: Run(statistics.median(run.cpu for run in made), max(run.memory for run in made))
        for name, made in runs.items()
    }
    print(f"{'':18}{'lines/CPU s':>12}{'us a line':>11}{'CPU s':>8}{'peak MB':>9}{'spread':>8}")
    for name, run in medians.items():
        times = [one.cpu for one in runs[name]]
        spread = (max(times) - min(times)) / run.cpu
        print(f"{name:18}{lines / run.cpu:12,.0f}{run.cpu / lines * 1e6:11.2f}{run.cpu:8.2f}"
              f"{run.memory:9.1f}{spread:8.0%}")
    return medians


def main() -> int:
    options = argparse.ArgumentParser(prog="make bench", description="Measure postsink import.")
    options.add_argument("--lines", type=int, default=1_000_000, help="lines of the generated log")
    options.add_argument("--seed", type=int, default=1, help="seed of the generated log")
    options.add_argument("--rounds", type=int, default=5, help="runs of each contender")
    options.add_argument("--floor", type=float, default=FLOOR, help="least lines per CPU second of import")
    options.add_argument("--memory", type=float, default=MEMORY, help="most MB of import")
    given = options.parse_args()
    log = made_log(given.lines, given.seed)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as name:
        folder = Path(name)
        made_installation(folder)
        medians = table(race(log, given.rounds, folder), given.lines)
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
