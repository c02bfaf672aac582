"""Postfix's own troubles reach the admin in our words, and nothing of the line goes with them."""

from __future__ import annotations

import pytest

from sink.core import notices
from sink.core.grammar import ANYWHERE
from sink.core.notices import CONNECTIONS, LEVELS, notice
from sink.service.words import MINUTE, MOST_A_MINUTE, Seldom
from tests.property.hostile import pipeline

STAMP = b"2026-11-02T10:00:00.000000+00:00 mx1 postfix/"
CASES = {  # as Postfix 3.7 and 3.10 log them
    b"smtpd[1]: fatal: bind 0.0.0.0 port 25: Address already in use": "smtpd: fatal: a port can't be bound",
    b"cleanup[1]: warning: 4A5A321A867: queue file write error": "cleanup: warning: queue file write error",
    b"smtpd[1]: NOQUEUE: warning: x": None,
    b"cleanup[1]: fatal: mail_queue_enter: create file incoming/1.2: No space left on device":
        "cleanup: fatal: no space left on a disk",
    b"master[1]: warning: process /usr/lib/postfix/sbin/smtpd pid 12 exit status 1":
        "master: warning: a program ended with an error",
    b"master[1]: warning: /usr/lib/postfix/sbin/smtpd: bad command startup -- throttling":
        "master: warning: a program can't start and is throttled",
    b"smtpd[1]: warning: hash:/etc/postfix/virtual lookup error for \"canary@canary.example\"":
        "smtpd: warning: a table look-up failed",
    b"smtpd[1]: error: open database /etc/postfix/virtual.db: No such file or directory":
        "smtpd: error: a table can't be opened",
    b"smtp[1]: warning: TLS library problem: error:0A000126:SSL routines::unexpected eof:canary":
        "smtp: warning: TLS library problem",
    b"smtpd[1]: warning: canary.example[192.0.2.1]: SASL PLAIN authentication failed: canary": None,
    b"smtpd[1]: warning: hostname canary.example does not resolve to address 192.0.2.1": None,
    b"smtpd[1]: warning: connect to Milter service inet:127.0.0.1:8891: Connection refused":
        "smtpd: warning: a milter doesn't answer",
    b"qmgr[1]: warning: connect to transport private/canary: Connection refused":
        "qmgr: warning: a transport doesn't answer",
    b"smtpd[1]: panic: canary": None,
}  # fmt: skip


@pytest.mark.parametrize("line", CASES)
def test_a_line(line: bytes) -> None:
    pipe = pipeline()
    pipe.feed([STAMP + line])
    assert dict(pipe.notices) == ({CASES[line]: 1} if CASES[line] else {})
    assert "canary" not in repr((pipe.notices, pipe.counts)).lower()


def test_what_is_not_shown_is_counted() -> None:
    pipe = pipeline()
    pipe.feed([STAMP + line for line in CASES])
    assert pipe.counts["sasl_failures"] == pipe.counts["warnings_not_shown"] == pipe.counts["panics_not_shown"] == 1


def test_connections_are_counted_by_kind() -> None:
    pipe = pipeline()
    pipe.feed([STAMP + b"smtpd[1]: %b connection after AUTH from x[192.0.2.1]" % word for word in CONNECTIONS])
    assert [pipe.counts[name] for name in CONNECTIONS.values()] == [1] * len(CONNECTIONS)
    assert pipe.counts["ignored"] == len(CONNECTIONS)


def test_each_level_and_connection_word_is_ignored_knowingly() -> None:
    assert {level + b":" for level in LEVELS} | CONNECTIONS.keys() <= ANYWHERE.keys()


def test_each_notice_can_be_found_and_none_hides_another() -> None:
    said = {words for words in CASES.values() if words}
    assert len(said) > 8
    for _, words in notices._NOTICES:
        assert words.isascii()
        assert not any(char.isdigit() or char == "@" for char in words)
    assert notice(b"nothing that anybody knows") is None


def test_they_are_told_at_once_and_then_once_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    told = Seldom()
    for second in range(int(MINUTE) + 1):
        told.note("a thing", 2)
        told.tell(1000.0 + second)
    assert capsys.readouterr().err == "postsink: a thing (2 times)\npostsink: a thing (120 times)\n"


def test_they_are_few_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    told = Seldom()
    for number in range(100):
        told.note(f"thing {number}")
    told.tell(1000.0)
    assert capsys.readouterr().err.count("\n") == MOST_A_MINUTE
    told.tell(1000.0 + MINUTE)
    assert capsys.readouterr().err.count("\n") == MOST_A_MINUTE
