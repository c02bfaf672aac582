"""An open message that was sealed, either way, is opened as it was."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sink.core import facts as kinds
from sink.core.addressbook import NO_ADDRESS
from sink.core.hosts import Host
from sink.core.messages import MILLION, Message
from sink.core.sealed import Seals, look_of
from sink.core.state import encode_message

TOKEN = b"t" * 16
seconds = st.integers(1_000_000_000, 1_000_000_300) | st.integers(0, 1 << 33)
micros = st.integers(0, MILLION - 1).map(b"%06d".__mod__) | st.just(b"")
names = st.binary(min_size=16, max_size=16)
plain = st.binary(min_size=5, max_size=20)  # a queue id that is not hidden
addresses = st.binary(min_size=32, max_size=32) | st.just(NO_ADDRESS)
numbers = st.integers(0, 3) | st.integers(0, 1 << 40)
senders = st.tuples(st.sampled_from(["plain", "srs", ""]), addresses, addresses, st.integers(0, 1))
VALUES: dict[int, st.SearchStrategy[Any]] = {
    kinds.CLIENT: st.tuples(st.sampled_from(["smtpd", "qmqpd"]), st.integers(0, 1), addresses),
    kinds.MESSAGE_ID: names,
    kinds.ACTIVE: st.tuples(numbers, numbers),
    kinds.SENDER: senders,
    kinds.PICKUP_SENDER: senders,
    kinds.END: st.just(0),
    kinds.PARENT: st.tuples(st.integers(1, 5), names),
    kinds.ARRIVED: seconds,
    kinds.SUBJECT: numbers,
    kinds.LIST: st.just(1),
    kinds.TO: addresses,
    kinds.SCORE: st.sampled_from([0.0, 1.0, -2.5]),  # 1.0 is as great as LIST's 1, and not the same
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """A message as no log brings it: of each field what it can hold."""
    name, epoch = draw(names | plain), draw(st.integers(1, 70_000))
    message = Message(TOKEN, Host(b"mx1.example.com"), name, epoch, draw(seconds), {})
    for kind in draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=6)):
        message.facts.append((draw(seconds), kind, draw(VALUES[kind]), draw(micros)))
    message.facts *= draw(st.sampled_from([1, 1, 2, 70]))  # a retry says the same again
    if draw(st.integers(0, 9)) == 0:
        message.facts += [(second, kinds.ARRIVED, second, b"") for second in range(40)]
    message.look, message.last, message.first_micros = draw(seconds), draw(seconds), draw(micros)
    message.opened, message.ended = draw(st.just(-1) | seconds), draw(st.just(-1) | seconds)
    message.active, message.arrived, message.plain = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    message.headers, message.retry = draw(st.integers(0, 2_500)), draw(st.integers(-1, 300))
    message.children = tuple(draw(st.lists(names, max_size=2)))
    return message


@given(messages())
def test_what_is_sealed_is_opened_as_it_was(message: Message) -> None:
    seals = Seals(Host)
    for seal in (seals.tight, seals.quick):
        sealed = seal(message)
        opened = seals.open(TOKEN, sealed)
        assert encode_message(opened) == seals.state(TOKEN, sealed) == encode_message(message)
        assert [[*map(type, fact)] for fact in opened.facts] == [[*map(type, fact)] for fact in message.facts]
        assert (opened.look, look_of(sealed), opened.host.name) == (message.look, message.look, message.host.name)
        assert (opened.token, opened.kept, opened.gone) == (TOKEN, True, False)


@given(messages())
def test_what_waits_is_sealed_quickly(message: Message) -> None:
    """Most of what waits is of the usual kind: then no zlib is asked, and a few bytes are enough."""
    message.children, message.ended, message.queue_id = (), -1, TOKEN
    message.facts = [fact for fact in message.facts if 0 <= fact[0] < 1 << 32][:6]
    fits = max(message.first, message.last, message.opened) < 1 << 31 and message.retry < 100 and message.epoch < 65_536
    sealed = Seals(Host).quick(message)
    if fits:
        assert sealed[8] == 1 + len(message.facts)
        assert len(sealed) < 600
