"""Epochs: which key a line's time belongs to, and the parser that works under it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sink.core.parse import Parser
from sink.core.pseudonym import Pseudonyms
from sink.core.rules import Rules


class Epoch(NamedTuple):
    """A range of log time [since, until) in UTC seconds (None: open) and its secret; None is destroyed."""

    number: int
    since: int | None
    until: int | None
    secret: bytes | None

    def __repr__(self) -> str:
        return f"Epoch(number={self.number})"


class Parsers:
    """A parser for each epoch, made when it is first asked for."""

    def __init__(self, rules: Rules, epochs: Sequence[Epoch], naming: Callable[[bytes, bool], Pseudonyms]) -> None:
        self._rules = rules
        self._epochs = tuple(epochs)
        self._naming = naming
        self._made: dict[int, Parser] = {}
        first = self._epochs[0]
        always = len(self._epochs) == 1 and first.since is None and first.until is None
        self._only = self._make(first) if always and first.secret is not None else None

    def numbered(self, number: int) -> Parser | None:
        """Return the parser of an epoch by its number, None where it is destroyed or unknown."""
        found = self._made.get(number)
        if found is None:
            epoch = next((epoch for epoch in self._epochs if epoch.number == number), None)
            found = None if epoch is None or epoch.secret is None else self._make(epoch)
        return found

    def at(self, second: int) -> Parser | None:
        """Return the parser of the epoch that holds a log time; None where it is destroyed."""
        if self._only is not None:
            return self._only
        for epoch in self._epochs:
            if (epoch.since is None or epoch.since <= second) and (epoch.until is None or second < epoch.until):
                return self.numbered(epoch.number)
        return None

    def _make(self, epoch: Epoch) -> Parser:
        assert epoch.secret is not None
        pseudonyms = self._naming(epoch.secret, self._rules.plain_queue_id)
        found = self._made[epoch.number] = Parser(pseudonyms, self._rules, epoch.number)
        return found
