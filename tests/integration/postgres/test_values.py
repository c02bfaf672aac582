"""Whatever a line says, the row that comes of it is taken by both stores, and shown alike: no row stops the drain."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink.core.batch import Batch
from sink.core.pseudonym import NONE
from sink.core.rows import HALVES, REJECT_HALVES, REJECT_SCALARS, SCALARS
from sink.core.syslog import Reader
from sink.stores.sqlite import SqliteStore
from tests.golden_runner import RULES
from tests.integration.live.test_poison import POISON
from tests.integration.postgres.driving import mail
from tests.integration.postgres.stage import Stage, embedded
from tests.property.hostile import logs, pipeline, wild_lines

YEAR = 2026
FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
HOSTS = (
    b"mx\\1", b"\\N", b"\\.", b"mx\t1", b"mx\\t1", b"mx\r1", b"mx\x001", b"\0", b"\xff\xfe", b"\xc3\x28",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "mäx".encode(), "\u2028".encode(), b"\x7f\x1b[2J", b"''", b'"', b"%s%n",
    b"h" * 60_000, b"\\" * 300,
)  # fmt: skip


def played(lines: list[bytes]) -> SqliteStore:
    store = SqliteStore.memory()
    pipe = pipeline(reader=Reader(RULES.timezone, YEAR))
    for batch in (pipe.feed(lines), pipe.flush()):
        store.commit(batch)
    return store


def alike(stage: Stage, lines: list[bytes]) -> int:
    """Both show the same; return how many deliveries there are."""
    store = played(lines)
    try:
        want = embedded(store)
        assert stage.views(store) == want
        return len(want["delivery_text"])
    finally:
        store.close()


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_hosts(stage: Stage, host: bytes) -> None:
    lines = mail(datetime(2026, 11, 2, tzinfo=UTC), host="HOST")
    assert alike(stage, [line.replace(b"HOST", host) for line in lines]) == 1


@pytest.mark.parametrize("instance", [b"post\\fix", b"postfix\\N", b"post'fix", b"a" * 50, b"post\tfix", b"post\0fix"])
def test_names_of_instances(stage: Stage, instance: bytes) -> None:
    """One with a control character is no Postfix."""
    lines = mail(datetime(2026, 11, 2, tzinfo=UTC))
    lines = [line.replace(b" postfix/", b" " + instance + b"/") for line in lines]
    assert alike(stage, lines) == all(byte >= 32 for byte in instance)


@pytest.mark.parametrize("year", [1970, 2000, 2001, 2038, 2099])
@pytest.mark.parametrize("delay", ["0", "0.000001", "999999999", "999999999.999999", "123456789.123456"])
def test_times(stage: Stage, year: int, delay: str) -> None:
    """What waited for longer than there are log times is first seen when these begin."""
    lines = mail(datetime(year, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC), delay=delay)
    assert alike(stage, lines) == 1
    assert alike(stage, lines[3:4]) == 1


@pytest.mark.parametrize("text", [
    b"size=999999999999999, nrcpt=999999999 (queue active)", b"size=0, nrcpt=0 (queue active)",
    b"size=99999999999999999999, nrcpt=99999999999 (queue active)",
])  # fmt: skip
def test_sizes(stage: Stage, text: bytes) -> None:
    lines = mail(datetime(2026, 11, 2, tzinfo=UTC))
    assert alike(stage, [line.replace(b"size=1200, nrcpt=1 (queue active)", text) for line in lines]) == 1


@pytest.mark.parametrize("said", [
    "deferred (host x said: 999 no)", "deferred (host x said: 599 5.999.999 no)", "bounced (200 \\N \\. \\t)",
    "SENT (x)", "SOFTBOUNCE (x)", "sent (250 queued as " + "A" * 20 + ")", "sent (250 queued as \\N)",
])  # fmt: skip
def test_replies(stage: Stage, said: str) -> None:
    alike(stage, mail(datetime(2026, 11, 2, tzinfo=UTC), status=said))


def test_poison(stage: Stage) -> None:
    assert alike(stage, list(POISON)) > 0


@FEW
@given(log=logs())
def test_any_log(stage: Stage, log: list[bytes]) -> None:
    alike(stage, log)


@FEW
@given(log=wild_lines())
def test_any_bytes(stage: Stage, log: list[bytes]) -> None:
    alike(stage, log)


# -- what no line gives today, but a row could hold

NUMBERS = {
    "logged_micros": (0, 999_999), "epoch": (1, 32_767), "reply_code": (0, 32_767), "is_outgoing": (0, 1),
    "is_internal": (0, 1), "is_list": (0, 1), "headers_cut": (0, 1), "date": (0, 4_133_980_799),
    "first_seen": (0, 4_102_444_799_999_999), "message_size": (0, 10**15), "recipients": (0, 10**9 - 1),
    "subject_size": (0, 1 << 20),
}  # fmt: skip
LISTS = ("from", "to", "cc", "bcc")


def value(name: str, dice: random.Random, text: str, number: float) -> object:
    if name in NUMBERS:
        least, most = NUMBERS[name]
        is_always = name in ("logged_micros", "epoch", "first_seen", "is_internal")
        return dice.choice([least, most, dice.randint(least, most), least if is_always else ""])
    if name in ("delay", "spam_score"):  # as a log has them: at most fifteen digits
        return dice.choice(["", 0.1, 1 / 8, float(f"{number:.15g}"), math.floor(number) + 0.5])
    if name in LISTS:
        return dice.choice(["", " ".join(dice.randbytes(16).hex() for _ in range(dice.choice((1, 3, 200))))])
    words = {"delays": ["", "0/0/0/0", "0.01/12/999999999.999999/1"], "agent": ["", "smtp"]}
    return text if name in ("host", "instance") else dice.choice(words.get(name, ["sent"]))


@st.composite
def rows(draw: st.DrawFn, table: str) -> tuple[object, ...]:
    halves, scalars = (HALVES, SCALARS) if table == "delivery" else (REJECT_HALVES, REJECT_SCALARS)
    dice = random.Random(draw(st.integers(0, 1 << 30)))
    kind = dice.choice(["null", "plain", "bare", "verp", ""])
    nobody = ("sender_user", "sender_domain") if kind in ("null", "") else ()
    packed = b"".join(
        dice.randbytes(16) if name in ("id", "queue_id") or (dice.random() < 0.6 and name not in nobody) else NONE
        for name in halves
    )
    text = draw(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=40))
    number = draw(st.floats(-1e5, 1e9, allow_nan=False))
    values = [kind if name == "sender_kind" else value(name, dice, text, number) for name in scalars]
    return dice.randrange(1, 4_102_444_800), packed, *values


@FEW
@given(deliveries=st.lists(rows("delivery"), max_size=5), rejects=st.lists(rows("reject"), max_size=5))
def test_any_row(stage: Stage, deliveries: list[tuple[object, ...]], rejects: list[tuple[object, ...]]) -> None:
    store = SqliteStore.memory()
    store.commit(Batch(deliveries, rejects, {}, [], []))
    try:
        assert stage.views(store) == embedded(store)
    finally:
        store.close()
