"""Final outcomes and links of the scenarios: nothing is counted twice, nothing is missing."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from tests.judges import counter
from tests.judges.judged import FORMATS, Judged, Queue, matching, truth

Judge = Callable[..., Judged]


def final_keys(judged: Judged, ours: set[tuple[str, str]]) -> Counter[tuple[Any, ...]]:
    """Final outcomes by the independent reading, as (host, queue, recipient, original, status)."""
    last: dict[tuple[Any, ...], str] = {}
    for one in counter.finals(judged.logged, ours):
        # Two spellings of one mailbox are one recipient here.
        key = one.entry.host, one.queue_id, judged.pseudonym(one.to), judged.pseudonym(one.orig_to)
        last[key] = one.status
    return Counter((*key, status) for key, status in last.items())


@pytest.mark.parametrize("hosts", ["each host by itself", "relays within the house count as internal"])
@pytest.mark.parametrize("form", FORMATS)
def test_final_outcomes_are_neither_doubled_nor_missing(judge: Judge, form: str, hosts: str) -> None:
    """A filter's first pass and a forward are left out, its second pass counts, an expiry ends its message.

    With mx1 named as an internal relay, the hop from out1 or relay3 to mx1 is left out as well: then
    every recipient of every message has one outcome, wherever it ended. A delivery to a socket of mx1 is
    no relay.
    """
    whole_house = hosts != "each host by itself"
    judged = judge(form, internal_relays=["mx1.lab.example"]) if whole_house else judge(form)
    own = {(one.host, one.text.partition(": ")[0]) for one in judged.entries}
    if whole_house:
        own = {(host, queue_id) for host in ("mx1", "out1", "relay3") for _, queue_id in own}
    found = Counter(
        (*judged.queue(row), row["recipient"], row["original_recipient"], row["status"])
        for row in judged.finals
    )
    assert found == final_keys(judged, own)
    assert {row["id"] for row in judged.finals} <= {row["id"] for row in judged.rows}
    for row in judged.rows:
        assert row["is_internal"] in (0, 1)


@pytest.mark.parametrize("form", FORMATS)
def test_truth_knows_the_final_outcomes(judge: Judge, form: str) -> None:
    """By truth alone: first passes and forwards are no outcome, all else is one and only once."""
    judged = judge(form)
    final = Counter(
        (row["host"], row["queue_id"], row["recipient"], row["original_recipient"]) for row in judged.finals
    )
    assert set(final.values()) == {1}
    later = {(record["queue_id"], record["to"]) for record in truth("delivery") if "after" in record}
    expired = {record["queue_id"] for record in truth("event") if record["what"] == "expired"}
    final_ids = {row["id"] for row in judged.finals}
    counts = Counter()
    for record in truth("delivery"):
        there = [row for row in matching(judged, record) if row["id"] in final_ids]
        if record.get("first_pass") or record.get("forwarded"):
            assert there == [], record
            counts["handed on"] += 1
        elif (record["queue_id"], record["to"]) in later and "after" not in record:
            assert there == [], record
            counts["tried again"] += 1
        elif record["queue_id"] in expired:
            assert there == [], record
            counts["expired"] += 1
        elif record.get("optional"):
            counts["optional"] += 1
        elif record.get("note") == ".forward with a local copy":
            # Truth names the recipient; the log has a `to=` for the forward and one for the copy.
            copy = judged.address[record["to"]]
            there = [row for row in judged.rows_of(record["host"], record["queue_id"])
                     if row["original_recipient"] == copy and row["id"] in final_ids]
            assert [row["status"] for row in there] == ["sent"]
            counts["local copy"] += 1
        else:
            assert len(there) == 1, record
            counts["final"] += 1
    others = {"tried again": 1, "expired": 1, "optional": 2, "local copy": 1}
    assert counts == {"handed on": 11, "final": 76, **others}
    ends = [row for row in judged.finals if row["status"] == "expired"]
    assert [judged.queue(row)[1] for row in ends] == list(expired)
    assert ends[0]["recipient"] is None


def test_links(judged: Judged) -> None:
    """next_queue_id is the queue that the reply names; parent_queue_id leads back to it."""
    logged: dict[tuple[Any, ...], set[str | None]] = defaultdict(set)
    parents: dict[Queue, str] = {}
    for one in judged.logged:
        child = counter.next_queue(one)
        queue = one.entry.host, one.queue_id
        key = *queue, judged.pseudonym(one.to), judged.pseudonym(one.orig_to), one.status
        logged[key].add(child and judged.ids.queue_id(child))
        if child and counter.internal(one, {judged.queue(row) for row in judged.rows}):
            parents[one.entry.host, child] = judged.ids.queue_id(one.queue_id)
    for entry in judged.entries:
        queue_id, _, rest = entry.text.partition(": ")
        if " notification: " in rest:
            parents[entry.host, rest.rpartition(" ")[2]] = judged.ids.queue_id(queue_id)
    for row in judged.rows:
        key = *judged.queue(row), row["recipient"], row["original_recipient"], row["status"]
        assert row["next_queue_id"] in logged[key], key
        assert row["parent_queue_id"] == parents.get(judged.queue(row)), key
