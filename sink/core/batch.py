"""What the core gives to a store: the unit of one transaction."""

from typing import NamedTuple

from sink.core.rows import Row


class Batch(NamedTuple):
    """What one transaction commits: rows, refusals, and changes of open messages by token."""

    rows: list[Row]
    rejects: list[Row]
    puts: dict[bytes, bytes]
    drops: list[bytes]
    again: list[Row]  # rows that preview() showed before they were settled: they replace what it showed

    def extend(self, later: "Batch") -> None:
        """Commit what a later batch does, too; drops come before puts."""
        self.rows.extend(later.rows)
        self.rejects.extend(later.rejects)
        self.again.extend(later.again)
        for token in later.drops:
            self.puts.pop(token, None)
        self.drops.extend(later.drops)
        self.puts.update(later.puts)
