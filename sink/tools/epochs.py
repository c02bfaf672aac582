"""`postsink keys rotate` and `keys destroy`: the beginning and the end of an epoch."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from sink.config import Config
from sink.fault import OK, TEMPFAIL, Fault
from sink.installation import unlock_keyring
from sink.keys import keyring
from sink.keys.epochs import Keyring, shown
from sink.keys.periods import AHEAD
from sink.stores import locks
from sink.stores.sqlite import SqliteStore
from sink.tools import awaiting
from sink.tools.question import confirm

KEPT = """\
Copies of the keyring that were made before still hold its key, those of other hosts among them, and so may the disk:
an SSD, a file system that copies on write and a snapshot keep what was overwritten. Destroy the backups; or, so that
they are of no use, put another seal first in `seal`, run: postsink keys reseal, and destroy the old seal. On other
hosts of a fleet type: postsink keys import. See docs/privacy.md."""




def rotate(config: Config, ahead: int | None) -> int:
    """Begin an epoch some seconds ahead; return when the daemon knows of it."""
    secret = unlock_keyring(config).secret  # before: nobody else waits while somebody types
    with keyring.changing(config.keyring):
        ring, secret, _ = unlock_keyring(config, secret)
        ring = ring.rotated(int(time.time()) + max(ahead or 0, AHEAD))
        keyring.save(ring, config.keyring, secret)
    fresh = ring.epochs[-1]
    print(f"epoch {fresh.number} begins at {shown(fresh.since)}, check value {fresh.check}")
    warn_of_later_rows(config, fresh.since or 0)
    known = awaiting.until(
        config.store, lambda told: fresh.number in _epochs(told), "the keyring has it, the daemon has not loaded it"
    )
    print("the daemon knows of it" if known else "no daemon runs; one that starts loads it")
    return OK


def _epochs(told: awaiting.Told) -> list[object]:
    found = told.get("epochs")
    return found if isinstance(found, list) else []


def warn_of_later_rows(config: Config, since: int) -> None:
    """Say where lines that are there would not unify any more: of a wrong clock, or taken too early."""
    if not config.store.exists():
        return
    with SqliteStore.open(config.store) as store:
        last = store.span()[1]
    if last is not None and last >= since:
        print("some rows were logged later than that, under another key: their lines, imported again, would be new")


def destroy(config: Config, number: int, *, sure: bool) -> int:
    """Destroy a retired epoch's key; return when no daemon and no import of ours has it."""
    ring, secret, _ = unlock_keyring(config)
    _finish(config, ring, number)
    ring.without(number)  # what is wrong is said before the question
    check_open(config, [number])
    confirm(f"destroy epoch {number}, so that nobody can ever tell whose its rows are", sure=sure, command="destroy")
    with keyring.changing(config.keyring), unused(config, [number]):
        _write_out(config)
        ring, secret, _ = unlock_keyring(config, secret)
        keyring.save(ring.without(number), config.keyring, secret)
    print(f"epoch {number} is destroyed")
    if await_forgotten(config, [number]):
        print("the daemon has forgotten it, too")
    print(KEPT)
    return OK


def _write_out(config: Config) -> None:
    """Have rows on the disk, where that can be, before the key goes under which they could be made again."""
    if config.store.exists():
        with suppress(Fault), SqliteStore.open(config.store) as store:
            store.settle()


def _finish(config: Config, ring: Keyring, number: int) -> None:
    """Do what is left where a destroy was killed, or the daemon did not forget in time."""
    epoch = ring.numbered(number)
    if epoch is not None and epoch.secret is None:
        with keyring.changing(config.keyring):
            pass
        await_forgotten(config, [number])


def await_forgotten(config: Config, numbers: list[int]) -> bool:
    """Return when no daemon has the keys of some epochs in its memory; tell whether there is one. Fault 75."""
    return awaiting.until(
        config.store,
        lambda told: bool(told) and not set(numbers) & set(_epochs(told)),
        "the keyring has forgotten it, the daemon has not",
    )


@contextmanager
def unused(config: Config, numbers: Iterable[int]) -> Iterator[None]:
    """Have no import begin, since it would work with keys that are about to be destroyed.

    Fault 75 while one is under way, and while these epochs have open messages.
    """
    with locks.without_imports(config.store):
        check_open(config, numbers)
        yield


def check_open(config: Config, numbers: Iterable[int]) -> None:
    """Raise Fault 75 while an epoch has open messages, whose rows are still to come."""
    if not config.store.exists():
        return
    with SqliteStore.open(config.store) as store:
        found = store.open_by_epoch()
    for number in numbers:
        if number in found:
            raise Fault(TEMPFAIL, f"epoch {number} still has {_open(found[number])}")


def _open(streams: Counter[str]) -> str:
    """Return in words what is open, and what to do."""
    number = streams.total()
    what = "one open message" if number == 1 else f"{number} open messages"
    imports = [name.removeprefix("import:") for name in sorted(streams) if name != awaiting.STREAM]
    if imports:
        return f"{what}, of import --stream {imports[0]}; import what follows there first"
    return f"{what}, whose rows are to come; try again tomorrow"
