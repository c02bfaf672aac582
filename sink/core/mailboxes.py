"""Reads the addresses out of a From, To, Cc or Bcc header as Postfix logged it.

Rules: one pass from left to right, every byte looked at a bounded number of times; never an exception.
RFC 5322 3.4 with its obsolete forms is understood, and what people and scripts write beside it: names that
are not quoted, a name and an address without <>, no comma behind a <>. Display names, comments and group
names never come out, also where they look like addresses.

Postfix prints line breaks, tabs and other control bytes as "?" [src/util/printable.c, printable()], so a
folded list reads "a@x,? b@y" or "a@x,??b@y". "?" at either end of an address is taken for that; a local
part that truly begins with "?" loses it.

A quote, comment or "<" that never closes is text, so that a sender's slip costs one address, not all of
them; but in a value that was cut it hides where an item ends, and everything from that item on is dropped.
"""

import re

from sink.core.addresses import after_comment, split

MOST_ADDRESSES = 2_000  # of one header; about what fits Postfix's header_size_limit of 102,400 bytes

_EDGES = b"? \t"  # a fold, and the blanks beside it

_ADDRESS = rb"[0-9A-Za-z_.+&'/=~%!#$*^`{|}-]++@[0-9A-Za-z_.-]++"
# A single address, alone or behind a display name without anything special: nearly every From.
_SINGLE = re.compile(
    rb"(?:(?:\"[^\"\\]*+\"|[0-9A-Za-z_.'=?\x80-\xff -]*+) ?<(" + _ADDRESS + rb")>|(" + _ADDRESS + rb"))"
).fullmatch
_PLAIN_LIST = re.compile(_ADDRESS + rb"(?>(?:,[? ]*+" + _ADDRESS + rb")+)").fullmatch

_QUOTED = rb'"(?>(?:[^"\\]++|\\.)*)"'
_TEXT = (
    # RFC 2047: an encoded-word is part of a name, also when "@" or "," stands in it.
    rb"(?P<name>=\?[^?@<>, ]++\?[BbQq]\?[^?<> ]*+\?=)"
    rb'|(?P<word>[^"(),:;<>=\\\[ \t]++|=|\\.|\[[^][]*+\])'
    rb"|(?P<blank>[ \t]++)"
)
_STRICT = re.compile(
    _TEXT + rb"|(?P<quoted>" + _QUOTED + rb")|<(?P<angle>(?>(?:" + _QUOTED + rb'|[^"<>]++)*))>|(?P<special>.)',
    re.DOTALL,
).match
# The same behind a quote that does not close: quotes are text from there on.
_LOOSE = re.compile(_TEXT + rb"|<(?P<angle>[^<>]*+)>|(?P<special>.)", re.DOTALL).match

_BARE = re.compile(rb"[0-9A-Za-z_.+\x80-\xff-]++").fullmatch
_NOBODY = re.compile(rb"undisclosed[_-]recipients?", re.IGNORECASE).fullmatch


def mailboxes(value: bytes, cut: bool) -> tuple[list[bytes], bool]:
    """Return (addresses as written, in order; something was dropped) of a header's value.

    With cut the last item counts only when a "," or ";" closes it. Dropped means the cut item and what is
    beyond MOST_ADDRESSES; text that is no address is not missed. 0.3 us for a single address.
    """
    if not cut:
        match = _SINGLE(value)
        if match is not None:
            return [match[1] or match[2]], False
        if _PLAIN_LIST(value) and value.count(b",") < MOST_ADDRESSES:
            return [item.strip(_EDGES) for item in value.split(b",")], False
    reader = _Reader(value, cut)
    return reader.found, reader.dropped


class _Reader:
    """The reading of one value: addresses found, and the words of the item that is being read."""

    __slots__ = ("_apart", "_closed", "_cut", "_first", "_value", "_words", "dropped", "found")

    def __init__(self, value: bytes, cut: bool) -> None:
        self.found: list[bytes] = []
        self.dropped = False
        self._value = value
        self._cut = cut
        self._words: list[list[bytes]] = []  # pieces, joined at the item's end: joining early is quadratic
        self._apart = True  # the next piece begins a word
        self._first = 0  # of self.found, the item's own
        self._closed = False  # the item's <> is read
        ended = self._read()
        self._finish(ended)

    def _read(self) -> bool:
        """Read all items; False where the value's end is out of sight or the cap is reached."""
        value, match = self._value, _STRICT
        at, comments = 0, True
        while at < len(value) and len(self.found) <= MOST_ADDRESSES:
            lexeme = match(value, at)
            if lexeme is None:
                break  # never: the last branch matches any byte
            at = lexeme.end()
            kind, text = lexeme.lastgroup, lexeme[0]
            if kind in ("word", "quoted"):
                self._add(text)
            elif kind == "angle":
                self._angle(lexeme["angle"])
            elif kind != "special":
                self._apart = True
            elif text == b"(" and comments and (after := after_comment(value, at - 1)) is not None:
                at = after
                self._apart = True
            elif self._cut and text in (b'"', b"(", b"<", b"\\"):
                return False
            elif text in (b'"', b"("):
                # It never closes, and no later one would: looking again each time would be quadratic.
                match = _LOOSE if text == b'"' else match
                comments = comments and text != b"("
                self._apart = True
            else:
                self._special(text)
        return len(self.found) <= MOST_ADDRESSES

    def _add(self, piece: bytes) -> None:
        if self._apart:
            self._words.append([])
            self._apart = False
        self._words[-1].append(piece)

    def _special(self, text: bytes) -> None:
        if text == b"[":
            self._add(text)
            return
        self._apart = True
        if text in (b",", b";"):
            self._end_item()
        elif text == b":":
            self._words = []  # a group's name

    def _angle(self, inner: bytes) -> None:
        address = inner.strip(_EDGES)
        if _names(address) or _is_bare(address):
            self.found.append(address)
        self._words = []
        self._apart = True
        self._closed = True

    def _end_item(self) -> None:
        if self._words and not self._closed:
            address = _spoken(self._words)
            if address:
                self.found.append(address)
        self._words = []
        self._apart = True
        self._closed = False
        self._first = len(self.found)

    def _finish(self, ended: bool) -> None:
        if self._cut:
            named = any(piece.strip(_EDGES) for word in self._words for piece in word)
            self.dropped = named or self._closed or not ended
            del self.found[self._first :]
        else:
            self._end_item()
        if len(self.found) > MOST_ADDRESSES:
            del self.found[MOST_ADDRESSES:]
            self.dropped = True


def _spoken(words: list[list[bytes]]) -> bytes:
    """Return the address of an item without <>: its last word with an "@", or its only word, or b""."""
    joined: list[list[bytes]] = []
    for pieces in words:
        word = b"".join(pieces).strip(_EDGES)
        if not word:
            continue
        if joined and (word.startswith(b"@") or joined[-1][-1].endswith(b"@")):
            joined[-1].append(word)  # obsolete blanks around the "@"
        else:
            joined.append([word])
    for parts in reversed(joined):
        address = b"".join(parts)
        if address.startswith(b"'") and address.endswith(b"'"):
            address = address[1:-1]  # Outlook's quotes, copied out of a display name
        if _names(address):
            return address
    return joined[0][0] if len(joined) == 1 and len(joined[0]) == 1 and _is_bare(joined[0][0]) else b""


def _names(address: bytes) -> bool:
    """Tell whether a text has the two sides of an address."""
    local, domain = split(address)
    return bool(local and domain)


def _is_bare(word: bytes) -> bool:
    """Tell whether a word can be a user without a domain, as cron and scripts write."""
    return _BARE(word) is not None and _NOBODY(word) is None
