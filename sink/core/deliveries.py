"""Reads delivery lines: `to=<…>, … status=word (text)` -> one attempt.

Law 3: each of them gives exactly one row, whatever fields stand between and in whatever order, up to the first
status= behind the recipient; what stands in its parentheses is a server's text and may hold a whole forged line.
"""

import re
from functools import lru_cache

from sink.core.addressbook import NO_ADDRESS, AddressBook, Party
from sink.core.facts import FILTER, FORWARD, PROBE
from sink.core.headers import ADDRESS, Facts
from sink.core.pseudonym import NONE, Pseudonyms
from sink.core.queueid import LEAST, MOST
from sink.core.reasons import Classifier
from sink.core.refusals import Refusal
from sink.core.relays import NO_RELAY, Relay, Relays
from sink.core.rules import Rules
from sink.core.tags import Program

# A delivery attempt: (recipient, original recipient, relay and next queue id side by side; whether the recipient is
# local, None: it has none; link or 0; next queue id; (status, delay in seconds, delays a/b/c/d, DSN, reply code,
# reason, relay kind)); what is absent is "" or NONE
Attempt = tuple[bytes, bool | None, int, bytes, tuple[str, float | str, str, str, int | str, str, str]]
Link = tuple[int, bytes]  # (link, queue id that the message was handed to)
Event = tuple[Facts, Attempt | None, Refusal | None, Link | None]
NO_HALVES = NO_ADDRESS + NO_ADDRESS + NONE + NONE

STATUSES = {  # bounce_append(), defer_append(), verify_append(), sent() [src/global]; SOFTBOUNCE: soft_bounce of old
    name.encode(): name.lower()
    for name in """sent deferred bounced expired force-expired deliverable undeliverable undeliverable-but-not-cached
    SOFTBOUNCE softbounce filtered relayed discarded""".split()
}
PROBES = frozenset({"deliverable", "undeliverable", "undeliverable-but-not-cached"})
PROBED: Facts = ((PROBE, 1),)
NO_FACTS: Facts = ()
MOST_CACHED = 2_048  # fields of a line, clear text in RAM only
LONGEST_LINK = 27  # bytes from the "ed as " before a queue id to the line's end

# log_adhoc() [src/global/log_adhoc.c], in its own order; other orders go the slow way
TO = re.compile(rb"to=" + ADDRESS, re.DOTALL).fullmatch
_TIME = rb"\d{1,9}(?>(?:\.\d{1,6})?)"
_NUMBER = rb"(?:0|[1-9]\d{0,8})(?>(?:\.\d{1,6})?)"
_FOUR = _NUMBER + rb"(?:/" + _NUMBER + rb"){3}"
_ENHANCED = rb"[245]\.\d{1,3}\.\d{1,3}"
_REPLY = rb"\((?>(?:host [^ ]*+ (?:said|refused to talk to me): )?)([245]\d\d)[ -]"
PLAIN = re.compile(
    rb"delay=(" + _TIME + rb"), delays=(" + _FOUR + rb"), dsn=(" + _ENHANCED + rb"), status=([A-Za-z-]++)"
    rb"(?= (?>(?:" + _REPLY + rb")?)) (.*+)",
    re.DOTALL,
).fullmatch
DELIVERY = re.compile(
    rb"to=" + ADDRESS + rb", (?:orig_to=" + ADDRESS + rb", )?relay=([^,]++), (?:conn_use=\d++, )?"
    rb"delay=([\d.]++), (?:delays=([\d./]++), )?(?:tls=([^,]*+), )?(?:dsn=([\d.]++), )?status=([A-Za-z-]++)",
    re.DOTALL,
)
_BARE = rb"|([^<, ][^, ]*+))"  # archives mask addresses without their <>
RECIPIENT = re.compile(rb"to=(?:" + ADDRESS + _BARE + rb"(?:, orig_to=(?:" + ADDRESS + _BARE + rb")?,? ", re.DOTALL)
STATUS = re.compile(rb"([A-Za-z-]++)(.*+)", re.DOTALL)
DELAYS, DELAY, DSN, SAID_CODE = (re.compile(part) for part in (_FOUR, _TIME, _ENHANCED, _REPLY))
# what a peer said, and to which command [smtp_trouble.c, smtp_chat.c]
PEER_SAID = re.compile(
    rb"(delivery temporarily suspended: )?(?:host ([^ ]*+) (said|refused to talk to me): )?(.*+)", re.DOTALL
).fullmatch


Unordered = tuple[re.Match[bytes], dict[bytes, bytes], re.Match[bytes]]


def unordered(text: bytes) -> Unordered | None:
    """Take a delivery line apart whose fields come in any order: (RECIPIENT's match, fields by name, STATUS's)."""
    found = RECIPIENT.match(text)
    if found is None:
        return None
    # Up to the first status=: what stands in its parentheses may hold a whole forged line.
    fields, equals, rest = text[found.end() - 1 :].partition(b" status=")
    status = STATUS.match(rest)
    if not equals or status is None:
        return None
    return found, dict(field.split(b"=", 1) for field in fields.replace(b",", b" ").split() if b"=" in field), status


class DeliveryReader:
    """Reads the delivery lines of one epoch's messages."""

    def __init__(self, pseudonyms: Pseudonyms, book: AddressBook, reasons: Classifier, rules: Rules) -> None:
        self._pseudonyms = pseudonyms
        self._book = book
        self._reasons = reasons
        self._relays = Relays(pseudonyms.relay, rules)
        self._to = lru_cache(MOST_CACHED)(self._to_field)
        self._relay = lru_cache(MOST_CACHED)(self._relay_field)

    def _to_field(self, field: bytes) -> Party | None:
        match = TO(field)
        return self._book.party(match[1]) if match else None

    def _relay_field(self, field: bytes) -> Relay | None:
        return self._relays.read(field[6:]) if field.startswith(b"relay=") else None

    def read(self, program: Program, text: bytes) -> Event | None:
        """Read a delivery line, `to=<…>, … status=word (text)`."""
        # Fields in log_adhoc()'s own order, no ", " in the address: four of five lines.
        fields = text.split(b", ", 2)
        if len(fields) == 3:
            party, relay, plain = self._to(fields[0]), self._relay(fields[1]), PLAIN(fields[2])
            if party is not None and relay is not None and plain is not None:
                delay, delays, dsn, word, code, said = plain.groups()
                return self._attempt(party, NO_ADDRESS, relay, float(delay), delays, dsn, word, code, said)
        match = DELIVERY.match(text)
        if match is None:
            return self._unordered(text)
        to, original, hop, delay, delays, _, dsn, word = match.groups()
        said = text[match.end() + 1 :]
        return self._checked(to, original, hop, delay, delays, dsn, word, said)

    def _unordered(self, text: bytes) -> Event | None:
        """Read a delivery line whose fields come in another order, or with others among them."""
        parts = unordered(text)
        if parts is None:
            return None
        found, named, status = parts
        to = found[2] if found[1] is None else found[1]
        original = found[4] if found[3] is None else found[3]
        get = named.get
        said = status[2].removeprefix(b" ")
        hop = get(b"relay", b"none")
        return self._checked(to, original, hop, get(b"delay"), get(b"delays"), get(b"dsn"), status[1], said)

    def _checked(
        self, to: bytes, original: bytes | None, hop: bytes, delay: bytes | None, delays: bytes | None,
        dsn: bytes | None, word: bytes, said: bytes,
    ) -> Event | None:  # fmt: skip
        """Return the event of an attempt's fields, of which none but the status need be right."""
        party = self._book.party
        code = SAID_CODE.match(said)
        return self._attempt(
            party(to),
            NO_ADDRESS if original is None else party(original)[0],
            self._relay(b"relay=" + hop) or NO_RELAY,
            float(delay) if delay and DELAY.fullmatch(delay) else "",
            delays if delays and DELAYS.fullmatch(delays) else b"",
            dsn if dsn and DSN.fullmatch(dsn) else b"",
            word,
            code[1] if code else None,
            said,
        )

    def _attempt(
        self, party: Party, original: bytes, relay: Relay, delay: float | str, delays: bytes, dsn: bytes, word: bytes,
        code: bytes | None, said: bytes,
    ) -> Event | None:  # fmt: skip
        """Return the event of an attempt; said is the text behind the status."""
        status = STATUSES.get(word)
        if status is None:
            return None
        number: int | str = "" if code is None else int(code)
        next_id, link, facts, reason = NONE, None, NO_FACTS, ""
        if status == "sent":
            # "... queued as QID)" and "(forwarded as QID)" end the line; whatever else a server says is no link.
            link = self._link(said) if b"ed as " in said[-LONGEST_LINK:] else None
            if link is not None:
                next_id = link[1]
        elif status != "deliverable":
            reason = self._reasons.classify(said, dsn, number)
        if status in PROBES:
            facts = PROBED
        name, kind = relay
        address, local = party
        return facts, (
            address + original + name + next_id,
            local,
            0 if link is None else link[0],
            next_id,
            (status, delay, delays.decode("ascii"), dsn.decode("ascii"), number, reason, kind),
        ), None, link  # fmt: skip

    def _link(self, said: bytes) -> Link | None:
        kind, following = linked(said)
        return (kind, self._pseudonyms.queue_id(following)) if kind else None


def linked(said: bytes) -> tuple[int, bytes]:
    """Return (link, queue id that the message was handed to) of a text that ends in "queued as QID)", else (0, b"")."""
    at = said.rfind(b"ed as ")
    following = said[at + 6 :].rstrip(b")")
    before = said[max(at - 7, 0) : at]
    if before.endswith((b" queu", b"forward")) and LEAST <= len(following) <= MOST and following.isalnum():
        return FORWARD if before.endswith(b"d") else FILTER, following
    return 0, b""
