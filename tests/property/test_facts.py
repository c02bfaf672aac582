"""Law 4: merging facts is commutative, associative and idempotent, and compacting them changes nothing.

Seconds are few and near, so that openings, ends and repeats meet.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sink.core import facts
from sink.core.facts import Fact, Folded, compact, fold, lives

A, B = b"a" * 16, b"b" * 16
VALUES: dict[int, tuple[Any, ...]] = {
    facts.SEEN: (0,),
    facts.CLIENT: (("smtpd", 0, b"", b""), ("sasl", 0, A, B), ("smtpd", 1, b"", b"")),
    facts.UID: (0,),
    facts.MESSAGE_ID: (b"", A, B),
    facts.ACTIVE: ((1000, 1), (1000, 2)),
    facts.SENDER: (("plain", A, B, b"", b"", 0), ("null", b"", b"", b"", b"", 0)),
    facts.PICKUP_SENDER: (("plain", A, B, b"", b"", 0),),
    facts.PARENT: ((facts.FILTER, A), (facts.FORWARD, B)),
    facts.END: (0,),
    facts.DATE: (1_793_606_400, 1),
    facts.SUBJECT: (3, 0),
    facts.HEADERS: (1,),
    facts.FROM: ((A, B), (B, A)),
    facts.SCORE: (1.5, -1.0),
}
LAST = 30  # seconds

fact = st.builds(
    lambda second, pair, micros: (second, *pair, micros),
    st.integers(0, LAST),
    st.sampled_from([(kind, value) for kind, values in VALUES.items() for value in values]),
    st.sampled_from((0, 500_000)),
)
some = st.lists(fact, max_size=25)
shuffles = st.randoms(use_true_random=False)


def folded(found: list[Fact], until: int = LAST) -> list[tuple[int, Folded]]:
    """Every message that bore the id, with its facts merged."""
    return [(start, fold(life, until)) for start, life in lives(found)]


@given(some, shuffles, st.integers(0, LAST))
def test_order_and_repetition_change_nothing(found: list[Fact], dice: random.Random, until: int) -> None:
    again = found + [one for one in found if dice.random() < 0.5]
    dice.shuffle(again)
    assert folded(again, until) == folded(found, until)


@given(some, some, st.integers(0, LAST))
def test_one_messages_facts_merge_in_any_order(ours: list[Fact], theirs: list[Fact], until: int) -> None:
    """fold() alone, too: of a single kind the least stays, of many the set."""
    assert fold(ours + theirs, until) == fold(theirs + ours, until) == fold(ours + theirs + ours, until)


@given(some, st.integers(0, LAST), st.integers(0, LAST))
def test_compacting_changes_no_message(found: list[Fact], before: int, until: int) -> None:
    assert folded(compact(found, before), until) == folded(found, until)
    assert sorted(compact(compact(found, before), before)) == sorted(compact(found, before))


@given(some, some, st.integers(0, LAST), shuffles)
def test_compacting_early_changes_no_message(
    found: list[Fact], later: list[Fact], before: int, dice: random.Random
) -> None:
    """Merging is associative: facts that come after a compaction meet what they would have met."""
    later = [one for one in later if one[0] >= before]
    dice.shuffle(found)
    kept = compact(found, before) + later
    assert folded(kept) == folded(found + later)


@given(some)
def test_every_fact_is_of_one_message(found: list[Fact]) -> None:
    assert sorted(one for _, life in lives(found) for one in life) == sorted(found)
    starts = [start for start, _ in lives(found)]
    assert starts == sorted(starts)
