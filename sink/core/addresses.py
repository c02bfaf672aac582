"""Brings a mail address to its normal form, so that one mailbox has one pseudonym however it is written.

Rules: bytes in, bytes out, never an exception, whatever a correspondent put there; the same bytes give the
same form on every machine; the form of a form is itself. Each step is linear in the address's length.
Changing what comes out changes pseudonyms: then VERSION goes up, and stores made before refuse to start.

Known weakness: case and composition follow the Unicode tables of the Python that runs this, so a letter that
a newer Unicode adds can change its form with an upgrade.
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import ClassVar

LONGEST_DOMAIN = 255  # octets, RFC 1035 2.3.4; the idna codec is not asked about more


@dataclass(frozen=True, slots=True)
class NormalForm:
    """The settings of the normal form; recorded in the store beside VERSION."""

    VERSION: ClassVar[int] = 1

    fold_local_part: bool = True  # lower-case it: no server of note tells John@ from john@
    cut_detail: bool = True  # drop "+detail", Postfix's recipient_delimiter


# An address with nothing to undo, as nearly all are; everything else takes _slow().
_SIMPLE = re.compile(
    rb"([!#$%&'*/=?^_`{|}~0-9A-Za-z.-]++)(?>(\+[!#$%&'*+/=?^_`{|}~0-9A-Za-z.-]*+)?)"
    rb"@([0-9A-Za-z_-]++(?>(?:\.[0-9A-Za-z_-]++)*))\.?"
).fullmatch

_BRACKETS = b" \t\r\n<>"

_QUOTED = rb'"(?>(?:[^"\\]++|\\.)*)"'
_LEXEME = re.compile(_QUOTED + rb'|\\.|[^"\\()@]++|.', re.DOTALL)
_ESCAPED = re.compile(rb'\\(.)|"', re.DOTALL)
_COMMENT_PART = re.compile(rb"[^()\\]++|\\.|.", re.DOTALL)
_ROUTE = re.compile(rb'(?>(?:@(?:\[[^]]*+\]|[^,:@"\[]*+),?+[ \t]*+)+):')

_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # RFC 3490 3.1: all of these part labels
_DEVIATIONS = re.compile("[\u00df\u03c2]")  # valid in IDNA 2008, mapped away by IDNA 2003
_A_LABELS = re.compile(rb"[0-9a-z_-]++(?>(?:\.[0-9a-z_-]++)*)").fullmatch


def normal(address: bytes, form: NormalForm) -> tuple[bytes, bytes | None]:
    """Return (local part, domain) of an address in normal form; domain is None where there is none.

    The empty address and <> give (b"", None). 0.4 us for a plain address.
    """
    match = _SIMPLE(address)
    if match is None:
        return _slow(address, form)
    local, detail, domain = match.groups()
    if detail is not None and not form.cut_detail:
        local += detail
    return local.lower() if form.fold_local_part else local, domain.lower()


def split(address: bytes) -> tuple[bytes, bytes | None]:
    """Split at the last "@" that no quoted string holds; both sides are as written."""
    at = address.rfind(b"@")
    if at >= 0 and address.find(b'"', at) >= 0:
        at = -1
        for lexeme in _LEXEME.finditer(address):
            if lexeme[0] == b"@":
                at = lexeme.start()
    return (address, None) if at < 0 else (address[:at], address[at + 1 :])


def _slow(address: bytes, form: NormalForm) -> tuple[bytes, bytes | None]:
    address = address.strip(_BRACKETS)
    if b"(" in address:
        address = _without_comments(address).strip(_BRACKETS)
    if address.startswith(b"@"):
        route = _ROUTE.match(address)
        if route:
            address = address[route.end() :]
    local, domain = split(address)
    domain = None if domain is None else _domain(domain)
    return _local(local, form), domain or None


def _without_comments(text: bytes) -> bytes:
    """Drop (nested) comments outside quoted strings; one that never closes runs to the end."""
    kept: list[bytes] = []
    at = 0
    while at < len(text):
        if text[at] == 0x28:
            at = after_comment(text, at) or len(text)
            continue
        lexeme = _LEXEME.match(text, at)
        if lexeme is None:
            break  # never: the last branch matches any byte
        kept.append(lexeme[0])
        at = lexeme.end()
    return b"".join(kept)


def after_comment(text: bytes, start: int) -> int | None:
    """Return where the comment ends whose "(" stands at start, None where it never closes."""
    depth = 0
    for part in _COMMENT_PART.finditer(text, start):
        if part[0] == b"(":
            depth += 1
        elif part[0] == b")":
            depth -= 1
            if depth == 0:
                return part.end()
    return None


def _local(local: bytes, form: NormalForm) -> bytes:
    local = local.strip(b" \t\r\n")
    if b'"' in local or b"\\" in local:
        local = _unquoted(local)
    if form.cut_detail:
        # As Postfix does: no cut that leaves nothing [src/global/split_addr.c, split_addr_internal()].
        cut = local.find(b"+")
        if cut > 0:
            local = local[:cut]
    if local.isascii():
        return local.lower() if form.fold_local_part else local
    text = unicodedata.normalize("NFC", local.decode("utf-8", "surrogateescape"))
    if form.fold_local_part:
        text = _lower(text)
    return text.encode("utf-8", "surrogateescape")


def _unquoted(local: bytes) -> bytes:
    """Undo quoted strings and backslashes; a quote that never closes is text."""
    parts: list[bytes] = []
    for lexeme in _LEXEME.finditer(local):
        part = lexeme[0]
        if len(part) > 1 and part[0] in b'"\\':
            part = _ESCAPED.sub(rb"\1", part)
        parts.append(part)
    return b"".join(parts)


def _lower(text: str) -> str:
    """Lower-case and compose; lower() alone can leave a sequence that NFC would still change."""
    return unicodedata.normalize("NFC", text.lower())


def _domain(domain: bytes) -> bytes:
    domain = b"".join(domain.split()).rstrip(b".")
    if domain.startswith(b"[") and domain.endswith(b"]"):
        return _literal(domain)
    if domain.isascii():
        return domain.lower()
    text = _lower(unicodedata.normalize("NFC", domain.decode("utf-8", "surrogateescape")))
    if len(domain) <= LONGEST_DOMAIN:
        labels = _to_ascii(text)
        if labels is not None:
            return labels
    return text.encode("utf-8", "surrogateescape")


def _to_ascii(text: str) -> bytes | None:
    """Return a domain's A-labels, None where one of its labels has none."""
    try:
        labels = b".".join([_label(label) for label in _DOTS.split(text)])
    except UnicodeError:
        return None
    # Name preparation can bring forth dots, "@" and blanks out of look-alikes: such a name is left as it is.
    labels = labels.rstrip(b".")
    return labels if len(labels) <= LONGEST_DOMAIN and _A_LABELS(labels) else None


def _label(label: str) -> bytes:
    if label.isascii():
        return label.encode("ascii")
    if not _DEVIATIONS.search(label):
        return label.encode("idna")
    # stdlib's codec is IDNA 2003, which writes strasse for straße; registries sell both names today.
    coded = b"xn--" + label.encode("punycode")
    if len(coded) > 63:
        raise UnicodeError("label too long")
    return coded


def _literal(domain: bytes) -> bytes:
    """Return an address literal with its address in canonical text; what is no IP address is lower-cased."""
    shown = domain[1:-1].lower()
    address = shown.removeprefix(b"ipv6:")
    try:
        ip = ipaddress.ip_address(address[:64].decode("ascii"))
    except ValueError:
        return b"[" + shown + b"]"
    return b"[ipv6:%b]" % str(ip).encode("ascii") if ip.version == 6 else b"[%b]" % str(ip).encode("ascii")
