"""Parses what follows "QID: " in a record: text -> event.

Law 1: raw text lives for one call. An event holds pseudonyms, numbers, times and words of closed lists. Texts are
read anchored, left to right and quote-aware; whatever does not fit is not understood (None) and dropped.
Each pattern names the Postfix source that prints the line.
"""

import re
from collections.abc import Callable

from sink.core import values
from sink.core.addressbook import NOBODY, AddressBook, SenderFact
from sink.core.deliveries import DeliveryReader, Event
from sink.core.facts import (
    ACTIVE,
    CLIENT,
    END,
    FILTER,
    MESSAGE_ID,
    NOTIFICATION,
    PARENT,
    PICKUP_SENDER,
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
from sink.core.queueid import is_queue_id
from sink.core.reasons import Classifier
from sink.core.refusals import RefusalReader
from sink.core.relays import LOOPBACK, Networks, plain_address
from sink.core.rules import Rules

Handler = Callable[[bytes, str | None, bytes], Event | None]

SESSION = b"NOQUEUE/"  # what stands for a queue id where smtpd proxies and has none

MOST_DIGITS = 15  # of a size: a petabyte; SQLite's integers end at 18
QUEUED_FIELDS = 3  # from, size, nrcpt
# qmgr_active_feed(), qmgr_message_... [src/qmgr/qmgr_active.c, qmgr_message.c]
_FROM = rb"from=(?:" + ADDRESS + rb"|([^<, ]++)), "
_QUEUED = re.compile(_FROM + rb"size=(\d{1,15}), nrcpt=(\d{1,9}) \(queue active\)", re.DOTALL)
_EXPIRED = re.compile(_FROM + rb"status=(expired|force-expired), returned to sender", re.DOTALL)
# cleanup_message_id() [src/cleanup/cleanup_message.c]: a plain one; any other goes through values.message_id()
_MESSAGE_ID = re.compile(rb"message-id=<([^<>?\s\0-\x20\x7f-\xff]++)>")
# smtpd's mail_open_stream() and qmqpd's [src/smtpd/smtpd.c, src/qmqpd/qmqpd.c]
_CLIENT = re.compile(rb"client=([^\[\s]*+)\[([^\]\s]++)\](?::\d{1,5})?(.*+)", re.DOTALL)
_SASL = re.compile(rb", sasl_method=[^,]*+")
_ORIGINAL = re.compile(rb"(?:, orig_queue_id=([^,]*+))?(?:, orig_client=[^\[\s]*+\[([^\]\s]++)\](?::\d{1,5})?)?")
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


class Parser:
    """Parses the texts of one epoch's messages."""

    def __init__(self, pseudonyms: Pseudonyms, rules: Rules) -> None:
        self.pseudonyms = pseudonyms
        self._trusted = Networks(rules.trusted_networks)
        self.book = AddressBook(pseudonyms, rules)
        self._headers = HeaderReader(self.book, pseudonyms.message_id, rules.header_tokens)
        reasons = Classifier(rules)
        self._refusals = RefusalReader(self.book, reasons)
        self._deliveries = DeliveryReader(pseudonyms, self.book, reasons, rules)
        self._clients: dict[bytes, tuple[str, int]] = {}
        # by the first four bytes; a whole word is checked by the pattern
        self.handlers: dict[bytes, Handler] = {
            b"to=<": self._deliveries.read, b"from": self.sender, b"clie": self.client, b"mess": self.message_id,
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
            return self._deliveries.read(host, daemon, text)
        return NOTHING if text.partition(b" ")[0] in PRESENCE else None

    def sender(self, host: bytes, daemon: str | None, text: bytes) -> Event | None:
        """Read qmgr's `from=<…>, size=N, nrcpt=N (queue active)` and `from=<…>, status=expired, …`."""
        fields = text.split(b", ")
        if len(fields) == QUEUED_FIELDS and fields[2].endswith(b" (queue active)"):
            address, size, number = fields[0][6:-1], fields[1][5:], fields[2][6:-15]
            if (
                size.isdigit()
                and number.isdigit()
                and len(size) <= MOST_DIGITS >= len(number)
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
            user, named, _ = rest.removeprefix(b", sasl_username=").partition(b", sasl_sender=")
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
            if len(self._clients) >= 1024:
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
