"""Where the rows of an import end: in the store, or by way of it in the database."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from sink.config import Config
from sink.core.batch import Batch
from sink.keys.epochs import Keyring
from sink.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from sink.tools.moving import Moving

STOPPED = "stopped; rows so far are kept; start the same import again to go on"


class Landing:
    """Commits batches, and counts in `new` the rows that were not there, by table."""

    def __init__(self, store: SqliteStore, moving: "Moving | None") -> None:
        self.new = {"delivery": 0, "reject": 0} if moving is None else moving.moved
        self.store = store
        self.moving = moving

    def keep(self, batch: Batch, stream: str | None = None) -> None:
        """Commit a batch."""
        if batch.rows or batch.rejects or batch.again or batch.puts or batch.drops:
            deliveries, rejects = self.store.commit(batch, stream)
            if self.moving is None:
                self.new["delivery"] += deliveries
                self.new["reject"] += rejects
            else:
                self.moving.stored(deliveries + rejects)


def moving_of(config: Config, keys: Keyring, opened: ExitStack) -> "Moving | None":
    """Start to move rows on, where there is a database."""
    if config.database is None:
        return None
    from sink.tools.moving import Moving

    moving = Moving(config, keys)
    opened.callback(moving.stop)
    return moving
