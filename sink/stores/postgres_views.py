"""Asks the database's views, as sink.stores.views does the embedded store's: a reader's rights are enough.

All is answered of one moment, in one transaction that can't write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg

from sink.stores import schema
from sink.stores.postgres import conversation
from sink.stores.views import Ask, in_range

ROLE = "postsink_reader"


@contextmanager
def of_database(conninfo: str, since: int | None, until: int | None) -> Iterator[Ask]:
    """Open a database to be asked; Fault 69 where nobody answers, 75 where it was broken off, 78."""
    head = schema.extra("postgres", "outcomes").replace("{range}", in_range(since, until))
    with conversation(conninfo, "", ROLE) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True

        def ask(question: str) -> Iterator[tuple[Any, ...]]:
            for row in connection.execute((head + question).encode()):
                yield tuple(int(value) if isinstance(value, Decimal) else value for value in row)

        yield ask
