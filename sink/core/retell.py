"""Tells the texts of Postfix again, with pseudonyms: text -> text.

One grammar: the patterns, and the places they are split at, are the parser's own (deliveries, refusals, headers,
parse); here stands only which of their groups is somebody's. Law 2 holds for each part: what is not a constant word,
a number of known meaning or a pseudonym does not come out. What this tells, parsed, gives the facts of the
original, up to the names: a reply's text becomes its codes and words that give the same class.
"""

import re
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache

from sink.core import values
from sink.core.deliveries import (
    DELAY,
    DELAYS,
    DELIVERY,
    DSN,
    PEER_SAID,
    PLAIN,
    SAID_CODE,
    STATUSES,
    TO,
    linked,
    unordered,
)
from sink.core.facts import FORWARD
from sink.core.forms import Form, masked
from sink.core.grammar import PRESENCE, ignored_words
from sink.core.headers import ASKED, trailer
from sink.core.mailboxes import mailboxes
from sink.core.masks import Masks
from sink.core.notices import LEVELS, notice
from sink.core.parse import (
    ACCEPTED,
    CLIENT_TEXT,
    ENDS,
    EXPIRED,
    NOTIFIED,
    ORIGINAL,
    PICKUP,
    QUEUED,
    SYNTAX,
    Parser,
    split_sasl,
)
from sink.core.queueid import is_queue_id
from sink.core.reasons import WORDS
from sink.core.refusals import CLEANUP_STAGES, STAGED, STAGES, parts_of, reply
from sink.core.tags import Program
from sink.core.wordings import ALONE, PRESENT, REFUSED, REJECTED, SAID

TOKEN = b"0000000000000000"  # header_tokens of a host that imports scrubbed lines; nothing in them is a stranger's text
MOST_CACHED = 2_048  # fields and texts, clear text in RAM only
_OPENS, _CLOSES = b": #" + TOKEN + b" ", b" #" + TOKEN

_ADDRESSES = frozenset({b"from", b"to", b"cc", b"bcc"})
_LIST_HEADERS = {b"list-id": b"<list.invalid>", b"list-post": b"<list.invalid>", b"precedence": b"list"}
_SCORES = {
    b"x-spam-score": b"%s", b"x-spam-status": b"No, score=%s required=0", b"x-spamd-result": b"default: False [%s / 0]",
}  # fmt: skip
_TRAILER = ("peer", "sender", "address", "proto", "thing", "nothing")
_TAIL = ("sender", "address", "proto", "thing")
_ANSWERED = re.compile(
    rb".*( \(in reply to (?:(?:MAIL FROM|RCPT TO|DATA|EHLO|HELO|LHLO|STARTTLS|AUTH|XFORWARD|QUIT|RSET) command"
    rb"|end of DATA command)\))",
    re.DOTALL,
).fullmatch
# Actions of access tables, header_checks and milters, as the parser knows them.
_REFUSALS = frozenset({b"reject:", b"milter-reject:", b"milter-header-reject:", b"proxy-reject:"})
_BARE = _REFUSALS | {b"proxy-accept:"}  # that stand without a queue id, and without NOQUEUE, too
_ACTIONS = _BARE | {b"discard:", b"milter-discard:"} | {word for word in PRESENCE if word.endswith(b":")}
_NOQUEUE = b"NOQUEUE: "


class Teller:
    """Tells the texts of one epoch's lines again."""

    def __init__(self, parser: Parser, masks: Masks) -> None:
        self._masks = masks
        self._headers = parser.headers
        self._classify = parser.reasons.classify
        self._to = lru_cache(MOST_CACHED)(self._to_field)
        self._relay = lru_cache(MOST_CACHED)(self._relay_field)
        self._said = lru_cache(MOST_CACHED)(self._told_said)
        self._client = lru_cache(MOST_CACHED)(self._told_client)
        self._alone = lru_cache(MOST_CACHED)(ALONE.told)
        form = Form
        queued = form(QUEUED, ("sender", "sender"))
        self._forms = {
            b"from": (queued, form(EXPIRED.fullmatch, ("sender", "sender"))),
            b"uid": (form(PICKUP.fullmatch, ("uid", "sender", "sender", "parent")),),
            b"sender": (form(NOTIFIED.fullmatch, ("queue_id",)),),
            b"postmaster": (form(NOTIFIED.fullmatch, ("queue_id",)),),
        }
        self._tellers: dict[bytes, Callable[[bytes], bytes | None]] = {
            b"to": self._delivery, b"client": self._client, b"message-id": self._message_id,
            b"resent-message-id": self._message_id, b"info:": self._header, b"milter-header-info:": self._header,
            b"host": self._host,
        }  # fmt: skip

    def told(self, program: Program, queue_id: bytes, word: bytes, text: bytes) -> tuple[bytes, bool]:
        """Return (a text behind its tag, told again; whether it was understood)."""
        if queue_id and is_queue_id(queue_id):
            shown = self._masks.queue_id(queue_id) + b": "
            body = self._of_message(word, text)
            if body is not None:
                return shown + body, True
            first = text.partition(b" ")[0]
            if first in PRESENCE or first in _ACTIONS:
                return shown + first + b" " + self._masks.dropped(text[len(first) + 1 :]), False
            return shown + self._masks.dropped(text), False
        return self._without_message(program, queue_id + b": " + text if queue_id else text)

    def _of_message(self, word: bytes, text: bytes) -> bytes | None:
        """Tell what stands behind "QID: " or "NOQUEUE: "."""
        forms = self._forms.get(word)
        if forms is not None:
            for form in forms:
                found = form.told(self._masks, text)
                if found is not None:
                    return found
        teller = self._tellers.get(word)
        if teller is not None:
            return teller(text)
        if text in ENDS:
            return text
        if word in _ACTIONS:
            return self._action(word, text)
        return PRESENT.told(self._masks, text)

    def _without_message(self, program: Program, text: bytes) -> tuple[bytes, bool]:
        if text.startswith(_NOQUEUE):
            rest = text[len(_NOQUEUE) :]
            first = rest.partition(b" ")[0]
            body = self._of_message(b"client" if rest.startswith(b"client=") else first, rest)
            return (_NOQUEUE + self._masks.dropped(rest), False) if body is None else (_NOQUEUE + body, True)
        first = text.partition(b" ")[0]
        body = self._action(first, text) if first in _BARE else self._syntax(text) or self._alone(self._masks, text)
        if body is not None:
            return body, True
        if first not in ignored_words(program.daemon):
            return self._masks.dropped(text), False
        rest = text[len(first) + 1 :]
        shown = self._masks.dropped(rest)
        words = notice(rest) if first[:-1] in LEVELS and notice(shown) is None else None
        return first + b" " + (b"" if words is None else words.encode() + b" ") + shown, False

    def _syntax(self, text: bytes) -> bytes | None:
        match = SYNTAX.fullmatch(text) if text.startswith(b"warning: I") else None
        if match is None:
            return None
        return masked(self._masks, match, ("peer", "", "sender" if match[2] == b"MAIL" else "address"))

    # -- deliveries

    def _to_field(self, field: bytes) -> bytes | None:
        match = TO(field)
        return b"to=<%b>, " % self._masks.address(match[1]) if match else None

    def _relay_field(self, field: bytes) -> bytes | None:
        return b"relay=%b, " % self._masks.relay(field[6:]) if field.startswith(b"relay=") else None

    def _delivery(self, text: bytes) -> bytes | None:
        fields = text.split(b", ", 2)
        if len(fields) == 3:
            to, relay, plain = self._to(fields[0]), self._relay(fields[1]), PLAIN(fields[2])
            if to is not None and relay is not None and plain is not None and plain[4] in STATUSES:
                said = self._said(plain[6], STATUSES[plain[4]], plain[3], plain[5])
                return b"%b%b%b%b" % (to, relay, fields[2][: plain.start(6)], said)
        match = DELIVERY.match(text)
        if match is None:
            return self._unordered(text)
        recipient, original, hop, delay, delays, _, dsn, word = match.groups()
        to, alias = (None if one is None else b"<%b>" % self._masks.address(one) for one in (recipient, original))
        uses = text[match.end(3) + len(", conn_use=") : match.start(4) - len(", delay=")]  # b"" where it does not stand
        numbers = {b"conn_use": uses, b"delay": delay, b"delays": delays, b"dsn": dsn}
        return self._fields(to or b"", alias, hop, numbers, word, text[match.end() :])

    def _unordered(self, text: bytes) -> bytes | None:
        parts = unordered(text)
        if parts is None:
            return None
        found, named, status = parts
        mask = self._masks.address
        shown = [
            b"<%b>" % mask(quoted) if quoted is not None else None if bare is None else mask(bare) or b"<>"
            for quoted, bare in ((found[1], found[2]), (found[3], found[4]))
        ]
        return self._fields(shown[0] or b"", shown[1], named.get(b"relay"), named, status[1], status[2])

    def _fields(
        self, to: bytes, original: bytes | None, hop: bytes | None, named: dict[bytes, bytes], word: bytes, rest: bytes,
    ) -> bytes | None:  # fmt: skip
        """Write the fields of a delivery line in log_adhoc()'s order, without those that are no numbers."""
        if word not in STATUSES:
            return None
        parts = [b"to=" + to]
        parts += [] if original is None else [b"orig_to=" + original]
        parts += [] if hop is None else [b"relay=" + self._masks.relay(hop)]
        good = {name: named[name] for name, fits in _FIELDS if named.get(name) and fits(named[name])}
        parts += [b"%b=%b" % field for field in good.items()]
        said = rest.removeprefix(b" ")
        code = SAID_CODE.match(said)
        shown = self._said(said, STATUSES[word], good.get(b"dsn") or b"", code[1] if code else None)
        return b"%b, status=%b %b" % (b", ".join(parts), word, shown)

    def _told_said(self, said: bytes, status: str, dsn: bytes, code: bytes | None) -> bytes:
        """Tell the text in a delivery line's parentheses: Postfix's own as it is, a peer's as codes and class."""
        if not said:
            return b""
        masks = self._masks
        sent = status in ("sent", "deliverable")
        if status == "sent":
            kind, queue_id = linked(said)
            if kind == FORWARD:
                return b"(forwarded as %b)" % masks.queue_id(queue_id)
            if kind:
                return b"(%b%b)" % (_codes(code, said), b"Ok: queued as " + masks.queue_id(queue_id))
        inner = said[1:-1] if said.startswith(b"(") and said.endswith(b")") else said.removeprefix(b"(")
        own = SAID.told(masks, inner)
        if sent:
            return b"(%b)" % (own or _codes(code, said) + b"Ok")
        number: int | str = "" if code is None else int(code)
        category = self._classify(said, dsn, number)
        words = WORDS[category]
        peer = PEER_SAID(inner)
        assert peer is not None  # every part of it is optional
        waits, host, verb, rest = peer.groups()
        answered = _ANSWERED(rest)
        by = b"host %b %b: " % (masks.peer(host), verb) if verb else b""
        codes = _codes(code, rest)
        usual = b"%b%b%b%b%b" % (waits or b"", by, codes, words, answered[1] if answered else b"")
        for shown in (own, usual, by + codes + words):
            if shown and self._classify(b"(%b)" % shown, dsn, number) == category:
                return b"(%b)" % shown
        return b"(%b)" % (codes + words)

    def _host(self, text: bytes) -> bytes | None:
        """Tell smtp's "host name[ip] said: reply"."""
        match = PEER_SAID(text)
        if match is None or not match[3]:
            return None
        code, dsn, _ = reply(match[4])
        return self._told_said(b"(%b)" % text, "deferred", dsn, b"%d" % code if code else None)[1:-1]

    # -- clients, ids

    def _told_client(self, text: bytes) -> bytes | None:
        match = CLIENT_TEXT.fullmatch(text)
        if match is None:
            return None
        masks, tail = self._masks, match[3]
        shown = text[: match.start(3)]
        head = CLIENT_TEXT.fullmatch(shown)
        assert head is not None
        parts = [masked(masks, head, ("host", "ip"))]
        if tail:
            sasl, user, sender, rest = split_sasl(tail)
            original = ORIGINAL.fullmatch(rest)
            parts += [] if sasl is None else [b", sasl_method=" + masks.sasl(sasl)]
            parts += [] if user is None else [b", sasl_username=" + masks.address(user)]
            parts += [] if sender is None else [b", sasl_sender=" + masks.address(sender)]
            if rest:
                shown = b", " + masks.dropped(rest)
                parts.append(shown if original is None else masked(masks, original, ("parent", "host", "ip")))
        return b"".join(parts)

    def _message_id(self, text: bytes) -> bytes | None:
        name, equals, value = text.partition(b"=")
        if not equals:
            return None
        found = values.message_id(value)
        return name + b"=" + (b"<>" if found is None else self._masks.message_id(found))

    # -- refusals and other actions

    def _action(self, word: bytes, text: bytes) -> bytes | None:
        """Tell "ACTION: STAGE from client: reply; trailer" and "ACTION: header Name: value trailer: text"."""
        action, _, rest = text.partition(b": ")
        for stage in CLEANUP_STAGES:
            if rest.startswith(stage):
                return b"%b: %b%b" % (action, stage, self._of_cleanup(word, rest[len(stage) :]))
        match = STAGED.fullmatch(rest)
        if match is None:
            return None
        stage = match[1] if match[1].decode("ascii") in STAGES else b"UNKNOWN"
        client = b"" if match[2] is None else b" from " + self._masks.peer(match[2].removesuffix(b":"))
        return b"%b: %b%b: %b" % (action, stage, client, self._refusal(match[3], word))

    def _refusal(self, said: bytes, word: bytes) -> bytes:
        code, dsn, quoted, wording, tail = parts_of(said)
        masks = self._masks
        parts = [b"" if code is None else b"%d " % code, dsn + b" " if dsn else b""]
        parts.append(b"" if quoted is None else b"<%b>: " % masks.thing(quoted))
        accepted = ACCEPTED.match(b"proxy-accept: END-OF-MESSAGE: " + wording)
        if word == b"proxy-accept:":
            parts.append(b"Ok: queued as " + masks.queue_id(accepted[1]) if accepted else b"Ok")
        else:
            parts.append(self._wording(wording, dsn, code or ""))
        if tail is not None:
            parts.append(masked(masks, tail, _TAIL[: tail.re.groups]))
        return b"".join(parts)

    def _wording(self, wording: bytes, dsn: bytes, code: int | str) -> bytes:
        """Tell a refusal's text: Postfix's own as it is, an operator's by its class."""
        category = self._classify(wording, dsn, code)
        subject, rejected, rest = wording.partition(b" rejected: ")
        before = subject + rejected
        if before not in REJECTED:
            before, rest = b"", wording
        own = REFUSED.told(self._masks, rest)
        for shown in (before + (own or WORDS[category]), before + WORDS[category]):
            if self._classify(shown, dsn, code) == category:
                return shown
        return WORDS[category]

    def _of_cleanup(self, word: bytes, text: bytes) -> bytes:
        match = trailer(text)
        if match is None:
            return self._masks.dropped(text)
        shown = masked(self._masks, match, _TRAILER)
        said = b""
        if match[6] is not None:
            code, dsn, wording = reply(match[6])
            said = self._masks.dropped(match[6])
            if word in _REFUSALS:
                codes = (b"" if code is None else b"%d " % code) + (dsn + b" " if dsn else b"")
                said = codes + self._wording(wording, dsn, code or "")
        return self._masks.dropped(text[: match.start()]) + shown + said

    # -- headers

    def _header(self, text: bytes) -> bytes | None:
        """Tell a header line by what is wanted of it; the value stands between tokens that are no secret."""
        action, _, rest = text.partition(b": ")
        if not rest.startswith(b"header "):
            return action + b": " + self._masks.dropped(rest)
        rest = rest[7:]
        read = self._headers.value(rest)
        if read is None or read[0] not in ASKED:
            return action + b": header " + self._masks.dropped(rest)
        name, value, cut = read
        match = trailer(rest)
        shown = b"" if match is None else masked(self._masks, match, _TRAILER)
        if match is not None and match[6] is not None:
            shown = shown.removesuffix(b": ")
        kept, cut = self._value(name, value, cut)
        end = _CLOSES + b"+" if cut else _CLOSES
        title = _TITLES[name]
        return b"%b: header %b: -%b%b%b: %b%b" % (action, title, shown, _OPENS, title, kept, end)

    def _value(self, name: bytes, value: bytes, cut: bool) -> tuple[bytes, bool]:
        """Return (what is shown of a header's value, whether it was cut)."""
        masks = self._masks
        if name in _ADDRESSES:
            found, dropped = mailboxes(value, cut)
            shown = [address for address in map(masks.address, found) if address]
            cut = cut or dropped
            return b", ".join(shown) + (b"," if cut and shown else b""), cut
        if name in _SCORES:
            score = None if cut else values.spam_score(name, value)
            return (b"" if score is None else _SCORES[name] % (b"%g" % score)), cut
        if name == b"subject":
            return (b"" if cut else b"x" * values.subject_size(value)), cut
        if name == b"date":
            second = values.header_date(value)
            return (b"" if second is None else formatdate(second).encode("ascii")), cut
        if name == b"in-reply-to":
            answered = values.reply_id(value)
        elif name == b"references":
            answered = self._headers.last_reference(value, cut)
        else:
            return (_LIST_HEADERS[name] if values.is_list_header(name, value) else b""), cut
        return (b"" if answered is None else masks.message_id(answered)), cut


_TITLES = {name: name.title() for name in ASKED}
_FIELDS = (
    (b"conn_use", re.compile(rb"\d{1,9}").fullmatch), (b"delay", DELAY.fullmatch), (b"delays", DELAYS.fullmatch),
    (b"dsn", DSN.fullmatch),
)  # fmt: skip


def _codes(code: bytes | None, said: bytes) -> bytes:
    """Return the codes that a reply begins with, each with a blank behind."""
    dsn = reply(said.removeprefix(b"("))[1]
    return (code + b" " if code else b"") + (dsn + b" " if dsn else b"")
