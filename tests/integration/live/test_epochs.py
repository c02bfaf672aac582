"""Whoever writes the live stream while keys change: it loses no line, and forgets what is destroyed."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from sink.fault import OK, TEMPFAIL, USAGE
from sink.keys import keyring
from sink.stores import locks
from tests.integration.asking import PATIENCE, Answer, ask, command, environment, one_line, rows
from tests.integration.epochs import (
    BOUND,
    DAY,
    HELD,
    NEW,
    NOW,
    OLD,
    as_file,
    by_epoch,
    configured,
    later,
    mails,
    ring_of,
    secret_of,
    with_bounds,
)
from tests.integration.live.confirming import deliver
from tests.integration.live.conftest import grow
from tests.integration.live.memory import in_files, in_memory, kinds
from tests.integration.live.omprog import Child
from tests.integration.live.senders import Datagrams, LockStep, Meanwhile, Plain, Slowest
from tests.integration.live.service import AS_SERVICE, Manager, Service, eventually, with_bug
from tests.integration.live.verdict import same_rows
from tests.integration.owned import STRANGER, ask_who, owned
from tests.judges.program import Program, Row, second

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a process that is not dumpable is read by root alone")

OF_OLD = [*mails(OLD, 20), *later(NEW - HELD)]  # no message of the past epoch is open behind them
MAILS = 120
OF_NEW = [*mails(NEW, MAILS, first=100), *later(NEW + MAILS + 10)]
HANDED = {"key", "key in hex", "subkey, inner state", "subkey, outer state"}  # what a process at work has of a key
ANEW = "goes on as a new program"


@pytest.fixture(scope="module")
def keys(with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Keys with a past epoch and an active one."""
    made = with_keys.sibling(tmp_path_factory.mktemp("epochs") / "keys")
    with_bounds(made, BOUND)
    return made


@pytest.fixture(scope="module")
def whole(keys: Program) -> list[Row]:
    """The rows of an import, under the same keys, of which none is destroyed."""
    made = keys.sibling(keys.folder / "undisturbed")
    assert ask(made, "import", as_file(made.folder, [*OF_OLD, *OF_NEW])).status == OK
    assert by_epoch(rows(made)) == {1: 40, 2: 2 * MAILS}
    return rows(made)


@pytest.fixture
def two(live: Program, keys: Program) -> Program:
    """An installation with these keys."""
    shutil.copy2(keys.folder / "keyring", live.folder)
    return live


def all_there(program: Program, whole: list[Row], *others: Meanwhile) -> None:
    """Nothing is lost, nothing is there twice, nothing is another one; others sent lines that make a row each."""
    found = rows(program)
    assert [row for row in found if row["host"] == "mx1"] == whole
    assert len(found) == len(whole) + sum(len(other.sent) for other in others)


def destroy(program: Program) -> None:
    answer = ask(program, "keys", "destroy", "1", "--yes")
    assert answer.status == OK, answer
    assert "the daemon has forgotten it, too" in answer.out


# -- nothing is lost, and nothing is left


@as_root
def test_a_destroyed_key_is_in_no_memory_and_no_file(two: Program, whole: list[Row]) -> None:
    """While rsyslogd's relay hands over lines, datagrams come, and plain lines."""
    old, new = secret_of(ring_of(two), 1), secret_of(ring_of(two), 2)
    sealed = (two.folder / "keyring").read_bytes()
    with (two.folder / "keyring").open("rb") as former, Service(two) as service:
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        assert len(rows(two)) == 40
        assert kinds(in_memory(service.process.pid, old)) >= HANDED, "the search finds nothing"
        with Child(two) as child:
            assert child.reply()
            with (
                Meanwhile(LockStep(child, OF_NEW)) as relayed,
                Meanwhile(Datagrams(service.datagram)) as by_datagram,
                Meanwhile(Plain(service.stream)) as by_stream,
            ):
                eventually(lambda: len(relayed.sent) > 50 and len(by_stream.sent) > 20)
                destroy(two)
                assert in_memory(service.process.pid, old) == set()
                number = len(relayed.sent)
                eventually(lambda: len(relayed.sent) > number + 50)
            assert kinds(in_memory(service.process.pid, new)) >= HANDED
            left = OF_NEW[len(relayed.sent) :]
            assert child.deliver(left) == len(left)
            assert child.close() == OK
        assert in_memory(service.process.pid, old) == in_files(two.folder, old) == set()
        assert former.read() == bytes(len(sealed)), "the old keyring is not overwritten"
        assert service.stop() == OK
        assert any(ANEW in words for words in service.said.all)
    assert in_files(two.folder, old) == set()
    all_there(two, whole, by_datagram, by_stream)


@as_root
def test_standard_input(two: Program, whole: list[Row]) -> None:
    """As syslog-ng's program() has it: its lines go on, also one that has only begun."""
    old = secret_of(ring_of(two), 1)
    reader, writer = os.pipe()
    begun, rest = OF_NEW[0][:30], OF_NEW[0][30:] + b"\n"
    with Service(two, "--stdin", stdin=reader) as service:
        os.close(reader)
        os.write(writer, b"".join(line + b"\n" for line in OF_OLD) + begun)
        eventually(lambda: len(rows(two)) == 40)
        asked: list[Answer] = []
        thread = threading.Thread(target=lambda: asked.append(ask(two, "keys", "destroy", "1", "--yes")))
        thread.start()
        service.said.until("reloaded")
        for start in range(0, len(rest), 7):
            os.write(writer, rest[start : start + 7])
        for line in OF_NEW[1:]:
            os.write(writer, line + b"\n")
        thread.join(PATIENCE)
        assert asked[0].status == OK, asked
        assert in_memory(service.process.pid, old) == set()
        os.close(writer)
        assert service.ended() == OK
    all_there(two, whole)


@contextmanager
def detached(program: Program) -> Iterator[int]:
    pid_file = program.folder / "pid"
    answer = ask(program, "run", "--daemonize", "--pid-file", pid_file, stdout=subprocess.DEVNULL)
    assert answer.status == OK, answer
    number = int(pid_file.read_text())
    handle = os.pidfd_open(number)
    try:
        yield number
        assert int(pid_file.read_text()) == number
    finally:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        assert select.select([handle], [], [], PATIENCE)[0], "the daemon does not end"
        os.close(handle)
    assert not pid_file.exists()


@as_root
def test_a_detached_daemon(two: Program, whole: list[Row]) -> None:
    """It stays the same process, detached, and takes its pid file away at its end."""
    old = secret_of(ring_of(two), 1)
    with detached(two) as number:
        assert deliver(two.folder / "stream", OF_OLD, 50) == len(OF_OLD)
        assert kinds(in_memory(number, old)) >= HANDED
        with Meanwhile(Datagrams(two.folder / "datagram")) as sent:
            destroy(two)
        assert in_memory(number, old) == set()
        assert os.getsid(number) != os.getsid(0)
        assert os.readlink(f"/proc/{number}/cwd") == "/"
        assert {os.readlink(f"/proc/{number}/fd/{fd}") for fd in range(3)} == {"/dev/null"}
        assert deliver(two.folder / "stream", OF_NEW, 50) == len(OF_NEW)
    all_there(two, whole, sent)


@as_root
def test_sockets_that_the_manager_handed_down(two: Program, whole: list[Row]) -> None:
    """They are handed on, and stay the manager's: the daemon does not take their names away."""
    old = secret_of(ring_of(two), 1)
    with socket.socket(socket.AF_UNIX) as stream, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        stream.bind(str(two.folder / "stream"))
        stream.listen()
        datagram.bind(str(two.folder / "datagram"))
        words = (
            f'exec 3<&{stream.fileno()} 4<&{datagram.fileno()}; export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a:b;'
            ' exec "$@"'
        )
        given = [stream.fileno(), datagram.fileno()]
        with Service(two, prefix=("bash", "-c", words, "bash"), pass_fds=given) as service:
            assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
            with Child(two) as child:
                assert child.reply()
                with Meanwhile(LockStep(child, OF_NEW)) as relayed, Meanwhile(Datagrams(service.datagram)) as sent:
                    destroy(two)
                left = OF_NEW[len(relayed.sent) :]
                assert child.deliver(left) == len(left)
                assert child.close() == OK
            assert in_memory(service.process.pid, old) == set()
            assert service.stop() == OK
        assert (two.folder / "stream").exists() and (two.folder / "datagram").exists()
    all_there(two, whole, sent)


@as_root
def test_a_child_of_rsyslogd_that_does_it_all(two: Program, whole: list[Row]) -> None:
    """It has no control socket. In lock step a line is at hand, or none."""
    old = secret_of(ring_of(two), 1)
    with Child(two, "--direct") as child:
        assert child.reply()
        assert child.deliver(OF_OLD) == len(OF_OLD)
        assert kinds(in_memory(child.process.pid, old)) >= HANDED
        with Meanwhile(LockStep(child, OF_NEW)) as relayed:
            destroy(two)
            assert in_memory(child.process.pid, old) == set()
        left = OF_NEW[len(relayed.sent) :]
        assert child.deliver(left) == len(left)
        assert child.replies == 1 + len(OF_OLD) + len(relayed.sent) + len(left)
        assert child.close() == OK
    all_there(two, whole)


def test_a_child_that_waits_for_lines(two: Program) -> None:
    with Child(two, "--direct") as child:
        assert child.reply()
        destroy(two)
        assert child.deliver(OF_NEW) == len(OF_NEW)
        assert child.close() == OK
    assert by_epoch(rows(two)) == {2: 2 * MAILS}


# -- in the middle of it

# Patches of the first program; the second is a fresh one.
AT = {
    "the end of the rounds": """
from sink.service.daemon import Daemon
leave = Daemon._leave
def leaving(self):
    if self._anew:
        os.kill(os.getpid(), NUMBER)
    leave(self)
    if self._anew:
        os.kill(os.getpid(), NUMBER)
Daemon._leave = leaving
""",
    "the last look": """
from sink.service.live import Live
heritage = Live.heritage
def left(self):
    os.kill(os.getpid(), NUMBER)
    return heritage(self)
Live.heritage = left
""",
    "the exec": """
execve = os.execve
def becoming(*given):
    if "--again" in given[1]:
        os.kill(os.getpid(), NUMBER)
    execve(*given)
os.execve = becoming
""",
}
# Python loads such a module when it starts.
STARTED = "import os, sys\nif '--again' in sys.orig_argv:\n    os.kill(os.getpid(), NUMBER)\n"
PLACES = [*AT, "the start of the new program"]


def signalled(program: Program, place: str, number: int) -> dict[str, Any]:
    """How to start a daemon that gets a signal at some place, once."""
    values = f"import os\nNUMBER = {int(number)}\n"
    if place in AT:
        return {"bug": values + AT[place]}
    folder = program.folder / "started"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(values + STARTED)
    return {"variables": {"PYTHONPATH": f"{environment()['PYTHONPATH']}:{folder}"}}


@pytest.mark.parametrize(
    ("place", "number"),
    [*((place, signal.SIGTERM) for place in PLACES), ("the exec", signal.SIGKILL), (PLACES[-1], signal.SIGKILL)],
)
def test_ended_in_the_middle(place: str, number: signal.Signals, two: Program, whole: list[Row]) -> None:
    """As ever: all that it confirmed is there; where it was told to end, its sockets are taken away."""
    with Service(two, **signalled(two, place, number)) as service:
        assert deliver(service.stream, [*OF_OLD, *OF_NEW[:100]], 50) == len(OF_OLD) + 100
        assert ask(two, "keys", "destroy", "1", "--yes").status == OK
        if number == signal.SIGKILL:
            assert service.ended() == -number
        else:
            # Told twice, it ends at once.
            assert service.ended() == (TEMPFAIL if place == "the end of the rounds" else OK)
            assert place == "the end of the rounds" or not service.datagram.exists()
    with Service(two) as service:
        assert deliver(service.stream, OF_NEW[100:], 50) == len(OF_NEW) - 100
        assert service.stop() == OK
    all_there(two, whole)


@pytest.mark.parametrize("place", PLACES)
def test_told_to_reload_in_the_middle_it_goes_on(place: str, two: Program, whole: list[Row]) -> None:
    with Service(two, **signalled(two, place, signal.SIGHUP)) as service:
        assert deliver(service.stream, [*OF_OLD, *OF_NEW[:100]], 50) == len(OF_OLD) + 100
        destroy(two)
        service.said.until(ANEW)
        service.said.until("ready")
        if place in ("the exec", "the start of the new program"):
            service.said.until("reloaded")  # what came too late for the old program is not lost
        assert deliver(service.stream, OF_NEW[100:], 50) == len(OF_NEW) - 100
        assert service.stop() == OK
    all_there(two, whole)


def test_what_the_manager_hears(two: Program, tmp_path: Path) -> None:
    with Manager(tmp_path) as manager:
        with Service(two, prefix=AS_SERVICE, variables=manager.variables) as service:
            manager.until("READY=1")
            heard = len(manager.all)
            destroy(two)
            manager.until("READY=1")
            assert service.stop() == OK
        states = [line for message in manager.so_far()[heard:] for line in message.split("\n")]
    states = [line.partition("=")[0] for line in states]
    assert states == ["RELOADING", "MONOTONIC_USEC", "READY", "STATUS", "STOPPING"]


@as_root
def test_a_store_that_is_full_meanwhile(two: Program, small_disk: Path, whole: list[Row]) -> None:
    """What it can't take yet is in the old program's memory alone: so that goes on until there is room."""
    old = secret_of(ring_of(two), 1)
    grow(small_disk)
    with Service(two) as service, Child(two) as child:
        assert child.reply()
        assert child.deliver(OF_OLD) == len(OF_OLD)
        asked: list[Answer] = []
        with Meanwhile(LockStep(child, OF_NEW)) as relayed:
            with pytest.raises(OSError, match="space"), (small_disk / "rest").open("wb", buffering=0) as rest:
                while rest.write(b"x" * 4096):
                    pass
            service.said.until("can't take more")
            thread = threading.Thread(target=lambda: asked.append(ask(two, "keys", "destroy", "1", "--yes")))
            thread.start()
            service.said.until("loaded anew")
            number = len(relayed.sent)
            assert not any(ANEW in words for words in service.said.all)
            assert kinds(in_memory(service.process.pid, old)) >= HANDED
            (small_disk / "rest").unlink()
            thread.join(PATIENCE)
            assert asked[0].status == OK, asked
            assert in_memory(service.process.pid, old) == set()
            eventually(lambda: len(relayed.sent) > number + 20)
        left = OF_NEW[len(relayed.sent) :]
        assert child.deliver(left) == len(left)
        assert child.close() == OK
        assert service.stop() == OK
    all_there(two, whole)


IMPATIENT = "from sink import control; from sink.tools import awaiting; control.PATIENCE, awaiting.PATIENCE = 0.5, 1.0"


def impatient(program: Program, *words: str) -> Answer:
    """Run a command that does not wait long for the daemon."""
    done = subprocess.run(
        [*with_bug(program, IMPATIENT), *words], env=environment(), capture_output=True, text=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def test_a_config_that_is_wrong_does_not_end_it(two: Program) -> None:
    """It goes on, and says so; when the config is right again, so is all else."""
    right = two.config.read_text()
    with Service(two) as service:
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        other = two.folder / "other.yaml"  # the command's own
        other.write_text(right)
        two.config.write_text(right + "stroe: x\n")
        done = subprocess.run(
            [*with_bug(two, IMPATIENT)[:-1], str(other), "keys", "destroy", "1", "--yes"], env=environment(),
            capture_output=True, text=True, check=False, timeout=PATIENCE,
        )  # fmt: skip
        one_line(Answer(done.returncode, "", done.stderr), TEMPFAIL, "the daemon has not", "look at its log")
        assert "stroe" in service.said.until("not reloaded")
        assert deliver(service.stream, OF_NEW[:100], 50) == 100
        two.config.write_text(right)
        service.send(signal.SIGHUP)
        service.said.until(ANEW)
        service.said.until("ready")
        # What could not be waited for can be asked for again.
        one_line(ask(two, "keys", "destroy", "1", "--yes"), USAGE, "destroyed already")
        assert deliver(service.stream, OF_NEW[100:], 50) == len(OF_NEW) - 100
        assert service.stop() == OK
    assert by_epoch(rows(two)) == {1: 40, 2: 2 * MAILS}


def test_a_daemon_that_does_not_forget_is_waited_for_again(two: Program) -> None:
    with Service(two) as service:
        service.send(signal.SIGSTOP)
        answer = impatient(two, "keys", "destroy", "1", "--yes")
        one_line(answer, TEMPFAIL, "the daemon has not", "restart it")
        assert "epoch 1 is destroyed" in answer.out
        again = impatient(two, "keys", "destroy", "1", "--yes")
        one_line(again, TEMPFAIL, "the daemon has not")
        service.send(signal.SIGCONT)
        one_line(ask(two, "keys", "destroy", "1", "--yes"), USAGE, "destroyed already")
        assert not set(told(two)) & {1}
        assert service.stop() == OK


def told(program: Program) -> list[int]:
    """The epochs whose keys were in the memory of whoever writes the live stream."""
    found = locks.told(program.store, "live")
    assert found
    numbers = found["epochs"]
    assert isinstance(numbers, list)
    return numbers


# -- an epoch begins


def test_rotate_returns_when_the_daemon_knows(live: Program) -> None:
    with Service(live) as service:
        answer = ask(live, "keys", "rotate")
        assert answer.status == OK
        assert "the daemon knows of it" in answer.out
        assert told(live) == [1, 2]
        assert service.status()["epoch"] == 1
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        assert service.stop() == OK
    assert by_epoch(rows(live)) == {1: 40}


def test_rotate_returns_when_a_child_of_rsyslogd_knows(live: Program) -> None:
    with Child(live, "--direct") as child:
        assert child.reply()
        assert "the daemon knows of it" in ask(live, "keys", "rotate").out
        assert told(live) == [1, 2]
        assert child.deliver(OF_OLD) == len(OF_OLD)
        assert child.close() == OK


def test_lines_on_both_sides_of_a_boundary(live: Program, some_lines: list[bytes], tmp_path: Path) -> None:
    """Whether they come live or from an archive; messages that are open then stay what they are."""
    at = int(datetime.fromisoformat(some_lines[len(some_lines) // 2][:32].decode()).timestamp())
    with_bounds(live, at)
    other = live.sibling(tmp_path / "imported")
    assert ask(other, "import", as_file(tmp_path, some_lines)).status == OK
    with Service(live) as service:
        assert deliver(service.stream, some_lines, 20) == len(some_lines)
        assert service.stop() == OK
    same_rows(live, other)
    assert min(by_epoch(rows(live)).values()) > 10
    summary = live.import_files(as_file(tmp_path, some_lines))
    assert summary["deliveries"] == summary["rejects"] == 0


MEANWHILE = """
from sink import config
from sink.keys import keyring
from sink.service import run
unlock = run.unlock_keyring
def unlocked(settings, secret):
    found = unlock(settings, secret)
    with keyring.changing(settings.keyring):
        keyring.save(found.keys.rotated(2_000_000_000), settings.keyring, found.secret)
    return found
run.unlock_keyring = unlocked
"""


def test_a_keyring_that_changes_while_the_daemon_starts(live: Program) -> None:
    """It is not taken for the one that was read before."""
    with Service(live, bug=MEANWHILE) as service:
        service.said.until("loaded anew")
        assert told(live) == [1, 2]
        assert service.stop() == OK


def test_a_keyring_that_can_not_be_loaded_is_tried_again(live: Program) -> None:
    path = live.folder / "keyring"
    right = path.read_bytes()
    with Service(live) as service:
        path.write_bytes(right[:-3] + b"xyz")
        assert "restore it from its backup" in service.said.until("is not loaded")
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        path.write_bytes(right)
        service.said.until("loaded anew")
        assert "the daemon knows of it" in ask(live, "keys", "rotate").out
        assert service.stop() == OK


def test_a_changed_keyring_does_not_bring_a_changed_config(live: Program) -> None:
    """Which nobody asked to be read, and which may be wrong."""
    right = live.config.read_text()
    with Service(live) as service:
        other = live.folder / "other.yaml"
        other.write_text(right)
        live.config.write_text(right + "stroe: x\n")
        words = [*command(live)[:-1], str(other), "keys", "rotate"]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=True, timeout=PATIENCE)
        assert "the daemon knows of it" in done.stdout
        assert not any("reloaded" in words for words in service.said.all)
        live.config.write_text(right)
        assert service.stop() == OK


def test_the_calendar_begins_epochs(live: Program) -> None:
    """Here it missed a turn: nobody was there. One is enough, also over a reload."""
    with_bounds(live, NOW - 800 * DAY)
    configured(live, rotate="yearly")
    with Service(live) as service:
        service.said.until("epoch 3 begins at")
        service.said.until("loaded anew")
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        eventually(lambda: told(live) == [1, 2, 3])
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        assert service.stop() == OK
    states = [epoch.state for epoch in ring_of(live).epochs]
    assert states == ["retired", "active", "coming"]
    since = ring_of(live).epochs[-1].since
    assert since is not None and since >= NOW + 60


def test_who_holds_the_keyring_holds_no_line_up(live: Program) -> None:
    """A command may wait for somebody who types; what is due waits, and the mail does not."""
    with_bounds(live, NOW - 800 * DAY)
    configured(live, rotate="yearly")
    ask(live, "db", "init")
    with keyring.changing(live.folder / "keyring"):
        with Service(live) as service:
            service.said.until("another command changes")
            started = time.monotonic()
            assert deliver(service.stream, OF_OLD[:50]) == 50
            assert time.monotonic() - started < 5
            assert service.stop() == OK


# -- rows and keys that leave in time


@as_root
def test_old_rows_leave_beside_the_mail_and_their_keys_with_them(live: Program) -> None:
    with_bounds(live, NOW - 20 * DAY)
    old = secret_of(ring_of(live), 1)
    configured(live, keep="1d", patience="1h")
    kept = [*mails(NEW, 10), *later(NEW + 20)]
    lines = [*mails(NOW - 30 * DAY, 600), *later(NOW - 29 * DAY), *mails(NOW - 3 * DAY, 30, first=4_000), *kept]
    assert ask(live, "import", as_file(live.folder, lines)).status == OK
    assert by_epoch(rows(live)) == {1: 1_200, 2: 80}
    gone = [row["id"] for row in rows(live) if (second(row["logged_at"]) or 0) < NOW - DAY]
    (live.folder / "mail.log").unlink()
    with Service(live) as service:
        with Child(live) as child:
            assert child.reply()
            with Meanwhile(LockStep(child, mails(NEW + 100, 500, first=9_000))) as relayed:
                service.said.until("epoch 1 is destroyed: it has no rows left")
                service.said.until(ANEW)
                service.said.until("ready")
                assert relayed.sent
            assert child.close() == OK
        assert in_memory(service.process.pid, old) == in_files(live.folder, old) == set()
        assert deliver(service.stream, later(NEW + 2_000), 1)
        eventually(lambda: len(rows(live)) > 20)
        left = b"".join(path.read_bytes() for path in live.folder.glob("s.sqlite*") if path.is_file())
        assert [one for one in gone if bytes.fromhex(one) in left] == []
        assert service.stop() == OK
    assert [epoch.state for epoch in ring_of(live).epochs] == ["destroyed", "active"]
    assert by_epoch(rows(live)).keys() == {2}
    assert min(second(row["logged_at"]) or 0 for row in rows(live)) == NEW


@as_root
def test_what_is_destroyed_on_another_host_is_forgotten_here(live: Program, tmp_path: Path) -> None:
    """As an import of the fleet's keyring has it, with a daemon that does not know of it."""
    with_bounds(live, BOUND)
    other = live.sibling(tmp_path / "other")
    old = secret_of(ring_of(live), 1)
    typed = "winter kettle drum ninety"
    with Service(live) as service:
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        assert kinds(in_memory(service.process.pid, old)) >= HANDED
        for words in (["rotate", "--in", "1d"], ["destroy", "1", "--yes"]):
            assert ask(other, "keys", *words).status == OK
            path = tmp_path / words[0]
            assert ask_who(other, "keys", "export", "--to", path, typed=(typed, typed))[0].status == OK
            answer, _ = ask_who(live, "keys", "import", path, typed=(typed,))
            assert answer.status == OK, answer
            assert told(live) == ([1, 2, 3] if words[0] == "rotate" else [2, 3])
        assert in_memory(service.process.pid, old) == in_files(live.folder, old) == set()
        assert deliver(service.stream, OF_NEW, 50) == len(OF_NEW)
        assert service.stop() == OK
    assert ring_of(live) == ring_of(other)


def test_db_prune_beside_a_daemon_that_confirms(live: Program) -> None:
    """It deletes bit by bit, and returns when the daemon has forgotten the keys, too."""
    with_bounds(live, NOW - 20 * DAY)
    configured(live, patience="1h")
    lines = [*mails(NOW - 30 * DAY, 3_000), *later(NOW - 29 * DAY), *mails(NOW - 3 * DAY, 30, first=4_000)]
    assert ask(live, "import", as_file(live.folder, lines)).status == OK
    (live.folder / "mail.log").unlink()
    slowest = Slowest()
    with Service(live) as service, Child(live) as child:
        assert child.reply()
        with Meanwhile(slowest.of(LockStep(child, mails(NEW, 500, first=9_000)))) as relayed:
            answer = ask(live, "db", "prune", "--older-than", "2d", "--yes")
            assert answer.status == OK
            assert told(live) == [2]
        assert "deleted 6060 rows" in answer.out
        assert "epoch 1 is destroyed: it has no rows left" in answer.out
        assert relayed.sent
        assert slowest.seconds < 4, "a line waited too long"
        assert child.close() == OK
        assert service.stop() == OK


def test_a_command_and_the_keeper_at_once(live: Program) -> None:
    """Both destroy an epoch; it is destroyed once, and nothing else is."""
    with_bounds(live, NOW - 40 * DAY, NOW - 30 * DAY)
    configured(live, keep="1d", patience="1h")
    ask(live, "db", "init")
    with Service(live) as service:
        for number in ("1", "2"):
            answer = ask(live, "keys", "destroy", number, "--yes")
            assert answer.status in (OK, USAGE), answer
        eventually(lambda: told(live) == [3])
        assert deliver(service.stream, OF_NEW, 50) == len(OF_NEW)
        assert service.stop() == OK
    assert [epoch.state for epoch in ring_of(live).epochs] == ["destroyed", "destroyed", "active"]
    assert by_epoch(rows(live)) == {3: 2 * MAILS}


# -- another user's, and another one's ears


# Makes the folder of Python one that everybody may enter, where it is not; but for this process alone.
OPEN_HOUSE = """\
mkdir "$0/all" && mount --bind "$SHUT" "$0/all" && mount -t tmpfs -o mode=755 tmpfs "$SHUT" &&
mkdir -p -m 755 "$HOUSE" && mount --bind "$0/all/${HOUSE#"$SHUT"}" "$HOUSE" && exec "$@"
"""


def open_house(folder: Path) -> dict[str, Any]:
    """How to start a program so that any user may start Python."""
    shut = [one for one in Path(sys.base_prefix).parents if not one.stat().st_mode & 0o001]
    if not shut:
        return {}
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")
    variables = {"SHUT": str(shut[-1]), "HOUSE": sys.base_prefix}
    prefix = ("unshare", "--mount", "--propagation", "private", "sh", "-c", OPEN_HOUSE, str(folder))
    return {"prefix": prefix, "variables": variables}


@pytest.fixture
def strange(keys: Program, live: Program) -> Program:
    """An installation of another user, to whom the seal is shut."""
    made = owned(live.folder, STRANGER)
    shutil.copy2(keys.folder / "seal.key", made.folder)
    shutil.copy2(keys.folder / "keyring", made.store.parent)
    os.chown(made.store.parent / "keyring", STRANGER, STRANGER)
    return made


@as_root
def test_a_daemon_that_root_started(strange: Program, tmp_path: Path) -> None:
    """Its new program can't read the seal, and need not."""
    lib = strange.store.parent
    old = secret_of(ring_of(strange), 1)
    with Service(strange, **open_house(tmp_path)) as service:
        assert deliver(lib / "stream", OF_OLD, 50) == len(OF_OLD)
        destroy(strange)
        assert in_memory(service.process.pid, old) == in_files(lib, old) == set()
        assert deliver(lib / "stream", OF_NEW[:50], 50) == 50
        service.said.until(ANEW)
        service.said.until("ready")
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        assert "the daemon knows of it" in ask(strange, "keys", "rotate").out
        assert deliver(lib / "stream", OF_NEW[50:], 50) == len(OF_NEW) - 50
        assert service.stop() == OK
    assert {path.stat().st_uid for path in lib.iterdir()} == {STRANGER}
    assert (strange.folder / "seal.key").stat().st_uid == 0


NO_PYTHON = "import sys; sys.executable = '/nowhere/python'"


@as_root
def test_where_no_new_program_can_be_it_goes_on(strange: Program) -> None:
    """As where root started it in a place that its user may not enter. It says so, and so does the command."""
    with Service(strange, bug=NO_PYTHON) as service:
        assert deliver(strange.store.parent / "stream", OF_OLD, 50) == len(OF_OLD)
        one_line(impatient(strange, "keys", "destroy", "1", "--yes"), TEMPFAIL, "the daemon has not", "restart it")
        assert "restart it" in service.said.until("can't begin anew")
        assert deliver(strange.store.parent / "stream", OF_NEW, 50) == len(OF_NEW)
        assert service.stop() == OK


# Makes a /dev of its own, in which the test listens at /dev/log.
OWN_DEV = """\
for name in null zero urandom random tty; do touch "$0/$name" && mount --bind "/dev/$name" "$0/$name" || exit 99; done
mount --rbind "$0" /dev && exec "$@"
"""


@as_root
def test_a_detached_daemon_speaks_to_syslog_on(two: Program) -> None:
    ears = two.folder / "dev"
    ears.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(ears / "log"))
        log.settimeout(PATIENCE)
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", OWN_DEV, str(ears)]
        words = ["run", "--daemonize", "--pid-file", str(two.folder / "pid")]
        done = subprocess.run([*prefix, *command(two), *words], env=environment(), check=False, timeout=PATIENCE)
        if done.returncode:
            pytest.skip("no mount namespace can be made here")
        handle = os.pidfd_open(int((two.folder / "pid").read_text()))
        try:
            heard = [b""]
            while b"ready" not in heard[-1]:
                heard.append(log.recv(4096))
            destroy(two)
            while b"ready" not in heard[-1] or len([one for one in heard if b"ready" in one]) < 2:
                heard.append(log.recv(4096))
        finally:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            assert select.select([handle], [], [], PATIENCE)[0], "the daemon does not end"
            os.close(handle)
    said = [one.partition(b": ")[2].decode() for one in heard[1:]]
    assert [words for words in said if ANEW in words or words == "ready"] == [
        "ready", "goes on as a new program, which knows nothing of what is destroyed", "ready",
    ]  # fmt: skip


def test_again_and_again(live: Program) -> None:
    """What was handed down once is handed down again."""
    with_bounds(live, OLD, BOUND)
    with Service(live) as service:
        number = service.process.pid
        with Meanwhile(Datagrams(service.datagram)) as sent:
            for epoch in ("1", "2"):
                assert "the daemon has forgotten it, too" in ask(live, "keys", "destroy", epoch, "--yes").out
        assert deliver(service.stream, OF_NEW, 50) == len(OF_NEW)
        assert service.process.pid == number and told(live) == [3]
        descriptors = len(os.listdir(f"/proc/{number}/fd"))
        assert descriptors < 20, "some were left open"
        assert service.stop() == OK
    assert not service.datagram.exists()
    assert by_epoch(rows(live)) == {3: 2 * MAILS + len(sent.sent)}


def test_nothing_is_loaded_from_the_current_folder(two: Program) -> None:
    """Whoever can write there would be the daemon."""
    with Service(two) as service:
        for name in ("sink", "yaml", "cryptography"):
            (two.folder / f"{name}.py").write_text(f"open('was-loaded-{name}', 'w')\n")
        words = [*command(two), "keys", "destroy", "1", "--yes"]  # from elsewhere
        subprocess.run(words, cwd="/", env=environment(), check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        service.said.until(ANEW)
        assert deliver(service.stream, OF_NEW, 50) == len(OF_NEW)
        assert service.stop() == OK
    assert list(two.folder.glob("was-loaded-*")) == []


CLOCK = """
import os, time
clock = time.time
time.time = lambda: clock() - 18_000 * os.path.exists(BACK)
"""


def test_a_clock_that_is_set_back_into_a_destroyed_epoch(two: Program) -> None:
    """The daemon goes on, and answers; what it is asked to load, it says it can't."""
    back = two.folder / "back"
    assert ask(two, "keys", "destroy", "1", "--yes").status == OK
    with Service(two, bug=f"BACK = {str(back)!r}\n{CLOCK}") as service:
        back.touch()
        assert service.status()["epoch"] == 1
        assert deliver(service.stream, OF_NEW, 50) == len(OF_NEW)
        service.send(signal.SIGHUP)
        assert "set the clock" in service.said.until("not reloaded")
        back.unlink()
        assert service.stop() == OK
    assert by_epoch(rows(two)) == {2: 2 * MAILS}


def test_a_keyring_that_is_sealed_anew(two: Program, whole: list[Row]) -> None:
    """The daemon goes on under the old seal's keys, and says so; told to, it takes up the new seal."""
    with Service(two) as service:
        assert deliver(service.stream, OF_OLD, 50) == len(OF_OLD)
        configured(two, seal=[{"file": "new.key"}, {"file": "seal.key"}])
        assert "restart the daemon" in ask(two, "keys", "reseal").out
        assert "correct `seal`" in service.said.until("is not loaded")
        assert deliver(service.stream, OF_NEW[:50], 50) == 50
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        (two.folder / "seal.key").unlink()
        destroy(two)
        assert deliver(service.stream, OF_NEW[50:], 50) == len(OF_NEW) - 50
        assert service.stop() == OK
    all_there(two, whole)
