"""However the lines of some hosts are spread over files, chains of files give the rows of one process."""

from __future__ import annotations

import marshal
import random
from contextlib import ExitStack
from datetime import UTC
from functools import cache
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from bench.generate import Log
from sink.core.batch import Batch
from sink.core.syslog import Reader
from sink.sources.archive import Archive
from sink.sources.loggers import hosts_in, hosts_of
from sink.stores.sqlite import SqliteStore
from sink.tools import importer, summary
from sink.tools.chains import NOTHING, Chain, Outcome, Parcel, chains, outcome_of
from sink.tools.importer import Import, Landing
from tests.property.hostile import pipeline, wild_lines

Kept = tuple[list[dict[str, Any]], dict[str, object]]

# What may stand before a tag; the host is h1, h2 or h3.
HEADERS = [
    b"2026-11-02T08:00:00+00:00 %b ", b"2026-11-02T08:00:00.123456+01:00 %b ", b"2026-11-02T08:00:00.1Z %b ",
    b"2026-11-02 08:00:00 %b ", b"2026-11-02T08:00:00  %b ", b"2026-11-02T08:00:00,25 %b ", b"2026-11-02T08:00:00x %b ",
    b"Nov  2 08:00:00 %b ", b"Nov 12 08:00:00 %b ", b"Nov 2 08:00:00 %b ", b"Nov  2 08:00:00.5 %b ",
    b"<22>Nov  2 08:00:00 %b ",
    b"2026 Nov  2 08:00:00.123 %b ", b"<22>1 2026-11-02T08:00:00Z %b ", b"<22>2026-11-02T08:00:00Z %b ", b"%b ",
    b"2026-11-02T08:00:00.1234567890Z %b ", b"2026-11-02T08:00:00+0100 %b ", b"Nov  2 08:00:00  %b ", b"h4 %b ",
]  # fmt: skip
TAGS = [
    b"postfix/smtp[1]: ", b"postfix/submission/smtpd[1]: ", b"postfix[1]: ", b"postfix/qmgr: ", b"mail/cleanup[7]: ",
    b"mail/x/cleanup[7]: ", b"a/b[1]: ", b"postfix/smtp 1 - - ", b"mail/smtp 1 ID [a b=\"c\"] ", b"postfix - - - ",
    b"cron[1]: ", b"cron[1/smtp]: ", b"/smtp: ", b" postfix/smtp[1]: ", b"x/smtps[1]: ", b"x/smtpsx[1]: ", b"",
]  # fmt: skip
TEXTS = [b"4A5A321A867: removed", b"[ID 1 mail.info] 4A5A321A867: removed", b"message repeated 2 times: [ a]", b""]


@st.composite
def headed(draw: st.DrawFn) -> list[bytes]:
    """Lines with headers of all kinds."""
    parts = st.tuples(
        st.sampled_from(HEADERS), st.sampled_from([b"h1", b"h2", b"h3"]), st.sampled_from(TAGS), st.sampled_from(TEXTS)
    )
    return [header % host + tag + text for header, host, tag, text in draw(st.lists(parts, max_size=8))]


@given(st.one_of(headed(), wild_lines()))
def test_no_host_of_the_pipeline_is_missed(lines: list[bytes]) -> None:
    pipe = pipeline(reader=Reader(UTC, fallback=1_793_700_000))
    pipe.feed(lines)
    heard = {token[5:] for token in pipe.state() if token.startswith(b"host:")}
    found = hosts_in(lines, Reader(UTC, fallback=1_793_700_000))
    assert heard <= found


@cache
def generated() -> list[bytes]:
    """Some thousand lines of two hosts."""
    return list(islice(chain.from_iterable(Log(5).run()), 4_000))


def spread(dice: random.Random) -> list[bytes]:
    """Lines of a log that are given to more hosts by their queue ids, and these hosts' lines to files.

    A few lines stand twice, or where none expects them.
    """
    files: list[list[bytes]] = [[] for _ in range(dice.randint(1, 6))]
    hosts = [b" h%d " % number for number in range(dice.randint(1, 5))]
    homes = {host: dice.choices(files, k=dice.choice([1, 1, 2])) for host in hosts}
    begin = dice.randrange(3_000)
    salt = b"%d" % dice.randrange(1 << 20)
    for line in generated()[begin : begin + dice.choice([100, 400, 900])]:
        stamp, _, tag, word, rest = line.split(b" ", 4)
        host = hosts[crc32(word + salt) % len(hosts)]
        own = b"%b%b%b %b %b" % (stamp, host, tag, word, rest)
        dice.choice(homes[host]).append(own)
        if not dice.randrange(12):
            dice.choice(homes[host]).append(own)
        if not dice.randrange(500):
            dice.choice(files).append(own)
    return [b"".join(file) for file in files]


def kept(store: SqliteStore, outcome: Outcome, landing: Landing) -> Kept:
    rows = store.take("delivery_text") + store.take("reject_text")
    store.close()
    return sorted(rows, key=lambda row: str(row["id"])), summary.numbers(outcome, landing.new)


def opened(folder: Path, stack: ExitStack) -> list[Archive]:
    archives = [Archive(str(path)) for path in sorted(folder.iterdir())]
    for archive in archives:
        stack.callback(archive.close)
        archive.date(UTC, None)
    return sorted(archives, key=lambda archive: archive.first)


def by_one(folder: Path, enough: int) -> Kept:
    with ExitStack() as stack, mock.patch.object(importer, "BATCH", enough):
        archives, store, pipe = opened(folder, stack), SqliteStore.memory(), pipeline()
        landing = Landing(store, None)
        work = Import(landing, pipe, None)
        readers = []
        for archive in archives:
            readers.append(pipe.reader)
            pipe.reader = readers[-1] = archive.reader()
            for lines in archive.lines():
                work.take(pipe.feed(lines))
        work.finish()
        return kept(store, outcome_of(pipe, readers, None), landing)


def by_chains(folder: Path, dice: random.Random) -> Kept:
    """Read side by side, now a parcel of one, now of another, as they come from processes."""
    with ExitStack() as stack:
        archives, store = opened(folder, stack), SqliteStore.memory()
        landing, ends = Landing(store, None), []
        hosts = [hosts_of(archive) for archive in archives]

        def begun(numbers: list[int]) -> Any:
            files = [archives[number] for number in numbers]
            names = set().union(*(hosts[number] for number in numbers))
            return Chain(files, names, pipeline(), dice.choice([1, 3, 500])).parcels()

        found = chains(hosts)
        assert sorted(chain.from_iterable(found)) == list(range(len(archives)))
        under_way = [begun(numbers) for numbers in found]
        while under_way:
            parcels = dice.choice(under_way)
            plain = next(parcels).plain()
            parcel = Parcel.of(marshal.loads(marshal.dumps(plain)))
            landing.keep(Batch(parcel.rows, parcel.rejects, {}, [], []))
            if parcel.outcome is not None:
                under_way.remove(parcels)
                ends.append(parcel.outcome)
        return kept(store, sum(ends, NOTHING), landing)


@given(st.integers(0, 1 << 30))
def test_any_spread_of_lines_over_files_gives_the_rows_of_one_process(seed: int) -> None:
    dice = random.Random(seed)
    with TemporaryDirectory() as name:
        for number, data in enumerate(spread(dice)):
            Path(name, str(number)).write_bytes(data)
        assert by_chains(Path(name), dice) == by_one(Path(name), dice.choice([1, 3, 500]))
