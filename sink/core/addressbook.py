"""Addresses to pseudonyms: the only module where an address is readable.

Whatever names a person passes here: envelope addresses, encoded senders, header lists, SASL users. What leaves is
pseudonyms and flags. The cache maps raw text to pseudonyms, is bounded, and lives in RAM only (law 1).
"""

from sink.core.addresses import normal
from sink.core.mailboxes import mailboxes
from sink.core.pseudonym import NONE, Pseudonyms
from sink.core.rules import Rules
from sink.core.senders import decode

# (user, domain, local): pseudonyms, NONE for what is absent; local: the domain is one of ours
Party = tuple[bytes, bytes, bool]
# (kind, user, domain, list user, list domain, is_list): the value of a SENDER fact
SenderFact = tuple[str, bytes, bytes, bytes, bytes, int]

MOST_CACHED = 1 << 11  # entries a cache; about 250 bytes each
NOBODY: Party = (NONE, NONE, False)


class AddressBook:
    """The addresses of one epoch."""

    def __init__(self, pseudonyms: Pseudonyms, rules: Rules) -> None:
        self._pseudonyms = pseudonyms
        self._rules = rules
        self._parties: dict[bytes, Party] = {}
        self._senders: dict[bytes, SenderFact] = {}
        self._domains: dict[bytes, bytes] = {}

    def party(self, address: bytes) -> Party:
        """Return the pseudonyms of an address as logged, without its <>."""
        found = self._parties.get(address)
        if found is None:
            if len(self._parties) >= MOST_CACHED:
                self._parties.clear()
            found = self._parties[address] = self._party(address)
        return found

    def _party(self, address: bytes) -> Party:
        user, domain = normal(address, self._rules.form)
        if not user and not domain:
            return NOBODY
        name = self._pseudonyms.user(user)
        if not domain:
            return name, NONE, False
        hidden = self._domains.get(domain)
        if hidden is None:
            if len(self._domains) >= MOST_CACHED:
                self._domains.clear()
            hidden = self._domains[domain] = self._pseudonyms.domain(domain)
        return name, hidden, domain in self._rules.local_domains

    def sender(self, address: bytes) -> SenderFact:
        """Return the value of a SENDER fact for an envelope sender as logged, without its <>."""
        found = self._senders.get(address)
        if found is None:
            if len(self._senders) >= MOST_CACHED:
                self._senders.clear()
            kind, sender, member, is_list = decode(address, self._rules.form)
            user, domain, _ = self._party(sender)
            list_user, list_domain, _ = self._party(member) if member else NOBODY
            found = self._senders[address] = (kind, user, domain, list_user, list_domain, int(is_list))
        return found

    def parties(self, value: bytes, cut: bool) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Return ([(user, domain)], something was dropped) of a From, To, Cc or Bcc header's value."""
        found, dropped = mailboxes(value, cut)
        return [self.party(address)[:2] for address in found], dropped
