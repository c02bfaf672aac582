"""The daemon's drain: the thread that moves rows on to PostgreSQL, where the config names a database."""

from sink.config import Config
from sink.installation import route
from sink.keys.epochs import Keyring
from sink.service.words import say
from sink.stores.drain import Drain
from sink.stores.sqlite import SqliteStore

FAREWELL = 5.0  # seconds for a transaction under way


class Outbox:
    """Rows on their way."""

    def __init__(self, config: Config, keys: Keyring, store: SqliteStore) -> None:
        self._store = store
        store.limit(config.outbox)
        self._drain = Drain(route(config, keys), say)
        self._drain.start()

    def status(self) -> dict[str, object]:
        """Return how many rows wait, since when, and what the trouble is with the database."""
        number, oldest = self._store.depth()
        return {"outbox": number, "outbox_since": oldest, "database": self._drain.trouble or "well"}

    def close(self) -> None:
        """Stop; rows that did not leave stay in the store."""
        self._drain.stop(FAREWELL)
