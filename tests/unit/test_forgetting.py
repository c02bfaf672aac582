"""Whoever is forgotten is named no more by messages that are open, and by what their lines still say."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sink.core.forgetting import FEW, Forgetting, blanked, standing
from sink.core.hosts import Host
from sink.core.openmessages import MOST_WARM
from sink.core.pipeline import Pipeline
from sink.core.pseudonym import NONE, WIDTH
from sink.core.state import decode_message, is_message
from sink.fault import CANTCREATE, CONFIG, NOINPUT, Fault
from sink.stores import forgotten
from tests.golden_runner import PASS, Player, Story, stories
from tests.property.hostile import named as named_row
from tests.property.hostile import pipeline
from tests.unit.test_correlate import active, client, line, message_id, to

FOREVER = 1 << 62
COLUMNS = ("sender", "recipient", "original_recipient", "list_recipient", "submitter", "from", "to", "cc", "bcc")
ALICE = pipeline()._parsers.numbered(1).book.party(b"alice@example.com")[0]  # type: ignore[union-attr]
BOB = pipeline()._parsers.numbered(1).book.party(b"bob@example.net")[0]  # type: ignore[union-attr]


def counted() -> Callable[[int], bytes]:
    """Bytes that no pseudonym has, each time others."""
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


# -- all stories


def row_sets(player: Player) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for view in ("delivery_text", "reject_text") for row in player.store.take(view)}


def step(player: Player, kind: str, text: bytes) -> None:
    if kind == PASS:
        player.wait(text)
    else:
        player.feed(text)


def played(story: Story) -> dict[str, dict[str, Any]]:
    player = Player(story, journal=True)
    for kind, text in story.steps:
        step(player, kind, text)
    player.take(player.pipe.flush())
    found = row_sets(player)
    player.store.close()
    return found


def listed(row: dict[str, Any]) -> set[str]:
    """Whoever stands in a row."""
    return {one for name in COLUMNS for one in str(row.get(name) or "").split(" ") if one}


def address_of(text: str) -> bytes:
    user, _, domain = text.partition("@")
    return bytes.fromhex(user) + (bytes.fromhex(domain) or NONE)


def open_since(pipe: Pipeline) -> dict[tuple[str, str], str]:
    """The last seconds of open messages, by host and queue id as rows show them."""
    found = {}
    for token, state in pipe.state().items():
        if is_message(token):
            message = decode_message(token, state, Host)
            last = datetime.fromtimestamp(message.last, UTC).strftime("%Y-%m-%dT%H:%M:%S.9")
            for shown in (message.queue_id.hex(), message.queue_id.strip(b"\0").decode("latin-1")):  # hashed, or plain
                found[message.host.text, shown] = last
    return found


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_forgotten_after_any_line_a_story_tells_the_same_of_all_others(story: Story) -> None:
    """Rows differ in whom they name and in nothing else; what was open then names nobody."""
    whole = played(story)
    everybody = {address_of(one) for row in whole.values() for one in listed(row)}
    for cut in range(len(story.steps) + 1):
        player = Player(story, journal=True)
        for kind, text in story.steps[:cut]:
            step(player, kind, text)
        gone = row_sets(player)
        player.pipe.forget([(FOREVER, address) for address in everybody], counted())
        player.take(player.pipe.batch())
        were_open = open_since(player.pipe)
        for token, state in player.store.state("live").items():
            assert not is_message(token) or not standing(state, everybody)
        for kind, text in story.steps[cut:]:
            step(player, kind, text)
        player.take(player.pipe.flush())
        left = row_sets(player)
        player.store.close()
        assert gone.keys() | left.keys() == whole.keys() and not gone.keys() & left.keys()
        for key, row in left.items():
            assert {name for name in row if row[name] != whole[key][name]} <= set(COLUMNS), (cut, key)
            assert [len(str(row.get(name) or "")) for name in COLUMNS] == [
                len(str(whole[key].get(name) or "")) for name in COLUMNS
            ]
            if "queue_id" in row and row["first_seen_at"] < were_open.get((row["host"], row["queue_id"]), ""):
                assert {address_of(one) for one in listed(row)} & everybody == set(), (cut, key)


# -- what may go wrong


def states(pipe: Pipeline) -> bytes:
    return b"".join(pipe.state().values())


def test_whoever_stands_twice_in_a_message_stays_one() -> None:
    pipe = pipeline(journal=True)
    header = (
        b"4A5A321A867: info: header To: alice@example.com from x[192.0.2.9]; from=<x@example.net> to=<y@example.net>"
        b" proto=ESMTP helo=<h>: #k7Qm2Zx9RtW4bN8s To: alice@example.com #k7Qm2Zx9RtW4bN8s"
    )
    pipe.feed([line(0, client()), line(0, header), line(1, header), line(1, active())])
    pipe.forget([(FOREVER, ALICE)], counted())
    pipe.feed([line(1, header), line(2, active()), line(3, to())])
    (row,) = map(named_row, pipe.flush().rows)
    assert row["to"] == f"{row['sender_user']}@{row['sender_domain']}"
    text = states(pipe)
    assert ALICE not in text
    domain = ALICE[WIDTH:]
    others = {text[at - WIDTH : at] for at in range(WIDTH, len(text)) if text.startswith(domain, at)}
    assert text.count(domain) > 3 and len(others) == 1


def test_a_message_that_begins_later_is_new() -> None:
    pipe = pipeline(journal=True)
    pipe.feed([line(0, client()), line(0, active())])
    pipe.forget([(FOREVER, ALICE)], counted())
    pipe.feed([line(1, client(b"5B5A321A867")), line(1, active(queue_id=b"5B5A321A867"))])
    pipe.feed([line(2, active())])
    assert states(pipe).count(ALICE) == 1


def test_of_messages_of_an_earlier_run_those_are_meant_that_had_begun() -> None:
    pipe = pipeline(journal=True)
    pipe.feed([line(0, client()), line(0, active()), line(9, client(b"5B5A321A867")),
               line(9, active(queue_id=b"5B5A321A867"))])  # fmt: skip
    messages = [decode_message(token, state, Host) for token, state in pipe.state().items() if is_message(token)]
    first, later = sorted(message.first for message in messages)
    for bound, left in ((first - 1, 2), (first, 1), (later - 1, 1), (later, 0)):
        other = pipeline(journal=True)
        other.resume(pipe.state())
        other.forget([(bound, ALICE), (0, BOB)], counted())
        assert states(other).count(ALICE) == left, bound
        other.feed([line(20, active()), line(20, active(queue_id=b"5B5A321A867"))])
        assert (states(other).count(ALICE) > 0) == (left > 0)


def test_what_is_sealed_in_memory_is_forgotten_too() -> None:
    """Of thousands of messages most are kept as bytes; they are found, changed, and told to the store."""
    names = [b"%05X321A867" % number for number in range(MOST_WARM + 500)]
    hers = len(range(7, len(names), 1_000))
    pipe = pipeline(journal=True)
    for at, name in enumerate(names):
        sender = b"alice" if at % 1_000 == 7 else b"x%d" % at
        pipe.feed([line(at // 100, message_id(queue_id=name)), line(at // 100, active(sender, queue_id=name))])
    held = pipe._correlator.messages._all
    sealed = [token for token, found in held.items() if isinstance(found, bytes)]
    assert len(sealed) > 400 and states(pipe).count(ALICE) == hers
    pipe.batch()
    pipe.forget([(FOREVER, ALICE)], counted())
    batch = pipe.batch()
    changed = [token for token in batch.puts if is_message(token)]
    assert len(changed) == hers and set(changed) & set(sealed)
    assert all(ALICE not in state for state in batch.puts.values()) and ALICE not in states(pipe)
    # One that is still sealed hears of her later.
    name = next(name for at, name in enumerate(names) if pipe._tokens.token(b"mx1", name) in set(sealed) - set(changed))
    pipe.feed([line(100, to(b"bob", name)), line(101, active(b"alice", name))])
    assert ALICE not in states(pipe)


def test_one_after_another_is_forgotten() -> None:
    pipe = pipeline(journal=True)
    pipe.feed([line(0, client()), line(0, active())])
    pipe.forget([(FOREVER, BOB)], counted())
    pipe.feed([line(1, client(b"5B5A321A867"))])
    pipe.forget([(FOREVER, ALICE)], counted())
    pipe.feed([line(2, to()), line(2, active()), line(2, to(queue_id=b"5B5A321A867"))])
    assert ALICE not in states(pipe)
    assert states(pipe).count(BOB) == 1, "the second message began after bob was forgotten"


def test_whom_a_closed_message_named_is_not_kept() -> None:
    forgetting = Forgetting()
    forgetting.begin(b"one", frozenset({ALICE}), counted())
    forgetting.begin(b"one", frozenset({BOB}), counted())
    assert forgetting.cleared(b"one", (b"x" + ALICE + BOB, 7, ("word", ALICE), None))[1:] != (7, ("word", ALICE), None)
    assert forgetting.cleared(b"two", ALICE) == ALICE
    forgetting.end(b"one")
    assert (forgetting._wanted, forgetting._others, forgetting._joined) == ({}, {}, {})
    assert forgetting.cleared(b"one", ALICE) == ALICE


@pytest.mark.parametrize("many", [1, FEW, FEW + 1, 5_000])
def test_few_and_many_addresses_are_found_alike(many: int) -> None:
    dice = random.Random(many)
    addresses = [dice.randbytes(32) for _ in range(many)]
    text = b"".join(dice.randbytes(dice.randrange(5)) + address for address in addresses[::97]) + addresses[0][:31]
    assert standing(text, frozenset(addresses)) == set(addresses[::97])
    assert standing(b"", frozenset(addresses)) == standing(b"x" * 31, frozenset(addresses)) == set()
    others: dict[bytes, bytes] = {}
    clear = blanked(text, frozenset(addresses), others, os.urandom)
    assert len(clear) == len(text) and not standing(clear, frozenset(addresses))
    assert {address: other[16:] for address, other in others.items()} == {one: one[16:] for one in addresses[::97]}
    assert blanked(clear, {other for other in others.values()}, {}, os.urandom) != clear


# -- the list


def add(store: Path, *addresses: bytes, now: int = 7) -> None:
    forgotten.add(store, [(1, address) for address in addresses], now)


def named(store: Path) -> list[bytes]:
    return [entry.address for entry in forgotten.read(store)]


def test_the_list_keeps_what_it_is_given(tmp_path: Path) -> None:
    store = tmp_path / "s.sqlite"
    assert (named(store), forgotten.stamp(store)) == ([], [])
    add(store, ALICE)
    first = forgotten.stamp(store)
    add(store, BOB, ALICE, now=8)
    assert forgotten.read(store) == [(7, ALICE, 1), (8, BOB, 1), (8, ALICE, 1)]
    assert forgotten.stamp(store) != first
    assert forgotten.place(store).stat().st_mode & 0o777 == 0o600


def test_an_addition_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes a part of it."""
    store = tmp_path / "s.sqlite"
    add(store, ALICE)
    whole = forgotten.place(store).read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:30]))
    with pytest.raises(Fault) as fault:
        add(store, BOB)
    assert fault.value.status == CANTCREATE and "No space left" in fault.value.message
    assert forgotten.place(store).read_bytes() == whole


@pytest.mark.parametrize("cut", range(1, 70, 7))
def test_what_was_cut_off_goes_with_the_next_addition(tmp_path: Path, cut: int) -> None:
    store = tmp_path / "s.sqlite"
    for before in ([], [ALICE]):
        forgotten.place(store).unlink(missing_ok=True)
        add(store, *before, BOB)
        text = forgotten.place(store).read_bytes()
        last = text.splitlines(keepends=True)[-1]
        forgotten.place(store).write_bytes(text.removesuffix(last) + last[:cut])
        assert named(store) == before
        add(store, BOB)
        assert named(store) == [*before, BOB]


@pytest.mark.parametrize(
    "text", [b"1\n", b"1 00 00 1\n", b"one " + b"00" * 16 + b" " + b"00" * 16 + b" 1\n", b"\xff\n", b"\n",
             b"1 " + b"00" * 15 + b" " + b"00" * 17 + b" 1\n"],
)  # fmt: skip
def test_a_damaged_line_is_named(tmp_path: Path, text: bytes) -> None:
    store = tmp_path / "s.sqlite"
    add(store, ALICE)
    path = forgotten.place(store)
    path.write_bytes(path.read_bytes() + text)
    with pytest.raises(Fault) as fault:
        forgotten.read(store)
    assert fault.value.status == CONFIG and "line 2 is damaged" in fault.value.message
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fault) as fault:
        forgotten.read(store)
    assert fault.value.status == NOINPUT
    with pytest.raises(Fault) as fault:
        add(store, ALICE)
    assert fault.value.status == CANTCREATE
