"""The generated log is realistic, and the same for the same seed."""

import io
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import pytest

from bench import classes, generate
from bench.pools import SAFE, long_id

ROOT = Path(__file__).parent.parent.parent
LINES = 60_000
# How far the mix may be from that of public logs: by each class, and by all of them together.
CLASS_TOLERANCE = 0.25  # of the class's share ...
CLASS_SLACK = 0.002  # ... and a little more for rare ones
TOTAL_TOLERANCE = 0.05  # total variation distance


@cache
def log(seed: int = 1, lines: int = LINES) -> bytes:
    """A generated log."""
    out = io.BytesIO()
    generate.write(out, lines, seed)
    return out.getvalue()


def test_the_histogram_is_that_of_the_shapes() -> None:
    """`python -m bench.classes > bench/histogram.json` has been run since the shapes changed."""
    assert json.loads(classes.HISTOGRAM.read_text()) == classes.of_shapes()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_mix_is_that_of_the_wild(seed: int) -> None:
    """Each class of lines has about the share that it has in public logs."""
    wild = json.loads(classes.HISTOGRAM.read_text())
    mine = classes.of_lines(log(seed).decode().split("\n")[:-1])
    apart = {
        name: (share, mine.get(name, 0.0))
        for name, share in wild.items()
        if abs(mine.get(name, 0.0) - share) > CLASS_TOLERANCE * share + CLASS_SLACK
    }
    assert apart == {}
    assert sum(abs(mine.get(name, 0.0) - wild.get(name, 0.0)) for name in mine | wild) / 2 < TOTAL_TOLERANCE


def test_a_seed_decides_everything() -> None:
    assert log(3, 5_000) == generated(3, 5_000) != log(4, 5_000)


def generated(seed: int, lines: int) -> bytes:
    """A log from a process of its own."""
    command = [sys.executable, "-m", "bench.generate", "--lines", str(lines), "--seed", str(seed)]
    return subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout


def test_lines_are_whole_and_in_order_of_time() -> None:
    lines = log().split(b"\n")
    assert lines.pop() == b"" and len(lines) == LINES
    time = rb"2026-11-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"
    form = re.compile(time + rb" (?:mx1|out1) postfix/[a-z/]+\[\d+\]: \S.*")
    assert [line for line in lines if not form.fullmatch(line)] == []
    times = [line[:32] for line in lines]
    assert times == sorted(times)


def test_a_message_has_seven_to_sixteen_lines() -> None:
    """Its own and its connection's, for messages that were sent at the first attempt."""
    of_queue: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for line in log().split(b"\n"):
        found = re.match(rb"\S+ \S+ \S+: ([0-9A-Za-z]{11,17}): (.*)", line)
        if found:
            of_queue[found[1]].append(found[2])
    whole = [
        texts for texts in of_queue.values()
        if texts[0].startswith(b"client=") and texts[-1] == b"removed" and len(texts) < 40
    ]
    # connect and disconnect bear no queue id; half of the connections have a TLS line, too
    sizes = Counter(len(texts) + 2 for texts in whole)
    inside = sum(number for size, number in sizes.items() if 7 <= size <= 16)
    assert inside / sizes.total() > 0.9
    assert min(sizes) <= 7 and max(sizes) >= 15


def test_messages_interleave() -> None:
    """Between the first and the last line of a message stand lines of others."""
    spans: dict[bytes, list[int]] = {}
    for number, line in enumerate(log().split(b"\n")):
        found = re.match(rb"\S+ \S+ \S+: ([0-9A-Za-z]{11,17}): (?!from=<.*>, size=)", line)
        if found:
            spans.setdefault(found[1], []).append(number)
    foreign = [
        number for seen in spans.values() for number in [seen[-1] - seen[0] + 1 - len(seen)] if len(seen) > 3
    ]
    assert len(foreign) > 2000
    assert sorted(foreign)[len(foreign) // 2] > 5


def test_names_are_reserved_ones() -> None:
    """example.com, .net and .org, and the documentation ranges."""
    text = log().decode()
    domains = set(re.findall(r"@[\w.-]*?([\w-]+\.(?:com|net|org))\b", text))
    assert domains == {"example.com", "example.net", "example.org"}
    addresses = set(re.findall(r"\b(\d+\.\d+\.\d+)\.\d+\b", text)) - {"127.0.0"}
    assert addresses == {"192.0.2", "198.51.100", "203.0.113"}


def test_it_has_what_a_server_has() -> None:
    """Retries over hours, bounces, VERP, SASL, headers, both kinds of queue id, ids born before the log."""
    text = log()
    assert len(re.findall(rb"delay=\d{4,}, ", text)) > 1000
    assert len(re.findall(rb"sender non-delivery notification", text)) > 200
    assert len(re.findall(rb"-bounces\+\S+@lists\.example\.org>, size", text)) > 100
    assert len(re.findall(rb"sasl_username=", text)) > 200
    assert len(re.findall(rb": info: header .*#k7Qm2Zx9RtW4bN8s\n", text)) > 2000
    assert len(re.findall(rb"out1 postfix/smtpd\[\d+\]: [0-9A-Za-z]{14,16}: client=", text)) > 500
    assert len(re.findall(rb"mx1 postfix/smtpd\[\d+\]: [0-9A-F]{11}: client=", text)) > 500
    began = set(re.findall(rb": (\w+): (?:client=|message-id=)", text))
    assert len(set(re.findall(rb": (\w+): to=<", text)) - began) > 1000


def test_addresses_follow_zipf() -> None:
    """A few write and get most of the mail; most occur once or twice."""
    counted = Counter(re.findall(rb"from=<([^>]+)>, size", log()))
    ranked = [number for _, number in counted.most_common()]
    assert ranked[0] > 20 * ranked[len(ranked) // 2]


def test_long_queue_ids_tell_the_time() -> None:
    """As Postfix makes them: six digits of seconds, four of microseconds, in base 52."""
    made = long_id(1_795_393_869 * 1_000_000 + 172_478, 300).decode()
    seconds, micros = made[:6], made[6:10]
    assert seconds == "4jXn19"  # of a real queue id of that second
    assert sum(SAFE.index(digit) * 52 ** place for place, digit in enumerate(reversed(micros))) == 172_478
    assert made[10] == "z"
