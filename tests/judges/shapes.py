"""Shapes of lines of the wild, and concrete lines of them.

`shapes.txt` has words in capitals for what was there; here every shape becomes a line again.
"""

import re
from typing import NamedTuple

from tests.judges.program import DATA

QID, NEXT = "4A5A321A867", "4B5A321A86F"


class Shape(NamedTuple):
    """One line of shapes.txt."""

    weight: int
    personal: str  # of address, host, IP, text
    daemon: str
    text: str


def shapes() -> list[Shape]:
    """All shapes; the first line is a heading."""
    found = []
    for line in (DATA / "shapes.txt").read_bytes().decode("utf-8", "surrogateescape").split("\n")[1:]:
        if line:
            weight, _, personal, shape = line.split("\t", 3)
            daemon, _, text = shape.partition(": ")
            found.append(Shape(int(weight), personal, daemon, text))
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
