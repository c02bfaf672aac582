"""Drives of keys and of what is asked at a terminal: passphrases, a person's address, a question."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sink import config
from sink.fault import OK
from sink.keys import keyring
from tests.integration.live.confirming import deliver
from tests.leak.canaries import STEM
from tests.leak.cases import PERSON, Case
from tests.leak.ground import Drive
from tests.leak.live import FEW, Terminal, all_lines, few_lines
from tests.leak.traced import PATIENCE
from tests.leak.watch import to_itself, to_the_seal

PASSPHRASE = f"{STEM} kettle drum ninety"
LONG_AGO = 946_684_800  # 2000-01-01: no line of ours is as old


def begun_long_ago(drive: Drive) -> None:
    """Epoch 1 is past, and has no open message."""
    settings = config.load(drive.program.config)
    ring, secret = keyring.unlock(settings.keyring, settings.seal)
    keyring.save(ring.rotated(LONG_AGO), settings.keyring, secret)


def typed(drive: Drive, *words: str | Path, answers: tuple[tuple[str, str], ...]) -> None:
    """Run a command at a terminal, and type each answer when its prompt has come."""
    terminal = Terminal()
    # A session's first open of a terminal makes it the controlling one, see credentials(7).
    opening = f"import os; os.close(os.open({os.ttyname(terminal.theirs)!r}, os.O_RDWR))"
    process = subprocess.Popen(
        [*drive.watch.trace.prefix, *drive.words(*words, bug=opening)], stdin=terminal.theirs,
        stdout=terminal.theirs, stderr=terminal.theirs, cwd=drive.watch.root, env=drive.watch.environment,
        start_new_session=True,
    )  # fmt: skip
    for prompt, answer in answers:
        terminal.until(prompt)
        terminal.type(answer)
    status = process.wait(PATIENCE)
    seen = terminal.close()
    assert status == OK, seen


def exported(drive: Drive) -> None:
    """To another host, which has no keys; and back, after a rotation there."""
    out = drive.watch.root / "exported"
    new = (("exported keyring: ", PASSPHRASE), ("Again: ", PASSPHRASE))
    typed(drive, "keys", "export", "--to", out, answers=new)
    theirs = drive.program.sibling(drive.watch.root / "theirs")
    drive.watch.knows(theirs)
    (theirs.folder / "keyring").unlink()
    ours, drive.program = drive.program, theirs
    typed(drive, "keys", "import", out, answers=new[:1])
    drive.run("keys", "rotate")
    back = drive.watch.root / "back"
    typed(drive, "keys", "export", "--to", back, answers=new)
    drive.program = ours
    typed(drive, "keys", "import", back, answers=new[:1])


def destroyed_beside_the_daemon(drive: Drive) -> None:
    begun_long_ago(drive)
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    drive.run("keys", "destroy", "1", "--yes")
    assert deliver(service.stream, lines[:200], 100) == 200
    drive.watch.look_at(service.process.pid)
    assert service.stop() == OK
    assert drive.rows() > FEW


def destroyed_beside_rsyslogds_child(drive: Drive) -> None:
    begun_long_ago(drive)
    child = drive.child("--direct")
    assert child.reply()
    lines = few_lines()[:60]
    assert child.deliver(lines[:40]) == 40
    drive.run("keys", "destroy", "1", "--yes")
    assert child.deliver(lines[40:]) == 20
    drive.watch.look_at(child.process.pid)
    assert child.close() == OK


def resealed(drive: Drive) -> None:
    text = drive.program.config.read_text().replace("file: seal.key", "file: new.key")
    assert "new.key" in text
    text = text.replace("seal:\n  file: new.key", "seal: [{file: new.key}, {file: seal.key}]")
    drive.program.config.write_text(text)
    drive.run("keys", "reseal")
    drive.run("keys", "list")


def forgotten_beside_the_daemon(drive: Drive) -> None:
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    drive.run("forget", "--yes", input=PERSON.encode())
    assert deliver(service.stream, lines[:200], 100) == 200
    drive.watch.look_at(service.process.pid)
    assert service.stop() == OK
    drive.run("forget", "--again", "--yes")


def asked_at_a_terminal(drive: Drive) -> None:
    typed(drive, "lookup", answers=(("empty line", PERSON),))
    typed(drive, "forget", answers=(("empty line", PERSON), ("(yes/no) ", "yes")))
    typed(drive, "db", "reset", answers=(("(yes/no) ", "yes"),))


PERSONS = (
    Case("keys export, keys import", exported, ("keys export --to", "keys import"), (to_the_seal,)),
    Case("keys destroy: beside the daemon", destroyed_beside_the_daemon, ("keys destroy --yes", "run --again"),
         (to_itself,)),
    Case("keys destroy: beside rsyslogd's child", destroyed_beside_rsyslogds_child, ("omprog --again",), (to_itself,)),
    Case("keys reseal", resealed, ("keys reseal",), (to_the_seal,)),
    Case("forget: beside the daemon", forgotten_beside_the_daemon, ("forget --again --yes",)),
    Case("lookup, forget, db reset: at a terminal", asked_at_a_terminal, store=True),
)  # fmt: skip
