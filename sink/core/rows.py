"""The rows: what leaves the core and is kept.

A row is a plain tuple (second, halves, scalar, scalar, ...): a dataclass of this width costs more than all parsing
of its lines. `halves` holds all 16-byte pseudonyms side by side, sixteen zero bytes where there is none; an
absent scalar is "". That is for the store: Python's sqlite3 takes 0.3 us to bind a None and 0.4 a bytes object, 0.05 a
number or a string, and a row has 47 columns. A null sender has sender_kind "null" and no user.
"""

from typing import Any

from sink.core.facts import (
    BCC,
    CC,
    CUT,
    DATE,
    FROM,
    HEADERS,
    LIST,
    MESSAGE_ID,
    REFERENCE,
    REPLY_ID,
    RESENT_ID,
    SCORE,
    SUBJECT,
    TO,
)
from sink.core.pseudonym import NONE, WIDTH

Row = tuple[Any, ...]

# Columns of table `delivery`, first those of the attempt, then those that all rows of a message share; the views give
# them DESIGN's names and forms.
HALVES = (
    "id", "recipient_user", "recipient_domain", "original_user", "original_domain", "relay", "next_queue_id",
    "queue_id", "parent_queue_id", "message_id", "resent_message_id", "re_message_id",
    "submitter_user", "submitter_domain", "sender_user", "sender_domain", "list_user", "list_domain",
)  # fmt: skip
SCALARS = (
    "logged_micros", "instance", "agent", "is_outgoing", "is_internal",
    "status", "delay", "delays", "dsn", "reply_code", "reason", "relay_kind", "host",
    "epoch", "first_seen", "date", "sender_kind", "from", "to", "cc", "bcc",
    "message_size", "recipients", "spam_score", "subject_size", "is_list", "headers_cut", "origin",
)  # fmt: skip
# Behind the scalars, and only where the operator keeps queue ids plain.
PLAIN = ("queue_id", "next_queue_id", "parent_queue_id")
SENDER_KIND = 2 + SCALARS.index("sender_kind")  # its place in a row

# Columns of table `reject`, alike.
REJECT_HALVES = ("id", "sender_user", "sender_domain", "recipient_user", "recipient_domain")
REJECT_SCALARS = (
    "logged_micros", "epoch", "host", "instance", "agent", "stage", "reply_code", "dsn", "sender_kind", "category",
)  # fmt: skip

# header columns that a link's child takes where it has none of its own
INHERITED = (MESSAGE_ID, RESENT_ID, DATE, SUBJECT, REPLY_ID, REFERENCE, LIST, FROM, TO, CC, BCC, SCORE, HEADERS, CUT)


def shown(address: bytes) -> str:
    """Return an address's pseudonym as the views show it: 32hex@32hex, 32hex for a bare user, "" for nobody."""
    user, domain = address[:WIDTH], address[WIDTH:]
    if domain != NONE:
        return f"{user.hex()}@{domain.hex()}"
    return "" if user == NONE else user.hex()


def listed(addresses: set[bytes] | None) -> str:
    """Return a header's addresses as the views show them: sorted, space-separated, "" where it has none."""
    return " ".join(sorted([shown(address) for address in addresses])).strip() if addresses else ""


def score_of(own: set[float] | None, filtered: set[float] | None) -> float | str:
    """Return the spam score; of scores that disagree none is believed."""
    scores = own or filtered
    return next(iter(scores)) if scores and len(scores) == 1 else ""

