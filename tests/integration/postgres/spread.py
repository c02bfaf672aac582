"""Databases whose rows lie on several servers: three of PostgreSQL with foreign partitions, and Citus.

The first stands in for the second, whose SQL may not name a target, nor lock rows: Debian has no Citus. Where there is
one, POSTSINK_TEST_CITUS_DSN is the conninfo of a superuser, for a database of the tests' own on its coordinator, with
the extension and workers: each test drops what postsink owns there.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from sink.fault import OK
from sink.stores import schema
from tests.integration.asking import ask
from tests.integration.postgres.conftest import USERS
from tests.integration.postgres.server import SUPERUSER, Database, Server
from tests.judges.program import Program

DSN = os.environ.get("POSTSINK_TEST_CITUS_DSN", "")
KEYS = {"delivery": "delivery_key", "reject": "reject_key"}


class Coordinator(Server):
    """Citus, which others started."""

    def __init__(self) -> None:
        with psycopg.connect(DSN) as connection:
            self._name = connection.info.dbname

    def conninfo(self, user: str = SUPERUSER, database: str = "") -> str:
        return make_conninfo(DSN, **({} if user == SUPERUSER else {"user": user}), dbname=database or self._name)

    def make_database(self, template: str = "", owner: str = SUPERUSER) -> Database:
        made = Database(self, self._name)
        for kind, name in made.ask(
            "SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relname FROM pg_class"
            " WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition AND relnamespace = 'public'::regnamespace"
            " AND relowner = to_regrole('postsink_admin')"
        ):
            made.run(f"DROP {kind} IF EXISTS {name} CASCADE")
        return made


def on_workers(program: Program) -> Database:
    """An empty database whose rows lie on the workers of Citus."""
    made = Coordinator().make_database()
    assert ask(made.serve(program, admin="postgres"), "db", "init", "--citus").status == OK
    return made_users(made)


def made_users(database: Database) -> Database:
    """Make the users of the roles, where they are not there."""
    there = {name for (name,) in database.ask("SELECT rolname FROM pg_roles")}
    database.run(*(f"CREATE USER {user} IN ROLE {role}" for user, role in USERS.items() if user not in there))
    return database


def front(servers: list[Server], back: list[Database]) -> Database:
    """A database on the first server whose tables have a partition on each; those have a schema of `db init`.

    Its own tables have no key: PostgreSQL has none over foreign partitions.
    """
    made = servers[0].make_database()
    tables = (schema.folder() / "postgres" / "001-tables.sql").read_text()
    for key in KEYS.values():
        tables = tables.replace(f",\n    PRIMARY KEY (logged_at, {key})\n", "\n")
    tables = tables.replace("PARTITION BY RANGE (logged_at)", "PARTITION BY HASH ({})")
    first, second, third = tables.split("{}")
    kept = [one for one in schema.statements(first + KEYS["delivery"] + second + KEYS["reject"] + third)
            if "_default" not in one]  # fmt: skip
    views = schema.statements((schema.folder() / "postgres" / "002-views.sql").read_text())
    with made.connected() as connection:
        run: Any = connection.execute
        run("CREATE EXTENSION postgres_fdw")
        run(schema.extra("postgres", "roles"))
        made_users(made)
        for number, one in enumerate(back):
            run(f"CREATE SERVER back{number} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{one.server.socket}',"
                f" port '{one.server.port}', dbname '{one.name}')")  # fmt: skip
            run(f"GRANT USAGE ON FOREIGN SERVER back{number} TO postsink_admin")
            for user, as_whom in {"drain": "drain", "postsink_admin": "keeper", SUPERUSER: SUPERUSER}.items():
                run(f"CREATE USER MAPPING FOR {user} SERVER back{number} OPTIONS (user '{as_whom}',"
                    " password_required 'false')")  # fmt: skip
        run("SET ROLE postsink_admin")
        run("CREATE TABLE schema_version (version integer)")
        for statement in [*kept, *views]:
            run(statement)
        for table in KEYS:
            for number in range(len(back)):
                run(f"CREATE FOREIGN TABLE {table}_{number} PARTITION OF {table} FOR VALUES WITH (MODULUS {len(back)},"
                    f" REMAINDER {number}) SERVER back{number} OPTIONS (table_name '{table}')")  # fmt: skip
        run(schema.extra("postgres", "grants"))
    return made
