"""`postsink export`: a data set for a third party, with tokens of its own, coarse, checked, whole or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sink.config import Config
from sink.fault import DATA, OK, USAGE, Fault
from sink.installation import bind_store, open_keyring
from sink.stores.sqlite import SqliteStore
from sink.tools.exporting import files, manifest
from sink.tools.exporting.coarse import SECONDS
from sink.tools.exporting.dataset import Names, Table, Written
from sink.tools.exporting.folder import whole
from sink.tools.exporting.treatments import ASKED, TREATMENTS, Widths

MOST_SUPPRESSED = 0.1  # of all rows: a data set that lacks more tells of another host
WEAKER = "{} is not among what is checked: who knows several mails may find more; see docs/data.md"


class Wanted(NamedTuple):
    """What is typed."""

    recipient: str
    release: str
    output: Path
    form: str
    since: int | None
    until: int | None
    time: str
    size: str
    k: int
    asked: frozenset[str]


def run(config: Config, wanted: Wanted) -> int:
    """Write a data set."""
    _check_range(wanted)
    keys = open_keyring(config)
    names = Names(keys, wanted.recipient, wanted.release)
    with SqliteStore.open(config.store) as store, whole(wanted.output) as folder, files.explained(folder):
        bind_store(store, config, keys)
        done = {}
        with ExitStack() as stack:
            tables = [Table(name, folder, Widths(wanted.time, wanted.size), wanted.asked) for name in TREATMENTS]
            for table in tables:
                stack.enter_context(table.staging)
            for table in tables:
                _fill(config, store, table, names, wanted)
            suppressed = _settle(tables, wanted)
            for table in tables:
                path = folder / f"{table.name}.{wanted.form}"
                done[table.name] = _write(table, path, wanted, suppressed[table.name])
        words = manifest.written(_options(wanted), wanted.asked, done, names)
        files.write_text(folder / "manifest.json", words)
    _tell(wanted, [written for _, written, _, _ in done.values()])
    return OK


def _check_range(wanted: Wanted) -> None:
    width = wanted.time
    for second in (wanted.since, wanted.until):
        if second is not None and second % SECONDS[width]:
            raise Fault(USAGE, f"--since and --until must be a whole {width}, as --time says: half of one tells more")


def _fill(config: Config, store: SqliteStore, table: Table, names: Names, wanted: Wanted) -> None:
    """Read a table, here and in the database: a row that moves on meanwhile is in both."""
    is_outbox = config.database is not None
    table.take(store.read(table.name, table.read, wanted.since, wanted.until), names, note=is_outbox)
    if is_outbox:
        from sink.tools import server

        rows: Iterator[tuple[Any, ...]] = server.read(config, table.name, table.read, wanted.since, wanted.until)
        table.take(rows, names, twice=True)


def _settle(tables: list[Table], wanted: Wanted) -> dict[str, int]:
    """Find the rows that hide each other; return how many do not, by table. Fault 65 where these are too many."""
    rows = {table.name: table.staging.number() for table in tables}
    if not sum(rows.values()):
        raise Fault(DATA, "there are no rows to export; import some, or change --since and --until")
    suppressed = {table.name: rows[table.name] - sum(table.staging.settle(wanted.k)) for table in tables}
    share = sum(suppressed.values()) / sum(rows.values())
    if share > MOST_SUPPRESSED:
        raise Fault(
            DATA, f"{share:.0%} of the rows have fewer than {wanted.k} alike, more than {MOST_SUPPRESSED:.0%}; export a"
            " longer time by a coarser --time, such as day"
        )  # fmt: skip
    return suppressed


def _write(table: Table, path: Path, wanted: Wanted, suppressed: int) -> tuple[Table, Written, str, str]:
    """Write a table and look at its file again. Fault 65 where rows stand alone in it."""
    epochs, given_way = table.write(path, wanted.form)
    number, smallest = table.check(path, wanted.form)
    if number != epochs.total() or (number and smallest < wanted.k):
        raise Fault(DATA, f"the check of {path.name} failed, so nothing is exported; please report it")
    return table, Written(number, suppressed, epochs, given_way, smallest), path.name, files.digest(path)


def _options(wanted: Wanted) -> dict[str, Any]:
    return {
        "recipient": wanted.recipient,
        "release": wanted.release,
        "since": _shown(wanted.since),
        "until": _shown(wanted.until),
        "time": wanted.time,
        "size": wanted.size,
        "k": wanted.k,
        "with": [word for word in ASKED if word in wanted.asked],
    }


def _shown(second: int | None) -> str | None:
    return None if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _tell(wanted: Wanted, done: list[Written]) -> None:
    print(f"exported {sum(one.rows for one in done)} rows to {wanted.output}")
    print(f"suppressed, since fewer than {wanted.k} were alike: {sum(one.suppressed for one in done)}")
    if wanted.asked:
        print(WEAKER.format(f"--with {','.join(word for word in ASKED if word in wanted.asked)}"))
