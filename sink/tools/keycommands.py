"""`postsink keys`: make, list, seal anew and hand on the keyring. Epochs begin and end in sink.tools.epochs."""

import os
from contextlib import nullcontext, suppress
from pathlib import Path

from sink import hardening, privileges, rootonly
from sink.config import Config, FileSeal
from sink.fault import OK, Fault
from sink.installation import unlock_keyring
from sink.keys import keyring, seal
from sink.keys.epochs import COLUMNS, Keyring, describe
from sink.stores.sqlite import SqliteStore
from sink.tools import awaiting
from sink.tools.epochs import unused, warn_of_later_rows

ROWS = "rows"  # the column that the store adds


def _as_owner(config: Config) -> None:
    privileges.become_owner(config)
    hardening.lock()


def init(config: Config) -> int:
    """Make the keyring, and the seal file where that is missing."""
    made = keyring.initialise(config.keyring, config.seal, lambda: _as_owner(config))
    print(f"made {config.keyring}, epoch {made.active.number}, check value {made.active.check}")
    seals = ", ".join(map(str, config.seal))
    print(f"keep a copy of it and, apart from it, of its seal ({seals}): without both no pseudonym can be made again")
    return OK


def show(config: Config) -> int:
    """Print the epochs as a table, with the number of rows that each has in the store."""
    _as_owner(config)
    ring = unlock_keyring(config).keys
    numbers: dict[int, int] | None = None
    if config.store.exists():
        with SqliteStore.open(config.store) as store:
            numbers = store.rows_by_epoch()
    if config.database is not None:
        from sink.tools import server

        for number, rows_there in server.rows_by_epoch(config).items():
            numbers = {**(numbers or {}), number: (numbers or {}).get(number, 0) + rows_there}
    rows: list[tuple[str, ...]] = [(*COLUMNS, ROWS)]
    for epoch, cells in zip(ring.epochs, describe(ring), strict=True):
        rows.append((*cells, "-" if numbers is None else str(numbers.get(epoch.number, 0))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return OK


def reseal(config: Config) -> int:
    """Seal the keyring by the first seal of the config, which is made where it is a file that is missing."""
    first = config.seal[0]
    if isinstance(first, FileSeal):
        seal.ensure_file_seal(first.path)
    _as_owner(config)
    old = unlock_keyring(config).secret  # before: nobody else waits while somebody types
    _, secret = seal.open_secret([first], new=True)
    with keyring.changing(config.keyring):
        keyring.save(unlock_keyring(config, old).keys, config.keyring, secret)
    print(f"sealed by {first}; keep a copy of that, apart from the keyring")
    if awaiting.live(config.store) is not None:
        print("restart the daemon before you take the old seal away")
    return OK


def export(config: Config, path: Path) -> int:
    """Write the keyring to a new file, sealed by a passphrase, for another host of the fleet."""
    secret = seal.typed("Passphrase for the exported keyring: ", new=True)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)  # by who typed it
    except OSError as error:
        raise rootonly.unwritable(path, error) from None
    try:
        _as_owner(config)
        with open(file, "wb", closefd=False) as out:
            out.write(keyring.wrap(unlock_keyring(config).keys, secret))
        os.fsync(file)
    except BaseException as error:
        with suppress(OSError):
            os.ftruncate(file, 0)  # the folder may be root's alone, who this is no more
            os.unlink(path)
        if isinstance(error, OSError):
            raise rootonly.unwritable(path, error) from None
        raise
    finally:
        os.close(file)
    print(f"{path} holds the keyring; on the other host type: postsink keys import {path}")
    return OK


def take_in(config: Config, path: Path) -> int:
    """Take over a keyring that export wrote: as this host's first, or as what its own has become elsewhere."""
    made_by = "make it with: postsink keys export --to FILE"
    data = rootonly.read(path, keyring.MOST_BYTES, missing=made_by, any_owner=True)
    theirs = keyring.unwrap(path, data, lambda: seal.typed("Passphrase of the exported keyring: ", new=False))
    if not os.path.lexists(config.keyring):
        made = keyring.initialise(config.keyring, config.seal, lambda: _as_owner(config), theirs)
        print(f"made {config.keyring} of it, {_epochs(made)}")
        return OK
    _as_owner(config)
    known = unlock_keyring(config).secret
    with keyring.changing(config.keyring):
        ours, opened, _ = unlock_keyring(config, known)
        try:
            ring = ours.joined(theirs)
        except Fault as fault:
            raise Fault(fault.status, f"{path} does not fit {config.keyring}: {fault.message}") from None
        gone = [epoch.number for epoch, old in zip(ring.epochs, ours.epochs, strict=False)
                if epoch.secret is None and old.secret is not None]  # fmt: skip
        with unused(config, gone) if gone else nullcontext():
            keyring.save(ring, config.keyring, opened)
    print(f"{config.keyring} has taken it over, {_epochs(ring)}")
    for epoch in ring.epochs[len(ours.epochs) :]:
        warn_of_later_rows(config, epoch.since or 0)
    numbers = [epoch.number for epoch in ring.epochs if epoch.secret is not None]
    awaiting.until(
        config.store, lambda told: told.get("epochs") == numbers, "the keyring has it, the daemon has not loaded it"
    )
    return OK


def _epochs(ring: Keyring) -> str:
    return "one epoch" if len(ring.epochs) == 1 else f"{len(ring.epochs)} epochs"
