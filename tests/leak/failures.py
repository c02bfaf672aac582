"""Drives in which something fails: disks, stores, keys, configs, lines, signals, and the program itself."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest
import yaml

from sink.fault import CONFIG, DATA, NOINPUT, OK, TEMPFAIL
from tests.integration.live.confirming import Confirming, send_datagrams, send_plain
from tests.integration.live.test_poison import HEAD, POISON
from tests.judges.program import Program
from tests.leak import planted
from tests.leak.canaries import STEM
from tests.leak.cases import Case
from tests.leak.ground import Drive
from tests.leak.live import all_lines
from tests.leak.watch import from_zstd, to_standard_output

STDERR = 120  # Python's own, where stderr can't be written at its end
NOTHING_GROWS = ("prlimit", "--fsize=40000:40000")


def changed(drive: Drive, **settings: object) -> None:
    known = yaml.safe_load(drive.program.config.read_text())
    drive.program.config.write_text(yaml.safe_dump({**known, **settings}))


def disk(drive: Drive, options: str) -> Path:
    """A disk of its own for the store; searched before it goes."""
    folder = drive.watch.root / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a small disk can't be mounted here")
    drive.kept.callback(lambda: subprocess.run(["umount", folder], check=True))
    changed(drive, store=str(folder / "s.sqlite"))
    drive.program.store = folder / "s.sqlite"
    return folder


# -- disks and stores


def import_on_a_full_disk(drive: Drive) -> None:
    said = drive.run("import", drive.log("log"), status=TEMPFAIL, before=NOTHING_GROWS)
    assert "free some space" in said


def run_on_a_full_disk(drive: Drive) -> None:
    disk(drive, "size=400k,mode=755")
    service = drive.serve()
    with Confirming(service.stream) as client:
        for number in range(0, len(all_lines()), 50):
            client.send(*all_lines()[number : number + 50])
            if not client.has_answer(1):
                break
            client.take()
        service.said.until("can't take more")
        send_datagrams(service.datagram, planted.fields())
        service.said.until("dropped")
        drive.watch.look_at(service.process.pid)
        service.send(signal.SIGTERM)
        assert service.ended() == TEMPFAIL


def on_a_disk_that_is_read_only(drive: Drive) -> None:
    folder = disk(drive, "size=4m,mode=755")
    drive.run("db", "init")
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    for words in (("import", drive.log("log")), ("db", "index"), ("run",)):
        drive.run(*words, status=(73, 75, 77))


def damaged_store(drive: Drive) -> None:
    """Its pages are junk from the first third on; then it is no store at all."""
    store = drive.program.store
    whole = store.read_bytes()
    third = len(whole) // 3
    for data in (whole[:third] + b"\xa5" * 2 * third, b"junk" * 999):
        store.write_bytes(data)
        for words in (("import", drive.log("log")), ("db", "index"), ("db", "status"), ("run",)):
            drive.run(*words, status=(OK, DATA, TEMPFAIL, CONFIG), timeout=20)


def store_that_goes(drive: Drive) -> None:
    service = drive.serve()
    with Confirming(service.stream) as client:
        client.send(*all_lines()[:10])
        client.until(10)
        for path in drive.program.folder.glob("s.sqlite*"):
            if path.suffix not in (".lock", ".control"):
                path.rename(path.with_name("old-" + path.name))
        with suppress(ConnectionError):
            client.send(*all_lines()[10:])
            while client.take():
                pass
    assert service.ended() == CONFIG


def store_that_is_held(drive: Drive) -> None:
    """Another program writes for as long as it likes; a second daemon, a reset beside the first."""
    service = drive.serve()
    drive.run("run", status=TEMPFAIL)
    drive.run("db", "reset", "--yes", status=TEMPFAIL)
    with closing(sqlite3.connect(drive.program.store, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with Confirming(service.stream) as client:
            client.send(*all_lines()[:400])
            service.said.until("can't take more")
            holder.execute("ROLLBACK")
            client.until(400)
    assert service.stop() == OK


# -- keys and config


def keyring_that_does_not_fit(drive: Drive) -> None:
    """Damaged, missing, under another seal, of another store."""
    keyring, seal = drive.program.folder / "keyring", drive.program.folder / "seal.key"
    right = keyring.read_bytes()
    keyring.unlink()
    drive.run("import", drive.log("log"), status=NOINPUT)
    keyring.touch(0o600)
    for data in (right[:-3] + b"xyz", right[: len(right) // 2]):
        keyring.write_bytes(data)
        drive.run("run", status=CONFIG)
    keyring.write_bytes(right)
    seal.chmod(0o600)
    seal.write_text(f"{os.urandom(32).hex()}\n")
    for words in (("import", drive.log("log")), ("omprog", "--direct"), ("pseudonym",), ("keys", "list")):
        drive.run(*words, status=CONFIG)
    other = Program(drive.watch.root / "other", timezone="UTC", store=str(drive.program.store)).make_keys()
    drive.watch.knows(other)
    for name in ("keyring", "seal.key"):
        (drive.program.folder / name).unlink()
        (other.folder / name).rename(drive.program.folder / name)
    for words in (("import", drive.log("log")), ("run",)):
        drive.run(*words, status=CONFIG)


def wrong_configs(drive: Drive) -> None:
    """No word of a config's values comes out: a password may stand there."""
    right = drive.program.config.read_text()
    wrong = (
        f"stroe: {STEM}\n", f"database: {{{STEM}: {STEM}}}\n", f"database: '{STEM}\n", f"queue_id: {STEM}\n",
        f"- {STEM}\n", f"\t{STEM}: 1\n", f"patience: {STEM}\n", f"trusted_networks: [{STEM}]\n", f"seal: {STEM}\n",
        f"listen: [{{{STEM}: x}}]\n", f"reject_patterns: {STEM}\n", f"when_full: {STEM}\n", f"&{STEM} *{STEM}\n",
    )  # fmt: skip
    for text in wrong:
        drive.program.config.write_text(text if text.startswith("-") else right + text)
        drive.run("import", drive.log("log"), status=CONFIG)


# -- lines


def _poison() -> bytes:
    """Poison with canaries; what is long holds one already, or none would fit."""
    short = [line for line in POISON if len(line) < 5_000]
    lines = [*POISON, *map(planted.planted, short)]
    lines += [line + STEM.encode() for line in short if line.rstrip(b"\0") != HEAD[:-1]]
    return b"\n".join(lines) + b"\n"


POISONED = _poison()


def poison_imported(drive: Drive) -> None:
    drive.run("import", "--year", "2026", input=POISONED)


def poison_explained(drive: Drive) -> None:
    drive.run("explain", "--year", "2026", input=POISONED)


def poison_sent(drive: Drive) -> None:
    """As lines, as datagrams, as other protocols, and as questions to the daemon."""
    lines = POISONED.split(b"\n")
    service = drive.serve()
    send_plain(service.stream, [b"first", *lines])
    send_datagrams(service.datagram, [line for line in lines if len(line) < 60_000])
    for data in (b"\0postsink 2\n" + lines[-2], b"\0postsink 1\n\x7f\xff\xff\xff" + lines[-2], b"\0" + lines[-2]):
        with suppress(OSError), socket.socket(socket.AF_UNIX) as one:
            one.connect(str(service.stream))
            one.sendall(data)
    for question in (f'{{"ask": "{STEM}"}}\n', f'{{"{STEM}": 1}}\n', f"[{STEM}\n", f'["{STEM}"]\n'):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(f"{drive.program.store}.control")
            one.sendall(question.encode())
            one.recv(4096)
    drive.watch.look_at(service.process.pid)
    assert service.stop() == OK


def archives_that_break_off(drive: Drive) -> None:
    junk = drive.ground.top / "junk"
    junk.write_bytes(bytes(range(256)) * 99 + STEM.encode() * 9)
    for path in (drive.log("cut"), drive.log("damaged"), junk):
        drive.run("import", path, status=DATA)
    drive.run("import", drive.log("log"), "nothing", status=NOINPUT)
    drive.run("import", drive.log("log"), drive.ground.top, status=NOINPUT)


# -- standard files


def standard_files(drive: Drive) -> None:
    """Each is closed, or full; or nobody reads what is printed."""
    log = drive.log("log")
    for number, close in enumerate(("<&-", ">&-", "2>&-")):
        words = ("import", "--json", *(() if number == 0 else (log,)))
        before = ("sh", "-c", f'exec "$@" {close}', "sh")
        drive.run(*words, status=NOINPUT if number == 0 else OK, before=before)
    with open("/dev/full", "wb") as full:
        drive.run("import", "--json", log, status=TEMPFAIL, stdout=full)
        drive.run("import", log, status=(OK, TEMPFAIL, STDERR), stderr=full)
    for words in (("import", "--json", log), ("db", "status"), ("keys", "list")):
        reader, writer = os.pipe()
        os.close(reader)
        drive.run(*words, stdout=writer)
        os.close(writer)


FAILURES = (
    Case("import: a full disk", import_on_a_full_disk),
    Case("run: a full disk", run_on_a_full_disk),
    Case("a disk that is read-only", on_a_disk_that_is_read_only),
    Case("a damaged store", damaged_store, store=True),
    Case("run: the store goes", store_that_goes),
    Case("run: the store is held", store_that_is_held),
    Case("a keyring that does not fit", keyring_that_does_not_fit, store=True),
    Case("wrong configs", wrong_configs),
    Case("poison: imported", poison_imported),
    Case("poison: explained", poison_explained, allowed=(to_standard_output,)),
    Case("poison: sent", poison_sent),
    Case("import: archives that break off", archives_that_break_off, allowed=(from_zstd,)),
    Case("standard files closed and full", standard_files),
)
