"""Measures the wall time of an import of several hosts' logs by several processes against that by one.

    make bench-jobs                   # four hosts, 500,000 lines; five runs of each, in turns
    make bench-jobs ARGS="--lines 100000 --rounds 3 --jobs 3"

Runs take turns, and the medians count. Wall time needs a machine that does nothing else: two processes that read, and
one that writes what they read, share two cores. The exit status is 1 where two processes take more than the given part
of the time of one, or where the rows differ.
"""

import argparse
import hashlib
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.measure import CACHE, PUBLIC, ROOT, Kind, made_installation, made_log, program

CEILING = 0.7  # of the time of one process
SEEDS = (1, 2)  # logs, of two hosts each
_HOST = re.compile(rb"(?<=\+00:00 )(\w+)(?= )")


def files(lines: int, folder: Path, kind: Kind = PUBLIC) -> list[Path]:
    """A file for each host of some generated logs."""
    found = []
    for seed in SEEDS:
        hosts: dict[bytes, list[bytes]] = {}
        with made_log(lines // len(SEEDS), seed, kind).open("rb") as log:
            for line in log:
                host = _HOST.search(line)
                assert host
                own = b"%b-%d" % (host[0], seed)
                hosts.setdefault(own, []).append(line[: host.start()] + own + line[host.end() :])
        for name, own_lines in hosts.items():
            found.append(folder / f"{name.decode()}.log")
            found[-1].write_bytes(b"".join(own_lines))
    return found


def took(jobs: int, logs: Sequence[Path], folder: Path) -> tuple[float, str]:
    """Import into a new store; return seconds, and a digest of the rows."""
    for old in folder.glob("s.sqlite*"):
        old.unlink()
    command = [*program(folder), "import", "--jobs", str(jobs), *map(str, logs)]
    start = time.monotonic()
    subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stderr=subprocess.DEVNULL
    )
    seconds = time.monotonic() - start
    store = sqlite3.connect(folder / "s.sqlite")
    digest = hashlib.sha256()
    for view in ("delivery_text", "reject_text"):
        for row in store.execute(f"SELECT * FROM {view} ORDER BY id"):
            digest.update(repr(row).encode())
    store.close()
    return seconds, digest.hexdigest()


def main() -> int:
    options = argparse.ArgumentParser(prog="make bench-jobs", description="Measure postsink import --jobs.")
    options.add_argument("--lines", type=int, default=500_000, help="lines of all hosts")
    options.add_argument("--rounds", type=int, default=5, help="runs of each")
    options.add_argument("--jobs", type=int, default=2, help="processes that read")
    options.add_argument("--ceiling", type=float, default=CEILING, help="most part of the time of one process")
    given = options.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as name:
        folder = Path(name)
        made_installation(folder)
        logs = files(given.lines, folder)
        runs: dict[int, list[float]] = {1: [], given.jobs: []}
        digests = set()
        for number in range(given.rounds):
            for jobs, times in runs.items():
                seconds, digest = took(jobs, logs, folder)
                times.append(seconds)
                digests.add(digest)
            print(f"round {number + 1} of {given.rounds} done", file=sys.stderr)
    one, several = (statistics.median(times) for times in runs.values())
    part = several / one
    for jobs, times in runs.items():
        spread = (max(times) - min(times)) / statistics.median(times)
        print(f"--jobs {jobs:2} {statistics.median(times):7.2f} s  spread {spread:4.0%}")
    print(f"{part:.2f} of the time of one process, {one / several:.2f} times as fast")
    if len(digests) != 1:
        print("bench: the rows differ.", file=sys.stderr)
    if part > given.ceiling:
        print(f"bench: that is more than {given.ceiling:g}.", file=sys.stderr)
    return 1 if part > given.ceiling or len(digests) != 1 else 0


if __name__ == "__main__":
    sys.exit(main())
