"""`postsink db`: make, look at, index and empty the store."""

import sys
from datetime import UTC, datetime

from sink.config import Config
from sink.fault import OK, TEMPFAIL, USAGE, Fault
from sink.installation import open_keyring, open_store
from sink.stores.sqlite import SqliteStore


def init(config: Config) -> int:
    """Make the store, bound to the keyring and the settings."""
    store, _ = open_store(config, open_keyring(config))
    with store:
        print(f"the store is {store.path}")
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
    for name, value in lines:
        print(f"{name.ljust(16)} {value}")
    return OK


def _shown(second: int | None) -> str:
    return "never" if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def index(config: Config) -> int:
    """Make the optional indexes."""
    with SqliteStore.open(config.store) as store:
        store.make_indexes()
    print("indexes are made")
    return OK


def reset(config: Config, sure: bool) -> int:
    """Empty the store, after a question."""
    with SqliteStore.open(config.store) as store:
        store.claim("live")  # a daemon would go on with open messages that are not there any more
        counts = store.counts()
        if not sure:
            rows = f"{counts['delivery']} deliveries and {counts['reject']} refusals"
            if sys.stdin is None or not sys.stdin.isatty():
                raise Fault(USAGE, f"db reset deletes {rows}; say --yes")
            print(f"delete {rows} of {store.path}? (yes/no) ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip() != "yes":
                raise Fault(TEMPFAIL, "nothing was deleted; answer yes to delete")
        store.empty()
    print(f"deleted {counts['delivery']} deliveries and {counts['reject']} refusals")
    return OK
