"""What somebody can find in an export who knows some of the mails. See docs/data.md, which tells the figures."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sink.fault import OK
from tests.export.attacks import SIDES, Attacker, domain, rows_of
from tests.export.conftest import exported
from tests.export.tokens import Truth
from tests.export.world import LOCAL, Mail, World
from tests.judges.program import ROOT, Program

DATA = (ROOT / "docs/data.md").read_text()
K = 5
KNOWN = ("logged_at", "message_size", "is_outgoing", "sender_kind", "origin", "recipients", "epoch")


def documented(words: str) -> int:
    """A number that docs/data.md names before these words."""
    found = re.search(rf"(\d+) {words}", " ".join(DATA.split()))
    assert found, words
    return int(found[1])


@pytest.fixture(scope="module")
def truth(host: Program) -> Truth:
    return Truth(host)


@pytest.fixture(scope="module")
def attacker(day: Path) -> Attacker:
    return Attacker(rows_of(day))


def one_percent(world: World) -> list[Mail]:
    """Known by chance."""
    return random.Random(5).sample(world.mails, len(world.mails) // 100)


def of_some_people(world: World) -> list[Mail]:
    """All mails of some people, until these are one in a hundred: as somebody's colleagues know them."""
    people = sorted({address for mail in world.mails for address in (mail.sender, mail.recipient)})
    random.Random(7).shuffle(people)
    found: set[Mail] = set()
    for one in people:
        found |= {mail for mail in world.mails if one in (mail.sender, mail.recipient)}
        if len(found) >= len(world.mails) // 100:
            break
    return sorted(found)


def the_rarest(world: World) -> list[Mail]:
    """The largest, and those of the quietest hour: where a mail is least likely to have others about it."""
    by_size = sorted(world.mails, key=lambda mail: -mail.size)[:500]
    hours = Counter(mail.second // 3_600 for mail in world.mails)
    quiet = min(hours, key=lambda hour: hours[hour])
    return [*by_size, *(mail for mail in world.mails if mail.second // 3_600 == quiet)]


@pytest.mark.parametrize("knows", [one_percent, of_some_people, the_rarest])
def test_time_and_size_find_no_row(
    knows: Callable[[World], list[Mail]], world: World, attacker: Attacker, truth: Truth
) -> None:
    """Not even where the attacker has been told what stands for each domain."""
    names = {name: truth.domain(name) for name in {domain(a) for mail in world.mails for a in (mail[2], mail[3])}}
    known = knows(world)
    assert len(known) >= 500
    for mail in known:
        assert len(attacker.compatible(mail)) >= K or not attacker.compatible(mail)
        assert len(attacker.candidates(mail, names)) >= K or not attacker.candidates(mail, names)
    assert sum(bool(attacker.candidates(mail, names)) for mail in known) > 0.9 * len(known)


def test_time_finds_no_refusal(world: World, day: Path, truth: Truth) -> None:
    with (day / "reject.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    hours: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        hours.setdefault(row["logged_at"], []).append(row)
    refused = [mail for number, mail in enumerate(world.mails) if domain(mail.sender) not in LOCAL and number % 7 == 0]
    assert len(rows) > 0.98 * len(refused) > 5_000
    sizes = []
    for mail in random.Random(5).sample(refused, 1_000):
        names = truth.domain(domain(mail.sender)), truth.domain(domain(mail.recipient))
        hour = hours[datetime.fromtimestamp(mail.second - mail.second % 3_600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")]
        found = [row for row in hour if all(row[side] in ("", name) for side, name in zip(SIDES, names, strict=True))]
        sizes.append(len(found))
    assert all(size >= K or size == 0 for size in sizes)
    assert sizes.count(0) < 20


def test_the_attack_finds_rows_where_nothing_is_coarse(world: World) -> None:
    """It is able to: what it can't find is not there to be found."""
    rows = [
        {"logged_at": datetime.fromtimestamp(mail.second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
         "message_size": str(mail.size), "sender": "", "recipient": "",
         "is_outgoing": str(int(domain(mail.sender) in LOCAL))}
        for mail in world.mails
    ]  # fmt: skip
    raw = Attacker(rows, width=1)
    known = one_percent(world)
    assert sum(len(raw.compatible(mail)) == 1 for mail in known) > 0.9 * len(known)


def test_no_row_can_be_joined_to_another_by_who_it_is(day: Path) -> None:
    """There is no token of a person; a token of a domain stands only where k of its users are alike."""
    for row in rows_of(day):
        assert all(re.fullmatch(r"(?:@[0-9a-f]{32})?", row[side]) for side in SIDES)


def test_domains_of_few_people_have_no_token(world: World, day: Path, truth: Truth) -> None:
    """Not even where these send thousands of mails, as a machine does."""
    users: dict[str, set[str]] = {}
    for mail in world.mails:
        for address in (mail.sender, mail.recipient):
            users.setdefault(domain(address), set()).add(address)
    mails = Counter(domain(mail.sender) for mail in world.mails)
    small = {name for name, people in users.items() if len(people) < K}
    assert max(mails[name] for name in small) > 2_000
    shown = {row[side] for row in rows_of(day) for side in SIDES} - {""}
    assert 10 < len(shown) < len(users) / 20
    assert not shown & {truth.domain(name) for name in small}


@pytest.mark.parametrize("knows", [one_percent, of_some_people])
@pytest.mark.parametrize("seed", [1, 2])
def test_frequency_tells_the_largest_domains_alone(
    knows: Callable[[World], list[Mail]], seed: int, world: World, attacker: Attacker, truth: Truth
) -> None:
    known = knows(world) if seed == 1 else random.Random(seed).sample(world.mails, len(world.mails) // 100)
    most = documented("of the largest domains can be told")
    ways = [attacker.by_frequency(known), *(attacker.likeliest(known, domain, often) for often in (0, 1, 3, 10, 30))]
    right = [{name for name, token in guesses.items() if truth.domain(name) == token} for guesses in ways]
    assert 0 < max(map(len, right)) <= most
    # No small one is among them.
    mails = Counter(domain(address) for mail in world.mails for address in (mail.sender, mail.recipient))
    large = {name for name, _ in mails.most_common(40)}
    assert all(found <= large for found in right)


def test_persons_that_keep_a_token_are_found(world: World, host: Program, truth: Truth) -> None:
    """Why addresses are left out by default; docs/data.md tells how many are found where they are asked for."""
    answer = exported(host, "with-addresses", "--with", "address")
    assert answer.status == OK
    assert "--with address is not among what is checked" in answer.out
    attacker = Attacker(rows_of(host.folder / "with-addresses"))
    classes: dict[tuple[str, ...], tuple[set[str], set[str]]] = {}
    for row in attacker.rows:
        senders, recipients = classes.setdefault(tuple(row[name] for name in KNOWN), (set(), set()))
        senders.add(row["sender"])
        recipients.add(row["recipient"])
    assert min(min(map(len, both)) for both in classes.values()) >= K, "rows of one person hide nobody"
    known = one_percent(world)
    times = Counter(address for mail in known for address in (mail.sender, mail.recipient))
    often = [address for address, number in times.items() if number >= 5]
    guesses = attacker.likeliest(known, str)
    found = sum(guesses.get(address) == truth.address(address) for address in often) / len(often)
    told = documented("of 100 persons are found") / 100
    assert told - 0.25 < found <= told
    # A single mail finds nobody by more than luck, here either.
    once = [address for address, number in times.items() if number == 1]
    assert sum(guesses.get(address) == truth.address(address) for address in once) < 0.03 * len(once)
