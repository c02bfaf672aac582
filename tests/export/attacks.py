"""Attacks on a data set, by code that shares nothing with postsink.

The attacker has the files, knows how they were made, and knows some of the raw mails: time, exact size, both addresses.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from math import log
from pathlib import Path

from tests.export.world import LOCAL, Mail

Row = dict[str, str]
SIDES = ("sender", "recipient")


def rows_of(folder: Path) -> list[Row]:
    with (folder / "delivery.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def domain(address: str) -> str:
    return address.partition("@")[2]


class Attacker:
    """Looks for the rows that known mails can be."""

    def __init__(self, rows: Iterable[Row], width: int = 3_600) -> None:
        self._width = width
        self.rows = list(rows)
        self._cells: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in self.rows:
            self._cells[row["logged_at"], row["message_size"], row["is_outgoing"]].append(row)

    def compatible(self, mail: Mail) -> list[Row]:
        """Rows that a mail can be by its time, size and direction: what is blank can be anything."""
        when = datetime.fromtimestamp(mail.second - mail.second % self._width, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        size = str(2 ** (mail.size.bit_length() - 1))
        way = "1" if domain(mail.sender) in LOCAL else "0"
        return [row for told in (size, str(mail.size), "") for row in self._cells.get((when, told, way), ())]

    def candidates(self, mail: Mail, names: Mapping[str, str]) -> list[Row]:
        """Rows that a mail can be, where the attacker has been told what stands for each domain."""
        wanted = {"sender": names.get(domain(mail.sender)), "recipient": names.get(domain(mail.recipient))}
        return [row for row in self.compatible(mail) if all(row[side] in ("", wanted[side]) for side in SIDES)]

    def likeliest(self, known: Iterable[Mail], part: Callable[[str], str], often: float = 0) -> dict[str, str]:
        """Guess the token of each name: the one whose rows lie where the name's known mails do, and nowhere else.

        part: takes what is looked for out of an address; often: what weight it has how often a token comes at all.
        """
        total = Counter(row[side] for row in self.rows for side in SIDES if row[side])
        fit: dict[str, Counter[str]] = defaultdict(Counter)
        number: Counter[str] = Counter()
        for mail in known:
            rows = self.compatible(mail)
            for side, address in zip(SIDES, (mail.sender, mail.recipient), strict=True):
                name = part(address)
                number[name] += 1
                for token, times in Counter(row[side] for row in rows if row[side]).items():
                    # Against 1e-6 for a token that is not there: it may have been blank.
                    fit[name][token] += log(times / total[token]) - log(1e-6)
        share = sum(total.values()) / max(1, number.total())
        return {
            name: max(
                found, key=lambda token: found[token] - often * abs(log(number[name] * share / total[token]))
            )
            for name, found in fit.items() if found
        }  # fmt: skip

    def by_frequency(self, known: Iterable[Mail]) -> dict[str, str]:
        """Guess the domains' tokens by rank alone."""
        names = Counter(domain(address) for mail in known for address in (mail.sender, mail.recipient))
        seen = Counter(row[side] for row in self.rows for side in SIDES if row[side].startswith("@"))
        ranked = zip(names.most_common(), seen.most_common(), strict=False)
        return {name: token for (name, _), (token, _) in ranked}
