"""The cost model as tables: constants by store, bytes a row, what a host needs for so many mails a day.

What is not measured here is an assumption, and stands in docs/performance.md beside the table: how many mails of a day
wait at a time, and how much busier the busiest minute is.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import model
from bench.climb import Climb
from bench.curves import BARE, NONE, SQLITE, emptied, importing, stood
from bench.filled import each_held
from bench.live import cpu, ready, started
from bench.measure import made_installation, made_log, measured, program
from bench.model import Constants, Counts, Way, composed, fitted, generated
from sink.core.openmessages import MOST_WARM

Table = tuple[str, list[str], list[list[str]]]  # a name, heads, rows
LINES = 100_000  # of each log
RATES, SECONDS = (50, 500, 5_000), 10  # lines a second that are confirmed, and how long
STANDING = (10_000, 60_000)  # open messages
YEAR, DAY = 365, 86_400
MAILS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # a day
WAIT = 0.05  # of a day's mails wait at a time
BUSY = 10  # times the mean is the busiest minute
DIRECT, RELAY = "direct", "relay and daemon"
DAEMON, POSTGRES = "daemon on stdin, SQLite", "import, PostgreSQL"
SIZE = "SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits WHERE inhparent = '{}'::regclass"


class Weights(NamedTuple):
    """What rows and open messages take."""

    rows: dict[str, tuple[float, float, float]]  # by store: bytes a row, with the optional indexes, bytes a refusal
    memory: float  # bytes of memory an open message
    state: float  # bytes of the daemon's store


def pace(folder: Path, lines: Sequence[bytes], rate: int, *, relayed: bool) -> float:
    """CPU microseconds a line of what is given so many lines a second by rsyslogd, each confirmed."""
    emptied(folder)
    with ExitStack() as stack:
        pids = []
        if relayed:
            daemon = stack.enter_context(started(folder, "run", stderr=subprocess.PIPE))
            ready(daemon)
            pids.append(daemon.pid)
        words = ("omprog",) if relayed else ("omprog", "--direct")
        child = stack.enter_context(started(folder, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        pids.append(child.pid)
        assert child.stdin
        assert child.stdout
        to, back = child.stdin.fileno(), child.stdout.fileno()
        assert os.read(back, 100).endswith(b"OK\n")
        before, start = sum(map(cpu, pids)), time.monotonic()
        for number, line in enumerate(lines):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            os.write(to, line)
            while not os.read(back, 100).endswith(b"OK\n"):
                pass
        return (sum(map(cpu, pids)) - before) / len(lines) * 1e6


def installed(folder: Path) -> Path:
    """An installation in a new folder, with a socket for the relay."""
    folder.mkdir()
    made_installation(folder)
    with (folder / "postsink.yaml").open("a") as config:
        config.write("listen: [{stream: stream}]\n")
    return folder


@contextmanager
def served(folder: Path) -> Iterator[Any]:
    """A PostgreSQL server of its own and an installation whose rows go there; None where it is not installed."""
    from bench.postgres import SETTINGS
    from tests.integration.postgres.server import Server, made_folder, programs

    if programs() is None:
        print("PostgreSQL is not installed (apt-get install postgresql): left out.", file=sys.stderr)
        yield None
        return
    top = made_folder()
    server = Server(top).make()
    server.configure(**SETTINGS)
    server.start()
    try:
        database = server.make_database()
        with (installed(folder) / "postsink.yaml").open("a") as config:
            config.write(f"database: {database.conninfo()}\n")
        measured([*program(folder), "db", "init"], folder)
        yield database
    finally:
        server.stop()
        shutil.rmtree(top)


def weights_of_sqlite(folder: Path, log: Path) -> tuple[float, float, float]:
    """Bytes a row, with the optional indexes, and a refusal; log: of refusals, of which a public log has few."""
    store = folder / "s.sqlite"
    measured([*program(folder), "import", str(log)], folder)
    row, refusal = each_held(store, "delivery"), each_held(store, "reject")
    measured([*program(folder), "db", "index"], folder)
    return row, each_held(store, "delivery"), refusal


def weights_of_postgres(database: Any, folder: Path, log: Path) -> tuple[float, float, float]:
    """The same in PostgreSQL; the primary key and the index of times are always there. What is empty is taken off."""
    database.run("TRUNCATE delivery, reject")
    empty = {table: float(database.one(SIZE.format(table))) for table in ("delivery", "reject")}
    for path in (made_log(LINES, 1), log):
        emptied(folder)
        measured([*program(folder), "import", str(path)], folder)

    def each(table: str) -> float:
        number = int(database.one(f"SELECT count(*) FROM {table}"))
        return (float(database.one(SIZE.format(table))) - empty[table]) / max(1, number)

    row, refusal = each("delivery"), each("reject")
    measured([*program(folder), "db", "index"], folder)
    return row, each("delivery"), refusal


def standing(folder: Path) -> tuple[float, float]:
    """Bytes of memory, and of the store, that a message takes which waits."""
    seen = []
    for number in STANDING:
        emptied(folder)
        path = folder / "open.sqlite"
        with Climb([*BARE, str(path)], folder) as child:
            seen.append(stood(child, number))
            child.end()
    return (seen[1] - seen[0]) * (1 << 20) / (STANDING[1] - STANDING[0]), each_held(path, "open_message")


def tables(top: Path, lines: int = LINES) -> list[Table]:
    """Measure all, and tell it."""
    made, real, folder = composed(top, lines), generated(lines), installed(top / "one")
    found, rows, refusing = [], {}, real[-1].path
    for way in (
        Way(f"import, {NONE}", BARE, folder), Way(DAEMON, [*program(folder), "run", "--stdin"], folder),
        Way(f"import, {SQLITE}", importing(folder), folder),
    ):  # fmt: skip
        found += fitted(way, made, real)
    rows[SQLITE] = weights_of_sqlite(folder, refusing)
    with served(top / "two") as database:
        if database is not None:
            def reset() -> None:
                database.run("TRUNCATE delivery, reject", "CHECKPOINT")

            way = Way(POSTGRES, importing(top / "two"), top / "two", database.server.pid, reset)
            found += fitted(way, made, real)
            rows["PostgreSQL"] = weights_of_postgres(database, top / "two", refusing)
    weights = Weights(rows, *standing(folder))
    paces = paced(folder, real[0].path)
    base = next(one.memory for one in found if one.way == DAEMON)
    return [constants(found), weighed(weights), confirmed(paces), hosts(real[0].counts, weights, paces[RELAY], base)]


def paced(folder: Path, log: Path) -> dict[str, dict[int, float]]:
    """What a confirmed line costs, by way and rate."""
    with log.open("rb") as file:
        lines = [line for _, line in zip(range(max(RATES) * SECONDS), file, strict=False)]
    return {
        way: {rate: pace(folder, lines[: rate * SECONDS], rate, relayed=way is RELAY) for rate in RATES}
        for way in (DIRECT, RELAY)
    }


def constants(found: Sequence[Constants]) -> Table:
    """What each unit costs by way, and how well that tells the generated mixes."""
    head = ["us of CPU", *model.UNITS, "a line of the public mix", "the model's error there", "its worst error",
            "peak MB"]  # fmt: skip
    return "constants", head, [
        [one.way, *(f"{value:.1f}" for value in one.each), f"{one.line:.2f}", f"{one.apart[-1]:+.0%}",
         f"{max(one.apart, key=abs):+.0%}", f"{one.memory:.0f}" if one.memory else "-"]
        for one in found
    ]  # fmt: skip


def weighed(weights: Weights) -> Table:
    """Bytes by store."""
    found = [
        [f"a row, {store}", f"{row:.0f}", f"{indexed:.0f} with the optional indexes"]
        for store, (row, indexed, _) in weights.rows.items()
    ]
    found += [[f"a refusal, {store}", f"{refusal:.0f}", ""] for store, (_, _, refusal) in weights.rows.items()]
    warm = f"beyond the first {MOST_WARM}, which are kept ready"
    found.append(["an open message, memory", f"{weights.memory:.0f}", warm])
    found.append(["an open message, daemon's store", f"{weights.state:.0f}", "gone when it ends"])
    return "bytes", ["", "bytes", ""], found


def confirmed(paces: dict[str, dict[int, float]]) -> Table:
    """What a line costs that rsyslogd hands over one by one."""
    head = ["us of CPU a line, each confirmed", *(f"{rate:,} a second" for rate in RATES)]
    return "confirmed", head, [[way, *(f"{of[rate]:.0f}" for rate in RATES)] for way, of in paces.items()]


def share(rate: float, paces: dict[int, float]) -> float:
    """Cores that so many lines a second take, at the cost of the next lower rate that was measured."""
    lower = [cost for known, cost in paces.items() if known <= rate]
    return rate * (lower[-1] if lower else paces[min(paces)]) / 1e6


def hosts(whole: Counts, weights: Weights, paces: dict[int, float], base: float) -> Table:
    """What a host needs for so many mails a day; paces: µs of CPU a line by rate, base: MB of the daemon under load."""
    each = whole.lines / whole.messages, whole.rows / whole.messages, whole.refused / whole.messages
    head = ["mails a day", "lines a day", "rows a day", "CPU, mean", f"CPU at {BUSY} times the mean", "memory",
            *(f"disk a year, {store}" for store in weights.rows)]  # fmt: skip
    found = []
    for mails in MAILS:
        lines, rows, refused = (mails * one for one in each)
        disk = [(rows * row + refused * refusal) * YEAR for row, _, refusal in weights.rows.values()]
        memory = base + mails * WAIT * weights.memory / (1 << 20)
        found.append([
            f"{mails:,}", f"{lines:,.0f}", f"{rows:,.0f}", part(share(lines / DAY, paces)),
            part(share(lines / DAY * BUSY, paces)), f"{memory:,.0f} MB", *map(size, disk),
        ])  # fmt: skip
    return "hosts", head, found


def part(cores: float) -> str:
    """A share of a core."""
    return f"{cores * 100:.2g} %" if cores < 1 else f"{cores:.1f} cores"


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if number >= unit:
            return f"{number / unit:.2g} {name}" if number < 100 * unit else f"{number / unit:.0f} {name}"
    return f"{number / 1e3:.0f} kB"
