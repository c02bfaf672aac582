"""A mail host with a day of invented mail: its raw log, and the list of the mails, of which an attacker knows a part.

Ten thousand people at some thousand domains write with 1,500 people here. Activity, domains and sizes are as
uneven as in life; some correspond again and again, a newsletter goes to hundreds, a few senders are machines.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from typing import NamedTuple

MIDNIGHT = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp())
HOURS = (1, 1, 1, 1, 1, 2, 4, 9, 14, 15, 14, 12, 10, 12, 13, 12, 11, 9, 7, 5, 4, 3, 2, 1)  # weights of a working day
LOCAL = ("example.com", "example.org", "dept.example.com", "lists.example.org")


class Mail(NamedTuple):
    """What whoever wrote or got a mail knows of it: when it was delivered, its exact size, who to whom."""

    second: int
    size: int
    sender: str
    recipient: str


class World:
    """A day of mail; the same for the same seed."""

    def __init__(self, mails: int, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self.mails: list[Mail] = []
        self._make(mails)
        self.mails.sort()

    def _make(self, mails: int) -> None:
        chance = self._chance
        domains = [f"d{number}.example.net" for number in range(3_000)]
        weights = [1 / (rank + 1) ** 1.1 for rank in range(len(domains))]
        far = [
            f"u{number}@{domain}"
            for number, domain in enumerate(chance.choices(domains, weights, k=10_000))
        ]
        near = [f"p{number}@{chance.choices(LOCAL, (6, 3, 1, 1))[0]}" for number in range(1_500)]
        eager = list(accumulate(chance.paretovariate(1.2) for _ in far))
        busy = list(accumulate(chance.paretovariate(1.5) for _ in near))
        friends = {one: chance.choices(far, cum_weights=eager, k=4) for one in near}
        while len(self.mails) < mails:
            second = MIDNIGHT + chance.choices(range(24), HOURS)[0] * 3_600 + chance.randrange(3_600)
            size = min(20_000_000, max(600, int(chance.lognormvariate(9, 1.6))))
            kind = chance.random()
            mine = chance.choices(near, cum_weights=busy)[0]
            if kind < 0.25:  # a correspondence of two, there and back
                friend = chance.choice(friends[mine])
                self.mails.append(Mail(second, size, friend, mine))
                self.mails.append(Mail(min(second + 900, MIDNIGHT + 86_399), size + 500, mine, friend))
            elif kind < 0.252:  # a newsletter
                sender = f"news@{chance.choice(domains[:40])}"
                readers = chance.sample(near, 60)
                self.mails += [Mail(second + n // 20, size, sender, one) for n, one in enumerate(readers)]
            elif kind < 0.30:  # a machine
                self.mails.append(Mail(second, 1_234, "alarm@d900.example.net", "root@example.com"))
            elif kind < 0.75:
                self.mails.append(Mail(second, size, chance.choices(far, cum_weights=eager)[0], mine))
            else:
                self.mails.append(Mail(second, size, mine, chance.choices(far, cum_weights=eager)[0]))

    def lines(self) -> Iterator[str]:
        """Yield the raw log."""
        for number, (second, size, sender, recipient) in enumerate(self.mails):
            queue_id = f"{number + 0x100000:X}"
            is_out = sender.partition("@")[2] in LOCAL
            came = "192.0.2.9" if is_out else "203.0.113.7"
            delay = self._chance.expovariate(0.5)
            relay = "mx.example.net[198.51.100.4]:25" if is_out else "mail[/run/lmtp]"
            status = self._chance.choices(("sent", "deferred", "bounced"), (94, 4, 2))[0]
            dsn, said = {"sent": ("2.0.0", "250 ok"), "deferred": ("4.2.0", "450 4.2.0 greylisted"),
                         "bounced": ("5.1.1", "550 5.1.1 user unknown")}[status]  # fmt: skip
            at = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.250000+00:00 mx1 postfix/")
            if not is_out and number % 7 == 0:
                yield (
                    f"{at}smtpd[7]: NOQUEUE: reject: RCPT from c[{came}]: 450 4.2.0 <{recipient}>: Recipient address"
                    f" rejected: Greylisted; from=<{sender}> to=<{recipient}> proto=ESMTP helo=<c>\n"
                )
            yield f"{at}smtpd[7]: {queue_id}: client=c[{came}]\n"
            yield f"{at}cleanup[8]: {queue_id}: message-id=<{number}@c.example>\n"
            yield f"{at}qmgr[9]: {queue_id}: from=<{sender}>, size={size}, nrcpt=1 (queue active)\n"
            yield (
                f"{at}{'smtp' if is_out else 'lmtp'}[10]: {queue_id}: to=<{recipient}>, relay={relay},"
                f" delay={delay:.2f}, delays={delay / 2:.2f}/0/0/{delay / 2:.2f}, dsn={dsn}, status={status} ({said})\n"
            )
            yield f"{at}qmgr[9]: {queue_id}: removed\n"
