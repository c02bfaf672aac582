"""Reads the relay= of a delivery line: the next hop's kind, and its host as a pseudonym.

relay=none | local | virtual | a pipe's service name | host[private/socket] | host[ip]:port | host (old).
[Postfix src/global/msg_stats_print.c, src/smtp/smtp_session.c: SMTP_HNAME and namaddrport]
"""

import re
from functools import lru_cache
from ipaddress import ip_address

from sink.core.pseudonym import Digest
from sink.core.rules import Network, Rules

NONE = (b"", "none")
LOCAL = (b"", "local")

_HOST = re.compile(rb"([^\[\]\s]*+)\[([^\]\s]*+)\](?::\d{1,5})?\Z")


def in_networks(address: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an IP address text lies in one of the networks; text that is no address does not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in networks)


def is_loopback(address: str) -> bool:
    """Tell whether an IP address text is a loopback address."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def plain_address(raw: bytes) -> str:
    """Return the address inside a client's or relay's brackets as text; "IPv6:" and zone cut."""
    return raw.decode("ascii", "replace").removeprefix("IPv6:").partition("%")[0]


class Relays:
    """Relays by their text, cached: a host delivers to few relays again and again."""

    def __init__(self, digest: Digest, rules: Rules) -> None:
        self._digest = digest
        self._rules = rules
        # The cache holds clear text, in RAM only, as the address cache does.
        self.relay = lru_cache(maxsize=8192)(self._relay)

    def _relay(self, text: bytes) -> tuple[bytes, str]:
        """Return (pseudonym of the host or b"", kind) of a relay= value."""
        if text == b"none":
            return NONE
        match = _HOST.match(text)
        if match is None:
            host = text.lower()
            if b"." not in host:  # local, virtual, or the service name of a pipe
                return LOCAL
            return self._digest(host), "internal" if host in self._rules.internal_hosts else "remote"
        host, inside = match[1].lower().rstrip(b"."), match[2]
        name = self._digest(host) if host else b""
        if b"/" in inside:
            return name, "socket"
        address = plain_address(inside)
        if host in self._rules.internal_hosts or in_networks(address, self._rules.internal_networks):
            return name, "internal"
        return name, "loopback" if is_loopback(address) else "remote"
