"""A real rsyslogd with the shipped drop-in: every line once, whatever is killed; nothing raw on the disk."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.asking import rows
from tests.integration.live.conftest import grow
from tests.integration.live.failpoints import WRAPPER
from tests.integration.live.rsyslogd import Many, Rsyslogd, log
from tests.integration.live.service import Service, eventually
from tests.integration.live.test_poison import HEAD, POISON
from tests.integration.live.verdict import counted, same_rows
from tests.judges.program import Program

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
SEGMENTS = 7  # rsyslogd is started anew after each
DAEMONS = 10  # killed in each
OTHER = b"2026-11-02T08:00:00.000000+00:00 mx1 cron[7]: job %d"


@pytest.fixture
def rsyslogd(live: Program) -> Iterator[Rsyslogd]:
    made = Rsyslogd(live.folder.parent / "rsyslog", live)
    yield made
    assert (made.folder / "child.err").exists() and (made.folder / "child.err").read_text() == ""


def test_the_drop_in_is_without_mistakes(rsyslogd: Rsyslogd) -> None:
    assert rsyslogd.check() == ""
    (rsyslogd.folder / "child.err").touch()


def test_each_line_arrives(
    live: Program, rsyslogd: Rsyslogd, lines: list[bytes], imported: Program, tmp_path: Path
) -> None:
    with Service(live) as service:
        with rsyslogd, Many(rsyslogd) as client:
            client.send(lines)
            client.wait_until_read()
            rsyslogd.stop()  # it waits until its queue is empty
        assert service.status()["lines"] == len(lines)
        assert service.stop() == 0
    same_rows(live, imported)
    counted(live, lines, tmp_path)
    assert "postfix" not in rsyslogd.written()


@pytest.mark.parametrize("options", [(), ("--direct",)], ids=["relay", "direct"])
def test_syslog_datagrams(
    options: tuple[str, ...], live: Program, some_lines: list[bytes], some_imported: Program
) -> None:
    """As /dev/log brings them; HUP, as logrotate sends it, loses nothing."""
    made = Rsyslogd(live.folder.parent / "rsyslog", live, *options)
    with Service(live) if not options else made as first:
        with made if not options else Service(live.sibling(live.folder.parent / "other")):
            for start in range(0, len(some_lines), 100):
                log(made, some_lines[start : start + 100])
                log(made, [OTHER % start], b"<78>")
                made.reload()
            eventually(lambda: made.written().count("cron[7]: job") >= 2 * (1 + len(some_lines) // 100))
            made.stop()
            assert first is not None
    same_rows(live, some_imported)
    assert "postfix" not in made.written()


# -- killed

# A child that kills itself before a confirmation: what it did not confirm is in the store, and is sent again.
DYING = """\
#!/bin/sh
unset LD_LIBRARY_PATH
echo $$ >>{folder}/starts
echo $$ >{folder}/child.new && mv {folder}/child.new {folder}/child.pid
number=$(cat {folder}/number)
export PYTHONPATH={path}
exec {python} -c {wrapper} before-ok $(($number + $$ % 100)) {store} --config {config} omprog
"""


def dying(rsyslogd: Rsyslogd, live: Program) -> None:
    (rsyslogd.folder / "child").write_text(
        DYING.format(
            folder=rsyslogd.folder, path=Path(__file__).parents[3], python=sys.executable,
            wrapper=shlex.quote(WRAPPER), store=live.store, config=live.config,
        )
    )


def lines_taken(service: Service, number: int) -> None:
    """Wait until the daemon has taken so many lines."""
    eventually(lambda: service.status()["lines"] >= number)


def test_killed_at_random(
    live: Program, lines: list[bytes], imported: Program, tmp_path: Path
) -> None:
    """A hundred kills of child and daemon, and restarts of rsyslogd."""
    dice = random.Random()
    rsyslogd = Rsyslogd(live.folder.parent / "rsyslog", live)
    dying(rsyslogd, live)
    number, starts = rsyslogd.folder / "number", rsyslogd.folder / "starts"
    service, killed, calm = Service(live), 0, 0
    try:
        for segment in range(SEGMENTS):
            number.write_text("50")
            at, end = (len(lines) * one // SEGMENTS for one in (segment, segment + 1))
            with rsyslogd, Many(rsyslogd) as client:
                client.send(lines[at : end - 200])
                for _ in range(DAEMONS):
                    lines_taken(service, dice.randint(1, 100))
                    service.kill()
                    killed += 1
                    service = Service(live)
                number.write_text("1000000")
                calm += rsyslogd.kill_child()
                client.send(lines[end - 200 : end])
                client.wait_until_read()
                rsyslogd.stop()
        assert service.stop() == 0
    finally:
        service.process.kill()
        service.process.wait()
    children = len(starts.read_text().split()) - SEGMENTS
    print(f"killed: {killed} daemons, {children} children, {children - calm} of these before they confirmed")
    assert killed + children >= 100
    assert children - calm >= 20  # each is followed by a line that was committed before
    same_rows(live, imported)
    counted(live, lines, tmp_path)
    assert "postfix" not in rsyslogd.written()


# -- the daemon is away


def test_nobody_waits_for_a_daemon_that_is_away(
    live: Program, rsyslogd: Rsyslogd, lines: list[bytes], imported: Program
) -> None:
    """Clients of /dev/log and rsyslog's other rules go on; when the daemon is back, all lines come."""
    with rsyslogd:
        started = time.monotonic()
        log(rsyslogd, lines)
        log(rsyslogd, [OTHER % 1], b"<78>")
        eventually(lambda: "job 1\n" in rsyslogd.written())
        assert time.monotonic() - started < 10
        with Service(live) as service:
            eventually(lambda: service.status()["lines"] >= 1000)
            service.send(signal.SIGSTOP)
            log(rsyslogd, [OTHER % 2], b"<78>")
            eventually(lambda: "job 2\n" in rsyslogd.written())
            service.send(signal.SIGCONT)
            eventually(lambda: service.status()["lines"] == len(lines))
            rsyslogd.stop()
            assert service.stop() == 0
    same_rows(live, imported)
    assert not re.search("postfix", rsyslogd.written())


def test_a_child_that_can_not_start(live: Program, rsyslogd: Rsyslogd, some_lines: list[bytes]) -> None:
    """Its lines wait in memory; none is written anywhere, and other logs go on."""
    (rsyslogd.folder / "child").rename(rsyslogd.folder / "away")
    with rsyslogd:
        log(rsyslogd, some_lines)
        log(rsyslogd, [OTHER % 1], b"<78>")
        eventually(lambda: "job 1\n" in rsyslogd.written())
        (rsyslogd.folder / "away").rename(rsyslogd.folder / "child")
        with Service(live) as service:
            eventually(lambda: service.status()["lines"] == len(some_lines))
            rsyslogd.stop()
            assert service.stop() == 0
    assert rows(live)
    assert "@" not in rsyslogd.written()


@needs_root
def test_a_full_disk(
    live: Program, small_disk: Path, rsyslogd: Rsyslogd, lines: list[bytes], imported: Program
) -> None:
    """What is not stored waits in rsyslog's memory; nobody else waits."""
    with Service(live) as service, rsyslogd:
        log(rsyslogd, lines)
        assert service.said.until("can't take")
        log(rsyslogd, [OTHER % 1], b"<78>")
        eventually(lambda: "job 1\n" in rsyslogd.written())
        assert service.status()["lines"] < len(lines)
        grow(small_disk)
        lines_taken(service, len(lines))
        rsyslogd.stop()
        assert service.stop() == 0
    same_rows(live, imported)
    assert "postfix" not in rsyslogd.written()


def test_poison(live: Program, rsyslogd: Rsyslogd, some_lines: list[bytes]) -> None:
    """Whatever of it rsyslogd takes for a line of Postfix is confirmed, and what comes behind arrives."""
    with Service(live) as service, rsyslogd:
        log(rsyslogd, [line for line in POISON if line.startswith(HEAD)])
        log(rsyslogd, some_lines)
        eventually(lambda: service.status()["deliveries"] >= 106)
        rsyslogd.stop()
        assert service.stop() == 0
    assert "canary" not in rsyslogd.written()
