"""Shapes of lines of the wild: each is understood, or ignored with a reason, or not understood."""

import re
from collections.abc import Callable

import pytest

from tests.judges.conftest import ignore_lists
from tests.judges.shapes import Shape, concrete, line, shapes

SHARE_NOT_UNDERSTOOD = 0.01  # of all weighted lines
FACT = re.compile(r"QID: (?:.*[ ,])?(?:to|from|status|message-id|client)=")
REFUSAL = re.compile(r"(?:^|: )(?:milter-|proxy-)?reject: ")


Verdict = Callable[[bytes], str]


@pytest.fixture(scope="module")
def verdicts(verdict: Verdict) -> dict[Shape, str]:
    """What the program says of each shape: understood, ignored, not understood."""
    return {shape: verdict(line(shape)) for shape in shapes()}


def test_there_are_as_many_shapes_as_when_this_was_written() -> None:
    assert len(shapes()) == 859
    assert sum(shape.weight for shape in shapes()) == 171_640


def test_shapes_become_lines() -> None:
    """The harness itself: place-holders are gone, and words that hold an N are whole."""
    known = {
        "QID: to=<ADDR>, relay=HOST[IP]:PORT, delay=N, delays=N/N, dsn=N, status=sent (CODE … queued as QID)":
            "4A5A321A867: to=<alice@example.com>, relay=mail.example.com[192.0.2.7]:25, delay=0.1, "
            "delays=0.01/0.02/0.03/0.04, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 4B5A321A86F)",
        "QID: from=<ADDR>, size=N, nrcpt=N (queue active)":
            "4A5A321A867: from=<alice@example.com>, size=7, nrcpt=7 (queue active)",
        "NOQUEUE: reject: RCPT from HOST[IP]: CODE DSN <STR>: Relay access denied; from=<ADDR> to=<ADDR> "
        "proto=ESMTP helo=<HELO>":
            "NOQUEUE: reject: RCPT from mail.example.com[192.0.2.7]: 550 5.7.1 <bob@example.net>: Relay "
            "access denied; from=<alice@example.com> to=<alice@example.com> proto=ESMTP "
            "helo=<mail.example.com>",
        "QID: milter-reject: END-OF-MESSAGE from HOST[IP]: N Try again later; from=<ADDR>":
            "4A5A321A867: milter-reject: END-OF-MESSAGE from mail.example.com[192.0.2.7]: 5.7.1 Try again "
            "later; from=<alice@example.com>",
        "proxy-accept: END-OF-MESSAGE: N N from MTA(smtp:[IP]:PORT): N N Ok: queued as QID; from=<ADDR>":
            "proxy-accept: END-OF-MESSAGE: 250 2.0.0 from MTA(smtp:[192.0.2.7]:25): 250 2.0.0 Ok: queued as "
            "4B5A321A86F; from=<alice@example.com>",
        "statistics: max connection rate N/Ns for (smtpd:IP) at TIME":
            "statistics: max connection rate 7/60s for (smtpd:192.0.2.7) at Nov  2 10:00:00",
        "[ID N HOST] NBNBNCN: client=HOST[IP]":
            "[ID 7 mail.example.com] 7B7B7C7: client=mail.example.com[192.0.2.7]",
    }
    assert {shape: concrete(shape) for shape in known} == known
    names = re.compile(r"\b(?:QID|ADDR|HOST|PORT|HELO|REPLY|TEXT|TLSVER|CIPHER|CODE)\b")
    assert [shape for shape in shapes() if names.search(concrete(shape.text))] == []


def test_each_shape_has_a_verdict(verdicts: dict[Shape, str]) -> None:
    assert set(verdicts.values()) <= {"understood", "ignored", "not understood"}


def test_hardly_anything_is_not_understood(verdicts: dict[Shape, str]) -> None:
    """By weight, less than one line in a hundred; the heaviest are named."""
    rest = sorted((shape for shape, said in verdicts.items() if said == "not understood"), reverse=True)
    weight = sum(shape.weight for shape in rest)
    heaviest = "\n".join(f"{shape.weight:6} {shape.daemon}: {shape.text[:150]}" for shape in rest[:30])
    print(f"\nnot understood: {weight} of 171640 lines, {len(rest)} shapes; the heaviest:\n{heaviest}")
    assert weight < SHARE_NOT_UNDERSTOOD * 171_640, heaviest


def says_who_wrote_to_whom(shape: Shape) -> bool:
    """Whether a shape may never be ignored: facts of a queue id, or a refusal."""
    if REFUSAL.search(shape.text):
        return True
    return bool(FACT.match(shape.text))


def test_no_shape_that_says_who_wrote_to_whom_is_ignored(verdicts: dict[Shape, str]) -> None:
    """A shape with a queue id and to=, from=, status=, message-id=, client=, or any refusal."""
    guarded = [shape for shape in verdicts if says_who_wrote_to_whom(shape)]
    assert len(guarded) == 321
    assert [shape for shape in guarded if verdicts[shape] == "ignored"] == []


def test_guarded_shapes_are_understood_by_weight(verdicts: dict[Shape, str]) -> None:
    """Of the shapes that may not be ignored, all but one in a thousand by weight are understood."""
    guarded = [shape for shape in verdicts if says_who_wrote_to_whom(shape)]
    lost = [shape for shape in guarded if verdicts[shape] != "understood"]
    share = sum(shape.weight for shape in lost) / sum(shape.weight for shape in guarded)
    named = [f"{shape.weight} {shape.daemon}: {shape.text}" for shape in sorted(lost)[-30:]]
    assert share < 0.001, "\n".join(named)


def test_every_entry_of_the_ignore_lists_has_a_reason() -> None:
    """Per daemon, what is ignored and why."""
    entries = ignore_lists()
    assert len(entries) > 50
    assert [entry for entry in entries if not entry[2].strip()] == []


def test_refusals_are_no_entry_of_the_ignore_lists() -> None:
    """By the lists themselves, too: no word of theirs begins a refusal or a fact."""
    words = {word for _, word, _ in ignore_lists()}
    refusals = ("reject:", "milter-reject:", "proxy-reject:")
    never = (*refusals, "to=", "from=", "client=", "message-id=", "status=")
    assert [word for word in words if word.startswith(never)] == []
