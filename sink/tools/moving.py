"""Moves what an import stores on to PostgreSQL, while it goes on and at its end."""

import sys
import time
from collections.abc import Callable, Iterator

from sink.config import Config
from sink.fault import TEMPFAIL, Fault
from sink.installation import route
from sink.keys.epochs import Keyring
from sink.stores.drain import Drain
from sink.stores.sqlite import SqliteStore
from sink.tools.interrupt import Interrupt

MOST_WAITING = 200_000  # rows, about 80 MB
PATIENCE = 60.0  # seconds without a row that leaves
FAREWELL = 5.0  # seconds for a transaction under way
PULSE = 0.05


class Moving:
    """The drain of an import."""

    def __init__(self, config: Config, keys: Keyring) -> None:
        self._most_bytes = config.outbox
        self._stored = 0
        self._drain = Drain(route(config, keys), _tell, strict=True)
        self._store = SqliteStore.open(config.store)
        for words in self._drain.advice:
            _tell(words)
        self._drain.start()

    @property
    def moved(self) -> dict[str, int]:
        """How many rows were new there, by table."""
        return self._drain.moved

    def stored(self, number: int) -> None:
        """Note that rows were stored; wait while too many do."""
        self._stored += number
        if self._is_full(1.0):
            self._wait(lambda: not self._is_full(0.5))
        self._check()

    def _is_full(self, share: float) -> bool:
        return (
            self._stored - self._drain.left > MOST_WAITING * share
            or self._store.used() > self._most_bytes * max(share, 0.9)
        )

    def finish(self) -> None:
        """Return when the outbox is empty."""
        self._drain.finish()
        self._wait(lambda: False)
        self._check()

    def stop(self) -> None:
        """End without waiting for the rest."""
        self._drain.stop(FAREWELL)
        self._store.close()

    def _wait(self, is_done: Callable[[], bool]) -> None:
        """Wait, as long as the drain is at work; Fault 75 where nothing leaves for too long, or at Ctrl-C."""
        try:
            with Interrupt() as interrupt:
                for _ in interrupt.reading(self._pulses(is_done)):
                    pass
        except KeyboardInterrupt:
            raise Fault(
                TEMPFAIL, "stopped; rows wait in the store, and move on with the next import, or the daemon"
            ) from None

    def _pulses(self, is_done: Callable[[], bool]) -> Iterator[bool]:
        since, left = time.monotonic(), self._drain.left
        while not is_done() and self._drain.is_alive():
            self._drain.join(PULSE)
            if left != self._drain.left:
                since, left = time.monotonic(), self._drain.left
            elif time.monotonic() > since + PATIENCE:
                raise Fault(TEMPFAIL, "the database does not take the rows; they wait in the store; start again later")
            yield True

    def _check(self) -> None:
        if self._drain.fault is not None:
            raise self._drain.fault
        if not self._drain.is_alive() and not self._drain.has_finished:
            raise RuntimeError("the drain has ended")  # it said why


def _tell(words: str) -> None:
    print(f"postsink: {words}", file=sys.stderr)
