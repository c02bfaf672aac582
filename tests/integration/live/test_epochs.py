"""Whoever writes the live stream while keys change: it loses no line, and forgets what is destroyed."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from sink.fault import OK
from tests.integration.asking import PATIENCE, Answer, ask, rows
from tests.integration.epochs import (
    BOUND,
    HELD,
    NEW,
    OLD,
    as_file,
    by_epoch,
    later,
    mails,
    refusal,
    ring_of,
    secret_of,
    with_bounds,
)
from tests.integration.live.confirming import deliver
from tests.integration.live.memory import in_files, in_memory, kinds
from tests.integration.live.omprog import Child
from tests.integration.live.service import Service, eventually
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a process that is not dumpable is read by root alone")

OF_OLD = [*mails(OLD, 20), *later(NEW - HELD)]  # no message of the past epoch is open behind them
OF_NEW = [*mails(NEW, 300, first=100), *later(NEW + 310)]
HANDED = {"key", "key in hex", "subkey, inner state", "subkey, outer state"}  # what a process at work has of a key
ANEW = "goes on as a new program"


@pytest.fixture
def two(live: Program) -> Program:
    """An installation with a past epoch and an active one."""
    with_bounds(live, BOUND)
    return live


def undisturbed(program: Program, lines: Sequence[bytes], folder: Path) -> Program:
    """An import of lines under the same keys, of which none is destroyed yet."""
    made = program.sibling(folder / "undisturbed")
    assert ask(made, "import", as_file(made.folder, lines)).status == OK
    assert rows(made)
    return made


def destroy(program: Program) -> None:
    answer = ask(program, "keys", "destroy", "1", "--yes")
    assert answer.status == OK, answer
    assert "the daemon has forgotten it, too" in answer.out


class Sender:
    """Sends the line of a number, and returns it."""

    def send(self, number: int) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass


class Datagrams(Sender):
    """A refusal a time, as Postfix sends: whatever keeps it from being taken is an error."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(path))

    def send(self, number: int) -> bytes:
        line = refusal(NEW + number % 300, number, b"dg1")
        self._socket.send(line)
        return line

    def close(self) -> None:
        self._socket.close()


class Plain(Sender):
    """A refusal a time, as syslog-ng sends: it connects again, and again sends what was not taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, number: int) -> bytes:
        line = refusal(NEW + number % 300, number, b"st1")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX)
                    self._socket.connect(str(self._path))
                self._socket.sendall(line + b"\n")
            except OSError:
                self.close()
            else:
                return line
        raise AssertionError("nobody takes it")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None


class LockStep(Sender):
    """The next line by a child of rsyslogd's, confirmed."""

    def __init__(self, child: Child, lines: Sequence[bytes]) -> None:
        self._child = child
        self._left = iter(lines)

    def send(self, number: int) -> bytes:
        line = next(self._left)
        assert self._child.send(line), "the child has gone"
        return line


class Meanwhile:
    """Sends again and again, beside what the test does; the lines that were sent are in `sent`."""

    def __init__(self, sender: Sender) -> None:
        self.sent: list[bytes] = []
        self.wrong: list[BaseException] = []
        self._sender = sender
        self._over = threading.Event()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self.sent.append(self._sender.send(len(self.sent)))
                self._begun.set()
                self._over.wait(0.002)
        except StopIteration:
            pass
        except (OSError, AssertionError) as error:
            self.wrong.append(error)
        finally:
            self._begun.set()
            self._sender.close()

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if not any(error):
            assert self.wrong == []


# -- nothing is lost, and nothing is left


@as_root
def test_a_destroyed_key_is_in_no_memory_and_no_file(two: Program, tmp_path: Path) -> None:
    """While rsyslogd's relay hands over lines, datagrams come, and plain lines."""
    keys = two.sibling(tmp_path / "keys")
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
                eventually(lambda: len(relayed.sent) > 50)
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
    assert len(by_datagram.sent) > 50 and len(by_stream.sent) > 20
    everything = [*OF_OLD, *relayed.sent, *left, *by_datagram.sent, *by_stream.sent]
    same_rows(two, undisturbed(keys, everything, tmp_path))
    assert by_epoch(rows(two))[1] == 40


@as_root
def test_standard_input(two: Program, tmp_path: Path) -> None:
    """As syslog-ng's program() has it: its lines go on, also one that has only begun."""
    keys = two.sibling(tmp_path / "keys")
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
    same_rows(two, undisturbed(keys, [*OF_OLD, *OF_NEW], tmp_path))


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
def test_a_detached_daemon(two: Program, tmp_path: Path) -> None:
    """It stays the same process, detached, and takes its pid file away at its end."""
    keys = two.sibling(tmp_path / "keys")
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
    same_rows(two, undisturbed(keys, [*OF_OLD, *OF_NEW, *sent.sent], tmp_path))


@as_root
def test_sockets_that_the_manager_handed_down(two: Program, tmp_path: Path) -> None:
    """They are handed on, and stay the manager's: the daemon does not take their names away."""
    keys = two.sibling(tmp_path / "keys")
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
    same_rows(two, undisturbed(keys, [*OF_OLD, *relayed.sent, *left, *sent.sent], tmp_path))


@as_root
def test_a_child_of_rsyslogd_that_does_it_all(two: Program, tmp_path: Path) -> None:
    """It has no control socket. In lock step a line is at hand, or none."""
    keys = two.sibling(tmp_path / "keys")
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
    same_rows(two, undisturbed(keys, [*OF_OLD, *relayed.sent, *left], tmp_path))


def test_a_child_that_waits_for_lines(two: Program) -> None:
    with Child(two, "--direct") as child:
        assert child.reply()
        destroy(two)
        assert child.deliver(OF_NEW) == len(OF_NEW)
        assert child.close() == OK
    assert by_epoch(rows(two)) == {2: 600}
