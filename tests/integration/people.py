"""Persons in a log, and an independent witness of their rows.

The pseudonyms are computed here with nothing but the standard library (RFC 2104, RFC 5869), from a normal form written
by hand; the rows are read with plain sqlite3, and the store's files byte by byte.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from sink import config
from sink.keys import keyring
from tests.judges.program import Program, Row

START = 1_793_613_600  # 2026-11-02T10:00:00Z
VIEWS = ("delivery_text", "reject_text")
COLUMNS = (
    "sender", "recipient", "original_recipient", "list_recipient", "submitter", "from", "to", "cc", "bcc",
)  # fmt: skip


class Person(tuple[bytes, bytes | None]):
    """The normal form of an address: user, and domain or None."""

    def __new__(cls, user: str, domain: str | None = None) -> Person:
        return super().__new__(cls, (user.encode(), None if domain is None else domain.encode()))


ALICE, BOB, CAROL = Person("alice", "example.com"), Person("bob", "example.net"), Person("carol", "example.org")


def subkey(secret: bytes, purpose: str) -> bytes:
    """RFC 5869 with SHA-256, no salt, one block."""
    extracted = hmac.digest(bytes(32), secret, sha256)
    return hmac.digest(extracted, b"postsink 1 " + purpose.encode() + b"\x01", sha256)


class Witness:
    """Knows the keys of an installation, and whose rows are whose."""

    def __init__(self, program: Program) -> None:
        self.program = program
        settings = config.load(program.config)
        epochs = keyring.load(settings.keyring, settings.seal).epochs
        self.secrets = {epoch.number: epoch.secret for epoch in epochs if epoch.secret is not None}

    def halves(self, person: Person, epoch: int = 1) -> tuple[bytes, bytes]:
        secret = self.secrets[epoch]
        user, domain = person
        second = b"" if domain is None else hmac.digest(subkey(secret, "domain"), domain, sha256)[:16]
        return hmac.digest(subkey(secret, "user"), user, sha256)[:16], second

    def text(self, person: Person, epoch: int = 1) -> str:
        user, domain = self.halves(person, epoch)
        return f"{user.hex()}@{domain.hex()}" if domain else user.hex()

    def columns(self, row: Row, *persons: Person) -> list[str]:
        """The columns of a view's row in which one of some persons stands."""
        wanted = {self.text(person, epoch) for person in persons for epoch in self.secrets}
        return [name for name in COLUMNS if wanted & set(str(row.get(name) or "").split(" "))]

    def rows(self, *persons: Person) -> dict[str, list[str]]:
        """The columns in which they stand, by the id of each of their rows."""
        found = [row for view in VIEWS for row in self.program.rows(view)]
        return {row["id"]: columns for row in found if (columns := self.columns(row, *persons))}

    def traces(self, *persons: Person) -> list[str]:
        """The files of the store that hold both halves of somebody side by side, in any order and form."""
        found = []
        for path in sorted(self.program.store.parent.glob(f"{self.program.store.name}*")):
            if not path.is_file() or path.name.endswith(".forgotten"):
                continue  # the list of the forgotten itself, which is apart from the store
            data = path.read_bytes()
            for person in persons:
                for epoch in self.secrets:
                    user, domain = self.halves(person, epoch)
                    forms = [user + domain, self.text(person, epoch).encode()]
                    if domain:
                        forms += [domain + user, forms[-1].upper(), f"{user.hex()}{domain.hex()}".encode()]
                    found += [path.name for form in forms if form in data]
        return sorted(set(found))


def tables(program: Program) -> dict[str, dict[str, Row]]:
    """Both views, by id."""
    return {view: {row["id"]: row for row in program.rows(view)} for view in VIEWS}


def check_forgotten(
    before: dict[str, dict[str, Row]], after: dict[str, dict[str, Row]], witness: Witness, *persons: Person
) -> int:
    """Each row is as it was, but that others stand in these persons' place; return how many rows changed.

    The same stand-in throughout a message, another one in each message, and the domain stays.
    """
    changed = 0
    others: dict[tuple[Any, ...], set[str]] = {}
    for view, rows in before.items():
        assert after[view].keys() == rows.keys()
        for key, row in rows.items():
            now = after[view][key]
            columns = witness.columns(row, *persons)
            changed += bool(columns)
            assert witness.columns(now, *persons) == []
            assert {name for name in row if row[name] != now[name]} == set(columns), key
            for name in columns:
                for whose, other in _stand_ins(row, now, name, witness, persons):
                    others.setdefault(whose, set()).add(other)
    found = [other for known in others.values() for other in known]
    assert len(found) == len(others), "somebody has two stand-ins in a message"
    assert len(set(found)) == len(found), "two messages share a stand-in"
    return changed


def _stand_ins(
    row: Row, now: Row, name: str, witness: Witness, persons: Sequence[Person]
) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Who stands in whose place in a column: (message and address, other user)."""
    theirs = {witness.text(person, epoch) for person in persons for epoch in witness.secrets}
    gone, fresh = str(row[name]).split(" "), str(now[name]).split(" ")
    kept = [one for one in gone if one not in theirs]
    assert sorted(one[32:] for one in gone) == sorted(one[32:] for one in fresh), "the domain stays"
    assert len(gone) == len(fresh) and set(kept) <= set(fresh)
    assert fresh == sorted(fresh)
    message = (row["host"], row["queue_id"], row["first_seen_at"]) if "queue_id" in row else (row["id"],)
    for one in gone:
        found = [other for other in fresh if other not in kept and other[32:] == one[32:]]
        if one in theirs and len(found) == 1:  # of two of one domain nobody can tell who is who
            yield (*message, one), found[0][:32]


# -- the log


def line(second: int, program: str, text: str, host: str = "mx1") -> bytes:
    when = datetime.fromtimestamp(START + second, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.250000+00:00 {host} postfix/{program}[17]: {text}".encode()


def opened(second: int, queue_id: str, sender: str, sasl: str = "", headers: Iterable[str] = ()) -> list[bytes]:
    """The lines of a message until it is queued."""
    login = f", sasl_method=PLAIN, sasl_username={sasl}" if sasl else ""
    cut = f"from client.example.net[192.0.2.20]; from=<{sender}> to=<x@example.com> proto=ESMTP helo=<h>"
    return [
        line(second, "smtpd", f"{queue_id}: client=client.example.net[192.0.2.20]{login}"),
        *(line(second, "cleanup", f"{queue_id}: info: header {header} {cut}") for header in headers),
        line(second, "cleanup", f"{queue_id}: message-id=<{queue_id}@example.net>"),
        line(second, "qmgr", f"{queue_id}: from=<{sender}>, size=1520, nrcpt=1 (queue active)"),
    ]


def attempt(second: int, queue_id: str, recipient: str, status: str = "sent", original: str = "") -> bytes:
    """A delivery line."""
    to = f"to=<{recipient}>, " + (f"orig_to=<{original}>, " if original else "")
    dsn = {"sent": "2.0.0", "deferred": "4.2.2", "bounced": "5.1.1"}[status]
    relay = "mx.example.net[198.51.100.20]:25"
    said = f"delay=1, delays=0.1/0/0.4/0.5, dsn={dsn}, status={status} (250 ok)"
    return line(second, "smtp", f"{queue_id}: {to}relay={relay}, {said}")


def removed(second: int, queue_id: str) -> bytes:
    return line(second, "qmgr", f"{queue_id}: removed")


def clock(second: int) -> bytes:
    """A line that moves the log clock, so that rows leave."""
    return line(second, "anvil", "statistics: max cache size 1 at Nov  2 08:00:00")


def message(
    second: int, queue_id: str, sender: str, recipient: str, *, original: str = "", **more: Any
) -> list[bytes]:
    """The lines of a message that is delivered at once."""
    return [
        *opened(second, queue_id, sender, **more), attempt(second + 1, queue_id, recipient, original=original),
        removed(second + 1, queue_id),
    ]  # fmt: skip


def refused(second: int, sender: str, recipient: str) -> bytes:
    client = "RCPT from client.example.net[192.0.2.20]"
    said = f"552 5.2.2 <{recipient}>: Recipient address rejected: Mailbox is full"
    trailer = f"from=<{sender}> to=<{recipient}> proto=ESMTP helo=<h>"
    return line(second, "smtpd", f"NOQUEUE: reject: {client}: {said}; {trailer}")


def queue_ids() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{number:04X}A321867"


def written(path: Path, lines: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(one + b"\n" for one in lines))
    return path


def with_epochs(program: Program, *boundaries: int, destroyed: Sequence[int] = ()) -> Program:
    """Give the keyring epochs that began in the past."""
    settings = config.load(program.config)
    ring, secret = keyring.unlock(settings.keyring, settings.seal)
    for boundary in boundaries:
        ring = ring.rotated(boundary).as_of(int(time.time()))
    for number in destroyed:
        ring = ring.without(number)
    keyring.save(ring, settings.keyring, secret)
    return program
