"""Logs of a small fleet: files of single hosts in rotation, packed in many ways; and installations that read them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

PACKERS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress),
)  # fmt: skip
_HOST = re.compile(rb"(?<=\+00:00 )(?:mx1|out1)(?= )")


def by_host(log: bytes, number: int) -> dict[bytes, list[bytes]]:
    """The lines of a generated log by host: as many hosts as are asked for, half of them of each of its two."""
    found: dict[bytes, list[bytes]] = {}
    ids: dict[bytes, bytes] = {}
    dice = random.Random(7)
    for line in log.splitlines(keepends=True):
        host = _HOST.search(line)
        assert host
        # All lines of a queue id go to one host, and those without any go anywhere.
        place = re.match(rb" \S+ ([0-9A-Za-z]{10,20}): ", line[host.end() :])
        key = host[0] + (place[1] if place else b"")
        if key not in ids or not place:
            ids[key] = host[0] + b"-%d" % dice.randrange(number // 2)
        found.setdefault(ids[key], []).append(_HOST.sub(ids[key], line, count=1))
    return found


def rotated(folder: Path, hosts: dict[bytes, list[bytes]], pieces: int) -> list[Path]:
    """Each host's lines cut into files, in the middle of messages, the newest first as a shell names them."""
    found = []
    for order, (host, lines) in enumerate(sorted(hosts.items())):
        for number in range(pieces):
            part = lines[len(lines) * number // pieces : len(lines) * (number + 1) // pieces]
            end, pack = PACKERS[(order + number) % len(PACKERS)]
            found.append(folder / f"{host.decode()}.{pieces - 1 - number}{end}")
            found[-1].write_bytes(pack(b"".join(part)))
    return sorted(found)


def mixed(folder: Path, groups: Sequence[Sequence[list[bytes]]]) -> list[Path]:
    """A file for each group of hosts' lines, in which they lie as a relay writes them: in order of time."""
    found = []
    for number, group in enumerate(groups):
        found.append(folder / f"relay{number}.log")
        found[-1].write_bytes(b"".join(sorted((line for lines in group for line in lines), key=lambda line: line[:32])))
    return found
