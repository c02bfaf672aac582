"""What a daemon does to keys and rows by itself, as `rotate` and `keep` of the config say, bit by bit.

Whatever can't be done now is tried again: another command may hold the store or the keyring, and mail comes first.
"""

import time

from sink.config import Config
from sink.fault import Fault
from sink.installation import Opened, destroy_worn_out, unlock_keyring
from sink.keys import keyring, periods
from sink.keys.epochs import shown
from sink.service.words import Seldom, say
from sink.stores.retention import END, START, Place
from sink.stores.sqlite import SqliteStore

MINUTE = 60.0  # seconds between looks, where the last one found nothing to do
MOST_ROWS = 1_000  # of a table that are deleted at a time: a few milliseconds
MOST_SEARCHED = 20_000  # likewise


class Keeper:
    """Begins epochs, deletes rows that are too old, and destroys the epochs that have none left."""

    def __init__(self, config: Config, store: SqliteStore, opened: Opened) -> None:
        self._config = config
        self._store = store
        self._opened = opened
        self._looked = time.monotonic() - MINUTE
        self._searched: dict[int, Place] = {}  # by epoch: up to where there is no row of it
        self._searching = False
        self._deleted = False  # rows, which the log of writes still holds

    def tick(self, now: float, seldom: Seldom) -> None:
        """Do what is due, at a time in seconds that only grow."""
        if now < self._looked + MINUTE:
            return
        self._looked = now
        try:
            second = int(time.time())
            if periods.due(self._opened.keys, self._config, second) is not None:
                self._rotate(second)
            if self._config.keep is not None and self._prune(second - self._config.keep):
                self._looked = now - MINUTE  # there is more to do
        except Fault as fault:
            seldom.note(f"keys and old rows wait: {fault}")

    def _rotate(self, second: int) -> None:
        with keyring.changing(self._config.keyring, wait=False):
            ring, secret, _ = unlock_keyring(self._config, self._opened.secret)
            boundary = periods.due(ring, self._config, second)
            if boundary is None:
                return  # somebody else was faster
            ring = ring.rotated(boundary)
            keyring.save(ring, self._config.keyring, secret)
        say(f"epoch {ring.epochs[-1].number} begins at {shown(boundary)}")

    def _prune(self, before: int) -> bool:
        """Delete some rows; where none is left, destroy epochs. Tell whether there is more to do."""
        if self._store.prune(before, MOST_ROWS):
            self._deleted = True
            return True
        if self._deleted:
            self._deleted = not self._store.truncate()
        if self._config.database is not None:
            return False  # who has rows there, only an admin can see: postsink db prune
        self._searching = False
        numbers = destroy_worn_out(
            self._store, self._config, before, self._opened, is_empty=self._is_empty, wait=False
        )
        for number in numbers:
            say(f"epoch {number} is destroyed: it has no rows left")
        return self._searching

    def _is_empty(self, epoch: int) -> bool:
        """Tell whether an epoch has no rows; all rows are looked through, some at a time.

        Behind a place that was looked at no row of a retired epoch without open messages can come.
        """
        place = self._searched.get(epoch, START)
        if place != END:
            found, place = self._store.search(epoch, place, MOST_SEARCHED)
            self._searched[epoch] = place
            self._searching |= not found and place != END
        return place == END
