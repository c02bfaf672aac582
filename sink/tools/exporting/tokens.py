"""What stands in the place of pseudonyms in one release of data to one recipient.

The key is derived from the epoch's, so that with it goes what could tell whose a token is. A user is bound to its
domain: the same user part at two domains has unlike tokens, where the store has one pseudonym. docs/pseudonyms.md says
it exactly, with vectors.
"""

from sink.core.pseudonym import NONE, framed, keyed, subkey


class Tokens:
    """The tokens of one epoch in one release to one recipient."""

    __slots__ = ("_keys",)

    def __init__(self, secret: bytes, recipient: str, release: str) -> None:
        names = framed(recipient.encode("ascii"), release.encode("ascii")).decode("ascii")
        self._keys = {
            purpose: keyed(subkey(secret, f"export {names}{purpose}"))
            for purpose in ("user", "domain", "message-id", "queue-id", "relay", "host")
        }

    def address(self, text: str) -> str:
        """Return the token of an address, both as the views show it; of the null sender `<>`."""
        if not text:
            return "<>"
        user, at, domain = text.partition("@")
        half = bytes.fromhex(domain) or NONE
        made = self._keys["user"](half + bytes.fromhex(user)).hex()
        return f"{made}@{self._keys['domain'](half).hex()}" if at else made

    def domain(self, text: str) -> str | None:
        """Return the token of an address's domain, with an @ before it; None where it has none."""
        if not text:
            return "<>"
        domain = text.partition("@")[2]
        return f"@{self._keys['domain'](bytes.fromhex(domain)).hex()}" if domain else None

    def listed(self, text: str) -> str:
        """Return the tokens of a header's addresses, in an order of their own."""
        return " ".join(sorted([self.address(one) for one in text.split(" ")]))

    def other(self, purpose: str, text: str) -> str:
        """Return the token of what is no address, of its text as the views show it."""
        return self._keys[purpose](text.encode()).hex()
