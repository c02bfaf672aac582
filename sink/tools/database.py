"""`postsink db`: make, look at, index, prune and empty the store."""

import time
from datetime import UTC, datetime

from sink.config import Config
from sink.fault import OK, USAGE, Fault
from sink.installation import destroy_worn_out, open_keyring, open_store, unlock_keyring
from sink.stores.retention import END, START
from sink.stores.sqlite import SqliteStore
from sink.tools.epochs import await_forgotten
from sink.tools.question import confirm

MOST_AT_ONCE = 5_000  # rows of a table: a daemon waits meanwhile


def init(config: Config, *, citus: bool = False) -> int:
    """Make the store, bound to the keyring and the settings; citus: have the rows of the database lie on workers."""
    if citus and config.database is None:
        raise Fault(USAGE, "--citus is for a database; name it by database: in the config")
    keys = open_keyring(config)
    store, _ = open_store(config, keys)
    with store:
        print(f"the store is {store.path}")
    if config.database is not None:
        from sink.tools import server

        for line in server.upgrade(config):
            print(line)
        if citus:
            print(server.distribute(config))
        server.bind(config, keys)
    return OK


def upgrade(config: Config, *, local: bool) -> int:
    """Bring the schemas of store and database up to date; local: of the store alone, which may not be there yet."""
    if local and not config.store.exists():
        print("the store: is not there yet")
        return OK
    steps = SqliteStore.upgrade(config.store)
    print(f"the store: {'schema steps ' + ', '.join(map(str, steps)) if steps else 'the schema is up to date'}")
    if config.database is not None and not local:
        from sink.tools import server

        for line in server.upgrade(config):
            print(line)
    return OK


def status(config: Config) -> int:
    """Print what the store holds and what it depends on."""
    with SqliteStore.open(config.store) as store:
        counts, (first, last) = store.counts(), store.span()
        lines = [
            ("store", str(store.path)),
            ("deliveries", str(counts["delivery"])),
            ("refusals", str(counts["reject"])),
            ("open messages", str(counts["open_message"])),
            ("first logged", _shown(first)),
            ("last logged", _shown(last)),
            ("indexes", "made" if store.has_indexes() else "none; make them with: postsink db index"),
            *sorted(store.settings().items()),
        ]
    if config.database is not None:
        from sink.tools import server

        lines += server.status(config)
    for name, value in lines:
        print(f"{name.ljust(16)} {value}")
    return OK


def _shown(second: int | None) -> str:
    return "never" if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def index(config: Config) -> int:
    """Make the optional indexes."""
    with SqliteStore.open(config.store) as store:
        if config.database is None:
            store.make_indexes()
        else:  # rows do not stay in the store
            from sink.tools import server

            server.make_indexes(config)
    print("indexes are made")
    return OK


def prune(config: Config, older_than: int | None, *, sure: bool) -> int:
    """Delete the rows that are older than some seconds, and destroy the epochs of which none can be left."""
    keep = older_than or config.keep
    if keep is None:
        raise Fault(USAGE, "how old may rows become? set keep: in the config, or say --older-than 90d")
    before = int(time.time()) - keep
    with SqliteStore.open(config.store) as store:
        confirm(f"delete the rows logged before {_shown(before)}", sure=sure, command="db prune")
        gone = 0
        while some := store.prune(before, MOST_AT_ONCE):
            gone += some
        others: frozenset[int] = frozenset()
        if config.database is not None:
            from sink.tools import server

            gone += server.prune(config, before)
            others = frozenset(server.rows_by_epoch(config))
        store.settle()
        print(f"deleted {gone} rows logged before {_shown(before)}")
        epochs = destroy_worn_out(
            store, config, before, unlock_keyring(config), wait=True,
            is_empty=lambda number: number not in others and not _has_rows(store, number),
        )  # fmt: skip
    for number in epochs:
        print(f"epoch {number} is destroyed: it has no rows left")
    if epochs:
        await_forgotten(config, epochs)
    return OK


def _has_rows(store: SqliteStore, epoch: int) -> bool:
    found, place = False, START
    while not found and place != END:
        found, place = store.search(epoch, place, MOST_AT_ONCE)
    return found


def reset(config: Config, sure: bool) -> int:
    """Empty the store, and the database, after a question."""
    with SqliteStore.open(config.store) as store:
        store.claim("live")  # a daemon would go on with open messages that are not there any more
        counts = store.counts()
        rows = f"{counts['delivery']} deliveries and {counts['reject']} refusals of {store.path}"
        rows += " and all of the database" if config.database is not None else ""
        confirm(f"delete {rows}", sure=sure, command="db reset")
        if config.database is not None:
            from sink.tools import server

            there = server.empty(config)
            counts = {table: counts[table] + there.get(table, 0) for table in counts}
        store.empty()
    print(f"deleted {counts['delivery']} deliveries and {counts['reject']} refusals")
    return OK
