"""One logging host: its clock, and what waits for it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sink.core.facts import Fact

if TYPE_CHECKING:
    from sink.core.messages import Message


MOST_NAME = 255  # characters of a host's name; RFC 1035 2.3.4


def _shown(name: bytes) -> str:
    """Return a host's name as rows have it; a store, or a terminal, would take a control character for an order."""
    text = name.decode("utf-8", "replace")[:MOST_NAME]
    return text if text.isprintable() else "".join([char if char.isprintable() else "?" for char in text])


class Host:
    """One host's log clock, and what waits for it."""

    __slots__ = (
        "born", "clock", "dues", "ending", "heap", "heard", "kept", "messages", "name", "named", "naming", "order",
        "read", "recent", "slots", "strays", "text",
    )  # fmt: skip

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.text = _shown(name)
        self.clock = -1
        self.strays: list[int] = []  # seconds of the last lines that were off
        self.slots: dict[int, list[Message]] = {}  # messages with rows of a second that wait
        self.order: list[int] = []  # a heap of the seconds of slots
        # Messages to look at in a second: of those that ended and those that are new it comes in order, so that
        # two queues do; the few that are looked at again go by a heap.
        self.ending: deque[tuple[int, Message]] = deque()
        self.born: deque[tuple[int, list[bytes]]] = deque()  # queue ids: most messages are gone by then
        self.dues: dict[int, bytes | list[bytes]] = {}  # their tokens; one that is alone stands for itself
        self.heap: list[int] = []  # the seconds of dues
        self.recent: dict[bytes, Message] = {}  # by queue id in clear, in RAM only: found without a token
        self.messages: dict[bytes, bytes] = {}  # tokens of the open messages, by queue id
        self.named: dict[bytes, Fact] = {}  # links to queue ids of which no line was seen
        self.naming: list[tuple[int, bytes]] = []  # a heap of (second to forget it, queue id) of named
        self.heard: float | None = None  # wall clock at which the log clock stood still
        self.read = -1  # where it stood then
        self.kept = b""  # its clock as the store last had it


class Standing(NamedTuple):
    """How a stream stands, for who looks at it now and then."""

    open_messages: int
    oldest: int | None  # the first second of the open message that was opened first
    clocks: dict[str, int]  # where each host's log clock stands
