"""`postsink keys rotate` and `keys destroy`: the beginning and the end of an epoch."""

import time

from sink.config import Config
from sink.fault import OK, TEMPFAIL, Fault
from sink.installation import unlock_keyring
from sink.keys import keyring
from sink.keys.epochs import shown
from sink.keys.periods import AHEAD
from sink.stores.sqlite import SqliteStore
from sink.tools import awaiting
from sink.tools.question import confirm

KEPT = """\
Copies of the keyring that were made before still hold its key, and so may the disk: an SSD, a file system that
copies on write and a snapshot keep what was overwritten. Destroy the backups; or, so that they are of no use, put
another seal first in `seal`, run: postsink keys reseal, and destroy the old seal. See docs/privacy.md."""


def rotate(config: Config, ahead: int | None) -> int:
    """Begin an epoch some seconds ahead; return when the daemon knows of it."""
    with keyring.changing(config.keyring):
        ring, secret = unlock_keyring(config)
        ring = ring.rotated(int(time.time()) + max(ahead or 0, AHEAD))
        keyring.save(ring, config.keyring, secret)
    fresh = ring.epochs[-1]
    print(f"epoch {fresh.number} begins at {shown(fresh.since)}, check value {fresh.check}")
    _warn_of_later_rows(config, fresh.since or 0)
    known = awaiting.until(
        config.store, lambda told: fresh.number in _epochs(told), "the keyring has it, the daemon has not loaded it"
    )
    print("the daemon knows of it" if known else "no daemon runs; one that starts loads it")
    return OK


def _epochs(told: awaiting.Told) -> list[object]:
    found = told.get("epochs")
    return found if isinstance(found, list) else []


def _warn_of_later_rows(config: Config, since: int) -> None:
    """Say where lines of a wrong clock would not unify any more."""
    if not config.store.exists():
        return
    with SqliteStore.open(config.store) as store:
        last = store.span()[1]
    if last is not None and last >= since:
        print("some rows were logged later than that, by a wrong clock: their lines, imported again, would be new")


def destroy(config: Config, number: int, *, sure: bool) -> int:
    """Destroy a retired epoch's key; return when no process of ours has it."""
    ring, _ = unlock_keyring(config)
    ring.without(number)  # what is wrong is said before the question
    check_open(config, number)
    confirm(f"destroy epoch {number}, so that nobody can ever tell whose its rows are", sure=sure, command="destroy")
    before = awaiting.live(config.store)
    with keyring.changing(config.keyring):
        ring, secret = unlock_keyring(config)
        ring = ring.without(number)
        check_open(config, number)
        keyring.save(ring, config.keyring, secret)
    print(f"epoch {number} is destroyed")
    if before is not None:
        undone = "the keyring has forgotten it, the daemon has not"
        awaiting.until(config.store, lambda told: is_without(told, before, [number]), undone)
        print("the daemon has forgotten it, too")
    print(KEPT)
    return OK


def is_without(told: awaiting.Told, before: awaiting.Told | None, numbers: list[int]) -> bool:
    """Tell whether whoever writes is another program than before, and one that never had some epochs' keys."""
    begun = None if before is None else before.get("begun")
    return bool(told) and told.get("begun") != begun and not set(numbers) & set(_epochs(told))


def check_open(config: Config, number: int) -> None:
    """Raise Fault 75 while an epoch has open messages, whose rows are still to come."""
    if not config.store.exists():
        return
    with SqliteStore.open(config.store) as store:
        found = store.open_by_epoch().get(number, 0)
    if found:
        what = "one open message" if found == 1 else f"{found} open messages"
        raise Fault(TEMPFAIL, f"epoch {number} still has {what}, whose rows are to come; try again tomorrow")
