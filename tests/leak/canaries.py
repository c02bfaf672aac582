"""Canaries, and every form in which one could come out.

A canary is a word that stands in a log and nowhere else. STEM is made anew for each run, so a file elsewhere on this
machine that holds it is ours. What can't hold letters has a prefix of its own: addresses of the documentation
networks, short queue ids. A `Searcher` finds a canary plain, in upper or lower case, cut to a few letters, spelt
backwards, in UTF-16 or UTF-32, in hex with anything between the digits, in base64 and base32 at each phase and with
lines broken, in the escapes of JSON, Python, C, URLs, mail and HTML, under rot13, packed by gzip, zlib, bzip2, xz or
zstd, and as a digest that no key went into. What is encrypted, or spread over places of less than six letters, it can't
find.
"""

from __future__ import annotations

import base64
import bz2
import codecs
import copy
import hashlib
import hmac
import lzma
import random
import re
import subprocess
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

_DICE = random.SystemRandom()
# Consonants: no word holds them by chance, and a long queue id's inode may be made of them. As many as that, so that
# one half is enough.
STEM = "".join(_DICE.choice("bcdfghjkmpqvwx") for _ in range(12))
QUEUE = "4C" + "".join(_DICE.choice("0123456789ABCDEF") for _ in range(6)) + "D"
NETWORKS = (b"203.0.113", b"198.51.100", b"192.0.2", b"2001:db8:")
WORDS = (STEM.encode(), QUEUE.encode(), *NETWORKS)

FEWEST = 6  # letters of STEM that are enough: a cut or half-hidden word is found
REACH = 256  # bytes: longer than any form of a canary
_PACKED: dict[bytes, Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor | zlib._Decompress]] = {
    b"\x1f\x8b\x08": lambda: zlib.decompressobj(wbits=31),
    b"\x78\x01": zlib.decompressobj, b"\x78\x5e": zlib.decompressobj,
    b"\x78\x9c": zlib.decompressobj, b"\x78\xda": zlib.decompressobj,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
}  # fmt: skip
_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_UNPACKED = 1 << 22  # bytes
_NOT_HEX = bytes(set(range(256)) - set(b"0123456789abcdef"))
_HEX = re.compile(rb"[0-9a-f]{32,128}")
_DIGESTS: tuple[Callable[[bytes], bytes], ...] = (
    *(lambda data, name=name: hashlib.new(name, data).digest() for name in ("md5", "sha1", "sha256", "sha512")),
    lambda data: hashlib.blake2b(data).digest(),
    lambda data: hmac.digest(b"", data, "sha256"),
)  # fmt: skip


def _core(word: bytes, encode: Callable[[bytes], bytes], period: int, bits: int) -> Iterator[bytes]:
    """Give what an encoding makes of a word at each phase, without the letters that depend on its neighbours."""
    for phase in range(period):
        text = encode(b"\0" * phase + word).rstrip(b"=")
        first, last = -(-phase * 8 // bits), (phase + len(word)) * 8 // bits
        yield text[first:last]


def _each(word: bytes, form: str, between: str = "") -> bytes:
    return between.join(form.format(byte) for byte in word).encode()


def forms(word: bytes) -> Iterator[tuple[str, bytes]]:
    """Give (name, needle) of each form of a word that is looked for in lower-case data."""
    yield "plain", word
    yield "backwards", word[::-1]
    yield "rot13", codecs.encode(word.decode(), "rot13").encode()
    for size, name in ((2, "UTF-16"), (4, "UTF-32")):
        yield name, (b"\0" * (size - 1)).join(bytes([byte]) for byte in word)  # of either byte order
    for case in (word, word.upper()):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield from (("base64", core) for core in _core(case, encode, 3, 6))
        yield from (("base32", core) for core in _core(case, base64.b32encode, 5, 5))
    yield "JSON's escapes", _each(word, "\\u{:04x}")
    yield "HTML's escapes", _each(word, "&#{};")
    yield "octal escapes", _each(word, "\\{:03o}")
    yield "syslog's escapes", _each(word, "#{:03o}")
    yield from (("a list of bytes", _each(word, "{}", between)) for between in (", ", ",", " "))
    if word.count(b".") > 1:
        yield "a name in in-addr.arpa", b".".join(word.split(b".")[::-1])


class Searcher:
    """Looks for canaries, and for digests of whole values that no key went into."""

    def __init__(self, words: Iterable[bytes] = WORDS, values: Iterable[bytes] = ()) -> None:
        words = [word.lower() for word in words]
        needles: dict[bytes, str] = {}
        for name, needle in (form for word in words for form in forms(word)):
            needles.setdefault(needle.lower(), name)
        stem = STEM.encode()
        if stem in words:
            needles |= {stem[at : at + FEWEST]: "plain, cut" for at in range(len(stem) - FEWEST + 1)}
        self._needles = list(needles.items())
        self._unbroken = [(needle, name) for needle, name in self._needles if name in ("plain", "base64", "base32")]
        self._hex = [word.hex().encode() for word in (*words, *(word.upper() for word in words))]
        self._digests = {digest(value)[:8].hex().encode() for value in values for digest in _DIGESTS}

    def also(self, secrets: Iterable[bytes]) -> Searcher:
        """Return one that looks for some secrets, too."""
        made = copy.copy(self)
        made._needles, made._hex = [*self._needles], [*self._hex]
        for secret in secrets:
            made._needles.append((secret.lower(), "a secret, plain"))
            made._needles += [(core.lower(), "a secret, in base64") for core in _core(secret, base64.b64encode, 3, 6)]
            made._hex.append(secret.hex().encode())
        return made

    def find(self, data: bytes) -> str | None:
        """Return what stands in data, with some of its neighbours; None where no canary does."""
        return self._find(data) or next(filter(None, map(self._find, unpacked(data))), None)

    def _find(self, data: bytes) -> str | None:
        low = data.lower()
        for needle, name in self._needles:
            at = low.find(needle)
            if at >= 0:
                return f"{name}: {data[max(at - 20, 0) : at + len(needle) + 30]!r}"
        unbroken = low.translate(None, b" \t\r\n=")
        for needle, name in self._unbroken:
            if needle in unbroken:
                return f"{name}, broken in lines: {needle!r}"
        digits = low.translate(None, _NOT_HEX)
        for needle in self._hex:
            if needle in digits:
                return f"in hex: {bytes.fromhex(needle.decode())[:6]!r}"
        if self._digests and any(digest[:16] in self._digests for digest in _HEX.findall(low)):
            return "a digest without a key"
        return None

    def find_values(self, values: Iterable[object]) -> str | None:
        """Likewise of a database's values, where an address may be a number and a digest raw bytes."""
        text: list[bytes] = []
        for value in values:
            if isinstance(value, int) and 0 <= value < 1 << 32:
                text += [b"%d" % value, b".".join(b"%d" % octet for octet in value.to_bytes(4, "big"))]
            elif isinstance(value, bytes):
                pieces = {value[at : at + 8].hex().encode() for at in range(len(value) - 7)}
                if pieces & self._digests:
                    return "a digest without a key"
                text.append(value)
            else:
                text.append(str(value).encode())
        return self.find(b"\n".join(text))


def unpacked(data: bytes) -> Iterator[bytes]:
    """Give what lies packed in data, wherever it begins."""
    for magic, unpacker in _PACKED.items():
        at = data.find(magic)
        while at >= 0:
            with suppress(zlib.error, OSError, lzma.LZMAError, EOFError, ValueError):
                found = unpacker().decompress(memoryview(data)[at : at + _MOST_UNPACKED], _MOST_UNPACKED)
                if len(found) >= FEWEST:
                    yield found
            at = data.find(magic, at + 1)
    at = data.find(_ZSTD)
    if at >= 0:
        unpacking = ("zstd", "-dcqf")
        yield subprocess.run(unpacking, input=data[at:], capture_output=True, check=False).stdout[:_MOST_UNPACKED]
