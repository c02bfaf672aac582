"""How long a report over many rows takes, and how much memory.

    python -m bench.report --rows 1000000

A generated log is imported, then its rows are repeated, three days later each time, under other ids, until there are as
many: an import of a million rows takes longer than this is worth. The figure to hold: 15 s of one core and 300 MB for a
million rows.
"""

import argparse
import sqlite3
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from bench.measure import made_installation, made_log, measured, program

DAYS = 3  # between two copies
OTHER = ("id", "queue_id", "message_id", "re_message_id", "next_queue_id", "parent_queue_id")


class Cost(NamedTuple):
    """What a report took: seconds of processor, seconds, megabytes."""

    processor: float
    seconds: float
    memory: float


def install(folder: Path, lines: int) -> Path:
    """Make an installation that has imported a generated log; return its store."""
    made_installation(folder)
    log = made_log(lines, 1)
    measured([*program(folder), "import", str(log)], folder)
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
    run = measured([*program(folder), "report", "--output", str(folder / "report.html")], folder)
    return Cost(run.cpu, time.monotonic() - start, run.memory)


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
