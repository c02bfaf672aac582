"""Reads the header lines that cleanup logs for header_checks' INFO, and the refusals it logs alike.

[Postfix src/cleanup/cleanup_message.c, cleanup_act_log(): "%s: %s: %s %.200s from %s[%s];" then from=<>, to=<>,
proto=, helo=<> and ": text"]. A correspondent writes the header, so a line can hold anything between its
beginning and its end. With tokens (law "Header lines without forgery") the first `: #TOKEN ` opens the
value; without, the leftmost quote-aware reading counts and can only spoil the sender's own columns.
"""

import re
from typing import Any

from sink.core import values
from sink.core.addressbook import AddressBook
from sink.core.facts import (
    BCC,
    CC,
    CUT,
    DATE,
    FILTER_SCORE,
    FROM,
    HEADERS,
    LIST,
    REFERENCE,
    REPLY_ID,
    SCORE,
    SUBJECT,
    TO,
)
from sink.core.pseudonym import Digest

ADDRESS = rb'<((?>(?:"(?>(?:[^"\\]++|\\.)*)"|[^">]++)*))>'  # quote-aware, linear
SHOWN = 200  # bytes of "Name: value" that cleanup_act_log() shows
MOST_TRIES = 16  # places tried as the value's end; more of them is no header a person wrote

_TRAILER = re.compile(
    rb" from ([^ ;]++);(?: from=" + ADDRESS + rb",?)?(?: to=" + ADDRESS + rb",?)?"
    rb"(?: proto=([A-Z]++),?)?(?: helo=<([^>]*+)>)?(?:: (.*+))?\Z",
    re.DOTALL,
)
_NAME = re.compile(rb"([!-9;-~]++) *+: ?+(.*+)", re.DOTALL)

_LISTS = {b"from": FROM, b"to": TO, b"cc": CC, b"bcc": BCC}
_SCORES = frozenset({b"x-spam-score", b"x-spam-status", b"x-spamd-result"})

ASKED = frozenset(_LISTS) | _SCORES | {
    b"date", b"subject", b"in-reply-to", b"references", b"list-id", b"list-post", b"precedence",
}  # fmt: skip

Facts = tuple[tuple[int, Any], ...]
UNDERSTOOD: Facts = ((HEADERS, 1),)
Split = tuple[bytes, bytes, bytes | None, bytes | None, bytes]


def split_trailer(text: bytes) -> Split | None:
    """Split "Name: value from client; from=<s> to=<r> ...: text" at the leftmost trailer that fits.

    Returns (shown, name-and-value not decoded; sender; recipient; text after the trailer) as
    (shown, b"", sender, recipient, text); sender and recipient are None where they do not stand.
    """
    match = trailer(text)
    return None if match is None else (text[: match.start()], b"", match[2], match[3], match[6] or b"")


def trailer(text: bytes) -> re.Match[bytes] | None:
    """Find the leftmost trailer that fits; its groups: client, sender, recipient, protocol, HELO, text after it."""
    at = -1
    for _ in range(MOST_TRIES):
        at = text.find(b" from ", at + 1)
        if at < 0:
            return None
        match = _TRAILER.match(text, at)
        if match:
            return match
    return None


class HeaderReader:
    """Reads header lines into facts; holds the tokens that are valid on this host."""

    def __init__(self, book: AddressBook, message_id: Digest, tokens: tuple[bytes, ...]) -> None:
        self._book = book
        self._message_id = message_id
        self._marks = tuple((b": #" + token + b" ", b" #" + token) for token in tokens)

    def value(self, text: bytes) -> tuple[bytes, bytes, bool] | None:
        """Return (name in lower case or b"" where nobody asks for it, value, cut); None: not read."""
        if self._marks:
            return self._marked(text)
        if text.partition(b":")[0].rstrip(b" ").lower() not in ASKED:
            return b"", b"", False
        split = split_trailer(text)
        if split is None:
            return None
        match = _NAME.fullmatch(split[0])
        return (match[1].lower(), match[2], len(split[0]) >= SHOWN) if match else None

    def last_reference(self, value: bytes, cut: bool) -> bytes | None:
        """Return the last whole id of References; our tables keep the first and the last part of a long one."""
        for _, closing in self._marks:
            head, middle, tail = value.rpartition(closing + b" ")
            if middle:
                return values.last_reference(tail, cut=True) or values.last_reference(head, cut=True)
        return values.last_reference(value, cut)

    def _marked(self, text: bytes) -> tuple[bytes, bytes, bool] | None:
        best, opening, closing = len(text), b"", b""
        for opens, closes in self._marks:
            at = text.find(opens)
            if 0 <= at < best:
                best, opening, closing = at, opens, closes
        if not opening:
            return None
        shown = text[best + len(opening) :]
        cut = not shown.endswith(closing)
        if cut:  # noqa: SIM108 - two ways that want a line each
            shown = _without_mark(shown, closing)
        else:
            shown = shown[: -len(closing)]
        match = _NAME.fullmatch(shown)
        return (match[1].lower(), match[2], cut) if match else None

    def facts(self, text: bytes, milter: bool) -> Facts | None:
        """Return the facts of the text after "header "; () for a header we do not ask for, None: not read."""
        read = self.value(text)
        if read is None:
            return None
        name, value, cut = read
        if name not in ASKED:
            return ()
        found: list[tuple[int, Any]] = []
        kind = _LISTS.get(name)
        if name in _SCORES:
            score = values.spam_score(name, value)
            return () if score is None or cut else ((SCORE if milter else FILTER_SCORE, score),)
        if milter:
            return ()  # a milter's own copy of other headers is not what the sender wrote
        if kind is not None:
            parties, dropped = self._book.parties(value, cut)
            found = [(kind, party) for party in parties]
            cut = cut or dropped
        elif name == b"subject":
            found = [] if cut else [(SUBJECT, values.subject_size(value))]
        elif name == b"date":
            second = values.header_date(value)
            found = [] if second is None else [(DATE, second)]
        elif name == b"in-reply-to":
            answered = values.reply_id(value)
            found = [] if answered is None else [(REPLY_ID, self._message_id(answered))]
        elif name == b"references":
            last = self.last_reference(value, cut)
            found = [] if last is None else [(REFERENCE, self._message_id(last))]
        elif values.is_list_header(name, value):
            found = [(LIST, 1)]
        if cut:
            found.append((CUT, 1))
        return tuple(found) or UNDERSTOOD


def _without_mark(shown: bytes, closing: bytes) -> bytes:
    """Cut the mark of a shortened value, ` #TOKEN+` or a part of ` #TOKEN`, from its end."""
    if shown.endswith(closing + b"+"):
        return shown[: -len(closing) - 1]
    at = shown.rfind(b" #")
    if at >= 0 and closing.startswith(shown[at:]):
        return shown[:at]
    return shown
