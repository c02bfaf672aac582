"""The framer cuts at newlines alone, keeps what is not ended, and never holds more than a line's limit."""

from __future__ import annotations

import random

import pytest

from sink.core.syslog import MOST_LINE
from sink.sources.framer import Framer


def framed(*chunks: bytes) -> list[bytes]:
    framer = Framer()
    return [line for chunk in chunks for line in framer.lines(chunk)] + framer.last()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b""], []),
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"a", b"b", b"\n", b"c"], [b"ab", b"c"]),
        ([b"\n\na\n"], [b"", b"", b"a"]),
        ([b"a\r\nb\r\n"], [b"a", b"b"]),
        ([b"a\r", b"\nb\r"], [b"a", b"b"]),
        ([b"a\rb\n"], [b"a\rb"]),
        ([b"a\x0b\x0c\x1c\x85\xe2\x80\xa8b\n"], [b"a\x0b\x0c\x1c\x85\xe2\x80\xa8b"]),
        ([b"a\0b\n"], [b"a\0b"]),
    ],
)
def test_lines_end_at_a_newline(chunks: list[bytes], lines: list[bytes]) -> None:
    assert framed(*chunks) == lines


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("length", [MOST_LINE - 1, MOST_LINE, MOST_LINE + 1, MOST_LINE + 2, 3 * MOST_LINE])
def test_a_line_over_the_limit_stays_one(length: int, end: bytes) -> None:
    """Its beginning alone is kept, still too long to be read; what follows is whole."""
    data = b"x" * length + end + b"next" + end
    for size in (1 << 20, 1000, 4096, MOST_LINE, MOST_LINE + 1):
        first, second = framed(*(data[at : at + size] for at in range(0, len(data), size)))
        assert second == b"next"
        assert (len(first) > MOST_LINE) == (length > MOST_LINE)
        assert length > MOST_LINE or len(first) == length


def test_a_line_without_an_end_takes_no_memory() -> None:
    framer = Framer()
    for _ in range(100):
        assert framer.lines(b"x" * 100_000) == []
    (kept,) = framer.last()
    assert MOST_LINE < len(kept) <= MOST_LINE + 2
    assert framer.last() == []


def test_any_cuts_give_the_same_lines() -> None:
    dice = random.Random(7)
    data = b"".join(dice.choice((b"a", b"b" * 70_000, b"\r", b"\n", b"\r\n", b"", b"\xff")) for _ in range(60))
    for _ in range(30):
        cuts = sorted(dice.randrange(len(data) + 1) for _ in range(8))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        short = [line[:MOST_LINE] for line in framed(*pieces)]
        assert short == [line[:MOST_LINE] for line in framed(data)]
