"""A hostile field of any length costs time in proportion: nobody stops the program with one mail.

CPU time of this process alone is measured, and the least of several tries: another program beside it may
slow a try down, but nothing makes one faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sink.core import mailboxes, senders, values
from sink.core.addresses import NormalForm, normal
from sink.core.headers import split_trailer
from sink.core.reasons import Classifier
from sink.core.syslog import MOST_LINE, Reader
from sink.sources.framer import Framer
from tests.golden_runner import RULES
from tests.property import hostile
from tests.property.hostile import TOKEN, pipeline

SIZES = (5_000, 20_000, 60_000)  # bytes; a line of the last is still read
NOTHING = 0.006  # seconds for the longest: 60,000 steps of anything quadratic take more, also in C
GENEROUS = 2.5  # times what is linear

FILLINGS = [
    b"a", b"A", b"1", b" ", b"  x", b"\t", b"?", b"? ", b"??", b".", b"a.", b"-", b"+", b"=", b"==", b"=a",
    b"a=b ", b"!", b"%", b'"', b"'", b"<", b">", b"<>", b"<a>", b"<a", b"\\", b'\\"', b'"\\', b'<"', b'"<',
    b'" "', b"(", b")", b"()", b"((a)", b"[", b"]", b"[]", b"[a", b",", b", ", b";", b"; ", b":", b": ",
    b"@", b"a@", b"a@b", b"a@b,", b"a@b ", b'"a"@', b"<a@b>", b"x <a@b>,", b"=?", b"=?utf-8?Q?",
    b"=?utf-8?B?w6Q=?=", b"=?utf-8?Q?=C3?= ", b"\xff", b"\xc3\xa4", b"\xe2\x84\xab", b"\xe3\x80\x82",
    b"\xcc\x81", b" from ", b" from x[1]; ", b" from x[1];", b"; from=<", b"; from=<a> ",
    b"; from=<a> to=<b> proto=ESMTP ", b"from=<", b"to=<a>, ", b"relay=none, ", b" status=sent (",
    b", status=", b"queued as ", b"queued as ABCDE", b": #" + TOKEN + b" ", b" #" + TOKEN, b" #",
    b"message repeated 2 times: [ ", b"[ID 1 mail.info] ", b"host ", b"250 ", b"5.1.1 ", b"bounce-",
    b"-return-", b"-owner-", b"+caf_=", b"srs0=", b"srs1=a=b==", b"prvs=", b"==a==", b"mailbox ",
    b"proxy-accept: ", b"user ", b"rate ", b"1 Jan ", b"0/", b"ipv6:", b"::", b"xn--",
]  # fmt: skip


def took(work: Callable[[], object], tries: int) -> float:
    times = []
    for _ in range(tries):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def excess(work: Callable[[int], Callable[[], object]], tries: int = 3) -> str:
    """Say how a work's time grows, where it grows too fast; work(size) prepares one."""
    short, middle, long = SIZES
    last = took(work(long), tries)
    if last < NOTHING:
        return ""
    times = [took(work(short), tries), took(work(middle), tries), last]
    linear = times[1] <= times[0] * middle / short * GENEROUS and last <= times[1] * long / middle * GENEROUS
    return "" if linear else " ".join(f"{seconds * 1000:.1f} ms" for seconds in times)


def repeated(unit: bytes, size: int) -> bytes:
    return (unit * (size // len(unit) + 1))[:size]


def growing(works: dict[str, Callable[[int], Callable[[], object]]]) -> dict[str, str]:
    """The works that take too long; each is tried again, since a machine has hiccups."""
    suspects = [name for name, work in works.items() if excess(work, 1)]
    found = {name: excess(works[name]) for name in suspects}
    return {name: said for name, said in found.items() if said}


@pytest.mark.parametrize(("daemon", "template"), hostile.TEMPLATES, ids=lambda part: part.decode()[:60])
def test_a_field_of_a_line(daemon: bytes, template: bytes) -> None:
    """Each field in turn is long; the others are honest."""
    works = {}
    for place in range(template.count(b"{")):
        for unit in FILLINGS:
            works[f"field {place} {unit!r}"] = line_work(daemon, template, place, unit)
    assert growing(works) == {}


def line_work(
    daemon: bytes, template: bytes, place: int, unit: bytes
) -> Callable[[int], Callable[[], object]]:
    def prepared(size: int) -> Callable[[], object]:
        places = iter(range(99))

        def value(name: str) -> bytes:
            return repeated(unit, size) if next(places) == place else hostile.HONEST[name][0]

        line = b"%b mx1 postfix/%b[1]: %b" % (
            hostile.stamp_iso(hostile.START, 0),
            daemon,
            hostile.filled(template, value),
        )
        assert len(line) <= MOST_LINE
        pipe = pipeline()
        return lambda: pipe.feed([line])

    return prepared


FORM = NormalForm()
FUNCTIONS: dict[str, Callable[[bytes], object]] = {
    "mailboxes": lambda text: mailboxes.mailboxes(text, False),
    "mailboxes, cut": lambda text: mailboxes.mailboxes(text, True),
    "envelope sender": lambda text: senders.decode(text, FORM),
    "address": lambda text: normal(text, FORM),
    "message-id": values.message_id,
    "in-reply-to": values.reply_id,
    "references": lambda text: values.last_reference(text, False),
    "references, cut": lambda text: values.last_reference(text, True),
    "subject": values.subject_size,
    "date": values.header_date,
    "list": lambda text: values.is_list_header(b"Precedence", text),
    "spam score": lambda text: values.spam_score(b"X-Spam-Score", text),
    "spam status": lambda text: values.spam_score(b"X-Spam-Status", text),
    "spamd result": lambda text: values.spam_score(b"X-Spamd-Result", text),
    "trailer": split_trailer,
    "wording": lambda text: Classifier(RULES).classify(text, b"5.0.0", ""),
    "syslog header": lambda text: Reader(RULES.timezone, 2026).read(text),
}
AROUND = ((b"", b""), (b"<", b">"), (b'"', b'"@example.com'), (b"a@b, <", b""), (b"(", b""), (b"x@", b""))
HEADERS = (
    (b"", b" mx1 postfix/smtp[1]: x"),
    (b"Nov  2 10:00:00 mx1 ", b": x"),
    (b"Nov  2 10:00:00 mx1 postfix/smtp[", b"]: x"),
    (b"<22>1 2026-11-02T10:00:00Z mx1 postfix/smtp 1 - ", b" x"),
    (b"<22>1 2026-11-02T10:00:00Z mx1 postfix/smtp 1 - [", b"] x"),
    (b"Nov  2 10:00:00 mx1 postfix/smtp[1]: message repeated 2 times: [ ", b""),
    (b"2026-11-02T10:00:00.", b" mx1 postfix/smtp[1]: x"),
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_value_alone(name: str) -> None:
    works = {}
    for before, after in HEADERS if name == "syslog header" else AROUND:
        for unit in FILLINGS:
            works[f"{before!r} {unit!r}"] = value_work(FUNCTIONS[name], before, unit, after)
    assert growing(works) == {}


def value_work(
    function: Callable[[bytes], object], before: bytes, unit: bytes, after: bytes
) -> Callable[[int], Callable[[], object]]:
    def prepared(size: int) -> Callable[[], object]:
        text = before + repeated(unit, size) + after
        return lambda: function(text)

    return prepared


def test_a_line_without_an_end_costs_little() -> None:
    """Ten megabytes without a newline, in the chunks of an archive."""

    def prepared(size: int) -> Callable[[], object]:
        chunk = b"x" * (size * 10)

        def work() -> None:
            framer = Framer()
            for _ in range(16):
                framer.lines(chunk)
            framer.last()

        return work

    assert excess(prepared) == ""


def test_facts_of_one_message_are_folded_in_time() -> None:
    """A message of many headers and many retries; its rows are settled again and again."""

    def prepared(size: int) -> Callable[[], object]:
        stamp = hostile.stamp_iso
        lines = [
            b"%b mx1 postfix/smtp[1]: 4A5A321A867: to=<a%d@example.com>, relay=none, delay=1, status=deferred (x)"
            % (stamp(hostile.START + number * 20, 0), number)
            for number in range(size // 100)
        ]
        pipe = pipeline()
        return lambda: pipe.feed(lines)

    assert excess(prepared) == ""


def test_recipients_of_one_message_cost_the_same_each() -> None:
    """A mail to thousands, delivered within the seconds that a row waits."""

    def prepared(size: int) -> Callable[[], object]:
        lines = [
            b"%b mx1 postfix/smtp[1]: 4A5A321A867: to=<a%d@example.com>, relay=none, delay=1, status=deferred (x)"
            % (hostile.stamp_iso(hostile.START + number * 6 * 4 // size, 0), number)
            for number in range(size // 4)
        ]
        pipe = pipeline()
        return lambda: pipe.feed(lines)

    assert excess(prepared) == ""


@pytest.mark.parametrize("apart", [365 * 86_400, -365 * 86_400, 300])
def test_two_clocks_of_one_host(apart: int) -> None:
    """Two machines of one name whose clocks are apart, their lines in turns."""

    def prepared(size: int) -> Callable[[], object]:
        lines = [
            b"%b mx1 postfix/smtp[1]: %05X: to=<a@example.com>, relay=none, delay=1, status=deferred (x)"
            % (hostile.stamp_iso(hostile.START + number + apart * (number % 2), 0), 0x10000 + number)
            for number in range(size // 2)
        ]
        pipe = pipeline()
        return lambda: pipe.feed(lines)

    assert excess(prepared, 1) == ""
