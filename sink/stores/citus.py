"""Citus: PostgreSQL whose rows lie on several servers, the workers; all connect to its coordinator.

Measured with Citus 13.2: docs/citus.md.
"""

from typing import Any

import psycopg

from sink.fault import CONFIG, NOPERM, Fault
from sink.stores import schema

# Else a writer's rows lock each shard against all other writers, for which the writer has no right.
SESSION = "SET citus.all_modifications_commutative = on"
# A shard is asked for once in a transaction that changes what it is made of, too.
SEQUENTIAL = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"
_THERE = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_IS_SUPERUSER = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"

Connection = psycopg.Connection[Any]


def is_there(connection: Connection) -> bool:
    """Tell whether the database has the extension."""
    return _answer(connection, _THERE)


def is_distributed(connection: Connection) -> bool:
    """Tell whether rows lie on workers."""
    found = "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'reject'::regclass)"
    return is_there(connection) and _answer(connection, found)


def distribute(connection: Connection) -> None:
    """Have rows lie on workers, those that are there already too; Fault where it can't be."""
    if not is_there(connection):
        raise Fault(CONFIG, "the database has no Citus; a superuser types there: CREATE EXTENSION citus")
    if not is_distributed(connection) and not _answer(connection, _IS_SUPERUSER):
        raise Fault(NOPERM, "only a superuser makes the workers known roles; name one in database_admin: for this once")
    run(connection, schema.extra("postgres", "citus"))


def run(connection: Connection, text: str) -> None:
    """Run a file's statements, one by one: workers take no more at once."""
    for statement in schema.statements(text):
        connection.execute(statement)


def _answer(connection: Connection, question: str) -> bool:
    return connection.execute(question).fetchone() == (True,)
