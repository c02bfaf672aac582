"""Whatever stands in a log: nothing raises, nothing leaks, and how the bytes come in changes no row."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import groupby, pairwise
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from sink.core import openmessages
from sink.core.batch import Batch
from sink.core.pipeline import Pipeline
from sink.core.syslog import Reader
from sink.sources.framer import Framer
from tests.golden_runner import RULES
from tests.property import hostile
from tests.property.hostile import CANARY, Rows, logs, pipeline, together, wild_lines

YEAR = 2026


def play(lines: list[bytes], pipe: Pipeline) -> Rows:
    return together(pipe.feed(lines), pipe.flush())


def one_by_one(lines: list[bytes], pipe: Pipeline) -> Rows:
    return together(*[pipe.feed([line]) for line in lines], pipe.flush())


def in_chunks(data: bytes, cuts: list[int], pipe: Pipeline) -> Rows:
    framer = Framer()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    batches = [pipe.feed(framer.lines(data[start:end])) for start, end in pairwise(edges)]
    return together(*batches, pipe.feed(framer.last()), pipe.flush())


def dated() -> Pipeline:
    return pipeline(reader=Reader(RULES.timezone, YEAR))


@given(wild_lines(), st.lists(st.integers(0, 1 << 20), max_size=6))
def test_any_bytes_in_any_chunks_give_the_same_rows(lines: list[bytes], cuts: list[int]) -> None:
    whole, pieces, single = dated(), dated(), dated()
    data = b"\n".join(lines)
    rows = in_chunks(data, [], whole)
    assert in_chunks(data, cuts, pieces) == rows
    framed = Framer()
    assert one_by_one(framed.lines(data) + framed.last(), single) == rows
    assert pieces.counts == whole.counts == single.counts


@given(st.binary(max_size=400), st.lists(st.integers(0, 1 << 20), max_size=6))
def test_junk_in_any_chunks_is_only_counted(data: bytes, cuts: list[int]) -> None:
    whole, pieces = dated(), dated()
    assert in_chunks(data, cuts, pieces) == in_chunks(data, [], whole)
    assert pieces.counts == whole.counts


@given(logs(), st.lists(st.integers(0, 1 << 20), max_size=6))
def test_hostile_lines_in_any_chunks_give_the_same_rows(lines: list[bytes], cuts: list[int]) -> None:
    rows = play(lines, pipeline())
    assert in_chunks(b"\n".join(lines) + b"\n", cuts, pipeline()) == rows
    assert one_by_one(lines, pipeline()) == rows


@given(logs())
def test_a_log_read_twice_gives_the_same_rows(lines: list[bytes]) -> None:
    """In two imports; the second finds each row there."""
    first, second = play(lines, pipeline()), play(lines, pipeline())
    assert first == second


@given(logs(steps=(0, 0, 1, 2, 5, 8)), st.randoms(use_true_random=False))
def test_lines_of_one_second_in_any_order(lines: list[bytes], dice: random.Random) -> None:
    """The fraction of a second decides nothing, so it is the same for all here."""
    lines = [line[:20] + b"000000" + line[26:] for line in lines]
    shuffled: list[bytes] = []
    for _, group in groupby(lines, key=lambda line: line[:19]):
        together_logged = list(group)
        dice.shuffle(together_logged)
        shuffled += together_logged
    assert play(shuffled, pipeline()) == play(lines, pipeline())


@given(logs(most=14))
@example([
    b"2026-11-02T08:00:00.0+00:00 mx1 postfix/postsuper[18]: ABCDE: requeued",
    b"2026-11-02T08:11:40.0+00:00 mx1 postfix/smtpd[17]: connect from mail.example.net[198.51.100.7]",
    b"2026-11-02T08:11:40.0+00:00 mx1 postfix/cleanup[17]: ABCDE: to=<bob@example.net>, relay=none, delay=25, "
    b"delays=0/0/0/0, dsn=5.1.1, status=bounced (unknown)",
    b"2026-11-02T08:11:40.0+00:00 mx1 postfix/smtpd[17]: connect from mail.example.net[198.51.100.7]",
    b"2026-11-02T08:12:41.0+00:00 mx1 postfix/smtpd[17]: connect from mail.example.net[198.51.100.7]",
    b"2026-11-02T08:12:41.0+00:00 mx1 postfix/qmgr[17]: ABCDE: from=<root>, status=expired, returned to sender",
])
def test_stopped_and_resumed_after_every_line(lines: list[bytes]) -> None:
    pipe, kept = pipeline(journal=True), dict[bytes, bytes]()
    batches: list[Batch] = []
    for line in lines:
        batches.append(pipe.feed([line]))
        keep(kept, batches[-1])
        pipe = pipeline(journal=True)
        pipe.resume(kept)
    batches.append(pipe.flush())
    assert together(*batches) == play(lines, pipeline())


@given(logs(), st.integers(1, 8), st.sampled_from([2, RULES.most_messages]))
def test_the_journal_is_the_whole_state(lines: list[bytes], many: int, most: int) -> None:
    """However many lines go into a batch, and where messages are dismissed while their rows wait."""
    pipe, kept = pipeline(journal=True, rules=replace(RULES, most_messages=most)), dict[bytes, bytes]()
    for at in range(0, len(lines), many):
        keep(kept, pipe.feed(lines[at : at + many]))
    assert kept == pipe.state()


@given(logs(), st.booleans(), st.booleans())
def test_sealed_messages_are_as_they_were(lines: list[bytes], journal: bool, plain: bool) -> None:
    """With two at most that are not sealed, rows and state are the same, also where queue ids are kept plain."""
    rules = replace(RULES, plain_queue_id=plain)
    whole = pipeline(journal=journal, rules=rules)
    with mock.patch.multiple(openmessages, MOST_WARM=2, AT_ONCE=2):
        sealing = pipeline(journal=journal, rules=rules)
        batches = [[pipe.feed([line]) for line in lines] + [pipe.flush()] for pipe in (whole, sealing)]
    assert together(*batches[0]) == together(*batches[1])
    assert whole.state() == sealing.state()


@given(logs())
def test_state_is_read_back_as_it_was(lines: list[bytes]) -> None:
    pipe, again = pipeline(journal=True), pipeline(journal=True)
    pipe.feed(lines)
    again.resume(pipe.state())
    assert again.state() == pipe.state()
    assert together(again.flush()) == together(pipe.flush())


def keep(kept: dict[bytes, bytes], batch: Batch) -> None:
    """What a store does with a batch's open state."""
    for token in batch.drops:
        kept.pop(token, None)
    kept.update(batch.puts)


def seen(pipe: Pipeline, *batches: Batch) -> bytes:
    """All that leaves the core, as bytes."""
    parts = [repr((batch.rows, batch.rejects, batch.again, batch.drops)) for batch in batches]
    states = b"".join(key + value for batch in batches for key, value in batch.puts.items())
    return (
        "".join(parts).encode() + states + json.dumps(pipe.counts).encode() + repr(pipe).encode()
        + b"".join(pipe.state().values())
    )  # fmt: skip


@given(st.one_of(logs(), wild_lines()))
def test_no_canary_comes_out(lines: list[bytes]) -> None:
    pipe = pipeline(journal=True, reader=Reader(RULES.timezone, YEAR))
    out = seen(pipe, pipe.feed(lines), pipe.flush()).lower()
    assert CANARY not in out
    assert CANARY.hex().encode() not in out


def test_no_canary_comes_out_of_any_shape_of_a_real_line() -> None:
    """Each field of each shape in turn, and all at once, in several forms."""
    forms = (CANARY, b"canary@canary.example", b'"canary> canary"@canary.example', b"<canary@canary.example>")
    lines = []
    for daemon, template in hostile.TEMPLATES + hostile.shapes():
        for form in forms:
            for place in range(-1, template.count(b"{")):
                stamp = hostile.stamp_iso(hostile.START + len(lines), 0)
                lines.append(b"%b mx1 postfix/%b[1]: %b" % (stamp, daemon, shaped(template, form, place)))
    pipe = pipeline(journal=True)
    batches = [pipe.feed(lines[at : at + 500]) for at in range(0, len(lines), 500)] + [pipe.flush()]
    assert sum(len(batch.rows) for batch in batches) > 1000
    assert sum(len(batch.rejects) for batch in batches) > 1000
    assert CANARY not in seen(pipe, *batches).lower()


def shaped(template: bytes, form: bytes, place: int) -> bytes:
    """A template whose field at a place, or every one at -1, has a form; the others are honest."""
    places = iter(range(1000))

    def value(name: str) -> bytes:
        here = next(places)
        return form if place in (-1, here) and name not in hostile.NAMED else hostile.HONEST[name][0]

    return hostile.filled(template, value)
