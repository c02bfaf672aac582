"""`postsink run`: reads its sources, commits, confirms; one thread, one loop.

Laws: a connection that confirms is answered after its lines' effect is committed (law 5); while the store can't take
more nothing is read, so that those who send wait or drop as they are set to (law 8); words for the admin are constant.
SIGTERM and SIGINT: take what has arrived, commit, leave; a second one leaves at once. SIGHUP: read the config anew.
"""

import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sink.config import Config, Listen
from sink.fault import OK, TEMPFAIL, Fault
from sink.service import sockets
from sink.service.anew import Heritage, can_begin
from sink.service.control import Control
from sink.service.live import Live
from sink.service.metrics import Metrics
from sink.service.notify import Notifier
from sink.service.signals import Signals
from sink.service.sources import Connection, Datagrams, Pipe, Source
from sink.service.words import Seldom, say

LATEST = 0.8  # seconds until what nobody waits for is committed
MOST_ROWS = 750  # that wait for a commit: fewer cost more writing, more cost memory
TICK = 1.0  # seconds between looks at the clock
RETRY = 0.5  # seconds between tries of a store that can't take more
ANEW = 60.0  # seconds between tries to begin anew
GRACE = 3.0  # seconds for which lines are held meanwhile: another command may be at work
MOST_HELD = 20_000  # rows
FEW, NAP = 200, 0.02  # lines, seconds
ALARM = 10_000  # dropped datagrams between two words about them
FAREWELL = 5.0  # seconds for taking what has arrived, when told to leave
Handler = Callable[[], object]


class Daemon:
    """The sources, what they give, and when it is committed."""

    def __init__(self, config: Config, live: Live, load: Callable[[], Config], *, stdin: bool) -> None:
        self._config = config
        self._live = live
        self._load = load
        self._selector = selectors.DefaultSelector()
        self._stdin = stdin
        self._given, ours = sockets.handed_down()
        self._listeners = sockets.opened(self._wanted(config), [*self._given, *ours])
        self._resting: list[str] = []  # paths of listeners that are not waited for until the next tick
        self._seldom = Seldom()
        self._sources: list[Source] = []
        self._ready: list[Source] = []  # whose turn it is to be read
        self._notifier = Notifier()
        self._stuck = self._ended = self._anew = False  # ended: standard input; anew: another one is to go on
        self.left: tuple[Heritage, sockets.Left] | None = None  # to that one
        self._failing: float | None = None  # since when the store has taken nothing
        self._committed = self._ticked = self._watched = self._tried = time.monotonic()
        self._control = Control(config.store, self._ask)
        self._metrics = Metrics(config)
        self._signals = Signals()
        if stdin:
            self._add(Pipe(sys.stdin.fileno()))

    def _wanted(self, config: Config) -> Sequence[Listen]:
        """Return what to listen on; with lines on stdin, sockets only where the config asks for some."""
        return () if self._stdin and config.listen == Config().listen else config.listen

    # -- what is waited for

    def _listen(self) -> None:
        for path, listener in self._listeners.items():
            if listener.type == socket.SOCK_DGRAM:
                self._add(Datagrams(listener))
            else:
                self._await(path)

    def _await(self, path: str) -> None:
        with suppress(KeyError):  # waited for already
            self._selector.register(self._listeners[path], selectors.EVENT_READ, lambda: self._accept(path))

    def _accept(self, path: str) -> bool:
        """Let somebody in; False where nobody waits."""
        try:
            connection, _ = self._listeners[path].accept()
        except BlockingIOError:
            return False
        except OSError:
            # No descriptor is left: look again in a second.
            self._seldom.note("can't let in more connections; raise LimitNOFILE=, or look who opens so many")
            with suppress(KeyError):
                self._selector.unregister(self._listeners[path])
            self._resting.append(path)
            return False
        if sockets.peer(connection) not in {0, os.geteuid(), sockets.owner_of(path)}:
            connection.close()
            self._seldom.note("refused a connection of another user; name that user as owner: in listen:")
            return True
        connection.setblocking(False)
        self._add(Connection(connection))
        return True

    def _add(self, source: Source) -> None:
        self._sources.append(source)
        if self._stuck and not self._is_dropped(source):
            return  # it is waited for when the store takes rows again
        with suppress(PermissionError):  # a plain file as stdin is always ready
            self._selector.register(source.file, selectors.EVENT_READ, self._reader(source))
            return
        self._ready.append(source)

    def _is_dropped(self, source: Source) -> bool:
        """Tell whether a source's lines are dropped while the store is stuck."""
        return isinstance(source, Datagrams) and self._config.when_full == "drop"

    def _remove(self, source: Source) -> None:
        self._sources.remove(source)
        self._ready = [one for one in self._ready if one is not source]
        with suppress(KeyError, ValueError):
            self._selector.unregister(source.file)
        source.close()

    # -- the loop

    def run(self, tell: Handler) -> int:
        """Serve until told to leave; tell() is called when ready. Return the exit status.

        Where `left` holds something, this program held a key that is destroyed; all is committed, and another one is
        to go on in its place.
        """
        self._listen()
        self._relisten({str(one.path) for one in self._wanted(self._config)}, {})
        self._control.register(self._selector)
        self._signals.register(self._selector)
        self._metrics.start(self._status)
        say("ready")
        tell()
        self._notifier.send("READY=1", "STATUS=ready")
        try:
            while True:
                while not (self._anew or self._is_leaving):
                    self._round(self._timeout())
                self._leave()
                if self._is_leaving or self._failing is None:
                    break
                self._anew = False  # what the store can't take yet must not be lost with this program
                self._tried = time.monotonic()
                self._notifier.send("READY=1")
            if self._anew:
                self._signals.hold()
            if not self._is_leaving:
                self.left = self._live.heritage(), sockets.Left.of(self._given, self._listeners.values())
        finally:
            self._close()
        return OK if self._failing is None else TEMPFAIL

    @property
    def _is_leaving(self) -> bool:
        """Whether there is nothing more to do here."""
        return self._signals.told or self._ended

    def _timeout(self) -> float:
        if self._ready and not self._stuck:
            return 0.0
        now = time.monotonic()
        due = min(self._ticked + TICK, self._committed + (LATEST if self._failing is None else RETRY))
        return max(due - now, 0.0)

    def _round(self, timeout: float) -> None:
        """Wait for what comes, take it, commit it, answer."""
        for key, _ in self._selector.select(timeout):
            key.data()
        if self._signals.reloading:
            self._reload()
        if self._stuck:
            self._drop()
        else:
            self._read()
        now = time.monotonic()
        if now >= self._ticked + TICK:
            self._ticked = now
            self._live.tick(now)
            self._live.pass_on(self._seldom)
            self._live.look(now, self._seldom)
            self._seldom.tell(now)
            self._control.tick(now)
            self._metrics.show(self._status)
            while self._resting:
                self._await(self._resting.pop())
            self._watch(now)
        owing = [source for source in self._sources if isinstance(source, Connection) and source.is_owing]
        late = now >= self._committed + (LATEST if self._failing is None else RETRY)
        if late or (self._failing is None and (owing or self._live.waiting_rows >= MOST_ROWS)):
            self._commit()
        if self._failing is None:
            for source in owing:
                source.confirm()
                if source.ended:
                    self._remove(source)
        if self._live.is_tainted and self._failing is None and now >= self._tried:
            self._tried = now + ANEW
            self._anew = self._renewed() and self._can_begin()  # what is wrong would end the new program

    def _can_begin(self) -> bool:
        found = can_begin()
        if not found:
            say("can't begin anew, and so still has a key that is destroyed: restart it")
        return found

    def _read(self) -> None:
        ready, self._ready = self._ready, []
        taken = 0
        for source in ready:
            lines = source.read()
            if lines:
                taken += len(lines)
                self._live.take(lines)
            if source.ended:
                self._ended |= isinstance(source, Pipe)
                self._remove(source)
            elif isinstance(source.file, int) and source.file not in self._selector.get_map():
                self._ready.append(source)  # a plain file as stdin
        if 0 < taken < FEW and not any([source.hurries for source in self._sources]):
            time.sleep(NAP)  # a wake-up costs as much as five lines: let some more come together

    def _drop(self) -> None:
        """Take datagrams and drop them: whoever logs by them waits for room, and mail comes first (law 8)."""
        figures = self._live.figures
        before = figures.dropped
        figures.dropped += sum([len(source.read()) for source in self._ready if self._is_dropped(source)])
        self._ready = [source for source in self._ready if not self._is_dropped(source)]
        if before // ALARM != figures.dropped // ALARM or (figures.dropped and not before):
            say(f"dropped {figures.dropped} datagrams since the start: the store can't take more")

    def _commit(self) -> None:
        done = self._live.commit()
        now = self._committed = time.monotonic()
        if done:
            self._failing = None
        elif self._failing is None:
            self._failing = now
        held = self._failing is not None and now < self._failing + GRACE and self._live.waiting_rows < MOST_HELD
        stuck = not done and not held
        if stuck is not self._stuck:
            self._stuck = stuck
            if stuck:
                say("the store can't take more; nothing is read until it can: look at its disk and its permissions")
            else:
                say("the store takes rows again")
            self._notifier.send("STATUS=the store can't take more" if stuck else "STATUS=ready")
            self._wait_for_sources()

    def _wait_for_sources(self) -> None:
        """Wait for the sources; while the store is stuck for none but those of which lines are dropped."""
        for source in self._sources:
            with suppress(KeyError, ValueError, PermissionError):
                if self._stuck and not self._is_dropped(source):
                    self._selector.unregister(source.file)
                else:
                    self._selector.register(source.file, selectors.EVENT_READ, self._reader(source))

    def _reader(self, source: Source) -> Handler:
        return lambda: self._ready.append(source)

    def _watch(self, now: float) -> None:
        interval = self._notifier.interval
        if interval is not None and now >= self._watched + interval - TICK:
            self._watched = now
            self._notifier.send("WATCHDOG=1")

    # -- questions, and another config

    def _status(self) -> dict[str, object]:
        return {**self._live.status(), "stuck": self._stuck}

    def _ask(self, question: str) -> dict[str, object]:
        """Answer the control socket."""
        if question == "status":
            return {"ok": True, **self._status(), **self._live.waiting()}
        if question == "reload":
            self._signals.reloading = True
            return {"ok": True}
        if question == "look":
            self._ticked -= TICK
            return {"ok": True}
        return {"ok": False, "error": "unknown question"}

    def _reload(self) -> None:
        self._signals.reloading = False
        self._notifier.reloading()
        self._live.reopen(self._seldom)  # whatever the config says now
        self._renewed()
        self._tried = time.monotonic()
        self._notifier.send("READY=1")

    def _renewed(self) -> bool:
        """Read config and keyring anew; where that fails, say so, and go on as before."""
        added: dict[str, socket.socket] = {}
        metrics = self._metrics
        try:
            config = self._load()
            metrics = metrics.renewed(config)
            wanted = self._wanted(config)
            kept = [one for one in wanted if str(one.path) in self._listeners]
            for one in kept:
                sockets.check_kind(one, self._listeners[str(one.path)])
            added = sockets.opened([one for one in wanted if one not in kept], ())
            self._live.reload(config)
            for one in kept:
                sockets.hand_over(one)
        except Fault as fault:
            for path, listener in added.items():
                self._unlisten(path, listener)
            if metrics is not self._metrics:
                metrics.close()
            say(f"not reloaded: {fault}")
            return False
        self._config = config
        if metrics is not self._metrics:
            self._metrics.close()
            self._metrics = metrics
            metrics.start(self._status)
        self._relisten({str(one.path) for one in wanted}, added)
        if self._stuck:
            self._wait_for_sources()  # other sources may be dropped now
        say("reloaded")
        return True

    def _relisten(self, wanted: set[str], added: dict[str, socket.socket]) -> None:
        """Close the listeners that the config names no more, and open those that are new."""
        for path, listener in list(self._listeners.items()):
            if path in wanted or listener in self._given:
                continue
            while listener.type == socket.SOCK_STREAM and self._accept(path):
                pass  # who waits to be let in has arrived
            for source in [one for one in self._sources if one.file is listener]:
                while lines := source.read():
                    self._live.take(lines)
                self._remove(source)
            with suppress(KeyError, ValueError):
                self._selector.unregister(listener)
            del self._listeners[path]
            self._unlisten(path, listener)
        old, self._listeners = self._listeners, added
        self._listen()
        self._listeners = {**old, **added}

    def _unlisten(self, path: str, listener: socket.socket) -> None:
        listener.close()
        if listener not in self._given:  # systemd keeps its own
            with suppress(OSError):
                os.unlink(path)

    # -- the end

    def _leave(self) -> None:
        """Take what has arrived, commit, answer."""
        if self._is_leaving:
            self._notifier.send("STOPPING=1")
        else:
            self._notifier.reloading()
        end = time.monotonic() + FAREWELL
        for path, listener in self._listeners.items():
            while listener.type == socket.SOCK_STREAM and self._accept(path):
                pass  # who waits to be let in has arrived
        while not self._stuck and time.monotonic() < end:
            for key, _ in self._selector.select(0):
                key.data()
            if not self._ready:
                break
            self._read()
        for source in self._sources:
            if self._anew and isinstance(source, Pipe):
                self._live.take(source.rest(FAREWELL))
                self._ended |= source.ended
            elif not self._stuck:
                self._live.take(source.last())
        if not self._stuck:
            self._commit()
        if self._failing is None:
            for source in self._sources:
                source.confirm()

    def _close(self) -> None:
        for source in list(self._sources):
            self._remove(source)
        for path, listener in self._listeners.items():
            if self.left is None:
                self._unlisten(path, listener)
            else:
                listener.close()
        self._control.close()
        self._metrics.close()
        self._selector.close()
        self._signals.close()
        self._live.close()
