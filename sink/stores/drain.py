"""Moves rows from the embedded store to PostgreSQL, beside whoever fills it: a thread of its own.

Laws: a row is deleted here after it is committed there; one that arrived, and whose deletion was cut off, arrives
again and changes nothing. While the database is away or busy it is tried again, later and later and never at the same
moment as others; where waiting mends nothing, that is said in one line, and tried again seldom.
"""

import random
import threading
from collections.abc import Callable

from sink.fault import TEMPFAIL, Fault
from sink.stores.postgres import Interrupted, PostgresStore
from sink.stores.route import Route
from sink.stores.sqlite import SqliteStore

PAUSE = 1.0  # seconds between looks at an outbox that was nearly empty
SOON = 1_000  # rows that are worth a transaction before that
MOST = 10_000  # rows of a table in a transaction
FIRST, LONGEST = 0.2, 10.0  # seconds between tries of a database that is away
REFUSED = 30.0  # seconds between tries of one that refuses

Say = Callable[[str], object]


class Drain(threading.Thread):
    """Moves rows until it is stopped, or has finished.

    moved: new rows by table since the start; trouble: a SQLSTATE, "connection" or "refused", "" where all is well;
    fault: what ended it, where it is strict: then the first Fault does.
    """

    def __init__(self, route: Route, say: Say, strict: bool = False) -> None:
        super().__init__(name="drain", daemon=True)
        self.moved = {"delivery": 0, "reject": 0}
        self.left = 0  # rows that left the outbox
        self.trouble = ""
        self.fault: Fault | None = None
        self._route = route
        self._say = say
        self._strict = strict
        self._woken = threading.Event()
        self._stopping = self._finishing = False
        self._said = ""

    def stop(self, seconds: float) -> None:
        """Have it end, and wait for that; rows that did not leave stay."""
        self._stopping = True
        self._woken.set()
        self.join(seconds)

    def finish(self) -> None:
        """Have it end when the outbox is empty."""
        self._finishing = True
        self._woken.set()

    def run(self) -> None:
        """Move rows."""
        pause = FIRST
        while not self._stopping:
            try:
                with SqliteStore.open(self._route.store) as outbox, PostgresStore(self._route.conninfo) as database:
                    database.bind(self._route.settings, self._route.checks)
                    self._well()
                    pause = FIRST
                    self._move(outbox, database)
                    return
            except Interrupted as reason:
                self._trouble(str(reason), f"the database is away or busy ({reason}); rows wait in the store")
                self._rest(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, LONGEST)
            except Fault as fault:
                if self._strict and fault.status != TEMPFAIL:
                    self.fault = fault
                    return
                self._trouble("refused", f"{fault}; rows wait in the store")
                self._rest((PAUSE if fault.status == TEMPFAIL else REFUSED) * random.uniform(0.5, 1.5))

    def _move(self, outbox: SqliteStore, database: PostgresStore) -> None:
        while not self._stopping:
            loads = outbox.load(MOST)
            if loads:
                found = database.take({table: load.lines for table, load in loads.items()})
                outbox.unload({table: load.keys for table, load in loads.items()})
                for table, number in found.items():
                    self.moved[table] += max(number, 0)
            number = sum(len(load.keys) for load in loads.values())
            self.left += number
            if not number and self._finishing:
                return
            if number < SOON and not self._finishing:
                self._rest(PAUSE)

    def _rest(self, seconds: float) -> None:
        self._woken.wait(seconds)
        if not self._stopping:
            self._woken.clear()

    def _well(self) -> None:
        if self.trouble:
            self._say("the database is back; rows move on")
        self.trouble = self._said = ""

    def _trouble(self, what: str, words: str) -> None:
        self.trouble = what
        if words != self._said:
            self._said = words
            self._say(words)
