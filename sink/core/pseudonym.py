"""Keyed pseudonyms: HMAC-SHA256 cut to 128 bits, one subkey a purpose.

Rules: the purposes never share a key, so a user name and a queue id of the same text have unlike
pseudonyms; what is hashed is the normal form, never the text as it came; nothing here remembers a text.
"""

from collections.abc import Callable
from hashlib import sha256

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Digest = Callable[[bytes], bytes]

WIDTH = 16  # bytes of a pseudonym: 128 bits (DESIGN "Pseudonyms and keys")
NONE = bytes(WIDTH)  # stands where there is none
BLOCK = 64  # bytes of a SHA-256 block, RFC 2104

_INNER = bytes(x ^ 0x36 for x in range(256))
_OUTER = bytes(x ^ 0x5C for x in range(256))


def subkey(secret: bytes, purpose: str) -> bytes:
    """Derive the 32-byte key of one purpose from an epoch key or the correlation key."""
    info = b"postsink 1 " + purpose.encode("ascii")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def keyed(key: bytes, width: int = WIDTH) -> Digest:
    """Return HMAC-SHA256 under key as a function of one text, cut to width bytes.

    RFC 2104 with both padded key blocks hashed once and copied: 0.5 us a text where hmac.digest needs 1.3.
    """
    block = key.ljust(BLOCK, b"\0")
    inner = sha256(block.translate(_INNER)).copy
    outer = sha256(block.translate(_OUTER)).copy

    def digest(text: bytes) -> bytes:
        first = inner()
        first.update(text)
        second = outer()
        second.update(first.digest())
        return second.digest()[:width]

    return digest


def framed(*parts: bytes) -> bytes:
    """Join parts so that no two lists of parts give the same bytes (each length-prefixed)."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


class Pseudonyms:
    """The pseudonyms of one epoch: each method takes a normal form and gives 16 bytes."""

    __slots__ = ("delivery", "domain", "ip", "message_id", "queue_id", "reject", "relay", "spelling", "user")

    def __init__(self, secret: bytes, plain_queue_id: bool = False) -> None:
        def purpose(name: str) -> Digest:
            return keyed(subkey(secret, name))

        self.user = purpose("user")
        self.domain = purpose("domain")
        self.message_id = purpose("message-id")
        self.queue_id = bytes if plain_queue_id else purpose("queue-id")
        self.relay = purpose("relay")
        self.delivery = purpose("delivery")
        self.reject = purpose("reject")
        # No row has these; a scrubbed line has.
        self.ip = purpose("ip")
        self.spelling = purpose("spelling")

    def delivery_key(self, host: bytes, second: int, pid: bytes, text: bytes) -> bytes:
        """Name a delivery line by itself alone (law 6): host, UTC second, pid, queue id to end of line."""
        # framed() in one step: of half the time.
        time = b"%d" % second
        return self.delivery(
            b"%d:%b%d:%b%d:%b%d:%b" % (len(host), host, len(time), time, len(pid), pid, len(text), text)
        )

    def reject_id(self, host: bytes, second: int, micros: int, pid: bytes, text: bytes) -> bytes:
        """Name a refusal line; the fraction counts, since many alike fall into one second."""
        return self.reject(framed(host, b"%d.%06d" % (second, micros), pid, text))


class Tokens:
    """Names open messages by a token of (host, queue id) under the keyring-wide correlation key."""

    __slots__ = ("_digest",)

    def __init__(self, correlation: bytes) -> None:
        self._digest = keyed(subkey(correlation, "open-message"))

    def token(self, host: bytes, queue_id: bytes) -> bytes:
        """Return the 16-byte token of a queue id on a host."""
        return self._digest(b"%d:%b%d:%b" % (len(host), host, len(queue_id), queue_id))
