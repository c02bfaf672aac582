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
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sink import hardening, privileges
from sink.config import Config
from sink.core.batch import Batch
from sink.core.pipeline import Pipeline
from sink.core.state import StateError
from sink.core.syslog import Reader
from sink.fault import CONFIG, DATA, OK, TEMPFAIL, USAGE, Fault
from sink.installation import open_keyring, open_store, pipeline
from sink.keys.epochs import Keyring
from sink.sources.archive import STDIN, Archive, allow_many_files
from sink.stores import forgotten
from sink.stores.sqlite import SqliteStore
from sink.tools.interrupt import Interrupt
from sink.tools.progress import Progress

if TYPE_CHECKING:
    from sink.tools.moving import Moving

BATCH = 500  # rows a transaction; 500 to 5,000 cost the same (rows wait in memory)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    files: Sequence[str] = ()
    json: bool = False
    year: int | None = None
    stream: str | None = None


class Import:
    """One import under way: a pipeline, a store, and what is not committed yet."""

    def __init__(
        self, store: SqliteStore, pipeline: Pipeline, stream: str | None, moving: "Moving | None" = None
    ) -> None:
        self.new = {"delivery": 0, "reject": 0} if moving is None else moving.moved
        self._store = store
        self._moving = moving
        self._pipeline = pipeline
        self._stream = stream
        self._batch = Batch([], [], {}, [], [])

    @property
    def is_stream(self) -> bool:
        """Whether another import goes on where this one ends."""
        return self._stream is not None

    def take(self, batch: Batch) -> None:
        """Take a batch, and commit when enough rows have come together."""
        kept = self._batch
        kept.extend(batch)
        if len(kept.rows) + len(kept.rejects) >= BATCH:
            self.commit()

    def commit(self) -> None:
        """Commit what has come together."""
        batch, self._batch = self._batch, Batch([], [], {}, [], [])
        if batch.rows or batch.rejects or batch.again or batch.puts or batch.drops:
            deliveries, rejects = self._store.commit(batch, self._stream)
            if self._moving is None:
                self.new["delivery"] += deliveries
                self.new["reject"] += rejects
            else:
                self._moving.stored(deliveries + rejects)

    def finish(self) -> None:
        """Let the last rows leave; keep the open messages where a stream goes on."""
        if self._stream is None:
            self.take(self._pipeline.flush())
        else:
            old = self._store.state(self._stream)
            if self._moving is None:  # a database takes no row that another import may replace
                self.take(self._pipeline.preview())
            self._batch.puts.update(self._pipeline.state())
            self._batch.drops.extend(token for token in old if token not in self._batch.puts)
        self.commit()


def run(config: Config, options: Options) -> int:
    """Import files; return the exit status."""
    # Nothing here makes cycles, and looking for them costs a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.disable()
    if list(options.files).count(STDIN) > 1:
        raise Fault(USAGE, "standard input is named twice; name it once")
    allow_many_files()
    archives = [Archive(name) for name in options.files or (STDIN,)]  # before: logs are root's
    privileges.become_owner(config)
    missing = hardening.lock()
    if missing:
        print(f"postsink: {missing}", file=sys.stderr)
    keys = open_keyring(config)
    store, rules = open_store(config, keys)
    with store, ExitStack() as opened:
        for archive in archives:
            opened.callback(archive.close)
        readers = {id(archive): archive.date(rules.timezone, options.year) for archive in archives}
        archives.sort(key=lambda archive: archive.first)
        pipe = pipeline(rules, keys, Reader(rules.timezone))
        stream = None if options.stream is None else "import:" + options.stream
        if stream is not None:
            store.claim(stream)
            _resume(pipe, store, stream)
        moving = _moving(config, keys, opened)
        work = Import(store, pipe, stream, moving)
        with Interrupt() as interrupt:
            fault = _read_all(archives, readers, pipe, work, interrupt)
            work.finish()
        if moving is not None:
            moving.finish()
    summary = _summary(pipe, work, list(readers.values()))
    if options.json:
        # That nobody reads it must not hide that a file was damaged.
        with suppress(BrokenPipeError) if fault is not None else nullcontext():
            print(json.dumps(summary), flush=True)
    else:
        _tell(summary, [archive.name for archive in archives if archive.is_empty], rules.timezone)
    if fault is not None:
        raise fault
    if summary["lines"] and not summary["postfix_lines"]:
        raise Fault(DATA, "no line of Postfix was found; look at what the file holds")
    return OK


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
    archives: Sequence[Archive], readers: dict[int, Reader], pipe: Pipeline, work: Import, interrupt: Interrupt
) -> Fault | None:
    """Read the archives one after another; return what was wrong with one that broke off."""
    progress = Progress(sum(archive.size for archive in archives), pipe.counts)
    done = 0
    try:
        for archive in archives:
            pipe.reader = readers[id(archive)]
            for lines in interrupt.reading(archive.lines()):
                work.take(pipe.feed(lines))
                progress.show(done + archive.position())
            done += archive.size
            if archive.damage() is not None:
                return archive.damage()
    except KeyboardInterrupt:
        work.commit()
        raise Fault(TEMPFAIL, "stopped; rows so far are kept; start the same import again to go on") from None
    finally:
        progress.clear()
    return None


def _summary(pipe: Pipeline, work: Import, readers: Sequence[Reader]) -> dict[str, object]:
    """Return the numbers of an import; DESIGN "Commands" names those that scripts may rely on."""
    counts: Counter[str] = pipe.counts
    seen = counts["delivery_lines"] + counts["expired_lines"]
    summary: dict[str, object] = {
        "lines": counts["lines"],
        "postfix_lines": counts["postfix_lines"],
        "delivery_lines": counts["delivery_lines"],
        "expired_lines": counts["expired_lines"],
        "deliveries": work.new["delivery"],
        "duplicates": seen - work.new["delivery"],
        "rejects": work.new["reject"],
        "rejects_seen": counts["rejects"],
        "rejects_not_kept": counts["rejects_not_kept"],
        "epoch_destroyed": counts["epoch_destroyed"],
        "ignored": counts["ignored"],
        "not_understood": counts["not_understood"],
        "not_understood_by_daemon": {
            name.partition(":")[2]: number
            for name, number in sorted(counts.items())
            if name.startswith("not_understood:")
        },
        "not_syslog": counts["not_syslog"],
        "too_long": counts["too_long"],
        "undecided": sum(reader.undecided for reader in readers),
        "repeated": sum(reader.repeats for reader in readers),
        "without_daemon": counts["without_daemon"],
        "without_sender": counts["without_sender"],
        "open_messages": pipe.open_messages() if work.is_stream else 0,
        "years": sorted({year for reader in readers for year in reader.years}),
    }
    return summary


def _tell(summary: dict[str, Any], empty: Sequence[str], zone: object) -> None:
    """Print the summary as words for people."""
    words = [f"{name} is empty" for name in empty]
    if summary["lines"]:
        words += [
            f"{_counted(summary['lines'], 'line')} read, {summary['postfix_lines']} of Postfix",
            f"{_counted(summary['delivery_lines'] + summary['expired_lines'], 'delivery line')}:"
            f" {summary['deliveries']} new, {summary['duplicates']} known already",
            f"{_counted(summary['rejects_seen'], 'refusal')}: {summary['rejects']} new;"
            f" {summary['rejects_not_kept']} more of categories that are not kept",
            f"{_counted(summary['ignored'], 'line')} ignored, {summary['not_understood']} not understood",
        ]
    if summary["epoch_destroyed"]:
        words.append(f"{_counted(summary['epoch_destroyed'], 'line')} refused: the key of their time is destroyed")
    if summary["rejects_seen"]:
        words.append("refusals unify within one time format only: their fraction of a second counts")
    if summary["years"]:
        years = ", ".join(map(str, summary["years"]))
        words.append(f"lines without a year were taken to be of {years}, their zone {zone}")
    if summary["undecided"]:
        words.append(f"{_counted(summary['undecided'], 'line')} not read: nothing tells their year; give --year YYYY")
    if summary["without_daemon"]:
        words.append(
            f"{_counted(summary['without_daemon'], 'line')} without the name of a daemon: a template cut the tag at its"
            ' slash; set parser.permitSlashInProgramname="on" in rsyslog'
        )
    if summary["without_sender"]:
        words.append(
            f"{_counted(summary['without_sender'], 'row')} without a sender: the log begins in mid-stream, or lines"
            " are missing"
        )
    if summary["not_syslog"] or summary["too_long"]:
        words.append(f"no syslog lines: {summary['not_syslog']}; too long: {summary['too_long']}")
    if summary["not_understood"]:
        by_daemon = summary["not_understood_by_daemon"].items()
        words.append("not understood, by daemon: " + ", ".join(f"{name} {number}" for name, number in by_daemon))
    for line in words:
        print(f"postsink: {line}", file=sys.stderr)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
