"""Rows of an import that wait until they are enough for a transaction.

Of rows alike in their key (a line that came twice) one stays: of those that leave at once the least, else the first.
So it does not depend on where transactions begin and end, nor on what other hosts log meanwhile.
"""

from sink.core.batch import Batch
from sink.core.pseudonym import WIDTH
from sink.core.rows import Row


class Gathering:
    """Gathers batches up to a number of rows."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._begin()

    def _begin(self) -> None:
        self.batch = Batch([], [], {}, [], [])
        self._known: set[bytes] = set()

    def take(self, batch: Batch) -> bool:
        """Take a batch; tell whether there is enough for a transaction."""
        kept = self.batch
        kept.extend(Batch(self._fresh(batch.rows), self._fresh(batch.rejects), *batch[2:]))
        return len(kept.rows) + len(kept.rejects) >= self._enough

    def give(self) -> Batch:
        """Return what was gathered, and begin anew."""
        batch = self.batch
        self._begin()
        return batch

    def _fresh(self, rows: list[Row]) -> list[Row]:
        known, found = self._known, []
        for row in sorted(rows):
            key = row[1][:WIDTH]
            if key not in known:
                known.add(key)
                found.append(row)
        return found
