"""Searches the memory of a process, and files, for all that an epoch's key can be used by.

Whoever has the key, or a purpose's subkey, or what HMAC makes of that before any text comes, can tell whether a known
address is in a row. So these are looked for: the key, HKDF's intermediate key, each subkey, all raw and in hex; each
subkey's two padded blocks (RFC 2104); and the states of SHA-256 after each of these blocks, as OpenSSL keeps them.
"""

from __future__ import annotations

import hmac
import io
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sink.core.pseudonym import subkey

PURPOSES = ("user", "domain", "message-id", "queue-id", "relay", "delivery", "reject", "check")
PART = 1 << 16  # bytes; where all are zero, nothing was ever written
LONGEST = 128  # bytes of a needle
_START = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_MASK = 0xFFFFFFFF


def _primes() -> Iterator[int]:
    found: list[int] = []
    number = 2
    while True:
        if all(number % prime for prime in found):
            found.append(number)
            yield number
        number += 1


def _constants() -> list[int]:
    """The first 32 bits of the fractions of the cube roots of the first 64 primes [FIPS 180-4, 4.2.2]."""
    found = []
    for _, prime in zip(range(64), _primes(), strict=False):
        root = round((prime << 96) ** (1 / 3))
        while root**3 > prime << 96:
            root -= 1
        while (root + 1) ** 3 <= prime << 96:
            root += 1
        found.append(root & _MASK)
    return found


_K = _constants()


def _turned(word: int, *by: int) -> int:
    found = 0
    for number in by:
        found ^= (word >> number | word << 32 - number) & _MASK
    return found


def midstate(block: bytes) -> tuple[int, ...]:
    """The state of SHA-256 after its first block [FIPS 180-4, 6.2.2]."""
    words = list(struct.unpack(">16I", block))
    for at in range(16, 64):
        one = _turned(words[at - 15], 7, 18) ^ words[at - 15] >> 3
        two = _turned(words[at - 2], 17, 19) ^ words[at - 2] >> 10
        words.append((words[at - 16] + one + words[at - 7] + two) & _MASK)
    a, b, c, d, e, f, g, h = _START
    for constant, word in zip(_K, words, strict=True):
        first = h + _turned(e, 6, 11, 25) + (e & f ^ ~e & g) + constant + word
        second = _turned(a, 2, 13, 22) + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = (first + second) & _MASK, a, b, c, (d + first) & _MASK, e, f, g
    return tuple((old + new) & _MASK for old, new in zip(_START, (a, b, c, d, e, f, g, h), strict=True))


def needles(secret: bytes) -> dict[str, bytes]:
    """What is looked for, by name."""
    keys = {"key": secret, "HKDF": hmac.digest(bytes(32), secret, "sha256")}
    keys |= {f"subkey {name}": subkey(secret, name) for name in PURPOSES}
    found = {}
    for name, key in keys.items():
        found[name] = key
        found[f"{name} in hex"] = key.hex().encode()
        for pad, byte in (("inner", 0x36), ("outer", 0x5C)):
            block = bytes(one ^ byte for one in key.ljust(64, b"\0"))
            found[f"{name}, {pad} block"] = block
            found[f"{name}, {pad} state"] = struct.pack("=8I", *midstate(block))
    return found


def in_memory(pid: int, secret: bytes) -> set[str]:
    """Return the names of what is found in the memory of a process; by root, or its parent."""
    found: set[str] = set()
    wanted = needles(secret)
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds, rights = line.split()[:2]
            if not rights.startswith("rw") and "/" in line:
                continue  # what is mapped from a file, and can't be written
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            found |= _in_parts(memory, start, end, wanted)
    return found


def _in_parts(memory: io.FileIO, start: int, end: int, wanted: dict[str, bytes]) -> set[str]:
    written = bytearray()
    with suppress(OSError, OverflowError):  # what nobody may read, and what is the kernel's
        memory.seek(start)
        while (at := memory.tell()) < end:
            part = memory.read(min(PART, end - at))
            if part.count(0) < len(part):
                written += part
            else:
                written += part[:LONGEST]
    return {name for name, needle in wanted.items() if needle in written}


def in_files(folder: Path, secret: bytes) -> set[str]:
    """Return the names of what is found in the files of a folder; hex digits in either case count."""
    wanted = needles(secret)
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found |= {f"{name} in {path.name}" for name, needle in wanted.items() if needle in data
                      or re.search(re.escape(needle.hex().encode()), data, re.IGNORECASE)}  # fmt: skip
    return found


def kinds(found: Iterable[str]) -> set[str]:
    """What was found, without the purposes: key, subkey, inner state ..."""
    return {re.sub(r"^subkey [a-z-]+", "subkey", name) for name in found}
