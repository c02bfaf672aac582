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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

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
from sink.tools.chains import Outcome, outcome_of
from sink.tools.gathering import Gathering
from sink.tools.interrupt import Interrupt
from sink.tools.landing import STOPPED, Landing, moving_of
from sink.tools.progress import Progress

BATCH = 500  # rows a transaction; 500 to 5,000 cost the same (rows wait in memory)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    files: Sequence[str] = ()
    json: bool = False
    year: int | None = None
    stream: str | None = None
    jobs: int = 1
    scheduler: str | None = None
    config: Path | None = None  # of the config file, for other hosts

    @property
    def is_shared(self) -> bool:
        """Whether several processes are to read the files."""
        return self.jobs > 1 or self.scheduler is not None


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
        return self._pipeline.standing().open_messages


def run(config: Config, options: Options) -> int:
    """Import files; return the exit status."""
    # Nothing here makes cycles, and looking for them costs a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.disable()
    _check(options)
    allow_many_files()
    if options.is_shared:
        from sink.tools import sharing

        sharing.load(options.scheduler)  # now, since the owner may be unable to read where Python is
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
        if options.is_shared:
            store.close()
            ground = sharing.Ground(config, keys, rules, archives, BATCH)
            if options.scheduler is None:
                found = sharing.by_jobs(ground, options.jobs)
            else:
                found = sharing.by_scheduler(ground, options.scheduler, options.config, options.year)
            if found is None:
                store, _ = open_store(config, keys)
                opened.callback(store.close)
        outcome, new = found or _alone(config, options, keys, rules, archives, store)
    return _end(options, archives, rules, outcome, new)


def _check(options: Options) -> None:
    if list(options.files).count(STDIN) > 1:
        raise Fault(USAGE, "standard input is named twice; name it once")
    if options.jobs > 1 and options.scheduler is not None:
        raise Fault(USAGE, "--jobs is for this machine, --scheduler for others; leave one of them out")
    if options.is_shared and options.stream is not None:
        raise Fault(USAGE, "a stream goes on in one process; leave out --stream, or --jobs and --scheduler")
    if options.is_shared and (not options.files or STDIN in options.files):
        raise Fault(USAGE, "standard input is read by one process; name files, or leave out --jobs and --scheduler")


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
        landing = Landing(store, moving_of(config, keys, opened))
        work = Import(landing, pipe, stream)
        readers = [archive.reader() for archive in archives]
        with Interrupt() as interrupt:
            fault = _read_all(archives, readers, pipe, work, interrupt)
            left = work.finish()
        if landing.moving is not None:
            landing.moving.finish()
    return outcome_of(pipe, readers, fault)._replace(open_messages=left), landing.new


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
