"""Header values: ids, Subject, Date, spam scores, list marks, as Postfix prints them."""

import codecs
import email.header
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink.core import values
from sink.core.values import (
    header_date,
    is_list_header,
    last_reference,
    message_id,
    reply_id,
    spam_score,
    subject_size,
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"<1.x@example.com>", b"1.x@example.com"),
        (b"<A.B@Example.COM>", b"A.B@Example.COM"),  # case kept: programs copy ids byte for byte
        (b"", None),
        (b" ", None),
        (b"<>", None),
        (b"< >", None),
        (b"<> <2@example.com>", None),  # the first one counts, also when it is empty
        (b"1@example.com", b"1@example.com"),  # without brackets
        (b"1@example.com??", b"1@example.com"),
        (b"<1@example.com", b"1@example.com"),  # unclosed
        (b"<1@example.com> <2@example.com>", b"1@example.com"),
        (b"<1@example.com <2@example.com>", b"1@example.com"),
        (b"<<1@example.com>>", b"1@example.com"),
        (b"< 1@example.com >", b"1@example.com"),
        (b"<1 2@example.com>", b"12@example.com"),  # References would break it there, too
        (b"<1? 2@example.com>", b"12@example.com"),
        (b"<1? ? ??2@example.com>", b"1??2@example.com"),
        (b"??<1@example.com>", b"1@example.com"),  # a long id stands on a line of its own
        (b"?? <1@example.com>?", b"1@example.com"),
        (b"<1@example.com> 4FFFFFFFFF: from=<canary@example.org>", b"1@example.com"),
        (b"x <1@example.com>", b"1@example.com"),
        (b"<ab?cd@example.com>", b"ab?cd@example.com"),  # a "?" within is the id's own
        (b"<\xff@example.com>", b"\xff@example.com"),
    ],
)
def test_message_id(value: bytes, found: bytes | None) -> None:
    """An id is what stands between the first < and its >."""
    assert message_id(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        (b"", None),
        (b"<1@example.com>", b"1@example.com"),
        (b"1@example.com", b"1@example.com"),
        (b'Your message of "Mon, 2 Nov 2026" <1@example.com>', b"1@example.com"),
        (b"<1@example.com>? (John's message of Monday)", b"1@example.com"),
        (b"Your message of Monday", None),
        (b"<>", None),
    ],
)
def test_reply_id(value: bytes | None, found: bytes | None) -> None:
    """The first id of In-Reply-To, whatever text stands around it."""
    assert reply_id(value) == found


@pytest.mark.parametrize(
    ("value", "whole", "cut"),
    [
        (b"", None, None),
        (b"<1@example.com>", b"1@example.com", b"1@example.com"),
        (b"<1@example.com>? <2@example.com>", b"2@example.com", b"2@example.com"),
        (b"<1@example.com>??<2@exam", b"1@example.com", b"1@example.com"),
        (b"<1@exam", b"1@exam", None),  # whole, it is what its sender wrote
        (b"1@example.com 2@example.com", b"2@example.com", None),
        (b"<1@example.com> <>", b"1@example.com", b"1@example.com"),
        (b"example.com> <2@example.com>", b"2@example.com", b"2@example.com"),  # its beginning is missing
        (b"<1@example.com>,<2@example.com>", b"2@example.com", b"2@example.com"),
    ],
)
def test_last_reference(value: bytes, whole: bytes | None, cut: bytes | None) -> None:
    """The last id that is whole; behind a cut only its > tells."""
    assert last_reference(value, False) == whole
    assert last_reference(value, True) == cut


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (b"", 0),
        (b"hello", 5),
        (b"  hello ", 5),
        ("Grüße 会議".encode(), 8),  # characters, not bytes
        (b"caf\xe9", 4),  # invalid UTF-8 counts one a byte
        (b"\xff\xfe", 2),
        (b"=?utf-8?q?caf=C3=A9?=", 4),
        (b"=?UTF-8?Q?a_b?= c", 5),
        (b"=?utf-8*en?q?caf=C3=A9?=", 4),  # with a language, RFC 2231
        (b"Re: =?iso-8859-1?q?caf=E9?=", 8),
        (b"=?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=", 3),
        (b"=?gb2312?B?xOO6ww==?=", 2),
        (b"=?koi8-r?B?8NLJ18XU?=", 6),
        (b"=?utf-8?B?w6k=?= =?utf-8?B?w6k=?=", 2),  # blanks between encoded-words vanish
        (b"=?utf-8?B?w6k=?=? =?utf-8?B?w6k=?=", 2),  # folded before a blank
        (b"=?utf-8?B?w6k=?=??=?utf-8?B?w6k=?=", 2),  # folded before a tab
        (b"=?utf-8?B?w6k=?=?? ? =?utf-8?B?w6k=?=", 2),
        (b"=?utf-8?B?ww==?= =?utf-8?B?qQ==?=", 1),  # a character cut in two
        (b"=?utf-8?B?w6k=?= and =?utf-8?B?w6k=?=", 7),
        (b"=?utf-8?q?a?= =?iso-8859-1?q?=E9?=", 2),
        (b"=?utf-8?B?w6k?=", 1),  # padding forgotten
        (b"=?utf-8?q??=", 0),
        (b"=?utf-8?q??=??=?utf-8?q?a?=", 1),
        (b"=?x-nobody?q?abc?=", 18),  # unknown charset: as it stands
        (b"=?punycode?q?abc?=", 18),  # a codec of Python that is no charset
        (b"=?utf-8?B?w?=", 13),  # no base64
        (b"=?utf-8?x?abc?=", 15),
        (b"=?utf-8?q?abc", 13),
        (b"Are you there? I am", 19),  # a question, too early for a fold
        (b"what?? no", 9),
        (b"one??two", 8),  # a fold that no program needs is not seen
        (b"w" * 60 + b"? " + b"x" * 20, 81),  # a fold: the next word would pass column 76
        (b"w" * 60 + b"??" + b"x" * 20, 81),  # the tab stays, its "?" counts for it
        (b"w" * 60 + b"? yes", 65),  # no fold: "yes" would have fitted
        (b"w" * 90 + b"? " + b"x" * 20, 112),  # a program that does not fold
        (b"w" * 60 + b"? " + b"x" * 60 + b"? " + b"y" * 30, 152),  # the column starts anew
    ],
)
def test_subject_size(value: bytes, size: int) -> None:
    """Characters of the decoded Subject; see values._unfolded() for question marks."""
    assert subject_size(value) == size


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=150))
def test_subject_survives_encoding(text: str) -> None:
    """What Python's mailer folds and encodes, and Postfix prints, has the size it had."""
    text = " ".join(("\u00fc" + text).replace("=?", "= ?").split())  # forces encoding
    coded = email.header.Header(text, "utf-8", header_name="Subject").encode()
    assert subject_size(coded.replace("\n", "?").encode()) == len(text)


def test_charsets() -> None:
    """Each charset of the list is a text codec that this Python has."""
    for codec in values._CHARSETS.values():
        assert codecs.lookup(codec)._is_text_encoding


def utc(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("value", "second"),
    [
        (b"Sun, 22 Nov 2026 10:11:12 +0100", utc(2026, 11, 22, 9, 11, 12)),
        (b"Sun, 22 Nov 2026 10:11:12 -0330", utc(2026, 11, 22, 13, 41, 12)),
        (b"Sun, 22 Nov 2026 10:11:12 +0100 (CET)", utc(2026, 11, 22, 9, 11, 12)),
        (b"Sun, 22 Nov 2026 10:11:12 +0100 (Central (European) Time)", utc(2026, 11, 22, 9, 11, 12)),
        (b"22 Nov 2026 10:11:12 +0000", utc(2026, 11, 22, 10, 11, 12)),
        (b"Sun,  2 Nov 2026 10:11:12 GMT", utc(2026, 11, 2, 10, 11, 12)),
        (b"Sun,?? 22 Nov 2026 10:11:12 +0100?", utc(2026, 11, 22, 9, 11, 12)),  # folded
        (b"sun, 22 nov 2026 10:11:12 +0100", utc(2026, 11, 22, 9, 11, 12)),
        (b"22 Nov 26 10:11 EST", utc(2026, 11, 22, 15, 11, 0)),  # two digits, no seconds, a zone by name
        (b"Mon, 22 Nov 99 10:11:12 UT", utc(1999, 11, 22, 10, 11, 12)),
        (b"22 Nov 2026 10:11:12", utc(2026, 11, 22, 10, 11, 12)),  # no zone: UTC
        (b"22 Nov 2026 10:11:12 MEZ", utc(2026, 11, 22, 10, 11, 12)),  # no zone that RFC 5322 knows
        (b"22 Nov 2026 10:11:12 -0000", utc(2026, 11, 22, 10, 11, 12)),
        (b"Sun Nov 22 10:11:12 2026", utc(2026, 11, 22, 10, 11, 12)),  # asctime()
        (b"Sat, 31 Dec 2016 23:59:60 +0000", utc(2017, 1, 1)),  # a leap second
        (b"Thu, 1 Jan 1970 00:00:00 +0000", 0),
        (b"Thu, 1 Jan 1970 00:00:00 +0100", None),  # an hour before it
        (b"Fri, 31 Dec 2100 23:59:59 +0000", utc(2100, 12, 31, 23, 59, 59)),
        (b"Sat, 1 Jan 2101 00:00:00 +0000", None),
        (b"Sun, 22 Nov 1901 10:11:12 +0100", None),
        (b"Mon, 30 Feb 2026 10:00:00 +0000", None),
        (b"Mon, 1 Foo 2026 10:00:00 +0000", None),
        (b"Mon, 2 Nov 2026 24:00:00 +0000", None),
        (b"Mon, 2 Nov 2026 10:60:00 +0000", None),
        (b"Mon, 2 Nov 2026 10:00:00 +9900", None),
        (b"Mon, 2 Nov " + b"9" * 150 + b" 10:00:00 +0000", None),
        (b"", None),
        (b"?", None),
        (b"yesterday", None),
        (b"\xff", None),
    ],
)
def test_header_date(value: bytes, second: int | None) -> None:
    """Dates as UTC seconds, obsolete forms too; what is no date is None."""
    assert header_date(value) == second


@given(st.datetimes(datetime(1970, 1, 3), datetime(2100, 12, 29)), st.integers(-14 * 60, 14 * 60))
def test_dates_round_trip(when: datetime, offset: int) -> None:
    """The usual form is read exactly, in the fast way and in the slow."""
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    text = f"{when.day} {when:%b %Y %H:%M:%S} {sign}{minutes // 60:02}{minutes % 60:02}"
    expected = int(when.replace(microsecond=0, tzinfo=UTC).timestamp()) - offset * 60
    assert header_date(text.encode()) == expected
    assert header_date(b"? " + text.encode()) == expected


@pytest.mark.parametrize(
    ("name", "value", "score"),
    [
        (b"X-Spam-Score", b"5.1", 5.1),
        (b"x-spam-score", b"5.1 (+++++)", 5.1),
        (b"x-spam-score", b"-1.9", -1.9),
        (b"x-spam-score", b"+3", 3.0),
        (b"x-spam-score", b"0", 0.0),
        (b"x-spam-score", b"*****", None),
        (b"x-spam-score", b"", None),
        (b"x-spam-score", b"5.1.2", None),
        (b"x-spam-score", b"nan", None),
        (b"x-spam-score", b"123456789", None),  # no filter's score
        (b"X-Spam-Status", b"Yes, score=12.5 tagged_above=-999 required=6.2??tests=[A=0.5]", 12.5),
        (b"x-spam-status", b"No, score=-1.9 required=5.0 tests=[A=1.0,??", -1.9),
        (b"x-spam-status", b"No, hits=2.0 required=5.0", 2.0),
        (b"x-spam-status", b"Yes,? score=7", 7.0),
        (b"x-spam-status", b"No", None),
        (b"x-spam-status", b"tests=score=5", None),
        (b"X-Spamd-Result", b"default: False [3.40 / 15.00]; R_SPF_ALLOW(-0.20)[+ip4]", 3.4),
        (b"x-spamd-result", b"default: True [-0.10 / 15.00];? A(0)[]", -0.1),
        (b"x-spamd-result", b"default: False", None),
        (b"x-spam-level", b"5.1", None),
        (b"subject", b"5.1", None),
    ],
)
def test_spam_score(name: bytes, value: bytes, score: float | None) -> None:
    """The score where each filter writes it, and nowhere else."""
    assert spam_score(name, value) == score


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        (b"List-Id", b"L <l.example.com>", True),
        (b"list-post", b"<mailto:l@example.com>", True),
        (b"list-post", b"NO", True),  # an announcement list, RFC 2369
        (b"list-id", b"", False),
        (b"list-id", b" ? ", False),
        (b"Precedence", b"list", True),
        (b"precedence", b" List ", True),
        (b"precedence", b"bulk", False),
        (b"list-unsubscribe", b"<mailto:x@example.com>", False),  # a newsletter
        (b"subject", b"list", False),
    ],
)
def test_list_headers(name: bytes, value: bytes, found: bool) -> None:
    """What only list software writes."""
    assert is_list_header(name, value) is found


tokens = st.sampled_from(
    [
        b"<",
        b">",
        b"?",
        b"??",
        b" ",
        b"\t",
        b"=?",
        b"?=",
        b"=?utf-8?q?",
        b"=?utf-7?B?",
        b"=?iso-2022-kr?q?",
        b"=?hz?q?",
        b"=?utf-16?B?",
        b"=1B=24",
        b"=",
        b"score=",
        b"Yes, ",
        b"[",
        b"1",
        b"Nov",
        b"Mon, ",
        b":",
        b"+0100",
        b"\xff",
    ]
)
hostile = st.lists(st.one_of(tokens, st.binary(max_size=5)), max_size=14).map(b"".join)


@given(hostile, st.booleans())
def test_never_raises(value: bytes, cut: bool) -> None:
    """Any bytes give a value or None, and an id is its own normal form."""
    for found in (message_id(value), reply_id(value), last_reference(value, cut)):
        assert found is None or (found and message_id(b"<" + found + b">") == found)
    assert 0 <= subject_size(value) <= 2 * len(value)
    second = header_date(value)
    assert second is None or second >= 0
    for name in (b"x-spam-score", b"x-spam-status", b"x-spamd-result"):
        score = spam_score(name, value)
        assert score is None or abs(score) < 100_000
        is_list_header(name, value)


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of a call, the best of three: other processes don't count."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "unit",
    [
        b"<",
        b">",
        b"?",
        b"? ",
        b"??a",
        b" ",
        b"\t",
        b"=?",
        b"=?a?q?",
        b"=?utf-8?q?a?=",
        b"=?utf-8?q?a?= ",
        b"<a",
        b"<a>",
        b"=?utf-7?B?K0FBQQ==?=",
        b"=?utf-8*",
        b"0",
        b"1 ",
        b"Mon, ",
        b"Yes",
        b",",
        b"(",
        b":",
        b"\xff",
        "ü".encode(),
    ],
)
def test_linear(unit: bytes) -> None:
    """Four times the text takes about four times the time, not sixteen."""

    def run(size: int) -> None:
        value = unit * (size // len(unit))
        message_id(value)
        message_id(b"<" + value)
        reply_id(value)
        last_reference(value, False)
        subject_size(value)
        subject_size(b"w" * 60 + value)
        subject_size(b"=?utf-8?q?" + value)
        header_date(value)
        for name in (b"x-spam-score", b"x-spam-status", b"x-spamd-result"):
            spam_score(name, value)

    small, large = cpu(lambda: run(10_000)), cpu(lambda: run(40_000))
    assert large < 10 * small + 0.02
