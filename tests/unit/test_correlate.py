"""Law 4: log clocks, when a row leaves, which facts it uses, where a message begins and ends, and what is forgotten."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import pytest

from sink.core import openmessages
from sink.core.batch import Batch
from sink.core.correlate import AGREE, AHEAD, BEHIND, HOLD, MOST_HEADERS, MOST_PARENTS, QUIET
from sink.core.ends import LINGER, UNQUEUED
from sink.core.facts import LATE
from sink.core.pipeline import Pipeline
from tests.golden_runner import RULES, stamp_iso
from tests.property.hostile import START, TOKEN, named, pipeline

ID, OTHER = b"4A5A321A867", b"1F00D5EED01"
HOUR = 3_600


def line(at: int, text: bytes, host: bytes = b"mx1") -> bytes:
    """A line some seconds after START, of the daemon that prints such a text."""
    words = text.partition(b": ")[2]
    daemon = next((name for begin, name in DAEMONS.items() if words.startswith(begin)), b"smtp")
    return b"%b %b postfix/%b[17]: %b" % (stamp_iso(START + at, 0), host, daemon, text)


DAEMONS = {
    b"client=": b"smtpd",
    b"uid=": b"pickup",
    b"message-id=": b"cleanup",
    b"info:": b"cleanup",
    b"from=": b"qmgr",
    b"removed": b"qmgr",
    b"requeued": b"postsuper",
    b"reject: header": b"cleanup",
    b"reject: RCPT": b"smtpd",
    b"milter-": b"cleanup",
    b"discard": b"cleanup",
}


def client(queue_id: bytes = ID) -> bytes:
    return queue_id + b": client=mail.example.net[198.51.100.7]"


def to(user: bytes = b"bob", queue_id: bytes = ID, said: bytes = b"250 ok") -> bytes:
    return (
        queue_id + b": to=<" + user + b"@example.net>, relay=mx.example.net[198.51.100.9]:25, delay=3,"
        b" delays=1/0/1/1, dsn=2.0.0, status=sent (" + said + b")"
    )  # fmt: skip


def active(sender: bytes = b"alice", queue_id: bytes = ID) -> bytes:
    return queue_id + b": from=<" + sender + b"@example.com>, size=1000, nrcpt=1 (queue active)"


def message_id(name: bytes = b"1", queue_id: bytes = ID) -> bytes:
    return queue_id + b": message-id=<" + name + b"@example.com>"


def removed(queue_id: bytes = ID) -> bytes:
    return queue_id + b": removed"


CONNECT = b"connect from mail.example.net[198.51.100.7]"


class Play:
    """A pipeline that is fed lines; `rows` holds what left."""

    def __init__(self, **rules: Any) -> None:
        self.pipe: Pipeline = pipeline(rules=replace(RULES, **rules))
        self.rows: list[dict[str, Any]] = []

    def take(self, batch: Batch) -> int:
        """Keep the rows of a batch; give their number."""
        self.rows += map(named, batch.rows)
        return len(batch.rows)

    def at(self, second: int, *texts: bytes, host: bytes = b"mx1") -> int:
        return self.take(self.pipe.feed([line(second, text, host) for text in texts]))

    def tick(self, now: float) -> int:
        return self.take(self.pipe.tick(now))

    def end(self) -> list[dict[str, Any]]:
        self.take(self.pipe.flush())
        return self.rows

    def forgotten(self) -> dict[str, int]:
        return {
            name.removeprefix("forgotten_"): number
            for name, number in self.pipe.counts.items()
            if name.startswith("forgotten_") and number
        }


def ended_by(play: Play) -> list[dict[str, Any]]:
    return sorted(play.end(), key=lambda row: (row["second"], row["recipient_user"], row["id"]))


# -- when a row leaves


def test_a_row_leaves_when_its_hosts_clock_is_past_it() -> None:
    play = Play()
    assert play.at(0, to()) == 0
    assert play.at(HOLD - 1, CONNECT) == 0
    assert play.at(HOLD, CONNECT) == 1
    assert play.end() == play.rows[:1]


def test_each_host_has_a_clock_of_its_own() -> None:
    play = Play()
    assert play.at(0, to()) == 0
    assert play.at(100, to(), CONNECT, host=b"mx2") == 0
    assert play.at(HOLD, CONNECT) == 1
    assert play.at(100 + HOLD, CONNECT, host=b"mx2") == 1
    assert play.rows[0]["queue_id"] == play.rows[1]["queue_id"]
    assert play.rows[0]["id"] != play.rows[1]["id"]


def test_a_row_uses_what_is_logged_within_five_seconds() -> None:
    for seconds, is_used in ((LATE, True), (LATE + 1, False)):
        play = Play()
        play.at(0, to())
        play.at(seconds, active())
        (row,) = play.end()
        assert (row["message_size"] == 1000) is is_used


def test_a_row_that_left_never_changes() -> None:
    play = Play()
    play.at(0, to())
    play.at(HOLD, CONNECT)
    assert play.at(1, active()) == 0
    assert play.end() == play.rows[:1]
    assert play.rows[0]["message_size"] == ""


def test_a_late_line_makes_its_row_at_once() -> None:
    play = Play()
    play.at(0, client(), active())
    play.at(40, CONNECT)
    assert play.at(40 - HOLD, to()) == 1
    assert play.rows[0]["message_size"] == 1000


def test_wall_clock_lets_rows_of_a_quiet_host_leave() -> None:
    play = Play()
    play.at(0, to())
    assert [play.tick(now) for now in (1000.0, 1000 + QUIET - 0.1, 1000 + QUIET)] == [0, 0, 1]
    play.at(1, to(b"carol"))
    assert [play.tick(now) for now in (2000.0, 2005.0)] == [0, 0]
    play.at(2, CONNECT)
    assert [play.tick(now) for now in (2009.0, 2015.0, 2019.0)] == [0, 0, 1]


# -- clocks


@pytest.mark.parametrize(("second", "moves"), [(AHEAD, True), (AHEAD + 1, False), (365 * 86_400, False)])
def test_a_line_far_ahead_moves_no_clock(second: int, moves: bool) -> None:
    play = Play()
    play.at(0, to())
    assert play.at(second, CONNECT) == moves
    assert play.at(1, CONNECT) == 0  # too late, but not off
    assert len(play.end()) == 1


def test_three_lines_that_agree_move_it() -> None:
    play = Play()
    play.at(0, to())
    year = 365 * 86_400
    assert [play.at(year + number, CONNECT) for number in range(AGREE)] == [0] * (AGREE - 1) + [1]


def test_lines_that_do_not_agree_do_not() -> None:
    play = Play()
    play.at(0, to())
    for number in range(1, 10):
        assert play.at(number * 100_000, CONNECT) == 0
    for _ in range(5):
        assert play.at(900_000, CONNECT) + play.at(1, CONNECT) == 0  # a good line in between


def test_a_row_far_ahead_waits_for_its_time() -> None:
    play = Play()
    play.at(0, CONNECT)
    play.at(10_000, to())
    assert play.at(100, CONNECT) == 0
    assert sum(play.at(10_000 + number, CONNECT) for number in range(3)) == 0
    assert play.at(10_000 + HOLD, CONNECT) == 1


@pytest.mark.parametrize(("second", "moves"), [(-BEHIND, False), (-BEHIND - 1, True)])
def test_three_lines_far_behind_set_it_back(second: int, moves: bool) -> None:
    """Then later lines of the old time are far ahead, and do not move it."""
    play = Play()
    play.at(0, CONNECT)
    for _ in range(AGREE):
        play.at(second, CONNECT)
    play.at(second, to())
    assert play.at(second + HOLD, CONNECT) == (1 if moves else 0)
    assert len(play.end()) == 1


def test_a_clock_set_back_lets_go_what_waited_for_the_old_time() -> None:
    play = Play()
    play.at(2 * HOUR, to())
    assert [play.at(0, CONNECT) for _ in range(AGREE)] == [0] * (AGREE - 1) + [1]


# -- which message a fact is of


def test_a_client_of_another_second_opens_a_message() -> None:
    """A short queue id came back within minutes, and nobody said `removed`."""
    play = Play()
    play.at(0, client(), message_id(b"1"), active(b"alice"))
    play.at(1, to(b"bob"))
    play.at(120, client(), message_id(b"2"))
    play.at(121, to(b"carol"))
    first, second = ended_by(play)
    assert first["message_id"] != second["message_id"]
    assert first["sender_user"] != second["sender_user"] == "00" * 16
    assert (first["first_seen"], second["first_seen"]) == ((START) * 1_000_000, (START + 120) * 1_000_000)


def test_a_client_of_the_same_second_does_not() -> None:
    play = Play()
    play.at(0, client(), active(), client())
    play.at(1, to())
    assert play.end()[0]["message_size"] == 1000


@pytest.mark.parametrize("opening", [message_id(b"2"), active(b"carol")])
@pytest.mark.parametrize(("pause", "opens"), [(0, False), (1, False), (2, True), (50, True)])
def test_without_either_a_line_after_the_end_opens_one(opening: bytes, pause: int, opens: bool) -> None:
    play = Play()
    play.at(0, message_id(b"1"), active(b"alice"))
    play.at(1, to(b"bob"), removed())
    play.at(1 + pause, opening)
    play.at(3 + pause, to(b"carol"))
    first, second = ended_by(play)
    key = "message_id" if opening.startswith(ID + b": m") else "sender_user"
    assert (first[key] != second[key]) is opens


def test_facts_find_their_message_in_any_order() -> None:
    """Two messages of one queue id, and the lines of the second second in any order."""
    first = [line(0, client()), line(0, message_id(b"1")), line(1, active(b"alice")), line(2, to(b"bob"))]
    second = [line(4, client()), line(4, message_id(b"2")), line(4, active(b"carol")), line(4, to(b"dave"))]
    found = set()
    for order in permutations(second):
        play = Play()
        play.take(play.pipe.feed([*first, *order]))
        found.add(repr(ended_by(play)))
    assert len(found) == 1


def test_two_links_of_one_second_in_any_order() -> None:
    """Of a single fact the least stays, also while only links name the queue id."""
    lines = [
        line(0, to(queue_id=OTHER, said=b"250 2.0.0 Ok: queued as " + ID)),
        line(0, to(queue_id=b"ABCDEF", said=b"250 2.0.0 Ok: queued as " + ID)),
        line(0, to(b"carol")),
    ]
    found = set()
    for order in permutations(lines):
        play = Play()
        play.take(play.pipe.feed(list(order)))
        found.add(repr(ended_by(play)))
    assert len(found) == 1


def test_what_is_not_understood_opens_no_message() -> None:
    play = Play()
    play.at(0, ID + b": client=garbage")
    play.at(5, message_id())
    play.at(6, to())
    assert play.end()[0]["first_seen"] == (START + 5) * 1_000_000
    assert play.pipe.counts["not_understood:smtp"] + play.pipe.counts["not_understood:smtpd"] == 1


def test_a_message_that_was_not_seen_to_arrive_did_so_a_delay_ago() -> None:
    play = Play()
    play.at(10, to())
    assert play.end()[0]["first_seen"] == (START + 10 - 3) * 1_000_000


# -- ends


ENDS = {
    "removed": removed(),
    "requeued": ID + b": requeued",
    "canceled": ID + b": removed (canceled)",
    "header": ID
    + b": reject: header Subject: x from mail.example.net[198.51.100.7]; from=<a@example.com>: 5.7.1 no",
    "milter": ID
    + b": milter-reject: END-OF-MESSAGE from mail.example.net[198.51.100.7]: 5.7.1 no; from=<a@example.com>"
    b" to=<b@example.net> proto=ESMTP helo=<x>",
    "discard": ID
    + b": discard: header Subject: x from mail.example.net[198.51.100.7]; from=<a@example.com>: no",
}


@pytest.mark.parametrize("end", ENDS)
def test_an_ended_message_is_forgotten_a_minute_later(end: str) -> None:
    play = Play()
    play.at(0, client(), message_id(), active())
    play.at(1, ENDS[end])
    play.at(LINGER, CONNECT)
    assert (play.pipe.standing().open_messages, play.forgotten()) == (1, {})
    play.at(LINGER + 1, CONNECT)
    assert (play.pipe.standing().open_messages, play.forgotten()) == (0, {"ended": 1})


def test_a_refused_recipient_ends_no_message() -> None:
    play = Play()
    play.at(0, client(), active())
    refused = (
        b": reject: RCPT from mail.example.net[198.51.100.7]: 550 5.1.1 <x@example.com>: no; from=<a@example.org>"
        b" to=<x@example.com> proto=ESMTP helo=<x>"
    )
    play.at(1, ID + refused)
    play.at(1 + 2 * LINGER, CONNECT)
    assert play.pipe.standing().open_messages == 1


def test_lines_after_the_end_still_count() -> None:
    """local logs its delivery after qmgr's `removed`."""
    play = Play()
    play.at(0, client(), active())
    play.at(1, removed())
    play.at(50, to())
    assert play.end()[0]["message_size"] == 1000


def test_a_message_that_was_never_active_is_forgotten_after_an_hour() -> None:
    play = Play()
    play.at(0, client())
    play.at(600, message_id())
    for second in range(1000, 600 + UNQUEUED, 500):
        play.at(second, CONNECT)
    assert play.pipe.standing().open_messages == 1
    play.at(600 + UNQUEUED, CONNECT)
    assert (play.pipe.standing().open_messages, play.forgotten()) == (0, {"never_active": 1})


def test_an_open_message_is_remembered_as_long_as_patience_says() -> None:
    play = Play(patience=2 * HOUR)
    play.at(0, client(), active())
    play.at(500, to())
    second = 500
    while second + 500 < 500 + 2 * HOUR:
        second += 500
        play.at(second, CONNECT)
    assert play.pipe.standing().open_messages == 1
    play.at(500 + 2 * HOUR, CONNECT)
    assert (play.pipe.standing().open_messages, play.forgotten()) == (0, {"out_of_patience": 1})


def test_wall_clock_forgets_too() -> None:
    play = Play()
    play.at(0, client(), active(), removed())
    play.tick(0)
    play.tick(LINGER - 1)
    assert play.pipe.standing().open_messages == 1
    play.tick(LINGER)
    assert play.forgotten() == {"ended": 1}


def test_a_queue_id_that_only_a_link_names_is_forgotten_soon() -> None:
    """Most of them are a remote server's own."""
    play = Play()
    play.at(0, client(), active(), to(said=b"250 2.0.0 Ok: queued as " + OTHER))
    play.at(LINGER + HOLD + 1, CONNECT, to(b"carol"))
    play.at(LINGER + 2 * HOLD + 2, CONNECT)
    assert play.forgotten() == {"named_only": 1}
    assert play.pipe.standing().open_messages == 1


def test_a_parent_stays_while_a_child_that_inherits_is_open() -> None:
    """The second pass of a filter is deferred for an hour; its row still has the first one's client."""
    play = Play()
    play.at(0, client(), message_id(), active())
    play.at(1, to(said=b"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as " + OTHER))
    play.at(1, OTHER + b": client=localhost[127.0.0.1]", active(queue_id=OTHER), removed())
    for second in range(500, 3_500, 500):
        play.at(second, CONNECT)
    assert play.pipe.standing().open_messages == 2
    play.at(3_600, to(b"carol", OTHER), removed(OTHER))
    row = ended_by(play)[-1]
    assert (row["origin"], row["first_seen"]) == ("smtpd", START * 1_000_000)
    assert row["message_id"] != "00" * 16
    for second in (3_660, 3_800):
        play.at(second, CONNECT)
    assert play.forgotten() == {"ended": 2}


def test_a_parent_goes_soon_after_its_child() -> None:
    """Also where the child stayed for a day: its end has the parent looked at, which by itself is looked at seldom."""
    play = Play()
    play.at(0, client(), message_id(), active())
    play.at(1, to(said=b"250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as " + OTHER))
    play.at(1, OTHER + b": client=localhost[127.0.0.1]", active(queue_id=OTHER), removed())
    day = 24 * HOUR + 500
    for second in range(500, day, 500):
        play.at(second, CONNECT)
    play.at(day, to(b"carol", OTHER), removed(OTHER))
    play.at(day + LINGER, CONNECT)
    assert play.forgotten() == {"ended": 1}
    play.at(day + 3 * LINGER, CONNECT)
    assert play.forgotten() == {"ended": 2}


def test_of_a_chain_each_goes_soon_after_the_next() -> None:
    """Also of one that is longer than what is looked at together, after days."""
    play = Play()
    names = [b"%05X321A867" % number for number in range(30)]
    for at, (one, other) in enumerate(pairwise(names)):
        play.at(at, client(one), active(queue_id=one))
        play.at(at, to(queue_id=one, said=b"250 2.0.0 Ok: queued as " + other), removed(one))
    play.at(30, client(names[-1]), active(queue_id=names[-1]), removed(names[-1]))
    for second in range(3 * 24 * HOUR, 3 * 24 * HOUR + 40 * LINGER, LINGER):
        for _ in range(AGREE):
            play.at(second, CONNECT)
    assert play.forgotten() == {"ended": 30}


def test_a_message_that_names_itself_is_not_held_by_itself() -> None:
    play = Play()
    play.at(0, client() + b", orig_queue_id=" + ID, active(), removed())
    play.at(LINGER, CONNECT)
    assert play.forgotten() == {"ended": 1}


def test_what_servers_reply_does_not_grow_a_message() -> None:
    """A server names one open queue id to each of many mails, and many queue ids to one mail."""
    play = Play()
    play.at(0, client(), active())
    for number in range(3 * MOST_PARENTS):
        name = b"%05X321A868" % number
        play.at(1, client(name), active(queue_id=name))
        play.at(1, to(queue_id=name, said=b"250 2.0.0 Ok: queued as " + ID))
        play.at(1, to(b"user%d" % number, said=b"250 2.0.0 Ok: queued as %05X99999" % number))
    (host,) = play.pipe._correlator.hosts.values()
    message = max(play.pipe._correlator.messages.oldest(1_000), key=lambda one: len(one.facts))
    assert (len(host.messages), message.children) == (1 + 3 * MOST_PARENTS, ())
    assert MOST_PARENTS < len(message.facts) < MOST_PARENTS + 10


# -- how much is kept


def queue(number: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Play, list[bytes]]:
    """So many messages that wait, of which about ten are not sealed; their queue ids."""
    monkeypatch.setattr(openmessages, "MOST_WARM", 10)
    monkeypatch.setattr(openmessages, "AT_ONCE", 10)
    play = Play()
    ids = [b"%05X321A867" % place for place in range(number)]
    for second, queue_id in enumerate(ids):
        play.at(second, client(queue_id), active(queue_id=queue_id))
    return play, ids


def test_a_standing_queue_stays_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at it an hour later does not unseal it; what is tried again is sealed again, though no mail comes."""
    play, ids = queue(100, monkeypatch)
    held = play.pipe._correlator.messages._all

    def unsealed() -> int:
        return sum(not isinstance(found, bytes) for found in held.values())

    assert (len(held), unsealed() < 30) == (100, True)
    for second in range(600, UNQUEUED + 600, 300):
        play.at(second, CONNECT)
    assert (len(held), unsealed() < 30) == (100, True)
    for second, queue_id in enumerate(ids, 2 * UNQUEUED):
        play.at(second, active(queue_id=queue_id))
        assert unsealed() < 30
    last = 2 * UNQUEUED + len(ids) - 1
    for second in range(last, last + RULES.patience + 1, 500):
        play.at(second, CONNECT)
    play.at(last + RULES.patience - 1, CONNECT)
    assert play.forgotten() == {"out_of_patience": 99}, "each when its own time is over"
    play.at(last + RULES.patience, CONNECT)
    assert (play.forgotten(), len(held)) == ({"out_of_patience": 100}, 0)


def test_what_is_tried_again_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that it is sealed its time is over later; not each of these times is noted."""
    play, ids = queue(50, monkeypatch)
    for hour in range(1, 24):
        for second, queue_id in enumerate(ids, hour * HOUR):
            play.at(second, active(queue_id=queue_id))
    (host,) = play.pipe._correlator.hosts.values()
    noted = sum(1 if isinstance(tokens, bytes) else len(tokens) for tokens in host.dues.values())
    assert noted <= 3 * len(ids)


def test_there_is_a_cap_and_the_oldest_goes_first() -> None:
    play = Play(most_messages=3)
    ids = [b"ABCDE%d" % number for number in range(5)]
    play.at(0, client(ids[0]), to(queue_id=ids[0]))
    for second, queue_id in enumerate(ids[1:4], 1):
        play.at(second, client(queue_id), active(queue_id=queue_id))
    assert play.pipe.standing().open_messages == 3
    assert play.forgotten() == {"too_many": 1}
    assert len(play.rows) == 1  # it left before its time, but it left
    play.at(4, to(queue_id=ids[1]), to(b"carol", ids[0]))
    rows = ended_by(play)
    assert len(rows) == 3
    assert [row["message_size"] for row in rows if row["queue_id"] == rows[0]["queue_id"]] == ["", ""]


def test_headers_of_one_message_are_capped() -> None:
    cc = b"Cc: u%d@example.net"
    header = ID + b": info: header " + cc + b" from local; from=<a@example.com>: #TOKEN " + cc + b" #TOKEN"
    header = header.replace(b"TOKEN", TOKEN)
    play = Play()
    play.at(0, ID + b": uid=0 from=<root>")
    play.at(1, *(header % (number, number) for number in range(100)))
    play.at(1, to())
    (row,) = play.end()
    assert (row["cc"].count(" "), row["headers_cut"]) == (99, 0)
    play = Play()
    play.at(0, ID + b": uid=0 from=<root>")
    play.at(1, *(header % (number, number) for number in range(2 * MOST_HEADERS)))
    play.at(1, to())
    (row,) = play.end()
    assert row["cc"].count(" ") <= MOST_HEADERS
    assert row["headers_cut"] == 1


def test_retries_of_months_take_little() -> None:
    play = Play(patience=366 * 86_400)
    play.at(0, client(), message_id(), active())
    for number in range(1, 2_000):
        play.at(number * 500, active(), to(said=b"450 later"))
    assert len(b"".join(play.pipe.state().values())) < 10_000
    rows = play.end()
    assert len(rows) == 1_999
    assert {(row["first_seen"], row["origin"], row["message_size"]) for row in rows} == {
        (START * 1_000_000, "smtpd", 1000)
    }


def test_messages_that_name_each_other_are_forgotten_all_the_same() -> None:
    """A server that knows two of our queue ids from Received can answer each with the other."""
    pipe = pipeline()
    for one, other in ((ID, OTHER), (OTHER, ID)):
        pipe.feed([
            line(0, client(one)), line(0, active(queue_id=one)),
            line(1, to(queue_id=one, said=b"250 2.0.0 Ok: queued as " + other)), line(1, one + b": removed"),
        ])  # fmt: skip
    assert pipe.standing().open_messages == 2
    # A clock goes on ten minutes at a time, unless three lines agree.
    for at in range(0, RULES.patience + 10 * LINGER, AHEAD // 2):
        pipe.feed([line(at, b"statistics: x")])
    assert pipe.standing().open_messages == 0
