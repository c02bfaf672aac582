"""Whatever stands in a log: scrubbing it neither raises nor lets a word out that is not ours, in linear time."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given

import sink.core
from sink.core.syslog import MOST_LINE
from sink.sources.framer import Framer
from tests.golden_runner import RULES, YEAR
from tests.property import hostile
from tests.property.hostile import logs, wild_lines
from tests.property.test_linear import FILLINGS, growing, repeated
from tests.scrubbed import scrubber

CORE = Path(sink.core.__file__).parent
MODULES = (
    "deliveries", "dovecot", "forms", "grammar", "headers", "heads", "masks", "notices", "parse", "reasons", "refusals",
    "relays", "retell", "rspamd", "scrub", "syslog", "tags", "wordings",
)  # fmt: skip
HEADER = re.compile(
    rb"(?:<\d{1,3}>(?:1 )?)?[0-9A-Za-z: ,.+-]*?(?:mx1|mx2|-) (?:postfix[/0-9a-z.-]*|sshd|other)[\[\]0-9 -]*:? ?"
)
PSEUDONYM = re.compile(
    rb"h-[0-9a-f]{32}\.invalid|[0-9a-f]{32}(?:\+[0-9a-f]{8})?|\b[0-9A-F]{12}\b|\b[0-9A-Za-z]{10}z[0-9B-H]{8}\b"
    rb"|(?:-return-0|-bounces\+|msprvs1=|prvs=|SRS0=|\+)[0-9a-f]{8}(?=[-@=+])|\bfd[0-9a-f]{2}:[0-9a-f:]+"
)  # fmt: skip
WORD = re.compile(rb"[A-Za-z\x80-\xff][A-Za-z\x80-\xff]{2,}")


@cache
def vocabulary() -> frozenset[bytes]:
    """All words of the texts and patterns of the modules that tell lines, but for those in docstrings."""
    found: set[bytes] = set()
    for name in MODULES:
        tree = ast.parse((CORE / f"{name}.py").read_text())
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in told and isinstance(node.value, str | bytes):
                text = node.value.encode() if isinstance(node.value, str) else node.value
                found |= set(WORD.findall(text)) | set(WORD.findall(text.title()))
    days = {b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"}  # of a Date header, reckoned
    return frozenset(found - {b"canary"} | days)


def strange(line: bytes) -> set[bytes]:
    """Words of a scrubbed line that are not ours."""
    header = HEADER.match(line)
    rest = line[header.end() :] if header else line
    return {word for word in WORD.findall(PSEUDONYM.sub(b"", rest)) if word.strip(b"x")} - vocabulary()


def test_the_vocabulary_tells_words_apart() -> None:
    """The harness itself."""
    head = b"Nov  2 10:00:00 mx1 postfix/smtp[1]: "
    assert strange(head + b"4A5A321A867B: to=<canary>, status=sent") == {b"canary"}
    assert strange(head + b"0123456789AB: lost connection after DATA from unknown[240.1.2.3]") == set()
    assert strange(b"Nov  2 10:00:00 mx1 alice[1]: [not understood: 1 bytes]") == {b"alice"}


@given(logs())
def test_no_word_of_a_hostile_log_comes_out(lines: list[bytes]) -> None:
    found = scrubber(RULES, YEAR).scrub(lines)
    assert len(found) == len(lines)
    assert [line for line in found if strange(line) or b"\n" in line] == []


@given(wild_lines())
def test_no_word_of_a_wild_line_comes_out(lines: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    found = scrubber(RULES, YEAR).scrub(Framer().lines(data))
    assert [line for line in found if strange(line)] == []


@given(logs())
def test_lines_alone_and_together_are_the_same(lines: list[bytes]) -> None:
    tool = scrubber(RULES, YEAR)
    assert [tool.line(line) for line in lines] == scrubber(RULES, YEAR).scrub(lines)


@pytest.mark.parametrize(("daemon", "template"), hostile.TEMPLATES, ids=lambda part: part.decode()[:60])
def test_a_long_field_costs_in_proportion(daemon: bytes, template: bytes) -> None:
    def work(place: int, unit: bytes, size: int) -> object:
        places = iter(range(99))

        def value(name: str) -> bytes:
            return repeated(unit, size) if next(places) == place else hostile.HONEST[name][0]

        head = b"%b mx1 postfix/%b[1]: " % (hostile.stamp_iso(hostile.START, 0), daemon)
        line = head + hostile.filled(template, value)
        assert len(line) <= MOST_LINE
        tool = scrubber(RULES, YEAR)
        return lambda: tool.line(line)

    works = {
        f"field {place} {unit!r}": (lambda size, place=place, unit=unit: work(place, unit, size))
        for place in range(template.count(b"{"))
        for unit in FILLINGS[::6]
    }
    assert growing(works) == {}  # type: ignore[arg-type]
