"""Moves rows from the embedded store to PostgreSQL, beside whoever fills it: a thread of its own.

Laws: a row is deleted here after it is committed there; one that arrived, and whose deletion was cut off, arrives
again and changes nothing. While the database is away or busy it is tried again, later and later and never at the same
moment as others; where waiting mends nothing, that is said in one line, and tried again seldom.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sink.fault import Fault
from sink.stores.postgres import Interrupted, PostgresStore
from sink.stores.sqlite import SqliteStore

PAUSE = 1.0  # seconds between looks at an outbox that was nearly empty
SOON = 1_000  # rows that are worth a transaction before that
MOST = 10_000  # rows of a transaction
FIRST, LONGEST = 0.2, 10.0  # seconds between tries of a database that is away
REFUSED = 30.0  # seconds between tries of one that refuses

Say = Callable[[str], object]


class Drain(threading.Thread):
    """Moves rows until it is stopped.

    moved: new rows by table since the start; trouble: a SQLSTATE, "connection", or "" where all is well.
    """

    def __init__(
        self, store: Path, conninfo: str, settings: str, checks: Mapping[int, str], say: Say, until_empty: bool = False
    ) -> None:
        super().__init__(name="drain", daemon=True)
        self.moved = {"delivery": 0, "reject": 0}
        self.trouble = ""
        self.fault: Fault | None = None  # what ended it, with until_empty
        self._store = store
        self._conninfo = conninfo
        self._settings = settings
        self._checks = checks
        self._say = say
        self._until_empty = until_empty
        self._stopping = threading.Event()
        self._said = ""

    def stop(self, seconds: float) -> None:
        """Have it end, and wait for that; rows that did not leave stay."""
        self._stopping.set()
        self.join(seconds)

    def run(self) -> None:
        """Move rows."""
        pause = FIRST
        while not self._stopping.is_set():
            try:
                with SqliteStore.open(self._store) as outbox, PostgresStore(self._conninfo) as database:
                    database.bind(self._settings, self._checks)
                    self._well()
                    pause = FIRST
                    if self._move(outbox, database):
                        return
            except Interrupted as reason:
                self._trouble(str(reason), f"the database is away or busy ({reason}); rows wait in the store")
                self._stopping.wait(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, LONGEST)
            except Fault as fault:
                if self._until_empty:
                    self.fault = fault
                    return
                self._trouble("refused", f"{fault}; rows wait in the store")
                self._stopping.wait(REFUSED * random.uniform(0.5, 1.5))

    def _move(self, outbox: SqliteStore, database: PostgresStore) -> bool:
        """Move rows; tell whether all is done."""
        while not self._stopping.is_set():
            loads = outbox.load(MOST)
            if loads:
                found = database.take({table: load.lines for table, load in loads.items()})
                for table, number in found.items():
                    self.moved[table] += max(number, 0)
                outbox.unload({table: load.keys for table, load in loads.items()})
            number = sum(len(load.keys) for load in loads.values())
            if not number and self._until_empty:
                return True
            if number < SOON:
                self._stopping.wait(PAUSE)
        return True

    def _well(self) -> None:
        if self.trouble:
            self._say("the database is back; rows move on")
        self.trouble = self._said = ""

    def _trouble(self, what: str, words: str) -> None:
        self.trouble = what
        if words != self._said:
            self._said = words
            self._say(words)


def drained(drain: Drain, patience: float, tell: Callable[[], object]) -> bool:
    """Wait until a drain is done; False where it had trouble for so many seconds at a stretch. Raises its Fault."""
    since = time.monotonic()
    while drain.is_alive():
        drain.join(0.1)
        tell()
        if not drain.trouble:
            since = time.monotonic()
        elif time.monotonic() > since + patience:
            return False
    if drain.fault is not None:
        raise drain.fault
    return True
