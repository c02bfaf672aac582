"""`postsink forget` beside whoever writes the live stream: the daemon, on sockets or on stdin, and rsyslogd's child.

Messages that are open then name nobody any more who was forgotten, in memory, in the store, and in rows to come.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from sink.fault import CONFIG, OK, TEMPFAIL
from tests.integration.asking import PATIENCE, Answer, ask, environment, one_line
from tests.integration.live.confirming import Confirming
from tests.integration.live.omprog import Child
from tests.integration.live.service import Service, eventually, with_bug
from tests.integration.people import (
    ALICE,
    BOB,
    CAROL,
    Person,
    Witness,
    attempt,
    check_forgotten,
    clock,
    line,
    message,
    opened,
    removed,
    tables,
)
from tests.judges.program import Program

NINA = Person("nina", "example.com")
FIRST, SECOND = "4A5A321A867", "5B5A321A867"
HEADERS = ("From: Alice <alice@example.com>", "To: nina@example.com, bob@example.net")
BEFORE = [
    *opened(0, FIRST, "alice@example.com", sasl="alice@example.com", headers=HEADERS),
    attempt(1, FIRST, "nina@example.com", "deferred"),
    *opened(2, SECOND, "carol@example.org"), clock(20),
    attempt(21, FIRST, "bob@example.net"),  # its row waits
]  # fmt: skip
LATER = [
    line(300, "qmgr", f"{FIRST}: from=<alice@example.com>, size=1520, nrcpt=2 (queue active)"),
    attempt(301, FIRST, "nina@example.com", "deferred", original="alice@example.com"),
    line(302, "smtpd", f"{SECOND}: reject: RCPT from client.example.net[192.0.2.20]: 552 5.2.2 <nina@example.com>:"
         " Recipient address rejected: Mailbox is full; from=<carol@example.org> to=<nina@example.com> proto=ESMTP"
         " helo=<h>"),
    attempt(303, SECOND, "alice@example.com", "deferred"), clock(320),
]  # fmt: skip
LATEST = [
    line(600, "qmgr", f"{FIRST}: from=<alice@example.com>, size=1520, nrcpt=2 (queue active)"),
    attempt(601, FIRST, "nina@example.com"), removed(601, FIRST),
    attempt(602, SECOND, "alice@example.com"), removed(602, SECOND), clock(640),
]  # fmt: skip
ROWS = 6  # of these lines, and one refusal
NEW = [*message(700, "6C5A321A867", "alice@example.com", "bob@example.net"), clock(740)]


class Taker(Protocol):
    """Who takes lines."""

    def send(self, *lines: bytes) -> None:
        """Return when what they do is committed."""

    def kill(self) -> None: ...


class Sockets:
    def __init__(self, program: Program) -> None:
        self.service = Service(program)
        self._client = Confirming(self.service.stream)
        self._sent = 0

    def send(self, *lines: bytes) -> None:
        self._client.send(*lines)
        self._sent += len(lines)
        self._client.until(self._sent)

    def kill(self) -> None:
        self.service.kill()

    def close(self) -> None:
        with self._client, self.service:
            pass


class Stdin:
    def __init__(self, program: Program) -> None:
        self.service = Service(program, "--stdin", stdin=subprocess.PIPE)
        self._sent = 0

    def send(self, *lines: bytes) -> None:
        assert self.service.process.stdin is not None
        self.service.process.stdin.write(b"".join(one + b"\n" for one in lines))
        self.service.process.stdin.flush()
        self._sent += len(lines)
        eventually(lambda: self.service.status()["lines"] == self._sent)
        eventually(lambda: self.service.status()["not_committed"] == 0)

    def kill(self) -> None:
        self.service.kill()

    def close(self) -> None:
        with self.service:
            assert self.service.process.stdin is not None
            self.service.process.stdin.close()


class Direct:
    def __init__(self, program: Program) -> None:
        self._child = Child(program, "--direct")
        assert self._child.reply()

    def send(self, *lines: bytes) -> None:
        assert self._child.deliver(list(lines)) == len(lines)

    def kill(self) -> None:
        self._child.process.kill()
        self._child.process.wait(PATIENCE)

    def close(self) -> None:
        with self._child:
            pass


WAYS: dict[str, Any] = {"sockets": Sockets, "stdin": Stdin, "direct": Direct}


@contextmanager
def taking(way: str, program: Program) -> Iterator[Taker]:
    taker = WAYS[way](program)
    try:
        yield taker
    finally:
        taker.close()


def forgotten(program: Program, *typed: str) -> Answer:
    answer = ask(program, "forget", "--yes", stdin="".join(f"{one}\n" for one in typed).encode())
    assert (answer.status, answer.err) == (OK, ""), answer
    return answer


def check_nobody(program: Program, rows: int) -> None:
    """Neither rows nor open messages name alice or nina; nothing else is missing."""
    witness = Witness(program)
    assert witness.rows(ALICE, NINA) == {}
    assert witness.traces(ALICE, NINA) == []
    found = program.rows()
    assert len(found) == rows
    assert [row for row in found if row["sender"] is None or row["recipient"] is None] == []


@pytest.mark.parametrize("way", WAYS)
def test_messages_that_are_open_name_nobody_who_was_forgotten(live: Program, way: str) -> None:
    with taking(way, live) as taker:
        taker.send(*BEFORE)
        witness = Witness(live)
        assert len(witness.rows(ALICE, NINA)) == 1 and "s.sqlite-wal" in witness.traces(ALICE, NINA)
        forgotten(live, "alice@example.com", "nina@example.com")
        check_nobody(live, rows=1)
        taker.send(*LATER)
        check_nobody(live, rows=4)
        (refusal,) = live.rows("reject_text")
        assert refusal["sender"] == witness.text(CAROL) and refusal["recipient"] is not None
        taker.kill()
    check_nobody(live, rows=4)
    with taking(way, live) as taker:
        taker.send(*LATEST)
        check_nobody(live, rows=ROWS)
        # Of a message one outcome a recipient; all its rows but the one of before share a sender.
        outcomes = live.query("SELECT count(*), status FROM delivery_final GROUP BY status ORDER BY status")
        assert dict((status, number) for number, status in outcomes)["sent"] == 3
        taker.send(*NEW)
        assert len(witness.rows(ALICE)) == 1, "mail that comes later is new"
    bob = [row for row in live.rows() if row["recipient"] == witness.text(BOB)]
    assert len(bob) == 2 and all(row["message_size"] == 1520 for row in bob)
    first = [row for row in live.rows() if row["to"]]
    assert {len(row["to"].split(" ")) for row in first} == {2}, "nobody was put beside his stand-in"


def test_a_reload_brings_nobody_back(live: Program) -> None:
    with Service(live) as service, Confirming(service.stream) as client:
        client.send(*BEFORE)
        client.until(len(BEFORE))
        forgotten(live, "alice@example.com", "nina@example.com")
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        client.send(*LATER, *LATEST)
        client.until(len(BEFORE + LATER + LATEST))
        check_nobody(live, rows=ROWS)
        assert service.stop() == OK
    check_nobody(live, rows=ROWS)


@pytest.mark.parametrize("running", ["before", "after"])
def test_a_forget_that_was_killed_is_taken_up_from_its_list(live: Program, tmp_path: Path, running: str) -> None:
    """It had put persons on the list, and done no more."""
    other = live.sibling(tmp_path / "other")
    other.import_files()
    forgotten(other, "alice@example.com", "nina@example.com")
    listed = Path(f"{live.store}.forgotten")
    with taking("sockets", live) as taker:
        taker.send(*BEFORE)
        if running == "before":
            shutil.copy2(f"{other.store}.forgotten", listed)
            eventually(lambda: not [state for (state,) in live.query("SELECT state FROM open_message")
                                    if b"".join(Witness(live).halves(ALICE)) in state])  # fmt: skip
        taker.kill()
    if running == "after":
        shutil.copy2(f"{other.store}.forgotten", listed)
    with taking("sockets", live) as taker:
        taker.send(*LATER, *LATEST)
        before = [row for row in live.rows() if row["logged_at"] > "2026-11-02T10:00:10"]
        assert len(before) == ROWS - 1
        witness = Witness(live)
        assert [row for row in before if witness.columns(row, ALICE, NINA)] == []
        assert ask(live, "forget", "--again", "--yes").status == OK
        check_nobody(live, rows=ROWS)


@pytest.mark.parametrize("way", ["sockets", "direct"])
def test_a_restored_backup_beside_a_daemon_forgets_again(live: Program, tmp_path: Path, way: str) -> None:
    """The daemon has taken up the messages of the backup when the admin types it."""
    with taking(way, live) as taker:
        taker.send(*BEFORE)
        taker.kill()
    assert ask(live, "db", "status").status == OK  # the log of writes goes into the file
    files = [live.store.with_name(live.store.name + end) for end in ("", "-wal", "-shm")]
    backup = {path: path.read_bytes() for path in files if path.exists()}
    forgotten(live, "alice@example.com", "nina@example.com")
    check_nobody(live, rows=1)
    for path in files:
        path.unlink(missing_ok=True)
    for path, data in backup.items():
        path.write_bytes(data)
        path.chmod(0o600)
    # As if the clock had been wrong when somebody was forgotten: --again asks for no time.
    listed = Path(f"{live.store}.forgotten")
    listed.write_text("".join(f"{one.rsplit(' ', 1)[0]} 1\n" for one in listed.read_text().splitlines()))
    assert Witness(live).traces(ALICE, NINA) != []
    with taking(way, live) as taker:
        taker.send(clock(25))
        assert ask(live, "forget", "--again", "--yes").status == OK
        check_nobody(live, rows=1)
        taker.send(*LATER)
        check_nobody(live, rows=4)
        taker.send(*LATEST)
        check_nobody(live, rows=ROWS)


def test_beside_a_busy_daemon_nothing_is_lost_and_nothing_twice(
    live: Program, some_lines: list[bytes], some_imported: Program
) -> None:
    """Each line is confirmed, while persons are forgotten again and again."""
    persons = {name: Person(name, "example.com") for name in ("person0", "person1", "person2")}
    failed: list[BaseException] = []

    def deliver(path: Path) -> None:
        try:
            with Confirming(path) as client:
                for number, one in enumerate(some_lines, 1):
                    client.send(one)
                    client.until(number)
        except BaseException as error:
            failed.append(error)
            raise

    with Service(live) as service:
        eventually(live.store.exists)
        sender = threading.Thread(target=deliver, args=(service.stream,))
        sender.start()
        times = 0
        while sender.is_alive() or times < 2:
            forgotten(live, *(f"{name}@example.com" for name in persons))
            times += 1
        sender.join()
        assert failed == []
        forgotten(live, *(f"{name}@example.com" for name in persons))
        assert service.stop() == OK
    before, after = tables(some_imported), tables(live)
    witness = Witness(live)
    changed = 0
    for view, rows in before.items():
        assert after[view].keys() == rows.keys()
        for key, row in rows.items():
            now, columns = after[view][key], witness.columns(row, *persons.values())
            assert witness.columns(now, *persons.values()) == []
            assert {name for name in row if row[name] != now[name]} == set(columns), key
            changed += bool(columns)
    assert changed > 10
    assert witness.traces(*persons.values()) == []


def test_two_who_forget_at_once_both_do(live: Program) -> None:
    live.import_files(options=["--stream", "daily"], stdin=clock(0) + b"\n")
    with taking("sockets", live) as taker:
        taker.send(*BEFORE, *NEW)
        witness, before = Witness(live), tables(live)
        answers: list[Answer] = []
        both = [threading.Thread(target=lambda who=who: answers.append(forgotten(live, who)))  # type: ignore[misc]
                for who in ("alice@example.com", "nina@example.com")]  # fmt: skip
        for one in both:
            one.start()
        for one in both:
            one.join()
        assert [answer.status for answer in answers] == [OK, OK]
        assert check_forgotten(before, tables(live), witness, ALICE, NINA)
        assert witness.traces(ALICE, NINA) == []
        taker.send(*LATER, *LATEST)
        assert witness.rows(ALICE, NINA) == {}


def test_a_daemon_that_does_not_answer_is_told(live: Program) -> None:
    """Nobody is forgotten then: it would bring him back."""
    with taking("sockets", live) as taker:
        taker.send(*BEFORE)
        before = tables(live)
        assert isinstance(taker, Sockets)
        taker.service.send(signal.SIGSTOP)
        hurried = with_bug(live, "from sink import control\nfrom sink.tools import awaiting\n"
                           "awaiting.PATIENCE = control.PATIENCE = 0.3")  # fmt: skip
        done = subprocess.run([*hurried, "forget", "--yes"], input=b"alice@example.com\n", capture_output=True,
                              check=False, env=environment(), timeout=PATIENCE)  # fmt: skip
        taker.service.send(signal.SIGCONT)
        one_line(Answer(done.returncode, done.stdout.decode(), done.stderr.decode()), TEMPFAIL,
                 "nobody is forgotten yet", "restart it")  # fmt: skip
        assert done.stdout == b"" and tables(live) == before


@pytest.mark.parametrize("when", ["running", "starting"])
def test_a_daemon_goes_on_with_a_list_that_is_damaged(live: Program, when: str) -> None:
    """Mail comes first; it says so, and forgets when the list is mended."""
    listed = Path(f"{live.store}.forgotten")

    def damage() -> None:
        listed.write_bytes(b"1 xyz abc 1\n")
        listed.chmod(0o600)

    if when == "starting":
        damage()
    with Service(live) as service, Confirming(service.stream) as client:
        if when == "running":
            damage()
        service.said.until("whom to forget waits: ")
        client.send(*BEFORE)
        client.until(len(BEFORE))
        answer = ask(live, "forget", "--yes", stdin=b"alice@example.com\n")
        one_line(answer, CONFIG, "s.sqlite.forgotten line 1 is damaged", "restore the file")
        listed.unlink()
        forgotten(live, "alice@example.com", "nina@example.com")
        check_nobody(live, rows=1)
        client.send(*LATER)
        client.until(len(BEFORE + LATER))
        check_nobody(live, rows=4)


def test_an_older_list_put_in_place_hides_nobody(live: Program) -> None:
    """Its entries are fewer than the daemon went through; who is forgotten after that is forgotten."""
    listed = Path(f"{live.store}.forgotten")
    with taking("sockets", live) as taker:
        forgotten(live, "x@example.com", "y@example.com", "z@example.com")
        taker.send(*BEFORE)
        listed.write_bytes(listed.read_bytes()[:79])
        forgotten(live, "alice@example.com", "nina@example.com")
        check_nobody(live, rows=1)
        taker.send(*LATER)
        check_nobody(live, rows=4)


