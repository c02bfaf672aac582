"""Addresses to pseudonyms: the only module where an address is readable.

Whatever names a person passes here: envelope addresses, encoded senders, header lists, SASL users. What leaves is
pseudonyms and flags. The cache maps raw text to pseudonyms, is bounded, and lives in RAM only (law 1).
"""

from functools import lru_cache

from sink.core.addresses import normal
from sink.core.mailboxes import mailboxes
from sink.core.pseudonym import NONE, Pseudonyms
from sink.core.rules import Rules
from sink.core.senders import decode

# (address, local): an address is the pseudonyms of user and domain side by side, 32 bytes, NONE for what is absent;
# local: the domain is one of ours
Party = tuple[bytes, bool]
# (kind, address, address of the list's member, is_list): the value of a SENDER fact
SenderFact = tuple[str, bytes, bytes, int]

MOST_CACHED = 1 << 11  # entries a cache; about 250 bytes each, clear text in RAM only
NO_ADDRESS = NONE + NONE
NOBODY: Party = (NO_ADDRESS, False)


class AddressBook:
    """The addresses of one epoch.

    party: an address as logged, without its <> -> Party. sender: likewise -> SenderFact.
    """

    def __init__(self, pseudonyms: Pseudonyms, rules: Rules) -> None:
        self._user = pseudonyms.user
        self._rules = rules
        self._domain = lru_cache(MOST_CACHED)(pseudonyms.domain)
        self.party = lru_cache(MOST_CACHED)(self._party)
        self.sender = lru_cache(MOST_CACHED)(self._sender)

    def _party(self, address: bytes) -> Party:
        user, domain = normal(address, self._rules.form)
        if not user and not domain:
            return NOBODY
        if not domain:
            return self._user(user) + NONE, False
        return self._user(user) + self._domain(domain), domain in self._rules.local_domains

    def _sender(self, address: bytes) -> SenderFact:
        kind, sender, member, is_list = decode(address, self._rules.form)
        return kind, self._party(sender)[0], self._party(member)[0] if member else NO_ADDRESS, int(is_list)

    def parties(self, value: bytes, cut: bool) -> tuple[list[bytes], bool]:
        """Return ([address], something was dropped) of a From, To, Cc or Bcc header's value."""
        found, dropped = mailboxes(value, cut)
        return [self.party(address)[0] for address in found], dropped
