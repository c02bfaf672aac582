"""What the daemon tells of itself, and what is judged by it: with times of the test's own."""

from __future__ import annotations

from typing import Any

import pytest

from sink.core.batch import Batch
from sink.core.hosts import Standing
from sink.core.state import in_order, is_message
from sink.service.figures import FORGOTTEN, MOST_HOSTS, MOST_SAMPLED, Figures, class_of
from sink.service.status import spell
from sink.service.verdict import CRITICAL, WARNING, WELL, Limits, findings, worst
from tests.unit.test_correlate import TOKEN, client, line, pipeline, to

START = 1_800_000_000.0
Counts = dict[str, int]


def standing(**clocks: int) -> Standing:
    return Standing(0, None, clocks)


def told(figures: Figures, now: float, counts: Counts | None = None) -> dict[str, Any]:
    return figures.told(now, standing(), counts or {})


def test_silence_is_counted_from_the_last_line_that_moved_a_clock() -> None:
    figures = Figures(START, standing(mx1=int(START) - 100, mx2=int(START) + 50))
    assert told(figures, START)["hosts"] == {
        "mx1": {"last_line": int(START) - 100, "silent": 100}, "mx2": {"last_line": int(START), "silent": 0}
    }
    figures.look(START + 30, standing(mx1=7, mx2=int(START) + 50, mx3=5), {})
    hosts = told(figures, START + 40)["hosts"]
    assert {name: host["silent"] for name, host in hosts.items()} == {"mx1": 10, "mx2": 40, "mx3": 10}


def test_a_host_that_is_silent_for_a_week_is_one_no_more() -> None:
    figures = Figures(START, standing(gone=int(START) - FORGOTTEN - 1, here=int(START)))
    figures.look(START + 1, standing(), {})
    assert list(told(figures, START + 1)["hosts"]) == ["here"]
    figures.look(START + FORGOTTEN + 100, standing(gone=int(START) - FORGOTTEN - 1, here=int(START)), {})
    assert told(figures, START + FORGOTTEN + 100)["hosts"] == {}


def test_names_of_hosts_are_bounded() -> None:
    clocks = {f"mx{number}": number for number in range(MOST_HOSTS + 30)}
    figures = Figures(START, standing())
    figures.look(START, standing(**clocks), {})
    found = told(figures, START)
    assert (len(found["hosts"]), found["hosts_not_named"]) == (MOST_HOSTS, 30)
    figures.look(START + 1, standing(**{name: 9_999 for name in clocks}), {})
    assert len(told(figures, START + 1)["hosts"]) == MOST_HOSTS


def test_rates_are_of_a_minute_and_recent_is_ten() -> None:
    figures = Figures(START, standing())
    for second in range(1_201):
        figures.look(START + second, standing(), {"lines": 3 * second, "not_understood": second, "deliveries": 7})
    found = told(figures, START + 1_200, {"lines": 3_600, "not_understood": 1_200, "deliveries": 7})
    assert found["by_second"] == {"lines": 3.0, "deliveries": 0.0, "rejects": 0.0}
    recent = found["recent"]
    assert 590 <= recent["seconds"] <= 600
    assert (recent["lines"], recent["not_understood"]) == (3 * recent["seconds"], recent["seconds"])


def test_a_clock_that_is_set_back_harms_nothing() -> None:
    figures = Figures(START, standing())
    figures.look(START, standing(), {"lines": 5})
    figures.look(START - 3_600, standing(), {"lines": 9})
    found = told(figures, START - 3_600, {"lines": 9})
    assert found["recent"]["seconds"] == 0
    assert found["by_second"]["lines"] >= 0


def rows_of(number: int, *headers: bytes) -> Batch:
    """Rows of messages that logged some headers."""
    pipe = pipeline()
    for at in range(number):
        queue_id = b"ABCDE%d" % at
        logged = [
            queue_id + b": info: header %b from local; from=<a@example.com>: #%b %b #%b" % (text, TOKEN, text, TOKEN)
            for text in headers
        ]
        pipe.take([line(at, text) for text in (client(queue_id), *logged, to(queue_id=queue_id))])
    return pipe.flush()


def test_each_header_column_is_counted() -> None:
    figures = Figures(START, standing())
    batch = rows_of(3, b"Subject: x", b"To: bob@example.net")
    figures.note(batch, START)
    found = told(figures, START)
    with_headers = {name for name, number in found["headers"]["with"].items() if number}
    assert found["headers"]["rows"] == len(batch.rows) == 3
    assert with_headers == {"to", "subject_size", "any_header"}
    assert found["statuses"] == {"sent": 3}


def test_only_some_rows_a_second_are_looked_at() -> None:
    figures, batch = Figures(START, standing()), rows_of(40)
    figures.note(batch, START)
    figures.note(batch, START)
    assert told(figures, START)["headers"]["rows"] == MOST_SAMPLED
    assert told(figures, START)["statuses"] == {"sent": 80}
    figures.look(START + 1, standing(), {})
    figures.note(batch, START)
    assert told(figures, START)["headers"]["rows"] == MOST_SAMPLED + 40


def test_open_messages_are_taken_up_as_they_were_opened() -> None:
    """A store gives them by their tokens; at the cap the oldest is to be forgotten."""
    pipe = pipeline()
    for at in range(20):
        pipe.take([line(at, client(b"ABCDE%d" % at))])
    state = pipe.state()
    other = dict(sorted(state.items()))
    assert list(other) != list(state)
    assert [token for token in in_order(other) if is_message(token)] == [one for one in state if is_message(one)]
    again = pipeline()
    again.resume(in_order(other))
    assert again.standing() == pipe.standing()
    assert pipe.standing().oldest == min(pipe.standing().clocks.values()) - 19


STATUS: dict[str, Any] = {
    "now": int(START), "started": int(START) - 5_000, "stuck": False, "hosts": {"mx1": {"last_line": 1, "silent": 70}},
    "recent": {"seconds": 600, "dropped": 0, "evicted": 0, "not_understood": 0, "postfix_lines": 1_000},
}  # fmt: skip


def changed(**given: Any) -> dict[str, Any]:
    return {**STATUS, **given}


def recent(**given: int) -> dict[str, Any]:
    return {"recent": {**STATUS["recent"], **given}}


AWAY = {"database": "connection", "outbox_since": int(START) - 200}
BACK = {"database": "well", "outbox_since": int(START) - 200}


@pytest.mark.parametrize(
    ("given", "limits", "level", "words"),
    [
        ({}, Limits(), WELL, ""),
        ({}, Limits(silence=70), WELL, ""),
        ({}, Limits(silence=69), CRITICAL, "mx1 has logged nothing for 70 s"),
        ({"hosts": {}}, Limits(), WELL, ""),
        ({"hosts": {}}, Limits(silence=6_000), WELL, ""),
        ({"hosts": {}}, Limits(silence=60), CRITICAL, "no host has logged"),
        ({"stuck": True}, Limits(), CRITICAL, "the store can't take more"),
        (recent(dropped=3), Limits(), WARNING, "3 datagrams were dropped in the last 600 s"),
        (recent(evicted=2), Limits(), WARNING, "2 open messages"),
        (recent(not_understood=50), Limits(), WELL, ""),
        (recent(not_understood=51), Limits(), WARNING, "51 of the last 1000 lines"),
        (recent(not_understood=51, postfix_lines=99), Limits(), WELL, ""),
        (AWAY, Limits(wait=200), WARNING, "the database: connection"),
        (AWAY, Limits(wait=199), CRITICAL, "rows of 200 s ago wait for the database"),
        ({**AWAY, "outbox_since": None}, Limits(wait=1), WARNING, "the database: connection"),
        (BACK, Limits(wait=200), WELL, ""),
        (BACK, Limits(wait=199), WARNING, "rows of 200 s ago wait for the database"),
        ({"stuck": True, **recent(dropped=1)}, Limits(), CRITICAL, "the store"),
    ],
)  # fmt: skip
def test_what_is_wrong(given: dict[str, Any], limits: Limits, level: int, words: str) -> None:
    """The worst comes first."""
    found = findings(changed(**given), limits)
    assert worst(found) == level
    assert found[0].words.startswith(words) if words else found == []


@pytest.mark.parametrize(
    ("said", "word"),
    [("connection", "connection"), ("08006", "connection"), ("refused", "refused"), ("53100", "resources"),
     ("57P01", "interrupted"), ("40P01", "conflict"), ("55P03", "locked"), ("25006", "read-only"),
     ("alice@example.com", "other"), ("", "other")],
)  # fmt: skip
def test_troubles_are_of_a_closed_list(said: str, word: str) -> None:
    assert class_of(said) == word


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59, "59s"), (60, "1m 0s"), (3_599, "59m 59s"), (7_530, "2h 5m"), (200_000, "2d 7h")],
)
def test_times_are_spelt(seconds: int, words: str) -> None:
    assert spell(seconds) == words
