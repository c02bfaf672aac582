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
from bench.cost import pipeline
from bench.mixes import HEADERS, MIXES, mixed
from bench.pools import SAFE, long_id

ROOT = Path(__file__).parent.parent.parent
LINES = 60_000
# How far the mix may be from that of public logs: by each class, and by all of them together.
CLASS_TOLERANCE = 0.25  # of the class's share ...
CLASS_SLACK = 0.002  # ... and a little more for rare ones
TOTAL_TOLERANCE = 0.05  # total variation distance


@cache
def log(seed: int = 1, lines: int = LINES, mix: str = "public", headers: str = "some") -> bytes:
    """A generated log."""
    out = io.BytesIO()
    generate.write(out, lines, seed, mixed(mix, headers))
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


@pytest.mark.parametrize("mix", MIXES)
def test_a_seed_decides_everything_in_each_mix(mix: str) -> None:
    made = log(3, 3_000, mix, "all")
    assert made == generated(3, 3_000, "--mix", mix, "--headers", "all") != log(4, 3_000, mix, "all")


def generated(seed: int, lines: int, *words: str) -> bytes:
    """A log from a process of its own."""
    command = [sys.executable, "-m", "bench.generate", "--lines", str(lines), "--seed", str(seed), *words]
    return subprocess.run(command, capture_output=True, check=True, cwd=ROOT).stdout


@pytest.mark.parametrize("mix", MIXES)
def test_lines_are_whole_and_in_order_of_time(mix: str) -> None:
    lines = log(mix=mix).split(b"\n")
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


@pytest.mark.parametrize("mix", MIXES)
def test_names_are_reserved_ones(mix: str) -> None:
    """example.com, .net and .org, and the documentation ranges."""
    text = log(mix=mix).decode()
    domains = set(re.findall(r"@[\w.-]*?([\w-]+\.(?:com|net|org))\b", text))
    assert domains == {"example.com", "example.net", "example.org"}
    addresses = set(re.findall(r"\b(\d+\.\d+\.\d+)\.\d+\b", text)) - {"127.0.0"}
    assert addresses == {"192.0.2", "198.51.100", "203.0.113"}


# Kinds of hosts

MANY = 20_000  # lines


def told(mix: str, headers: str = "some") -> Counter[str]:
    """What the pipeline says of a log: lines, deliveries, refusals and the like."""
    pipe, rows = pipeline(), 0
    batch = pipe.feed(log(1, MANY, mix, headers).split(b"\n")[:-1])
    rows += len(batch.rows)
    rows += len(pipe.flush().rows)
    return Counter({**pipe.counts, "rows": rows})


def number(pattern: bytes, mix: str, headers: str = "some") -> int:
    return len(re.findall(pattern, log(1, MANY, mix, headers)))


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("mix", MIXES)
def test_each_line_of_each_mix_is_understood(mix: str, headers: str) -> None:
    """And each delivery line is a row; an expired message is one, too."""
    of = told(mix, headers)
    assert of["postfix_lines"] == MANY
    assert of["not_understood"] == of["not_syslog"] == of["too_long"] == 0
    assert of["rows"] == of["delivery_lines"] + of["expired_lines"] > 0


@pytest.mark.parametrize("mix", MIXES)
def test_headers_are_none_some_or_nine_of_each_message(mix: str) -> None:
    """Of the messages that clients bring; a message at the end of the log has not all its lines yet."""
    assert number(rb": info: header ", mix, "none") == 0
    few = number(rb": info: header ", mix, "some") / number(rb": client=", mix, "some")
    assert few == pytest.approx(8 * 0.13, rel=0.3)
    all_of_them = number(rb": info: header ", mix, "all") / number(rb": client=", mix, "all")
    assert all_of_them == pytest.approx(9, rel=0.03)


def test_an_mx_takes_mail_for_its_mailboxes() -> None:
    of = told("inbound")
    assert set(re.findall(rb"\+00:00 (\S+) ", log(1, MANY, "inbound"))) == {b"mx1"}
    assert number(rb"postfix/lmtp.* status=sent ", "inbound") > 0.8 * of["delivery_lines"]
    assert of["rejects"] > 5 * told("public")["rejects"]
    assert number(rb"DNSBL rank", "inbound") > number(rb": client=", "inbound") / 2


def test_a_mass_mailer_has_one_sender_and_many_recipients() -> None:
    """The others that its queue holds are old: no client brought them now."""
    of = told("outbound")
    assert of["delivery_lines"] > MANY / 10
    assert of["rejects"] < MANY / 1_000
    assert number(rb"postscreen", "outbound") == 0
    text = log(1, MANY, "outbound")
    brought = set(re.findall(rb": (\w+): client=", text))
    senders = Counter(sender for name, sender in re.findall(rb": (\w+): from=<(.*?)>, size", text) if name in brought)
    assert list(senders) == [b"newsletter@example.com"] and senders.total() > MANY / 20
    assert len(set(re.findall(rb": to=<(.*?)>", text))) > 300


def test_a_list_host_writes_to_many() -> None:
    """By VERP, or with one message to up to eighty; most of its lines are deliveries."""
    assert told("list")["delivery_lines"] > MANY / 3
    ones = set(re.findall(rb": from=<list\d+-bounces\+\w+=[\w.]+@lists.example.org>, size=\d+, nrcpt=(\d+)",
                          log(1, MANY, "list")))
    assert ones == {b"1"}
    crowds = [int(found) for found in re.findall(rb": from=<list\d+-bounces@lists.example.org>, size=\d+, nrcpt=(\d+)",
                                                 log(1, MANY, "list"))]
    assert max(crowds) > 60
    assert sum(crowds) > 20 * len([found for found in crowds if found > 1]) > 0


def test_an_attack_has_few_messages() -> None:
    """But bots, guessed passwords and refusals."""
    attack, public = told("attack"), told("public")
    assert attack["delivery_lines"] < public["delivery_lines"] / 5
    assert attack["rejects"] > 10 * public["rejects"]
    assert attack["sasl_failures"] > 10 * public["sasl_failures"]
    assert number(rb"DNSBL rank", "attack") > 2 * number(rb"DNSBL rank", "public")


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
