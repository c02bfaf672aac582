"""What becomes of each column in an export: the whole list, and what is not on it is not exported.

Rules, in the spirit of RFC 6235: whatever the log's text could have shaped is left out, replaced by a token, made
coarse, or a word of a closed list. Columns by which somebody who knows a mail could find its row are `known`: rows
that are alike in these hide each other, and where too few are alike the value gives way (see levels.py).
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from sink.config import CATEGORIES
from sink.core.deliveries import STATUSES
from sink.core.refusals import CLEANUP_STAGES, STAGES
from sink.core.tags import DAEMONS
from sink.tools.exporting import coarse
from sink.tools.exporting.tokens import Tokens

Make = Callable[[Any, Tokens], Any]
ASKED = {  # the words of --with, and what they bring
    "address": "all addresses, each with one token for the whole release",
    "message-id": "tokens of message-ids",
    "queue-id": "tokens of queue ids",
    "relay": "tokens of next hops",
    "host": "tokens of hosts and instances",
}
DETAIL, SIDE, KIND, SIZE = "detail", "side", "kind", "size"  # how columns give way, the first first; see levels.py

_ORIGINS = frozenset("smtpd sasl trusted pickup qmqpd bounce forward verify".split())
_HOPS = frozenset("none local socket loopback internal remote".split())
_SENDERS = frozenset("plain null bare verp srs batv".split())
_DSN = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


class Widths(NamedTuple):
    """How coarse times and sizes are."""

    time: str = "hour"
    size: str = "log2"


@dataclass(frozen=True, slots=True)
class Treatment:
    """What becomes of a column."""

    how: str  # in words, for the manifest
    make: Callable[[Widths], Make] | None = None  # None: it is left out
    kind: str = "text"  # text, integer, number or time
    asked: str = ""  # the word of --with without which it is left out
    known: bool = False  # to somebody who knows the mail
    gives_way: str = ""  # how, where too few rows are alike
    stable: str = "-"  # for what range the same value stands for the same


def _cut(why: str) -> Treatment:
    return Treatment(f"left out: {why}")


def _word(words: Collection[str], **more: Any) -> Treatment:
    known = frozenset(words)
    return Treatment("kept: a word of a closed list", lambda _: lambda word, tokens: word if word in known else None,
                     stable="always", **more)  # fmt: skip


def _number(how: str = "kept", **more: Any) -> Treatment:
    return Treatment(how, lambda _: lambda number, tokens: int(number), "integer", stable="always", **more)


def _size(**more: Any) -> Treatment:
    def make(widths: Widths) -> Make:
        made = coarse.size(widths.size)
        return lambda number, tokens: made(number)

    return Treatment("by --size: log2 takes it to the power of two below it", make, "integer", stable="always", **more)


def _delay() -> Treatment:
    def make(widths: Widths) -> Make:
        made = coarse.delay(widths.time)
        return lambda seconds, tokens: made(seconds)

    return Treatment("to the power of two below it, 0 below 0.125 s; with --time second as logged", make, "number",
                     stable="always")  # fmt: skip


def _time(**more: Any) -> Treatment:
    def make(widths: Widths) -> Make:
        made = coarse.time(widths.time)
        return lambda text, tokens: made(text)

    return Treatment("by --time: cut to its second, minute, hour or day", make, "time", stable="always", **more)


def _token(purpose: str, asked: str) -> Treatment:
    def make(_: Widths) -> Make:
        return lambda text, tokens: tokens.other(purpose, text)

    return Treatment("re-keyed", make, asked=asked, stable="epoch of this release")


def _address(**more: Any) -> Treatment:
    return Treatment("re-keyed, the user bound to its domain", lambda _: lambda text, tokens: tokens.address(text),
                     stable="epoch of this release", **more)  # fmt: skip


def _domain() -> Treatment:
    return Treatment("the user left out, the domain re-keyed", lambda _: lambda text, tokens: tokens.domain(text),
                     known=True, gives_way=SIDE, stable="epoch of this release")  # fmt: skip


def _list() -> Treatment:
    return Treatment("re-keyed address by address, sorted anew", lambda _: lambda text, tokens: tokens.listed(text),
                     asked="address", stable="epoch of this release")  # fmt: skip


_CODE = Treatment("kept: three numbers", lambda _: lambda text, tokens: text if _DSN.fullmatch(text) else None,
                  stable="always")  # fmt: skip
_SCORE = Treatment("cut to whole points", lambda _: lambda points, tokens: coarse.score(points), "integer",
                   known=True, gives_way=DETAIL, stable="always")  # fmt: skip
_LOGGED = _time(known=True)
_EPOCH = _number(known=True)
_AGENT = _word(DAEMONS)
_ID = _cut("it names the log line")
_SECOND_TIME = "a second time of a row tells more than one may; logged_at less delay comes near it"

_DELIVERY = {
    "id": _ID,
    "message_id": _token("message-id", "message-id"),
    "queue_id": _token("queue-id", "queue-id"),
    "first_seen_at": _cut(_SECOND_TIME),
    "date": _cut(_SECOND_TIME),
    "sent_at": _cut(_SECOND_TIME),
    "received_at": _cut(_SECOND_TIME),
    "sender": _domain(),
    "recipient": _domain(),
    **dict.fromkeys(("from", "to", "cc", "bcc"), _list()),
    "message_size": _size(known=True, gives_way=SIZE),
    "spam_score": _SCORE,
    "subject_size": _size(known=True, gives_way=DETAIL),
    "is_list": _number(known=True, gives_way=KIND),
    "is_outgoing": _number(known=True),
    "re_message_id": _token("message-id", "message-id"),
    "status": _word(frozenset(STATUSES.values())),
    "delay": _delay(),
    "delays": _cut("the four columns delay_... say it"),
    "host": _token("host", "host"),
    "instance": _token("host", "host"),
    "agent": _AGENT,
    "logged_at": _LOGGED,
    "epoch": _EPOCH,
    **dict.fromkeys(("original_recipient", "list_recipient"), _address(asked="address")),
    "sender_kind": _word(_SENDERS, known=True, gives_way=KIND),
    "submitter": _address(asked="address"),
    "resent_message_id": _token("message-id", "message-id"),
    "dsn": _CODE,
    "reply_code": _number(),
    "reason": _word(CATEGORIES),
    "relay": _token("relay", "relay"),
    "relay_kind": _word(_HOPS),
    "recipients": _size(known=True, gives_way=DETAIL),
    **dict.fromkeys(("delay_before_queue", "delay_in_queue", "delay_connect", "delay_transmit"), _delay()),
    "origin": _word(_ORIGINS, known=True, gives_way=KIND),
    "next_queue_id": _token("queue-id", "queue-id"),
    "parent_queue_id": _token("queue-id", "queue-id"),
    "is_internal": _number(),
    "headers_cut": _number(known=True, gives_way=DETAIL),
}
_REJECT = {
    "logged_at": _LOGGED,
    "host": _token("host", "host"),
    "instance": _token("host", "host"),
    "agent": _AGENT,
    "stage": _word({*STAGES, *CLEANUP_STAGES.values(), "UNKNOWN"}),
    "reply_code": _number(),
    "dsn": _CODE,
    "sender": _domain(),
    "recipient": _domain(),
    "category": _word(CATEGORIES),
    "epoch": _EPOCH,
    "id": _ID,
}
TREATMENTS = {"delivery": _DELIVERY, "reject": _REJECT}


def chosen(table: str, asked: Collection[str]) -> dict[str, Treatment]:
    """Return the columns of an export and their treatments, in the order of the view."""
    found = {name: one for name, one in TREATMENTS[table].items() if one.make and (not one.asked or one.asked in asked)}
    if "address" in asked:
        found |= dict.fromkeys(("sender", "recipient"), _address())
    return found


def left_out(table: str, asked: Collection[str]) -> dict[str, str]:
    """Return the columns that are not in an export, and why."""
    rest = TREATMENTS[table].keys() - chosen(table, asked).keys()
    return {
        name: f"left out unless asked for: --with {one.asked}" if one.make else one.how
        for name, one in TREATMENTS[table].items() if name in rest
    }  # fmt: skip
