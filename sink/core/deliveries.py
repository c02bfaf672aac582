"""Reads delivery lines: `to=<…>, … status=word (text)` -> one attempt.

Law 3: each of them gives exactly one row, whatever fields stand between and in whatever order, up to the first
status= behind the recipient; what stands in its parentheses is a server's text and may hold a whole forged line.
"""

import re
from typing import TypeVar

from sink.core.addressbook import NOBODY, AddressBook, Party
from sink.core.facts import FILTER, FORWARD, PROBE
from sink.core.headers import ADDRESS, Facts
from sink.core.pseudonym import NONE, Pseudonyms
from sink.core.queueid import LEAST, MOST
from sink.core.reasons import Classifier
from sink.core.refusals import Refusal
from sink.core.relays import Relays
from sink.core.rules import Rules

# A delivery attempt: (recipient or None, original recipient or NOBODY, status, delay in seconds, delays a/b/c/d, DSN,
# reply code, reason, relay, relay kind, next queue id, link or 0); what is absent is "" or NONE
Attempt = tuple[
    Party | None, Party, str, float | str, str, str, int | str, str, bytes, str, bytes, int,
]  # fmt: skip
T = TypeVar("T")
Link = tuple[int, bytes]  # (link, queue id that the message was handed to)
Event = tuple[Facts, Attempt | None, Refusal | None, Link | None]

STATUSES = {  # bounce_append(), defer_append(), verify_append(), sent() [src/global]; SOFTBOUNCE: soft_bounce of old
    name.encode(): name.lower()
    for name in """sent deferred bounced expired force-expired deliverable undeliverable undeliverable-but-not-cached
    SOFTBOUNCE softbounce filtered relayed discarded""".split()
}
PROBES = frozenset({"deliverable", "undeliverable", "undeliverable-but-not-cached"})
DELIVERED = frozenset({"sent", "deliverable"})
CODES = {b"%d" % code: code for code in range(200, 600)}  # reply codes
MOST_NUMBERS = 2_048

# log_adhoc() [src/global/log_adhoc.c], in its own order; other orders go the slow way
_DELIVERY = re.compile(
    rb"to=" + ADDRESS + rb", (?:orig_to=" + ADDRESS + rb", )?relay=([^,]++), (?:conn_use=\d++, )?"
    rb"delay=([\d.]++), (?:delays=([\d./]++), )?(?:tls=[^,]*+, )?(?:dsn=([\d.]++), )?status=([A-Za-z-]++)",
    re.DOTALL,
)
PLAIN_FIELDS = 6  # to, relay, delay, delays, dsn, status
_BARE = rb"|([^<, ][^, ]*+))"  # archives mask addresses without their <>
_RECIPIENT = re.compile(rb"to=(?:" + ADDRESS + _BARE + rb"(?:, orig_to=(?:" + ADDRESS + _BARE + rb")?,? ", re.DOTALL)
_STATUS = re.compile(rb"([A-Za-z-]++)(.*+)", re.DOTALL)
_DELAYS = re.compile(rb"(?:0|[1-9]\d{0,8})(?:\.\d{1,6})?(?:/(?:0|[1-9]\d{0,8})(?:\.\d{1,6})?){3}")
_DELAY = re.compile(rb"\d{1,9}(?:\.\d{1,6})?")
_DSN = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}")
_SAID = re.compile(rb"\((?:host [^ ]*+ (?:said|refused to talk to me): )?([245]\d\d)[ -]")


def _said(said: bytes) -> bytes:
    """Return the reply code of b"(550 ..." or b"(host x said: 550 ...", b"" where there is none."""
    match = _SAID.match(said)
    return match[1] if match else b""


class DeliveryReader:
    """Reads the delivery lines of one epoch's messages."""

    def __init__(self, pseudonyms: Pseudonyms, book: AddressBook, reasons: Classifier, rules: Rules) -> None:
        self._pseudonyms = pseudonyms
        self._book = book
        self._reasons = reasons
        self._relays = Relays(pseudonyms.relay, rules)
        self._seconds: dict[bytes | None, float | str] = {}
        self._texts: dict[bytes | None, str] = {}
        self._codes: dict[bytes | None, str] = {}

    def read(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read a delivery line, `to=<…>, … status=word (text)`."""
        # Six fields in log_adhoc()'s own order, no quote: four of five lines. Splitting costs a fourth of the pattern.
        fields = text.split(b", ", 5)
        if len(fields) == PLAIN_FIELDS:
            to, relay, delay, delays, dsn, last = fields
            status, _, said = last.partition(b" ")
            if (
                to.find(b">") == len(to) - 1
                and b'"' not in to
                and relay.startswith(b"relay=")
                and delay.startswith(b"delay=")
                and delays.startswith(b"delays=")
                and dsn.startswith(b"dsn=")
                and status.startswith(b"status=")
            ):
                code = said[1:4] if said.startswith((b"(2", b"(4", b"(5")) else _said(said)
                return self._attempt(
                    host, to[4:-1], None, relay[6:], delay[6:], delays[7:], dsn[4:], status[7:], code, said
                )
        match = _DELIVERY.match(text)
        if match is None:
            return self._unordered(host, text)
        to, original, relay, delay, delays, dsn, status = match.groups()
        said = text[match.end() + 1 :]
        return self._attempt(host, to, original, relay, delay, delays, dsn, status, _said(said), said)

    def _unordered(self, host: bytes, text: bytes) -> Event | None:
        """Read a delivery line whose fields come in another order, or with others among them."""
        found = _RECIPIENT.match(text)
        if found is None:
            return None
        # Up to the first status=: what stands in its parentheses may hold a whole forged line.
        fields, equals, rest = text[found.end() - 1 :].partition(b" status=")
        status = _STATUS.match(rest)
        if not equals or status is None:
            return None
        named = dict(field.split(b"=", 1) for field in fields.replace(b",", b" ").split() if b"=" in field)
        to = found[2] if found[1] is None else found[1]
        original = found[4] if found[3] is None else found[3]
        get = named.get
        said = status[2].removeprefix(b" ")
        return self._attempt(
            host, to, original, get(b"relay", b"none"), get(b"delay"), get(b"delays"), get(b"dsn"), status[1],
            _said(said), said,
        )  # fmt: skip

    def _attempt(
        self, host: bytes, to: bytes, original: bytes | None, relay: bytes, delay: bytes | None,
        delays: bytes | None, dsn: bytes | None, word: bytes, code: bytes, said: bytes,
    ) -> Event | None:  # fmt: skip
        """Return the event of an attempt's fields; said is the text behind the status."""
        status = STATUSES.get(word)
        if status is None:
            return None
        # Their vocabularies are small: two digits of a delay, a hundred codes.
        seconds = self._seconds.get(delay)
        if seconds is None:
            seconds = self._remember(self._seconds, delay, float(delay) if delay and _DELAY.fullmatch(delay) else "")
        parts = self._texts.get(delays)
        if parts is None:
            shown = delays.decode("ascii") if delays and _DELAYS.fullmatch(delays) else ""
            parts = self._remember(self._texts, delays, shown)
        enhanced = self._codes.get(dsn)
        if enhanced is None:
            enhanced = self._remember(self._codes, dsn, dsn.decode("ascii") if dsn and _DSN.fullmatch(dsn) else "")
        relay_name, relay_kind = self._relays.relay(relay)
        reason = "" if status in DELIVERED else self._reasons.classify(said, dsn or b"", CODES.get(code, ""))
        link, next_id = 0, NONE
        # "... queued as QID)" and "(forwarded as QID)" end the line; whatever else a server says is no link.
        at = said.rfind(b"ed as ", -27) if status == "sent" else -1
        if at > 0:
            following = said[at + 6 :].rstrip(b")")
            before = said[at - 7 : at]
            if before.endswith((b" queu", b"forward")) and LEAST <= len(following) <= MOST and following.isalnum():
                link = FORWARD if before.endswith(b"d") else FILTER
                next_id = self._pseudonyms.queue_id(following)
        party = self._book.party
        attempt = (
            party(to),
            NOBODY if original is None else party(original),
            status,
            seconds,
            parts,
            enhanced,
            CODES.get(code, ""),
            reason,
            relay_name,
            relay_kind,
            next_id,
            link,
        )
        facts: Facts = ((PROBE, 1),) if status in PROBES else ()
        return facts, attempt, None, (link, next_id) if link else None

    @staticmethod
    def _remember(known: dict[bytes | None, T], field: bytes | None, value: T) -> T:
        if len(known) >= MOST_NUMBERS:
            known.clear()
        known[field] = value
        return value
