"""What a daemon does to keys and rows by itself, as `rotate` and `keep` of the config say, bit by bit.

Whatever can't be done now is tried again: another command may hold the store or the keyring.
"""

import time

from sink.config import Config
from sink.fault import Fault
from sink.installation import destroy_worn_out
from sink.keys import keyring, periods
from sink.keys.epochs import Keyring, shown
from sink.keys.seal import Secret
from sink.service.words import Seldom, say
from sink.stores.sqlite import SqliteStore

MINUTE = 60.0  # seconds between looks, where the last one found nothing to do
MOST_ROWS = 1_000  # of a table that are deleted at a time: a few milliseconds


class Keeper:
    """Begins epochs, deletes rows that are too old, and destroys the epochs that have none left."""

    def __init__(self, config: Config, store: SqliteStore, keys: Keyring, secret: Secret | None) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._secret = secret
        self._looked = time.monotonic() - MINUTE

    def tick(self, now: float, seldom: Seldom) -> None:
        """Do what is due, at a time in seconds that only grow."""
        if now < self._looked + MINUTE:
            return
        self._looked = now
        try:
            second = int(time.time())
            if periods.due(self._keys, self._config, second) is not None:
                self._rotate(second)
            if self._config.keep is not None and self._prune(second - self._config.keep):
                self._looked = now - MINUTE  # there is more to do
        except Fault as fault:
            seldom.note(f"keys and old rows wait: {fault}")

    def _rotate(self, second: int) -> None:
        with keyring.changing(self._config.keyring):
            ring, secret = keyring.unlock(self._config.keyring, self._config.seal, self._secret)
            boundary = periods.due(ring, self._config, second)
            if boundary is None:
                return  # somebody else was faster
            ring = ring.rotated(boundary)
            keyring.save(ring, self._config.keyring, secret)
        say(f"epoch {ring.epochs[-1].number} begins at {shown(boundary)}")

    def _prune(self, before: int) -> bool:
        """Delete some rows; where none is left, destroy epochs. Tell whether there may be more rows."""
        if self._store.prune(before, MOST_ROWS):
            return True
        if self._config.database is not None:
            return False  # who has rows there, only an admin can see: postsink db prune
        known = None if self._secret is None else (self._keys, self._secret)
        for number in destroy_worn_out(self._store, self._config, before, known):
            say(f"epoch {number} is destroyed: it has no rows left")
        return False
