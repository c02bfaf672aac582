"""Stand-ins: masks that give names of example.com and its kin, so that a line can be shown to the world.

Law: what comes out is a name made here, in the order in which values are met, never a part of the value and never a
digest of it. One value has one name, two values have two; no name is taken over from the input, so a real example.com
gets another one. Which values are local, trusted or internal stays, since rows hang on it: settings() says so in the
words of a golden story, whose rules are those of tests/golden_runner.py.

A text that no grammar knows is told word by word (dropped()): Postfix's words (sink.core.vocabulary), short numbers and
punctuation stay; addresses, hosts, IP addresses and queue ids, as far as their form tells them, get names; all else
becomes word1, word2 ... What is somebody's name and one of Postfix's words at once stays: such a line must be read.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import chain, count

from sink.core import vocabulary
from sink.core.addressbook import AddressBook
from sink.core.addresses import NormalForm
from sink.core.masks import NOBODYS, Masks
from sink.core.pseudonym import NONE, WIDTH, Pseudonyms
from sink.core.queueid import LONG, birth, coarse
from sink.core.relays import LOOPBACK, Networks, plain_address
from sink.core.retell import TOKEN
from sink.core.rules import Network, Rules

LONGEST_NUMBER = 5  # digits: codes, ports, process ids; a longer one may be a telephone's or a customer's
PEOPLE = (
    "alice bob carol dave erin frank grace heidi ivan judy mallory niaj olivia peggy rupert sybil trent victor walter"
).split()
EVERYBODYS = (b"postmaster", b"root", b"mailer-daemon", b"double-bounce", b"abuse", b"hostmaster")  # RFC 2142
LOCAL = b"example.com"
LOCALS, RELAYS = b"local%d.example.com", b"relay%d.example.com"  # further local domains; internal hosts

# Addresses by (trusted, internal). A golden story's own rules come first; 198.18.0.0/15 is for tests [RFC 2544],
# 100.64.0.0/10 for carriers' own [RFC 6598].
_FOUR = {
    (False, False): ("203.0.113.0/24", "198.51.100.16/28", "198.51.100.32/27", "198.51.100.64/26",
                     "198.51.100.128/25", "192.0.2.16/28", "192.0.2.32/27", "192.0.2.64/26", "192.0.2.128/25",
                     "198.18.0.0/16", "240.0.0.0/4"),
    (True, False): ("192.0.2.0/28", "198.19.0.0/17", "100.64.0.0/10"),
    (False, True): ("198.51.100.9/32", "198.19.128.0/18"),
    (True, True): ("198.19.192.0/18",),
}  # fmt: skip
_SIX = {
    (False, False): ("2001:db8::/48",), (True, False): ("2001:db8:1::/48",), (False, True): ("2001:db8:2::/48",),
    (True, True): ("2001:db8:3::/48",),
}  # fmt: skip
_LOOPBACKS = ("127.0.0.0/8", "::1/128")
_TRUSTED, _INTERNAL = (*_LOOPBACKS, "192.0.2.0/28"), ("198.51.100.9/32",)  # of golden stories
_HEX = b"4F0AC1D2B3E5968700A7"

# What dropped() tells apart: <...@...>, an IPv6 address, a run without blanks and brackets, punctuation.
_TOKEN = re.compile(
    rb"<(?P<address>[^<>@]*+@[^<>]*+)>|(?<![0-9A-Za-z:.])(?P<six>[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})"
    rb"(?![0-9A-Za-z:])|(?P<run>[^\s<>()\[\]{},;:\"=|]++)|(?P<rest>.)",
    re.DOTALL,
)
_PIECE = re.compile(rb"[0-9A-Za-z\x80-\xff_-]++(?>(?:\.[0-9A-Za-z\x80-\xff_-]++)*)|.", re.DOTALL)
_WORD = re.compile(rb"[0-9A-Za-z\x80-\xff]++|.", re.DOTALL)
_SHORT_ID = re.compile(rb"(?=[0-9]*+[A-F])(?=[A-F]*+[0-9])[0-9A-F]{6,20}").fullmatch


def one_named(secret: bytes, plain_queue_id: bool) -> Pseudonyms:
    """Return pseudonyms under which a host and a domain of one name are one."""
    found = Pseudonyms(secret, plain_queue_id)
    found.relay = found.domain
    return found


def told_by(rules: Rules) -> Rules:
    """Return the rules by which lines are told: those that a golden story can have."""
    stored = rules.dropped_rejects & {"blocklist"}
    return replace(rules, reject_patterns=(), form=NormalForm(), dropped_rejects=stored)


def played_by(rules: Rules) -> Rules:
    """Return the rules by which lines that were told give rows: any name that can come out is of its kind."""
    kinds = (_FOUR, _SIX)
    trusted = [name for kind in kinds for key, names in kind.items() if key[0] for name in names]
    internal = [name for kind in kinds for key, names in kind.items() if key[1] for name in names]
    given, inner = Networks(rules.trusted_networks), Networks(rules.internal_networks)
    for name in _LOOPBACKS:
        trusted += [name] if _first(name) in given else []
        internal += [name] if _first(name) in inner else []
    return replace(
        told_by(rules),
        local_domains=frozenset([LOCAL, *_numbered(LOCALS, rules.local_domains)]),
        internal_hosts=frozenset(_numbered(RELAYS, rules.internal_hosts)),
        trusted_networks=_networks(trusted),
        internal_networks=_networks(internal),
        header_tokens=(TOKEN,),
    )


def _numbered(form: bytes, named: frozenset[bytes]) -> list[bytes]:
    """Return as many names as there are to be named."""
    return [form % number for number in range(1, len(named) + 1)]


def _networks(names: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(name) for name in names)


class StandIns(Masks):
    """Masks that give stand-ins. names: what stands for a digest, as hex; for tests."""

    def __init__(self, pseudonyms: Pseudonyms, book: AddressBook, rules: Rules) -> None:
        super().__init__(pseudonyms, book, rules)
        self.names: dict[str, bytes] = {}
        self._pseudonyms, self._rules = pseudonyms, rules
        self._taken: set[bytes] = set()
        self._local = {pseudonyms.domain(name) for name in rules.local_domains}
        self._spellings: dict[bytes, bytes] = {}
        self._words: dict[bytes, bytes] = {}
        self._ids: dict[bytes, bytes] = {}
        self._loopbacks: set[str] = set()
        self._people = chain((name.encode("ascii") for name in PEOPLE), (b"user%d" % n for n in count(len(PEOPLE) + 1)))
        self._locals = iter([LOCAL, *_numbered(LOCALS, rules.local_domains)])
        self._domains = chain((b"example.net", b"example.org"), (b"d%d.example.org" % n for n in count(3)))
        self._hosts = (b"mx%d.example.net" % n for n in count(1))
        self._relays = iter(_numbered(RELAYS, rules.internal_hosts))
        self._numbers = count(1)
        self._addresses: dict[tuple[int, tuple[bool, bool]], Iterator[str]] = {}
        for name in EVERYBODYS:
            self._new(pseudonyms.user(name), iter([name]))

    def _new(self, digest: bytes, names: Iterator[bytes]) -> bytes:
        """Give a digest the next name."""
        key = digest.hex()
        found = self.names.get(key)
        while found is None:
            name = next(names)
            if name not in self._taken:
                self._taken.add(name)
                found = self.names[key] = name
        return found

    # -- people, domains, hosts

    def shown(self, address: bytes, spelling: bytes = b"") -> bytes:
        """Return what stands for an address."""
        user, domain = address[:WIDTH], address[WIDTH:]
        local = b"" if user == NONE else self._new(user, self._people)
        if domain == NONE:
            return local + spelling if local else b""
        name = self._new(domain, self._locals if domain in self._local else self._domains)
        return local + spelling + b"@" + name

    def _spelling(self, raw: bytes) -> bytes:
        return self._spellings.setdefault(raw, b"%08d" % (len(self._spellings) + 1))

    def _host(self, raw: bytes) -> bytes:
        name = raw.lower().rstrip(b".")
        if name in NOBODYS or name == b"-":
            return name
        if name.startswith(b"[") and name.endswith(b"]"):
            return b"[" + self.ip(name[1:-1]) + b"]"
        try:
            ip_address(plain_address(raw))
        except ValueError:
            digest = self._pseudonyms.domain(name)
            kind = self._relays if name in self._rules.internal_hosts else self._hosts
            return self._new(digest, self._locals if digest in self._local else kind)
        return self.names.setdefault(self._pseudonyms.domain(name).hex(), self.ip(raw))

    def _ip(self, raw: bytes) -> bytes:
        text = plain_address(raw)
        if text == "unknown":
            return b"unknown"
        try:
            address = ip_address(text)
            canonical = address.packed
        except ValueError:
            address, canonical = IPv4Address(0), raw  # a masked one of an archive
        if text in LOOPBACK:
            self._loopbacks.add("::1/128" if isinstance(address, IPv6Address) else "127.0.0.0/8")
            return str(address).encode("ascii")
        kind = (text in self._trusted, text in self._internal)
        ranges = (_SIX if isinstance(address, IPv6Address) else _FOUR)[kind]
        key = (address.version, kind)
        if key not in self._addresses:
            self._addresses[key] = chain.from_iterable(map(_hosts_of, ranges))
        return self._new(self._pseudonyms.ip(canonical), (one.encode("ascii") for one in self._addresses[key]))

    # -- ids

    def _queue_id(self, raw: bytes) -> bytes:
        """Show a queue id of the same form and length; a long one as old as it was, to the month."""
        found = self._ids.get(raw)
        if found is None:
            form = _long_ids(raw) if LONG(raw) else _short_ids(len(raw))
            digest = self._pseudonyms.spelling(b"queue id " + raw) if self._plain_ids else None
            found = self._ids[raw] = self._new(digest or self._pseudonyms.queue_id(raw), form)
        return found

    def message_id(self, normal: bytes) -> bytes:
        """Show a message-id."""
        name = self._new(self._pseudonyms.message_id(normal), (b"%d@id.example.net" % n for n in self._numbers))
        return b"<" + name + b">"

    def session(self, raw: bytes) -> bytes:
        """Show what names a session."""
        return self._new(self._pseudonyms.spelling(b"session " + raw), (b"%08d" % n for n in self._numbers))

    # -- texts that nobody knows

    def dropped(self, raw: bytes) -> bytes:
        """Show a text word by word."""
        return b"".join(map(self._token, _TOKEN.finditer(raw)))

    def _token(self, found: re.Match[bytes]) -> bytes:
        text, kind = found[0], found.lastgroup
        if kind == "address":
            return b"<" + self.address(found["address"]) + b">"
        if kind == "six":
            return self.ip(text) if _is_ip(text) else b"".join(map(self._word, _WORD.findall(text)))
        if kind == "rest":
            return text
        before, at, after = text.rpartition(b"@")
        return self.address(text) if at and before and after else b"".join(map(self._piece, _PIECE.findall(text)))

    def _piece(self, text: bytes) -> bytes:
        """Show a run of letters, digits, "-" and "_", perhaps with dots: a host's name, an IP address, words."""
        labels = text.split(b".")
        if not all(labels):
            return text  # a single dot
        if len(labels) > 1 and _is_ip(text):
            return self.ip(text)
        is_name = len(labels) > 1 and not labels[-1].isdigit()
        if is_name and not all(vocabulary.is_known(label) for label in labels):
            return self.host(text)
        if self._pseudonyms.domain(text.lower()).hex() in self.names:
            return self.host(text)  # a host that was named in full, such as the one that logs
        return b"".join(map(self._word, _WORD.findall(text)))

    def _word(self, text: bytes) -> bytes:
        if not text.isalnum() and text.isascii():
            return text
        if text in self._ids or LONG(text) or _SHORT_ID(text):
            return self.queue_id(text)
        if text.isdigit() and text.isascii():
            return text if len(text) <= LONGEST_NUMBER else self._stand_in(text, b"1%%0%dd" % (len(text) - 1))
        if vocabulary.is_known(text):
            return text
        known = self.names.get(self._pseudonyms.user(text.lower()).hex())
        return known if known is not None else self._stand_in(text, b"word%d")

    def _stand_in(self, text: bytes, form: bytes) -> bytes:
        return self._words.setdefault(text, form % (len(self._words) + 1))

    # -- the rules of a story

    def settings(self) -> dict[str, object]:
        """Return what a golden story must say of its rules beyond those of all, by their keys."""
        names = set(self.names.values())
        found: dict[str, object] = {}
        local = sorted(name.decode() for name in _numbered(LOCALS, self._rules.local_domains) if name in names)
        if local:
            found["local_domains"] = [LOCAL.decode(), *local]
        trusted = [name for name in _LOOPBACKS if name not in self._loopbacks or _first(name) in self._trusted]
        trusted += [_TRUSTED[-1], *self._used(0)]
        if trusted != list(_TRUSTED):
            found["trusted_networks"] = trusted
        internal = [*_INTERNAL, *self._used(1)]
        internal += [name.decode() for name in _numbered(RELAYS, self._rules.internal_hosts) if name in names]
        internal += [name for name in sorted(self._loopbacks) if _first(name) in self._internal]
        if internal != list(_INTERNAL):
            found["internal_relays"] = internal
        return found

    def _used(self, which: int) -> list[str]:
        """Return the networks of trusted (0) or internal (1) addresses, beyond golden stories' own, that have names."""
        own = _INTERNAL if which else _TRUSTED
        found = [
            name for ranges in (_FOUR, _SIX) for kind, names in ranges.items() if kind[which] for name in names
            if name not in own
        ]  # fmt: skip
        given = [Networks(_networks([name])) for name in found]
        shown = [name.decode() for name in self.names.values() if _is_ip(name)]
        return [name for name, network in zip(found, given, strict=True) if any(one in network for one in shown)]


def _first(loopback: str) -> str:
    """Return the address of a loopback network that hosts have."""
    return loopback.partition("/")[0].replace(".0.0.0", ".0.0.1")


def _hosts_of(network: str) -> Iterator[str]:
    return map(str, ip_network(network).hosts())


def _is_ip(text: bytes) -> bool:
    try:
        ip_address(text.decode("ascii", "replace"))
    except ValueError:
        return False
    return True


def _short_ids(length: int) -> Iterator[bytes]:
    width = min(length - 1, 6)
    return (_HEX[: length - width] + b"%0*X" % (width, number) for number in count(1))


def _long_ids(raw: bytes) -> Iterator[bytes]:
    tail = _HEX.translate(bytes.maketrans(b"AEF", b"BGH"))[: max(len(raw) - 11, 1)]
    return (coarse(birth(raw)) + b"%04d" % number + b"z" + tail for number in count(1))
