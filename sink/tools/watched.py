"""A pipeline that says in words what it took from each line."""

from typing import Any

from sink.core import facts
from sink.core.deliveries import Event
from sink.core.pipeline import Pipeline

_KINDS = {
    facts.SEEN: "seen", facts.CLIENT: "client", facts.UID: "uid", facts.MESSAGE_ID: "message-id",
    facts.ACTIVE: "active", facts.SENDER: "sender", facts.PICKUP_SENDER: "sender at pickup",
    facts.RESENT_ID: "resent-message-id",
    facts.PARENT: "parent", facts.END: "end", facts.PROBE: "probe", facts.DATE: "date", facts.SUBJECT: "subject size",
    facts.REPLY_ID: "in-reply-to", facts.REFERENCE: "reference", facts.LIST: "list", facts.HEADERS: "header",
    facts.CUT: "cut", facts.FROM: "from", facts.TO: "to", facts.CC: "cc", facts.BCC: "bcc", facts.SCORE: "spam score",
    facts.FILTER_SCORE: "spam score behind a filter",
}  # fmt: skip
_LINKS = {
    facts.FILTER: "queued as", facts.REQUEUE: "requeued as", facts.PROXY: "accepted as", facts.FORWARD: "forwarded as",
    facts.NOTIFICATION: "notification",
}  # fmt: skip


class Watched(Pipeline):
    """Fills `seen` with words for each event; for `explain`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.seen: list[str] = []
        self.watched = True

    def apply(self, *given: Any) -> None:
        """Note the event, then take it as ever."""
        event: Event = given[-1]
        found, attempt, _, link = event
        if found:
            self.seen.append("facts: " + ", ".join(_KINDS.get(kind, "other") for kind, _ in found))
        if attempt is not None:
            status, relay_kind = attempt[-1][0], attempt[-1][-1]
            self.seen.append(f"delivery attempt: {status}, by relay {relay_kind}; its row leaves 7 seconds later")
        if link is not None:
            self.seen.append(f"link: {_LINKS[link[0]]}")
        super().apply(*given)

    def refuse(self, *given: Any) -> None:
        """Note the refusal, then take it as ever."""
        self.seen.append(f"refusal: {given[-1][-1]}")
        super().refuse(*given)
