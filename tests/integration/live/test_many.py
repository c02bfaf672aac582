"""Many sources at once, and such as do not behave: none of them keeps the daemon from the others."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
from contextlib import ExitStack

from sink.fault import OK, TEMPFAIL
from tests.integration.asking import PATIENCE, command, environment
from tests.integration.live.confirming import Confirming, deliver, send_plain
from tests.integration.live.service import Service, eventually
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program

CROWD = 50


def test_a_crowd_of_relays(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """A line each in turn; each hears of its own lines alone."""
    with Service(live) as service, ExitStack() as stack:
        clients = [stack.enter_context(Confirming(service.stream)) for _ in range(CROWD)]
        for number, line in enumerate(some_lines):
            client = clients[number % CROWD]
            client.send(line)
            client.until(number // CROWD + 1)
        assert service.stop() == OK
    same_rows(live, some_imported)


def test_a_relay_that_hears_nothing(live: Program, some_lines: list[bytes]) -> None:
    """It sends, and never reads an answer; another one does not wait for it."""
    with Service(live) as service, Confirming(service.stream) as deaf:
        for _ in range(30):
            deaf.send(*some_lines[:500])
        assert deliver(service.stream, some_lines[:100]) == 100
        deaf.until(30 * 500)
        assert service.stop() == OK


def test_clients_that_were_not_let_in_yet(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """They sent and closed while the daemon had no time; then it is told to leave."""
    with Service(live) as service:
        service.send(signal.SIGSTOP)
        for start in range(0, len(some_lines), 100):
            send_plain(service.stream, some_lines[start : start + 100])
        service.send(signal.SIGTERM)
        service.send(signal.SIGCONT)
        assert service.ended() == OK
    same_rows(live, some_imported)


def test_several_start_at_once(live: Program, some_lines: list[bytes]) -> None:
    """One of them serves, whichever it is; the others leave."""
    for _ in range(5):
        running = [
            subprocess.Popen([*command(live), "run"], env=environment(), stderr=subprocess.PIPE) for _ in range(3)
        ]
        try:
            eventually(lambda running=running: sum(one.poll() is None for one in running) == 1)  # type: ignore[misc]
            eventually(lambda: deliver(live.folder / "stream", some_lines[:5]) == 5)
        finally:
            for one in running:
                one.terminate()
            said = [one.communicate(timeout=PATIENCE)[1] for one in running]
        assert sorted(one.returncode for one in running) == [OK, TEMPFAIL, TEMPFAIL], said


def test_who_logs_by_datagrams_never_waits(live: Program, some_lines: list[bytes]) -> None:
    """Mail comes first: while the store is full, datagrams are taken, dropped and counted."""
    with Service(live) as service, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(str(service.datagram))
        before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        for line in some_lines:
            client.send(line)
        assert service.said.until("can't take")
        for _ in range(20):
            for line in some_lines:
                client.send(line)
        eventually(lambda: service.status()["dropped"] >= 20 * len(some_lines))
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)
        assert service.said.until("takes rows again")
        assert deliver(service.stream, some_lines[:100], 10) == 100
        assert service.stop() == OK
