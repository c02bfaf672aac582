"""`postsink lookup` and `postsink forget`: a person's rows, found or forgotten.

Addresses come on stdin, a line each: the command line can be read by everybody. Whoever may ask can find out who wrote
to whom, so the keyring opens for root and its owner alone.
"""

import codecs
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from sink.config import Config
from sink.core.addressbook import NO_ADDRESS, AddressBook
from sink.core.pseudonym import Pseudonyms
from sink.core.rules import Rules
from sink.core.syslog import MOST_LINE
from sink.fault import DATA, FINDINGS, NOINPUT, NOPERM, OK, TEMPFAIL, USAGE, Fault
from sink.installation import bind_store, open_keyring
from sink.keys.epochs import Keyring
from sink.stores import forgotten, locks, opening
from sink.stores.outbox import moving
from sink.stores.person import ANYBODY, RECIPIENT, SENDER, Whom, chance, places
from sink.stores.sqlite import SqliteStore
from sink.tools import awaiting
from sink.tools.question import confirm

HASHED = 32  # hex digits of a queue id that is not kept plain
SHOWN = 8  # of these, which tell the messages of a table apart
MEASURED = 200  # rows that tell how wide a table is: nobody waits for the last row to see the first
KEPT = """\
Backups of the store still hold these rows: when one is restored, type postsink forget --again. It reads
{}; keep a copy of that with the keyring. An SSD, a file system that copies on write and a
snapshot keep what was overwritten. See docs/privacy.md."""
KEPT_THERE = """\
PostgreSQL keeps what was replaced in its WAL archives, base backups, dumps and snapshots, and in its files until their
pages are written again (VACUUM FULL does that). Other hosts of the fleet have rows that wait, and open messages:
type it there, too."""
Found = dict[str, object]


class Wanted(NamedTuple):
    """What a look-up is narrowed to."""

    since: int | None
    until: int | None
    sender: bool
    recipient: bool


def lookup(config: Config, wanted: Wanted, *, as_json: bool) -> int:
    """Print the rows of the addresses on stdin; 1 where there are none."""
    _check_who(config)
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
        found = store.find(whom, wanted.since, wanted.until)
        if config.database is not None:
            from sink.tools import server

            found = _together(found, server.find(config, whom, wanted.since, wanted.until))
        rows: Iterator[Found] = ({"table": table, "as": places(table, row, whom), **row} for table, row in found)
        number = _print_json(rows) if as_json else _print(rows)
    if not number:
        print("postsink: no rows", file=sys.stderr)
    return OK if number else FINDINGS


def _together(*sources: Iterator[tuple[str, Found]]) -> Iterator[tuple[str, Found]]:
    """Yield the rows of sources in the order of time; one that has moved on meanwhile is in two, and comes once."""
    moment = ""
    known: set[object] = set()
    for table, row in merge(*sources, key=lambda found: str(found[1]["logged_at"])):
        if row["logged_at"] != moment:
            moment = str(row["logged_at"])
            known.clear()
        if row["id"] not in known:
            known.add(row["id"])
            yield table, row


def _check_who(config: Config) -> None:
    """Refuse whoever is neither root nor the keyring's owner, also where files were left open to others."""
    try:
        owner = os.stat(config.keyring).st_uid
    except OSError:
        return  # who opens it says why not
    if os.geteuid() not in (0, owner):
        raise Fault(NOPERM, "only root and the keyring's owner may ask who wrote to whom; run this as root")


def _lines() -> list[bytes]:
    """Return the addresses on stdin, as typed; at a terminal an empty line ends them."""
    if sys.stdin is None:
        raise Fault(NOINPUT, "standard input is closed; hand addresses over by a pipe, a line each")
    is_typed = sys.stdin.isatty()
    if is_typed:
        print("postsink: type addresses, a line each, then an empty line", file=sys.stderr)
    found: list[bytes] = []
    number = 0
    while line := sys.stdin.buffer.readline(MOST_LINE + 1):
        number += 1
        address = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()
        if len(line) > MOST_LINE or not _is_alone(address):
            raise Fault(DATA, f"line {number} is no single address; give one a line, without a name")
        if address:
            found.append(address)
        elif is_typed:
            break
    if not found:
        raise Fault(USAGE, "no address on standard input; give one a line")
    return found


def _is_alone(line: bytes) -> bool:
    """Tell whether a line is not, as headers have it, a name and an address, or several: nobody would be found."""
    if b'"' in line:
        return True
    return b"<" not in line[1:] and (line.count(b"@") < 2 or not any(one in line for one in (b" ", b",", b";")))


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
                    raise Fault(DATA, f"address {number} is empty, or the null sender, who is nobody; leave it out")
                found.append((epoch.number, address))
    return found


def _print_json(rows: Iterable[Found]) -> int:
    """Print an object a row; return how many."""
    number = 0
    for row in rows:
        print(json.dumps(row))
        number += 1
    return number


def _print(rows: Iterator[Found]) -> int:
    """Print a table: when, as what, what became of it; return the number of rows."""
    first = [_cells(row) for row in islice(rows, MEASURED)]
    if not first:
        return 0
    head = ("logged at", "as", "message", "what became of it")
    widths = [max(len(cells[column]) for cells in (head, *first)) for column in range(3)]

    def show(cells: Sequence[str]) -> None:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[3]]))

    for cells in (head, *first):
        show(cells)
    number = len(first)
    for row in rows:
        show(_cells(row))
        number += 1
    return number


def _cells(row: Found) -> tuple[str, str, str, str]:
    """Return a row of the table."""
    if row["table"] == "delivery":
        what = [row["status"], row["dsn"], row["reason"], row["relay_kind"], row["agent"] and f"by {row['agent']}"]
        if row["delay"] is not None:
            what.append(f"after {row['delay']:g} s")
    else:
        what = ["refused", row["stage"], row["reply_code"], row["dsn"], row["category"]]
    queue_id = str(row.get("queue_id") or "-")
    words = " ".join(str(word) for word in what if word not in (None, ""))
    columns = row["as"]
    assert isinstance(columns, list)
    shown = queue_id[:SHOWN] if len(queue_id) == HASHED else queue_id
    return f"{str(row['logged_at'])[:19]}Z", ",".join(columns), shown, words


def forget(config: Config, *, sure: bool, again: bool) -> int:
    """Forget the addresses on stdin, or again those of the list."""
    _check_who(config)
    keys = open_keyring(config)
    with SqliteStore.open(config.store) as store:
        rules = bind_store(store, config, keys)
        listed, who = _again(config) if again else _named(config, keys, rules)
        whom = Whom(address for _, address in listed)
        number = store.count(whom) + _count_there(config, whom)
        confirm(f"forget {who} in {_counted(number, 'row')}, for good", sure=sure, command="forget")
        for stream in locks.streams(config.store):
            if stream != awaiting.STREAM:
                store.claim(stream, shared=True)  # an import under way would bring its open messages back at its end
        # First, so that a killed forget can be done again; and --again, so that a daemon does so, too.
        forgotten.add(config.store, listed, int(time.time()))
        awaiting.until(
            config.store, lambda told: told.get("forgotten") == forgotten.stamp(config.store),
            "nobody is forgotten yet: the daemon has not taken up the list",
        )  # fmt: skip
        found = _forget_in_both(config, store, whom)
        print(
            f"forgotten in {_counted(found['delivery'], 'delivery')}, {_counted(found['reject'], 'refusal')}"
            " and the open messages"
        )
        try:
            store.wipe()
        except Fault as fault:
            reason = fault.message.partition(";")[0]
            raise Fault(
                TEMPFAIL, f"the file keeps old pages, since {reason}; mend that and type: postsink forget --again"
            ) from None
    print(KEPT.format(forgotten.place(config.store)))
    copy = opening.copy_of(config.store)
    if copy.exists():
        print(f"{copy}, of an upgrade that was broken off, holds them, too: delete it.")
    if config.database is not None:
        print(KEPT_THERE)
    return OK


def _count_there(config: Config, whom: Whom) -> int:
    if config.database is None:
        return 0
    from sink.tools import server

    return server.count(config, whom)


def _forget_in_both(config: Config, store: SqliteStore, whom: Whom) -> Counter[str]:
    """Forget in the store, and then in the database; return numbers of rows by table."""
    key = chance()  # for both: rows of a message may be here and there
    if config.database is None:
        return Counter(store.forget(whom, key))
    from sink.tools import server

    end = time.monotonic() + awaiting.PATIENCE
    while True:
        with moving(config.store) as is_still:  # none is on its way: it would arrive unforgotten
            if is_still:
                found = Counter(store.forget(whom, key))
                break
        if time.monotonic() >= end:
            raise Fault(TEMPFAIL, "rows are on their way to the database; type: postsink forget --again")
        time.sleep(awaiting.PULSE)
    try:
        return found + Counter(server.forget(config, whom, key))
    except Fault as fault:
        reason = fault.message.partition(";")[0]
        words = f"the database still names them, since {reason}; mend that and type: postsink forget --again"
        raise Fault(fault.status, words) from None


def _named(config: Config, keys: Keyring, rules: Rules) -> tuple[list[tuple[int, bytes]], str]:
    """Return (epoch, pseudonym) of the addresses on stdin, and what they are in words."""
    forgotten.read(config.store)  # what is wrong with the list is said before the question
    lines = _lines()
    return _addresses(keys, rules, lines), _counted(len(set(lines)), "address")


def _again(config: Config) -> tuple[list[tuple[int, bytes]], str]:
    """Return all of the list."""
    listed = sorted({(entry.epoch, entry.address) for entry in forgotten.read(config.store)})
    if not listed:
        raise Fault(NOINPUT, f"{forgotten.place(config.store)} names nobody; restore it from its backup")
    return listed, f"again {_counted(len(listed), 'pseudonym')}"


def _counted(number: int, noun: str) -> str:
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
