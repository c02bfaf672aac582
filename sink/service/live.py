"""A pipeline and its store, for lines that arrive now.

Law 5: rows and the open messages they come of are committed in one transaction; what a commit() that succeeded
covers may be confirmed. Where the store can't take it, everything waits in memory and nothing is confirmed.
"""

import gc
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from sink.config import Config
from sink.core.batch import Batch
from sink.core.pipeline import Pipeline
from sink.core.state import StateError, in_order
from sink.core.syslog import Reader
from sink.fault import CONFIG, DATA, TEMPFAIL, Fault
from sink.installation import Opened, Stamp, bind_store, open_store, pipeline, stamp_of, unlock_keyring
from sink.keys.epochs import Keyring
from sink.service.anew import Heritage
from sink.service.figures import Figures
from sink.service.keeper import Keeper
from sink.service.scrubbing import Outputs, Scrubbing
from sink.service.words import Seldom, say
from sink.stores import forgotten, locks

if TYPE_CHECKING:
    from sink.service.outbox import Outbox

STREAM = "live"
COUNTS = ("lines", "postfix_lines", "delivery_lines", "expired_lines", "ignored", "not_understood", "not_syslog",
          "too_long", "without_daemon", "without_sender", "rejects_not_kept", "epoch_destroyed",
          "sasl_failures", "connections_lost", "connections_timed_out", "connections_of_errors", "warnings_not_shown",
          "deliveries", "rejects")
BY_DAEMON = "not_understood:"
BUSY = 200  # ms that a commit waits for another command, and all else with it; then it is tried again
COLLECT = 3_600.0  # seconds
AGAIN = 10.0  # seconds until a keyring that can't be loaded is tried again; a boundary is written 60 ahead
CLOCK = b"host:"  # what the tokens of log clocks begin with; a clock alone is no effect
FOREVER = 1 << 62  # a second that never comes
HOPELESS = frozenset({CONFIG, DATA})  # faults of the store that waiting does not mend


class Live:
    """Takes lines and commits what comes of them; one at a time writes a store's live stream.

    `deliveries` and `rejects` count new rows since the start.
    """

    def __init__(self, config: Config, opened: Opened, lock: int | None = None) -> None:
        self.deliveries = self.rejects = 0
        self.counts: Counter[str] = Counter()  # of pipelines before a reload
        self.notices: Counter[str] = Counter()  # theirs, not told yet
        self._pending = Batch([], [], {}, [], [])
        self._config, self._opened = config, opened
        self._held = _numbers(opened)  # epochs whose keys ever were in this process
        self.is_tainted = False  # one of them is destroyed: only an exec() takes its key away for sure
        self._refused: tuple[Stamp, float] | None = None  # a keyring that could not be loaded, and when
        self._store, self._rules = open_store(config, opened.keys)
        try:
            self._lock = self._store.claim(STREAM, lock)
            self._store.hurry(BUSY)
            # The list of the forgotten as it was gone through. It is read before the messages are: who is forgotten in
            # between is found anew.
            self._list = forgotten.stamp(config.store)
            self._forgotten = self._listed(config)
            self._pipeline = self._made()
            _resume(self._pipeline, self._store.state(STREAM))
            self.figures = Figures(time.time(), self._pipeline.standing())
            self._keep_forgetting(self._forgotten)
            self._outputs = Outputs(config)
        except BaseException:
            self._store.close()
            raise
        self._scrubbing = self._made_scrubbing()
        self._store_path = config.store
        self._store_name = str(config.store)
        self._store_file = _file(self._store_name)
        # Looking for cycles after every few allocations costs a tenth of the time, and nothing here makes them.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._collected = time.monotonic()
        self._keeper = Keeper(config, self._store, opened)
        self._outbox = self._made_outbox(config, opened.keys)
        if self._outbox is not None:
            self._outbox.begin()
        self._tell()

    def _made_outbox(self, config: Config, keys: Keyring) -> "Outbox | None":
        """Return what has rows move on, where there is a database."""
        if config.database is None:
            return None
        from sink.service.outbox import Outbox

        return Outbox(config, keys, self._store)

    def _made(self) -> Pipeline:
        return pipeline(self._rules, self._opened.keys, _reader(self._rules.timezone), journal=True)

    def _made_scrubbing(self) -> Scrubbing | None:
        """Return what writes the log, and clients' addresses, where the config wants these."""
        if not self._outputs.files():
            return None
        keys = self._opened.keys
        state = self._pipeline.state() if len(keys.epochs) > 1 else {}
        return Scrubbing(self._outputs, self._rules, keys, _reader(self._rules.timezone), state)

    def _tell(self) -> None:
        """Say in the lock what this process works with, for the commands that changed it and wait."""
        locks.tell(self._lock, {"epochs": sorted(self._held), "forgotten": self._list})

    def take(self, lines: Sequence[bytes]) -> None:
        """Take lines; what they do is committed later."""
        self._pipeline.take(lines)
        if self._scrubbing is not None:
            self._scrubbing.take(lines)

    def tick(self, now: float) -> None:
        """Let wall clock pass, in seconds that only grow."""
        self._pending.extend(self._pipeline.tick(now))
        self.figures.look(time.time(), self._pipeline.standing(), self._counted())
        if now > self._collected + COLLECT:  # what errors may have left
            self._collected = now
            gc.collect()

    def commit(self) -> bool:
        """Commit what is not committed yet; False where the store can't take it now. Raises Fault where it never will.

        Whatever failed is tried again by the next call.
        """
        if self._scrubbing is not None:
            self._scrubbing.flush()
        if self._pipeline.has_news():
            self._pending.extend(self._pipeline.batch())
        pending = self._pending
        if not self._has_effect():
            return True
        if _file(self._store_name) != self._store_file:
            # A commit would go to a file without a name.
            raise Fault(CONFIG, f"{self._store_path} was removed or replaced; start again")
        try:
            deliveries, rejects = self._store.commit(pending, STREAM)
        except Fault as fault:
            if fault.status in HOPELESS:
                raise
            return False
        self.figures.note(pending, time.time())
        self._pending = Batch([], [], {}, [], [])
        self.deliveries += deliveries
        self.rejects += rejects
        return True

    def _has_effect(self) -> bool:
        rows, rejects, puts, drops, again = self._pending
        return bool(rows or rejects or drops or again) or any([not token.startswith(CLOCK) for token in puts])

    def heritage(self) -> Heritage:
        """Return what is for the program that goes on in this one's place: begin_anew() follows close()."""
        return Heritage(self._opened.secret, os.dup(self._lock))

    @property
    def waiting_rows(self) -> int:
        """How many rows are not committed yet."""
        return len(self._pending.rows) + len(self._pending.rejects) + self._pipeline.left()

    def reload(self, config: Config) -> None:
        """Go on under another config and keyring with the open messages; raises Fault and changes nothing."""
        if config.store != self._store_path:
            raise Fault(CONFIG, "another store needs a restart of the daemon")
        opened = unlock_keyring(config, self._opened.secret)
        rules = bind_store(self._store, config, opened.keys)
        outbox = self._made_outbox(config, opened.keys)
        outputs = Outputs(config, self._outputs)
        self._opened, self._rules, self._config = opened, rules, config
        gone = self._held - _numbers(opened)
        if gone:
            self.is_tainted = True
            self._pipeline.part(gone)
        self._held |= _numbers(opened)
        self._renew(self._pipeline.state())
        if self._scrubbing is not None:
            self._scrubbing.flush()
        self._outputs.close(but=outputs)
        self._outputs = outputs
        self._scrubbing = self._made_scrubbing()
        self._keep_forgetting(self._listed(config))
        self._keeper = Keeper(config, self._store, opened)
        if self._outbox is not None:
            self._outbox.close(0)
        self._outbox = outbox
        if outbox is not None:
            outbox.begin()
        self._tell()

    def _renew(self, state: dict[bytes, bytes]) -> None:
        """Go on with a new pipeline and an open state."""
        fresh = self._made()
        self._pending.extend(self._pipeline.batch())
        _resume(fresh, state)
        self.counts += self._pipeline.counts
        self.notices += self._pipeline.notices
        self._pipeline = fresh

    def look(self, now: float, seldom: Seldom) -> None:
        """See to keys and rows, and to who is to be forgotten."""
        if forgotten.stamp(self._store_path) != self._list:
            self._forget(seldom)
        self._keeper.tick(now, seldom)
        if self._scrubbing is not None:
            self._scrubbing.look(seldom)
        if self._outbox is not None:
            self._outbox.look(now)
        found = stamp_of(self._config.keyring)
        if found is not None and found != self._opened.stamp and self._may_try(found, now):
            self._follow(found, now, seldom)

    def _may_try(self, stamp: Stamp, now: float) -> bool:
        return self._refused is None or self._refused[0] != stamp or now >= self._refused[1] + AGAIN

    def _follow(self, stamp: Stamp, now: float, seldom: Seldom) -> None:
        """Load the keyring, which is another one now; go on as before where that fails."""
        try:
            self.reload(self._config)
        except Fault as fault:
            if fault.status != TEMPFAIL:  # the store was busy
                self._refused = stamp, now
            seldom.note(f"the keyring is another one, and is not loaded: {fault}")
        else:
            say("the keyring is loaded anew")

    def _forget(self, seldom: Seldom) -> None:
        """Forget in open messages whom the list names anew; what can't be committed now is tried again."""
        if not self.commit():
            return
        stamp = forgotten.stamp(self._store_path)
        try:
            listed = forgotten.read(self._store_path)
        except Fault as fault:  # mail comes first
            seldom.note(f"whom to forget waits: {fault}")
            return
        known = len(self._forgotten)
        fresh = listed[known:] if listed[:known] == self._forgotten else listed  # an older list may be in its place
        self._pipeline.forget([(FOREVER, entry.address) for entry in fresh], os.urandom)
        if self.commit():
            self._forgotten, self._list = listed, stamp
            self._tell()

    def _listed(self, config: Config) -> list[forgotten.Entry]:
        """Return the list of the forgotten; where it can't be read, look() will say so, and nobody is told it was."""
        try:
            return forgotten.read(config.store)
        except Fault:
            self._list = []
            return []

    def _keep_forgetting(self, listed: Sequence[forgotten.Entry]) -> None:
        """Forget in messages that were open when somebody was forgotten, as far as their first lines tell."""
        self._pipeline.forget([(entry.second, entry.address) for entry in listed], os.urandom)

    def pass_on(self, seldom: Seldom) -> None:
        """Have Postfix's own troubles since the last call told, in constant words."""
        found, self._pipeline.notices, self.notices = self._pipeline.notices + self.notices, Counter(), Counter()
        for words, number in found.items():
            seldom.note(f"Postfix says: {words}", number)

    def _counted(self) -> Counter[str]:
        """Return counts since the start; of rows and refusals those that were new."""
        counts = self.counts + self._pipeline.counts
        counts["deliveries"], counts["rejects"] = self.deliveries, self.rejects
        return counts

    def status(self) -> dict[str, object]:
        """Return figures; what it costs does not grow with what waits for a database."""
        now, counts = time.time(), self._counted()
        epoch = self._opened.keys.at(int(now))
        daemons = {name.partition(":")[2]: number for name, number in counts.items() if name.startswith(BY_DAEMON)}
        return {
            **{name: counts[name] for name in COUNTS},
            "not_understood_by_daemon": daemons,
            **self.figures.told(now, self._pipeline.standing(), counts),
            "not_committed": self.waiting_rows,
            "epoch": epoch.number,
            "epoch_since": epoch.since,
            "log_lines_lost": 0 if self._scrubbing is None else self._scrubbing.lost(),
            **({} if self._outbox is None else self._outbox.trouble()),
        }

    def reopen(self, seldom: Seldom) -> None:
        """Go on in the files that have the names of the log's now."""
        for file in self._outputs.files():
            file.reopen(seldom)

    def waiting(self) -> dict[str, object]:
        """Return how many rows wait for a database, and since when; nothing where there is none."""
        return {} if self._outbox is None else self._outbox.waiting()

    def close(self) -> None:
        """Close the store."""
        if self._outbox is not None:
            self._outbox.close()
        if self._scrubbing is not None:
            self._scrubbing.flush()
        self._outputs.close()
        self._store.close()


def _file(name: str) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name."""
    try:
        found = os.stat(name)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _numbers(opened: Opened) -> set[int]:
    """Return the epochs that are not destroyed."""
    return {epoch.number for epoch in opened.keys.epochs if epoch.secret is not None}


def _reader(zone: tzinfo) -> Reader:
    """Return a reader of lines that are being logged now: their year is the nearest, their host this one."""
    return Reader(zone, near=int(time.time()), host=os.uname().nodename.encode())


def _resume(pipe: Pipeline, state: dict[bytes, bytes]) -> None:
    try:
        pipe.resume(in_order(state))
    except StateError:
        raise Fault(CONFIG, "the store's open messages are of another version; start its own postsink once") from None
