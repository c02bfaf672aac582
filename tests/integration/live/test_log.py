"""The daemon's log: what `scrub` tells of each line, once and in order, whatever becomes of daemon, file and disk."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from sink.fault import CONFIG, OK
from tests.integration.asking import ask, one_line, rows
from tests.integration.live.confirming import Confirming, deliver, send_datagrams
from tests.integration.live.omprog import Child
from tests.integration.live.service import Service, eventually
from tests.integration.live.test_poison import POISON
from tests.integration.live.verdict import same_rows
from tests.judges.program import ROOT, Program

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def told(program: Program, **more: Any) -> Program:
    """With more in its config."""
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(yaml.safe_dump({**known, **more}))
    return program


@pytest.fixture
def logging(live: Program) -> Program:
    (live.folder / "log").mkdir()
    return told(live, log="log/mail.log")


def log_of(program: Program) -> Path:
    return program.folder / "log" / "mail.log"


def scrubbed(program: Program, lines: Sequence[bytes]) -> list[bytes]:
    """What the command makes of lines."""
    return program.run("scrub", stdin=b"".join(line + b"\n" for line in lines)).split(b"\n")[:-1]


def written(path: Path) -> list[bytes]:
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    return data.split(b"\n")[:-1]


def test_each_line_once_and_in_order(logging: Program, some_lines: list[bytes], some_imported: Program) -> None:
    with Service(logging) as service:
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        assert written(log_of(logging)) == scrubbed(logging, some_lines)  # what is confirmed is in it
        assert service.status()["log_lines_lost"] == 0
        assert service.stop() == OK
    assert stat.S_IMODE(log_of(logging).stat().st_mode) == 0o640
    same_rows(logging, some_imported)
    again = logging.sibling(logging.folder.parent / "again")
    again.import_files(log_of(logging))
    assert len(rows(again)) == len(rows(logging))


def test_of_a_socket_in_the_place_of_dev_log(logging: Program, some_lines: list[bytes]) -> None:
    """A priority is no part of a line in a file."""
    with Service(logging) as service:
        send_datagrams(service.datagram, [b"<22>" + line for line in some_lines])
        eventually(lambda: service.status()["lines"] == len(some_lines))
        assert service.stop() == OK
    assert written(log_of(logging)) == scrubbed(logging, some_lines)


@pytest.mark.parametrize("place", ["insert", "commit", "before-ok"])
def test_killed(place: str, logging: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Lines that were not confirmed are sent again: some stand there twice, none is missing, and each row is once."""
    wanted, dice = scrubbed(logging, some_lines), random.Random(place)
    confirmed = 0
    for _ in range(4):
        with Service(logging, place=place, number=dice.randint(1, 12)) as service:
            if service.is_ready:
                confirmed += deliver(service.stream, some_lines[confirmed:], 20)
    with Service(logging) as service:
        assert deliver(service.stream, some_lines[confirmed:], 100) == len(some_lines) - confirmed
        assert service.stop() == OK
    found = written(log_of(logging))
    assert list(dict.fromkeys(found)) == list(dict.fromkeys(wanted))
    assert len(found) >= len(wanted)
    same_rows(logging, some_imported)


# -- the file and its name


@pytest.mark.parametrize("is_told", [True, False], ids=["HUP", "by itself"])
def test_rotated(is_told: bool, logging: Program, some_lines: list[bytes]) -> None:
    """As logrotate does it, also while the config is wrong."""
    log, right = log_of(logging), logging.config.read_text()
    with Service(logging) as service:
        for number in range(5):
            with Confirming(service.stream) as client:
                client.send(*some_lines[number * 100 : number * 100 + 100])
                client.until(100)
            log.rename(log.with_name(f"mail.log.{number}"))
            if is_told:
                logging.config.write_text(right + "stroe: x\n" * (number % 2))
                service.send(signal.SIGHUP)
                service.said.until("not reloaded" if number % 2 else "reloaded")
            eventually(log.exists)
        assert service.stop() == OK
    found = [line for number in range(5) for line in written(log.with_name(f"mail.log.{number}"))]
    assert found == scrubbed(logging, some_lines[:500])
    assert log.read_bytes() == b""


def test_a_storm_of_hups(logging: Program, some_lines: list[bytes]) -> None:
    with Service(logging) as service:
        with Confirming(service.stream) as client:
            for start in range(0, 500, 5):
                service.send(signal.SIGHUP)
                client.send(*some_lines[start : start + 5])
                service.send(signal.SIGHUP)
            client.until(500)
        service.said.until("reloaded")
        assert service.stop() == OK
        assert not any("log" in words for words in service.said.rest())
    assert written(log_of(logging)) == scrubbed(logging, some_lines[:500])


def a_link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def a_second_name(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("")
    path.hardlink_to(other)


def of_another(path: Path) -> None:
    path.write_text("")
    os.chown(path, 65_534, 65_534)


@pytest.mark.parametrize("key", ["log", "clear_ips"])
@pytest.mark.parametrize(
    "make", [a_link, a_dangling_link, a_second_name, os.mkfifo, os.mkdir, pytest.param(of_another, marks=needs_root)]
)
def test_what_is_no_file_of_ours(make: Any, key: str, live: Program) -> None:
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/dev/shm"))
    try:
        path = folder / "x.log"
        make(path)
        before = os.lstat(path)
        told(live, **{key: {"path": str(path)}})
        one_line(ask(live, "run"), CONFIG, f"{key}: {path}")
        after = os.lstat(path)
        assert (after[:7], after.st_mtime_ns) == (before[:7], before.st_mtime_ns)  # a link's name may be read
        assert not path.with_name("elsewhere").exists()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["s.sqlite", "keyring", "seal.key", "./x/../keyring"])
def test_another_file_of_ours(name: str, live: Program) -> None:
    kept = {path.name: path.read_bytes() for path in live.folder.iterdir() if path.is_file()}
    told(live, log=name)
    kept["postsink.yaml"] = live.config.read_bytes()
    one_line(ask(live, "run"), CONFIG, "log: ", "is another file of postsink's")
    assert {path.name: path.read_bytes() for path in live.folder.iterdir() if path.name in kept} == kept


def test_one_file_for_both(live: Program) -> None:
    told(live, log="/dev/shm/postsink-test.log", clear_ips={"path": "/dev/shm/postsink-test.log"})
    one_line(ask(live, "run"), CONFIG, "clear_ips: ", "is another file of postsink's")
    assert not Path("/dev/shm/postsink-test.log").exists()


def test_in_rsyslogds_child(logging: Program, some_lines: list[bytes]) -> None:
    """Which takes no signal, and opens the file that has the name by itself."""
    with Child(logging, "--direct") as child:
        assert child.reply()
        assert child.deliver(some_lines[:100]) == 100
        assert written(log_of(logging)) == scrubbed(logging, some_lines[:100])
        assert child.close() == OK


def test_a_folder_that_is_missing_and_a_group_that_is_none(live: Program) -> None:
    one_line(ask(told(live, log="nowhere/mail.log"), "run"), CONFIG, "is in a folder that is missing")
    one_line(ask(told(live, log={"path": "mail.log", "group": "nosuchgroup"}), "run"), CONFIG, "group")


@needs_root
def test_a_group(live: Program) -> None:
    with Service(told(live, log={"path": "mail.log", "group": "adm"})) as service:
        found = (live.folder / "mail.log").stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (4, 0o640)
        assert service.stop() == OK


def test_a_log_switched_on_and_off(live: Program, some_lines: list[bytes]) -> None:
    off = live.config.read_text()
    (live.folder / "log").mkdir()
    with Service(live) as service:
        assert service.status()["log_lines_lost"] == 0
        for number, text in enumerate((yaml.safe_dump({**yaml.safe_load(off), "log": "log/mail.log"}), off)):
            live.config.write_text(text)
            service.send(signal.SIGHUP)
            service.said.until("reloaded")
            with Confirming(service.stream) as client:
                client.send(*some_lines[number * 100 : number * 100 + 100])
                client.until(100)
        live.config.write_text(yaml.safe_dump({**yaml.safe_load(off), "log": "."}))
        service.send(signal.SIGHUP)
        service.said.until("not reloaded: log:")
        assert service.stop() == OK
    assert written(log_of(live)) == scrubbed(live, some_lines[:100])


# -- a disk that is full


@pytest.fixture
def full_disk(live: Program) -> Iterator[Path]:
    """A disk of 64 kB for the log."""
    folder = live.folder / "log"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(full_disk: Path, live: Program, lines: list[bytes], imported: Program) -> None:
    """Rows go on; lines of the log are dropped, whole, and counted; then it goes on, too."""
    told(live, log="log/mail.log")
    with Service(live) as service:
        assert deliver(service.stream, lines, 100) == len(lines)
        lost = service.status()["log_lines_lost"]
        kept = written(log_of(live))
        assert lost == len(lines) - len(kept) > 1000
        service.said.until("log: lines can't be written and are dropped")
        wanted = iter(scrubbed(live, lines))
        assert all(line in wanted for line in kept)  # in their order
        subprocess.run(["mount", "-o", "remount,size=4m", full_disk], check=True)
        assert deliver(service.stream, lines[:50]) == 50
        assert service.status()["log_lines_lost"] == lost
        assert written(log_of(live))[-50:] == scrubbed(live, lines[:50])
        assert service.stop() == OK
    same_rows(live, imported)


def test_a_folder_that_goes(logging: Program, some_lines: list[bytes]) -> None:
    folder = log_of(logging).parent
    with Service(logging) as service:
        assert deliver(service.stream, some_lines[:100]) == 100
        shutil.rmtree(folder)
        service.said.until("is in a folder that is missing")
        assert deliver(service.stream, some_lines[100:200]) == 100
        assert service.status()["log_lines_lost"] == 100
        folder.mkdir()
        eventually(log_of(logging).exists)
        assert deliver(service.stream, some_lines[200:300]) == 100
        assert service.stop() == OK
    assert written(log_of(logging)) == scrubbed(logging, some_lines[200:300])


# -- hostile lines


def test_poison(logging: Program, some_lines: list[bytes]) -> None:
    """Each line is one line, whatever is in it; the fixture looks for what is raw."""
    with Service(logging) as service:
        assert deliver(service.stream, POISON, 50) == len(POISON)
        assert deliver(service.stream, some_lines[:100]) == 100
        assert service.stop() == OK
    found = written(log_of(logging))
    assert len(found) == len(POISON) + 100
    assert found[-100:] == scrubbed(logging, some_lines[:100])


# -- logrotate

LOGROTATE = ROOT / "build" / "unpacked" / "logrotate"


@needs_root
def test_logrotate(logging: Program, some_lines: list[bytes]) -> None:
    """Its shipped piece, with the paths, the user and the process of a test."""
    if not LOGROTATE.is_dir():
        pytest.skip("logrotate is not unpacked: packaging/prepare debian")
    log = log_of(logging)
    log.parent.chmod(0o2750)
    with Service(logging) as service:
        text = (ROOT / "packaging" / "debian" / "postsink.logrotate").read_text()
        changes = {
            "/var/log/postsink/*.log": f"{log.parent}/*.log",
            "su _postsink adm": "su root adm",
            "[ -d /run/systemd/system ]": "true",
            "systemctl kill --kill-whom=main --signal=HUP postsink.service": f"kill -HUP {service.process.pid}",
        }
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        piece = logging.folder / "logrotate.conf"
        piece.write_text(text)
        piece.chmod(0o644)
        for start in (0, 100, 200):
            assert deliver(service.stream, some_lines[start : start + 100]) == 100
            done = subprocess.run(
                [LOGROTATE / "usr/sbin/logrotate", "-v", "-f", "-s", logging.folder / "logrotate.state", piece],
                capture_output=True, text=True, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "error" not in done.stderr
            eventually(log.exists)
        assert service.stop() == OK
    names = ("mail.log.3.gz", "mail.log.2.gz", "mail.log.1")
    found = [gzip.decompress((log.parent / name).read_bytes()) for name in names[:2]]
    found.append((log.parent / names[2]).read_bytes())
    assert b"".join(found).split(b"\n")[:-1] == scrubbed(logging, some_lines[:300])
