"""What stands for whom in an export, computed by code that shares nothing with postsink's; it reads the keyring."""

from __future__ import annotations

import hashlib
import hmac

from sink import config
from sink.installation import open_keyring
from tests.judges.program import Program


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _subkey(secret: bytes, info: str) -> bytes:
    """RFC 5869 with an empty salt, for one block."""
    return _mac(_mac(bytes(32), secret), info.encode() + b"\x01")


class Truth:
    """The tokens of one release."""

    def __init__(self, program: Program, recipient: str = "Example University", release: str = "2026-1") -> None:
        secret = open_keyring(config.load(program.config)).active.secret
        assert secret is not None
        self._secret = secret
        self._names = f"{len(recipient)}:{recipient}{len(release)}:{release}"

    def _pseudonym(self, purpose: str, text: str) -> bytes:
        return _mac(_subkey(self._secret, f"postsink 1 {purpose}"), text.encode())[:16]

    def _token(self, purpose: str, half: bytes) -> str:
        return _mac(_subkey(self._secret, f"postsink 1 export {self._names}{purpose}"), half).hex()[:32]

    def domain(self, name: str) -> str:
        """The token of a domain, as a data set without addresses has it."""
        return "@" + self._token("domain", self._pseudonym("domain", name))

    def address(self, address: str) -> str:
        """The token of an address."""
        user, _, domain = address.partition("@")
        half = self._pseudonym("domain", domain)
        return f"{self._token('user', half + self._pseudonym('user', user))}{self.domain(domain)}"
