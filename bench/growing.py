"""Makes logs in which one thing grows: messages that stay open, distinct recipients, kinds of lines.

Host out1 with long queue ids, as in generate.py, whose log may follow: all here is over a second before it begins.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from bench import lines
from bench.generate import SECOND, START, TOKEN
from bench.pools import long_id

RATE = 20  # messages a second
INODE = 600_000  # none of generate.py's
REST = 4_200  # seconds: an hour after its last line a message is looked at once, whoever looks
BEAT = 60  # seconds between two lines, so that the log clock never jumps
CHUNK = 200  # messages; more bytes than an import looks at before it begins
AT_ONCE = 5  # recipients of a message

_TRIED = (
    b"%b out1 postfix/smtpd[301]: %b: client=mail%d.example.net[198.51.100.%d]\n"
    b"%b out1 postfix/cleanup[302]: %b: message-id=<%x.%x@example.com>\n"
    b"%b out1 postfix/qmgr[303]: %b: from=<user%d@example.com>, size=%d, nrcpt=1 (queue active)\n"
    b"%b out1 postfix/smtp[304]: %b: to=<user%d@d%d.example.org>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, "
    b"status=deferred (connect to mx.example.org[203.0.113.7]:25: Connection timed out)\n"
)
_CONNECT = b"%b %b postfix/smtpd[305]: connect from mail.example.net[198.51.100.9]\n"
_ACTIVE = b"%b out1 postfix/qmgr[303]: %b: from=<user%d@example.com>, size=%d, nrcpt=%d (queue active)\n"
_SENT = (
    b"%b out1 postfix/smtp[304]: %b: to=<%b>, relay=mx%d.example.org[203.0.113.%d]:25, delay=0.9, "
    b"delays=0.03/0.01/0.5/0.36, dsn=2.0.0, status=sent (250 2.0.0 OK)\n"
)


class Mix(NamedTuple):
    """How a log is composed: of each message so many ..."""

    ignored: int  # lines that say nothing that is wanted
    headers: int  # header lines
    retries: int  # further "queue active" lines
    rows: int  # delivery lines


def stamp(second: int, micros: int = 0) -> bytes:
    """A time as syslog writes it."""
    return datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{micros:06d}+00:00").encode()


def connect(second: int, host: bytes = b"out1") -> bytes:
    """A line that says nothing but what time it is."""
    return _CONNECT % (stamp(second), host)


def standing(number: int) -> Iterator[bytes]:
    """Chunks of a log in which so many messages arrive, are deferred, and stay open; then an hour and more passes."""
    begin = START - 10 - REST - -(-number // RATE)
    for first in range(0, number, CHUNK):
        yield b"".join([_tried(begin, place) for place in range(first, min(first + CHUNK, number))])
    beats = range(START - 10 - REST, START, BEAT)
    yield b"".join([connect(second, host) for second in beats for host in (b"out1", b"mx1")])


def _tried(begin: int, place: int) -> bytes:
    second, micros = begin + place // RATE, place % RATE * (SECOND // RATE)
    name = long_id(second * SECOND + micros, INODE + place % 400)
    at = stamp(second, micros)
    return _TRIED % (
        at, name, place % 90, 1 + place % 250, at, name, place, second, at, name, place % 5_000, 900 + place,
        at, name, place % 7_000, place % 800,
    )  # fmt: skip


def mailings(number: int, distinct: int, seed: int = 1) -> Iterator[bytes]:
    """Chunks of a log of so many deliveries, AT_ONCE a message, to so many distinct recipients, as often each.

    Whoever got mail gets the next when all others had theirs.
    """
    dice = random.Random(seed)
    people = list(range(distinct))
    domains = max(1, distinct // 10)
    found: list[bytes] = []
    for place in range(number // AT_ONCE):
        one = place * AT_ONCE
        if one % distinct < AT_ONCE:
            dice.shuffle(people)
        names = [people[(one + other) % distinct] for other in range(AT_ONCE)]
        to = [b"user%d@d%d.example.org" % (person, person % domains) for person in names]
        found.append(message(START + place // RATE, place, Mix(1, 0, 0, AT_ONCE), to))
        if len(found) == CHUNK:
            yield b"".join(found)
            found.clear()
    yield b"".join(found)


def mixed(number: int, mix: Mix) -> Iterator[bytes]:
    """Chunks of a log of so many messages, all alike but for names."""
    for first in range(0, number, CHUNK):
        yield b"".join([
            message(START + place // RATE, place, mix, [
                b"user%d@d%d.example.org" % ((place * 7 + other) % 3_000, place % 300) for other in range(mix.rows)
            ])
            for place in range(first, min(first + CHUNK, number))
        ])  # fmt: skip


def message(second: int, place: int, mix: Mix, to: list[bytes]) -> bytes:
    """All lines of a message: four of its own, and those of a mix."""
    micros = place % RATE * (SECOND // RATE)
    name = long_id(second * SECOND + micros, INODE + place % 400)
    at = stamp(second, micros)
    sender, size = place % 1_000, 900 + place % 5_000
    active = _ACTIVE % (at, name, sender, size, max(1, len(to)))
    trailer = b"from mail.example.net[198.51.100.9]; from=<user%d@example.com> to=<%b> proto=ESMTP helo=<mail>" % (
        sender, to[0] if to else b"user@example.org"
    )  # fmt: skip
    header = b"To: <user%d@d%d.example.org>" % (place % 2_000, place % 300)
    start = b"%b out1 postfix/cleanup[302]: %b: " % (at, name)
    written = lines.HEADER % (start, header, trailer, TOKEN, header, TOKEN)
    return b"".join([
        _CONNECT % (at, b"out1") * mix.ignored,
        b"%b out1 postfix/smtpd[301]: %b: client=mail%d.example.net[198.51.100.%d]\n" % (
            at, name, place % 90, 1 + place % 250),
        written * mix.headers,
        b"%bmessage-id=<%x.%x@example.com>\n" % (start, place, second),
        active * (1 + mix.retries),
        *(_SENT % (at, name, one, place % 90, 1 + place % 250) for one in to),
        b"%b out1 postfix/qmgr[303]: %b: removed\n" % (at, name),
    ])  # fmt: skip
