"""`postsink keys`: make and list the keys."""

from sink import hardening, privileges
from sink.config import Config
from sink.fault import OK
from sink.installation import open_keyring
from sink.keys import keyring
from sink.keys.epochs import COLUMNS, describe


def init(config: Config) -> int:
    """Make the keyring, and the seal file where that is missing."""

    def become_owner() -> None:
        privileges.become_owner(config)
        hardening.lock()

    made = keyring.initialise(config.keyring, config.seal, become_owner)
    print(f"made {config.keyring}, epoch {made.active.number}, check value {made.active.check}")
    seals = ", ".join(map(str, config.seal))
    print(f"keep a copy of it and, apart from it, of its seal ({seals}): without both no pseudonym can be made again")
    return OK


def show(config: Config) -> int:
    """Print the epochs as a table."""
    rows = [COLUMNS, *describe(open_keyring(config))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return OK
