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

_COME = (
    b"%b out1 postfix/smtpd[301]: %b: client=mail%d.example.net[198.51.100.%d]\n"
    b"%b out1 postfix/cleanup[302]: %b: message-id=<%x.%x@example.com>\n"
)
_TRIED = (
    b"%b out1 postfix/qmgr[303]: %b: from=<user%d@example.com>, size=%d, nrcpt=1 (queue active)\n"
    b"%b out1 postfix/smtp[304]: %b: to=<user%d@d%d.example.org>, relay=none, delay=1, delays=0/0/1/0, dsn=4.4.1, "
    b"status=deferred (connect to mx.example.org[203.0.113.7]:25: Connection timed out)\n"
)
_CONNECT = b"%b %b postfix/smtpd[305]: connect from mail.example.net[198.51.100.9]\n"
_IGNORED = (
    b"smtpd[%d]: connect from %b", b"smtpd[%d]: disconnect from %b ehlo=1 quit=1 commands=2",
    b"postscreen[%d]: CONNECT from %b:25 to [192.0.2.250]:25", b"postscreen[%d]: PASS OLD %b:25",
    b"smtpd[%d]: lost connection after EHLO from %b", b"postscreen[%d]: DISCONNECT %b:25",
    b"smtpd[%d]: Anonymous TLS connection established from %b: TLSv1.3 with cipher TLS_AES_256_GCM_SHA384",
    b"dnsblog[%d]: addr %b listed by domain list1.example.org as 127.0.0.2",
)
_REFUSED = (
    b"%b out1 postfix/smtpd[%d]: NOQUEUE: reject: RCPT from %b: 550 5.1.1 <%b>: Recipient address rejected: "
    b"User unknown in virtual mailbox table; from=<%b> to=<%b> proto=ESMTP helo=<mail>\n"
)
_SENT = (
    b"%b out1 postfix/smtp[%d]: %b: to=<%b>, relay=mx%d.example.org[203.0.113.%d]:25, delay=0.9, "
    b"delays=0.03/0.01/0.5/0.36, dsn=2.0.0, status=sent (250 2.0.0 OK %x)\n"
)


class Mix(NamedTuple):
    """How a log is composed: of each message so many ..."""

    ignored: int  # lines that say nothing that is wanted
    refused: int  # refusals, without a queue id
    headers: int  # header lines
    said: int  # lines of what a peer said
    rows: int  # delivery lines


def stamp(second: int, micros: int = 0) -> bytes:
    """A time as syslog writes it."""
    return datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{micros:06d}+00:00").encode()


MAILING = Mix(ignored=1, refused=0, headers=0, said=0, rows=AT_ONCE)


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


def retried(number: int, rounds: int) -> Iterator[bytes]:
    """Chunks of a log in which so many messages arrive, are deferred, and are tried again in turn, so many times."""
    begin = START - REST - -(-number * (rounds + 1) // RATE)
    for start in range(0, number * (rounds + 1), CHUNK):
        places = range(start, min(start + CHUNK, number * (rounds + 1)))
        yield b"".join([_tried(begin, place % number, place // number * number) for place in places])


def _tried(begin: int, place: int, later: int = 0) -> bytes:
    """A message that is deferred; where it is later by the time of so many messages, once more."""
    born, micros = begin + place // RATE, place % RATE * (SECOND // RATE)
    name = long_id(born * SECOND + micros, INODE + place % 400)
    at = stamp(begin + (place + later) // RATE, (place + later) % RATE * (SECOND // RATE))
    come = b"" if later else _COME % (at, name, place % 90, 1 + place % 250, at, name, place, born)
    return come + _TRIED % (at, name, place % 5_000, 900 + place, at, name, place % 7_000, place % 800)


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
        found.append(message(START + place // RATE, place, MAILING, to))
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
    one, other = b"user%d@example.com" % (place % 1_000), b"user%d@d%d.example.org" % (place % 2_000, place % 300)
    client = b"mail%d.example.net[198.51.100.%d]" % (place % 90, 1 + place % 250)
    peer = b"mx%d.example.org[203.0.113.%d]" % (place % 90, 1 + place % 250)
    smtpd, cleanup = 20_000 + place % 40, 21_000 + place % 20
    start = b"%b out1 postfix/cleanup[%d]: %b: " % (at, cleanup, name)
    active = b"%b out1 postfix/qmgr[303]: %b: from=<%b>, size=%d, nrcpt=%d (queue active)\n" % (
        at, name, one, 900 + place % 5_000, max(1, len(to)))
    return b"".join([
        *(b"%b out1 postfix/%b\n" % (at, _IGNORED[(place + number) % 8] % (smtpd + number, client))
          for number in range(mix.ignored)),
        *(_REFUSED % (at, smtpd, client, other, one, other) for _ in range(mix.refused)),
        b"%b out1 postfix/smtpd[%d]: %b: client=%b\n" % (at, smtpd, name, client),
        *(_headers(place, start, client, one, other)[: mix.headers] if mix.headers else ()),
        b"%bmessage-id=<%x.%x@example.com>\n" % (start, place, second),
        active,
        *(b"%b out1 postfix/smtp[%d]: %b: %b\n" % (at, 22_000 + number, name, lines.TRY_LATER % (peer, other))
          for number in range(mix.said)),
        *(_SENT % (at, 22_000 + (place + number) % 60, name, person, place % 90, 1 + place % 250, place)
          for number, person in enumerate(to)),
        b"%b out1 postfix/qmgr[303]: %b: removed\n" % (at, name),
    ])  # fmt: skip


def _headers(place: int, start: bytes, client: bytes, one: bytes, other: bytes) -> list[bytes]:
    """Eight header lines, as our header_checks log them."""
    trailer = b"from %b; from=<%b> to=<%b> proto=ESMTP helo=<mail>" % (client, one, other)
    return [lines.HEADER % (start, header, trailer, TOKEN, header, TOKEN) for header in (
        b"From: Somebody <%b>" % one, b"To: <%b>" % other, b"Cc: %b, %b" % (one, other), b"Reply-To: <%b>" % one,
        b"Date: Mon, 02 Nov 2026 08:%02d:30 +0000" % (place % 60), b"Subject: word word %d" % place,
        b"References: <%x@example.net>" % place, b"In-Reply-To: <%x@example.net>" % place,
    )]  # fmt: skip
