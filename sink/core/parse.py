"""Parses what follows "QID: " in a record: text -> event.

Law 1: raw text lives for one call. An event holds pseudonyms, numbers, times and words of closed lists. Texts are
read anchored, left to right and quote-aware; whatever does not fit is not understood (None) and dropped.
Each pattern names the Postfix source that prints the line.
"""

import re
from collections.abc import Callable
from functools import lru_cache

from sink.core import values
from sink.core.addressbook import NO_ADDRESS, AddressBook, SenderFact
from sink.core.deliveries import NO_HALVES, DeliveryReader, Event
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
from sink.core.tags import Program

Reading = Callable[[Program, bytes], Facts | None]  # of a line that gives facts and nothing else
Handler = Callable[[Program, bytes], Event | None]

SESSION = b"NOQUEUE/"  # what stands for a queue id where smtpd proxies and has none

# qmgr_active_feed(), qmgr_message_... [src/qmgr/qmgr_active.c, qmgr_message.c]
_FROM = rb"from=(?:" + ADDRESS + rb"|([^<, ]++)), "
QUEUED = re.compile(_FROM + rb"size=(\d{1,15}), nrcpt=(\d{1,9}) \(queue active\)", re.DOTALL).fullmatch
EXPIRED = re.compile(_FROM + rb"status=(expired|force-expired), returned to sender", re.DOTALL)
# cleanup_message_id() [src/cleanup/cleanup_message.c]: a plain one; any other goes through values.message_id()
PLAIN_ID = re.compile(rb"message-id=<([^<>?\s\0-\x20\x7f-\xff]++)>").fullmatch
# smtpd's mail_open_stream() and qmqpd's [src/smtpd/smtpd.c, src/qmqpd/qmqpd.c]
CLIENT_TEXT = re.compile(rb"client=([^\[\s]*+)\[([^\]\s]++)\](?::\d{1,5})?(.*+)", re.DOTALL)
_SASL = re.compile(rb", sasl_method=([^,]*+)")
ORIGINAL = re.compile(rb"(?:, orig_queue_id=([^,]*+))?(?:, orig_client=([^\[\s]*+)\[([^\]\s]++)\](?::\d{1,5})?)?")
# pickup_service() [src/pickup/pickup.c]
PICKUP = re.compile(
    rb"uid=(\d{1,10}) from=(?:" + ADDRESS + rb"|([^< ]++))(?: orig_id=([0-9A-Za-z]{5,20}))?", re.DOTALL
)
# bounce_notify_*() [src/bounce]
NOTIFIED = re.compile(
    rb"(?:sender|postmaster) (?:non-delivery|delay|delivery status) notification: ([0-9A-Za-z]{5,20})"
)
# smtpd_proxy.c: the reply of the proxy to the end of the message
ACCEPTED = re.compile(rb"proxy-accept: END-OF-MESSAGE: [^;]*?queued as ([0-9A-Za-z]{5,20})(?:[;) ]|\Z)")

# extract_addr() [src/smtpd/smtpd.c]: a warning is all it logs of a refused MAIL or RCPT; the reply is a constant
BAD_SYNTAX = b"warning: Illegal address syntax from "
SYNTAX = re.compile(BAD_SYNTAX + rb"([^ ]++) in (MAIL|RCPT) command: <?+(.*?)>?\Z", re.DOTALL)
_BAD_SYNTAX_DSN = {b"MAIL": "5.1.7", b"RCPT": "5.1.3"}

_SEEN: Facts = ((SEEN, 0),)
_ENDED: Facts = ((END, 0),)
NOTHING: Event = (_SEEN, None, None, None)
ENDED: Event = (_ENDED, None, None, None)
ENDS = frozenset({b"removed", b"removed (canceled)", b"removed (discarded)", b"requeued"})
MOST_CACHED = 1_024  # clients and senders, clear text in RAM only


def split_sasl(tail: bytes) -> tuple[bytes | None, bytes | None, bytes | None, bytes]:
    """Split what stands behind the client: (SASL method, user, sasl_sender=, the rest); None for what is not there."""
    sasl = _SASL.match(tail)
    rest = tail[sasl.end() :] if sasl else tail
    user, named, sender = rest.removeprefix(b", sasl_username=").partition(b", sasl_sender=")
    is_user = rest.startswith(b", sasl_username=")
    return sasl and sasl[1], user if is_user else None, sender if named else None, b"" if is_user or named else rest


class Parser:
    """Parses the texts of one epoch's messages.

    readers: by the word a text begins with, cut at " " or "=", of the lines that give facts and nothing else.
    """

    def __init__(self, pseudonyms: Pseudonyms, rules: Rules, epoch: int) -> None:
        self.epoch = epoch
        self.pseudonyms = pseudonyms
        self._trusted = Networks(rules.trusted_networks)
        self.book = AddressBook(pseudonyms, rules)
        self.headers = HeaderReader(self.book, pseudonyms.message_id, rules.header_tokens)
        self.reasons = reasons = Classifier(rules)
        self._refusals = RefusalReader(self.book, reasons)
        self._deliveries = DeliveryReader(pseudonyms, self.book, reasons, rules)
        self._origin = lru_cache(MOST_CACHED)(self._origin_of)
        self._read_client = lru_cache(MOST_CACHED)(self._client)
        self.readers: dict[bytes, Reading] = {
            b"from": self.queued, b"client": self.client, b"message-id": self.message_id, b"removed": self.removed,
            b"resent-message-id": self.resent_id, b"requeued": self.removed, b"uid": self.pickup,
            b"info:": self.header, b"milter-header-info:": self.milter_header,
        }  # fmt: skip
        self._handlers: dict[bytes, Handler] = {
            b"to": self._deliveries.read, b"from": self.expired, b"milter-reject:": self.refused,
            b"milter-header-reject:": self.refused, b"milter-discard:": self.discarded, b"reject:": self.refused,
            b"proxy-reject:": self.refused, b"proxy-accept:": self.accepted, b"sender": self.notified,
            b"postmaster": self.notified, b"discard:": self.discarded, b"warning:": self.misspelt,
        }  # fmt: skip

    def parse(self, program: Program, word: bytes, text: bytes) -> Event | None:
        """Return the event of the text after "QID: " and of its first word, None where it is not understood."""
        reading = self.readers.get(word)
        facts = None if reading is None else reading(program, text)
        return self.parse_rest(program, word, text) if facts is None else (facts, None, None, None)

    def parse_rest(self, program: Program, word: bytes, text: bytes) -> Event | None:
        """Return the event of a text that none of the readers understood."""
        handler = self._handlers.get(word)
        event = None if handler is None else handler(program, text)
        if event is None and text.partition(b" ")[0] in PRESENCE:
            return NOTHING
        return event

    def queued(self, program: Program, text: bytes) -> Facts | None:
        """Read qmgr's `from=<…>, size=N, nrcpt=N (queue active)`."""
        match = QUEUED(text)
        if match is None:
            return None
        quoted, plain, size, number = match.groups()
        sender = self.book.sender(plain if quoted is None else quoted)
        return (SENDER, sender), (ACTIVE, (int(size), int(number)))

    def expired(self, program: Program, text: bytes) -> Event | None:
        """Read qmgr's `from=<…>, status=expired, …`."""
        match = EXPIRED.fullmatch(text)
        if match is None:
            return None
        attempt = (NO_HALVES, None, 0, NONE, (match[3].decode("ascii"), "", "", "", "", "", ""))
        return ((SENDER, self._sender(match[1], match[2])),), attempt, None, None

    def _sender(self, quoted: bytes | None, plain: bytes | None) -> SenderFact:
        return self.book.sender((quoted if quoted is not None else plain) or b"")

    def client(self, program: Program, text: bytes) -> Facts | None:
        """Read smtpd's `client=host[ip]` with SASL and XFORWARD attributes."""
        return self._read_client(text, program.daemon == "qmqpd")

    def _client(self, text: bytes, is_qmqpd: bool) -> Facts | None:
        match = CLIENT_TEXT.fullmatch(text)
        if match is None:
            return None
        tail = match[3]
        origin, loopback = self._origin(match[2])
        if is_qmqpd:
            origin = "qmqpd"
        submitter = NO_ADDRESS
        links: Facts = ()
        if tail:
            sasl, user, named, rest = split_sasl(tail)
            if user is not None:
                origin, submitter = "sasl", self.book.party(user)[0]
            elif named is not None or sasl is not None:
                origin = "sasl"
            else:
                origin, links = self._forwarded(origin, rest)
                loopback = 1  # only hosts that smtpd_authorized_xforward_hosts names may say this
        return (CLIENT, (origin, loopback, submitter)), *links

    def _forwarded(self, origin: str, rest: bytes) -> tuple[str, Facts]:
        """Read XFORWARD's attributes: they name the client of the first pass, and its queue id."""
        match = ORIGINAL.fullmatch(rest)
        if match is None:
            return origin, ()
        if match[3]:
            origin = self._origin(match[3])[0]
        parent = match[1]
        if not parent or not is_queue_id(parent):
            return origin, ()
        return origin, ((PARENT, (FILTER, self.pseudonyms.queue_id(parent))),)

    def _origin_of(self, address: bytes) -> tuple[str, int]:
        plain = plain_address(address)
        trusted = plain in self._trusted
        return "trusted" if trusted else "smtpd", int(trusted or plain in LOOPBACK)

    def pickup(self, program: Program, text: bytes) -> Facts | None:
        """Read pickup's `uid=N from=<…>`, with orig_id= after a requeue."""
        match = PICKUP.fullmatch(text)
        if match is None:
            return None
        facts: Facts = ((UID, 0), (PICKUP_SENDER, self._sender(match[2], match[3])))
        if match[4]:
            facts = (*facts, (PARENT, (REQUEUE, self.pseudonyms.queue_id(match[4]))))
        return facts

    def message_id(self, program: Program, text: bytes) -> Facts | None:
        """Read cleanup's `message-id=…`; the rest of the line is the sender's text."""
        plain = PLAIN_ID(text)
        if plain is not None:
            return ((MESSAGE_ID, self.pseudonyms.message_id(plain[1])),)
        if not text.startswith(b"message-id="):
            return None
        found = values.message_id(text[11:])
        return ((MESSAGE_ID, self.pseudonyms.message_id(found) if found else NONE),)

    def resent_id(self, program: Program, text: bytes) -> Facts | None:
        """Read cleanup's `resent-message-id=…`."""
        if not text.startswith(b"resent-message-id="):
            return None
        found = values.message_id(text[18:])
        return ((RESENT_ID, self.pseudonyms.message_id(found)),) if found else _SEEN

    def removed(self, program: Program, text: bytes) -> Facts | None:
        """Read `removed` of qmgr and postsuper, cleanup's of 3.10, and postsuper's `requeued`."""
        return _ENDED if text in ENDS else None

    def header(self, program: Program, text: bytes) -> Facts | None:
        """Read cleanup's `info: header Name: value from …`."""
        if not text.startswith(b"info: header "):
            return _SEEN if text.startswith(b"info: ") else None
        return self.headers.facts(text[13:], milter=False) or _SEEN

    def milter_header(self, program: Program, text: bytes) -> Facts | None:
        """Read `milter-header-info: header Name: value …` [src/cleanup/cleanup_milter.c]."""
        if not text.startswith(b"milter-header-info: header "):
            return None
        return self.headers.facts(text[27:], milter=True) or _SEEN

    def discarded(self, program: Program, text: bytes) -> Event:
        """Read `discard: …` of an access rule or of header_checks, and `milter-discard: …`."""
        return ENDED if program.daemon == "cleanup" or text.startswith(b"milter-") else NOTHING

    def refused(self, program: Program, text: bytes) -> Event | None:
        """Read `reject: …`, `milter-reject: …`, `milter-header-reject: …` and `proxy-reject: …`."""
        refusal = self._refusals.read(text.partition(b": ")[2])
        if refusal is None:
            return None
        ends = program.daemon == "cleanup" or refusal[0] == "END-OF-MESSAGE"
        return (_ENDED if ends else _SEEN), None, refusal, None

    def accepted(self, program: Program, text: bytes) -> Event:
        """Read `proxy-accept: END-OF-MESSAGE: … queued as QID`."""
        match = ACCEPTED.match(text)
        return NOTHING if match is None else ((), None, None, (PROXY, self.pseudonyms.queue_id(match[1])))

    def misspelt(self, program: Program, text: bytes) -> Event | None:
        """Read `warning: Illegal address syntax from client[ip] in RCPT command: …`, a refusal in disguise."""
        match = SYNTAX.fullmatch(text)
        if match is None:
            return None
        stage, address = match[2].decode("ascii"), match[3]
        sender = self.book.sender(address) if stage == "MAIL" else None
        recipient = self.book.party(address) if stage == "RCPT" else None
        return _SEEN, None, (stage, 501, _BAD_SYNTAX_DSN[match[2]], sender, recipient, "syntax"), None

    def notified(self, program: Program, text: bytes) -> Event | None:
        """Read bounce's `sender non-delivery notification: QID` and its kin."""
        match = NOTIFIED.fullmatch(text)
        return (_SEEN, None, None, (NOTIFICATION, self.pseudonyms.queue_id(match[1]))) if match else None
