"""Keyrings of several epochs, and mails on both sides of their bounds, in times relative to now."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import yaml

from sink import config
from sink.core.correlate import AGREE
from sink.installation import open_keyring
from sink.keys import keyring
from sink.keys.epochs import Epoch, Keyring
from tests.judges.program import Program, Row

HOUR, DAY = 3_600, 86_400
NOW = int(time.time())
OLD, BOUND, NEW = NOW - 5 * HOUR, NOW - 2 * HOUR, NOW - HOUR  # mails of epoch 1, its end, mails of epoch 2
ALICE = "alice@example.com"
HELD = 70  # seconds after which an ended message is forgotten, and more


def ring_of(program: Program) -> Keyring:
    return open_keyring(config.load(program.config))


def put(program: Program, ring: Keyring) -> Keyring:
    """Replace the keyring, as the commands do."""
    settings = config.load(program.config)
    with keyring.changing(settings.keyring):
        keyring.save(ring, settings.keyring, keyring.unlock(settings.keyring, settings.seal)[1])
    return ring


def with_bounds(program: Program, *bounds: int) -> Keyring:
    """Give it a keyring of epochs 1, 2, ... that meet in these seconds; the last one that has begun is active."""
    found = []
    for number, (since, until) in enumerate(pairwise([None, *bounds, None]), 1):
        begun, ended = since is None or since <= time.time(), until is not None and until <= time.time()
        state = "retired" if ended else "active" if begun else "coming"
        found.append(Epoch(number, since, until, state, os.urandom(32)))  # type: ignore[arg-type]
    return put(program, Keyring(tuple(found), ring_of(program).correlation))


def secret_of(ring: Keyring, number: int) -> bytes:
    epoch = ring.numbered(number)
    assert epoch is not None and epoch.secret is not None
    return epoch.secret


def configured(program: Program, **settings: object) -> None:
    """Change the config."""
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(yaml.safe_dump({**known, **settings}))


def stamp(second: int, micros: int = 0) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{micros:06}+00:00").encode()


def mail(second: int, number: int, host: bytes = b"mx1", *, done: bool = True) -> list[bytes]:
    """The lines of a mail from somebody to ALICE and somebody else; done: it is removed."""
    queue_id, sender = b"4%010X" % number, b"user%d@example.org" % (number % 5)
    texts = [
        (b"smtpd", b"client=mail.example.net[198.51.100.7]"),
        (b"cleanup", b"message-id=<%d@example.org>" % number),
        (b"qmgr", b"from=<%b>, size=%d, nrcpt=2 (queue active)" % (sender, 1000 + number)),
        *(
            (b"smtp", b"to=<%b>, relay=mx.example.net[203.0.113.5]:25, delay=1, delays=0.1/0/0.4/0.5, dsn=2.0.0,"
                      b" status=sent (250 ok)" % person)
            for person in (ALICE.encode(), b"bob%d@example.net" % number)
        ),
    ]  # fmt: skip
    if done:
        texts.append((b"qmgr", b"removed"))
    return [
        b"%b %b postfix/%b[17]: %b: %b" % (stamp(second, micros), host, daemon, queue_id, text)
        for micros, (daemon, text) in enumerate(texts)
    ]


def mails(begin: int, number: int, first: int = 0, host: bytes = b"mx1") -> list[bytes]:
    """So many mails, one a second."""
    return [line for at in range(number) for line in mail(begin + at, first + at, host)]


def refusal(second: int, number: int, host: bytes = b"mx9") -> bytes:
    """A line that alone makes a row."""
    return (
        b"%b %b postfix/smtpd[%d]: NOQUEUE: reject: RCPT from mail.example.net[198.51.100.7]: 450 4.2.0 <%b>: Recipient"
        b" address rejected: Greylisted; from=<user@example.org> to=<%b> proto=ESMTP helo=<mail.example.net>"
        % (stamp(second, number % 1_000_000), host, number, ALICE.encode(), ALICE.encode())
    )


def later(second: int, *hosts: bytes) -> list[bytes]:
    """Lines that move the clocks of hosts, by however much, and do nothing else."""
    text = b"postfix/anvil[1]: statistics: max cache size 1 at Nov  2 08:00:00"
    return [b"%b %b %b" % (stamp(second), host, text) for host in hosts or (b"mx1",) for _ in range(AGREE)]


def as_file(folder: Path, lines: Sequence[bytes], name: str = "mail.log") -> Path:
    path = folder / name
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def by_epoch(rows: Iterable[Row]) -> dict[int, int]:
    found: dict[int, int] = {}
    for row in rows:
        found[row["epoch"]] = found.get(row["epoch"], 0) + 1
    return found
