"""`postsink import`: archived logs in, rows out.

An import is a stream of its own: it starts empty, takes its files in order of their first log second, and at the end
lets every row leave and forgets. Rows are committed as it goes; an import that was ended starts again from
the beginning, and what is there already changes nothing (law 6). With a stream's name it goes on where the
last import of that name ended: open messages are written with its last rows, in one transaction.
"""

import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sink import hardening, privileges
from sink.config import Config
from sink.core.batch import Batch
from sink.core.pipeline import Pipeline
from sink.core.rules import Rules
from sink.core.state import StateError
from sink.core.syslog import Reader
from sink.fault import CONFIG, DATA, OK, TEMPFAIL, USAGE, Fault
from sink.installation import open_keyring, open_store, pipeline
from sink.keys.epochs import Keyring
from sink.sources.archive import STDIN, Archive, allow_many_files
from sink.stores import forgotten, locks
from sink.stores.sqlite import SqliteStore
from sink.tools import summary
from sink.tools.chains import NOTHING, Outcome, Parcel, chains, outcome_of
from sink.tools.gathering import Gathering
from sink.tools.interrupt import Interrupt
from sink.tools.progress import Progress

if TYPE_CHECKING:
    from sink.tools.moving import Moving

BATCH = 500  # rows a transaction; 500 to 5,000 cost the same (rows wait in memory)
STOPPED = "stopped; rows so far are kept; start the same import again to go on"
ONE_CHAIN = "all files are of one host, or share hosts; one process reads them"


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    files: Sequence[str] = ()
    json: bool = False
    year: int | None = None
    stream: str | None = None
    jobs: int = 1


class Landing:
    """Where rows end: in the store, or by way of it in the database."""

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


class Import:
    """One import by this process alone: a pipeline, and what is not committed yet."""

    def __init__(self, landing: Landing, pipeline: Pipeline, stream: str | None) -> None:
        self._landing = landing
        self._pipeline = pipeline
        self._stream = stream
        self._gathered = Gathering(BATCH)

    def take(self, batch: Batch) -> None:
        """Take a batch, and commit when enough rows have come together."""
        if self._gathered.take(batch):
            self.commit()

    def commit(self) -> None:
        """Commit what has come together."""
        self._landing.keep(self._gathered.give(), self._stream)

    def finish(self) -> int:
        """Let the last rows leave; where a stream goes on keep the open messages, and return how many."""
        if self._stream is None:
            self.take(self._pipeline.flush())
            self.commit()
            return 0
        old = self._landing.store.state(self._stream)
        if self._landing.moving is None:  # a database takes no row that another import may replace
            self.take(self._pipeline.preview())
        batch = self._gathered.batch
        batch.puts.update(self._pipeline.state())
        batch.drops.extend(token for token in old if token not in batch.puts)
        self.commit()
        return self._pipeline.open_messages()


def run(config: Config, options: Options) -> int:
    """Import files; return the exit status."""
    # Nothing here makes cycles, and looking for them costs a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.disable()
    _check(options)
    allow_many_files()
    if options.jobs > 1:
        import sink.tools.jobs  # noqa: F401 - now, since its owner may be unable to read where Python is
    archives = [Archive(name) for name in options.files or (STDIN,)]  # before: logs are root's
    privileges.become_owner(config)
    missing = hardening.lock()
    if missing:
        print(f"postsink: {missing}", file=sys.stderr)
    locks.importing(config.store)  # until the end of this process; see there
    keys = open_keyring(config)
    with ExitStack() as opened:
        for archive in archives:
            opened.callback(archive.close)
        store, rules = open_store(config, keys)
        opened.callback(store.close)
        for archive in archives:
            archive.date(rules.timezone, options.year)
        archives.sort(key=lambda archive: archive.first)
        found = None
        if options.jobs > 1:
            store.close()
            found = _together(config, options, keys, rules, archives)
            if found is None:
                store, _ = open_store(config, keys)
                opened.callback(store.close)
        outcome, new = found or _alone(config, options, keys, rules, archives, store)
    return _end(options, archives, rules, outcome, new)


def _check(options: Options) -> None:
    if list(options.files).count(STDIN) > 1:
        raise Fault(USAGE, "standard input is named twice; name it once")
    if options.jobs > 1 and options.stream is not None:
        raise Fault(USAGE, "a stream goes on in one process; leave out --jobs or --stream")
    if options.jobs > 1 and (not options.files or STDIN in options.files):
        raise Fault(USAGE, "standard input is read by one process; leave out --jobs, or name files")


def _end(
    options: Options, archives: Sequence[Archive], rules: Rules, outcome: Outcome, new: Mapping[str, int]
) -> int:
    """Tell what came of it; return the exit status, or raise what was wrong with a file."""
    found = summary.numbers(outcome, new)
    if options.json:
        # That nobody reads it must not hide that a file was damaged.
        with suppress(BrokenPipeError) if outcome.fault is not None else nullcontext():
            print(json.dumps(found), flush=True)
    else:
        summary.tell(found, [archive.name for archive in archives if archive.is_empty], rules.timezone)
    if outcome.fault is not None:
        raise Fault(*outcome.fault)
    if found["lines"] and not found["postfix_lines"]:
        raise Fault(DATA, "no line of Postfix was found; look at what the file holds")
    return OK


# -- one process


def _alone(
    config: Config, options: Options, keys: Keyring, rules: Rules, archives: Sequence[Archive], store: SqliteStore
) -> tuple[Outcome, Mapping[str, int]]:
    """Read all files, one after another, in this process; return what came of it, and how many rows were new."""
    with ExitStack() as opened:
        pipe = pipeline(rules, keys, Reader(rules.timezone))
        stream = None if options.stream is None else "import:" + options.stream
        if stream is not None:
            store.claim(stream)
            _resume(pipe, store, stream)
        landing = Landing(store, _moving(config, keys, opened))
        work = Import(landing, pipe, stream)
        readers = [archive.reader() for archive in archives]
        with Interrupt() as interrupt:
            fault = _read_all(archives, readers, pipe, work, interrupt)
            left = work.finish()
        if landing.moving is not None:
            landing.moving.finish()
    return outcome_of(pipe, readers, fault)._replace(open_messages=left), landing.new


def _moving(config: Config, keys: Keyring, opened: ExitStack) -> "Moving | None":
    """Start to move rows on, where there is a database."""
    if config.database is None:
        return None
    from sink.tools.moving import Moving

    moving = Moving(config, keys)
    opened.callback(moving.stop)
    return moving


def _resume(pipe: Pipeline, store: SqliteStore, stream: str) -> None:
    try:
        pipe.resume(store.state(stream), shown=True)
        # Their lines to come name persons who were forgotten meanwhile.
        pipe.forget([(entry.second, entry.address) for entry in forgotten.read(store.path)], os.urandom)
    except StateError:
        raise Fault(
            CONFIG, f"the open messages of {stream} are of another version; take another --stream name"
        ) from None


def _read_all(
    archives: Sequence[Archive], readers: Sequence[Reader], pipe: Pipeline, work: Import, interrupt: Interrupt
) -> Fault | None:
    """Read the archives one after another; return what was wrong with one that broke off."""
    progress = Progress(sum(archive.size for archive in archives), pipe.counts)
    done = 0
    try:
        for archive, reader in zip(archives, readers, strict=True):
            pipe.reader = reader
            for lines in interrupt.reading(archive.lines()):
                work.take(pipe.feed(lines))
                progress.show(done + archive.position())
            done += archive.size
            if archive.damage() is not None:
                return archive.damage()
    except KeyboardInterrupt:
        work.commit()
        raise Fault(TEMPFAIL, STOPPED) from None
    finally:
        progress.clear()
    return None


# -- several processes


def _together(
    config: Config, options: Options, keys: Keyring, rules: Rules, archives: Sequence[Archive]
) -> tuple[Outcome, Mapping[str, int]] | None:
    """Read the files by several processes; return as _alone() does, or None where there is work for one only."""
    from sink.tools.jobs import Team, Work

    for archive in archives:
        if not archive.may_be_read_twice:
            raise Fault(USAGE, f"{archive.name} is no file, which can be read twice; leave out --jobs")
    if len(archives) == 1:
        print(f"postsink: {ONE_CHAIN}", file=sys.stderr)
        return None
    work = Work(archives, lambda: pipeline(rules, keys, Reader(rules.timezone)), BATCH)
    with Team(min(options.jobs, len(archives)), work) as team:
        hosts = team.hosts(len(archives))
        found = [(files, set().union(*(hosts[number] for number in files))) for files in chains(hosts)]
        if len(found) == 1:
            print(f"postsink: {ONE_CHAIN}", file=sys.stderr)
            return None
        # The greatest first, so that none begins when all others are done.
        found.sort(key=lambda chain: -sum(archives[number].size for number in chain[0]))
        with ExitStack() as opened:
            store, _ = open_store(config, keys)
            opened.callback(store.close)
            landing = Landing(store, _moving(config, keys, opened))
            with Interrupt() as interrupt:
                outcome = gather(team.read(found), landing, sum(archive.size for archive in archives), interrupt)
            if landing.moving is not None:
                landing.moving.finish()
    return outcome, landing.new


def gather(
    parcels: Iterable[tuple[int, Parcel]], landing: Landing, size: int, interrupt: Interrupt
) -> Outcome:
    """Keep the parcels of chains, which come with the number of the chain; return what came of all."""
    counts: Counter[str] = Counter()
    progress = Progress(size, counts)
    far: dict[int, tuple[int, int]] = {}  # by chain: bytes, lines
    ends: dict[int, Outcome] = {}
    try:
        for number, parcel in interrupt.reading(parcels):
            landing.keep(Batch(parcel.rows, parcel.rejects, {}, [], []))
            far[number] = parcel.done, parcel.lines
            counts["lines"] = sum(lines for _, lines in far.values())
            progress.show(sum(done for done, _ in far.values()))
            if parcel.outcome is not None:
                ends[number] = parcel.outcome
    except KeyboardInterrupt:
        raise Fault(TEMPFAIL, STOPPED) from None
    finally:
        progress.clear()
    faults = sorted({end.fault for end in ends.values() if end.fault is not None})
    for _, message in faults[:-1]:
        print(f"postsink: {message}", file=sys.stderr)
    return sum(ends.values(), NOTHING)._replace(fault=faults[-1] if faults else None)
