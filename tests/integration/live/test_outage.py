"""The store can't be written, its disk is full, the daemon stands still: nothing is confirmed, and nothing is lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.live.confirming import Confirming, deliver
from tests.integration.live.conftest import grow
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


def of_effect(lines: list[bytes], start: int) -> int:
    """The number of the next line that has an effect."""
    return next(number for number in range(start, len(lines)) if b": to=<" in lines[number])


@contextmanager
def held(service: Service) -> Iterator[None]:
    """Another program holds the store, longer than SQLite waits."""
    holder = sqlite3.connect(service.program.store, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        yield
    finally:
        holder.close()


@contextmanager
def not_growing(service: Service) -> Iterator[None]:
    """No file may grow, as where a quota ends."""
    before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    yield
    assert service.status()["stuck"]
    assert service.said.until("can't take")
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)
    assert service.said.until("takes rows again")


@contextmanager
def standing_still(service: Service) -> Iterator[None]:
    """The machine sleeps, or has no time for the daemon."""
    service.send(signal.SIGSTOP)
    yield
    service.send(signal.SIGCONT)


OUTAGES = (held, not_growing, standing_still)


def test_outages_longer_than_a_row_waits(
    live: Program, some_lines: list[bytes], some_imported: Program
) -> None:
    """Three daemons at once, each with an outage of its own: time in which no line could come lets no row leave."""
    with ExitStack() as stack:
        services = [stack.enter_context(Service(live.sibling(live.folder / one.__name__))) for one in OUTAGES]
        clients = [stack.enter_context(Confirming(service.stream)) for service in services]
        at = of_effect(some_lines, 300)
        for client in clients:
            client.send(*some_lines[:at])
            client.until(at)
        with ExitStack() as outages:
            for outage, service in zip(OUTAGES, services, strict=True):
                outages.enter_context(outage(service))
            for client in clients:
                client.send(some_lines[at])
            assert not clients[0].has_answer(LONG)
            assert not any(client.has_answer() for client in clients)
        for client, service in zip(clients, services, strict=True):
            client.until(at + 1)
            for number in range(at + 1, at + 30):  # in lock step, as rsyslogd sends what has waited
                client.send(some_lines[number])
                client.until(number + 1)
            goes_on(client, some_lines)
            assert service.stop() == 0
    for service in services:
        same_rows(service.program, some_imported)


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
        grow(small_disk)
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
        with pytest.raises(OSError, match="space"), open(small_disk / "rest", "wb", buffering=0) as rest:
            while True:
                rest.write(b"x" * 512)
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
    grow(small_disk)
    with Service(live) as service:
        assert deliver(service.stream, some_lines[done:], 10) == len(some_lines) - done
        assert service.stop() == 0
    same_rows(live, some_imported)


def test_a_daemon_that_was_away(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Rows that wait in the store do not leave only because time went by without it."""
    for start in range(0, len(some_lines), 250):
        with Service(live) as service:
            piece = some_lines[start : start + 250]
            assert deliver(service.stream, piece) == len(piece)
            service.kill()
    same_rows(live, some_imported)
