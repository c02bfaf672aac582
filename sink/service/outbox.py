"""The daemon's drain: the thread that moves rows on to PostgreSQL, where the config names a database."""

import time

from sink.config import Config
from sink.installation import route
from sink.keys.epochs import Keyring
from sink.service.figures import class_of
from sink.service.words import MINUTE, say
from sink.stores.drain import Drain
from sink.stores.sqlite import SqliteStore

FAREWELL = 5.0  # seconds for a transaction under way

class Outbox:
    """Rows on their way. Fault 78 where the conninfo is none."""

    def __init__(self, config: Config, keys: Keyring, store: SqliteStore) -> None:
        self._store = store
        self._most = config.outbox
        self._route = route(config, keys)
        self._drain = Drain(self._route, say)
        self._left = 0  # rows that left by drains that have ended
        self._looked = time.monotonic()

    def begin(self) -> None:
        """Let rows move; the store takes only so many that wait."""
        for words in self._drain.advice:
            say(words)
        self._store.limit(self._most)
        self._drain.start()

    def look(self, now: float) -> None:
        """Begin a new drain, seldom, where the old one has ended by a bug, which was told."""
        if now > self._looked + MINUTE:
            self._looked = now
            if not self._drain.is_alive():
                ended, self._drain = self._drain, Drain(self._route, say)
                self._left += ended.left
                self._drain.last = ended.last
                self._drain.start()

    def waiting(self) -> dict[str, object]:
        """Return how many rows wait, and since when."""
        number, oldest = self._store.depth()
        return {"outbox": number, "outbox_since": oldest}

    def trouble(self) -> dict[str, object]:
        """Return what the trouble is with the database, and what the last one was, and when."""
        found = self._drain.trouble or ("well" if self._drain.is_alive() else "ended")
        last = self._drain.last
        return {
            "database": found,
            "outbox_left": self._left + self._drain.left,
            "last_trouble": None if last is None else {"class": class_of(last.what), "at": int(last.at)},
        }

    def close(self, seconds: float = FAREWELL) -> None:
        """Stop, and wait for a transaction under way; rows that did not leave stay in the store."""
        self._drain.stop(seconds)
        self._store.limit(None)
