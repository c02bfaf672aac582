"""Parses what follows "QID: " in a record: text -> event.

Law 1: raw text lives for one call. An event holds pseudonyms, numbers, times and words of closed lists. Texts are
read anchored, left to right and quote-aware; whatever does not fit is not understood (None) and dropped.
Each pattern names the Postfix source that prints the line.
"""

import re
from collections.abc import Callable
from typing import Any

from sink.core import values
from sink.core.addressbook import NOBODY, AddressBook, Party, SenderFact
from sink.core.facts import (
    ACTIVE,
    CLIENT,
    END,
    FILTER,
    FORWARD,
    MESSAGE_ID,
    NOTIFICATION,
    PARENT,
    PICKUP_SENDER,
    PROBE,
    PROXY,
    REQUEUE,
    RESENT_ID,
    SEEN,
    SENDER,
    UID,
)
from sink.core.grammar import PRESENCE
from sink.core.headers import ADDRESS, Facts, HeaderReader
from sink.core.pseudonym import NONE, Pseudonyms
from sink.core.queueid import LEAST, MOST, is_queue_id
from sink.core.reasons import Classifier
from sink.core.refusals import Refusal, RefusalReader
from sink.core.relays import LOOPBACK, Networks, Relays, plain_address
from sink.core.rules import Rules

# A delivery attempt: (recipient or None, original recipient or NOBODY, status, delay in seconds, delays a/b/c/d, DSN,
# reply code, reason, relay, relay kind, next queue id, link or 0); what is absent is "" or NONE
Attempt = tuple[
    Party | None, Party, str, float | str, str, str, int | str, str, bytes, str, bytes, int,
]  # fmt: skip
Link = tuple[int, bytes]  # (link, queue id that the message was handed to)
Event = tuple[Facts, Attempt | None, Refusal | None, Link | None]
Handler = Callable[[bytes, str | None, bytes], Event | None]

STATUSES = {  # bounce_append(), defer_append(), verify_append(), sent() [src/global]; SOFTBOUNCE: soft_bounce of old
    name.encode(): name.lower()
    for name in """sent deferred bounced expired force-expired deliverable undeliverable undeliverable-but-not-cached
    SOFTBOUNCE softbounce filtered relayed discarded""".split()
}
PROBES = frozenset({"deliverable", "undeliverable", "undeliverable-but-not-cached"})
DELIVERED = frozenset({"sent", "deliverable"})
CODES = {b"%d" % code: code for code in range(200, 600)}  # reply codes
MOST_NUMBERS = 4_096
SESSION = b"NOQUEUE/"  # what stands for a queue id where smtpd proxies and has none

# log_adhoc() [src/global/log_adhoc.c], in its own order; other orders go the slow way
_DELIVERY = re.compile(
    rb"to=" + ADDRESS + rb", (?:orig_to=" + ADDRESS + rb", )?relay=([^,]++), (?:conn_use=\d++, )?"
    rb"delay=([\d.]++), (?:delays=([\d./]++), )?(?:tls=[^,]*+, )?(?:dsn=([\d.]++), )?status=([A-Za-z-]++)",
    re.DOTALL,
)
QUEUED_FIELDS = 3  # from, size, nrcpt
PLAIN_FIELDS = 6  # to, relay, delay, delays, dsn, status
_RECIPIENT = re.compile(rb"to=(?:" + ADDRESS + rb"|([^<, ][^, ]*+))(?:, orig_to=(?:" + ADDRESS + rb"|([^<, ][^, ]*+)))?,? ", re.DOTALL)
_STATUS = re.compile(rb"([A-Za-z-]++)(.*+)", re.DOTALL)
_DELAYS = re.compile(rb"(?:0|[1-9]\d{0,8})(?:\.\d{1,6})?(?:/(?:0|[1-9]\d{0,8})(?:\.\d{1,6})?){3}")
_DELAY = re.compile(rb"\d{1,9}(?:\.\d{1,6})?")
_DSN = re.compile(rb"[245]\.\d{1,3}\.\d{1,3}")
_SAID = re.compile(rb"\((?:host [^ ]*+ (?:said|refused to talk to me): )?([245]\d\d)[ -]")
# qmgr_active_feed(), qmgr_message_... [src/qmgr/qmgr_active.c, qmgr_message.c]
_QUEUED = re.compile(rb"from=(?:" + ADDRESS + rb"|([^<, ]++)), size=(\d{1,15}), nrcpt=(\d{1,9}) \(queue active\)", re.DOTALL)
_EXPIRED = re.compile(rb"from=(?:" + ADDRESS + rb"|([^<, ]++)), status=(expired|force-expired), returned to sender", re.DOTALL)
# cleanup_message_id() [src/cleanup/cleanup_message.c]: a plain one; any other goes through values.message_id()
_MESSAGE_ID = re.compile(rb"message-id=<([^<>?\s\0-\x20\x7f-\xff]++)>")
# smtpd's mail_open_stream() and qmqpd's [src/smtpd/smtpd.c, src/qmqpd/qmqpd.c]
_CLIENT = re.compile(rb"client=([^\[\s]*+)\[([^\]\s]++)\](?::\d{1,5})?(.*+)", re.DOTALL)
_SASL = re.compile(rb", sasl_method=[^,]*+")
_ORIGINAL = re.compile(rb"(?:, orig_queue_id=([^,]*+))?(?:, orig_client=[^\[\s]*+\[([^\]\s]++)\](?::\d{1,5})?)?", re.DOTALL)
# pickup_service() [src/pickup/pickup.c]
_PICKUP = re.compile(rb"uid=\d{1,10} from=(?:" + ADDRESS + rb"|([^< ]++))(?: orig_id=([0-9A-Za-z]{5,20}))?", re.DOTALL)
# bounce_notify_*() [src/bounce]
_NOTIFIED = re.compile(
    rb"(?:sender|postmaster) (?:non-delivery|delay|delivery status) notification: ([0-9A-Za-z]{5,20})"
)
# smtpd_proxy.c: the reply of the proxy to the end of the message
_ACCEPTED = re.compile(rb"proxy-accept: END-OF-MESSAGE: [^;]*?queued as ([0-9A-Za-z]{5,20})(?:[;) ]|\Z)")

# extract_addr() [src/smtpd/smtpd.c]: a warning is all it logs of a refused MAIL or RCPT; the reply is a constant
BAD_SYNTAX = b"warning: Illegal address syntax from "
_BAD_SYNTAX = re.compile(BAD_SYNTAX + rb"[^ ]++ in (MAIL|RCPT) command: <?+(.*?)>?\Z", re.DOTALL)
_BAD_SYNTAX_DSN = {b"MAIL": "5.1.7", b"RCPT": "5.1.3"}

_SEEN: Facts = ((SEEN, 0),)
_ENDED: Facts = ((END, 0),)
NOTHING: Event = (_SEEN, None, None, None)
ENDED: Event = (_ENDED, None, None, None)


def _said(said: bytes) -> bytes:
    """Return the reply code of b"(550 ..." or b"(host x said: 550 ...", b"" where there is none."""
    match = _SAID.match(said)
    return match[1] if match else b""


class Parser:
    """Parses the texts of one epoch's messages."""

    def __init__(self, pseudonyms: Pseudonyms, rules: Rules) -> None:
        self.pseudonyms = pseudonyms
        self._numbers: dict[bytes | None, Any] = {}
        self._trusted = Networks(rules.trusted_networks)
        self.book = AddressBook(pseudonyms, rules)
        self._relays = Relays(pseudonyms.relay, rules)
        self._headers = HeaderReader(self.book, pseudonyms.message_id, rules.header_tokens)
        self._reasons = Classifier(rules)
        self._refusals = RefusalReader(self.book, self._reasons)
        self._clients: dict[bytes, tuple[str, int]] = {}
        # by the first four bytes; a whole word is checked by the pattern
        self.handlers: dict[bytes, Handler] = {
            b"to=<": self.delivery, b"from": self.sender, b"clie": self.client, b"mess": self.message_id,
            b"rese": self.resent_id, b"remo": self.removed, b"uid=": self.pickup, b"info": self.header,
            b"milt": self.milter, b"reje": self.refused, b"prox": self.proxied, b"send": self.notified,
            b"post": self.notified, b"requ": self.requeued, b"disc": self.discarded, b"warn": self.misspelt,
        }  # fmt: skip

    def parse(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Return the event of the text after "QID: ", None where it is not understood."""
        handler = self.handlers.get(text[:4])
        event = None if handler is None else handler(host, daemon, text)
        return event or self.parse_rest(host, daemon, text)

    def parse_rest(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Return the event of a text that no handler understood."""
        if text.startswith(b"to="):
            return self.delivery(host, daemon, text)
        return NOTHING if text.partition(b" ")[0] in PRESENCE else None

    def delivery(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
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
        numbers = self._numbers
        seconds, parts, enhanced = numbers.get(delay), numbers.get(delays), numbers.get(dsn)
        if seconds is None or parts is None or enhanced is None:
            seconds, parts, enhanced = self._number(delay), self._number(delays), self._number(dsn)
        relay_name, relay_kind = self._relays.relay(relay)
        reason = "" if status in DELIVERED else self._reasons.classify(said, dsn or b"")
        link, next_id = 0, NONE
        # "... queued as QID)" and "(forwarded as QID)" end the line; whatever else a server says is no link.
        at = said.rfind(b"ed as ", -27)
        if at > 0:
            following = said[at + 6 :].rstrip(b")")
            before = said[at - 7 : at]
            if before.endswith((b" queu", b"forward")) and LEAST <= len(following) <= MOST and following.isalnum():
                link = FORWARD if before.endswith(b"d") else FILTER
                next_id = self.pseudonyms.queue_id(following)
        party = self.book.party
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

    def _number(self, field: bytes | None) -> Any:
        """Return a delay as seconds, delays a/b/c/d and an enhanced code as text; "" for what is none of them."""
        if len(self._numbers) >= MOST_NUMBERS:
            self._numbers.clear()
        found: float | str = ""
        if field and (_DELAYS.fullmatch(field) or _DSN.fullmatch(field)):
            found = field.decode("ascii")
        elif field and _DELAY.fullmatch(field):
            found = float(field)
        self._numbers[field] = found
        return found

    def sender(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read qmgr's `from=<…>, size=N, nrcpt=N (queue active)` and `from=<…>, status=expired, …`."""
        fields = text.split(b", ")
        if len(fields) == QUEUED_FIELDS and fields[2].endswith(b" (queue active)"):
            address, size, number = fields[0][6:-1], fields[1][5:], fields[2][6:-15]
            if (
                size.isdigit()
                and number.isdigit()
                and fields[0].find(b">") == len(address) + 6
                and b'"' not in address
                and text.startswith(b"from=<")
            ):
                return ((SENDER, self.book.sender(address)), (ACTIVE, (int(size), int(number)))), None, None, None
        match = _QUEUED.fullmatch(text)
        if match is not None:
            sender = self._sender(match[1], match[2])
            return ((SENDER, sender), (ACTIVE, (int(match[3]), int(match[4])))), None, None, None
        match = _EXPIRED.fullmatch(text)
        if match is None:
            return None
        sender = self._sender(match[1], match[2])
        status = match[3].decode("ascii")
        attempt = (None, NOBODY, status, "", "", "", "", "", NONE, "", NONE, 0)
        return ((SENDER, sender),), attempt, None, None

    def _sender(self, quoted: bytes | None, plain: bytes | None) -> SenderFact:
        return self.book.sender((quoted if quoted is not None else plain) or b"")

    def client(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read smtpd's `client=host[ip]` with SASL and XFORWARD attributes."""
        match = _CLIENT.fullmatch(text)
        if match is None:
            return None
        tail = match[3]
        origin, loopback = self._origin(match[2])
        if daemon == "qmqpd":
            origin = "qmqpd"
        submitter: tuple[bytes, bytes] = (NONE, NONE)
        links: Facts = ()
        if tail:
            sasl = _SASL.match(tail)
            rest = tail[sasl.end() :] if sasl else tail
            user, named, sasl_sender = rest.removeprefix(b", sasl_username=").partition(b", sasl_sender=")
            if rest.startswith(b", sasl_username="):
                origin, submitter = "sasl", self.book.party(user)[:2]
            elif rest.startswith(b", sasl_sender=") or named or sasl:
                origin = "sasl"
            else:
                origin, links = self._forwarded(host, origin, rest)
                loopback = 1  # only hosts that smtpd_authorized_xforward_hosts names may say this
        return ((CLIENT, (origin, loopback, *submitter)), *links), None, None, None

    def _forwarded(self, host: bytes, origin: str, rest: bytes) -> tuple[str, Facts]:
        """Read XFORWARD's attributes: they name the client of the first pass, and its queue id."""
        match = _ORIGINAL.fullmatch(rest)
        if match is None:
            return origin, ()
        if match[2]:
            origin = self._origin(match[2])[0]
        parent = match[1]
        if not parent or not is_queue_id(parent):
            return origin, ()
        return origin, ((PARENT, (FILTER, self.pseudonyms.queue_id(parent))),)

    def _origin(self, address: bytes) -> tuple[str, int]:
        found = self._clients.get(address)
        if found is None:
            if len(self._clients) >= 8192:  # noqa: PLR2004 - cached clients, clear text in RAM only
                self._clients.clear()
            plain = plain_address(address)
            trusted = plain in self._trusted
            found = self._clients[address] = ("trusted" if trusted else "smtpd", int(trusted or plain in LOOPBACK))
        return found

    def pickup(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read pickup's `uid=N from=<…>`, with orig_id= after a requeue."""
        match = _PICKUP.fullmatch(text)
        if match is None:
            return None
        facts: Facts = ((UID, 0), (PICKUP_SENDER, self._sender(match[1], match[2])))
        if match[3]:
            facts = (*facts, (PARENT, (REQUEUE, self.pseudonyms.queue_id(match[3]))))
        return facts, None, None, None

    def message_id(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read cleanup's `message-id=…`; the rest of the line is the sender's text."""
        plain = _MESSAGE_ID.fullmatch(text)
        if plain is not None:
            return ((MESSAGE_ID, self.pseudonyms.message_id(plain[1])),), None, None, None
        if not text.startswith(b"message-id="):
            return None
        found = values.message_id(text[11:])
        return ((MESSAGE_ID, self.pseudonyms.message_id(found) if found else NONE),), None, None, None

    def resent_id(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read cleanup's `resent-message-id=…`."""
        if not text.startswith(b"resent-message-id="):
            return None
        found = values.message_id(text[18:])
        return (((RESENT_ID, self.pseudonyms.message_id(found)),) if found else _SEEN), None, None, None

    def removed(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read `removed` of qmgr and postsuper, `removed (canceled)` and `(discarded)` of cleanup 3.10."""
        return ENDED if text in (b"removed", b"removed (canceled)", b"removed (discarded)") else None

    def requeued(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read postsuper's `requeued`."""
        return ENDED if text == b"requeued" else None

    def discarded(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read `discard: …` of an access rule or of header_checks."""
        if not text.startswith(b"discard: "):
            return None
        return ENDED if daemon == "cleanup" else NOTHING

    def header(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read cleanup's `info: header Name: value from …`."""
        if not text.startswith(b"info: header "):
            return NOTHING if text.startswith(b"info: ") else None
        facts = self._headers.facts(text[13:], milter=False)
        return (facts or _SEEN), None, None, None

    def milter(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read `milter-header-info:`, `milter-reject:`, `milter-discard:` [src/cleanup/cleanup_milter.c]."""
        if text.startswith(b"milter-header-info: header "):
            facts = self._headers.facts(text[27:], milter=True)
            return (facts or _SEEN), None, None, None
        if text.startswith(b"milter-discard: "):
            return ENDED
        for word in (b"milter-reject: ", b"milter-header-reject: "):
            if text.startswith(word):
                return self._refusal(daemon, text[len(word) :])
        return None

    def refused(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read `reject: …`."""
        return self._refusal(daemon, text[8:]) if text.startswith(b"reject: ") else None

    def proxied(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read `proxy-reject: …` and `proxy-accept: END-OF-MESSAGE: … queued as QID`."""
        if text.startswith(b"proxy-reject: "):
            return self._refusal(daemon, text[14:])
        match = _ACCEPTED.match(text)
        if match is None:
            return NOTHING if text.startswith(b"proxy-accept: ") else None
        return (), None, None, (PROXY, self.pseudonyms.queue_id(match[1]))

    def _refusal(self, daemon: str | None, text: bytes) -> Event | None:
        refusal = self._refusals.read(text)
        if refusal is None:
            return None
        ends = daemon == "cleanup" or refusal[0] == "END-OF-MESSAGE"
        return (_ENDED if ends else _SEEN), None, refusal, None

    def misspelt(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read `warning: Illegal address syntax from client[ip] in RCPT command: …`, a refusal in disguise."""
        match = _BAD_SYNTAX.fullmatch(text)
        if match is None:
            return None
        stage, address = match[1].decode("ascii"), match[2]
        sender = self.book.sender(address) if stage == "MAIL" else None
        recipient = self.book.party(address) if stage == "RCPT" else None
        return _SEEN, None, (stage, 501, _BAD_SYNTAX_DSN[match[1]], sender, recipient, "syntax"), None

    def notified(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read bounce's `sender non-delivery notification: QID` and its kin."""
        match = _NOTIFIED.fullmatch(text)
        return (_SEEN, None, None, (NOTIFICATION, self.pseudonyms.queue_id(match[1]))) if match else None
