"""Whatever stands in a log: redacting it neither raises nor lets a word out that is not ours, in linear time."""

from __future__ import annotations

import re

import pytest
from hypothesis import given

from sink.core import vocabulary
from sink.core.standins import EVERYBODYS, PEOPLE
from sink.sources.framer import Framer
from tests.golden_runner import RULES
from tests.property.hostile import logs, wild_lines
from tests.property.test_linear import FILLINGS, growing, repeated
from tests.property.test_scrub import strange as strange_to_scrub
from tests.redacted import redactor

# One may follow upon the other, as what they stand for did: "word7example.net".
STAND_IN = re.compile(
    rb"(?:(?:mx|relay|local|d|id)\d*\.)?example\.(?:com|net|org)|(?:user|word)\d+|(?:postfix-)?own\d+"
)
NAME = re.compile(
    rb"(?<![0-9A-Za-z])(?:" + b"|".join([*(name.encode() for name in PEOPLE), *EVERYBODYS]) + rb")(?![0-9A-Za-z])"
)
QUEUE_ID = re.compile(rb"\b4F0AC[0-9A-F]+\b|\b[0-9A-Za-z]{6}\d{4}z[0-9B-DGH]+\b")


def strange(line: bytes) -> set[bytes]:
    """Words of a redacted line that are neither Postfix's nor stand-ins."""
    shown = NAME.sub(b" ", STAND_IN.sub(b" ", QUEUE_ID.sub(b" ", line)))
    words = {word for word in strange_to_scrub(shown) if not vocabulary.is_known(word)}
    return {word for word in words if not re.search(rb"[0-9a-f:]*:[0-9a-f:]*" + word, shown)}


def test_the_vocabulary_tells_words_apart() -> None:
    """The harness itself."""
    head = b"Nov  2 10:00:00 mx1.example.net postfix/smtp[1]: "
    assert strange(head + b"4F0AC000001: to=<canary>, status=sent") == {b"canary"}
    assert strange(head + b"4F0AC000001: word1 <alice@example.net> 2001:db8::1") == set()
    assert strange(head + b"4F0AC000001: word1example.netword2 canaryexample.net") == {b"canary"}


@given(logs())
def test_no_word_of_a_hostile_log_comes_out(lines: list[bytes]) -> None:
    tool = redactor(RULES)
    found = tool.scrub(lines)
    assert len(found) == len(lines)
    assert [line for line in found if strange(line) or b"\n" in line] == []


@given(wild_lines())
def test_no_word_of_a_wild_line_comes_out(lines: list[bytes]) -> None:
    found = redactor(RULES).scrub(Framer().lines(b"".join(line + b"\n" for line in lines)))
    assert [line for line in found if strange(line)] == []


@pytest.mark.parametrize("form", [b"%b", b"<%b@x>", b"%b@", b"1.%b", b":%b"])
def test_a_long_text_costs_in_proportion(form: bytes) -> None:
    def work(unit: bytes, size: int) -> object:
        tool, text = redactor(RULES), form % repeated(unit, size)
        return lambda: tool.names.dropped(text)

    works = {repr(unit): (lambda size, unit=unit: work(unit, size)) for unit in FILLINGS[::3]}
    assert growing(works) == {}  # type: ignore[arg-type]
