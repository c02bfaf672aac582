"""What a hostile client, a changed config or a lost file once did to the daemon."""

from __future__ import annotations

import os
import select
import signal
import socket
import sqlite3
import subprocess
from pathlib import Path

import yaml

from sink.fault import CONFIG, OK, TEMPFAIL
from tests.integration.asking import PATIENCE, Answer, ask, environment, one_line
from tests.integration.asking import command as command_of
from tests.integration.live.confirming import Confirming, frame
from tests.integration.live.service import Service
from tests.judges.program import Program


def datagram(path: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.connect(str(path))
        one.send(line)


def relisten(program: Program, *listen: dict[str, object]) -> None:
    known = yaml.safe_load(program.config.read_text())
    known["listen"] = list(listen)
    program.config.write_text(yaml.safe_dump(known))


def test_who_connects_while_the_store_is_full_waits(live: Program, some_lines: list[bytes]) -> None:
    """Its lines were once thrown away with the datagrams, and confirmed all the same."""
    with Service(live) as service, sqlite3.connect(live.store, isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with Confirming(service.stream) as before, Confirming(service.stream) as after:
            before.send(*some_lines[:200])
            service.said.until("can't take more")
            after.send(*some_lines[200:400])
            datagram(service.datagram, some_lines[500])
            service.said.until("dropped 1 datagrams")
            assert not before.has_answer()
            assert not after.has_answer()
            holder.execute("ROLLBACK")
            before.until(200)
            after.until(200)
        assert service.status()["lines"] == 400
        assert service.stop() == OK
    holder.close()


def test_a_short_lock_drops_nothing(live: Program, some_lines: list[bytes]) -> None:
    """Another command's transaction is waited for, and datagrams are taken meanwhile."""
    with Service(live) as service, sqlite3.connect(live.store, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with Confirming(service.stream) as client:
            client.send(*some_lines[:200])
            for line in some_lines[200:300]:
                datagram(service.datagram, line)
            assert not client.has_answer(1)
            holder.execute("ROLLBACK")
            client.until(200)
        assert service.stop() == OK
        assert "can't take" not in " ".join(service.said.all)
    holder.close()


def test_a_store_that_was_taken_away_stops_the_daemon(live: Program, some_lines: list[bytes]) -> None:
    with Service(live) as service, Confirming(service.stream) as client:
        client.send(*some_lines[:10])
        client.until(10)
        for file in live.folder.glob(live.store.name + "*"):
            if file.suffix not in (".lock", ".control"):
                file.unlink()
        client.send(*some_lines[10:200])
        while client.take():
            pass
        assert client.confirmed < 200
        assert service.ended() == CONFIG


def test_a_reload_takes_what_waits_at_a_socket_that_goes(live: Program, some_lines: list[bytes]) -> None:
    with Service(live) as service:
        service.send(signal.SIGSTOP)
        for line in some_lines[:5]:
            datagram(service.datagram, line)
        plain = [socket.socket(socket.AF_UNIX) for _ in range(5)]
        for one, line in zip(plain, some_lines[5:10], strict=True):
            one.connect(str(service.stream))
            one.send(line + b"\n")
        relisten(live, {"stream": "other"})
        service.send(signal.SIGHUP)
        service.send(signal.SIGCONT)
        service.said.until("reloaded")
        assert service.stop() == OK
        for one in plain:
            one.close()
    assert not service.stream.exists()


def test_a_reload_changes_the_mode_but_not_the_kind(live: Program) -> None:
    with Service(live) as service:
        relisten(live, {"stream": "stream", "mode": "0660"}, {"datagram": "datagram"})
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        assert service.stream.stat().st_mode & 0o777 == 0o660
        relisten(live, {"datagram": "stream"}, {"stream": "new"})
        service.send(signal.SIGHUP)
        service.said.until("not reloaded")
        assert not (live.folder / "new").exists()
        with Confirming(service.stream):
            assert service.status()["ok"]


def test_many_connections_cost_no_core(live: Program) -> None:
    """No descriptor is left: who is there goes on, and the daemon rests."""
    prefix = ("prlimit", "--nofile=40:40")
    with Service(live, prefix=prefix) as service, Confirming(service.stream) as client:
        crowd = [socket.socket(socket.AF_UNIX) for _ in range(60)]
        for one in crowd:
            one.connect(str(service.stream))
        service.said.until("can't let in")
        client.send(b"x")
        client.until(1)
        for one in crowd:
            one.close()
        with Confirming(service.stream) as late:
            late.send(b"x")
            late.until(1)


def test_a_relay_that_is_sent_away_comes_back_slowly(live: Program) -> None:
    """Somebody accepts and hangs up: a few tries a second, dots for rsyslogd, and an end at stdin's end."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(live.folder / "stream"))
        listener.listen(8)
        child = subprocess.Popen(
            [*command_of(live), "omprog"], cwd=live.folder, env=environment(), bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert child.stdin
        assert child.stdout
        child.stdin.write(b"a line\n")
        said, tries = b"", 0
        while said.count(b".") < 3:
            if select.select([listener], [], [], 0)[0]:
                listener.accept()[0].close()
                tries += 1
            if select.select([child.stdout], [], [], 0)[0]:
                said += os.read(child.stdout.fileno(), 100)
        assert tries < 40
        child.stdin.close()
        assert child.wait(PATIENCE) == OK
        child.stdout.close()


def test_a_reset_waits_for_the_daemon_to_end(live: Program) -> None:
    with Service(live) as service:
        one_line(ask(live, "db", "reset", "--yes"), TEMPFAIL, "another postsink writes stream live")
        assert service.stop() == OK
    answer: Answer = ask(live, "db", "reset", "--yes")
    assert answer.status == OK


def test_half_a_frame_and_another_version(live: Program) -> None:
    with Service(live) as service:
        giant, half = b"\0postsink 1\n\xff\xff\xff\xff", b"\0postsink 1\n" + frame(b"x")[:-1]
        for opening in (b"\0postsink 2\n", b"\0", giant, half):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(service.stream))
                one.sendall(opening)
        with Confirming(service.stream) as client:
            client.send(b"x")
            client.until(1)
        assert service.stop() == OK
