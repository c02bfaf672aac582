"""Shows values of a log line as pseudonyms in the line's own shape; for `scrub`.

Rules: what comes out is made of a digest and constants alone, never of a part of the value; the same value gives the
same pseudonym as in the rows (rows.shown()), and reads as what it was: an address as an address, a queue id as a
queue id, so that tools of mail logs, and our own parser, go on.

IP addresses lie where no host has one. IPv4: 240.0.0.0/4, reserved for ever [RFC 1112 4]; the documentation ranges
hold 768 addresses and 198.18.0.0/15 131,072, where of 430 clients two would likely be one. 27 bits stay for the
addresses that the config does not name: of 14,000 clients two may be one, and such pairs are told apart by nothing.
IPv6: fd00::/8 (RFC 4193), 118 bits. Neither keeps a prefix: two hosts of one network are strangers. Which of the
config's networks an address is of does show, since `is_outgoing` hangs on it, and loopback stays as it is.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from sink.core import values
from sink.core.addressbook import AddressBook
from sink.core.addresses import normal, split
from sink.core.pseudonym import NONE, WIDTH, Pseudonyms
from sink.core.queueid import LONG, birth, coarse, is_queue_id
from sink.core.relays import LOOPBACK, PEER, Networks, plain_address
from sink.core.rules import Rules

Mask = Callable[[bytes], bytes]

WHOLE = 32  # hex digits of a pseudonym
OF_A_SPELLING = 8
IN_A_QUEUE_ID = 12  # of them in a queue id: 48 bits, as many as a short one has itself
MOST_CACHED = 4_096  # values, clear text in RAM only
NO_ID = b"<>"
DOMAIN_OF_IDS = b"@id.invalid"  # RFC 2606: no host has such a name
# Names that are everybody's, as Postfix prints them where it knows no better [src/smtpd/smtpd_peer.c].
NOBODYS = frozenset({b"", b"unknown", b"localhost", b"localhost.localdomain", b"local", b"none"})

# Sixteen digits that base 52 has, in the place of hexadecimal ones: it has no vowels.
_TO_BASE_52 = bytes.maketrans(b"abcdef", b"BCDFGH")
# the first bits of an IPv4 address, and how many are left; by (trusted, internal)
_FOUR = {(False, False): (0xF0, 27), (True, False): (0xF8, 26), (False, True): (0xFC, 25), (True, True): (0xFE, 24)}
_SIX = {(False, False): 0x00, (True, False): 0x40, (False, True): 0x80, (True, True): 0xC0}


def not_understood(text: bytes) -> bytes:
    """Return what stands in the place of a text that nobody knows."""
    return b"[not understood: %d bytes]" % len(text)


class Masks:
    """The masks of one epoch: each takes a value as logged and gives what stands in its place.

    digits: of each half of an address, and of any other pseudonym, for reading.
    """

    def __init__(self, pseudonyms: Pseudonyms, book: AddressBook, rules: Rules, digits: int = WHOLE) -> None:
        self._pseudonyms = pseudonyms
        self._book = book
        self._digits = digits
        self._form = rules.form
        self._plain_ids = rules.plain_queue_id
        self._trusted = Networks(rules.trusted_networks)
        self._internal = Networks(rules.internal_networks)
        cached = lru_cache(MOST_CACHED)
        self.address: Mask = cached(self._address)
        self.sender: Mask = cached(self._sender)
        self.host: Mask = cached(self._host)
        self.ip: Mask = cached(self._ip)
        self.queue_id: Mask = cached(self._queue_id)
        self.peer: Mask = cached(self._peer)
        self.relay: Mask = cached(self._relay)
        self.thing: Mask = cached(self._thing)

    def _hex(self, digest: bytes) -> bytes:
        return digest.hex()[: self._digits].encode("ascii")

    def shown(self, address: bytes, spelling: bytes = b"") -> bytes:
        """Return an address's pseudonym as the views show it; spelling: what stands behind the user."""
        user, domain = address[:WIDTH], address[WIDTH:]
        if domain != NONE:
            return self._hex(user) + spelling + b"@" + self._hex(domain)
        return b"" if user == NONE else self._hex(user) + spelling

    def _address(self, raw: bytes) -> bytes:
        """Show an address; "+" and some digits say that it was written otherwise than in normal form.

        Else tools would count one recipient where they counted alice+news@ and alice+bills@, and lines that differ
        in no more would be one line. Our normal form cuts it off again; where it keeps details there is none.
        """
        local = normal(raw, self._form)[0]
        same = not self._form.cut_detail or split(raw)[0] == local
        return self.shown(self._book.party(raw)[0], b"" if same else b"+" + self._spelling(raw))

    def _spelling(self, raw: bytes) -> bytes:
        """Tell spellings of one address apart."""
        return self._pseudonyms.spelling(raw).hex()[:OF_A_SPELLING].encode("ascii")

    def _sender(self, raw: bytes) -> bytes:
        """Show an envelope sender; one that was encoded is encoded again, by a scheme that says as much."""
        kind, sender, member, is_list = self._book.sender(raw)
        shown = self.shown(sender)
        if kind in ("plain", "bare", "null"):
            return shown
        user, _, domain = shown.partition(b"@")
        person, _, host = self.shown(member).partition(b"@")
        mark = self._spelling(raw) if self._form.cut_detail else b"0" * OF_A_SPELLING
        if kind == "verp" or is_list or person:
            user = _encoded(user, person, host, mark, bool(is_list))
        if kind == "srs":
            return b"SRS0=%b=0=%b=%b@%b" % (mark, domain, user, self._domain_of(raw))
        return b"prvs=%b=%b@%b" % (mark, user, domain) if kind == "batv" else user + b"@" + domain

    def _domain_of(self, raw: bytes) -> bytes:
        return self.address(raw).rpartition(b"@")[2]

    def _host(self, raw: bytes) -> bytes:
        """Show a host name, by the key that the rows' column relay has."""
        name = raw.lower().rstrip(b".")
        if name in NOBODYS:
            return name
        if name.startswith(b"[") and name.endswith(b"]"):
            return b"[" + self.ip(name[1:-1]) + b"]"
        return b"h-" + self._hex(self._pseudonyms.relay(name)) + b".invalid"

    def _ip(self, raw: bytes) -> bytes:
        text = plain_address(raw)
        if text == "unknown":
            return b"unknown"
        try:
            address = ip_address(text)
            canonical = str(address).encode("ascii")
        except ValueError:
            address, canonical = IPv4Address(0), raw  # a masked one of an archive
        if text in LOOPBACK:
            return str(address).encode("ascii")
        digest = self._pseudonyms.ip(canonical)
        kind = (text in self._trusted, text in self._internal)
        if isinstance(address, IPv6Address):
            first = _SIX[kind] | digest[0] & 0x3F
            return str(IPv6Address(bytes((0xFD, first)) + digest[1:15])).encode("ascii")
        begin, bits = _FOUR[kind]
        number = int.from_bytes(digest[:4], "big") & ((1 << bits) - 1)
        return str(IPv4Address(begin << 24 | number)).encode("ascii")

    def _peer(self, raw: bytes) -> bytes:
        """Show host[ip], host[ip]:port, [ip]:port or host[path]; a name alone is a host."""
        match = PEER.match(raw)
        if match is None:
            return self.host(raw)
        host, inside = match.groups()
        if b"/" in inside:
            return b"%b[%b]" % (self.host(host), inside if inside in SOCKETS else b"private/socket")
        return b"%b[%b]%b" % (self.host(host), self.ip(inside), raw[match.end(2) + 1 :])

    def _relay(self, raw: bytes) -> bytes:
        """Show the value of relay=, as sink.core.relays reads it."""
        if PEER.match(raw) is not None:
            return self.peer(raw)
        if b"." not in raw:
            return raw if raw in SERVICES else b"pipe"
        return b"h-" + self._hex(self._pseudonyms.relay(raw.lower())) + b".invalid"

    def _queue_id(self, raw: bytes) -> bytes:
        """Show a queue id by the first digits of the rows' pseudonym: long ones in base 52 and as old as they were."""
        if self._plain_ids:
            return raw
        digits = self._pseudonyms.queue_id(raw).hex()[:IN_A_QUEUE_ID].encode("ascii")
        if LONG(raw) is None:
            return digits.upper()
        shown = digits.translate(_TO_BASE_52)
        return coarse(birth(raw)) + shown[:4] + b"z" + shown[4:]

    def message_id(self, normal: bytes) -> bytes:
        """Show a message-id in normal form."""
        return b"<" + self._hex(self._pseudonyms.message_id(normal)) + DOMAIN_OF_IDS + b">"

    def dropped(self, raw: bytes) -> bytes:
        """Show that there was a text, and of what length."""
        return not_understood(raw)

    def session(self, raw: bytes) -> bytes:
        """Show what names a session or a message to a program alone."""
        return self._hex(self._pseudonyms.spelling(raw))

    def msgid(self, raw: bytes) -> bytes:
        """Show a message-id as written."""
        found = None if raw == b"unspecified" else values.message_id(raw)
        return raw if raw == b"unspecified" else NO_ID if found is None else self.message_id(found)

    def addresses(self, raw: bytes) -> bytes:
        """Show addresses with commas between."""
        return b",".join(map(self.address, raw.split(b",")))

    def symbols(self, raw: bytes) -> bytes:
        """Show how many symbols a filter found."""
        return b"%d symbols" % len(_SYMBOL(raw))

    def nothing(self, raw: bytes) -> bytes:
        """Show nothing."""
        return b""

    def proto(self, raw: bytes) -> bytes:
        """Show a protocol's name."""
        return raw if raw in PROTOCOLS else b"SMTP"

    def uid(self, raw: bytes) -> bytes:
        """Show a user's number: of a program as it is, of a person as the first that persons get."""
        return raw if int(raw) < FIRST_PERSON else b"%d" % FIRST_PERSON

    def sasl(self, raw: bytes) -> bytes:
        """Show a SASL mechanism's name."""
        return raw if raw in MECHANISMS else b"OTHER"

    def parent(self, raw: bytes) -> bytes:
        """Show what stands where a queue id is expected."""
        return self.queue_id(raw) if is_queue_id(raw) else b"NOQUEUE"

    def _thing(self, raw: bytes) -> bytes:
        """Show what a refusal quotes: an address, a client, or a host's name."""
        if b"@" in raw or not raw:
            return self.address(raw)
        return self.peer(raw)


_SYMBOL = re.compile(rb"(?:\A|,)[A-Z][A-Z0-9_]*+\(").findall
PROTOCOLS = frozenset({b"SMTP", b"ESMTP", b"LMTP", b"QMQP", b"UTFSMTP"})
FIRST_PERSON = 1000  # Debian's FIRST_UID [adduser.conf(5)]
MECHANISMS = frozenset(
    b"""PLAIN LOGIN CRAM-MD5 DIGEST-MD5 NTLM GSSAPI GSS-SPNEGO EXTERNAL ANONYMOUS OAUTHBEARER XOAUTH2 SCRAM-SHA-1
    SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS""".split()
)
# Transports of master.cf, Debian's among them [conf/master.cf]; any other is the operator's own word.
SERVICES = frozenset(
    b"""none local virtual dovecot maildrop procmail cyrus uucp mailman spamassassin amavis bsmtp ifmail
    scalemail-backend pipe sympa schleuder vacation discard error""".split()
)
# the paths that name a service of Postfix's own queue folder
SOCKETS = frozenset(
    b"""private/lmtp private/dovecot-lmtp private/dovecot private/dovecot-auth private/auth private/policy
    private/smtp private/amavis private/cyrus private/rspamd private/milter private/socket private/bounce private/defer
    private/anvil private/rewrite private/verify private/tlsmgr private/proxymap public/cleanup public/qmgr
    public/pickup public/flush""".split()
)


def _encoded(user: bytes, person: bytes, host: bytes, mark: bytes, is_list: bool) -> bytes:
    """Encode a sender's local part so that sink.core.senders finds in it what was in the first one."""
    if person:
        form = b"%b-return-0%b-%b=%b" if is_list else b"%b+%b+caf_=%b=%b"
        return form % (user, mark, person, host)
    return (b"%b-bounces+%b" if is_list else b"msprvs1=%b=%b") % ((user, mark) if is_list else (mark, user))
