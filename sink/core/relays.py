"""Reads the relay= of a delivery line: the next hop's kind, and its host as a pseudonym.

relay=none | local | virtual | a pipe's service name | host[private/socket] | host[ip]:port | host (old).
[Postfix src/global/msg_stats_print.c, src/smtp/smtp_session.c: SMTP_HNAME and namaddrport]
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from sink.core.pseudonym import NONE, Digest
from sink.core.rules import Network, Rules

FOUR = 4  # parts of an IPv4 address
Relay = tuple[bytes, str]  # (pseudonym of the host or NONE, kind)
NO_RELAY: Relay = (NONE, "none")
LOCAL: Relay = (NONE, "local")

PEER = re.compile(rb"([^\[\]\s]*+)\[([^\]\s]*+)\](?::\d{1,5})?\Z")


class Networks:
    """A set of networks, asked with an address as text.

    ipaddress parses an address in 2 us; a log names a new one in every tenth line, so IPv4 goes a shorter way.
    """

    def __init__(self, networks: tuple[Network, ...]) -> None:
        self._four = [(int(n.netmask), int(n.network_address)) for n in networks if isinstance(n, IPv4Network)]
        self._six = [n for n in networks if isinstance(n, IPv6Network)]

    def __contains__(self, address: str) -> bool:
        parts = address.split(".")
        if len(parts) == FOUR and ":" not in address:
            try:
                first, second, third, fourth = map(int, parts)
            except ValueError:
                return False
            number = first << 24 | second << 16 | third << 8 | fourth
            return any([number & mask == network for mask, network in self._four])
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any([parsed in network for network in self._six])


LOOPBACK = Networks((ip_network("127.0.0.0/8"), ip_network("::1/128")))


def plain_address(raw: bytes) -> str:
    """Return the address inside a client's or relay's brackets as text; "IPv6:" and zone cut."""
    return raw.decode("ascii", "replace").removeprefix("IPv6:").partition("%")[0]


class Relays:
    """Relays by their text."""

    def __init__(self, digest: Digest, rules: Rules) -> None:
        self._digest = digest
        self._internal = Networks(rules.internal_networks)
        self._internal_hosts = rules.internal_hosts

    def read(self, text: bytes) -> Relay:
        """Return (pseudonym of the host or NONE, kind) of a relay= value."""
        if text == b"none":
            return NO_RELAY
        match = PEER.match(text)
        if match is None:
            host = text.lower()
            if b"." not in host:  # local, virtual, or the service name of a pipe
                return LOCAL
            return self._digest(host), "internal" if host in self._internal_hosts else "remote"
        host, inside = match[1].lower().rstrip(b"."), match[2]
        name = self._digest(host) if host else NONE
        if b"/" in inside:
            return name, "socket"
        address = plain_address(inside)
        if host in self._internal_hosts or address in self._internal:
            return name, "internal"
        return name, "loopback" if address in LOOPBACK else "remote"
