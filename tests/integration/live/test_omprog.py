"""The child that rsyslogd starts: one reply a line, after its commit, whatever happens to it or to the daemon."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.asking import PATIENCE, rows
from tests.integration.live.confirming import deliver
from tests.integration.live.omprog import Child
from tests.integration.live.service import KILLED, Service
from tests.integration.live.verdict import counted, same_rows
from tests.judges.program import Program

TIMES = 20
SHAPES = ("relay", "direct")
DIRECT_PLACES = ("parse", "insert", "commit", "before-ok", "after-ok", "checkpoint")
RELAY_PLACES = ("before-ok", "after-ok")


def options(shape: str) -> tuple[str, ...]:
    return ("--direct",) if shape == "direct" else ()


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def behind(shape: str, live: Program) -> Iterator[Service | None]:
    """The daemon behind the relay; the direct child needs none."""
    if shape == "direct":
        yield None
        return
    with Service(live) as service:
        yield service
        assert service.stop() == 0


# -- undisturbed


def test_each_line_is_confirmed(
    shape: str, behind: Service | None, live: Program, some_lines: list[bytes], some_imported: Program
) -> None:
    with Child(live, *options(shape)) as child:
        assert child.reply()
        assert child.deliver(some_lines) == len(some_lines)
        assert child.close() == 0
        assert child.replies == len(some_lines) + 1
    same_rows(live, some_imported)


def test_confirmed_means_committed(shape: str, behind: Service | None, live: Program, lines: list[bytes]) -> None:
    """A refusal's row leaves with its line: it is in the store before the reply."""
    refusals = [line for line in lines if b"NOQUEUE: reject:" in line and b"blocked using" not in line][:50]
    assert len(refusals) > 20
    with Child(live, *options(shape)) as child:
        assert child.reply()
        for number, line in enumerate(refusals, 1):
            assert child.send(line)
            assert len(rows(live)) == number
        assert child.close() == 0


def test_signals_are_not_for_the_child(
    shape: str, behind: Service | None, live: Program, some_lines: list[bytes]
) -> None:
    """rsyslogd sends TERM when it stops, logrotate's HUP and a terminal's Ctrl-C reach it too: the end is EOF alone."""
    with Child(live, *options(shape)) as child:
        assert child.reply()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            child.process.send_signal(number)
            assert child.deliver(some_lines[:20]) == 20
        assert child.close() == 0


def test_stderr_holds_nothing_of_a_line(
    shape: str, behind: Service | None, live: Program, some_lines: list[bytes]
) -> None:
    with Child(live, *options(shape)) as child:
        assert child.reply()
        assert child.deliver(some_lines[:200]) == 200
        assert child.close() == 0
        assert child.process.stderr is not None
        assert b"example" not in child.process.stderr.read()


def test_a_last_line_without_its_newline(
    shape: str, behind: Service | None, live: Program, some_lines: list[bytes]
) -> None:
    """rsyslogd died in the middle: what has no end was not sent."""
    refusal = next(line for line in some_lines if b"NOQUEUE: reject:" in line and b"blocked" not in line)
    with Child(live, *options(shape)) as child:
        assert child.reply()
        assert child.process.stdin is not None
        os.write(child.process.stdin.fileno(), refusal)
        assert child.close() == 0
        assert child.replies == 1


# -- killed


def test_direct_child_killed_at_each_place(
    live: Program, lines: list[bytes], imported: Program, tmp_path: Path
) -> None:
    dice = random.Random()
    order = [place for place in DIRECT_PLACES for _ in range(TIMES)]
    dice.shuffle(order)
    done, hit = 0, Counter[str]()
    for place in order:
        number = dice.randint(1, 3 if place == "checkpoint" else 100) + place.endswith("-ok")
        with Child(live, "--direct", place=place, number=number) as child:
            if child.reply():
                done += child.deliver(lines[done:-2])
            hit[place] += 1
            assert done < len(lines) - 2, f"the log is too short: {hit}"
            assert child.process.wait(PATIENCE) == KILLED
    assert {place: hit[place] for place in DIRECT_PLACES if hit[place] < TIMES} == {}, "the log is too short"
    with Child(live, "--direct") as child:
        assert child.reply()
        assert child.deliver(lines[done:]) == len(lines) - done
        assert child.close() == 0
    same_rows(live, imported)
    counted(live, lines, tmp_path)


def test_relay_killed_before_and_after_its_reply(
    live: Program, lines: list[bytes], imported: Program, tmp_path: Path
) -> None:
    """Killed before its reply, when the daemon has committed the line: it comes again, and makes no second row."""
    dice = random.Random()
    order = [place for place in RELAY_PLACES for _ in range(TIMES)]
    dice.shuffle(order)
    done = 0
    with Service(live) as service:
        for place in order:
            with Child(live, place=place, number=dice.randint(2, 200)) as child:
                assert child.reply()
                done += child.deliver(lines[done:-2])
                assert child.process.wait(PATIENCE) == KILLED
        with Child(live) as child:
            assert child.reply()
            assert child.deliver(lines[done:]) == len(lines) - done
            assert child.close() == 0
        assert service.stop() == 0
    same_rows(live, imported)
    counted(live, lines, tmp_path)


def test_daemon_killed_behind_the_relay(live: Program, lines: list[bytes], imported: Program) -> None:
    """One child outlives every daemon; it sends again what none has confirmed."""
    dice = random.Random()
    done, dead = 0, threading.Event()
    service = Service(live, place="commit", number=100)

    def restart() -> None:
        nonlocal service
        for _ in range(TIMES):
            assert service.ended() == KILLED
            place = dice.choice(["parse", "insert", "commit", "before-ok", "after-ok"])
            service = Service(live, place=place, number=dice.randint(20, 200))
            assert service.is_ready
        assert service.ended() == KILLED
        service = Service(live)
        dead.set()

    keeper = threading.Thread(target=restart)
    keeper.start()
    try:
        with Child(live) as child:
            assert child.reply()
            done = child.deliver(lines)
            assert done == len(lines)
            assert child.close() == 0
            assert child.replies == len(lines) + 1
    finally:
        keeper.join(PATIENCE)
        service.process.kill()
    assert dead.is_set(), "the log is too short"
    service.ended()
    same_rows(live, imported)


# -- the daemon is away


def test_nothing_is_confirmed_while_the_daemon_is_away(
    live: Program, some_lines: list[bytes], some_imported: Program
) -> None:
    with Child(live) as child:
        assert child.says_nothing(1.5)
        with Service(live) as service:
            assert child.reply()
            assert child.deliver(some_lines[:500]) == 500
            service.kill()
        child.give(some_lines[500])
        assert child.says_nothing(1.5)
        with Service(live) as service:
            assert child.reply()
            assert child.deliver(some_lines[501:]) == len(some_lines) - 501
            assert service.stop() == 0
        assert child.close() == 0
    same_rows(live, some_imported)


def test_dots_while_it_waits(live: Program, some_lines: list[bytes]) -> None:
    """They tell rsyslogd that the child is alive; confirmTimeout counts from the last one."""
    with Service(live) as service:
        with Child(live) as child:
            assert child.reply()
            service.send(signal.SIGSTOP)
            try:
                child.give(some_lines[0])
                assert child.says_nothing(3)
            finally:
                service.send(signal.SIGCONT)
            assert child.reply()
            assert child.dots > 0
            assert child.close() == 0


def test_a_child_whose_rsyslogd_died_leaves_without_a_daemon(live: Program, some_lines: list[bytes]) -> None:
    """EOF is the end, also while it waits for a daemon that never comes."""
    with Child(live) as child:
        assert child.says_nothing(0.5)
        assert child.process.stdin is not None
        child.process.stdin.close()
        assert isinstance(child.process.wait(PATIENCE), int)
    with Service(live) as service:
        with Child(live) as child:
            assert child.reply()
            service.send(signal.SIGSTOP)
            try:
                child.give(some_lines[0])
                assert child.process.stdin is not None
                child.process.stdin.close()
                child.process.wait(PATIENCE)
            finally:
                service.send(signal.SIGCONT)


def test_the_relay_reads_no_key(live: Program, some_lines: list[bytes]) -> None:
    """It starts without keyring and seal, and without a right to the store."""
    with Service(live):
        for name in ("keyring", "seal.key"):
            (live.folder / name).rename(live.folder / f"{name}.away")
        with Child(live) as child:
            assert child.reply()
            assert child.deliver(some_lines[:10]) == 10
            assert child.close() == 0
        for name in ("keyring", "seal.key"):
            (live.folder / f"{name}.away").rename(live.folder / name)


def test_a_direct_child_beside_a_daemon(live: Program, some_lines: list[bytes]) -> None:
    """One writer a store: the second confirms nothing."""
    with Service(live) as service:
        with Child(live, "--direct") as child:
            try:
                assert not child.reply(2)
            except AssertionError:
                assert child.says_nothing(0)
        assert deliver(service.stream, some_lines[:10]) == 10
