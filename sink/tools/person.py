"""`postsink lookup` and `postsink forget`: a person's rows, found or forgotten.

Addresses come on stdin, a line each: the command line can be read by everybody. Whoever may ask can find out who wrote
to whom, so the keyring opens for root and its owner alone.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from sink.config import Config
from sink.core.addressbook import NO_ADDRESS, AddressBook
from sink.core.pseudonym import Pseudonyms
from sink.core.rules import Rules
from sink.fault import DATA, FINDINGS, NOINPUT, OK, TEMPFAIL, USAGE, Fault
from sink.installation import bind_store, open_keyring
from sink.keys.epochs import Keyring
from sink.stores import forgotten
from sink.stores.person import ANYBODY, RECIPIENT, SENDER, Whom, places
from sink.stores.sqlite import SqliteStore
from sink.tools import awaiting
from sink.tools.question import confirm

SHOWN = 8  # hex digits of a queue id, which tell the messages of a table apart
KEPT = """\
Backups of the store still hold these rows: when one is restored, type postsink forget --again. An SSD, a file system
that copies on write and a snapshot keep what was overwritten. See docs/privacy.md."""


class Wanted(NamedTuple):
    """What a look-up is narrowed to."""

    since: int | None
    until: int | None
    sender: bool
    recipient: bool


def lookup(config: Config, wanted: Wanted, *, as_json: bool) -> int:
    """Print the rows of the addresses on stdin; 1 where there are none."""
    keys = open_keyring(config)
    with SqliteStore.open(config.store) as store:
        rules = bind_store(store, config, keys)
        lines = _lines()
        if wanted.sender and wanted.recipient:
            if len(lines) != 2:
                raise Fault(USAGE, "with --sender and --recipient give two lines: who sent, and to whom")
            whom = [_whom(keys, rules, lines[:1], SENDER), _whom(keys, rules, lines[1:], RECIPIENT)]
        else:
            whom = [_whom(keys, rules, lines, SENDER if wanted.sender else RECIPIENT if wanted.recipient else ANYBODY)]
        rows = [
            {"table": table, "as": places(table, row, whom), **row}
            for table, row in store.find(whom, wanted.since, wanted.until)
        ]
    if as_json:
        for row in rows:
            print(json.dumps(row))
    elif rows:
        _print(rows)
    else:
        print("no rows", file=sys.stderr)
    return OK if rows else FINDINGS


def _lines() -> list[bytes]:
    """Return the addresses on stdin, as typed; at a terminal an empty line ends them."""
    if sys.stdin is None:
        raise Fault(NOINPUT, "standard input is closed; hand addresses over by a pipe, a line each")
    is_typed = sys.stdin.isatty()
    if is_typed:
        print("postsink: type addresses, a line each, then an empty line", file=sys.stderr)
    found: list[bytes] = []
    while line := sys.stdin.buffer.readline():
        if line.strip():
            found.append(line.strip())
        elif is_typed:
            break
    if not found:
        raise Fault(USAGE, "no address on standard input; give one a line")
    return found


def _whom(keys: Keyring, rules: Rules, lines: Sequence[bytes], columns: frozenset[str]) -> Whom:
    return Whom([address for _, address in _addresses(keys, rules, lines)], columns)


def _addresses(keys: Keyring, rules: Rules, lines: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Return (epoch, pseudonym) of addresses in each epoch that is not destroyed."""
    found = []
    for epoch in keys.epochs:
        if epoch.secret is not None:
            book = AddressBook(Pseudonyms(epoch.secret), rules)
            for number, line in enumerate(lines, 1):
                address = book.party(line)[0]
                if address == NO_ADDRESS:
                    raise Fault(DATA, f"line {number} holds no address; give one a line")
                found.append((epoch.number, address))
    return found


def _print(rows: Sequence[dict[str, object]]) -> None:
    """Print a table: when, as what, what became of it."""
    table = [("logged at", "as", "message", "what became of it")]
    for row in rows:
        if row["table"] == "delivery":
            what = [row["status"], row["dsn"], row["reason"], row["relay_kind"], f"by {row['agent']}"]
            if row["delay"] is not None:
                what.append(f"after {row['delay']} s")
        else:
            what = ["refused", row["stage"], row["reply_code"], row["dsn"], row["category"]]
        queue_id = str(row.get("queue_id") or "-")[:SHOWN]
        words = " ".join(str(word) for word in what if word not in (None, ""))
        table.append((f"{str(row['logged_at'])[:19]}Z", ",".join(row["as"]), queue_id, words))  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for line in table:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]))


def forget(config: Config, *, sure: bool, again: bool) -> int:
    """Forget the addresses on stdin, or again those of the list."""
    keys = open_keyring(config)
    with SqliteStore.open(config.store) as store:
        rules = bind_store(store, config, keys)
        listed = forgotten.read(config.store) if again else _addresses(keys, rules, _lines())
        whom = Whom(address for _, address in listed)
        number = sum(1 for _ in store.find([whom], None, None))
        confirm(f"forget whose {number} rows these are, for good", sure=sure, command="forget")
        if not again:
            # First, so that a killed forget can be done again.
            forgotten.add(config.store, listed, int(time.time()))
        size = forgotten.length(config.store)
        awaiting.until(
            config.store, lambda told: told.get("forgotten") == size, "the daemon has not taken the list up; try again"
        )
        found = store.forget(whom)
        print(f"forgotten in {found['delivery']} deliveries, {found['reject']} refusals and the open messages")
        try:
            store.wipe()
        except Fault as fault:
            raise Fault(TEMPFAIL, f"the file still holds old pages: {fault}; then: postsink forget --again") from None
    print(KEPT)
    return OK
