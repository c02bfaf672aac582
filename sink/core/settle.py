"""Settles an attempt into a row: the merged facts of its message, and what its links hand down.

Pure folding: the same facts give the same row, whatever order they came in. Links go up from child to parent;
what a child takes is DESIGN's table "Links and inheritance".
"""

from typing import NamedTuple

from sink.core.addressbook import NOBODY
from sink.core.facts import (
    ACTIVE,
    ARRIVALS,
    ARRIVED,
    BCC,
    CC,
    CLIENT,
    CUT,
    DATE,
    FILTER,
    FILTER_SCORE,
    FORWARD,
    FROM,
    HEADERS,
    LATE,
    LIST,
    MESSAGE_ID,
    NOTIFICATION,
    PARENT,
    PICKUP_SENDER,
    PROBE,
    PROXY,
    REFERENCE,
    REPLY_ID,
    RESENT_ID,
    SCORE,
    SENDER,
    SUBJECT,
    TO,
    UID,
    Fact,
    Folded,
)
from sink.core.messages import Message, Waiting
from sink.core.pseudonym import NONE
from sink.core.rows import INHERITED, Row, listed, score_of

SUBMITTED = frozenset({"sasl", "trusted", "pickup", "qmqpd", "bounce"})  # origins that mean: submitted here
LOCAL_AGENTS = frozenset({"local", "virtual"})  # they deliver to recipients of this host
MOST_LINKS = 10  # links followed upwards; a longer chain is a loop or an attack
MILLION = 1_000_000
NO_SENDER = ("", NONE, NONE, NONE, NONE, 0)
NO_HEADERS = ("", "", "", "")
NO_PLAIN: tuple[str, ...] = ()


class View(NamedTuple):
    """A message as its rows see it, links followed."""

    folded: Folded
    origin: str | None
    submitted: bool | None
    submitter: tuple[bytes, bytes]
    first_seen: int  # microseconds, UTC
    parent_queue_id: bytes
    is_child: bool  # behind a content filter


class Settler:
    """Makes rows; looks parents and children up in the open messages."""

    def __init__(self, plain_queue_id: bool) -> None:
        self._plain_queue_id = plain_queue_id

    def view(self, message: Message, second: int, until: int, links: int = 0) -> View:
        """Return a message as a row of a second sees it, using facts up to another second."""
        folded, facts = message.fold(second, until)
        client = folded.get(CLIENT)
        origin: str | None = None
        submitter: tuple[bytes, bytes] = (NONE, NONE)
        if client is not None:
            value = client[2]
            origin, submitter = value[0], value[2:]
        elif UID in folded:
            origin = "pickup"
        submitted = None if origin is None else origin in SUBMITTED
        arrived = folded.get(ARRIVED)
        if arrived is not None and not (ARRIVALS & folded.keys()):
            first_seen = int(arrived[2]) * MILLION
        else:
            first, micros = message.first_seen(facts, until)
            first_seen = first * MILLION + micros
        if PROBE in folded:
            origin, submitted = "verify", None
        view = View(folded, origin, submitted, submitter, first_seen, NONE, False)
        link = folded.get(PARENT)
        return view if link is None else self._linked(message.kin, view, link, until, links)

    def _linked(
        self, kin: dict[bytes, Message], view: View, fact: Fact, until: int, links: int
    ) -> View:
        kind, queue_id = fact[2]
        if kind == NOTIFICATION:
            return view._replace(origin="bounce", submitted=True, parent_queue_id=queue_id)
        client = view.folded.get(CLIENT)
        if kind == FILTER and client is not None and not client[2][1]:
            return view  # a remote server named a queue id of ours; its message came from outside
        parent = kin.get(queue_id)
        above = None
        if parent is not None and links < MOST_LINKS:
            above = self.view(parent, fact[0], until, links + 1)
        # A proxied session is no message and has no queue id.
        return handed_down(view, above, kind, NONE if kind == PROXY else queue_id)

    def is_ours(self, message: Message, next_id: bytes, second: int) -> bool:
        """Tell whether a queue id that a reply named is one of this host's own, alive at that second."""
        child = message.kin.get(next_id)
        if child is None:
            return False
        near = [fact for fact in child.facts if fact[1] != PARENT and abs(fact[0] - second) <= LATE]
        return bool(near) and not any(fact[1] == CLIENT and not fact[2][1] for fact in near)

    def row(self, message: Message, view: View, waiting: Waiting, host: str) -> Row:
        """Return the `delivery` row of one attempt: second, rows.HALVES, rows.SCALARS, rows.PLAIN."""
        second, micros, key, instance, agent, attempt = waiting
        (
            recipient, original, status, delay, delays, dsn, code, reason, relay, relay_kind, next_id, link,
        ) = attempt  # fmt: skip
        folded = view.folded
        get = folded.get
        sent = get(SENDER) or get(PICKUP_SENDER)
        kind, user, domain, list_user, list_domain, from_list = sent[2] if sent else NO_SENDER
        user_to, domain_to, local = recipient or NOBODY
        active = get(ACTIVE)
        is_outgoing: int | str = ""
        if view.submitted is not None and (recipient is not None or not view.submitted):
            is_outgoing = int(view.submitted and not (local or agent in LOCAL_AGENTS))
        internal = link == FORWARD or relay_kind == "internal"
        if link == FILTER and not internal:
            internal = self.is_ours(message, next_id, second)
        message_id, resent, reply = get(MESSAGE_ID), get(RESENT_ID), get(REPLY_ID) or get(REFERENCE)
        queue_id, parent_id, plain = message.queue_id, view.parent_queue_id, NO_PLAIN
        if self._plain_queue_id:
            plain = tuple("" if name == NONE else name.decode("ascii") for name in (queue_id, next_id, parent_id))
            queue_id = next_id = parent_id = NONE
        halves = b"".join((
            key, queue_id, message_id[2] if message_id else NONE, resent[2] if resent else NONE,
            reply[2] if reply else NONE, user, domain, user_to, domain_to, original[0], original[1],
            list_user, list_domain, *view.submitter, relay, next_id, parent_id,
        ))  # fmt: skip
        is_list: int | str = 1 if from_list else ""
        headers: tuple[object, ...] = NO_HEADERS
        date = cut = subject = score = ""
        if HEADERS in folded or SCORE in folded or FILTER_SCORE in folded:
            headers = (listed(get(FROM)), listed(get(TO)), listed(get(CC)), listed(get(BCC)))
            date, subject = (folded[kind][2] if kind in folded else "" for kind in (DATE, SUBJECT))
            score = score_of(get(SCORE), get(FILTER_SCORE) if view.is_child else None)  # type: ignore[assignment]
            if HEADERS in folded:
                cut = int(CUT in folded)  # type: ignore[assignment]
                is_list = int(from_list or LIST in folded)
        size, recipients = active[2] if active else ("", "")
        return (
            second, halves, micros, message.epoch, host, instance, agent or "", view.first_seen, date, kind, *headers,
            size, recipients, score, subject, is_list, is_outgoing, int(internal), cut,
            status, delay, delays, dsn, code, reason, relay_kind, view.origin or "", *plain,
        )  # fmt: skip


def handed_down(view: View, above: View | None, kind: int, queue_id: bytes) -> View:
    """Return a child's view with what its parent hands down over a link."""
    if above is None:
        # The link is known and the parent is not: the child's own client is only the filter, so nothing is told.
        if kind == FORWARD:
            return view._replace(origin="forward", submitted=None, parent_queue_id=queue_id)
        if kind == PROXY:
            return view
        return view._replace(
            origin=None, submitted=None, submitter=(NONE, NONE), parent_queue_id=queue_id, is_child=kind == FILTER
        )
    folded = dict(view.folded)
    cut_is_own = HEADERS in folded
    for column in INHERITED:
        if column in folded or (column == CUT and cut_is_own):
            continue
        if column in above.folded:
            folded[column] = above.folded[column]
    if FILTER_SCORE not in folded and above.is_child and FILTER_SCORE in above.folded:
        folded[SCORE] = folded.get(SCORE) or above.folded[FILTER_SCORE]
    if kind == FORWARD:
        return view._replace(
            folded=folded, origin="forward", submitted=above.submitted, parent_queue_id=queue_id
        )
    return view._replace(
        folded=folded,
        origin=above.origin,
        submitted=above.submitted,
        submitter=above.submitter,
        first_seen=above.first_seen,
        parent_queue_id=view.parent_queue_id if queue_id == NONE else queue_id,
        is_child=kind == FILTER,
    )
