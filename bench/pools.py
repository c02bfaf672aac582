"""Who writes to whom in a generated log, and under which queue ids."""

import random
from itertools import accumulate

SECOND = 1_000_000  # microseconds
SAFE = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"  # safe_ultostr() in Postfix's safe_ultostr.c
TABLE = 1 << 15  # entries of a sampled distribution: fast to draw from


def zipf(dice: random.Random, pool: list[bytes], exponent: float = 1.05) -> list[bytes]:
    """A table to draw from evenly, in which the k-th of the pool stands k**-exponent times as often."""
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(len(pool))))
    return dice.choices(pool, cum_weights=weights, k=TABLE)


def long_id(micros: int, inode: int) -> bytes:
    """A long queue id: seconds and microseconds in base 52, z, inode in base 51 [global/mail_queue.h]."""
    return f"{based(micros // SECOND, 52, 6)}{based(micros % SECOND, 52, 4)}z{based(inode, 51, 1)}".encode()


def based(number: int, base: int, width: int) -> str:
    """A number in Postfix's vowel-free digits."""
    digits = ""
    while number or len(digits) < width:
        number, digit = divmod(number, base)
        digits = SAFE[digit] + digits
    return digits


class People:
    """Who writes to whom, and from where: pools drawn from by Zipf's law."""

    def __init__(self, dice: random.Random) -> None:
        def address(domain: int) -> bytes:
            ending = ("com", "net", "org")[domain % 3]
            return f"user{dice.randrange(9999)}@d{domain}.example.{ending}".encode()

        networks = ("192.0.2", "198.51.100", "203.0.113")
        peers = [
            f"mail{n}.example.{('com', 'net', 'org')[n % 3]}[{networks[n % 3]}.{n // 3 % 254 + 1}]".encode()
            for n in range(3000)
        ]
        domains = [max(1, int(dice.paretovariate(0.7))) % 5000 for _ in range(20_000)]
        self.remote = zipf(dice, [address(domain) for domain in domains])
        self.local = zipf(dice, [f"person{n}@example.com".encode() for n in range(2000)])
        self.clients = zipf(dice, peers)
        self.lists = zipf(dice, [f"list{n}".encode() for n in range(60)])
        dice.shuffle(peers)
        self.relays = zipf(dice, peers)
