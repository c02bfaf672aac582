"""The store can't be written, its disk is full, the daemon stands still: nothing is confirmed, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.integration.asking import rows
from tests.integration.live.confirming import Confirming, deliver
from tests.integration.live.service import Service
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program

LONG = 13  # seconds: longer than it takes until a row leaves by the wall clock
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


def goes_on(client: Confirming, lines: list[bytes]) -> None:
    client.until(client.confirmed)
    done = client.confirmed
    for start in range(done, len(lines), 50):
        client.send(*lines[start : start + 50])
        client.until(min(start + 50, len(lines)))


def stalled(client: Confirming, line: bytes, seconds: float) -> None:
    """A line that has an effect is not confirmed for some time."""
    client.send(line)
    assert not client.has_answer(seconds)


def of_effect(lines: list[bytes], start: int) -> int:
    """The number of the next line that has an effect."""
    return next(number for number in range(start, len(lines)) if b": to=<" in lines[number])


def test_a_store_that_somebody_holds(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Longer than SQLite waits, and than a row does."""
    with Service(live) as service, Confirming(service.stream) as client:
        at = of_effect(some_lines, 300)
        client.send(*some_lines[:at])
        client.until(at)
        holder = sqlite3.connect(live.store, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        stalled(client, some_lines[at], LONG)
        holder.execute("ROLLBACK")
        holder.close()
        client.until(at + 1)
        goes_on(client, some_lines)
        assert service.stop() == 0
    same_rows(live, some_imported)


def test_files_that_may_not_grow(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    with Service(live) as service, Confirming(service.stream) as client:
        at = of_effect(some_lines, 300)
        client.send(*some_lines[:at])
        client.until(at)
        limit = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        stalled(client, some_lines[at], LONG)
        assert service.said.until("can't take")
        assert service.status()["stuck"]
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, limit)
        client.until(at + 1)
        assert service.said.until("takes rows again")
        goes_on(client, some_lines)
        assert service.stop() == 0
    same_rows(live, some_imported)


@pytest.fixture
def small_disk(live: Program) -> Iterator[Path]:
    """A disk of 400 kB for the store."""
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k,mode=755", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        folder.rmdir()
        pytest.skip("a small disk can't be mounted here")
    try:
        known = yaml.safe_load(live.config.read_text())
        live.store = folder / "s.sqlite"
        live.config.write_text(yaml.safe_dump({**known, "store": str(live.store)}))
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@needs_root
def test_a_full_disk(live: Program, small_disk: Path, lines: list[bytes], imported: Program) -> None:
    """Nobody takes a line while it is full; with more room, the same process goes on."""
    with Service(live) as service, Confirming(service.stream) as client:
        sent = 0
        while sent < len(lines):
            client.send(*lines[sent : sent + 20])
            sent += 20
            if not client.has_answer(2):
                break
            while client.confirmed < sent and client.has_answer(2):
                assert client.take()
            if client.confirmed < sent:
                break
        assert client.confirmed < sent < len(lines), "the disk never was full"
        assert not client.has_answer(1)
        subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
        client.until(sent)
        for start in range(sent, len(lines), 500):
            client.send(*lines[start : start + 500])
            client.until(min(start + 500, len(lines)))
        assert service.stop() == 0
    same_rows(live, imported)


@needs_root
def test_told_to_leave_while_the_disk_is_full(
    live: Program, small_disk: Path, some_lines: list[bytes], some_imported: Program
) -> None:
    """It leaves in time, and what it had not confirmed comes again."""
    with Service(live) as service, Confirming(service.stream) as client:
        client.send(*some_lines[:100])
        client.until(100)
        (small_disk / "rest").write_bytes(b"")
        with open(small_disk / "rest", "wb") as rest, pytest.raises(OSError, match="space"):
            while True:
                rest.write(b"x" * 512)
                rest.flush()
        done = 100
        for line in some_lines[100:]:
            client.send(line)
            if not client.has_answer(2):
                break
            assert client.take()
            done = client.confirmed
        started = time.monotonic()
        service.send(signal.SIGTERM)
        assert service.ended() == 75
        assert time.monotonic() - started < 30
    (small_disk / "rest").unlink()
    with Service(live) as service:
        assert deliver(service.stream, some_lines[done:], 10) == len(some_lines) - done
        assert service.stop() == 0
    same_rows(live, some_imported)


def test_a_daemon_that_stands_still(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """A laptop's sleep, or a machine under water: time that nobody could send in does not let rows leave."""
    with Service(live) as service, Confirming(service.stream) as client:
        for at in (of_effect(some_lines, 200), of_effect(some_lines, 600)):
            client.send(*some_lines[client.confirmed : at])
            client.until(at)
            service.send(signal.SIGSTOP)
            stalled(client, some_lines[at], LONG)
            service.send(signal.SIGCONT)
            client.until(at + 1)
            for number in range(at + 1, at + 30):  # in lock step, as rsyslogd sends what has waited
                client.send(some_lines[number])
                client.until(number + 1)
        goes_on(client, some_lines)
        assert service.stop() == 0
    same_rows(live, some_imported)


def test_a_daemon_that_was_away(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Rows that wait in the store do not leave only because time went by without it."""
    for start in range(0, len(some_lines), 250):
        with Service(live) as service:
            piece = some_lines[start : start + 250]
            assert deliver(service.stream, piece) == len(piece)
            service.kill()
        if not start:
            waited = len(rows(live))
            with Service(live, variables={}) as service:
                assert len(rows(live)) == waited
                service.kill()
    same_rows(live, some_imported)
