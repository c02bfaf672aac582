"""A person's rows: where an address stands, and how it is forgotten.

An address is two 16-byte halves, user and domain side by side, NONE for a domain that it has not; in the lists of
header addresses it is text. Whoever is forgotten gets a user by chance, another one in each row: rows that were one
person's can't be joined by it any more. The domain stays.
"""

import os
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from sink.core.pseudonym import NONE, WIDTH
from sink.core.rows import shown
from sink.core.state import blanked, is_message

PAIRS = {  # columns of *_user and *_domain, by table; what they are called in the views
    "delivery": {
        "sender": "sender", "recipient": "recipient", "original": "original_recipient", "list": "list_recipient",
        "submitter": "submitter",
    },
    "reject": {"sender": "sender", "recipient": "recipient"},
}  # fmt: skip
LISTS = {"delivery": ("from", "to", "cc", "bcc"), "reject": ()}
SENDER = frozenset({"sender", "submitter", "from"})
RECIPIENT = frozenset({"recipient", "original", "list", "to", "cc", "bcc"})
ANYBODY = SENDER | RECIPIENT
AT_ONCE = 500  # rows of a transaction: others wait meanwhile


class Whom:
    """Addresses, and in which columns they are looked for."""

    def __init__(self, addresses: Iterable[bytes], columns: frozenset[str] = ANYBODY) -> None:
        self.addresses = frozenset(addresses)
        self.columns = columns

    def name(self, connection: sqlite3.Connection, table: str) -> None:
        """Write them to a table that no disk sees (PRAGMA temp_store = MEMORY)."""
        connection.execute(f"DROP TABLE IF EXISTS temp.{table}")
        connection.execute(f"CREATE TEMP TABLE {table} (user, domain, text, PRIMARY KEY (user, domain)) WITHOUT ROWID")
        connection.executemany(
            f"INSERT INTO temp.{table} VALUES (?, ?, ?)",
            [(one[:WIDTH], b"" if one[WIDTH:] == NONE else one[WIDTH:], f" {shown(one)} ") for one in self.addresses],
        )

    def condition(self, table: str, named: str) -> str:
        """Return the condition that rows of a table fulfil, by the table that name() wrote."""
        found = [
            f"({pair}_user, coalesce({pair}_domain, x'')) IN (SELECT user, domain FROM temp.{named})"
            for pair in PAIRS[table] if pair in self.columns
        ]  # fmt: skip
        found += [
            f"(\"{one}\" IS NOT NULL AND EXISTS"
            f" (SELECT 1 FROM temp.{named} WHERE instr(' ' || \"{one}\" || ' ', text)))"
            for one in LISTS[table] if one in self.columns
        ]  # fmt: skip
        return "(" + " OR ".join(found or ["0"]) + ")"


def find(
    connection: sqlite3.Connection, whom: Sequence[Whom], since: int | None, until: int | None
) -> Iterable[tuple[str, dict[str, object]]]:
    """Yield (table, row of its view) for the rows in which each of whom stands, oldest first within a table."""
    for number, one in enumerate(whom):
        one.name(connection, f"whom{number}")
    for table in PAIRS:
        # The view's own SELECT, narrowed: what the view computes no index knows.
        (text,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (f"{table}_text",)).fetchone()
        conditions = [one.condition(table, f"whom{number}") for number, one in enumerate(whom)]
        limits = "(?1 IS NULL OR logged_second >= ?1) AND (?2 IS NULL OR logged_second < ?2)"
        select, where = text.partition(" AS\n")[2], " AND ".join([limits, *conditions])
        found = connection.execute(f"{select} WHERE {where} ORDER BY logged_second, logged_micros", (since, until))
        names = [column[0] for column in found.description]
        for row in found:
            yield table, dict(zip(names, row, strict=True))


def places(table: str, row: dict[str, object], whom: Sequence[Whom]) -> list[str]:
    """Return the columns of a view's row in which one of whom stands."""
    wanted = {shown(address) for one in whom for address in one.addresses}
    names = [*PAIRS[table].values(), *LISTS[table]]
    return [name for name in names if wanted & set(str(row[name] or "").split(" "))]


def forget(connection: sqlite3.Connection, whom: Whom) -> dict[str, int]:
    """Put others in the place of addresses; return the number of rows of each table, and of open messages."""
    whom.name(connection, "whom0")
    found = {}
    for table in PAIRS:
        condition, found[table] = whom.condition(table, "whom0"), 0
        place: tuple[int, bytes] | None = (-1, b"")
        while place is not None:
            place, number = _forget_some(connection, table, condition, place, whom.addresses)
            found[table] += number
    found["open_message"] = _forget_open(connection, whom.addresses)
    return found


def _forget_some(
    connection: sqlite3.Connection, table: str, condition: str, after: tuple[int, bytes], addresses: frozenset[bytes]
) -> tuple[tuple[int, bytes] | None, int]:
    """Forget in some rows behind a place; return the place of the last one, None where there are no more."""
    pairs, lists = list(PAIRS[table]), LISTS[table]
    columns = [f"{pair}_{half}" for pair in pairs for half in ("user", "domain")] + [f'"{one}"' for one in lists]
    connection.execute("BEGIN IMMEDIATE")
    try:
        rows = connection.execute(
            f"SELECT logged_second, id, {', '.join(columns)} FROM {table}"
            f" WHERE (logged_second, id) > (?, ?) AND {condition} ORDER BY logged_second, id LIMIT {AT_ONCE}",
            after,
        ).fetchall()
        assign = ", ".join([f"{pair}_user = ?" for pair in pairs] + [f'"{one}" = ?' for one in lists])
        connection.executemany(
            f"UPDATE {table} SET {assign} WHERE logged_second = ? AND id = ?",
            [(*_others(row[2:], len(pairs), addresses), *row[:2]) for row in rows],
        )
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return (rows[-1][:2] if len(rows) == AT_ONCE else None), len(rows)


def _others(values: Sequence[Any], pairs: int, addresses: frozenset[bytes]) -> list[bytes | str | None]:
    """Return users and lists of a row, with others in the place of some addresses."""
    others = {address: os.urandom(WIDTH) for address in addresses}
    halves = zip(values[: 2 * pairs : 2], values[1 : 2 * pairs : 2], strict=True)
    found = [others.get((user or b"") + (domain or NONE), user) for user, domain in halves]
    texts = {shown(address): shown(other + address[WIDTH:]) for address, other in others.items()}
    for text in values[2 * pairs :]:
        listed = None if text is None else sorted(texts.get(one, one) for one in str(text).split(" "))
        found.append(None if listed is None else " ".join(listed))
    return found


def _forget_open(connection: sqlite3.Connection, addresses: frozenset[bytes]) -> int:
    """Forget in open messages of which no process knows."""
    listed = [(0, address) for address in addresses]
    connection.execute("BEGIN IMMEDIATE")
    try:
        changed = [
            (other, stream, token)
            for stream, token, state in connection.execute("SELECT stream, token, state FROM open_message").fetchall()
            if is_message(token) and (other := blanked(state, listed, os.urandom)) != state
        ]
        connection.executemany("UPDATE open_message SET state = ? WHERE stream = ? AND token = ?", changed)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return len(changed)
