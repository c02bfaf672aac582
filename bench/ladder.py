"""Tells of what the time of a line is made: each rung does what the one before does, and one thing more.

    python -m bench.ladder mail.log

Rungs: the file is read; its lines are cut at newlines; their headers and first words are cut; each text of a message
is parsed, its names hashed; all of it, up to rows that nobody keeps. "hashing alone" is as many HMACs, of 20 bytes
each, as the last rung makes. CPU seconds, the least of three runs in turns.
"""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.cost import pipeline
from bench.pipeline import chunks, fed
from sink.core import pseudonym
from sink.core.syslog import Reader

ROUNDS = 3


def reading(path: Path) -> None:
    """Read lines as Python does it."""
    with path.open("rb") as log:
        for _ in log:
            pass


def lines(path: Path) -> None:
    """Cut at newlines."""
    for _ in chunks(path):
        pass


def headers(path: Path) -> None:
    """Cut headers, queue ids and first words, too."""
    reader = Reader()
    for some in chunks(path):
        reader.entries(some)


def texts(path: Path) -> None:
    """Parse the texts of messages, too."""
    reader, parser = Reader(), pipeline()._parsers.numbered(1)
    assert parser is not None
    tags, parse = reader.tags, parser.parse
    for some in chunks(path):
        for _, _, _, tag, queue_id, word, text in reader.entries(some):
            if queue_id:
                parse(tags[tag][0], word, text)


def hashes(path: Path) -> int:
    """Count the HMACs of the last rung."""
    number = 0
    keyed = pseudonym.keyed

    def counting(key: bytes, width: int = pseudonym.WIDTH) -> pseudonym.Digest:
        digest = keyed(key, width)

        def counted(text: bytes) -> bytes:
            nonlocal number
            number += 1
            return digest(text)

        return counted

    pseudonym.keyed = counting
    try:
        fed(path)
    finally:
        pseudonym.keyed = keyed
    return number


def main(name: str) -> None:
    """Climb."""
    path = Path(name)
    number = sum(map(len, chunks(path)))
    digest, many = pseudonym.keyed(bytes(32)), hashes(path)

    def hashing(_: Path) -> None:
        for _ in range(many):
            digest(b"user123@example.com.")

    rungs: dict[str, Callable[[Path], object]] = {
        "read": reading, "... lines cut": lines, "... headers cut": headers, "... texts parsed, names hashed": texts,
        "... correlated, and rows": fed, "hashing alone": hashing,
    }  # fmt: skip
    least = dict.fromkeys(rungs, 1e9)
    gc.disable()  # as an import
    for _ in range(ROUNDS):
        for rung, climb in rungs.items():
            start = time.process_time()
            climb(path)
            least[rung] = min(least[rung], time.process_time() - start)
    for rung, seconds in least.items():
        print(f"{rung:34}{seconds / number * 1e6:8.2f} us a line{seconds / least['read']:8.1f} of reading")


if __name__ == "__main__":
    main(sys.argv[1])
