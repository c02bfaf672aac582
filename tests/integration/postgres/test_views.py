"""The views: letter by letter those of the embedded store; and those that this dialect has beyond them, by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sink.fault import OK
from sink.stores import outbox
from sink.tools.story import render
from tests import golden_runner as golden
from tests.golden_runner import Player, Story
from tests.integration.asking import ask
from tests.integration.postgres.driving import mail, written
from tests.integration.postgres.server import Database
from tests.integration.postgres.stage import VIEWS, Stage, embedded
from tests.judges.program import LAB, Program, unpacked

SAMPLES = (
    "postfix-3.7-mixed.iso8601.log.gz", "postfix-3.10-sample.traditional.log.gz", "scenarios/mail-iso8601.log.gz",
)  # fmt: skip


def played(story: Story) -> Player:
    player = Player(story)
    for kind, text in story.steps:
        if kind == golden.PASS:
            player.wait(text)
        else:
            player.feed(text)
    player.take(player.pipe.flush())
    return player


@pytest.mark.parametrize("story", golden.stories(), ids=lambda story: story.name)
def test_golden_stories(story: Story, stage: Stage) -> None:
    """Each story's rows, and with plain queue ids too: all views are equal, column by column, in their order."""
    for plain in (story.rules.plain_queue_id, not story.rules.plain_queue_id):
        player = played(replace(story, rules=replace(story.rules, plain_queue_id=plain)))
        want, have = embedded(player.store), stage.views(player.store)
        assert have == want
        assert [list(map(list, have[view])) for view in VIEWS] == [list(map(list, want[view])) for view in VIEWS]
        player.store.close()
        if plain == story.rules.plain_queue_id:
            shown = [render(table, row, player.names) for table in outbox.TABLES for row in have[table + "_text"]]
            assert golden.difference(story, shown) == []


def test_samples(program: Program, database: Database, tmp_path: Path) -> None:
    """Of real servers, with all that there is of refusals."""
    other = Program(tmp_path / "embedded", **LAB).make_keys()
    served = database.serve(other.sibling(tmp_path / "served"))
    database.run("DELETE FROM epoch")
    logs = [unpacked(name, tmp_path) for name in SAMPLES]
    for one in (other, served):
        assert ask(one, "import", *logs).status == OK
    for view in VIEWS:
        want = sorted(other.rows(view), key=lambda row: str(row["id"]))
        assert database.rows(view) == want
        assert len(want) > 50


def test_columns_are_the_same(database: Database) -> None:
    """Names, and the types that whoever reads them sees."""
    kinds = dict(database.ask(
        "SELECT attname, atttypid::regtype::text FROM pg_attribute"
        " WHERE attrelid = 'delivery_text'::regclass AND attnum > 0"
    ))  # fmt: skip
    numbers = {name for name, kind in kinds.items() if kind != "text"}
    assert numbers == {
        "message_size", "spam_score", "subject_size", "is_list", "is_outgoing", "delay", "epoch", "reply_code",
        "recipients", "delay_before_queue", "delay_in_queue", "delay_connect", "delay_transmit", "is_internal",
        "headers_cut",
    }  # fmt: skip


# -- by hand

DAY = datetime(2026, 11, 2, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return DAY + timedelta(seconds=seconds)


@pytest.fixture
def told(served: Program, database: Database, tmp_path: Path) -> Any:
    """Give a function that imports lines, and asks the database as a reader."""

    def tell(question: str, *parts: list[bytes]) -> list[tuple[Any, ...]]:
        assert ask(served, "import", written(tmp_path / "mail.log", *parts)).status == OK
        return database.ask(question, "analyst")

    return tell


def attempt(when: datetime, status: str, recipient: str = "bob@example.com", delay: str = "1") -> bytes:
    stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    return (
        f"{stamp} mx1 postfix/smtp[9]: ABC000001: to=<{recipient}>, relay=none, delay={delay}, delays=0/0/0/0,"
        f" dsn=2.0.0, status={status} (x)"
    ).encode()  # fmt: skip


def test_attempts_are_numbered(told: Any) -> None:
    """By recipient of a message; a probe is none."""
    birth = mail(DAY, sender="ann@example.net")[:3]
    found = told(
        "SELECT attempt, status, substr(logged_at, 12, 8) FROM delivery_attempt ORDER BY recipient, logged_at",
        birth, [attempt(at(1), "deferred"), attempt(at(2), "deferred", "eve@example.com")],
        [attempt(at(300), "deferred", delay="300"), attempt(at(302), "sent", "eve@example.com", "302")],
        [attempt(at(900), "sent", delay="900")], mail(at(950), 2, status="deliverable (x)"),
    )  # fmt: skip
    rows = sorted(found, key=lambda row: row[2])
    assert rows == [(1, "deferred", "10:00:01"), (1, "deferred", "10:00:02"), (2, "deferred", "10:05:00"),
                    (2, "sent", "10:05:02"), (3, "sent", "10:15:00")]  # fmt: skip


def test_days_are_counted(told: Any, served: Program) -> None:
    """By UTC day, direction, domains and status; sizes and mean delay; no probe, and no hand-over."""
    address = served.addresses(["a@example.net", "b@example.com"])
    sender, recipient = (one.partition("@")[2] for one in (address["a@example.net"], address["b@example.com"]))
    night = datetime(2026, 11, 2, 23, 59, 59, tzinfo=UTC)
    found = told(
        "SELECT day, is_outgoing, sender_domain, recipient_domain, status, deliveries, bytes, mean_delay"
        " FROM delivery_daily ORDER BY day, status",
        mail(DAY, 1, delay="1"), mail(at(60), 2, delay="2"), mail(at(120), 3, status="bounced (x)"), mail(night, 4),
        mail(night + timedelta(seconds=1), 5), mail(at(180), 6, status="deliverable (x)"),
        mail(at(200), 7, status="sent (250 ok: queued as ABC000063)"),
        mail(at(200), 0x63, client="client=localhost[127.0.0.1]", delay="9"),
    )  # fmt: skip
    today, tomorrow = date(2026, 11, 2), date(2026, 11, 3)
    assert found == [
        (today, 0, sender, recipient, "bounced", 1, 1200, 0.5), (today, 0, sender, recipient, "sent", 4, 4800, 3.125),
        (tomorrow, 0, sender, recipient, "sent", 1, 1200, 0.5),
    ]  # fmt: skip


def header(when: datetime, number: int, name: str, value: str) -> bytes:
    return (
        f"{when:%Y-%m-%dT%H:%M:%S}.000000+00:00 mx1 postfix/cleanup[2]: {0xABC000000 + number:X}: info: header"
        f" {name}: {value} from mx.example.net[203.0.113.7]; from=<x@example.net> to=<y@example.com>"
        " proto=SMTP helo=<h>"
    ).encode()


def test_answers_are_joined_once(told: Any, served: Program) -> None:
    """One edge for an answer and its author, however many recipients, retries and passes both had."""

    def said(when: datetime, number: int, sender: str, date: str = "", answers: str = "") -> list[bytes]:
        client, *rest = mail(when, number, sender=sender)
        heads = [header(when, number, "Date", date)] if date else []
        heads += [header(when, number, "In-Reply-To", answers)] if answers else []
        return [client, *heads, *rest[:-1], *(line.replace(b"to=<bob", b"to=<second-bob") for line in rest[2:])]

    address = served.addresses(["ann@example.net", "bob@example.com", "carl@example.org"])
    ann, bob, carl = (address[name] for name in ("ann@example.net", "bob@example.com", "carl@example.org"))
    found = told(
        "SELECT sender, re_sender, latency, count(*) FROM reply_edge GROUP BY 1, 2, 3 ORDER BY 3",
        said(DAY, 1, "ann@example.net", "Mon, 2 Nov 2026 10:00:00 +0000"),
        said(at(30), 2, "bob@example.com", "Mon, 2 Nov 2026 10:00:25 +0000", "<1@example.net>"),
        said(at(60), 3, "carl@example.org", "Mon, 2 Nov 2026 12:01:00 +0200", "<1@example.net>"),
        said(at(90), 4, "ann@example.net", "", "<2@example.net>"), said(at(95), 5, "bob@example.com", "", "<no@where>"),
    )  # fmt: skip
    assert found == [
        (bob, ann, timedelta(seconds=25), 1), (carl, ann, timedelta(seconds=60), 1), (ann, bob, None, 1),
    ]  # fmt: skip


def test_a_message_is_followed_over_hosts(with_keys: Program, database: Database, tmp_path: Path) -> None:
    """Two hosts with a store each, one keyring and one database: by message-id, and by queue ids hand to hand."""
    passed = "sent (250 2.0.0 Ok: queued as 3EEE000002)"
    edge = mail(DAY, 1, "edge", "4FFF000001", id="<one@example.net>", status=passed)
    inner = mail(at(1), 2, "inner", "3EEE000002", id="<one@example.net>", client="client=edge.example.com[192.0.2.7]")
    for host, lines in (("edge", edge), ("inner", inner)):
        served = database.serve(with_keys.sibling(tmp_path / host))
        assert ask(served, "import", written(tmp_path / f"{host}.log", lines)).status == OK
    chain = database.ask(
        "SELECT one.host, two.host, one.status, two.status FROM delivery_text one JOIN delivery_text two"
        " ON one.next_queue_id = two.queue_id AND one.message_id = two.message_id", "analyst",
    )  # fmt: skip
    assert chain == [("edge", "inner", "sent", "sent")]
    hosts = "SELECT host, count(DISTINCT message_id) FROM delivery_text GROUP BY host ORDER BY 1"
    assert database.ask(hosts, "analyst") == [("edge", 1), ("inner", 1)]
