"""Drives that end as none should: killed, interrupted, with a core, by a bug of ours."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sink.fault import OK, TEMPFAIL
from tests.integration.live.confirming import Confirming
from tests.integration.live.service import KILLED, Service, eventually
from tests.leak import planted
from tests.leak.canaries import STEM
from tests.leak.cases import Case
from tests.leak.ground import Drive
from tests.leak.live import all_lines
from tests.leak.watch import to_standard_output

BUG = 70  # sysexits EX_SOFTWARE
# An error that nobody foresaw, with all that the parser knew in its values and in those it came from.
BROKEN = """
from sink.core.parse import Parser
def broken(self, program, word, text):
    given = repr((word, text))
    try:
        int(given)
    except ValueError as error:
        raise KeyError(given, text, self.__dict__) from error
Parser.parse = Parser.parse_rest = broken
"""
# The same where Python would speak by itself: in a thread, in a destructor, as a warning, in a library's log.
SPEAKING = """
import logging, threading, warnings
from sink.core.pipeline import Pipeline
plain_take = Pipeline.take
def spoken(self, lines):
    text = repr(lines)
    class Odd:
        def __del__(self):
            raise ValueError(text)
    def fail():
        raise ValueError(text)
    Odd()
    thread = threading.Thread(target=fail, name=text[:200])
    thread.start()
    thread.join()
    warnings.warn(text)
    logging.getLogger("a.library").warning("%s %d", text, text)
    return plain_take(self, lines)
Pipeline.take = spoken
"""
# A core may be as large as it likes, whatever the program says: so it is where core_pattern names a program.
ENDLESS = """
import resource
set_limit = resource.setrlimit
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
set_limit(resource.RLIMIT_CORE, (most, most))
resource.setrlimit = lambda what, limits: None if what == resource.RLIMIT_CORE else set_limit(what, limits)
"""
# Stops in the middle of a line, where stack and heap hold as much as ever.
STANDING = """
import os, signal
from sink.core.pipeline import Pipeline
apply = Pipeline.apply
def standing(self, *given, **named):
    found = apply(self, *given, **named)
    os.kill(os.getpid(), signal.SIGSTOP)
    Pipeline.apply = apply
    return found
Pipeline.apply = standing
"""


# -- signals


def killed(place: str, number: int) -> Callable[[Drive], None]:
    """The daemon dies at a place, and what it left is searched; then another goes on from there."""

    def play(drive: Drive) -> None:
        service = drive.serve(place=place, number=number)
        with suppress(ConnectionError), Confirming(service.stream) as client:
            for at in range(0, len(all_lines()), 100):
                client.send(*all_lines()[at : at + 100])
                if not client.take():
                    break
        assert service.ended() == KILLED
        for name in ("s.sqlite", "s.sqlite-wal", "s.sqlite-shm"):
            path = drive.program.folder / name
            path.with_name("killed-" + name).write_bytes(path.read_bytes())
        service = drive.serve()
        assert service.stop() == OK

    return play


def import_killed(drive: Drive) -> None:
    for place, number in (("insert", 4), ("commit", 1), ("parse", 2)):
        drive.run("import", "--stream", "daily", drive.log("log"), place=place, number=number, status=KILLED)
    drive.run("import", "--stream", "daily", drive.log("log"))


def interrupted(drive: Drive) -> None:
    """Ctrl-C while it waits for more."""
    reader, writer = os.pipe()
    words = [*drive.watch.trace.prefix, *drive.words("import", "--year", "2026", "-")]
    with subprocess.Popen(words, stdin=reader, stderr=subprocess.PIPE, env=drive.watch.environment) as process:
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(drive.log("log").read_bytes())
            pipe.flush()
            pipe.write(b"half a line with " + STEM.encode())
            pipe.flush()
            eventually_read(pipe.fileno())
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == TEMPFAIL
            assert process.stderr is not None
            assert b"stopped" in process.stderr.read()


def eventually_read(pipe: int) -> None:
    """Wait until a pipe is empty."""
    from fcntl import ioctl
    from struct import unpack
    from termios import FIONREAD

    eventually(lambda: unpack("i", ioctl(pipe, FIONREAD, b"\0" * 4))[0] == 0)


def dumped(number: int, bug: str = "") -> Callable[[Drive], None]:
    """A signal that leaves a core, in the middle of a line.

    core_pattern may name a file, here in the daemon's folder, or a program: strace tells whether the kernel has written
    one, wherever it went.
    """

    def play(drive: Drive) -> None:
        service = drive.serve(bug=ENDLESS + STANDING + bug)
        with Confirming(service.stream) as client:
            client.send(*planted.fields())
            wait_until_stopped(service)
            drive.watch.look_at(service.process.pid)
            service.send(number)
            service.send(signal.SIGCONT)
            assert service.ended() == -number

    return play


def wait_until_stopped(service: Service) -> None:
    stat = Path("/proc") / str(service.process.pid) / "stat"
    eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] in "Tt")


# -- bugs of ours


def crashed(*words: str) -> Callable[[Drive], None]:
    """An error that nobody foresaw ends a command with its class and place."""

    def play(drive: Drive) -> None:
        said = drive.run(*words, bug=BROKEN, status=BUG, input=drive.log("fields").read_bytes())
        if words[0] != "omprog":  # rsyslogd gives it no stderr: it speaks to syslog
            assert "a bug: KeyError at" in said
        elif drive.ground.syslog.is_ours:
            eventually(lambda: any(b"a bug: KeyError at" in words for words in drive.ground.syslog.said))

    return play


def jobs_crashed(drive: Drive) -> None:
    """In the processes that an import has started."""
    said = drive.run("import", "--jobs", "2", drive.log("live"), drive.log("fields"), bug=BROKEN, status=BUG)
    assert "a bug: KeyError at" in said


def daemon_crashed(drive: Drive) -> None:
    service = drive.serve(bug=BROKEN, may_crash=True)
    with suppress(ConnectionError), Confirming(service.stream) as client:
        client.send(*all_lines())
        while client.take():
            pass
    assert service.ended() == BUG
    assert "a bug" in "\n".join(service.said.all)


def daemon_speaking(drive: Drive) -> None:
    variables = {"PYTHONDEVMODE": "1", "PYTHONFAULTHANDLER": "1"}
    service = drive.serve(bug=SPEAKING, variables=variables, may_crash=True)
    with Confirming(service.stream) as client:
        client.send(*planted.fields())
        client.until(len(planted.fields()))
    assert service.stop() == OK
    assert "a warning: UserWarning" in "\n".join(service.said.all)


ENDS = (
    Case("run: killed before a commit", killed("insert", 3)),
    Case("run: killed after a commit", killed("commit", 5)),
    Case("run: killed in a checkpoint", killed("checkpoint", 2)),
    Case("import: killed", import_killed),
    Case("import: interrupted", interrupted),
    Case("run: SIGSEGV", dumped(signal.SIGSEGV)),
    Case("run: SIGABRT", dumped(signal.SIGABRT)),
    Case("a bug: import", crashed("import", "--year", "2026")),
    Case("a bug: import --jobs", jobs_crashed),
    Case("a bug: explain", crashed("explain"), allowed=(to_standard_output,)),
    Case("a bug: omprog --direct", crashed("omprog", "--direct")),
    Case("a bug: run", daemon_crashed),
    Case("what Python says by itself", daemon_speaking),
)
