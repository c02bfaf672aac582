"""Measures the daemon and rsyslog's child on one core: lines a second, CPU a line, memory.

    make bench-live                        # all of it, a few minutes
    make bench-live ARGS="--lines 20000"

Everything is pinned to one core, this program too, which plays rsyslogd: with confirmation a line is sent when the one
before it is answered. CPU is user and system time of the programs measured, start-up left out. The floors are those
of the issue that brought the daemon; the exit status is 1 where one is missed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.measure import CACHE, ROOT, made_installation, made_log, program

TICKS = os.sysconf("SC_CLK_TCK")
OPEN = 100_000  # messages
STEADY = 5_000  # lines a second


class Figure(NamedTuple):
    """What was measured, and what is asked."""

    name: str
    value: float
    unit: str
    least: float | None = None
    most: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it is below the least or above the most."""
        return (self.least is not None and self.value < self.least) or (
            self.most is not None and self.value > self.most
        )


def cpu(pid: int) -> float:
    """CPU seconds of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> float:
    """Peak resident memory of a process that runs, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@contextmanager
def started(folder: Path, *words: str, **files: int) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the checkout, ended by the end of its stdin or by SIGTERM."""
    child = subprocess.Popen(
        [*program(folder), *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, bufsize=0, **files
    )
    try:
        yield child
    finally:
        if child.stdin:
            child.stdin.close()
        child.terminate()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()


def ready(child: subprocess.Popen[bytes]) -> None:
    """Wait until a daemon says that it is ready."""
    assert child.stderr
    while b"ready" not in child.stderr.readline():
        assert child.poll() is None


def confirmed(child: subprocess.Popen[bytes], lines: list[bytes]) -> float:
    """Play rsyslogd in lock step; return the seconds it took."""
    assert child.stdin
    assert child.stdout
    to, back = child.stdin.fileno(), child.stdout.fileno()
    assert os.read(back, 100).endswith(b"OK\n")
    start = time.monotonic()
    for line in lines:
        os.write(to, line)
        while not os.read(back, 100).endswith(b"OK\n"):
            pass
    return time.monotonic() - start


def direct(folder: Path, lines: list[bytes]) -> Iterator[Figure]:
    """The whole pipeline in rsyslogd's child."""
    with started(folder, "omprog", "--direct", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        before = cpu(child.pid)
        seconds = confirmed(child, lines)
        used = cpu(child.pid) - before
        yield Figure("direct, confirmed", len(lines) / seconds, "lines/s", least=15_000)
        yield Figure("direct, confirmed", used / len(lines) * 1e6, "us of CPU a line", most=40)
        yield Figure("direct, confirmed", memory(child.pid), "MB", most=60)


def relayed(folder: Path, lines: list[bytes]) -> Iterator[Figure]:
    """The relay in rsyslogd's child, and the daemon."""
    with started(folder, "run", stderr=subprocess.PIPE) as daemon:
        ready(daemon)
        with started(folder, "omprog", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            before = cpu(daemon.pid) + cpu(child.pid)
            seconds = confirmed(child, lines)
            used = cpu(daemon.pid) + cpu(child.pid) - before
            yield Figure("relay and daemon", len(lines) / seconds, "lines/s", least=8_000)
            yield Figure("relay and daemon", used / len(lines) * 1e6, "us of CPU a line", most=70)
            yield Figure("daemon", memory(daemon.pid), "MB", most=60)


def unconfirmed(folder: Path, log: Path, number: int) -> Iterator[Figure]:
    """Lines on stdin, as fast as they are taken."""
    with (
        log.open("rb") as file,
        started(folder, "run", "--stdin", stdin=file.fileno(), stderr=subprocess.PIPE) as child,
    ):
        ready(child)
        start, before = time.monotonic(), cpu(child.pid)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        seconds, used = time.monotonic() - start, cpu(child.pid) - before
        yield Figure("unconfirmed stdin", number / seconds, "lines/s", least=150_000)
        yield Figure("unconfirmed stdin", used / number * 1e6, "us of CPU a line")


def steady(folder: Path, lines: list[bytes]) -> Iterator[Figure]:
    """So many lines a second, each in a write of its own, and what share of the core they cost."""
    for words, most in ((("run", "--stdin"), 5), (("omprog", "--direct"), 20), (("omprog",), 35)):
        with ExitStack() as stack:
            pids = []
            if words == ("omprog",):
                daemon = stack.enter_context(started(folder, "run", stderr=subprocess.PIPE))
                ready(daemon)
                pids.append(daemon.pid)
            pipes = {"stdin": subprocess.PIPE, "stderr" if "--stdin" in words else "stdout": subprocess.PIPE}
            child = stack.enter_context(started(folder, *words, **pipes))
            pids.append(child.pid)
            if "--stdin" in words:
                ready(child)
            else:
                assert child.stdout
                assert os.read(child.stdout.fileno(), 100).endswith(b"OK\n")
            before, start = sum(map(cpu, pids)), time.monotonic()
            for number, line in enumerate(lines):
                pause = start + number / STEADY - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                assert child.stdin
                os.write(child.stdin.fileno(), line)
                if child.stdout:
                    os.read(child.stdout.fileno(), 100)
            share = (sum(map(cpu, pids)) - before) / (time.monotonic() - start) * 100
            name = {"run": "unconfirmed", "omprog": "relay and daemon"}[words[0]]
            name = "direct" if "--direct" in words else name
            yield Figure(f"steady, {name}", share, f"% at {STEADY:,}/s", most=most)
        for old in folder.glob("s.sqlite*"):
            old.unlink()


def many_open(folder: Path) -> Iterator[Figure]:
    """A hundred thousand messages that wait in Postfix's queue."""
    with started(folder, "run", "--stdin", stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin
        ready(child)
        for number in range(OPEN):
            second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_793_606_400 + number // 20))
            head = f"{second}.000000+00:00 out1 postfix/"
            name = f"{0x100000000 + number:X}"
            child.stdin.write((
                f"{head}smtpd[1]: {name}: client=mail.example.net[192.0.2.3]\n"
                f"{head}cleanup[2]: {name}: message-id=<{number}@example.com>\n"
                f"{head}qmgr[3]: {name}: from=<a{number % 5000}@example.com>, size=1000, nrcpt=1 (queue active)\n"
                f"{head}smtp[4]: {name}: to=<b{number % 7000}@example.org>, relay=none, delay=1, delays=0/0/1/0,"
                f" dsn=4.4.1, status=deferred (connect to x[198.51.100.7]:25: Connection timed out)\n"
            ).encode())  # fmt: skip
        yield Figure("daemon, 100,000 open messages", memory(child.pid), "MB", most=120)


def main() -> int:
    options = argparse.ArgumentParser(prog="make bench-live", description="Measure the daemon.")
    options.add_argument("--lines", type=int, default=60_000, help="lines that are confirmed")
    options.add_argument("--unconfirmed", type=int, default=1_000_000, help="lines that are not")
    options.add_argument("--core", type=int, default=0, help="the core that all is pinned to")
    given = options.parse_args()
    log = made_log(given.unconfirmed, 1)
    os.sched_setaffinity(0, {given.core})
    with log.open("rb") as file:
        lines = [line for line, _ in zip(file, range(given.lines), strict=False)]
    missed = 0
    steadily = lines[: STEADY * 6]
    for measure, what in (
        (direct, lines), (relayed, lines), (steady, steadily), (unconfirmed, log), (many_open, None),
    ):  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="live-", dir=CACHE) as name:
            folder = Path(name)
            made_installation(folder)
            with (folder / "postsink.yaml").open("a") as config:
                config.write("listen: [{stream: stream}]\n")
            extra = (given.unconfirmed,) if measure is unconfirmed else ()
            for one in measure(folder, *(() if what is None else (what,)), *extra):  # type: ignore[operator]
                asked = f"at least {one.least:,.0f}" if one.least else f"at most {one.most:,.0f}" if one.most else ""
                print(f"{one.name:30}{one.value:12,.1f} {one.unit:18}{asked:18}{' MISSED' * one.is_missed}", flush=True)
                missed += one.is_missed
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
