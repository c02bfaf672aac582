"""One table of a data set: rows in, coarse and re-keyed; those that hide each other out, shuffled, and looked at again.

All of it streams; what memory does not hold lies in a staging file.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from sink.keys.epochs import WIDTH, Keyring
from sink.stores.staging import Staging
from sink.tools.exporting import files
from sink.tools.exporting.levels import ADDRESSES, Levels, shape
from sink.tools.exporting.tokens import Tokens
from sink.tools.exporting.treatments import Widths, chosen

AT_ONCE = 2_000  # rows of a transaction
BEFORE = ("id", *ADDRESSES, "epoch")  # read of each row, before the columns that are exported
Rows = Iterable[tuple[Any, ...]]


class Names:
    """The tokens of each epoch in one release. Of an epoch without a key they are by chance, for this export alone."""

    def __init__(self, keys: Keyring, recipient: str, release: str) -> None:
        self._release = recipient, release
        self._secrets = {epoch.number: epoch.secret for epoch in keys.epochs}
        self._made: dict[int, Tokens] = {}

    def of(self, epoch: int) -> Tokens:
        """Return the tokens of an epoch."""
        if epoch not in self._made:
            self._made[epoch] = Tokens(self._secrets.get(epoch) or os.urandom(WIDTH), *self._release)
        return self._made[epoch]

    def come_from_a_key(self, epoch: int) -> bool:
        """Tell whether an epoch's tokens can be made again."""
        return self._secrets.get(epoch) is not None


class Written(NamedTuple):
    """What became of a table."""

    rows: int  # in the file
    suppressed: int
    epochs: Mapping[int, int]  # rows by epoch
    given_way: Mapping[str, int]  # values that others would have been told by, by column
    smallest: int  # rows of the smallest class, as the file says


class Table:
    """A table of a data set, in the making."""

    def __init__(self, name: str, folder: Path, widths: Widths, asked: Collection[str]) -> None:
        self.name = name
        self.columns = chosen(name, asked)
        self.levels = Levels(self.columns)
        self.staging = Staging(folder / f"{name}.staging", self.levels.number, len(self.columns))
        self.read = (*BEFORE, *self.columns)
        self._makes = [one.make(widths) for one in self.columns.values() if one.make]
        self._nobody = count()

    def take(self, rows: Rows, names: Names, *, note: bool = False, twice: bool = False) -> None:
        """Stage rows; note: they may come again from elsewhere; twice: some have come before."""
        left = iter(rows)
        while page := list(islice(left, AT_ONCE)):
            if note:
                self.staging.note(row[0] for row in page)
            if twice:
                page = [row for row in page if not self.staging.known(row[0])]
            self.staging.add(self._staged(row, names.of(row[3])) for row in page)

    def _staged(self, row: Sequence[Any], tokens: Tokens) -> list[Any]:
        values = [
            None if value is None else make(value, tokens)
            for make, value in zip(self._makes, row[len(BEFORE) :], strict=True)
        ]
        # Who is nobody, or not known, is nobody else's hiding place, and nobody's to be found.
        persons = [hash(one) if one else next(self._nobody) for one in row[1:3]]
        return [*self.levels.keys(values), *persons, *values]

    def write(self, path: Path, form: str) -> tuple[Counter[int], Counter[str]]:
        """Write the rows that are settled; return their number by epoch, and the values that gave way by column."""
        epochs, given_way = Counter[int](), Counter[str]()
        epoch = self.levels.names.index("epoch")

        def rows() -> Iterator[Sequence[Any]]:
            for level, values in self.staging.shuffled():
                row = self.levels.published(level, values)
                if level:
                    given_way.update(
                        name for name, was, now in zip(self.levels.names, values, row, strict=True) if was != now
                    )
                epochs[row[epoch]] += 1
                yield row

        files.write(path, form, self.columns, rows())
        return epochs, given_way

    def check(self, path: Path, form: str) -> tuple[int, int]:
        """Count a file's own rows that are alike; return (rows, rows of the smallest class)."""
        return self.staging.smallest(map(_class_of(self.levels.known), files.read(path, form)))


def _class_of(known: Collection[str]) -> Callable[[Mapping[str, str]], bytes]:
    def key(row: Mapping[str, str]) -> bytes:
        told = [row[name] for name in known] + [shape(row[name]) for name in ADDRESSES]
        return blake2b(repr(told).encode(), digest_size=16).digest()

    return key
