"""How long a report over many rows takes, and how much memory.

    python -m bench.report --rows 1000000

A generated log is imported, then its rows are repeated, three days later each time, under other ids, until there are as
many: an import of a million rows takes longer than this is worth. The figure to hold: 15 s of one core and 300 MB for a
million rows.
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from bench.generate import TOKEN

TOP = Path(__file__).parents[1]
DAYS = 3  # between two copies
CONFIG = """\
store: s.sqlite
keyring: keyring
seal: {file: seal.key}
timezone: UTC
local_domains: [example.com]
trusted_networks: [192.0.2.0/28]
header_tokens: tokens
"""
# A process's peak of memory begins with that of whoever starts it: here one that holds nothing.
WITNESS = """import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(os.waitstatus_to_exitcode(status))"""
OTHER = ("id", "queue_id", "message_id", "re_message_id", "next_queue_id", "parent_queue_id")


class Cost(NamedTuple):
    """What a report took: seconds of processor, seconds, megabytes."""

    processor: float
    seconds: float
    memory: float


def command(folder: Path, *words: str) -> list[str]:
    """Return a command line of the installation of a folder."""
    return [sys.executable, "-m", "sink", "--config", str(folder / "postsink.yaml"), *words]


def run(folder: Path, *words: str) -> None:
    """Run a command to its end."""
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    subprocess.run(command(folder, *words), check=True, env=environment, capture_output=True)


def install(folder: Path, lines: int) -> Path:
    """Make an installation that has imported a generated log; return its store."""
    (folder / "postsink.yaml").write_text(CONFIG)
    (folder / "tokens").write_text(f"{TOKEN.decode()}\n")
    (folder / "tokens").chmod(0o600)
    log = folder / "mail.log"
    with log.open("wb") as file:
        words = [sys.executable, "-m", "bench.generate", "--lines", str(lines)]
        subprocess.run(words, cwd=TOP, stdout=file, check=True)
    run(folder, "keys", "init")
    run(folder, "import", str(log))
    log.unlink()
    return folder / "s.sqlite"


def multiply(path: Path, rows: int) -> int:
    """Repeat a store's rows until there are as many; return their number."""
    store = sqlite3.connect(path)
    store.create_function(
        "other", 2, lambda one, copy: one and blake2b(one, digest_size=16, salt=bytes([copy])).digest(),
        deterministic=True,
    )  # fmt: skip
    for table in ("delivery", "reject"):
        store.execute(f"CREATE TEMP TABLE old_{table} AS SELECT * FROM {table}")
    number = (store.execute("SELECT count(*) FROM delivery").fetchone() or (0,))[0]
    copies = -(-rows // number)
    for copy in range(1, copies):
        later = copy * DAYS * 86_400
        for table in ("delivery", "reject"):
            names = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
            made = {name: f"other({name}, {copy})" for name in OTHER}
            made |= {"logged_second": f"logged_second + {later}", "first_seen": f"first_seen + {later}000000",
                     "date": f"date + {later}"}  # fmt: skip
            columns = ", ".join(made.get(name, f'"{name}"') for name in names)
            store.execute(f"INSERT INTO {table} SELECT {columns} FROM old_{table}")
    store.commit()
    store.close()
    return copies * number


def measure(folder: Path) -> Cost:
    """Make a report; return what it took."""
    start = time.monotonic()
    words = [sys.executable, "-c", WITNESS, *command(folder, "report", "--output", str(folder / "report.html"))]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    said = subprocess.run(words, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    processor, memory = map(float, said.stdout.split())
    return Cost(processor, time.monotonic() - start, memory)


def main() -> None:
    """Measure and print."""
    given = argparse.ArgumentParser(description="Measure a report over many rows.")
    given.add_argument("--rows", type=int, default=1_000_000)
    given.add_argument("--lines", type=int, default=1_000_000, help="of the log whose rows are repeated")
    wanted = given.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = multiply(install(folder, wanted.lines), wanted.rows)
        cost = measure(folder)
    print(f"{rows:,} rows: {cost.processor:.1f} s of processor, {cost.seconds:.1f} s, {cost.memory:.0f} MB")


if __name__ == "__main__":
    main()
