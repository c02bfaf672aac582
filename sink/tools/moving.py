"""Moves what an import stores on to PostgreSQL, while it goes on and at its end."""

import sys
import time
from collections.abc import Callable

from sink.config import Config
from sink.fault import TEMPFAIL, Fault
from sink.installation import route
from sink.keys.epochs import Keyring
from sink.stores.drain import Drain

MOST_WAITING = 200_000  # rows, about 80 MB
PATIENCE = 60.0  # seconds of trouble with the database
PULSE = 0.05


class Moving:
    """The drain of an import."""

    def __init__(self, config: Config, keys: Keyring) -> None:
        self._drain = Drain(route(config, keys), self._tell, strict=True)
        self._stored = 0
        self._drain.start()

    @property
    def moved(self) -> dict[str, int]:
        """How many rows were new there, by table."""
        return self._drain.moved

    def stored(self, number: int) -> None:
        """Note that rows were stored; wait while too many do."""
        self._stored += number
        if self._stored - self._drain.left > MOST_WAITING:
            self._wait(lambda: self._stored - self._drain.left <= MOST_WAITING // 2)
        self._raise()

    def finish(self) -> None:
        """Return when the outbox is empty."""
        self._drain.finish()
        self._wait(lambda: not self._drain.is_alive())
        self._raise()

    def stop(self) -> None:
        """End without waiting for the rest."""
        self._drain.stop(PATIENCE)

    def _wait(self, is_done: Callable[[], bool]) -> None:
        since = time.monotonic()
        while not is_done() and self._drain.is_alive():
            self._drain.join(PULSE)
            if not self._drain.trouble:
                since = time.monotonic()
            elif time.monotonic() > since + PATIENCE:
                raise Fault(TEMPFAIL, "the database does not take the rows; they wait in the store; start again later")

    def _raise(self) -> None:
        if self._drain.fault is not None:
            raise self._drain.fault

    def _tell(self, words: str) -> None:
        print(f"postsink: {words}", file=sys.stderr)
