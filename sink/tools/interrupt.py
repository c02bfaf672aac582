"""Lets an operator stop a long command with Ctrl-C, but never within a transaction."""

import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Interrupt:
    """Within it, SIGINT raises KeyboardInterrupt while reading() waits for input, or before it reads again.

    Within another one it is that one. A command that was started with SIGINT ignored, as a shell's background jobs
    are, goes on ignoring it.
    """

    def __init__(self) -> None:
        self._asked = False
        self._reading = False
        self._ours = False

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        outer = getattr(handler, "__self__", None)
        if isinstance(outer, type(self)):
            return outer
        if handler is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._ours = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._reading:
            raise KeyboardInterrupt

    def reading(self, source: Iterable[T]) -> Iterator[T]:
        """Yield what a source gives; only here an interrupt has its effect."""
        pieces = iter(source)
        while True:
            self._reading = True
            if self._asked:
                raise KeyboardInterrupt
            piece = next(pieces, None)
            self._reading = False
            if piece is None:
                return
            yield piece
