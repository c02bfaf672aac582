"""Asks the database's views, as sink.stores.views does the embedded store's: a reader's rights are enough.

All is answered of one moment, in one transaction that can't write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg

from sink.fault import TEMPFAIL, UNAVAILABLE, Fault
from sink.stores import schema
from sink.stores.postgres import Interrupted, connect, fault_of
from sink.stores.views import Ask, in_range

ROLE = "postsink_reader"


@contextmanager
def of_database(conninfo: str, since: int | None, until: int | None) -> Iterator[Ask]:
    """Open a database to be asked; Fault 69 where nobody answers, 75 where it was broken off, 78."""
    try:
        connection: psycopg.Connection[Any] = connect(conninfo)
    except Interrupted:
        raise Fault(UNAVAILABLE, "the database does not answer; start it, or correct database: in the config") from None
    head = schema.extra("postgres", "outcomes").replace("{range}", in_range(since, until))

    def ask(question: str) -> Iterator[tuple[Any, ...]]:
        for row in connection.execute((head + question).encode()):
            yield tuple(int(value) if isinstance(value, Decimal) else value for value in row)

    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        yield ask
    except psycopg.Error as error:
        found = fault_of(error, ROLE)
    else:
        return
    finally:
        connection.close()
    if isinstance(found, Interrupted):
        found = Fault(TEMPFAIL, f"the database broke off (SQLSTATE {found}); try again")
    raise found
