"""A person's rows: where an address stands, and how it is forgotten.

An address is two 16-byte halves, user and domain side by side, NONE for a domain that it has not; in the lists of
header addresses it is text. Whoever is forgotten gets a user by chance, another one in each message: rows of one
message still belong together, as their queue id says, and rows of two messages can't be joined by it any more. The
domain stays. All is read and written bit by bit: a daemon beside this waits for no more than some rows.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from heapq import merge
from typing import Any

from sink.core.forgetting import blanked, standing
from sink.core.pseudonym import NONE, WIDTH, framed
from sink.core.rows import shown
from sink.core.state import is_message

PAIRS = {  # columns of *_user and *_domain, by table; what they are called in the views
    "delivery": {
        "sender": "sender", "recipient": "recipient", "original": "original_recipient", "list": "list_recipient",
        "submitter": "submitter",
    },
    "reject": {"sender": "sender", "recipient": "recipient"},
}  # fmt: skip
LISTS = {"delivery": ("from", "to", "cc", "bcc"), "reject": ()}
MESSAGE = {"delivery": ("host", "queue_id", "first_seen"), "reject": ("id",)}  # what rows of one message share
SENDER = frozenset({"sender", "submitter", "from"})
RECIPIENT = frozenset({"recipient", "original", "list", "to", "cc", "bcc"})
ANYBODY = SENDER | RECIPIENT
AT_ONCE = 500  # rows of a page, and of a transaction
OPEN_AT_ONCE = 5_000  # open messages of a page
FIRST = -1 << 62  # a second before all others

Other = Callable[[bytes], bytes]  # an address -> the user that comes in the place of its user


class Whom:
    """Addresses, and in which columns they are looked for."""

    def __init__(self, addresses: Iterable[bytes], columns: frozenset[str] = ANYBODY) -> None:
        self.addresses = frozenset(addresses)
        self.columns = columns

    def name(self, connection: sqlite3.Connection, named: str) -> None:
        """Make a table of them, which no disk sees, and a function that tells whether a list holds one of them."""
        connection.execute(f"DROP TABLE IF EXISTS temp.{named}")
        connection.execute(f"CREATE TEMP TABLE {named} (user, domain, PRIMARY KEY (user, domain)) WITHOUT ROWID")
        connection.executemany(
            f"INSERT INTO temp.{named} VALUES (?, ?)",
            [(one[:WIDTH], b"" if one[WIDTH:] == NONE else one[WIDTH:]) for one in self.addresses],
        )
        texts = frozenset(map(shown, self.addresses))
        connection.create_function(f"lists_{named}", 1, lambda text: not texts.isdisjoint(text.split(" ")))

    def condition(self, table: str, named: str) -> str:
        """Return the condition that rows of a table fulfil, by what name() made."""
        found = [
            f"({pair}_user, coalesce({pair}_domain, x'')) IN (SELECT user, domain FROM temp.{named})"
            for pair in PAIRS[table] if pair in self.columns
        ]  # fmt: skip
        found += [
            f'("{one}" IS NOT NULL AND lists_{named}("{one}"))' for one in LISTS[table] if one in self.columns
        ]
        return "(" + " OR ".join(found or ["0"]) + ")"


# -- finding


def find(
    connection: sqlite3.Connection, whom: Sequence[Whom], since: int | None, until: int | None
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield (table, row of its view) for the rows in which each of whom stands, oldest first."""
    for number, one in enumerate(whom):
        one.name(connection, f"whom{number}")
    tables = [_find_in(connection, table, whom, since, until) for table in PAIRS]
    yield from merge(*tables, key=lambda found: str(found[1]["logged_at"]))


def _find_in(
    connection: sqlite3.Connection, table: str, whom: Sequence[Whom], since: int | None, until: int | None
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield those of one table, by pages: whoever reads them slowly keeps no checkpoint waiting."""
    (text,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (f"{table}_text",)).fetchone()
    # The view's own SELECT, narrowed: what the view computes no index knows.
    select = text.partition(" AS\n")[2].replace("SELECT", f"SELECT logged_second, logged_micros, {table}.id,", 1)
    conditions = [
        f"(logged_second, logged_micros, {table}.id) > (?, ?, ?)",
        "(?4 IS NULL OR logged_second < ?4)",
        *(one.condition(table, f"whom{number}") for number, one in enumerate(whom)),
    ]
    query = f"{select} WHERE {' AND '.join(conditions)} ORDER BY 1, 2, 3 LIMIT {AT_ONCE}"
    place: tuple[Any, ...] = (FIRST if since is None else since, -1, b"")
    while True:
        found = connection.execute(query, (*place, until))
        names = [column[0] for column in found.description[3:]]
        page = found.fetchall()
        for row in page:
            yield table, dict(zip(names, row[3:], strict=True))
        if len(page) < AT_ONCE:
            return
        place = page[-1][:3]


def count(connection: sqlite3.Connection, whom: Whom) -> int:
    """Return the number of rows in which one of whom stands."""
    whom.name(connection, "whom0")
    return sum(
        connection.execute(f"SELECT count(*) FROM {table} WHERE {whom.condition(table, 'whom0')}").fetchone()[0]
        for table in PAIRS
    )


def places(table: str, row: dict[str, object], whom: Sequence[Whom]) -> list[str]:
    """Return the columns of a view's row in which one of whom stands."""
    wanted = {shown(address) for one in whom for address in one.addresses}
    names = [*PAIRS[table].values(), *LISTS[table]]
    return [name for name in names if wanted & set(str(row[name] or "").split(" "))]


# -- forgetting


def chance() -> bytes:
    """Return what makes the others that come in the place of addresses; nobody must have it afterwards."""
    return os.urandom(2 * WIDTH)


def forget(connection: sqlite3.Connection, whom: Whom, key: bytes = b"") -> dict[str, int]:
    """Put others in the place of addresses, as key makes them; return the number of rows of each table, and of open
    messages.
    """
    whom.name(connection, "whom0")
    found = {}
    key = key or chance()
    for table in PAIRS:
        condition, found[table] = whom.condition(table, "whom0"), 0
        place: tuple[int, bytes] = (FIRST, b"")
        while True:
            # Outside of the transaction: there may be many rows to look through, and few to change.
            page = connection.execute(
                f"SELECT logged_second, id FROM {table} WHERE (logged_second, id) > (?, ?) AND {condition}"
                f" ORDER BY logged_second, id LIMIT {AT_ONCE}",
                place,
            ).fetchall()
            if not page:
                break
            found[table] += _forget_in(connection, table, page, whom.addresses, key)
            place = page[-1]
    found["open_message"] = _forget_open(connection, whom.addresses)
    return found


def _forget_in(
    connection: sqlite3.Connection, table: str, keys: Sequence[tuple[int, bytes]], addresses: frozenset[bytes],
    secret: bytes,
) -> int:  # fmt: skip
    """Forget in some rows, in one transaction; return the number of those that are still there."""
    pairs, lists, shared = list(PAIRS[table]), LISTS[table], MESSAGE[table]
    halves = [f"{pair}_{half}" for pair in pairs for half in ("user", "domain")]
    columns = ", ".join([*shared, *halves, *(f'"{one}"' for one in lists)])
    assign = ", ".join([f"{pair}_user = ?" for pair in pairs] + [f'"{one}" = ?' for one in lists])
    number = 0
    connection.execute("BEGIN IMMEDIATE")
    try:
        for key in keys:
            where = f"{table} WHERE logged_second = ? AND id = ?"
            row = connection.execute(f"SELECT {columns} FROM {where}", key).fetchone()
            if row is None:
                continue
            other = other_of(secret, row[: len(shared)])
            values = replaced(row[len(shared) :], len(pairs), addresses, other)
            connection.execute(f"UPDATE {table} SET {assign} WHERE logged_second = ? AND id = ?", (*values, *key))
            number += 1
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return number


def other_of(secret: bytes, shared: Sequence[object]) -> Other:
    """Return what gives the user that comes in the place of an address, by the values that rows of a message share."""
    message = framed(*(part if isinstance(part, bytes) else str(part).encode() for part in shared))
    return lambda address: blake2b(framed(message, address), key=secret, digest_size=WIDTH).digest()


def replaced(values: Sequence[Any], pairs: int, addresses: frozenset[bytes], other: Other) -> list[bytes | str | None]:
    """Return users and lists of a row, with others in the place of some addresses."""
    found: list[bytes | str | None] = []
    for user, domain in zip(values[: 2 * pairs : 2], values[1 : 2 * pairs : 2], strict=True):
        address = (user or b"") + (domain or NONE)
        found.append(other(address) if address in addresses else user)
    for text in values[2 * pairs :]:
        found.append(None if text is None else " ".join(sorted(_listed(str(text).split(" "), addresses, other))))
    return found


def _listed(texts: Sequence[str], addresses: frozenset[bytes], other: Other) -> Iterator[str]:
    for text in texts:
        user, _, domain = text.partition("@")
        address = bytes.fromhex(user) + (bytes.fromhex(domain) or NONE)
        yield shown(other(address) + address[WIDTH:]) if address in addresses else text


def _forget_open(connection: sqlite3.Connection, addresses: frozenset[bytes]) -> int:
    """Forget in open messages of which no process knows."""
    number, place = 0, ("", b"")
    while page := connection.execute(
        "SELECT stream, token, state FROM open_message WHERE (stream, token) > (?, ?)"
        f" ORDER BY stream, token LIMIT {OPEN_AT_ONCE}",
        place,
    ).fetchall():
        found = [row[:2] for row in page if is_message(row[1]) and standing(row[2], addresses)]
        if found:
            _forget_states(connection, found, addresses)
        number += len(found)
        place = page[-1][:2]
    return number


def _forget_states(
    connection: sqlite3.Connection, keys: Sequence[tuple[str, bytes]], addresses: frozenset[bytes]
) -> None:
    """Forget in some open messages, in one transaction."""
    where = "WHERE stream = ? AND token = ?"
    connection.execute("BEGIN IMMEDIATE")
    try:
        for key in keys:
            for (state,) in connection.execute(f"SELECT state FROM open_message {where}", key).fetchall():
                other = blanked(state, addresses, {}, os.urandom)
                connection.execute(f"UPDATE open_message SET state = ? {where}", (other, *key))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
