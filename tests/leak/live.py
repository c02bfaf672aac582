"""Drives of the daemon and of rsyslogd's child: every way in, every word of theirs, every end."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import yaml

from sink.fault import FINDINGS, OK
from tests.integration.live.confirming import Confirming, deliver, send_datagrams, send_plain
from tests.integration.live.scraping import answer as scraped
from tests.integration.live.scraping import path_of, samples, scraping
from tests.integration.live.service import AS_SERVICE, Manager, Service, eventually
from tests.leak import planted
from tests.leak.cases import Case
from tests.leak.ground import Drive
from tests.leak.traced import PATIENCE, Call
from tests.leak.watch import to_standard_output, to_the_daemon

NOBODY = 65_534
ADDRESSES = "fail2ban.log"
LOADED = "import encodings.idna, encodings.punycode"  # nobody may have no right to read this Python
FEW = 40  # rows and refusals that come of all kinds of lines, at least


def all_lines() -> Sequence[bytes]:
    return (*planted.current(), *planted.troubles(), *planted.fields())


def few_lines() -> list[bytes]:
    """For lock step: a word in each field, and every fifth story."""
    hosts = {b"s%d" % number for number in range(0, 1000, 5)}
    return [*planted.fields(), *(line for line in planted.current() if line.split(b" ")[1] in hosts)]


def ended(drive: Drive, service: Service) -> None:
    """Looked at while it lives, then told to leave; it has kept what there was to keep."""
    drive.watch.look_at(service.process.pid)
    assert service.stop() == OK
    assert drive.rows() > FEW


def confirming(drive: Drive) -> None:
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    service.said.until("Postfix says")
    ended(drive, service)


def told(drive: Drive) -> None:
    """What the daemon says of itself when it has taken every kind of line, in each form; and to Prometheus."""
    scraping(drive.program)
    service = drive.serve()
    assert deliver(service.stream, all_lines(), 100) == len(all_lines())
    eventually(lambda: service.status()["hosts"])
    eventually(lambda: any(name.startswith("postsink_host_") for name, _ in samples(path_of(drive.program))))
    assert drive.ground.searcher.find(scraped(path_of(drive.program))[1].encode()) is None
    for form in ((), ("--json",), ("--check",)):
        said = drive.run("status", "--max-silence", "366d", *form, status=(OK, FINDINGS))
        assert "lines" in said
    ended(drive, service)


def plain_stream(drive: Drive) -> None:
    service = drive.serve()
    send_plain(service.stream, all_lines())
    ended(drive, service)


def datagrams(drive: Drive) -> None:
    service = drive.serve()
    send_datagrams(service.datagram, all_lines())
    ended(drive, service)


def pipe(drive: Drive) -> None:
    reader, writer = os.pipe()
    service = drive.serve("--stdin", stdin=reader)
    os.close(reader)
    with os.fdopen(writer, "wb") as file:
        file.write(b"".join(line + b"\n" for line in all_lines()))
        file.flush()
        service.said.until("Postfix says")
        drive.watch.look_at(service.process.pid)
    assert service.ended() == OK
    assert drive.rows() > FEW


def plain_file(drive: Drive) -> None:
    with drive.log("live").open("rb") as file:
        service = drive.serve("--stdin", stdin=file)
        assert service.ended() == OK
    assert drive.rows() > FEW


def relay(drive: Drive) -> None:
    service, child = drive.serve(), drive.child()
    assert child.reply()
    lines = few_lines()
    assert child.deliver(lines) == len(lines)
    drive.watch.look_at(child.process.pid)
    assert child.close() == OK
    ended(drive, service)


def relay_that_waits(drive: Drive) -> None:
    """The daemon dies under it, and comes back."""
    lines = few_lines()[:30]
    service = drive.serve()
    child = drive.child()
    assert child.reply()
    assert child.deliver(lines[:10]) == 10
    service.kill()
    child.give(lines[10])
    assert child.says_nothing(0.3)
    service = drive.serve()
    assert child.reply()
    assert child.deliver(lines[11:]) == len(lines) - 11
    assert child.close() == OK
    assert service.stop() == OK


def direct(drive: Drive) -> None:
    child = drive.child("--direct")
    assert child.reply()
    lines = few_lines()
    assert child.deliver(lines) == len(lines)
    drive.watch.look_at(child.process.pid)
    assert child.close() == OK
    assert drive.rows() > FEW


def detached(drive: Drive) -> None:
    """Its words go to syslog."""
    pid_file = drive.program.folder / "postsink.pid"
    drive.run("run", "--daemonize", "--pid-file", pid_file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    number = int(pid_file.read_text())
    handle = os.pidfd_open(number)
    try:
        lines = all_lines()
        assert deliver(drive.program.folder / "stream", lines, 100) == len(lines)
        drive.watch.look_at(number)
        known = drive.program.config.read_text()
        drive.program.config.write_text(known + "stroe: x\n")
        signal.pidfd_send_signal(handle, signal.SIGHUP)  # refused, and said
        assert deliver(drive.program.folder / "stream", lines[:3]) == 3
        if drive.ground.syslog.is_ours:
            eventually(lambda: any(b"stroe" in words for words in drive.ground.syslog.said))
    finally:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        gone = select.select([handle], [], [], PATIENCE)[0]
        os.close(handle)
    assert gone
    assert drive.rows() > FEW


def told_to_a_manager(drive: Drive) -> None:
    """States, status texts and watchdog of systemd."""
    with Manager(drive.program.folder) as manager:
        variables = {**manager.variables, "WATCHDOG_USEC": "400000"}
        service = drive.serve(before=AS_SERVICE, variables=variables)
        assert deliver(service.stream, all_lines(), 100) == len(all_lines())
        manager.until("WATCHDOG=1")
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        assert service.stop() == OK
        manager.until("STOPPING=1")


def of_another_owner(drive: Drive) -> None:
    """Root becomes who owns the store's folder, for an import and for the daemon."""
    folder = drive.program.folder
    for path in (folder, folder / "keyring"):
        os.chown(path, NOBODY, NOBODY)
    drive.run("import", drive.log("log"), bug=LOADED)
    service = drive.serve(bug=LOADED)
    send_plain(service.stream, all_lines())
    drive.watch.look_at(service.process.pid)
    assert service.stop() == OK
    assert drive.program.store.stat().st_uid == NOBODY
    assert drive.rows() > FEW


def reloaded(drive: Drive) -> None:
    """With a config that is wrong, a keyring that is damaged, then rightly; half a line waits meanwhile."""
    lines = all_lines()
    service = drive.serve()
    right, keyring = drive.program.config.read_text(), (drive.program.folder / "keyring").read_bytes()
    with Confirming(service.stream) as client:
        client.send(*lines[:500])
        client.until(500)
        client.send_raw(len(lines[500]).to_bytes(4, "big") + lines[500][:30])
        for text, data in ((right + "stroe: x\n", keyring), (right, keyring[:-3] + b"xyz")):
            drive.program.config.write_text(text)
            (drive.program.folder / "keyring").write_bytes(data)
            service.send(signal.SIGHUP)
            service.said.until("not reloaded")
        known = yaml.safe_load(right)
        known["listen"] = [{"stream": "stream"}, {"stream": "other"}]
        drive.program.config.write_text(yaml.safe_dump(known))
        (drive.program.folder / "keyring").write_bytes(keyring)
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        drive.watch.look_at(service.process.pid)
        client.send_raw(lines[500][30:])
        client.send(*lines[501:])
        client.until(len(lines))
    ended(drive, service)


class Terminal:
    """A terminal that somebody looks at."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self._seen, self._at = bytearray(), 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # nobody has it open any more
                return
            self._seen += data

    def until(self, words: str) -> None:
        """Wait until some words are shown, behind all that was waited for before."""
        eventually(lambda: self._seen.find(words.encode(), self._at) >= 0, PATIENCE)
        self._at = self._seen.find(words.encode(), self._at) + len(words)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode() + b"\n")

    def close(self) -> bytes:
        os.close(self.theirs)
        self._reader.join(PATIENCE)
        os.close(self._ours)
        return bytes(self._seen)


def on_a_terminal(*words: str) -> Case:
    """A command with a terminal for stdout and stderr: a progress bar, a table, a pager's words."""

    def play(drive: Drive) -> None:
        terminal = Terminal()
        drive.run(*words, drive.log("log"), stdout=terminal.theirs, stderr=terminal.theirs)
        assert terminal.close()

    allowed = (to_standard_output,) if words[0] == "explain" else ()
    return Case(f"{words[0]} on a terminal", play, (" ".join(words),), allowed)


def configured(drive: Drive, **more: object) -> None:
    known = yaml.safe_load(drive.program.config.read_text())
    drive.program.config.write_text(yaml.safe_dump({**known, **more}))


def logging(drive: Drive) -> None:
    """All lines go into the log, whose name changes meanwhile; then some as datagrams."""
    configured(drive, log="mail.log")
    log = drive.program.folder / "mail.log"
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    assert log.read_bytes().count(b"\n") == len(lines)
    log.rename(log.with_name("mail.log.1"))
    service.send(signal.SIGHUP)
    service.said.until("reloaded")
    send_datagrams(service.datagram, lines[:500])
    eventually(lambda: log.read_bytes().count(b"\n") == 500)
    ended(drive, service)


def banning(drive: Drive) -> None:
    """Addresses of clients go into a file in memory; nothing else that is raw does."""
    folder = Path(tempfile.mkdtemp(prefix="postsink-leak-", dir="/dev/shm"))
    drive.kept.callback(shutil.rmtree, folder)
    configured(drive, clear_ips={"path": str(folder / ADDRESSES)})
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    found = re.sub(rb"\[[0-9a-f.:]+\]", b"[]", (folder / ADDRESSES).read_bytes())
    assert found.count(b"\n") > FEW
    assert drive.ground.searcher.find(found) is None
    assert service.stop() == OK
    assert drive.rows() > FEW


def to_memory(call: Call) -> bool:
    """What banning() has looked at itself."""
    return call.name == "write" and call.target.startswith("/dev/shm/") and call.target.endswith("/" + ADDRESSES)


LIVE = (
    Case("run: lines that are confirmed", confirming, ("run",)),
    Case("run: plain lines", plain_stream),
    Case("run: asked what it has done", told),
    Case("run: datagrams", datagrams),
    Case("run --stdin: a pipe", pipe, ("run --stdin",)),
    Case("run --stdin: a file", plain_file),
    Case("run --daemonize", detached, ("run --daemonize --pid-file",)),
    Case("run: told to systemd", told_to_a_manager),
    Case("run: reloaded", reloaded),
    Case("run: with a log", logging),
    Case("run: with addresses for fail2ban", banning, (), (to_memory,)),
    Case("root becomes the owner", of_another_owner),
    Case("omprog", relay, ("omprog",), (to_the_daemon,)),
    Case("omprog: the daemon dies", relay_that_waits, (), (to_the_daemon,)),
    Case("omprog --direct", direct, ("omprog --direct",)),
    on_a_terminal("import"),
    on_a_terminal("explain"),
)
