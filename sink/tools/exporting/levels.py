"""How rows hide each other: k-anonymity over the columns that somebody who knows a mail can know.

A row is published at the first level at which it is alike with k - 1 others, of k senders to k recipients, in all known
columns; each level has more of them NULL. First the domain on this side gives way, or the one on the other, or both,
each with details and without; then what kind of mail it is, at last its size: time, epoch and direction stay. A row
that is alone even so is suppressed. A level is settled with the rows that the ones before it left: so whoever looks for
a mail finds k rows, or none.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sink.tools.exporting.treatments import DETAIL, KIND, SIDE, SIZE, Treatment

ADDRESSES = ("sender", "recipient")


class Levels:
    """The levels of a table's columns."""

    def __init__(self, columns: Mapping[str, Treatment]) -> None:
        self.names = tuple(columns)
        self.known = tuple(name for name in self.names if columns[name].known)
        self._places = [self.names.index(name) for name in self.known]
        # An address with a token of its own is not among them, but whether there is one is for all to see.
        self._shapes = [self.names.index(name) for name in ADDRESSES if not columns[name].known]
        self._way = self.names.index("is_outgoing") if "is_outgoing" in self.names else None
        self._blank = {far: _steps(columns, far) for far in ADDRESSES}
        self.number = len(self._blank["sender"])

    def _blanked(self, values: Sequence[Any]) -> list[frozenset[int]]:
        # What comes in was sent on the other side; what goes out is received there.
        is_outgoing = self._way is not None and values[self._way] == 1
        return self._blank["recipient" if is_outgoing else "sender"]

    def keys(self, values: Sequence[Any]) -> list[int]:
        """Return what tells the class of a row at each level: rows of equal keys are alike there."""
        shapes = [shape(values[place]) for place in self._shapes]
        return [
            hash(repr([None if place in blank else values[place] for place in self._places] + shapes))
            for blank in self._blanked(values)
        ]

    def published(self, level: int, values: Sequence[Any]) -> list[Any]:
        """Return a row as it stands in the data set."""
        blank = self._blanked(values)[level]
        return [None if place in blank else value for place, value in enumerate(values)]


def _steps(columns: Mapping[str, Treatment], far: str) -> list[frozenset[int]]:
    """Return the columns that are NULL at each level, by place."""
    places = list(enumerate(columns.items()))
    details = {place for place, (_, one) in places if one.gives_way == DETAIL}
    kind, size = ({place for place, (_, one) in places if one.gives_way == what} for what in (KIND, SIZE))
    sides = {name: place for place, (name, one) in places if one.gives_way == SIDE}
    there = {place for name, place in sides.items() if name == far}
    here = set(sides.values()) - there
    steps = [gone | more for gone in (set[int](), here, there, here | there) for more in (set[int](), details)]
    steps += [steps[-1] | kind, steps[-1] | kind | size]
    return list(dict.fromkeys(map(frozenset, steps)))


def shape(value: str | None) -> str:
    """Return what an address shows besides who it is: none, the null sender, a bare user, or both halves."""
    if not value:
        return "none"
    return "null" if value == "<>" else "both" if "@" in value else "bare"
