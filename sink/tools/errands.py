"""What a Dask worker does for an import: it reads the chains that it is told, and hands their rows on.

Laws: no secret and no raw line leaves it. It opens its own config and keyring, which must be like those of who sent it,
and becomes as hard as any other process of ours before. Whatever goes wrong is a Fault, told in the answer; nothing is
raised, since Dask logs exceptions and arguments.
"""

import marshal
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from sink import __version__, config, hardening, hooks, installation, rootonly
from sink.config import Config, PassphraseSeal
from sink.core.batch import Batch
from sink.core.pseudonym import keyed, subkey
from sink.core.syslog import Reader
from sink.fault import CONFIG, NOPERM, TEMPFAIL, UNAVAILABLE, Fault
from sink.keys.epochs import Keyring
from sink.sources.archive import Archive, allow_many_files
from sink.sources.loggers import hosts_of
from sink.stores import locks
from sink.stores.sqlite import SqliteStore
from sink.tools.chains import Chain, Outcome, Parcel

if TYPE_CHECKING:
    from distributed import Queue

Errand = dict[str, Any]  # of plain values, so that another version can read it and say so
File = tuple[str, int, int, int]  # path, time of its first line, size
Found = tuple[int, str] | None  # a Fault, by status and message

# Of the config what rows depend on, besides the zone, which is told.
_ALIKE: Final = (
    "local_domains", "trusted_networks", "internal_relays", "header_tokens", "queue_id", "rejects", "reject_patterns",
    "fold_local_part", "cut_detail", "patience",
)  # fmt: skip
_IN_ANY_ORDER: Final = ("local_domains", "trusted_networks", "internal_relays", "header_tokens", "rejects")
ROOM: Final = 16  # parcels that wait at the scheduler, of some 250 kB
PATIENCE: Final = 300  # seconds that a parcel waits for who takes it
_TRIES: Final = 60.0  # seconds for which a database is tried that is away
_PAUSE: Final = 1.0
_MOST: Final = 10_000  # rows of a table in a transaction
_ended: set[str] = set()  # errands that nobody waits for any more


def errand(given: Config, path: Path | None, keys: Keyring, zone: str, year: int | None, enough: int) -> Errand:
    """Return what workers are told: nothing secret."""
    return {
        "version": __version__, "name": secrets.token_hex(8), "config": None if path is None else str(path.absolute()),
        "zone": zone, "year": year, "enough": enough, "database": given.database is not None,
        "keys": _epochs(keys), "marks": _marks(given, keys),
    }  # fmt: skip


def _epochs(keys: Keyring) -> list[tuple[int, int | None, int | None, str | None]]:
    return [(epoch.number, epoch.since, epoch.until, epoch.check) for epoch in keys.epochs]


def _marks(given: Config, keys: Keyring) -> dict[str, bytes]:
    """Return a check value of each part of a config, which tells nothing to who has no keys."""
    mark = keyed(subkey(keys.correlation, "config"), 8)
    values = {name: getattr(given, name) for name in _ALIKE}
    for name in _IN_ANY_ORDER:
        values[name] = sorted(values[name])
    return {name: mark(f"{name} {value!r}".encode()) for name, value in values.items()}


class Walled:
    """Keeps what goes wrong within it from who called, and has it as a fault."""

    def __init__(self) -> None:
        self.fault: Found = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Fault):
            self.fault = error.status, f"a Dask worker says: {error.message}"
        elif kind is not None and issubclass(kind, Exception):
            self.fault = hooks.SOFTWARE, f"a Dask worker says: {hooks.words_of(kind, trace)}"
        return self.fault is not None


def check(told: Errand) -> tuple[Found, str | None]:
    """Tell whether this worker can do an errand, and what its memory lacks."""
    missing = None
    with Walled() as walled, ExitStack() as opened:
        missing = _Ground(told, opened).missing
    return walled.fault, missing


def look(told: Errand, file: File) -> tuple[Found, list[bytes]]:
    """Return the hosts that logged in a file."""
    found: list[bytes] = []
    with Walled() as walled, ExitStack() as opened:
        found = sorted(hosts_of(_open(file, _Ground(told, opened), opened)))
    return walled.fault, found


def read(told: Errand, number: int, files: Sequence[File], hosts: Sequence[bytes]) -> None:
    """Read a chain and send its parcels, until nobody takes them."""
    from distributed import Queue

    queue = Queue(told["name"], maxsize=ROOM)
    sender = _Sender(queue, told["name"], number)
    with Walled(), ExitStack() as opened:
        opened.callback(queue.close)
        with Walled() as walled:
            _read(told, files, hosts, sender, opened)
        if walled.fault is not None:
            sender.send(Parcel([], [], 0, 0, Outcome({}, fault=walled.fault)))


def end(name: str) -> None:
    """Have an errand's chains end at their next parcel."""
    _ended.add(name)


def _read(told: Errand, files: Sequence[File], hosts: Sequence[bytes], sender: "_Sender", opened: ExitStack) -> None:
    ground = _Ground(told, opened)
    allow_many_files()
    archives = [_open(file, ground, opened) for file in files]
    database = _Database(ground, opened) if told["database"] else None
    pipe = installation.pipeline(ground.rules, ground.keys, Reader(ground.rules.timezone))
    for parcel in Chain(archives, set(hosts), pipe, told["enough"]).parcels():
        if database is None:
            sender.send(parcel)
        else:
            moved = database.take(parcel)
            sender.send(parcel._replace(rows=[], rejects=[]), moved)
        if sender.is_over:
            return


def _open(file: File, ground: "_Ground", opened: ExitStack) -> Archive:
    """Open a file, and see whether it is the one that is meant."""
    name, *first, size = file
    archive = Archive(name)
    opened.callback(archive.close)
    archive.date(ground.rules.timezone, ground.told["year"])
    if [*archive.first] != first or archive.size < size:  # it may have grown
        raise Fault(TEMPFAIL, f"{archive.name} is another file here, or has changed; start the import again")
    return archive


class _Ground:
    """What an errand stands on: this worker's config, keys and rules, which are those of who sent it."""

    def __init__(self, told: Errand, opened: ExitStack) -> None:
        if told["version"] != __version__:
            raise Fault(UNAVAILABLE, f"it has postsink {__version__}; install {told['version']} there, as here")
        hardening.harden()
        hooks.install()
        self.missing = hardening.lock()
        self.told = told
        self.config = config.load(None if told["config"] is None else Path(told["config"]))
        folder = rootonly.folder_of(self.config.keyring, self.config.store)
        if os.geteuid() == 0 and folder is not None and folder.st_uid != 0:
            raise Fault(NOPERM, f"it runs as root; start it as the user who owns {self.config.keyring.parent}")
        lock = locks.importing(self.config.store)  # no key that it has is destroyed meanwhile
        if lock is not None:
            opened.callback(os.close, lock)
        # A person may be at its terminal, but expects no question there.
        seals = tuple(seal for seal in self.config.seal if not isinstance(seal, PassphraseSeal))
        self.keys = installation.open_keyring(replace(self.config, seal=seals))
        if _epochs(self.keys) != [tuple(epoch) for epoch in told["keys"]]:
            raise Fault(CONFIG, "it has another keyring; hand it this one by postsink keys export and import")
        marks = _marks(self.config, self.keys)
        unlike = [name for name in _ALIKE if marks[name] != told["marks"].get(name)]
        if unlike:
            raise Fault(CONFIG, f"its config differs in {', '.join(unlike)}; make them alike")
        if told["database"] and self.config.database is None:
            raise Fault(CONFIG, "its config has no database:; name the one that is named here")
        self.rules = installation.rules(self.config, told["zone"])

class _Database:
    """The database, and a store in memory that makes of rows what it takes."""

    def __init__(self, ground: _Ground, opened: ExitStack) -> None:
        self._route = installation.route(ground.config, ground.keys)
        self._outbox = opened.enter_context(SqliteStore.memory())
        self._connected = opened.enter_context(ExitStack())
        self._database: Any = None

    def take(self, parcel: Parcel) -> tuple[int, int] | None:
        """Move rows there; return how many of both kinds were new, None where the database does not tell."""
        from sink.stores.postgres import Interrupted

        self._outbox.commit(Batch(parcel.rows, parcel.rejects, {}, [], []))
        since, new = time.monotonic(), Counter[str]()
        is_told = True
        while loads := self._outbox.load(_MOST):
            try:
                found = self._connect().take({table: load.lines for table, load in loads.items()})
            except Interrupted:
                self._connected.close()
                self._database = None
                if time.monotonic() > since + _TRIES:
                    raise Fault(TEMPFAIL, "the database does not take the rows; start the import again later") from None
                threading.Event().wait(_PAUSE)
                continue
            self._outbox.unload({table: load.keys for table, load in loads.items()})
            is_told = found is not None
            new.update(found or {})
        return (new["delivery"], new["reject"]) if is_told else None

    def _connect(self) -> Any:
        from sink.stores.postgres import PostgresStore

        if self._database is None:
            self._database = self._connected.enter_context(PostgresStore(self._route.conninfo))
            self._database.bind(self._route.settings, self._route.checks)
        return self._database


@dataclass
class _Sender:
    """Sends parcels to who waits for them, numbered, so that a lost one would be seen."""

    queue: "Queue"
    name: str
    number: int
    sent: int = 0
    attempt: bytes = b""

    def __post_init__(self) -> None:
        self.attempt = secrets.token_bytes(8)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return self.name in _ended

    def send(self, parcel: Parcel, moved: tuple[int, int] | None = (0, 0)) -> None:
        """Send a parcel, when there is room; raises what Dask raises where nobody takes it in time."""
        if not self.is_over:
            message = marshal.dumps((self.number, self.attempt, self.sent, moved, parcel.plain()))
            self.queue.put(message, timeout=PATIENCE)
            self.sent += 1
