"""The tables of syslog-conf/postfix, in a real Postfix, log what their README says, whoever sends."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Postfix
from tests.integration.milter import milter_that_adds
from tests.judges.program import Program

TABLES = Path(__file__).parents[2] / "syslog-conf" / "postfix"
ON, OFF = re.findall(r"```sh\n(.*?)```", (TABLES / "README.md").read_text(), re.DOTALL)

ASKED_FOR = {b"from", b"to", b"cc", b"bcc", b"date", b"subject", b"in-reply-to", b"references", b"list-id",
             b"list-post", b"precedence"}
SCORES = [("X-Spam-Score", "5.1 (+++++)"), ("X-Spam-Status", "Yes, score=5.1 required=5.0 tests=A,B"),
          ("X-Spamd-Result", "default: False [5.10 / 15.00];\n ARC_NA(0.00)[];\n FROM(0)[alice@example.org]"),
          ("X-Spam-Flag", "YES"), ("Subject", "[SPAM] hello")]

# A rule of the admin's, for the message and for its parts: both must go on to count.
ADMIN_CHECKS = r"""
/^X-Evil:/                      REJECT evil header
/name="?[^"]*\.exe"?/           REJECT evil attachment
"""


def switch(instance: Postfix, block: str) -> None:
    block = block.replace("kind=pcre", f"kind={instance.kind}")
    instance.shell(block.replace("/etc/postsink/header-tokens", str(instance.secret)), TABLES)


def start_with_tables(make_postfix: Callable[..., Postfix], kind: str, milter: int) -> Postfix:
    instance = make_postfix(kind, f"smtpd_milters = inet:127.0.0.1:{milter}\n")
    checks = instance.folder / "etc/admin_checks"
    checks.write_text(ADMIN_CHECKS)
    instance.postconf("-e", f"header_checks = regexp:{checks}")
    switch(instance, ON)
    return instance


@pytest.fixture(scope="module")
def milter() -> Iterator[int]:
    with milter_that_adds(SCORES) as port:
        yield port


@pytest.fixture(scope="module", params=["pcre", "regexp"])
def postfix(request: pytest.FixtureRequest, make_postfix: Callable[..., Postfix], milter: int) -> Postfix:
    return start_with_tables(make_postfix, request.param, milter)


def token_of(postfix: Postfix) -> bytes:
    return postfix.secret.read_bytes().strip()


def read(postfix: Postfix, lines: list[bytes], action: bytes = b"info") -> list[tuple[bytes, bytes, str]]:
    """Read token lines by the table at the README's end, as (name, value, whole, cut or lost)."""
    mark = b"#" + token_of(postfix)
    values = []
    for line in lines:
        if b": " + action + b": header " not in line:
            continue
        text = line.partition(b": " + mark + b" ")[2]
        assert text, "a header line without our token"
        end = "lost"
        for closing, meaning in ((b" " + mark, "whole"), (b" " + mark + b"+", "cut")):
            if text.endswith(closing):
                text, end = text.removesuffix(closing), meaning
        name, colon, value = text.partition(b":")
        assert colon
        values.append((name, value, end))
    return values


def headers(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b"text", b""])


def test_each_asked_header_is_one_line_and_no_other_is_logged(postfix: Postfix) -> None:
    sent = [
        (b"From", b" Alice <alice@example.org>"), (b"To", b" bob@example.com"),
        (b"Cc", b" carol@example.net"), (b"Bcc", b" dave@example.net"),
        (b"Date", b" Mon, 02 Nov 2026 10:00:00 +0100"), (b"SUBJECT", b" hello"),
        (b"In-Reply-To", b" <1@example.com>"), (b"References", b" <0@example.com> <1@example.com>"),
        (b"List-Id", b" Team <team.example.org>"), (b"List-Post", b" <mailto:team@example.org>"),
        (b"Precedence", b" list"),
    ]
    others = [b"Message-ID: <2@example.org>", b"X-Spam-Score: 99", b"X-Mailer: none",
              b"Reply-To: x@example.org", b"Resent-From: eve@example.org", b"Precedence: bulk",
              b"Sender: eve@example.org"]
    _, lines = postfix.send(headers(*(name + b":" + value for name, value in sent), *others))
    assert read(postfix, lines) == [(name, value, "whole") for name, value in sent]
    assert {name.lower() for name, _ in sent} == ASKED_FOR


FORGED = (b" x from evil.example.net[203.0.113.9]; from=<canary@example.net> to=<canary@example.com>"
          b" proto=ESMTP helo=<evil>: #k7Qm2Zx9RtW4bN8s Subject: forged #k7Qm2Zx9RtW4bN8s")
HOSTILE = [
    FORGED,
    b" : # Subject: x #+",
    b" $1 ${1} $(1) %s %n \\1 & $$ #",
    b" \"a from b\" <\"x> from=<y\"@example.net>",
    b" 4FFFFFFFFF: to=<x@example.net>, relay=none, delay=0, status=sent (ok)",
    b"no blank after the colon",
    b"",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("name", [b"Subject", b"From", b"To", b"References", b"List-Id"])
def test_a_header_like_a_log_line_is_read_as_sent(postfix: Postfix, name: bytes, value: bytes) -> None:
    _, lines = postfix.send(headers(name + b":" + value, b"Date: now"))
    got = [(logged, shown.strip(), end) for logged, shown, end in read(postfix, lines)]
    assert got == [(name, value.strip(), "whole"), (b"Date", b"now", "whole")]


@pytest.mark.parametrize("sender", [
    r'"x>, size=1, nrcpt=1 (queue active)"@example.net',
    r'"a\" from=<y> to=<z>: # Subject: forged #"@example.net',
    "",
])
def test_a_hostile_envelope_does_not_move_the_value(postfix: Postfix, sender: str) -> None:
    _, lines = postfix.send(headers(b"Subject: plain"), sender=sender, helo="x;from=y:#",
                            recipient=r'"to> relay=canary, status=sent (x"@example.com')
    assert read(postfix, lines) == [(b"Subject", b" plain", "whole")]


def test_folded_and_odd_bytes_become_question_marks_or_stay(postfix: Postfix) -> None:
    _, lines = postfix.send(headers(b"To: a@example.com,\r\n\tb@example.com,\r\n c@example.com",
                                    b"Subject: \xc3\xa4 \xe2\x80\xa8 \xff \x07 =?utf-8?q?=C3=A4?="))
    assert read(postfix, lines) == [
        (b"To", b" a@example.com,??b@example.com,? c@example.com", "whole"),
        (b"Subject", b" \xc3\xa4 \xe2\x80\xa8 ? ? =?utf-8?q?=C3=A4?=", "whole"),
    ]


LIMITS = {b"From": 400, b"List-Id": 400, b"To": 700, b"Cc": 700, b"Bcc": 700, b"Subject": 700}


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_longer_than_the_limit_is_marked_as_cut(postfix: Postfix, name: bytes) -> None:
    limit = LIMITS[name]
    fits, long = b" " + b"x" * (limit - 1), b" " + b"x" * limit
    _, lines = postfix.send(headers(name + b":" + fits))
    assert read(postfix, lines) == [(name, fits, "whole")]
    _, lines = postfix.send(headers(name + b":" + long))
    # A regexp table counts nothing: Postfix cuts at about 2,000 bytes.
    assert read(postfix, lines) == [(name, fits, "cut") if postfix.kind == "pcre" else (name, long, "whole")]


def test_what_fills_the_line_loses_its_last_token(postfix: Postfix) -> None:
    value = b" " + b"x" * 5000
    _, lines = postfix.send(headers(b"Subject:" + value), sender=f"{'a' * 1400}@example.org")
    [(name, got, end)] = read(postfix, lines)
    assert (name, end) == (b"Subject", "lost")
    assert value.startswith(got) and len(got) < 700


@pytest.mark.parametrize("count", [3, 10, 11, 40, 900])
def test_of_long_references_both_ends_are_kept(postfix: Postfix, count: int) -> None:
    ids = [b"<%04d.%s@mail.example.org>" % (number, b"r" * 40) for number in range(count)]
    value = b" " + b"\r\n ".join(ids)
    logged = b" " + b"? ".join(ids)
    _, lines = postfix.send(headers(b"References:" + value))
    [(name, got, end)] = read(postfix, lines)
    assert name == b"References"
    fits = len(logged) <= 700 if postfix.kind == "pcre" else count <= 10
    if fits:
        assert (got, end) == (logged, "whole")
        return
    head, middle, tail = got.partition(b" #" + token_of(postfix) + b" ")
    assert middle and end == "cut"
    if postfix.kind == "pcre":
        assert (head, tail) == (logged[:400], logged[-300:])
    else:
        assert head.startswith(b" " + b"? ".join(ids[:4])) and tail == b"? ".join(ids[-4:])


def test_parts_of_a_message_are_not_logged_as_its_headers(postfix: Postfix) -> None:
    _, lines = postfix.send(headers(
        b"Subject: outer", b'Content-Type: multipart/mixed; boundary="b"', b"", b"--b",
        b"Subject: a part", b"Content-Type: message/rfc822", b"",
        b"From: inner@example.net", b"Subject: an attached message", b"", b"text", b"--b--"))
    assert read(postfix, lines) == [(b"Subject", b" outer", "whole")]


@pytest.mark.parametrize("evil", [
    headers(b"Subject: x", b"X-Evil: yes"),
    headers(b"Subject: x", b'Content-Type: multipart/mixed; boundary="b"', b"", b"--b",
            b'Content-Type: application/octet-stream; name="a.exe"', b"", b"x", b"--b--"),
    headers(b"Subject: x", b'Content-Type: multipart/mixed; boundary="b"', b"", b"--b",
            b"Content-Type: message/rfc822", b"", b"X-Evil: yes", b"", b"x", b"--b--"),
], ids=["header", "attachment", "attached message"])
def test_the_checks_of_the_admin_go_on(postfix: Postfix, evil: bytes) -> None:
    queue_id, lines = postfix.send(evil)
    assert queue_id == ""
    assert any(b": reject: header " in line for line in lines)


SHOWN_SCORES = [(b"X-Spam-Score", b" 5.1", "whole"), (b"X-Spam-Status", b" Yes, score=5.1", "whole"),
                (b"X-Spamd-Result", b" default: False [5.10 / 15.00]", "whole")]


def test_only_the_score_that_the_milter_adds_is_logged(postfix: Postfix) -> None:
    forged = [b"X-Spam-Score: -9", b"X-Spam-Status: No, score=-9",
              b"X-Spamd-Result: default: False [-9 / 15]"]
    _, lines = postfix.send(headers(b"Subject: x", *forged))
    assert read(postfix, lines, b"milter-header-info") == SHOWN_SCORES
    assert read(postfix, lines) == [(b"Subject", b" x", "whole")]


def test_the_way_back_from_a_filter_logs_its_scores_alone(postfix: Postfix) -> None:
    _, lines = postfix.send(headers(b"Subject: x", b"X-Spam-Score: 5.1 (+++++)"), port=postfix.way_back)
    assert read(postfix, lines) == SHOWN_SCORES[:1]


def test_what_holds_the_token_is_readable_by_root_alone(postfix: Postfix) -> None:
    assert re.fullmatch(rb"[A-Za-z0-9]{16}", token_of(postfix))
    holders = [path for path in postfix.folder.rglob("*")
               if path.is_file() and token_of(postfix) in path.read_bytes()]
    assert {path.name for path in holders} == {
        "header-tokens", "postsink_header_checks", "postsink_milter_header_checks"}
    assert all((path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, 0) for path in holders)


def settings(instance: Postfix) -> list[str]:
    """Read main.cf itself: postconf -n of 3.10 adds a config_directory now and then."""
    lines = (instance.folder / "etc/main.cf").read_text().splitlines()
    return sorted(re.sub(r" *= *", "=", line, count=1) for line in lines if line)


def test_switching_off_puts_back_what_was_there(make_postfix: Callable[..., Postfix], milter: int) -> None:
    instance = make_postfix("regexp", f"smtpd_milters = inet:127.0.0.1:{milter}\n")
    checks = instance.folder / "etc/admin_checks"
    checks.write_text(ADMIN_CHECKS)
    instance.postconf("-e", f"header_checks = regexp:{checks}", "nested_header_checks =")
    before, files = settings(instance), set(os.listdir(instance.folder / "etc"))
    switch(instance, ON)
    token = token_of(instance)
    switch(instance, ON)  # twice is once
    assert token_of(instance) == token
    assert instance.postconf("-h", "header_checks").count("postsink_header_checks") == 1
    switch(instance, OFF)
    assert settings(instance) == before
    assert set(os.listdir(instance.folder / "etc")) == files
    _, lines = instance.send(headers(b"Subject: x"))
    assert not [line for line in lines if b"info: header" in line]


def test_without_subject_nothing_of_it_is_logged(make_postfix: Callable[..., Postfix]) -> None:
    instance = make_postfix("regexp")
    block = ON.replace("sed -f /dev/stdin", "sed -e /Subject/d -f /dev/stdin")
    assert block != ON
    switch(instance, block)
    _, lines = instance.send(headers(b"Subject: canary", b"From: alice@example.org"))
    assert read(instance, lines) == [(b"From", b" alice@example.org", "whole")]
    assert not any(b"canary" in line for line in lines)


def addresses(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number:03d}@example.net" for number in range(count)]


MANY = addresses("member", 60)
THREAD = [f"<{number}.{'t' * 30}@example.org>" for number in range(60)]
HELLO = "<hello.1@example.org>"
# What is sent, the envelope sender, and what the row must say.
MAILS: list[tuple[bytes, str, dict[str, object]]] = [
    (headers(b"From: Alice <alice@example.org>", b'To: "Smith, Bob" <bob@example.com>,\r\n carol@example.net',
             b"Cc: dave@example.net", b"Bcc: erin@example.net", b"Date: Mon, 02 Nov 2026 10:00:00 +0100",
             "Subject: hellö".encode(), b"Message-ID: " + HELLO.encode()), "alice@example.org",
     {"from": ["alice@example.org"], "to": ["bob@example.com", "carol@example.net"],
      "cc": ["dave@example.net"], "bcc": ["erin@example.net"], "date": "2026-11-02T09:00:00.000000Z",
      "subject_size": 5, "is_list": 0, "headers_cut": 0, "re": None}),
    (headers(b"From: bob@example.com", b"Subject:" + FORGED, b"In-Reply-To: " + HELLO.encode(),
             b"X-Spam-Score: -9", b"Message-ID: <2@example.org>"),
     r'"x>, size=1, nrcpt=1 (queue active)"@example.net',
     {"from": ["bob@example.com"], "to": None, "subject_size": len(FORGED.strip()), "re": HELLO}),
    (headers(b"From: \"x from y\" <alice@example.org>", b"List-Id: Team <team.example.org>",
             b"Message-ID: <3@example.org>"), "team-bounces@example.org",
     {"from": ["alice@example.org"], "is_list": 1, "subject_size": None}),
    (headers(b"Precedence: bulk", b"To: " + b", ".join(one.encode() for one in MANY),
             b"Message-ID: <4@example.org>"), "alice@example.org",
     {"to": MANY, "is_list": 0, "headers_cut": 0}),
    (headers(b"References: " + b"\r\n ".join(one.encode() for one in [*THREAD, HELLO]),
             b"Message-ID: <5@example.org>"), "alice@example.org", {"re": HELLO}),
]


def test_the_facts_of_a_row_are_what_was_sent(postfix: Postfix, tmp_path: Path) -> None:
    log, queue_ids = [], []
    for message, sender, _ in MAILS:
        queue_id, lines = postfix.send(message, sender)
        queue_ids.append(queue_id)
        log += lines
    (tmp_path / "mail.log").write_bytes(b"\n".join([*log, b""]))
    program = Program(tmp_path / "postsink", header_tokens=str(postfix.secret), queue_id="plain").make_keys()
    assert program.import_files(tmp_path / "mail.log")["not_understood"] == 0
    rows = {row["queue_id"]: row for row in program.rows()}
    assert sorted(rows) == sorted(queue_ids)
    pseudonyms = program.addresses({"alice@example.org", "bob@example.com", "carol@example.net",
                                    "dave@example.net", "erin@example.net", *MANY})
    for queue_id, (_, _, expected) in zip(queue_ids, MAILS, strict=True):
        row, sent = rows[queue_id], dict(expected)
        if sent.get("to") is MANY and postfix.kind == "pcre":
            whole = ", ".join(MANY)[:699].count(",")  # what stands last is cut, so it is left out
            sent.update({"to": MANY[:whole], "headers_cut": 1})
        if "re" in sent:
            assert row["re_message_id"] == (rows[queue_ids[0]]["message_id"] if sent.pop("re") else None)
        for column, value in sent.items():
            if isinstance(value, list):
                assert row[column].split(" ") == sorted(pseudonyms[one] for one in value)
            else:
                assert row[column] == value, column
        assert row["spam_score"] == 5.1
