"""Epochs: when they begin, what they become on another host, and what a line, a message and a link have of them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sink.config import Config, FileSeal
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.pseudonym import Pseudonyms
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.fault import CONFIG, TEMPFAIL, USAGE, Fault
from sink.installation import Opened, unlock_keyring
from sink.keys import keyfile
from sink.keys.epochs import Epoch as KeyEpoch
from sink.keys.epochs import Keyring
from sink.keys.keyring import changing, initialise, save
from sink.keys.periods import AHEAD, LEAD, due
from sink.keys.seal import create_file_seal
from sink.service.keeper import Keeper
from sink.service.words import Seldom
from sink.stores import locks
from sink.stores.retention import END
from sink.stores.retention import START as START_OF_ALL
from sink.stores.sqlite import SqliteStore
from tests.golden_runner import CORRELATION, RULES
from tests.property.hostile import START, TOKEN
from tests.unit.test_correlate import ID, OTHER, active, client, line, message_id, removed, to

KEYS = [bytes([number]) + os.urandom(31) for number in range(4)]
BOUNDARY = 100  # seconds after START
REFUSED = (
    b"reject: RCPT from mail.example.net[198.51.100.7]: 552 5.2.2 <bob@example.net>: Recipient address rejected:"
    b" mailbox is full; from=<alice@example.com> to=<bob@example.net> proto=ESMTP helo=<mail.example.net>"
)
SUBJECT = (
    b": info: header Subject: lunch from mail.example.net[198.51.100.7]; from=<alice@example.com> to=<bob@example.net>"
    b" proto=ESMTP helo=<mail.example.net>: #" + TOKEN + b" Subject: lunch #" + TOKEN
)

Row = dict[str, Any]


def epochs(*bounds: int, destroyed: int | None = None, of: Sequence[int] = ()) -> list[Epoch]:
    """Epochs that meet so many seconds after START; `of` are their numbers, 1, 2, ... where it is left out."""
    edges = [None, *(START + bound for bound in bounds), None]
    found = [Epoch(number, since, until, KEYS[number]) for number, (since, until) in enumerate(pairwise(edges), 1)]
    return [epoch._replace(secret=None) if epoch.number == destroyed else epoch for epoch in found]


TWO = epochs(BOUNDARY)


class Log:
    """A pipeline and a store; `restart` goes on from the store, under other epochs where some are given."""

    def __init__(self, under: list[Epoch], rules: Rules = RULES) -> None:
        self.store = SqliteStore.memory()
        self.rules = rules
        self.restart(under)

    def restart(self, under: list[Epoch]) -> None:
        self.pipe = Pipeline(self.rules, under, CORRELATION, Reader(UTC), journal=True)
        self.pipe.resume(self.store.state("live"))

    def at(self, second: int, *texts: bytes) -> None:
        self.feed([line(second, text) for text in texts])

    def feed(self, lines: list[bytes]) -> None:
        self.store.commit(self.pipe.feed(lines), "live")

    def end(self) -> tuple[list[Row], list[Row]]:
        """Let all rows leave; give deliveries and refusals."""
        self.store.commit(self.pipe.flush(), "live")
        found = self.store.take("delivery_text"), self.store.take("reject_text")
        self.store.close()
        return found


def person(epoch: int, address: str) -> str:
    """The pseudonym of an address under an epoch's key."""
    keyed = Pseudonyms(KEYS[epoch])
    user, domain = address.split("@")
    return f"{keyed.user(user.encode()).hex()}@{keyed.domain(domain.encode()).hex()}"


def name_of(epoch: int, second: int, text: bytes) -> str:
    """The id of a delivery line under an epoch's key."""
    return Pseudonyms(KEYS[epoch]).delivery_key(b"mx1", START + second, b"17", text).hex()


# -- a message, a line, a refusal


def test_a_message_keeps_the_epoch_of_its_first_line() -> None:
    """All its rows do; each row's id is of the time of its own line."""
    log = Log(TWO)
    log.at(BOUNDARY - 2, client(), message_id(), active())
    log.at(BOUNDARY - 1, to(b"bob"))
    log.at(BOUNDARY, to(b"carol"))
    rows, _ = log.end()
    assert [row["epoch"] for row in rows] == [1, 1]
    assert {row["sender"] for row in rows} == {person(1, "alice@example.com")}
    assert [row["recipient"] for row in rows] == [person(1, "bob@example.net"), person(1, "carol@example.net")]
    assert [row["id"] for row in rows] == [
        name_of(1, BOUNDARY - 1, to(b"bob")), name_of(2, BOUNDARY, to(b"carol"))
    ]  # fmt: skip


def test_a_message_that_begins_with_the_epoch_is_of_it() -> None:
    log = Log(TWO)
    log.at(BOUNDARY, client(), active(), to())
    rows, _ = log.end()
    assert [(row["epoch"], row["recipient"]) for row in rows] == [(2, person(2, "bob@example.net"))]


def test_a_line_after_the_boundary_comes_first() -> None:
    """Then it is the first: lines of other hosts, and of a relay that was away, come late."""
    log = Log(TWO)
    log.at(BOUNDARY + 1, active())
    log.at(BOUNDARY - 1, client(), to())
    rows, _ = log.end()
    assert [(row["epoch"], row["recipient"]) for row in rows] == [(2, person(2, "bob@example.net"))]
    assert rows[0]["id"] == name_of(1, BOUNDARY - 1, to())


def test_a_refusal_of_a_message_is_of_the_messages_epoch() -> None:
    """Its id is of its own time."""
    log = Log(TWO)
    log.at(BOUNDARY - 1, client())
    log.at(BOUNDARY + 1, ID + b": " + REFUSED)
    _, (row,) = log.end()
    assert (row["epoch"], row["recipient"]) == (1, person(1, "bob@example.net"))
    text = ID + b": " + REFUSED
    assert row["id"] == Pseudonyms(KEYS[2]).reject_id(b"mx1", START + BOUNDARY + 1, 0, b"17", text).hex()


def test_a_refusal_without_a_queue_id_is_of_its_own_time() -> None:
    log = Log(TWO)
    for second in (BOUNDARY - 1, BOUNDARY):
        log.feed([line(second, b"NOQUEUE: " + REFUSED).replace(b"postfix/smtp[", b"postfix/smtpd[")])
    _, rows = log.end()
    assert [(row["epoch"], row["recipient"]) for row in rows] == [
        (1, person(1, "bob@example.net")), (2, person(2, "bob@example.net")),
    ]  # fmt: skip


# -- links


@pytest.mark.parametrize("plain", [False, True], ids=["hashed", "plain"])
@pytest.mark.parametrize("handed", [BOUNDARY - 5, BOUNDARY, BOUNDARY + 5])
def test_a_link_across_the_boundary_is_cut(handed: int, plain: bool) -> None:
    """A content filter takes a mail and gives it back: what it says is known of the second one, not whose it was.

    Above all, no row ever holds a pseudonym of another epoch's key.
    """
    log = Log(TWO, replace(RULES, plain_queue_id=plain))
    log.at(handed - 2, client(), message_id(), ID + SUBJECT, active())
    log.at(handed, to(said=b"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as " + OTHER))
    log.at(handed, OTHER + b": client=localhost[127.0.0.1]", active(queue_id=OTHER), to(b"bob", OTHER))
    rows, _ = log.end()
    parent, child = sorted(rows, key=lambda row: row["next_queue_id"] is None)
    crossed = handed == BOUNDARY
    assert (parent["epoch"], child["epoch"]) == (1 if handed - 2 < BOUNDARY else 2, 1 if handed < BOUNDARY else 2)
    assert parent["subject_size"] == 5
    assert child["subject_size"] == (None if crossed else 5)
    keyed = Pseudonyms(KEYS[child["epoch"]])
    assert child["message_id"] == (None if crossed else keyed.message_id(b"1@example.com").hex())
    if not plain:
        assert parent["next_queue_id"] == Pseudonyms(KEYS[parent["epoch"]]).queue_id(OTHER).hex()
        assert (child["parent_queue_id"] is None) == crossed


# -- epochs that are destroyed


def story(begin: int) -> list[tuple[int, bytes]]:
    return [
        (begin, client()), (begin, message_id()), (begin, active()), (begin + 1, to()), (begin + 1, removed()),
        (begin + 2, b"NOQUEUE: " + REFUSED), (begin + 3, b"connect from mail.example.net[198.51.100.7]"),
        (begin + 3, b"warning: what is this"),
    ]  # fmt: skip


def test_lines_of_a_destroyed_epoch_are_refused_and_counted() -> None:
    """They are not called not understood, and what is ignored ever is ignored here."""
    log = Log(epochs(BOUNDARY, destroyed=1))
    for second, text in story(0):
        log.feed([line(second, text).replace(b"postfix/smtp[", b"postfix/smtpd[") if b"NOQ" in text
                  else line(second, text)])  # fmt: skip
    counts = log.pipe.counts
    assert log.store.state("live").keys() == {b"host:mx1"}
    assert log.end() == ([], [])
    assert counts["epoch_destroyed"] == 6
    assert counts["not_understood"] == 0
    assert counts["ignored"] == 2
    assert counts["delivery_lines"] == counts["rejects"] == 0


def test_a_line_back_in_time_is_refused_where_that_epoch_is_destroyed() -> None:
    """Its id would be of a key that is not there."""
    log = Log(epochs(BOUNDARY, destroyed=1))
    log.at(BOUNDARY, client(), active(), to(b"carol"))
    log.at(BOUNDARY - 1, to(), ID + b": " + REFUSED)
    rows, refused = log.end()
    assert [row["recipient"] for row in rows] == [person(2, "carol@example.net")]
    assert refused == []
    assert log.pipe.counts["epoch_destroyed"] == 2
    assert log.pipe.counts["delivery_lines"] == 1


def test_an_open_message_whose_key_is_gone_is_not_taken_up_and_not_kept() -> None:
    log = Log(TWO)
    log.at(BOUNDARY - 1, client(), active())
    log.at(BOUNDARY, client(OTHER), active(queue_id=OTHER))
    assert log.store.counts()["open_message"] == 3  # and the clock
    log.restart(epochs(BOUNDARY, destroyed=1))
    assert log.pipe.standing().open_messages == 1
    log.feed([])
    assert log.store.counts()["open_message"] == 2
    log.at(BOUNDARY + 1, to(queue_id=OTHER), to())
    rows, _ = log.end()
    # The line of the message that is not known any more is the first of another one.
    senders = {row["queue_id"]: (row["epoch"], row["sender"]) for row in rows}
    keyed = Pseudonyms(KEYS[2])
    assert senders == {
        keyed.queue_id(OTHER).hex(): (2, person(2, "alice@example.com")), keyed.queue_id(ID).hex(): (2, None)
    }  # fmt: skip


def test_rows_that_wait_leave_before_their_key_does() -> None:
    log = Log(TWO)
    log.at(BOUNDARY - 1, client(), active(), to())
    log.at(BOUNDARY, client(OTHER), active(queue_id=OTHER), to(queue_id=OTHER))
    log.pipe.part({1})
    log.feed([])
    assert log.pipe.standing().open_messages == 1
    assert [row["epoch"] for row in log.store.take("delivery_text")] == [1]
    assert len([token for token in log.store.state("live") if not token.startswith(b"host:")]) == 1
    rows, _ = log.end()
    assert [row["epoch"] for row in rows] == [2]


# -- a log with many boundaries in it, in any pieces


def many_messages(dice: random.Random) -> list[bytes]:
    """Lines of forty messages that overlap, over four minutes."""
    lines: list[tuple[int, int, bytes]] = []
    for number in range(40):
        queue_id, begin = b"4A5A321%04X" % number, dice.randrange(200)
        texts = [client(queue_id), message_id(b"%d" % number, queue_id), active(b"user%d" % (number % 7), queue_id)]
        at = begin
        for text in [*texts, to(b"bob", queue_id), to(b"carol", queue_id), removed(queue_id)]:
            lines.append((at, len(lines), line(at, text)))
            at += dice.randrange(0, 20)
    return [text for *_, text in sorted(lines)]


@pytest.mark.parametrize("seed", range(4))
def test_pieces_and_restarts_change_nothing(seed: int) -> None:
    dice = random.Random(seed)
    lines = many_messages(dice)
    under = epochs(dice.randrange(40, 80), dice.randrange(120, 160))
    whole = Log(under)
    whole.feed(lines)
    wanted = whole.end()
    assert len(wanted[0]) == 80
    assert {row["epoch"] for row in wanted[0]} == {1, 2, 3}
    for size, restarts in ((1, False), (7, True), (1, True), (50, True)):
        log = Log(under)
        for start in range(0, len(lines), size):
            log.feed(lines[start : start + size])
            if restarts:
                log.restart(under)
        assert log.end() == wanted


def test_rows_under_one_epoch_differ_in_pseudonyms_alone() -> None:
    """The boundary changes no fact but those that a link would bring."""
    lines = many_messages(random.Random(1))
    found = []
    for under in (epochs(), epochs(95)):
        log = Log(under)
        log.feed(lines)
        plain = ("status", "delay", "logged_at", "message_size", "recipients", "origin", "is_outgoing", "first_seen_at")
        found.append([[row[name] for name in plain] for row in log.end()[0]])
    assert sorted(found[0]) == sorted(found[1])


# -- the calendar


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def ring(since: str | None = None, coming: str | None = None, secret: bytes | None = None) -> Keyring:
    """A keyring whose active epoch began at some time, and another one is to begin."""
    bounds = [None if since is None else moment(since), None if coming is None else moment(coming)]
    found: list[KeyEpoch] = []
    if bounds[0] is not None:
        found.append(KeyEpoch(1, None, bounds[0], "retired", os.urandom(32)))
    found.append(KeyEpoch(2, bounds[0], bounds[1], "active", os.urandom(32)))
    if bounds[1] is not None:
        found.append(KeyEpoch(3, bounds[1], None, "coming", os.urandom(32)))
    return Keyring(tuple(found), os.urandom(32))


TURNS = {  # of the period that holds 2026-11-02T08:00, a Monday
    "weekly": ("2026-11-02", "2026-11-09"),
    "monthly": ("2026-11-01", "2026-12-01"),
    "quarterly": ("2026-10-01", "2027-01-01"),
    "yearly": ("2026-01-01", "2027-01-01"),
}


@pytest.mark.parametrize("word", TURNS)
def test_a_boundary_is_written_an_hour_before_the_turn(word: str) -> None:
    begin, end = map(moment, TURNS[word])
    config = Config(rotate=word)  # type: ignore[arg-type]
    for made in (ring(), ring(TURNS[word][0])):
        assert due(made, config, begin + 1) is None
        assert due(made, config, end - LEAD - 1) is None
        assert due(made, config, end - LEAD) == end
        assert due(made, config, end - AHEAD) == end
        assert due(made, config, end - 1) == end - 1 + AHEAD  # never less ahead


@pytest.mark.parametrize(
    ("word", "now", "end"),
    [
        ("weekly", "2026-11-08T23:30", "2026-11-09"),
        ("weekly", "2026-12-31T12:00", None),
        ("weekly", "2027-01-03T23:00", "2027-01-04"),
        ("monthly", "2026-12-31T23:00", "2027-01-01"),
        ("monthly", "2027-02-28T23:59", "2027-03-01"),
        ("monthly", "2028-02-28T23:59", None),
        ("monthly", "2028-02-29T23:00:01", "2028-03-01"),
        ("quarterly", "2026-12-31T23:10", "2027-01-01"),
        ("quarterly", "2026-09-30T22:59", None),
        ("quarterly", "2026-03-31T23:30", "2026-04-01"),
        ("yearly", "2026-12-31T23:30", "2027-01-01"),
        ("yearly", "2026-06-30T23:30", None),
    ],
)
def test_turns_of_the_calendar(word: str, now: str, end: str | None) -> None:
    found = due(ring(), Config(rotate=word), moment(now))  # type: ignore[arg-type]
    assert found == (None if end is None else max(moment(end), moment(now) + AHEAD))


def test_a_turn_at_which_nobody_was_there() -> None:
    """It is made up for at once, but not shortly before the next one."""
    monthly, old = Config(rotate="monthly"), ring("2026-09-01")
    now = moment("2026-11-02T08:00")
    assert due(old, monthly, now) == now + AHEAD
    late = moment("2026-11-30T23:30")
    assert due(old, monthly, late) == moment("2026-12-01")


def test_one_that_is_coming_already_is_enough() -> None:
    made = ring("2026-09-01", coming="2026-12-05")
    assert due(made, Config(rotate="monthly"), moment("2026-11-30T23:30")) is None
    assert due(made, Config(rotate="weekly"), moment("2026-11-30T23:30")) is None


def test_one_that_was_coming_when_the_keyring_was_loaded_has_begun() -> None:
    """A daemon may hold its keyring for months."""
    made = ring("2026-10-01", coming="2026-11-01")
    assert due(made, Config(rotate="monthly"), moment("2026-11-15")) is None
    assert due(made, Config(rotate="monthly"), moment("2026-11-30T23:00")) == moment("2026-12-01")


def test_never() -> None:
    assert due(ring("2020-01-01"), Config(), moment("2026-11-30T23:30")) is None


def test_each_turn_comes_once() -> None:
    """A daemon that looks again and again for months, and rotates as told."""
    made, config, now = ring(), Config(rotate="monthly"), moment("2026-10-01T00:00:30")
    while now < moment("2027-02-01T00:01"):
        boundary = due(made, config, now)
        if boundary is not None:
            assert boundary >= now + AHEAD
            made = made.as_of(now).rotated(boundary)
        now += 60 if boundary else 1_200
    assert [epoch.since for epoch in made.epochs[1:]] == [
        moment(day) for day in ("2026-11-01", "2026-12-01", "2027-01-01", "2027-02-01")
    ]


# -- what a keyring becomes


def test_a_new_epoch_has_a_new_key_and_no_second_is_without_one() -> None:
    made = Keyring.create()
    now = int(time.time())
    first, second = made.rotated(now + 60), made.rotated(now + 60)
    assert first.epochs[-1].secret != second.epochs[-1].secret
    assert first.epochs[0].secret == made.active.secret
    assert [(epoch.since, epoch.until, epoch.state) for epoch in first.epochs] == [
        (None, now + 60, "active"), (now + 60, None, "coming"),
    ]  # fmt: skip
    assert [first.as_of(at).active.number for at in (now, now + 59, now + 60)] == [1, 1, 2]
    with pytest.raises(Fault) as caught:
        first.rotated(now + 120)
    assert caught.value.status == TEMPFAIL


@pytest.mark.parametrize(
    ("number", "words"),
    [(1, "destroyed already"), (3, "is active; type postsink keys rotate"), (4, "has not begun"), (9, "no epoch 9")],
)
def test_what_cannot_be_destroyed(number: int, words: str) -> None:
    made = three()
    with pytest.raises(Fault) as caught:
        made.without(number)
    assert caught.value.status == USAGE
    assert words in caught.value.message


def three() -> Keyring:
    """A destroyed, a retired, an active and a coming epoch."""
    now = int(time.time())
    return Keyring(
        (
            KeyEpoch(1, None, now - 9_000, "destroyed", None),
            KeyEpoch(2, now - 9_000, now - 5_000, "retired", os.urandom(32)),
            KeyEpoch(3, now - 5_000, now + 5_000, "active", os.urandom(32)),
            KeyEpoch(4, now + 5_000, None, "coming", os.urandom(32)),
        ),
        os.urandom(32),
    )


def test_destroying_takes_one_key_and_nothing_else() -> None:
    made = three()
    left = made.without(2)
    assert left.epochs == (made.epochs[0], replace(made.epochs[1], state="destroyed", secret=None), *made.epochs[2:])
    assert left.correlation == made.correlation


@pytest.mark.parametrize("back", [6_000, 10_000])
def test_a_clock_that_says_a_destroyed_epoch_has_not_ended_is_told_so(back: int) -> None:
    """Not that the keyring is not valid, and to be restored."""
    made = three().without(2)
    with pytest.raises(Fault) as caught:
        made.as_of(int(time.time()) - back)
    assert caught.value.status == CONFIG
    assert "set the clock" in caught.value.message


# -- a fleet


def test_a_keyring_that_went_on_elsewhere_is_taken_over() -> None:
    ours = Keyring.create()
    theirs = ours.rotated(int(time.time()) + 60)
    assert ours.joined(theirs) == theirs
    assert theirs.joined(theirs) == theirs


def test_what_is_destroyed_on_either_host_is_destroyed() -> None:
    made = three()
    gone = made.without(2)
    assert made.joined(gone) == gone
    assert gone.joined(made) == gone
    assert gone.joined(made).epochs[1].secret is None


def strangers() -> list[tuple[Keyring, Keyring, str]]:
    made, now = three(), int(time.time())
    one = Keyring.create()
    rotated = one.rotated(now + 60)
    other_key = replace(made, epochs=(*made.epochs[:2], replace(made.epochs[2], secret=os.urandom(32)), made.epochs[3]))
    moved = (replace(made.epochs[2], until=now + 6_000), replace(made.epochs[3], since=now + 6_000))
    return [
        (made, Keyring.create(), "another fleet"),
        (made, replace(made, correlation=os.urandom(32)), "another fleet"),
        (made, other_key, "its epoch 3 is another one"),
        (made, replace(made, epochs=(*made.epochs[:2], *moved)), "its epoch 3 is another one"),
        (rotated, one.rotated(now + 60), "its epoch 2 is another one"),
        (rotated, one.rotated(now + 90), "its epoch 1 is another one"),
        (rotated, one, "it has no epoch 2"),
    ]


@pytest.mark.parametrize("number", range(len(strangers())))
def test_a_keyring_that_does_not_go_on_from_this_one_is_refused(number: int) -> None:
    ours, theirs, words = strangers()[number]
    with pytest.raises(Fault) as caught:
        ours.joined(theirs)
    assert caught.value.status == CONFIG
    assert words in caught.value.message


# -- the file


def test_what_a_killed_change_left_is_wiped_by_the_next(tmp_path: Path) -> None:
    """Also for who still has it open; a second name of the file itself, and a copy that somebody made, are not."""
    path = tmp_path / "keyring"
    path.write_bytes(b"what is")
    left, second, copy = (tmp_path / name for name in (f".keyring.{'0' * 16}", f".keyring.{'1' * 16}", ".keyring.old"))
    left.write_bytes(b"a killed change")
    copy.write_bytes(b"a copy")
    os.link(path, second)
    with left.open("rb") as file:
        with keyfile.changing(path):
            pass
        assert file.read() == bytes(15)
    assert path.read_bytes() == b"what is"
    assert copy.read_bytes() == b"a copy"
    assert sorted(tmp_path.iterdir()) == [copy, path]


def test_what_is_replaced_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    keyfile.make(path, b"old secret", 0o600)
    with path.open("rb") as file:
        keyfile.replace(path, b"new", 0o600)
        assert file.read() == bytes(10)
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_replaced_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keyring"
    keyfile.make(path, b"old secret", 0o600)

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("replace", "link", "fsync"):
        with monkeypatch.context() as patch, pytest.raises(Fault):
            patch.setattr(os, name, full)
            keyfile.replace(path, b"new", 0o600)
        assert path.read_bytes() == b"old secret"
        assert list(tmp_path.iterdir()) == [path]


def test_who_may_not_wait_is_told_that_another_one_is_at_work(tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    with keyfile.changing(path):
        with pytest.raises(Fault) as caught, keyfile.changing(path, wait=False):
            pass
    assert caught.value.status == TEMPFAIL
    with keyfile.changing(path, wait=False):
        pass


# -- rows and keys that leave in time


def with_rows(store: SqliteStore, seconds: Sequence[int], under: list[Epoch]) -> None:
    """A refusal a second; of seconds that come twice two."""
    pipe = Pipeline(RULES, under, CORRELATION, Reader(UTC))
    lines = []
    for number, second in enumerate(seconds):
        lines.append(line(second, b"NOQUEUE: " + REFUSED).replace(b"[17]", b"[%d]" % (number + 1)))
    store.commit(pipe.feed(lines))
    assert store.counts()["reject"] == len(seconds)


@pytest.mark.parametrize("most", [1, 3, 7, 100])
def test_rows_before_a_second_leave_and_no_others(most: int) -> None:
    """At most so many at a time, also where more are of one second."""
    store = SqliteStore.memory()
    seconds = [*range(10), *[10] * 9, 19, 20, 20, 21, 30]
    with_rows(store, seconds, epochs())
    found = []
    while gone := store.prune(START + 20, most):
        found.append(gone)
    assert sum(found) == 20
    assert max(found) <= most
    left = [row["logged_at"] for row in store.take("reject_text")]
    assert [str(moment_of(str(text)) - START) for text in left] == ["20", "20", "21", "30"]
    store.close()


def moment_of(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


@pytest.mark.parametrize("most", [1, 4, 100])
def test_a_row_of_an_epoch_is_found_wherever_it_is(most: int) -> None:
    store = SqliteStore.memory()
    with_rows(store, [*range(0, 40), *range(60, 80)], epochs(50))
    for epoch, wanted in ((1, True), (2, True), (3, False)):
        found, place = False, START_OF_ALL
        while not found and place != END:
            found, place = store.search(epoch, place, most)
        assert found is wanted
    store.close()


class Installed:
    """A keyring, a store, and a keeper."""

    def __init__(self, folder: Path, **config: Any) -> None:
        create_file_seal(folder / "seal.key")
        self.config = Config(
            store=folder / "s.sqlite", keyring=folder / "keyring", seal=(FileSeal(folder / "seal.key"),),
            patience=3_600, **config,
        )  # fmt: skip
        initialise(self.config.keyring, self.config.seal)
        self.store = SqliteStore.create(self.config.store)
        self._now = time.monotonic()

    def put(self, *bounds: int) -> None:
        now = int(time.time())
        edges = [None, *(now + bound for bound in bounds), None]
        found = []
        for number, (since, until) in enumerate(pairwise(edges), 1):
            state = "retired" if until and until <= now else "coming" if since and since > now else "active"
            found.append(KeyEpoch(number, since, until, state, os.urandom(32)))  # type: ignore[arg-type]
        with changing(self.config.keyring):
            save(Keyring(tuple(found), os.urandom(32)), self.config.keyring, self.opened().secret)
        self.keeper = Keeper(self.config, self.store, self.opened())

    def opened(self) -> Opened:
        return unlock_keyring(self.config)

    def states(self) -> list[str]:
        return [epoch.state for epoch in self.opened().keys.epochs]

    def tick(self, seconds: int = 1) -> str:
        """Let it look each second; return what it has to say."""
        seldom = Seldom()
        for _ in range(seconds):
            self._now += 1
            self.keeper.tick(self._now, seldom)
        return " ".join(seldom._waiting)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Callable[..., Installed]]:
    made: list[Installed] = []

    def make(**config: Any) -> Installed:
        made.append(Installed(tmp_path, **config))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


DAY = 86_400


def test_a_daemon_looks_for_rows_bit_by_bit(
    installed: Callable[..., Installed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And destroys the key when it has looked at all of them."""
    monkeypatch.setattr("sink.service.keeper.MOST_SEARCHED", 4)
    one = installed(keep=DAY)
    one.put(-10 * DAY)
    now = int(time.time()) - START
    with_rows(one.store, [*[now - 9 * DAY] * 5, *range(now - 3_600, now - 3_500)], epochs(now - 10 * DAY))
    ticks = 0
    while one.states() == ["retired", "active"]:
        one.tick()
        ticks += 1
        assert ticks < 40
    assert ticks > 20
    assert one.states() == ["destroyed", "active"]
    assert one.store.counts()["reject"] == 100


def test_a_daemon_does_not_destroy_what_has_rows_yet(installed: Callable[..., Installed]) -> None:
    """A mail that was in the queue for long has the epoch of its first line."""
    one = installed(keep=DAY)
    one.put(-10 * DAY)
    now = int(time.time()) - START
    with_rows(one.store, [now - 3_600], epochs(now + 10))  # of epoch 1
    one.tick(130)
    assert one.states() == ["retired", "active"]


def test_what_was_active_when_the_daemon_began_is_past_one_day(
    installed: Callable[..., Installed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keeper holds its keyring for months; states are those of now."""
    one = installed(keep=DAY, rotate="yearly")
    one.put(-400 * DAY, 60)
    later = int(time.time()) + 800 * DAY
    monkeypatch.setattr(time, "time", lambda: float(later))
    one.tick(5)
    assert one.states() == ["destroyed", "destroyed", "active", "coming"]


def test_a_daemon_waits_for_nobody(installed: Callable[..., Installed]) -> None:
    """Who holds the keyring, or imports, holds up no line; what is due comes later."""
    one = installed(keep=DAY, rotate="yearly")
    one.put(-800 * DAY, -400 * DAY)
    with changing(one.config.keyring):
        assert "another command changes" in one.tick()
    lock = locks.importing(one.config.store)
    assert lock is not None
    assert "an import into" in one.tick(70)
    os.close(lock)
    assert one.tick(70) == ""
    assert one.states() == ["destroyed", "destroyed", "active", "coming"]
