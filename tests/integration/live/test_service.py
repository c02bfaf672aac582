"""The daemon as its manager sees it: start, stop, reload, one writer, and what it says of itself."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from sink.fault import CONFIG, NOINPUT, OK, TEMPFAIL
from tests.integration.asking import PATIENCE, Answer, ask, command, environment, one_line, rows
from tests.integration.live.confirming import Confirming, deliver, send_datagrams, send_plain
from tests.integration.live.service import AS_SERVICE, Manager, Service, eventually
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program

QUIET = 10  # seconds of wall clock without a newer line, after which a row leaves
QUEUED = (
    b"2026-11-02T09:00:00+00:00 mx1 postfix/qmgr[9]: 4A5A321A867: from=<alice@example.org>, size=77, nrcpt=1"
    b" (queue active)"
)
CLIENT = b"2026-11-02T09:00:00+00:00 mx1 postfix/smtpd[9]: 4A5A321A867: client=x[192.0.2.1], sasl_username=alice"
LATER = b"2026-11-02T09:00:10+00:00 mx1 postfix/anvil[1]: statistics: max cache size 1 at Nov  2 08:00:00"
SENT = (
    b"2026-11-02T09:00:00.500000+00:00 mx1 postfix/smtp[9]: 4A5A321A867: to=<bob@example.net>, relay=none, delay=1,"
    b" delays=1/0/0/0, dsn=2.0.0, status=sent (250 ok)"
)


def settled(live: Program, number: int) -> None:
    """Wait until so many rows are there, by the wall clock."""
    eventually(lambda: len(rows(live)) >= number, QUIET + PATIENCE)
    assert len(rows(live)) == number


# -- sources


def test_the_confirming_protocol(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    with Service(live) as service:
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        assert service.status()["lines"] == len(some_lines)
        assert service.stop() == OK
    same_rows(live, some_imported)


@pytest.mark.parametrize("size", [1, 3, 7, 4096])
def test_frames_cut_anywhere(size: int, live: Program, some_lines: list[bytes]) -> None:
    data = b"".join(len(line).to_bytes(4, "big") + line for line in some_lines[:30])
    with Service(live) as service:
        with Confirming(service.stream) as client:
            for start in range(0, len(data), size):
                client.send_raw(data[start : start + size])
            client.until(30)
        assert service.status()["lines"] == 30


def test_a_frame_that_breaks_off_is_no_line(live: Program, some_lines: list[bytes]) -> None:
    with Service(live) as service:
        with Confirming(service.stream) as client:
            client.send(*some_lines[:3])
            client.send_raw(b"\0\0\0\x50" + some_lines[3][:20])
            client.no_more()
            client.until(3)
            assert not client.take()
        assert service.status()["lines"] == 3


def test_plain_lines(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """What a plain client sent and closed is taken before the daemon ends."""
    with Service(live) as service:
        send_plain(service.stream, some_lines)
        assert service.stop() == OK
    same_rows(live, some_imported)


def test_datagrams(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    with Service(live) as service:
        send_datagrams(service.datagram, some_lines)
        assert service.stop() == OK
    same_rows(live, some_imported)


def test_standard_input(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Its end ends the daemon."""
    reader, writer = os.pipe()
    with Service(live, "--stdin", stdin=reader) as service:
        os.close(reader)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(b"".join(line + b"\n" for line in some_lines))
        assert service.ended() == OK
    same_rows(live, some_imported)


def test_all_sources_at_once(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Two relays, one for each host, beside plain lines that are no syslog: each gets its own count."""
    parts = [[line for line in some_lines if b" %b postfix" % host in line] for host in (b"mx1", b"out1")]
    with Service(live) as service:
        with Confirming(service.stream) as one, Confirming(service.stream) as other:
            longest = max(map(len, parts))
            for start in range(0, longest, 50):
                for client, part in zip((one, other), parts, strict=True):
                    client.send(*part[start : start + 50])
                send_plain(service.stream, [b"what is this"])
            one.until(len(parts[0]))
            other.until(len(parts[1]))
        assert service.stop() == OK
    same_rows(live, some_imported)


# -- start and end


def test_one_writer(live: Program, some_lines: list[bytes]) -> None:
    """The second one goes, and leaves the first one's sockets alone."""
    with Service(live) as service:
        one_line(ask(live, "run"), TEMPFAIL, "another postsink")
        assert deliver(service.stream, some_lines[:100], 10) == 100
        assert service.stop() == OK
    with Service(live) as service:
        assert service.stop() == OK


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_takes_what_has_arrived(number: int, live: Program, some_lines: list[bytes]) -> None:
    """Lines that lie in the socket are taken, committed and confirmed."""
    with Service(live) as service:
        with Confirming(service.stream) as client:
            service.send(signal.SIGSTOP)
            client.send(*some_lines[:100])
            service.send(number)
            service.send(signal.SIGCONT)
            client.until(100)
            assert not client.take()
        assert service.ended() == OK
    assert rows(live) or live.query("SELECT count(*) FROM open_message")[0][0]


def test_sockets_are_gone_after_the_end(live: Program) -> None:
    with Service(live) as service:
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (service.stream, service.datagram)]
        assert all(mode & 0o006 == 0 or mode == 0o666 for mode in modes)
        assert service.stop() == OK
        assert not service.stream.exists() and not service.datagram.exists()


def test_sockets_of_a_dead_daemon_are_replaced(live: Program, some_lines: list[bytes]) -> None:
    with Service(live) as service:
        service.kill()
        assert service.stream.exists()
    with Service(live) as service:
        assert deliver(service.stream, some_lines[:10]) == 10
        assert service.status()["lines"] == 10


def test_a_file_where_a_socket_should_be(live: Program) -> None:
    (live.folder / "stream").write_text("mine\n")
    answer = ask(live, "run")
    assert answer.status not in (OK, None)
    one_line(answer, answer.status, "stream")
    assert (live.folder / "stream").read_text() == "mine\n"


def test_no_keyring(live: Program) -> None:
    (live.folder / "keyring").unlink()
    one_line(ask(live, "run"), NOINPUT, "keyring is missing")


def test_a_second_signal_leaves_at_once(live: Program, some_lines: list[bytes]) -> None:
    """While a slow end is under way, since a client holds its connection open and goes on sending."""
    with Service(live) as service:
        with Confirming(service.stream) as client:
            client.send(*some_lines[:10])
            client.until(10)
            service.send(signal.SIGSTOP)
            client.send(*some_lines[10:1000])
            service.send(signal.SIGTERM)
            service.send(signal.SIGCONT)
            service.send(signal.SIGTERM)
            service.ended()
    with Service(live) as service:
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        assert service.stop() == OK


def test_open_messages_outlive_a_restart(live: Program) -> None:
    """A row waits over a stop and a kill, and gets its facts."""
    with Service(live) as service:
        assert deliver(service.stream, [QUEUED]) == 1
        assert service.status()["open_messages"] == 1
        service.kill()
    with Service(live) as service:
        assert service.status()["open_messages"] == 1
        assert deliver(service.stream, [SENT]) == 1
        assert service.stop() == OK
    assert rows(live) == []
    with Service(live):
        settled(live, 1)
    (row,) = rows(live)
    assert row["message_size"] == 77
    assert row["sender"] is not None


# -- reload


def test_a_reload_loses_no_line(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    with Service(live) as service, Confirming(service.stream) as client:
        for start in range(0, len(some_lines), 20):
            client.send(*some_lines[start : start + 20])
            service.send(signal.SIGHUP)
        client.until(len(some_lines))
        assert service.stop() == OK
    same_rows(live, some_imported)


def test_a_reload_of_a_broken_config(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """It says so in one line and goes on as before."""
    text = live.config.read_text()
    with Service(live) as service, Confirming(service.stream) as client:
        client.send(*some_lines[:500])
        live.config.write_text(text + "stroe: x\n")
        service.send(signal.SIGHUP)
        assert "stroe" in service.said.until("unknown key")
        live.config.write_text(text)
        client.send(*some_lines[500:])
        client.until(len(some_lines))
        assert service.stop() == OK
    same_rows(live, some_imported)


def test_a_reload_takes_the_new_config(live: Program, with_keys: Program, tmp_path: Path) -> None:
    known = yaml.safe_load(live.config.read_text())
    with Manager(tmp_path) as manager:
        with Service(live, prefix=AS_SERVICE, variables=manager.variables) as service:
            manager.until("READY=1")
            live.config.write_text(yaml.safe_dump({**known, "local_domains": ["example.net"]}))
            service.send(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in manager.until("RELOADING=1")
            manager.until("READY=1")
            assert deliver(service.stream, [CLIENT, SENT, LATER]) == 3
            assert service.stop() == OK
    assert [row["is_outgoing"] for row in rows(live)] == [0]


# -- the service manager


def test_states_that_the_manager_hears(live: Program, some_lines: list[bytes], tmp_path: Path) -> None:
    with Manager(tmp_path) as manager:
        variables = {**manager.variables, "WATCHDOG_USEC": "400000"}
        with Service(live, prefix=AS_SERVICE, variables=variables) as service:
            manager.until("READY=1")
            manager.until("WATCHDOG=1")
            assert deliver(service.stream, some_lines[:50]) == 50
            manager.until("WATCHDOG=1")
            service.send(signal.SIGTERM)
            manager.until("STOPPING=1")
            assert service.ended() == OK
        heard = "\n".join(manager.so_far())
        assert "\nSTATUS=" in heard
        assert "example" not in heard


def test_another_services_manager_hears_nothing(live: Program, tmp_path: Path) -> None:
    """rsyslogd's children inherit its NOTIFY_SOCKET."""
    with Manager(tmp_path) as manager:
        variables = {**manager.variables, "SYSTEMD_EXEC_PID": "1", "WATCHDOG_USEC": "100000"}
        with Service(live, variables=variables) as service:
            assert service.stop() == OK
        assert manager.so_far() == []


def test_sockets_that_the_manager_hands_down(live: Program, some_lines: list[bytes]) -> None:
    """Lines that came before the daemon was there are not lost."""
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(live.folder / "stream"))
        given.listen()
        with Confirming(live.folder / "stream") as client:
            client.send(*some_lines[:20])
            words = f'exec 3<&{given.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
            hand_down = ("bash", "-c", words, "bash")
            with Service(live, prefix=hand_down, pass_fds=[given.fileno()]) as service:
                client.until(20)
                assert service.stop() == OK
    assert (live.folder / "stream").exists()


def test_a_classic_daemon(live: Program, some_lines: list[bytes], tmp_path: Path) -> None:
    pid_file = live.folder / "postsink.pid"
    answer = ask(live, "run", "--daemonize", "--pid-file", pid_file, stdout=subprocess.DEVNULL)
    assert answer.status == OK, answer
    number = int(pid_file.read_text())
    handle = os.pidfd_open(number)
    try:
        assert deliver(live.folder / "stream", some_lines[:50]) == 50
        assert os.readlink(f"/proc/{number}/cwd") == "/"
        assert os.getsid(number) != os.getsid(0)
        one_line(ask(live, "run", "--daemonize", "--pid-file", pid_file), TEMPFAIL, "another postsink")
        assert int(pid_file.read_text()) == number
    finally:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        gone(handle)
        os.close(handle)
    assert not pid_file.exists()
    assert live.query("SELECT count(*) FROM open_message")[0][0] > 0


def gone(handle: int) -> None:
    import select

    assert select.select([handle], [], [], PATIENCE)[0], "the daemon does not end"


def test_a_store_of_another_key_stops_the_start(live: Program, tmp_path: Path) -> None:
    ask(live, "db", "init")
    other = Program(tmp_path / "other", timezone="UTC", store=str(live.store), listen=[{"stream": "s"}]).make_keys()
    done = subprocess.run(
        [*command(other), "run"], env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    one_line(Answer(done.returncode, done.stdout, done.stderr), CONFIG, "was made with another key")
    assert not (other.folder / "s").exists()
