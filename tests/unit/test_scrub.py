"""Scrubbing a line: header, epochs, the shapes of the wild, and what it costs."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.queueid import birth
from sink.core.reasons import CATEGORIES, WORDS, Classifier
from sink.core.scrub import Scrubber
from sink.core.syslog import Reader
from tests.golden_runner import CORRELATION, RULES, SECRET, YEAR
from tests.judges.shapes import line, shapes
from tests.property.test_scrub import strange
from tests.scrubbed import INTERNAL, TRUSTED, masks, scrubber

HEAD = b"Nov  2 10:00:00 mx1 postfix/smtpd[1]: "
FIELD = re.compile(rb"(?<![a-z_])([a-z_]+=|status=[A-Za-z]+)")
REPLY = re.compile(rb"(?<=status=)([A-Za-z]+) .*|(?<=: )[245]\d\d .*|(?<=\]: )<.*")  # what others wrote begins there


def fields(text: bytes) -> list[bytes]:
    """Names of a text's fields; one that the grammar does not know is not told, and of the shapes one has such."""
    return [name for name in FIELD.findall(REPLY.sub(rb"\1", text)) if name != b"extra="]


def test_each_shape_keeps_its_form_or_fails_closed() -> None:
    """Fields in their order, and nothing that is not ours; or a length in the place of all of it."""
    tool = scrubber(RULES)
    kept = weight = 0
    for shape in shapes():
        raw = line(shape).rstrip(b"\n")
        found = tool.line(raw)
        assert strange(found) == set(), found
        if b"[not understood: " in found:
            continue
        kept += 1
        weight += shape.weight
        assert fields(found) == fields(raw), (raw, found)
    assert kept > 450
    assert weight > 0.9 * 171_640


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"<22>Nov  2 10:00:00 mx1 postfix/qmgr[1]: ", b"<22>Nov  2 10:00:00 mx1 postfix/qmgr[1]: "),
        (b"2026 Nov 2 10:00:00.123 mx1 postfix/qmgr[1]: ", b"2026 Nov 2 10:00:00.123 mx1 postfix/qmgr[1]: "),
        (
            b'<22>1 2026-11-02T10:00:00.5Z mx1 postfix/qmgr 1 ID7 [for@1 user="alice"] ',
            b"<22>1 2026-11-02T10:00:00.5Z mx1 postfix/qmgr 1 - - ",
        ),
        (b"Nov  2 10:00:00 mx1 postfix/qmgr: [ID 9 mail.info] ",) * 2,
        (b"Nov  2 10:00:00 mx1 postfix/qmgr[1]: [ID 9 of.alice] ", b"Nov  2 10:00:00 mx1 postfix/qmgr[1]: "),
        (b"2026-11-02T10:00:00.123456Z al@ice postfix/qmgr[1]: ", b"2026-11-02T10:00:00.123456Z - postfix/qmgr[1]: "),
        (b"Nov  2 10:00:00 mx1 alice@example.com/qmgr[1]: ", b"Nov  2 10:00:00 mx1 other[1]: "),
    ],
)  # fmt: skip
def test_of_a_header_comes_out_what_is_nobodys(raw: bytes, shown: bytes) -> None:
    assert scrubber(RULES, YEAR).line(raw + b"statistics: max cache size 3 at Nov  2 10:00:00") == (
        shown + b"statistics: max cache size 3 at Nov  2 10:00:00"
    )


def test_repeated_lines_stay_wrapped() -> None:
    wrapped = HEAD + b"message repeated 2 times: [ disconnect from unknown[203.0.113.7]]"
    assert re.fullmatch(
        re.escape(HEAD) + rb"message repeated 2 times: \[ disconnect from unknown\[24[0-7]\.[\d.]+\]\]",
        scrubber(RULES, YEAR).line(wrapped),
    )


def test_lines_of_no_form_show_their_length_alone() -> None:
    tool = scrubber(RULES, YEAR)
    assert tool.scrub([b"alice", b"", b"a" * 70_000]) == [
        b"[not understood: 5 bytes]", b"[not understood: 0 bytes]", b"[not understood: 70000 bytes]",
    ]  # fmt: skip
    assert tool.counts["not_syslog"] == 2
    assert tool.counts["too_long"] == 1


def test_pseudonyms_can_be_short() -> None:
    found = scrubber(RULES, YEAR, digits=6).line(HEAD + b"4A5A321A867: to=<Alice@example.com>, relay=none, delay=1, "
                                                 b"delays=0/0/0/1, dsn=2.0.0, status=sent (250 2.0.0 Ok)")
    assert re.search(rb": to=<[0-9a-f]{6}\+[0-9a-f]{8}@[0-9a-f]{6}>, relay=none, ", found)


def test_a_message_keeps_the_key_of_its_first_line() -> None:
    """As its row does: a queue id has one pseudonym on both sides of a change, another in its next life."""
    change = 1_793_613_602  # 2026-11-02T10:00:02Z
    epochs = [Epoch(1, None, change, SECRET), Epoch(2, change, None, SECRET[::-1])]
    tool = Scrubber(RULES, epochs, Reader(RULES.timezone, YEAR), CORRELATION)
    texts = (
        b"Nov  2 10:00:00 mx1 postfix/smtpd[1]: 4A5A321A867: client=unknown[203.0.113.7]",
        b"Nov  2 10:00:05 mx1 postfix/qmgr[1]: 4A5A321A867: removed",
        b"Nov  2 10:00:06 mx1 postfix/smtpd[1]: 4A5A321A867: client=unknown[203.0.113.7]",
        b"Nov  2 10:00:06 mx1 postfix/smtpd[1]: 4A5A321A868: client=unknown[203.0.113.7]",
        b"Nov  2 10:00:07 mx1 postfix/qmgr[1]: 4A5A321A868: removed",
    )
    first, second, third, *_ = ids = [found.split(b" ")[6] for found in tool.scrub(texts)]
    assert first == second != third
    assert ids[3] == ids[4]


def test_lines_of_a_destroyed_epoch_are_not_told() -> None:
    tool = Scrubber(RULES, [Epoch(1, None, None, None)], Reader(RULES.timezone, YEAR), CORRELATION)
    assert tool.line(HEAD + b"connect from unknown[203.0.113.7]") == HEAD + b"[not understood: 33 bytes]"
    assert tool.counts["epoch_destroyed"] == 1


def test_addresses_of_hosts_lie_where_no_host_is() -> None:
    """And say which of the config's networks they are of, but not where in them."""
    rules = replace(RULES, internal_networks=(ip_network("198.51.100.0/24"), ip_network("2001:db8:9::/48")))
    mask = masks(rules)
    trusted, internal = ([ip_network(one) for one in networks] for networks in (TRUSTED, INTERNAL))
    for raw in ("203.0.113.7", "192.0.2.3", "198.51.100.200", "2001:db8::1", "2001:db8:9::1", "0.0.0.1"):
        shown = ip_address(mask.ip(raw.encode()).decode())
        assert shown.is_reserved or shown.is_private
        assert not shown.is_global
        for ours, theirs in ((rules.trusted_networks, trusted), (rules.internal_networks, internal)):
            same = [any(ip_address(one) in net for net in nets) for one, nets in ((raw, ours), (str(shown), theirs))]
            assert same[0] == same[1], raw
    assert mask.ip(b"127.0.0.1") == b"127.0.0.1"
    assert mask.ip(b"IPv6:::1") == b"::1"


def test_queue_ids_keep_their_form_and_the_month() -> None:
    mask = masks(RULES)
    row = mask._pseudonyms.queue_id(b"4jJ3DJ0q9Hz179QR").hex()
    shown = mask.queue_id(b"4jJ3DJ0q9Hz179QR")
    assert (shown[6:10] + shown[11:]).translate(bytes.maketrans(b"BCDFGH", b"abcdef")).decode() == row[:12]
    made, born = birth(shown), birth(b"4jJ3DJ0q9Hz179QR")
    assert made is not None
    assert born is not None
    assert 0 <= born - made < 30 * 86_400
    assert made % (30 * 86_400) == 0
    assert re.fullmatch(rb"[0-9A-F]{12}", mask.queue_id(b"4A5A321A867"))


def test_each_class_has_words_that_give_it_again() -> None:
    classify = Classifier(RULES).classify
    assert WORDS.keys() == CATEGORIES
    assert {classify(WORDS[name], b"4.0.0" if name == "temporary" else b"5.0.0", "") for name in WORDS} == CATEGORIES
    for name, words in WORDS.items():
        assert classify(words, b"4.0.0" if name == "temporary" else b"5.0.0", "") == name


def test_it_costs_no_more_than_twice_what_reading_rows_does() -> None:
    """CPU time of both, turn by turn, the least of each: `import` adds SQLite to what the pipeline costs."""
    raw = [line(shape).rstrip(b"\n") for shape in shapes() for _ in range(min(shape.weight // 40 + 1, 40))]
    costs: dict[str, list[float]] = {"rows": [], "lines": []}
    for _ in range(5):
        pipe = Pipeline(RULES, [Epoch(1, None, None, SECRET)], CORRELATION, Reader(RULES.timezone))
        for name, work in (("rows", pipe.feed), ("lines", scrubber(RULES).scrub)):
            start = time.process_time()
            for at in range(0, len(raw), 400):
                work(raw[at : at + 400])
            costs[name].append(time.process_time() - start)
    assert min(costs["lines"]) < 2 * min(costs["rows"]), costs
