"""What an operator chose, in the form the core uses; made by the edges from the config file."""

from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from ipaddress import IPv4Network, IPv6Network

from sink.core.addresses import NormalForm

Network = IPv4Network | IPv6Network

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's choices; see packaging/postsink.yaml for purpose and consequence of each."""

    local_domains: frozenset[bytes] = frozenset()  # in normal form
    trusted_networks: tuple[Network, ...] = ()
    internal_networks: tuple[Network, ...] = ()
    internal_hosts: frozenset[bytes] = frozenset()  # lower case
    header_tokens: tuple[bytes, ...] = field(default=(), repr=False)
    timezone: tzinfo = UTC
    plain_queue_id: bool = False
    dropped_rejects: frozenset[str] = frozenset({"blocklist"})
    reject_patterns: tuple[tuple[bytes, str], ...] = ()  # (lower-case part of a reply, category)
    form: NormalForm = NormalForm()  # noqa: RUF009 - frozen, so it can be shared
    patience: int = 6 * DAY  # Postfix's maximal_queue_lifetime (5 days) and one more
    most_messages: int = 200_000  # open messages; about 2 kB each
