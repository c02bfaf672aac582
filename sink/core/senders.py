"""Undoes what mail software wraps around an envelope sender: a list is one sender, not one per subscriber.

Rules: a scheme is known by its own marks at fixed places, read from the left, in linear time, tags in any
case; whatever lacks a field or names no host is not encoded, but plain. A forwarder's wrapping is undone and
then one more below it. No hash or time stamp is checked: only its maker holds the key, and a forged one gains
its sender nothing but another pseudonym. What comes out is an address as written, to be passed to normal().

Stand-ins: where software numbers its messages, the sender keeps of the local part what names the list or
the mailer's customer (joined by "-": behind a "+" normal() would cut it), and the many sending hosts of one
mass mailer become one domain. So such a sender may be an address that nobody can write to.

Postmark (pm_bounces@) needs nothing: its sender is the same for every subscriber.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from sink.core.addresses import NormalForm, split


class Sender(NamedTuple):
    """An envelope sender, decoded."""

    kind: str  # plain, null, bare, verp, srs, batv: the outermost wrapping
    sender: bytes
    list_recipient: bytes | None  # the subscriber that the sender names
    is_list: bool  # list software made it; a mass mailer did not


_ANY = re.IGNORECASE | re.DOTALL

WRAPPINGS = frozenset({"srs", "batv"})  # these can stand around any other scheme

# Any scheme shows one of these in the local part; what has none is plain.
_MARKS = re.compile(rb"[=+]|-owner-\Z|-return-|-[0-9]{6}\Z|\Abounce-", re.IGNORECASE).search
# A host has a dot; or it is a scrubbed line's pseudonym.
_IS_HOST = re.compile(rb"[0-9A-Za-z_\x80-\xff-]++(?>(?:\.[0-9A-Za-z_\x80-\xff-]++)+)\.?|[0-9a-f]{32}").fullmatch


def decode(address: bytes, form: NormalForm) -> Sender:
    """Return the sender behind an envelope sender as logged, without its <>; 1 us for a plain one.

    The form changes nothing: a subscriber's name has to go also where a "+detail" is kept.
    """
    local, at, domain = address.rpartition(b"@")
    if not at or not domain or b'"' in address:
        return _unsure(address)
    # Three finds before the search: most local parts have none of these, and it is four times slower.
    if b"-" not in local and b"+" not in local and b"=" not in local:
        return Sender("plain", address, None, False)
    found = _peel(local, domain) if _MARKS(local) else None
    if found is None:
        return Sender("plain", address, None, False)
    if found.kind in WRAPPINGS:
        local, at, domain = found.sender.rpartition(b"@")
        inner = _peel(local, domain)
        if inner is not None:
            return inner._replace(kind=found.kind)
    return found


def _unsure(address: bytes) -> Sender:
    """Return the sender of an address that is empty, quoted, or lacks a domain: none of these is encoded."""
    domain = split(address)[1]
    if domain is not None and domain.strip(b" .>"):
        return Sender("plain", address, None, False)
    if address.strip(b" <>"):
        return Sender("bare", address, None, False)
    return Sender("null", b"", None, False)


def _peel(local: bytes, domain: bytes) -> Sender | None:
    """Undo one encoding; None where there is none."""
    lower = local.lower()
    for scheme in _SCHEMES:
        found = scheme(local, lower, domain)
        if found is not None:
            return found
    return None


def _address(local: bytes, domain: bytes) -> bytes:
    return local + b"@" + domain


def _member(text: bytes) -> bytes | None:
    """Read user=host: no host holds a "=", so the last one parts them."""
    user, _, host = text.rpartition(b"=")
    return _address(user, host) if user and _IS_HOST(host) else None


# SRS: http://www.openspf.org/SRS, libsrs2, postsrsd (src/srs2.c). The separator after the tag is "=", "+" or
# "-", all others are "=". An SRS1 address holds the SRS0 local part from its separator on.
_SRS = re.compile(
    rb"(?:srs0[=+-]|srs1[=+-][^=]++=[^=]++=[=+-])[^=]++=[^=]++=([^=]++)=(.++)", _ANY
).fullmatch


def _srs(local: bytes, _lower: bytes, domain: bytes) -> Sender | None:
    match = _SRS(local)
    if match is None:
        return None
    if match[1] == b"1":
        # postsrsd with a database writes a digest of the sender in its place (src/srs.c, "@1").
        return Sender("srs", _address(match[2], domain), None, False)
    return Sender("srs", _address(match[2], match[1]), None, False) if _IS_HOST(match[1]) else None


def _exchange(local: bytes, lower: bytes, _domain: bytes) -> Sender | None:
    """mailbox+SRS=hash=stamp=host=user (Exchange Online); its short bounces+SRS=hash=stamp is plain."""
    at = lower.find(b"+srs=")
    if at < 0:
        return None
    fields = local[at + 5 :].split(b"=", 3)
    if len(fields) < 4 or not fields[3] or not _IS_HOST(fields[2]):
        return None
    return Sender("srs", _address(fields[3], fields[2]), None, False)


# draft-levine-smtp-batv: prvs=TAG=user, in an older form prvs=user/TAG; some appliances swap the two.
# The draft's tag is 10 digits and hexadecimals, IronPort's 9.
_BATV_TAG = re.compile(rb"[0-9a-f]{6,12}").fullmatch
_BARRACUDA = re.compile(rb"btv1==[^=]++==(.++)", _ANY).fullmatch


def _batv(local: bytes, lower: bytes, domain: bytes) -> Sender | None:
    user = b""
    if lower.startswith(b"prvs="):
        tag, _, rest = local[5:].partition(b"=")
        swapped, _, last = local[5:].replace(b"/", b"=").rpartition(b"=")
        if _BATV_TAG(tag.lower()):
            user = rest
        elif _BATV_TAG(last.lower()):
            user = local[5 : 5 + len(swapped)]
    elif lower.startswith(b"btv1=="):
        match = _BARRACUDA(local)
        user = match[1] if match else b""
    return Sender("batv", _address(user, domain), None, False) if user else None


def _gmail(local: bytes, lower: bytes, domain: bytes) -> Sender | None:
    """owner+caf_=user=host, Gmail's automatic forwarding; Workspace domains use it, too."""
    at = lower.find(b"+caf_=")
    member = _member(local[at + 6 :]) if at > 0 else None
    return Sender("verp", _address(local[:at], domain), member, False) if member else None


# Mass mailers, as their messages show: (pattern; what stands before a customer's number; list software).
# Group 1 is the customer's number, group 2, where there is one, user=host or an opaque number.
_MAILERS = (
    # SendGrid: bounces+CUSTOMER-HASH-user=host
    (re.compile(rb"bounces\+([0-9]++)-[0-9a-f]{4}-(.*+)", _ANY).fullmatch, b"bounces-", False),
    # Mailgun: bounce+HASH.HASH-user=host; its domain is the customer's
    (re.compile(rb"bounce\+()[0-9a-f]{6}\.[0-9a-f]++-(.*+)", _ANY).fullmatch, b"bounce", False),
    # Mailchimp: bounce-mc.usN_CUSTOMER.CAMPAIGN-user=host (or a number)
    (
        re.compile(rb"bounce-mc\.(us[0-9]++_[0-9]++)(?>(?:\.[0-9]++)?)(?>(?:-(.*+))?)", _ANY).fullmatch,
        b"bounce-mc.",
        False,
    ),
    # Mandrill: bounce-md_CUSTOMER.TIME.v1-MESSAGE
    (
        re.compile(rb"bounce-md_([0-9]++)\.[0-9a-f]++\.v[0-9]++-[0-9a-f]++", _ANY).fullmatch,
        b"bounce-md_",
        False,
    ),
    # Salesforce Marketing Cloud (ExactTarget): bounce-LIST_HTML-SUBSCRIBER-JOB-CUSTOMER-BATCH
    (
        re.compile(rb"bounce-[0-9]++_(?:html|text)-[0-9]++-[0-9]++-([0-9]++)-[0-9]++", _ANY).fullmatch,
        b"bounce-",
        False,
    ),
    # Amazon SES: REGION+TIME-UUID-000000; no user is left, but the domain often is the customer's
    (
        re.compile(rb"()0[0-9a-f]{15}-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9]{6}", _ANY).fullmatch,
        b"",
        False,
    ),
    # SparkPost: msprvs1=TAG=bounces-CUSTOMER
    (re.compile(rb"msprvs1=[^=]++=([^=]++)", _ANY).fullmatch, b"", False),
    # groups.io: bounce+GROUP+MESSAGE+LIST+SUBSCRIBER
    (re.compile(rb"bounce\+([0-9]++)(?:\+[0-9]++){3}", _ANY).fullmatch, b"bounce-", True),
)
# Mailchimp and Mandrill send from hundreds of hosts; own domains of their customers stay.
_POOLS = {
    b"rsgsv.net": b"mcsv.net",
    b"mcdlv.net": b"mcsv.net",
    b"mcsv.net": b"mcsv.net",
    b"mandrillapp.com": b"mandrillapp.com",
}


def _mailer(local: bytes, _lower: bytes, domain: bytes) -> Sender | None:
    for pattern, name, is_list in _MAILERS:
        match = pattern(local)
        if match is not None:
            pool = _POOLS.get(b".".join(domain.lower().rsplit(b".", 2)[-2:]), domain)
            member = _member(match[2] or b"") if match.re.groups == 2 else None
            return Sender("verp", _address(name + match[1], pool), member, is_list)
    return None


def _sympa(local: bytes, _lower: bytes, domain: bytes) -> Sender | None:
    """bounce+user==a==host==list, and ==w, ==r or ==number behind (Sympa::List::get_bounce_address())."""
    prefix, _, rest = local.partition(b"+")
    user, _, rest = rest.partition(b"==a==")
    fields = rest.split(b"==")
    if not prefix or not user or len(fields) not in (2, 3) or not fields[1] or not _IS_HOST(fields[0]):
        return None
    return Sender("verp", _address(fields[1], domain), _address(user, fields[0]), True)


# Google Groups: list+bncNUMBER; also on domains of Workspace.
_GOOGLE = re.compile(rb"([^+]++)\+bnc[0-9a-z]{16,}+", re.IGNORECASE).fullmatch


def _google(local: bytes, _lower: bytes, domain: bytes) -> Sender | None:
    match = _GOOGLE(local)
    return Sender("verp", _address(match[1], domain), None, True) if match else None


def _debian(local: bytes, lower: bytes, domain: bytes) -> Sender | None:
    """bounce-list=user=host (lists.debian.org)."""
    if not lower.startswith(b"bounce-"):
        return None
    name, _, rest = local[7:].partition(b"=")
    member = _member(rest) if name else None
    return Sender("verp", _address(name, domain), member, True) if member else None


# ezmlm: list-return-NUMBER-user=host; warnings and probes have a cookie for a number (ezmlm-warn(1)).
_EZMLM = re.compile(rb"(?:(?:warn|probe|receipt)-[^-]++|[0-9][0-9a-z.]*+)-(.*+)", _ANY).fullmatch


def _ezmlm(local: bytes, lower: bytes, domain: bytes) -> Sender | None:
    """list-return-NUMBER-user=host (ezmlm), list-owner-user=host (qmail); without VERP it ends in "-"."""
    at = lower.find(b"-return-")
    if at > 0:
        match = _EZMLM(local[at + 8 :])
        rest = match[1] if match else None
    else:
        at = lower.find(b"-owner-")
        rest = local[at + 7 :] if at > 0 else None
    if rest is None:
        return None
    member = _member(rest)
    if rest and member is None:
        return None
    return Sender("verp", _address(local[:at], domain), member, True)


def _list_name(local: bytes, lower: bytes) -> bytes:
    """Return the list whose bounce address this is, b"" where it is none.

    list-bounces: Mailman; owner-list: aliases(5), Majordomo, LISTSERV; list-owner: qmail, Sympa.
    A list-request is a mailbox of people or of a ticket system at least as often, so it is left alone.
    """
    if lower.endswith(b"-bounces"):
        return local[:-8]
    if lower.endswith(b"-owner"):
        return local[:-6]
    return local[6:] if lower.startswith(b"owner-") else b""


_OWN_WORDS = frozenset({b"bounce", b"bounces", b"return", b"returns"})

# mlmmj: list+bounces-NUMBER-user=host (mlmmj-send.c), list+bounces-probe-user=host, list+bounces-help.
_MLMMJ = re.compile(rb"([^+]++)\+bounces-(?>(?:(?:probe|[0-9]++)-)?)(.*+)", _ANY).fullmatch


def _mlmmj(local: bytes, _lower: bytes, domain: bytes) -> Sender | None:
    match = _MLMMJ(local)
    return Sender("verp", _address(match[1], domain), _member(match[2]), True) if match else None


# Tags of other schemes, a field of theirs missing: what stands behind the "+" is no subscriber.
_BROKEN = re.compile(rb"srs[01]\+|[^+]*+\+(?:srs=|caf_=|[^+]*?==a==)", re.DOTALL).match


def _plus(local: bytes, lower: bytes, domain: bytes) -> Sender | None:
    """list+user=host: Postfix (VERP_README), Mailman (verp_format; list-bounces+token is its probe).

    Who turns on Postfix's VERP has a list. Programs that write this themselves say bounce before the "+".
    """
    head, _, tail = local.partition(b"+")
    if not head or not tail or _BROKEN(lower):
        return None
    name = _list_name(head, lower[: len(head)])
    member = _member(tail)
    if member is None and not (name and lower[: len(head)].endswith(b"-bounces")):
        return None
    return Sender("verp", _address(name or head, domain), member, lower[: len(head)] not in _OWN_WORDS)


# Own software of many senders, after draft-varshavchik-verp-smtpext: bounce-user=host, with numbers between.
_BOUNCE = re.compile(rb"(bounces?|returns?)-(?>(?:[0-9]++-)*)(.++)", _ANY).fullmatch


def _bounce(local: bytes, _lower: bytes, domain: bytes) -> Sender | None:
    match = _BOUNCE(local)
    member = _member(match[2]) if match else None
    return Sender("verp", _address(match[1], domain), member, False) if match and member else None


Scheme = Callable[[bytes, bytes, bytes], Sender | None]

# The order matters where one form contains another: a forwarder's tag stands first, "bounce-" is many things.
_SCHEMES: tuple[Scheme, ...] = (
    _srs, _batv, _exchange, _gmail, _mailer, _sympa, _google, _debian, _ezmlm, _mlmmj, _plus, _bounce,
)
