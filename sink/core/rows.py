"""The rows: what leaves the core and is kept.

A row is a plain tuple in the order of its columns (a dataclass of this width costs more than all parsing of
its lines: 0.03 against 2 us). Addresses are 16-byte halves; b"" as a user is the null sender, None is unknown.
"""

from typing import Any

from sink.core.facts import (
    BCC,
    CC,
    CUT,
    DATE,
    FILTER_SCORE,
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

Row = tuple[Any, ...]

# Physical columns of table `delivery`, in order; the views give them DESIGN's names and forms.
DELIVERY = (
    "logged_second", "id", "logged_micros", "epoch", "host", "instance", "agent", "queue_id", "message_id",
    "resent_message_id", "re_message_id", "first_seen", "date", "sender_user", "sender_domain", "sender_kind",
    "recipient_user", "recipient_domain", "original_user", "original_domain", "list_user", "list_domain",
    "submitter_user", "submitter_domain", "from", "to", "cc", "bcc", "message_size", "recipients", "spam_score",
    "subject_size", "is_list", "is_outgoing", "is_internal", "headers_cut", "status", "delay", "delays", "dsn",
    "reply_code", "reason", "relay", "relay_kind", "origin", "next_queue_id", "parent_queue_id",
)  # fmt: skip
REJECT = (
    "logged_second", "id", "logged_micros", "epoch", "host", "instance", "agent", "stage", "reply_code", "dsn",
    "sender_user", "sender_domain", "recipient_user", "recipient_domain", "category",
)  # fmt: skip

# header columns that a link's child takes where it has none of its own
INHERITED = (MESSAGE_ID, RESENT_ID, DATE, SUBJECT, REPLY_ID, REFERENCE, LIST, FROM, TO, CC, BCC, SCORE, HEADERS, CUT)


def shown(user: bytes, domain: bytes | None) -> str:
    """Return an address's pseudonym as the views show it: 32hex@32hex, or 32hex for a bare user."""
    return f"{user.hex()}@{domain.hex()}" if domain else user.hex()


def listed(parties: set[tuple[bytes, bytes]] | None) -> str | None:
    """Return a header's addresses as the views show them: sorted, space-separated, None where it has none."""
    return " ".join(sorted([shown(*party) for party in parties if party[0]])) or None if parties else None


def score_of(own: set[float] | None, filtered: set[float] | None) -> float | None:
    """Return the spam score; of scores that disagree none is believed."""
    scores = own or filtered
    return next(iter(scores)) if scores and len(scores) == 1 else None


__all__ = ["DELIVERY", "FILTER_SCORE", "INHERITED", "REJECT", "Row", "listed", "score_of", "shown"]
