"""Shapes of lines of the wild: each is understood, or ignored with a reason, or not understood.

`shapes.txt` has words in capitals for what was there; here every shape becomes a concrete line again.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.judges.conftest import ignore_lists
from tests.judges.program import DATA

SHARE_NOT_UNDERSTOOD = 0.01  # of all weighted lines
QID, NEXT = "4A5A321A867", "4B5A321A86F"
FACT = re.compile(r"QID: (?:.*[ ,])?(?:to|from|status|message-id|client)=")
REFUSAL = re.compile(r"(?:^|: )(?:milter-|proxy-)?reject: ")


class Shape(NamedTuple):
    """One line of shapes.txt."""

    weight: int
    daemon: str
    text: str


def shapes() -> list[Shape]:
    """All shapes; the first line is a heading."""
    found = []
    for line in (DATA / "shapes.txt").read_bytes().decode("utf-8", "surrogateescape").split("\n")[1:]:
        if line:
            weight, _, _, shape = line.split("\t", 3)
            daemon, _, text = shape.partition(": ")
            found.append(Shape(int(weight), daemon, text))
    return found


def reply(shape: str) -> str:
    """What a peer replied, fitting the status."""
    return "250 2.0.0 Ok: done" if "status=sent" in shape else "450 4.7.1 <bob@example.net>: try later"


def dsn(shape: str) -> str:
    """The enhanced code, fitting the status."""
    first = {"sent": "2.0.0", "deliverable": "2.1.5", "deferred": "4.4.1", "SOFTBOUNCE": "4.1.1"}
    word = shape.partition("status=")[2].partition(" ")[0]
    return first.get(word, "5.1.1")


# In this order: the more special first. Each is (pattern, what stands there in a log).
CONCRETE: tuple[tuple[str, str], ...] = (
    (r"dsn=N", "dsn={dsn}"),
    (r"delays=N/N", "delays=0.01/0.02/0.03/0.04"),
    (r"delay=N", "delay=0.1"),
    (r"CODE … queued as QID", "250 2.0.0 Ok: queued as " + NEXT),
    (r"queued as QID", "queued as " + NEXT),
    (r"forwarded as QID", "forwarded as " + NEXT),
    (r"notification: QID", "notification: " + NEXT),
    (r"blocked using …", "blocked using zen.example.org; listed"),
    (r"User unknown …", "User unknown in local recipient table"),
    (r"undeliverable address …", "undeliverable address: host refused"),
    (r"Greylisted …", "Greylisted, see example.org"),
    (r"triggers FILTER …", "triggers FILTER smtp:[192.0.2.9]:10025"),
    (r"to maildir…", "to maildir"), (r"to mailbox…", "to mailbox"),
    (r"to command…", "to command: /usr/bin/procmail"),
    (r"bits\)…", "bits)"),
    (r"CODE DSN", "550 5.7.1"),
    (r"END-OF-MESSAGE: N N (?=from|Ok)", "END-OF-MESSAGE: 250 2.0.0 "), (r": N N Ok", ": 250 2.0.0 Ok"),
    (r"(?<=: )N N (?=[A-Z:])", "550 5.7.1 "), (r"(?<=said: )N N ", "535 5.7.8 "),
    (r"(milter-reject: END-OF-MESSAGE from [^:]*: )N ", r"\g<1>5.7.1 "), (r"(?<=\]: )N (?=[A-Z])", "554 "),
    (r"\bCODE\b", "550"), (r"\bDSN\b(?= )", "5.7.1"),
    (r"\[IP\]", "[192.0.2.7]"), (r":PORT", ":25"), (r"\[SOCKET\]", "[private/lmtp]"),
    (r"\[path\]", "[private/lmtp]"),
    (r"message-id=RAW", "message-id=<20261102.1@example.com>"), (r"<MSGID", "<20261102.1@example.com"),
    (r"\bQID\b", QID), (r"\bHELO\b", "mail.example.com"), (r"\bCMD\b", "RCPT TO command"),
    (r"<STR>", "<bob@example.net>"), (r"\bSTR\b", "some text"), (r"\bADDR\b", "alice@example.com"),
    (r"\bHOST", "mail.example.com"), (r"\bIP\b", "192.0.2.7"), (r"\bREPLY\b", "{reply}"),
    (r"\bTIME\b", "Nov  2 10:00:00"), (r"\bTEXT\b", "some words"), (r"\bPATH\b", "/etc/postfix/file"),
    (r"\bURL\b", "https://example.org/"), (r"\bTLSVER\b", "TLSv1.3"),
    (r"\bCIPHER\b", "TLS_AES_256_GCM_SHA384"), (r"XXXX", "2"),
    (r"\bCOUNTERS\b", "ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5"),
    # Masked digits within a word: of a hexadecimal queue id, of 8BITMIME, of IPv6.
    (r"\b[A-FN]{5,}\b(?<=N|[A-F])", "{hex}"), (r"\bNBITMIME\b", "8BITMIME"),
    (r"(?<=[a-z])N\b", "6"), (r"\bN(?=[smhd]\b|%)", "60"), (r"\bN\b", "7"),
    ("…", "text"),
)
DIGITS = str.maketrans("N", "7")


def concrete(shape: str) -> str:
    """A log text of this shape; the place-holders' own N (as in CONNECT) stays what it is."""
    text = shape
    for pattern, there in CONCRETE:
        if there == "{hex}":
            text = re.sub(pattern, lambda found: found[0].translate(DIGITS), text)
        else:
            text = re.sub(pattern, there.replace("{dsn}", dsn(shape)).replace("{reply}", reply(shape)), text)
    return text


def line(shape: Shape) -> bytes:
    """The line in a log; lines without a program name bear the tag that a cut template leaves."""
    tag = "postfix" if shape.daemon in ("UNKNOWN", "postfix") else f"postfix/{shape.daemon}"
    text = f"2026-11-02T10:00:00.123456+00:00 mx1 {tag}[1]: {concrete(shape.text)}\n"
    return text.encode("utf-8", "surrogateescape")


Verdict = Callable[[bytes], str]


@pytest.fixture(scope="module")
def verdicts(verdict: Verdict) -> dict[Shape, str]:
    """What the program says of each shape: understood, ignored, not understood."""
    return {shape: verdict(line(shape)) for shape in shapes()}


def test_there_are_as_many_shapes_as_when_this_was_written() -> None:
    assert len(shapes()) == 859
    assert sum(shape.weight for shape in shapes()) == 171_640


def test_shapes_become_lines() -> None:
    """The harness itself: place-holders are gone, and words that hold an N are whole."""
    known = {
        "QID: to=<ADDR>, relay=HOST[IP]:PORT, delay=N, delays=N/N, dsn=N, status=sent (CODE … queued as QID)":
            "4A5A321A867: to=<alice@example.com>, relay=mail.example.com[192.0.2.7]:25, delay=0.1, "
            "delays=0.01/0.02/0.03/0.04, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4B5A321A86F)",
        "QID: from=<ADDR>, size=N, nrcpt=N (queue active)":
            "4A5A321A867: from=<alice@example.com>, size=7, nrcpt=7 (queue active)",
        "NOQUEUE: reject: RCPT from HOST[IP]: CODE DSN <STR>: Relay access denied; from=<ADDR> to=<ADDR> "
        "proto=ESMTP helo=<HELO>":
            "NOQUEUE: reject: RCPT from mail.example.com[192.0.2.7]: 550 5.7.1 <bob@example.net>: Relay "
            "access denied; from=<alice@example.com> to=<alice@example.com> proto=ESMTP "
            "helo=<mail.example.com>",
        "QID: milter-reject: END-OF-MESSAGE from HOST[IP]: N Try again later; from=<ADDR>":
            "4A5A321A867: milter-reject: END-OF-MESSAGE from mail.example.com[192.0.2.7]: 5.7.1 Try again "
            "later; from=<alice@example.com>",
        "proxy-accept: END-OF-MESSAGE: N N from MTA(smtp:[IP]:PORT): N N Ok: queued as QID; from=<ADDR>":
            "proxy-accept: END-OF-MESSAGE: 250 2.0.0 from MTA(smtp:[192.0.2.7]:25): 250 2.0.0 Ok: queued as "
            "4B5A321A86F; from=<alice@example.com>",
        "statistics: max connection rate N/Ns for (smtpd:IP) at TIME":
            "statistics: max connection rate 7/60s for (smtpd:192.0.2.7) at Nov  2 10:00:00",
        "[ID N HOST] NBNBNCN: client=HOST[IP]":
            "[ID 7 mail.example.com] 7B7B7C7: client=mail.example.com[192.0.2.7]",
    }
    assert {shape: concrete(shape) for shape in known} == known
    names = re.compile(r"\b(?:QID|ADDR|HOST|PORT|HELO|REPLY|TEXT|TLSVER|CIPHER|CODE)\b")
    assert [shape for shape in shapes() if names.search(concrete(shape.text))] == []


def test_each_shape_has_a_verdict(verdicts: dict[Shape, str]) -> None:
    assert set(verdicts.values()) <= {"understood", "ignored", "not understood"}


def test_hardly_anything_is_not_understood(verdicts: dict[Shape, str]) -> None:
    """By weight, less than one line in a hundred; the heaviest are named."""
    rest = sorted((shape for shape, said in verdicts.items() if said == "not understood"), reverse=True)
    weight = sum(shape.weight for shape in rest)
    heaviest = "\n".join(f"{shape.weight:6} {shape.daemon}: {shape.text[:150]}" for shape in rest[:30])
    print(f"\nnot understood: {weight} of 171640 lines, {len(rest)} shapes; the heaviest:\n{heaviest}")
    assert weight < SHARE_NOT_UNDERSTOOD * 171_640, heaviest


def says_who_wrote_to_whom(shape: Shape) -> bool:
    """Whether a shape may never be ignored: facts of a queue id, or a refusal."""
    if REFUSAL.search(shape.text):
        return True
    return bool(FACT.match(shape.text))


def test_no_shape_that_says_who_wrote_to_whom_is_ignored(verdicts: dict[Shape, str]) -> None:
    """A shape with a queue id and to=, from=, status=, message-id=, client=, or any refusal."""
    guarded = [shape for shape in verdicts if says_who_wrote_to_whom(shape)]
    assert len(guarded) == 321
    assert [shape for shape in guarded if verdicts[shape] == "ignored"] == []


def test_guarded_shapes_are_understood_by_weight(verdicts: dict[Shape, str]) -> None:
    """Of the shapes that may not be ignored, all but one in a thousand by weight are understood."""
    guarded = [shape for shape in verdicts if says_who_wrote_to_whom(shape)]
    lost = [shape for shape in guarded if verdicts[shape] != "understood"]
    share = sum(shape.weight for shape in lost) / sum(shape.weight for shape in guarded)
    named = [f"{shape.weight} {shape.daemon}: {shape.text}" for shape in sorted(lost)[-30:]]
    assert share < 0.001, "\n".join(named)


def test_every_entry_of_the_ignore_lists_has_a_reason() -> None:
    """Per daemon, what is ignored and why."""
    entries = ignore_lists()
    assert len(entries) > 50
    assert [entry for entry in entries if not entry[2].strip()] == []


def test_refusals_are_no_entry_of_the_ignore_lists() -> None:
    """By the lists themselves, too: no word of theirs begins a refusal or a fact."""
    words = {word for _, word, _ in ignore_lists()}
    refusals = ("reject:", "milter-reject:", "proxy-reject:")
    never = (*refusals, "to=", "from=", "client=", "message-id=", "status=")
    assert [word for word in words if word.startswith(never)] == []
