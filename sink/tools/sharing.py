"""Shares the files of an import out to several processes, of this machine or of a Dask cluster.

Others read; this process writes what they send, and so knows exactly what is new, whoever is killed. All files are
looked through first, so that chains are right from the beginning: rows that are there are not completed later.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sink.config import Config
from sink.core.batch import Batch
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.fault import TEMPFAIL, USAGE, Fault
from sink.installation import open_store, pipeline
from sink.keys.epochs import Keyring
from sink.sources.archive import Archive
from sink.tools.chains import NOTHING, Outcome, Parcel, chains
from sink.tools.interrupt import Interrupt
from sink.tools.landing import STOPPED, Landing, moving_of
from sink.tools.progress import Progress

ONE_CHAIN = "all files are of one host, or share hosts; one process reads them"
LARGE = 5_000  # rows of a parcel that a worker moves into a database itself

Came = tuple[Outcome, Mapping[str, int]]  # what came of it, and how many rows were new
Chains = list[tuple[list[int], set[bytes]]]  # files by number, hosts


class Ground(NamedTuple):
    """What an import stands on; its files are dated and in order of time, and its store is not open."""

    config: Config
    keys: Keyring
    rules: Rules
    archives: Sequence[Archive]
    enough: int  # rows for a transaction

    @property
    def size(self) -> int:
        """How many bytes the files have, as packed."""
        return sum(archive.size for archive in self.archives)


def load(scheduler: str | None) -> None:
    """Load what the processes need; Fault where Dask is not installed."""
    if scheduler is None:
        import sink.tools.jobs
    else:
        import sink.tools.cluster  # noqa: F401


def by_jobs(ground: Ground, number: int) -> Came | None:
    """Read the files by so many processes of this machine; None where there is work for one only."""
    from sink.tools.jobs import Team, Work

    _check(ground.archives)
    archives, rules, keys = ground.archives, ground.rules, ground.keys
    if len(archives) > 1:
        work = Work(archives, lambda: pipeline(rules, keys, Reader(rules.timezone)), ground.enough)
        with Team(min(number, len(archives)), work) as team:
            found = _chains(archives, team.hosts(len(archives)))
            if len(found) > 1:
                return _gathered(ground, team.read(found))
    print(f"postsink: {ONE_CHAIN}", file=sys.stderr)
    return None


def by_scheduler(ground: Ground, place: str, path: Path | None, year: int | None) -> Came:
    """Read the files by the workers of a Dask scheduler; these find the config at a path, and the files as here."""
    from sink.tools.cluster import Cluster
    from sink.tools.errands import errand

    _check(ground.archives)
    config, keys, archives = ground.config, ground.keys, ground.archives
    enough = ground.enough if config.database is None else LARGE
    files = [(os.path.abspath(archive.name), *archive.first, archive.size) for archive in archives]
    told = errand(config, path, keys, str(ground.rules.timezone), year, enough)
    with Cluster(place, told, files) as cluster:
        cluster.check()
        found = _chains(archives, cluster.hosts())
        came = _gathered(ground, cluster.read(found), is_moved=config.database is not None)
    return came if config.database is None else (came[0], cluster.moved)


def _check(archives: Sequence[Archive]) -> None:
    for archive in archives:
        if not archive.may_be_read_twice:
            words = f"{archive.name} is no file, which can be read twice; leave out --jobs and --scheduler"
            raise Fault(USAGE, words)


def _chains(archives: Sequence[Archive], hosts: Sequence[set[bytes]]) -> Chains:
    """Return the chains of files, the greatest first, so that none begins when all others are done."""
    found = [(files, set().union(*(hosts[number] for number in files))) for files in chains(hosts)]
    return sorted(found, key=lambda chain: -sum(archives[number].size for number in chain[0]))


def _gathered(ground: Ground, parcels: Iterable[tuple[int, Parcel]], is_moved: bool = False) -> Came:
    """Write what comes of chains; is_moved: who read them moved the rows on by himself."""
    with ExitStack() as opened:
        store, _ = open_store(ground.config, ground.keys)
        opened.callback(store.close)
        landing = Landing(store, None if is_moved else moving_of(ground.config, ground.keys, opened))
        with Interrupt() as interrupt:
            outcome = _gather(parcels, landing, ground.size, interrupt)
        if landing.moving is not None:
            landing.moving.finish()
    return outcome, landing.new


def _gather(
    parcels: Iterable[tuple[int, Parcel]], landing: Landing, size: int, interrupt: Interrupt
) -> Outcome:
    """Keep parcels, each of which comes with the number of its chain; return what came of all."""
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
