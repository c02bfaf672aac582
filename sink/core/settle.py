"""Settles an attempt into a row: the merged facts of its message, and what its links hand down.

Pure folding: the same facts give the same row, whatever order they came in. Links go up from child to parent;
what a child takes is DESIGN's table "Links and inheritance".
"""

from sink.core.addressbook import NO_ADDRESS
from sink.core.facts import (
    ACTIVE,
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
    FROM_HEADERS,
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
from sink.core.messages import MILLION, Message
from sink.core.openmessages import OpenMessages
from sink.core.pseudonym import NONE
from sink.core.rows import INHERITED, Row, listed, score_of

# A message as its rows see it, links followed: merged facts, origin, whether it was submitted here, submitter, first
# seen in microseconds UTC, parent's queue id, whether it is behind a content filter. (A NamedTuple costs five times as
# much to make.)
View = tuple[Folded, str | None, bool | None, bytes, int, bytes, bool]

HERE = frozenset({"sasl", "trusted", "pickup", "qmqpd", "bounce"})  # origins that mean: submitted here
LOCAL_AGENTS = frozenset({"local", "virtual"})  # they deliver to recipients of this host
MOST_LINKS = 10  # links followed upwards; a longer chain is a loop or an attack
NO_SENDER = ("", NO_ADDRESS, NO_ADDRESS, 0)


class Settler:
    """Makes rows; looks parents and children up in the open messages."""

    def __init__(self, plain_queue_id: bool, messages: OpenMessages) -> None:
        self._plain_queue_id = plain_queue_id
        self._messages = messages

    def settle(self, message: Message, second: int, until: int, rows: list[Row]) -> None:
        """Add the `delivery` rows of a message's attempts of a second, using facts up to another second.

        Each is (second, rows.HALVES, rows.SCALARS, rows.PLAIN).
        """
        waiting = message.waiting
        if not waiting:
            return
        view = self.view(message, second, until)
        _, _, submitted, _, _, parent_id, _ = view
        halves, scalars = self._common(message, view)
        host = message.host.text
        for at, fraction, own_halves, instance, agent, local, link, next_id, said in waiting:
            if at != second:
                continue
            outgoing: int | str = ""
            if submitted is not None and (local is not None or not submitted):
                outgoing = int(submitted and not (local or agent in LOCAL_AGENTS))
            internal = link == FORWARD or said[-1] == "internal"
            if link == FILTER and not internal:
                internal = self._is_ours(message, next_id, second)
            if self._plain_queue_id:
                own_halves = own_halves[: -len(next_id)] + NONE  # noqa: PLW2901
            row = (
                second, own_halves + halves, int(fraction or 0), instance, agent, outgoing, int(internal), *said,
                host, *scalars,
            )  # fmt: skip
            if self._plain_queue_id:
                row = (*row, *[name.strip(b"\0").decode() for name in (message.queue_id, next_id, parent_id)])
            rows.append(row)

    def _common(self, message: Message, view: View) -> tuple[bytes, tuple[object, ...]]:
        """Return what all rows of a view share: the last of rows.HALVES, and of rows.SCALARS from epoch on."""
        folded, origin, _, submitter, first_seen, parent_id, is_child = view
        get = folded.get
        sent = get(SENDER) or get(PICKUP_SENDER)
        kind, sender, member, from_list = sent[2] if sent else NO_SENDER
        active = get(ACTIVE)
        size, recipients = active[2] if active else ("", "")
        message_id, resent, reply = get(MESSAGE_ID), get(RESENT_ID), get(REPLY_ID) or get(REFERENCE)
        queue_id = message.queue_id
        if self._plain_queue_id:
            queue_id = parent_id = NONE
        halves = b"".join((
            queue_id, parent_id, message_id[2] if message_id else NONE, resent[2] if resent else NONE,
            reply[2] if reply else NONE, submitter, sender, member,
        ))  # fmt: skip
        is_list: int | str = 1 if from_list else ""
        has_headers = not FROM_HEADERS.isdisjoint(folded)
        if not has_headers and SCORE not in folded and FILTER_SCORE not in folded:
            return halves, (
                message.epoch, first_seen, "", kind, "", "", "", "", size, recipients, "", "", is_list, "",
                origin or "",
            )  # fmt: skip
        cut: int | str = ""
        if has_headers:
            cut = int(CUT in folded)
            is_list = int(from_list or LIST in folded)
        date, subject = (folded[kind][2] if kind in folded else "" for kind in (DATE, SUBJECT))
        return halves, (
            message.epoch, first_seen, date, kind, listed(get(FROM)), listed(get(TO)), listed(get(CC)),
            listed(get(BCC)), size, recipients, score_of(get(SCORE), get(FILTER_SCORE) if is_child else None), subject,
            is_list, cut, origin or "",
        )  # fmt: skip

    def view(self, message: Message, second: int, until: int, links: int = 0) -> View:
        """Return a message as a row of a second sees it, using facts up to another second."""
        folded, first_seen = message.fold(second, until)
        client = folded.get(CLIENT)
        origin: str | None = None
        submitter = NO_ADDRESS
        if client is not None:
            origin, _, submitter = client[2]
        elif UID in folded:
            origin = "pickup"
        elif ARRIVED in folded and MESSAGE_ID not in folded:
            first_seen = int(folded[ARRIVED][2]) * MILLION
        submitted = None if origin is None else origin in HERE
        if PROBE in folded:
            origin, submitted = "verify", None
        view = folded, origin, submitted, submitter, first_seen, NONE, False
        link = folded.get(PARENT)
        return view if link is None else self._linked(message, view, link, until, links)

    def _linked(self, message: Message, view: View, fact: Fact, until: int, links: int) -> View:
        kind, queue_id = fact[2]
        folded, _, _, submitter, first_seen, _, is_child = view
        if kind == NOTIFICATION:
            return folded, "bounce", True, submitter, first_seen, queue_id, is_child
        client = folded.get(CLIENT)
        if kind == FILTER and client is not None and not client[2][1]:
            return view  # a remote server named a queue id of ours; its message came from outside
        parent = self._messages.of(message.host, queue_id)
        above = None
        # Where queue ids are kept plain, one of another epoch is found; its pseudonyms are of another key.
        if parent is not None and parent.epoch == message.epoch and links < MOST_LINKS:
            above = self.view(parent, fact[0], until, links + 1)
        # A proxied session is no message and has no queue id.
        return handed_down(view, above, kind, NONE if kind == PROXY else queue_id)

    def _is_ours(self, message: Message, next_id: bytes, second: int) -> bool:
        """Tell whether a queue id that a reply named is one of this host's own, alive at that second."""
        child = self._messages.of(message.host, next_id)
        if child is None:
            return False
        near = [fact for fact in child.facts if fact[1] != PARENT and abs(fact[0] - second) <= LATE]
        return bool(near) and not any(fact[1] == CLIENT and not fact[2][1] for fact in near)


def handed_down(view: View, above: View | None, kind: int, queue_id: bytes) -> View:
    """Return a child's view with what its parent hands down over a link."""
    own, origin, submitted, submitter, first_seen, parent_id, is_child = view
    if above is None:
        # The link is known and the parent is not: the child's own client is only the filter, so nothing is told.
        if kind == FORWARD:
            return own, "forward", None, submitter, first_seen, queue_id, is_child
        if kind == PROXY:
            return view
        return own, None, None, NO_ADDRESS, first_seen, queue_id, kind == FILTER
    theirs, origin, submitted, above_submitter, above_seen, _, above_is_child = above
    folded = dict(own)
    cut_is_own = not FROM_HEADERS.isdisjoint(own)
    for column in INHERITED:
        if column in theirs and column not in own and not (column == CUT and cut_is_own):
            folded[column] = theirs[column]
    if FILTER_SCORE not in folded and above_is_child and FILTER_SCORE in theirs:
        folded[SCORE] = folded.get(SCORE) or theirs[FILTER_SCORE]
    if kind == FORWARD:
        return folded, "forward", submitted, submitter, first_seen, queue_id, is_child
    parent_id = parent_id if queue_id == NONE else queue_id
    return folded, origin, submitted, above_submitter, above_seen, parent_id, kind == FILTER
