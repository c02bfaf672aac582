"""The life of keys from the command line: begun, destroyed, sealed anew, handed on; whole or not at all."""

from __future__ import annotations

import builtins
import json
import os
import pty
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sink import cli, config
from sink.fault import CANTCREATE, CONFIG, NOINPUT, OK, TEMPFAIL, USAGE, Fault
from sink.keys import keyring
from sink.keys.epochs import Keyring, shown
from sink.keys.seal import Secret, open_secret
from tests.integration.asking import PATIENCE, Answer, ask, command, environment, one_line, rows
from tests.integration.epochs import (
    ALICE,
    BOUND,
    DAY,
    HELD,
    HOUR,
    NEW,
    NOW,
    OLD,
    as_file,
    by_epoch,
    configured,
    later,
    mail,
    mails,
    put,
    refusal,
    ring_of,
    secret_of,
    stamp,
    with_bounds,
)
from tests.integration.live.memory import in_files
from tests.integration.owned import ask_who
from tests.judges.program import Program, second

TYPED = "winter kettle drum ninety"
OTHER = "nettle canvas orbit seven"


@pytest.fixture
def two(program: Program) -> Program:
    """An installation with a past epoch and an active one."""
    with_bounds(program, BOUND)
    return program


# A passphrase is stretched a quarter as much as ever: whoever reads it takes that, too.
QUICK = "from sink.keys import keyring; keyring._SCRYPT = (1 << 15, 8, 1)"


def typing_in(program: Program, *words: str | Path, typed: tuple[str, ...]) -> Answer:
    """Run a command at a terminal where somebody types."""
    return ask_who(program, *words, typed=typed, bug=QUICK)[0]


def states(program: Program) -> list[str]:
    return [epoch.state for epoch in ring_of(program).epochs]


# -- killed at any operation on files

WATCHED = ("open", "link", "replace", "unlink", "fsync", "write", "pwrite", "fchmod", "fchown", "ftruncate", "mkdir")


def killed_at(number: int, program: Program, *words: str) -> int:
    """Run a command in a child that kills itself at its Nth operation on files; return how it ended."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 99
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(null, standard)
        seen = count(1)

        def watch(owner: Any, name: str) -> None:
            real = getattr(owner, name)

            def watched(*given: Any, **named: Any) -> Any:
                if next(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*given, **named)

            setattr(owner, name, watched)

        for name in WATCHED:
            watch(os, name)
        watch(builtins, "open")
        status = cli.main(["--config", str(program.config), *words])
    finally:
        os._exit(status)


def opens(program: Program) -> Keyring | None:
    """The keyring, by the seals at hand; None where there is none."""
    settings = config.load(program.config)
    return keyring.load(settings.keyring, settings.seal) if settings.keyring.exists() else None


def at_each_operation(
    make: Callable[[], Program], words: list[str], is_done: Callable[[Program], bool], tidy: list[str]
) -> int:
    """Kill a command at its first operation, its second ... until it survives.

    Whenever it is killed, the keyring is the old one or the new one, and opens; the command does the rest when it is
    typed again, or says that nothing is left to do. Nothing is left behind.
    """
    for number in count(1):
        program = make()
        before = opens(program)
        status = killed_at(number, program, *words)
        after = opens(program)
        if status == OK:
            assert is_done(program)
            return number
        assert status == -signal.SIGKILL
        assert is_done(program) or after == before
        assert killed_at(0, program, *words) in ((OK, USAGE, CANTCREATE, TEMPFAIL) if after != before else (OK,))
        assert is_done(program)
        assert sorted(path.name for path in program.folder.iterdir() if path.name not in IRRELEVANT) == tidy
    raise AssertionError


IRRELEVANT = {"s.sqlite", "s.sqlite-wal", "s.sqlite-shm", "s.sqlite.imports", "postsink.yaml"}
FILES = ["keyring", "seal.key"]


def test_init_killed_anywhere(tmp_path: Path) -> None:
    made = count()
    times = at_each_operation(
        lambda: Program(tmp_path / str(next(made))), ["keys", "init"], lambda program: opens(program) is not None, FILES
    )
    assert times > 15, "it is not watched"


def test_rotate_killed_anywhere(two: Program, tmp_path: Path) -> None:
    made = count()
    times = at_each_operation(
        lambda: two.sibling(tmp_path / str(next(made))), ["keys", "rotate"],
        lambda program: states(program) == ["retired", "active", "coming"], FILES,
    )  # fmt: skip
    assert times > 8


def test_destroy_killed_anywhere(two: Program, tmp_path: Path) -> None:
    """When all is done, the old file's bytes are no more, though somebody has it open."""
    held: list[Any] = []

    def make() -> Program:
        program = two.sibling(tmp_path / str(len(held)))
        held.append((program.folder / "keyring").open("rb"))
        return program

    try:
        times = at_each_operation(
            make, ["keys", "destroy", "1", "--yes"], lambda program: states(program) == ["destroyed", "active"], FILES
        )
        assert times > 8
        for file in held:
            assert set(file.read()) == {0}
    finally:
        for file in held:
            file.close()


def test_reseal_killed_anywhere(two: Program, tmp_path: Path) -> None:
    """The new seal comes before the old one in the config, and either opens what there is."""
    made = count()

    def make() -> Program:
        program = two.sibling(tmp_path / str(next(made)))
        configured(program, seal=[{"file": "new.key"}, {"file": "seal.key"}])
        return program

    def is_done(program: Program) -> bool:
        settings = config.load(program.config)
        try:
            return bool(keyring.load(settings.keyring, settings.seal[:1]))
        except Fault:
            return False

    times = at_each_operation(make, ["keys", "reseal"], is_done, ["keyring", "new.key", "seal.key"])
    assert times > 15


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person at the terminal of this process, who need not wait for scrypt."""
    monkeypatch.setattr("sink.keys.seal._ask", lambda prompt: TYPED.encode())
    monkeypatch.setattr(keyring, "_SCRYPT", (16, 8, 1))
    monkeypatch.setattr(keyring, "_SCRYPT_N", (16,))


@pytest.mark.usefixtures("typing")
def test_import_killed_anywhere(two: Program, tmp_path: Path) -> None:
    """Of a first keyring, and of one that went on elsewhere."""
    ring = ring_of(two)
    exported = tmp_path / "exported"
    exported.write_bytes(keyring.wrap(ring.rotated(NOW + HOUR), Secret(TYPED.encode(), typed=True)))
    exported.chmod(0o600)
    for first in (True, False):
        for number in count(1):
            program = two.sibling(tmp_path / f"{first}{number}")
            if first:
                (program.folder / "keyring").unlink()
                (program.folder / "seal.key").unlink()
            before = opens(program)
            status = killed_at(number, program, "keys", "import", str(exported))
            after = opens(program)
            assert after == before or len(after.epochs if after else ()) == 3
            if status == OK:
                break
            assert status == -signal.SIGKILL
            assert killed_at(0, program, "keys", "import", str(exported)) == OK
            assert states(program) == ["retired", "active", "coming"]
            left = sorted(path.name for path in program.folder.iterdir() if path.name not in IRRELEVANT)
            assert left == FILES
        assert number > 8


# -- begun


def test_rotate_begins_an_epoch_a_minute_ahead(program: Program, tmp_path: Path) -> None:
    before, twin = ring_of(program), program.sibling(tmp_path / "twin")
    started = int(time.time())
    answer = ask(program, "keys", "rotate")
    assert (answer.status, answer.err) == (OK, "")
    first, second = ring_of(program).epochs
    assert (first.number, first.since, first.secret) == (1, None, before.active.secret)
    assert second.since is not None and started + 60 <= second.since <= time.time() + 60
    assert f"epoch 2 begins at {shown(second.since)}, check value {second.check}" in answer.out
    assert "no daemon runs; one that starts loads it" in answer.out
    one_line(ask(program, "keys", "rotate"), TEMPFAIL, "epoch 2 begins at", "rotate again after that")
    assert ask(twin, "keys", "rotate").status == OK
    assert secret_of(ring_of(twin), 2) != second.secret, "its key is no chance"
    assert ring_of(twin).correlation == ring_of(program).correlation == before.correlation


def test_rotate_further_ahead(program: Program) -> None:
    for wrong in ("59s", "367d", "-1h"):
        one_line(ask(program, "keys", "rotate", f"--in={wrong}"), USAGE, "must be a time from 60s to 366d")
    assert states(program) == ["active"]
    assert ask(program, "keys", "rotate", "--in", "2h").status == OK
    since = ring_of(program).epochs[1].since
    assert since is not None and 0 <= time.time() + 2 * HOUR - since < PATIENCE


def test_rotate_tells_of_rows_that_are_later(program: Program) -> None:
    """A wrong clock logged them: under the new key the same lines would have other ids."""
    ask(program, "import", as_file(program.folder, mails(NOW + DAY, 1)))
    assert "some rows were logged later" in ask(program, "keys", "rotate").out


def test_list_shows_what_each_epoch_has(two: Program) -> None:
    ask(two, "import", as_file(two.folder, [*mails(OLD, 3), *later(NEW - HELD), *mails(NEW, 2, first=50)]))
    lines = [line.split() for line in ask(two, "keys", "list").out.splitlines()]
    assert lines[0] == ["epoch", "state", "since", "until", "check", "rows"]
    assert [(line[0], line[1], line[-1]) for line in lines[1:]] == [("1", "retired", "6"), ("2", "active", "4")]


def test_two_at_once_begin_one_epoch(program: Program, tmp_path: Path) -> None:
    for number in range(2):
        one = program.sibling(tmp_path / str(number))
        both = [started(one, "keys", "rotate") for _ in range(2)]
        assert sorted(ended(process) for process in both) == [OK, TEMPFAIL]
        assert states(one) == ["active", "coming"]


def started(program: Program, *words: str, **given: Any) -> subprocess.Popen[bytes]:
    given = {"stdin": subprocess.DEVNULL, **given}
    return subprocess.Popen(
        [*command(program), *words], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **given
    )


def ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(PATIENCE)


def test_a_keyring_is_read_while_it_is_replaced(two: Program) -> None:
    """Again and again: never is it taken for a damaged one, though its old bytes are overwritten."""
    settings = config.load(two.config)
    ring, secret = keyring.unlock(settings.keyring, settings.seal)
    over = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        while not over.is_set():
            try:
                keyring.unlock(settings.keyring, settings.seal, secret)
            except Fault as fault:
                wrong.append(fault.message)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        with keyring.changing(settings.keyring):
            keyring.save(ring, settings.keyring, secret)
    over.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []


# -- destroyed


def files(program: Program) -> dict[str, bytes]:
    """What must not change where a command is refused."""
    return {path.name: path.read_bytes() for path in program.folder.iterdir() if path.name in (*FILES, "s.sqlite")}


def filled(program: Program) -> list[bytes]:
    """Rows of both epochs; returns their lines."""
    lines = [*mails(OLD, 5), *later(NEW - HELD), *mails(NEW, 3, first=50)]
    assert ask(program, "import", as_file(program.folder, lines)).status == OK
    return lines


def looked_up(program: Program) -> int:
    return len(ask(program, "lookup", "--json", stdin=f"{ALICE}\n".encode()).out.splitlines())


def test_nobody_can_tell_whose_the_rows_of_a_destroyed_epoch_are(two: Program) -> None:
    lines = filled(two)
    old = secret_of(ring_of(two), 1)
    before = rows(two)
    salt = json.loads((two.folder / "keyring").read_text())["header"]["salt"]
    assert looked_up(two) == 8
    answer = ask(two, "keys", "destroy", "1", "--yes")
    assert (answer.status, answer.err) == (OK, "")
    assert "epoch 1 is destroyed" in answer.out
    told = ("Copies of the keyring", "SSD", "postsink keys reseal", "postsink keys import", "privacy.md")
    assert [word for word in told if word not in answer.out] == []
    assert json.loads((two.folder / "keyring").read_text())["header"]["salt"] != salt
    assert states(two) == ["destroyed", "active"]
    assert in_files(two.folder, old) == set()
    assert rows(two) == before
    assert looked_up(two) == 3
    summary = two.import_files(as_file(two.folder, lines))
    assert summary["epoch_destroyed"] == 30  # six lines a mail
    assert (summary["deliveries"], summary["duplicates"], summary["not_understood"]) == (0, 6, 0)
    assert "30 lines refused: the key of their time is destroyed" in ask(two, "import", two.folder / "mail.log").err
    assert rows(two) == before
    assert "retired" not in ask(two, "keys", "list").out


def test_what_is_not_past_is_not_destroyed(two: Program) -> None:
    put(two, ring_of(two).rotated(NOW + DAY))
    before = files(two)
    for number, words in (("2", "is active"), ("3", "has not begun"), ("7", "no epoch 7"), ("-1", "must be a number")):
        one_line(ask(two, "keys", "destroy", number, "--yes"), USAGE, words)
        assert files(two) == before


def test_it_asks(two: Program) -> None:
    """At a terminal; where nobody is there to ask, it wants to be told so."""
    one_line(ask(two, "keys", "destroy", "1"), USAGE, "destroy epoch 1", "nobody is there to ask, so say --yes")
    for typed, status in (("no\n", TEMPFAIL), ("y\n", TEMPFAIL), ("yes\n", OK)):
        assert states(two) == ["retired", "active"]
        ours, theirs = pty.openpty()
        os.write(ours, typed.encode())
        answer = ask(two, "keys", "destroy", "1", stdin=theirs)
        os.close(ours)
        os.close(theirs)
        assert answer.status == status
        assert "destroy epoch 1, so that nobody can ever tell whose its rows are? (yes/no)" in answer.err
    assert states(two) == ["destroyed", "active"]
    one_line(ask(two, "keys", "destroy", "1", "--yes"), USAGE, "epoch 1 is destroyed already")


def test_not_while_messages_are_open(two: Program) -> None:
    """In whichever stream; those of the other epoch do not count."""
    late = mail(BOUND - 5, 70, done=False)
    assert ask(two, "run", "--stdin", stdin=b"".join(line + b"\n" for line in late)).status == OK
    one_line(ask(two, "keys", "destroy", "1", "--yes"), TEMPFAIL, "still has one open message", "try again tomorrow")
    gone = [*mail(BOUND + 5, 70)[-1:], *mails(NEW, 1, first=90), *later(NEW + 200)]
    assert ask(two, "run", "--stdin", stdin=b"".join(line + b"\n" for line in gone)).status == OK
    path = as_file(two.folder, [*late, *mail(NEW, 71, done=False)])
    assert ask(two, "import", "--stream", "daily", path).status == OK
    before = files(two)
    one_line(
        ask(two, "keys", "destroy", "1", "--yes"), TEMPFAIL, "one open message", "of import --stream daily",
        "import what follows there first",
    )  # fmt: skip
    assert files(two) == before
    assert ask(two, "import", "--stream", "daily", as_file(two.folder, gone)).status == OK
    assert ask(two, "keys", "destroy", "1", "--yes").status == OK


def test_not_while_an_import_is_under_way(two: Program) -> None:
    """It has the key in its memory, and would bring rows and open messages of it."""
    process = started(two, "import", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"".join(line + b"\n" for line in mails(OLD, 2_000)))  # more than a pipe holds
    process.stdin.flush()
    one_line(ask(two, "keys", "destroy", "1", "--yes"), TEMPFAIL, "an import into", "wait until it ends")
    assert states(two) == ["retired", "active"]
    process.stdin.close()
    assert ended(process) == OK
    assert ask(two, "keys", "destroy", "1", "--yes").status == OK


def test_two_at_once_destroy_it_once(two: Program, tmp_path: Path) -> None:
    for number in range(2):
        one = two.sibling(tmp_path / str(number))
        both = [started(one, "keys", "destroy", "1", "--yes") for _ in range(2)]
        assert sorted(ended(process) for process in both) == [OK, USAGE]
        assert states(one) == ["destroyed", "active"]


def test_beside_another_change_nothing_of_either_is_lost(two: Program, tmp_path: Path) -> None:
    for number in range(2):
        one = two.sibling(tmp_path / str(number))
        both = [started(one, "keys", "destroy", "1", "--yes"), started(one, "keys", "rotate")]
        assert [ended(process) for process in both] == [OK, OK]
        assert states(one) == ["destroyed", "active", "coming"]


# -- sealed anew


def test_a_new_seal_takes_the_old_ones_place(two: Program) -> None:
    before = ring_of(two)
    configured(two, seal=[{"file": "new.key"}, {"file": "seal.key"}])
    answer = ask(two, "keys", "reseal")
    assert (answer.status, answer.err) == (OK, "")
    assert "sealed by file" in answer.out
    assert stat.S_IMODE((two.folder / "new.key").stat().st_mode) == 0o400
    (two.folder / "seal.key").unlink()
    assert ring_of(two) == before
    configured(two, seal=[{"file": "new.key"}])
    assert ring_of(two) == before
    assert ask(two, "keys", "reseal").status == OK


def test_a_seal_that_is_not_good_is_not_taken(two: Program) -> None:
    configured(two, seal=[{"file": "new.key"}, {"file": "seal.key"}])
    new = two.folder / "new.key"
    before = files(two)
    for text, mode, words in (("changeme" * 8, 0o400, "placeholder"), (os.urandom(32).hex(), 0o644, "chmod go=")):
        new.write_text(text)
        new.chmod(mode)
        one_line(ask(two, "keys", "reseal"), CONFIG, words)
        assert files(two) == before
        new.unlink()


def test_a_passphrase_instead_of_a_file_and_back(two: Program) -> None:
    before = ring_of(two)
    configured(two, seal=["passphrase", {"file": "seal.key"}])
    answer = typing_in(two, "keys", "reseal", typed=(TYPED, OTHER))
    one_line(answer, CONFIG, "the passphrases differ")
    assert ring_of(two) == before
    answer = typing_in(two, "keys", "reseal", typed=(TYPED, TYPED))
    assert answer.status == OK and TYPED not in answer.out + answer.err
    configured(two, seal=["passphrase"])
    wrong = typing_in(two, "keys", "rotate", typed=(OTHER,))
    one_line(wrong, CONFIG, "is not the seal of this keyring", "type it again")
    answer = typing_in(two, "keys", "rotate", typed=(TYPED,))
    assert answer.status == OK, "it is asked for once"
    answer = typing_in(two, "keys", "destroy", "1", "--yes", typed=(TYPED,))
    assert answer.status == OK
    configured(two, seal=[{"file": "seal.key"}, "passphrase"])
    answer = typing_in(two, "keys", "reseal", typed=(TYPED,))
    assert answer.status == OK
    configured(two, seal=[{"file": "seal.key"}])
    assert states(two) == ["destroyed", "active", "coming"]


# -- handed on


def exported(program: Program, name: str = "exported") -> Path:
    path = program.folder / name
    answer = typing_in(program, "keys", "export", "--to", path, typed=(TYPED, TYPED))
    assert answer.status == OK, answer
    assert TYPED not in answer.out + answer.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path


def taken(program: Program, path: Path, typed: str = TYPED) -> Answer:
    answer = typing_in(program, "keys", "import", path, typed=(typed,))
    assert typed not in answer.out + answer.err
    return answer


def host(program: Program, folder: Path) -> Program:
    """Another host of the fleet, with a seal of its own."""
    made = program.sibling(folder)
    settings = config.load(made.config)
    ring, _ = keyring.unlock(settings.keyring, settings.seal)
    (made.folder / "seal.key").chmod(0o600)
    (made.folder / "seal.key").write_text(os.urandom(32).hex())
    with keyring.changing(settings.keyring):
        keyring.save(ring, settings.keyring, open_secret(settings.seal)[1])
    return made


def test_a_fresh_host_takes_a_fleets_keyring(two: Program, tmp_path: Path) -> None:
    """Its seal is made, and is its own; the same address has the same pseudonym on both."""
    path = exported(two)
    fresh = Program(tmp_path / "fresh", timezone="UTC")
    answer = taken(fresh, path)
    assert answer.status == OK, answer
    assert "2 epochs" in answer.out
    assert ring_of(fresh) == ring_of(two)
    assert (fresh.folder / "seal.key").read_bytes() != (two.folder / "seal.key").read_bytes()
    assert stat.S_IMODE((fresh.folder / "seal.key").stat().st_mode) == 0o400
    assert fresh.addresses([ALICE]) == two.addresses([ALICE])
    assert path.read_bytes() not in (two.folder / "keyring").read_bytes()


def test_what_began_and_was_destroyed_elsewhere(two: Program, tmp_path: Path) -> None:
    other = host(two, tmp_path / "other")
    ask(two, "keys", "rotate", "--in", "1d")
    assert taken(other, exported(two, "begun")).status == OK
    assert ring_of(other) == ring_of(two)
    assert ask(two, "keys", "destroy", "1", "--yes").status == OK
    assert taken(other, exported(two, "destroyed")).status == OK
    assert ring_of(other) == ring_of(two)
    # What was exported before is no way back.
    assert taken(other, two.folder / "begun").status == OK
    assert states(other) == states(two) == ["destroyed", "active", "coming"]


def test_what_is_destroyed_elsewhere_and_open_here_waits(two: Program, tmp_path: Path) -> None:
    other = host(two, tmp_path / "other")
    assert ask(other, "import", "--stream", "x", as_file(other.folder, mail(OLD, 1, done=False))).status == OK
    ask(two, "keys", "destroy", "1", "--yes")
    before = files(other)
    one_line(taken(other, exported(two)), TEMPFAIL, "epoch 1 still has one open message")
    assert files(other) == before


def test_a_keyring_that_comes_too_late_is_told(two: Program, tmp_path: Path) -> None:
    """The epoch has begun: lines of its time are here under the old key."""
    other = host(two, tmp_path / "other")
    first = ring_of(two).epochs[0]
    put(other, Keyring((replace(first, until=None, state="active"),), ring_of(two).correlation))
    assert ask(other, "import", as_file(other.folder, mails(NEW, 1))).status == OK
    assert "some rows were logged later" in taken(other, exported(two)).out
    assert states(other) == ["retired", "active"]


def test_what_is_not_taken_over(two: Program, tmp_path: Path) -> None:
    """One line, no secret in it, and all is as it was."""
    stranger = Program(tmp_path / "stranger", timezone="UTC").make_keys()
    mine = host(two, tmp_path / "mine")
    filled(mine)
    before = files(mine)
    path = exported(two)
    data = path.read_bytes()

    def other(name: str, text: bytes, mode: int = 0o600) -> Path:
        made = tmp_path / name
        made.write_bytes(text)
        made.chmod(mode)
        return made

    file = json.loads(data)
    header = json.dumps({**file, "header": {**file["header"], "salt": "00" * 32}}).encode()
    one_line(taken(mine, path, OTHER), CONFIG, "that is not what it was sealed with")
    one_line(taken(mine, exported(stranger)), CONFIG, "another fleet")
    for given, status, words in (  # nobody is asked for a passphrase that can't help
        (other("cut", data[: len(data) // 2]), CONFIG, "is damaged"),
        (other("flipped", data.replace(b"a", b"b", 1)), CONFIG, "is damaged"),
        (other("header", header), CONFIG, "is damaged"),
        (other("empty", b""), CONFIG, "is damaged"),
        (two.folder / "keyring", CONFIG, "a host's own keyring"),
        (other("open", data, 0o644), CONFIG, "chmod go="),
        (tmp_path / "none", NOINPUT, "is missing"),
        (tmp_path, CONFIG, "can't be read"),
    ):
        one_line(ask(mine, "keys", "import", given), status, words)
        assert files(mine) == before


def test_what_is_not_exported(two: Program) -> None:
    path = two.folder / "exported"
    answer = typing_in(two, "keys", "export", "--to", path, typed=("short",))
    one_line(answer, CONFIG, "the passphrase is shorter than")
    assert not path.exists()
    path.write_text("mine")
    answer = typing_in(two, "keys", "export", "--to", path, typed=(TYPED, TYPED))
    one_line(answer, CANTCREATE, "exists already")
    assert path.read_text() == "mine"
    path.unlink()
    (two.folder / "seal.key").unlink()
    answer = typing_in(two, "keys", "export", "--to", path, typed=(TYPED, TYPED))
    one_line(answer, CONFIG, "seal.key is missing")
    assert not path.exists()
    one_line(ask(two, "keys", "export", "--to", path, start_new_session=True), CONFIG, "needs a terminal")
    assert not path.exists()


# -- what leaves in time


def pruned(program: Program, *words: str) -> Answer:
    answer = ask(program, "db", "prune", "--yes", *words)
    assert answer.status == OK, answer
    return answer


def hourly(program: Program) -> list[int]:
    """Import a refusal an hour, and a mail, for ten days; return their seconds."""
    seconds = [NOW - number * HOUR + HOUR // 2 for number in range(1, 241)]
    lines = [line for at in reversed(seconds) for line in (refusal(at, 7), *mail(at, at % 100_000))]
    assert ask(program, "import", as_file(program.folder, lines)).status == OK
    assert len(rows(program)) == 3 * len(seconds)
    return seconds


def logged(program: Program) -> list[int]:
    seconds = {second(row["logged_at"]) for row in rows(program)}
    return sorted(filter(None, seconds), reverse=True)


def test_rows_leave_by_their_log_time(program: Program) -> None:
    seconds = hourly(program)
    answer = pruned(program, "--older-than", "3d")
    assert f"deleted {3 * (len(seconds) - 72)} rows logged before" in answer.out
    assert logged(program) == seconds[:72]
    assert len(rows(program)) == 3 * 72
    configured(program, keep="2d")
    pruned(program)
    assert logged(program) == seconds[:48]
    assert "deleted 0 rows" in pruned(program).out


def test_what_is_deleted_is_in_no_file(program: Program) -> None:
    hourly(program)
    gone = [row["id"] for row in rows(program) if (second(row["logged_at"]) or 0) < NOW - 4 * DAY]
    pruned(program, "--older-than", "3d")
    data = b"".join(path.read_bytes() for path in program.folder.glob("s.sqlite*"))
    assert gone
    assert [one for one in gone if bytes.fromhex(one) in data] == []


@pytest.mark.parametrize("wrong", ["0d", "-3d", "36501d", "999999999w"])
def test_how_old_must_be_a_time(wrong: str, program: Program) -> None:
    ask(program, "db", "init")
    one_line(ask(program, "db", "prune", "--yes", f"--older-than={wrong}"), USAGE, "must be a time like 90d")


def test_nothing_to_delete(program: Program) -> None:
    one_line(ask(program, "db", "prune", "--yes", "--older-than", "1d"), NOINPUT, "there is no store")
    ask(program, "db", "init")
    one_line(ask(program, "db", "prune", "--yes"), USAGE, "set keep: in the config, or say --older-than 90d")
    assert "deleted 0 rows" in pruned(program, "--older-than", "36500d").out
    one_line(ask(program, "db", "prune", "--older-than", "1d"), USAGE, "nobody is there to ask, so say --yes")
    assert states(program) == ["active"]


AGED = [mail(NOW - 9 * DAY, 1), mail(NOW - 5 * DAY, 2), mail(NOW - HOUR, 3)]  # one of each of three epochs


@pytest.fixture
def aged(program: Program) -> Program:
    """Three epochs: one ended seven days ago, one two days ago; messages are remembered for an hour."""
    with_bounds(program, NOW - 7 * DAY, NOW - 2 * DAY)
    configured(program, patience="1h")
    assert ask(program, "import", as_file(program.folder, [line for lines in AGED for line in lines])).status == OK
    return program


def test_epochs_without_rows_are_destroyed(aged: Program) -> None:
    """A day and `patience` after their last row can have been deleted; before that their messages may still speak."""
    old = secret_of(ring_of(aged), 1)
    pruned(aged, "--older-than", "8d")
    assert by_epoch(rows(aged)) == {2: 2, 3: 2}
    assert states(aged) == ["retired", "retired", "active"], "seven days and an hour are not over by eight"
    for keep in ("7d", "6d"):
        pruned(aged, "--older-than", keep)
        assert states(aged) == ["retired", "retired", "active"]
    answer = pruned(aged, "--older-than", "5d")
    assert "epoch 1 is destroyed: it has no rows left" in answer.out
    assert states(aged) == ["destroyed", "retired", "active"]
    assert in_files(aged.folder, old) == set()
    pruned(aged, "--older-than", "1d")
    assert states(aged) == ["destroyed", "retired", "active"]
    assert by_epoch(rows(aged)) == {3: 2}


def test_an_epoch_with_a_later_row_stays(aged: Program) -> None:
    """A mail that was in the queue for days has the epoch of its first line."""
    late = mail(NOW - 7 * DAY - 60, 9, done=False)
    daily = [late[-1].replace(late[-1][:32], stamp(at)) for at in range(NOW - 7 * DAY, NOW - 2 * HOUR, HOUR // 2)]
    assert ask(aged, "import", as_file(aged.folder, [*late, *daily])).status == OK
    assert by_epoch(rows(aged))[1] > 100
    pruned(aged, "--older-than", "1d")
    assert by_epoch(rows(aged))[1] > 20
    assert states(aged) == ["retired", "retired", "active"]


def test_an_epoch_with_open_messages_stays(aged: Program) -> None:
    path = as_file(aged.folder, mail(NOW - 9 * DAY, 9, done=False))
    assert ask(aged, "import", "--stream", "x", path).status == OK
    pruned(aged, "--older-than", "1d")
    assert states(aged) == ["retired", "retired", "active"]


# -- archives, and boundaries in their time


def boundaries(program: Program, log: Path) -> None:
    """Two in the time of a log."""
    lines = log.read_bytes().split(b"\n")
    some = lines[len(lines) // 3], lines[len(lines) // 2]
    with_bounds(program, *[int(datetime.fromisoformat(line[:32].decode()).timestamp()) for line in some])


@pytest.fixture(scope="module")
def several(with_keys: Program, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Keys of three epochs, and an import of the whole log."""
    made = with_keys.sibling(tmp_path_factory.mktemp("several") / "installed")
    boundaries(made, log)
    assert ask(made, "import", log).status == OK
    assert min(by_epoch(rows(made)).values()) > 100
    return made


def test_pieces_of_a_log_give_the_rows_of_the_whole(several: Program, log: Path, tmp_path: Path) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    one = several.sibling(tmp_path / "pieces")
    for start in range(0, len(lines), len(lines) // 3 + 1):
        piece = tmp_path / "piece.log"
        piece.write_bytes(b"".join(lines[start : start + len(lines) // 3 + 1]))
        assert ask(one, "import", "--stream", "x", piece).status == OK
    assert rows(one) == rows(several)


def test_archives_imported_again_add_nothing(several: Program, log: Path, tmp_path: Path) -> None:
    """Whatever began since then; an epoch that began in their time had been known before it."""
    one = several.sibling(tmp_path / "again")
    assert ask(one, "import", log).status == OK
    assert ask(one, "keys", "rotate").status == OK
    summary = one.import_files(log)
    assert (summary["deliveries"], summary["rejects"]) == (0, 0)
    assert rows(one) == rows(several)


def test_a_boundary_changes_pseudonyms_and_what_links_bring_alone(
    several: Program, undisturbed: Program, log: Path
) -> None:
    names = ("logged_at", "host", "agent", "status", "dsn", "delay", "reason", "relay_kind")
    plain = [sorted(tuple(row.get(name) for name in names) for row in rows(one)) for one in (several, undisturbed)]
    assert plain[0] == plain[1]
    ids = [{row["id"] for row in rows(one)} for one in (several, undisturbed)]
    assert not ids[0] & ids[1], "all keys are others"
