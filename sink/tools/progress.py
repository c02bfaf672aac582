"""A progress line on a terminal: how much of the files is read, how many lines; no text of the log."""

import sys
import time
from collections import Counter

EVERY = 0.2  # seconds between two updates
WIDTH = 30  # characters of the bar


class Progress:
    """A line that rewrites itself; says nothing where stderr is no terminal."""

    def __init__(self, total: int, counts: Counter[str]) -> None:
        self._total = total
        self._counts = counts
        self._shown = 0.0
        self._terminal = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Show how far it is, at most every EVERY seconds."""
        if not self._terminal:
            return
        now = time.monotonic()
        if now - self._shown < EVERY:
            return
        self._shown = now
        lines = f"{self._counts['lines']:,} lines"
        if self._total:
            part = min(1.0, done / self._total)
            bar = ("#" * int(part * WIDTH)).ljust(WIDTH)
            sys.stderr.write(f"\r[{bar}] {part:4.0%}  {lines} ")
        else:
            sys.stderr.write(f"\r{lines} ")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._terminal and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
