"""Cuts chunks of bytes into lines, at "\\n" alone: other line breaks stand inside of logged text.

A "\\r" before it goes with it: Postfix never logs one, an archive that went through other systems has them.
"""

from sink.core.syslog import MOST_LINE


class Framer:
    """Cuts one source's chunks into lines; a line over the limit keeps its beginning only."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False  # until the end of a line over the limit

    def lines(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes, without their newline."""
        if self._skipping:
            _, newline, chunk = chunk.partition(b"\n")
            if not newline:
                return []
            self._skipping = False
            chunk = self._rest + b"\n" + chunk
        elif self._rest:
            chunk = self._rest + chunk
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n")
        found = chunk.split(b"\n")
        self._rest = found.pop()
        if len(self._rest) > MOST_LINE + 1:
            self._rest = self._rest[: MOST_LINE + 2]
            self._skipping = True
        return found

    @property
    def is_within(self) -> bool:
        """Whether a line has begun that did not end yet."""
        return bool(self._rest)

    def last(self) -> list[bytes]:
        """Return the line that no newline ended, at the end of the source."""
        rest, self._rest, self._skipping = self._rest, b"", False
        return [rest.removesuffix(b"\r")] if rest else []
