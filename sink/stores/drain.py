"""Moves rows from the embedded store to PostgreSQL, beside whoever fills it: a thread of its own.

Laws: a row is deleted here after it is committed there; one that arrived, and whose deletion was cut off, arrives
again and changes nothing. While the database is away or busy it is tried again, later and later and never at the same
moment as others; where waiting mends nothing, that is said in one line, and tried again seldom.
"""

import random
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from sink.fault import TEMPFAIL, Fault
from sink.stores.outbox import moving
from sink.stores.postgres import Interrupted, PostgresStore, check
from sink.stores.route import Route
from sink.stores.sqlite import SqliteStore

PAUSE = 1.0  # seconds between looks at an outbox that was nearly empty
TURN = 0.05  # seconds until who finds another at the rows looks again
SOON = 1_000  # rows that are worth a transaction before that
MOST = 10_000  # rows of a table in a transaction
FIRST, LONGEST = 0.2, 10.0  # seconds between tries of a database that is away
REFUSED = 30.0  # seconds between tries of one that refuses
MINUTE = 60.0  # seconds in which a trouble that comes and goes is told once

Say = Callable[[str], object]


class Trouble(NamedTuple):
    """What went wrong: a SQLSTATE, "connection" or "refused"; and when, in UTC seconds."""

    what: str
    at: float


class Drain(threading.Thread):
    """Moves rows until it is stopped, or has finished. Fault 78 where the conninfo is none.

    moved: new rows by table since the start, empty where the database does not tell; trouble: a SQLSTATE,
    "connection" or "refused", "" where all is well; last: the last trouble there was; fault: what ended it, where it
    is strict: then the first Fault does. advice: lines for the admin.
    """

    def __init__(self, route: Route, say: Say, strict: bool = False) -> None:
        super().__init__(name="drain", daemon=True)
        self.moved = {"delivery": 0, "reject": 0}
        self.left = 0  # rows that left the outbox
        self.trouble = ""
        self.last: Trouble | None = None
        self.fault: Fault | None = None
        self.has_finished = False
        self.advice = check(route.conninfo)
        self._route = route
        self._say = say
        self._strict = strict
        self._woken = threading.Event()
        self._stopping = self._finishing = False
        self._most = MOST
        self._pause = FIRST
        self._told: dict[str, float] = {}  # words, and when they were said last
        self._complained = False  # since all was well

    def stop(self, seconds: float) -> None:
        """Have it end, and wait for that; rows that did not leave stay."""
        self._stopping = True
        self._woken.set()
        self.join(seconds)
        self._say = _nothing  # one that hangs must not speak after the last word of who stopped it

    def finish(self) -> None:
        """Have it end when the outbox is empty."""
        self._finishing = True
        self._woken.set()

    def run(self) -> None:
        """Move rows."""
        while not self._stopping:
            try:
                with SqliteStore.open(self._route.store) as outbox, PostgresStore(self._route.conninfo) as database:
                    database.bind(self._route.settings, self._route.checks)
                    self._move(outbox, database)
                    return
            except Interrupted as reason:
                # A server that cancels what takes long, or is short of space, may take less.
                self._most = max(self._most // 2, SOON // 10)
                self._trouble(str(reason), f"the database is away or busy ({reason}); rows wait in the store")
                self._rest(self._pause * random.uniform(0.5, 1.5))
                self._pause = min(self._pause * 2, LONGEST)
            except Fault as fault:
                if self._strict and fault.status != TEMPFAIL:
                    self.fault = fault
                    return
                self._trouble("refused", f"{fault}; rows wait in the store")
                self._rest((PAUSE if fault.status == TEMPFAIL else REFUSED) * random.uniform(0.5, 1.5))

    def _move(self, outbox: SqliteStore, database: PostgresStore) -> None:
        while not self._stopping:
            is_last = self._finishing  # before the look: rows may be stored, and all be told, after it
            number = self._batch(outbox, database)
            if number is None:  # another drain moves them, or somebody forgets
                self._rest(TURN)
                continue
            self._well()
            if not number and is_last:
                self.has_finished = True
                return
            if number < min(SOON, self._most) and not is_last:
                self._rest(PAUSE)

    def _batch(self, outbox: SqliteStore, database: PostgresStore) -> int | None:
        """Move some rows; return how many, None where another is at them."""
        with moving(self._route.store) as is_mine:
            if not is_mine:
                return None
            loads = outbox.load(self._most)
            if not loads:
                return 0
            found = database.take({table: load.lines for table, load in loads.items()})
            outbox.unload({table: load.keys for table, load in loads.items()})
        if found is None:
            self.moved.clear()
        elif self.moved:
            for table, new in found.items():
                self.moved[table] += new
        number = sum(len(load.keys) for load in loads.values())
        self.left += number
        return number

    def _rest(self, seconds: float) -> None:
        self._woken.wait(seconds)
        if not self._stopping:
            self._woken.clear()

    def _well(self) -> None:
        self._most = min(self._most * 2, MOST)
        self._pause = FIRST
        if self._complained:
            self._tell("the database is back; rows move on")
        self.trouble, self._complained = "", False

    def _trouble(self, what: str, words: str) -> None:
        self.trouble, self.last = what, Trouble(what, time.time())
        self._complained |= self._tell(words)

    def _tell(self, words: str) -> bool:
        """Say something, unless it was said a minute ago; tell whether it was."""
        now = time.monotonic()
        if now < self._told.get(words, now - MINUTE) + MINUTE:
            return False
        self._told[words] = now
        self._say(words)
        return True


def _nothing(words: str) -> None:
    """Say nothing."""
