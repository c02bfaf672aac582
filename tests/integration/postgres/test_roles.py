"""Who may do what: tried as users that were granted a role and own nothing."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from sink.fault import CONFIG, NOPERM, OK
from tests.integration.asking import ask, one_line
from tests.integration.postgres.conftest import USERS
from tests.integration.postgres.driving import written
from tests.integration.postgres.server import Database, Server, programs
from tests.judges.program import Program, Row

TABLES = ("delivery", "reject", "epoch", "schema_version")
VIEWS = {"delivery_text", "delivery_final", "reject_text", "delivery_attempt", "delivery_daily", "reply_edge"}
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def rights(database: Database, role: str) -> set[tuple[str, str]]:
    """(table or view, right), of all that lies in the schema."""
    return set(database.ask(
        f"SELECT c.relname, r.name FROM pg_class c, unnest(%s::text[]) AS r (name)"
        f" WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')"
        f" AND has_table_privilege('{role}', c.oid, r.name)", values=[list(RIGHTS)],
    ))  # fmt: skip


@pytest.mark.parametrize(("user", "wanted"), [
    ("drain", {("delivery", "INSERT"), ("reject", "INSERT"), ("epoch", "INSERT"), ("epoch", "SELECT")}),
    ("analyst", {(view, "SELECT") for view in VIEWS}),
])  # fmt: skip
def test_what_roles_may(filled: Database, user: str, wanted: set[tuple[str, str]]) -> None:
    assert rights(filled, user) == rights(filled, USERS[user]) == wanted
    assert not filled.one(f"SELECT has_schema_privilege('{user}', 'public', 'CREATE')")


FORBIDDEN = (
    "SELECT 1 FROM {table}", "SELECT count(*) FROM {table}", "UPDATE {table} SET epoch = 2", "DELETE FROM {table}",
    "TRUNCATE {table}", "COPY {table} TO STDOUT", "INSERT INTO {table} SELECT * FROM {table} LIMIT 1",
    "ALTER TABLE {table} ADD COLUMN more text", "DROP TABLE {table}", "CREATE INDEX ON {table} (epoch)",
    "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE", "CREATE TEMPORARY TABLE mine (LIKE {table})",
    "CREATE VIEW mine AS SELECT * FROM {table}", "COMMENT ON TABLE {table} IS 'mine'",
)  # fmt: skip


@pytest.mark.parametrize("table", ["delivery", "reject", "delivery_default"])
@pytest.mark.parametrize("user", ["drain", "analyst"])
def test_what_nobody_may_with_tables(filled: Database, user: str, table: str) -> None:
    for statement in FORBIDDEN:
        with filled.connected(user) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.format(table=table))  # type: ignore[call-overload]


def test_a_writer_sees_no_row_by_its_own_insert(database: Database) -> None:
    """Neither by RETURNING, nor by a conflict that names its row."""
    columns = [name for (name,) in database.ask(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'reject'::regclass AND attnum > 0 AND attnotnull"
    )]  # fmt: skip
    row = dict(zip(columns, ["now()", "0", "1", "gen_random_uuid()", "'h'", "'i'", "'RCPT'", "'other'"], strict=True))
    insert = f"INSERT INTO reject ({', '.join(row)}) VALUES ({', '.join(row.values())})"
    with database.connected("drain") as connection:
        for more in (" RETURNING *", " ON CONFLICT (logged_at, reject_key) DO UPDATE SET epoch = 1"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(insert + more)  # type: ignore[call-overload]
        connection.execute(insert)  # type: ignore[call-overload]
    assert database.one("SELECT count(*) FROM reject WHERE host = 'h'") == 1


def test_a_reader_sees_all_views(filled: Database, wanted: list[Row]) -> None:
    found = {view: len(filled.ask(f"SELECT * FROM {view}", "analyst")) for view in VIEWS}
    assert found["delivery_text"] + found["reject_text"] == len(wanted)
    assert all(number for view, number in found.items() if view != "reply_edge")  # nobody answers in that log


def test_a_writer_and_a_reader_can_become_nobody_else(filled: Database) -> None:
    for user in ("drain", "analyst"):
        for role in set(USERS.values()) - {USERS[user]}:
            with filled.connected(user) as connection:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SET ROLE {role}")  # type: ignore[call-overload]


def test_who_administers_owns_nothing(database: Database, served: Program) -> None:
    """All commands of an admin work for a member of the role that owns it all; others are told what they lack."""
    owners = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    owned = database.ask(owners)
    assert owned == [("postsink_admin",)]
    for words in (["init"], ["upgrade"], ["status"], ["index"], ["prune", "--older-than", "1d", "--yes"]):
        answer = ask(served, "db", *words)
        assert (answer.status, answer.err) == (OK, ""), answer
    database.serve(served, admin="drain")
    for words in (["upgrade"], ["status"], ["index"], ["prune", "--older-than", "1d", "--yes"], ["reset", "--yes"]):
        answer = ask(served, "db", *words)
        assert answer.status in (CONFIG, NOPERM) and len(answer.words) == 1
        assert "grant postsink_admin to" in answer.err.lower()


def test_a_view_that_is_there_is_read_with_its_owners_rights(filled: Database) -> None:
    """That of a table that is swapped for one of the reader's own is not: it can make none."""
    with filled.connected("analyst") as connection:
        connection.execute("CREATE TEMPORARY TABLE delivery (host text)")
        assert connection.execute("SELECT count(*) FROM delivery_text").fetchone() != (0,)


# -- making roles: they are of the whole server, so each of these has one of its own


@pytest.fixture
def fresh(make_server: Callable[[], Server]) -> Server:
    return make_server().make().start()


def init(program: Program, database: Database, user: str, status: int = OK) -> str:
    database.serve(program, writer=user, admin=user)
    answer = ask(program, "db", "init")
    assert answer.status == status, answer
    return answer.err


def type_what_is_told(said: str, server: Server) -> None:
    """Run the line that is for the superuser."""
    program, *arguments = shlex.split(said.rstrip("\n").partition("as superuser of the database type: ")[2])
    subprocess.run([f"{programs()}/{program}", *arguments], check=True, stdout=subprocess.DEVNULL,
                   env={"PGHOST": str(server.socket), "PGUSER": "postgres"})  # fmt: skip


def test_roles_are_made_once(fresh: Server, program: Program, log: Path) -> None:
    """By who may make roles and owns the database; who may not is told what a superuser types, and that works."""
    fresh.run("CREATE USER maker CREATEROLE", "CREATE USER \"o'malley\"")
    mine = fresh.make_database(owner="maker")
    theirs = fresh.make_database(owner="\"o'malley\"")
    other = fresh.make_database()

    said = init(program, theirs, "\"o'malley\"".replace('"', "'").replace("'o'malley'", "o\\'malley"), NOPERM)
    assert said.count("\n") == 1
    assert theirs.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'postsink%'") == []
    type_what_is_told(said, fresh)
    assert init(program, theirs, "o\\'malley") == ""

    if mine.one("SELECT current_setting('server_version_num')::int >= 160000"):
        type_what_is_told(init(program, mine, "maker", NOPERM), fresh)  # roles are no longer of all who may make some
    assert init(program, mine, "maker") == ""
    assert "postsink_admin" in init(program, other, "maker", NOPERM), "it may not change a schema of others"
    with mine.connected("maker") as connection:
        assert connection.execute("SELECT count(*) FROM delivery_text").fetchone() == (0,)

    text = written(log.parent / "one.log", log.read_bytes().split(b"\n")[:500])
    mine.run("CREATE USER drain IN ROLE postsink_writer")
    mine.serve(program, admin=None)
    assert ask(program, "import", text).status == OK
    assert mine.count()


def test_roles_are_made_by_who_may_make_nothing_else(fresh: Server, program: Program) -> None:
    """CREATEROLE alone is not enough: the schema is the database owner's."""
    fresh.run("CREATE USER maker CREATEROLE")
    database = fresh.make_database()
    one_line(ask(database.serve(program, admin="maker"), "db", "init"), NOPERM, "roles.sql", "GRANT postsink_admin")
    assert database.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'postsink%'") == []
    assert init(program, database, "postgres") == ""


def test_public_has_nothing(fresh: Server, program: Program) -> None:
    """Where the database is closed to all others, the roles are let in."""
    database = fresh.make_database()
    database.run(f"REVOKE ALL ON DATABASE {database.name} FROM PUBLIC", "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    assert init(program, database, "postgres") == ""
    fresh.run(*(f"CREATE USER {user} IN ROLE {role}" for user, role in USERS.items()))
    database.serve(program)
    for words in (["import", "/dev/null"], ["db", "upgrade"], ["db", "status"]):
        assert ask(program, *words).status == OK
    assert database.rows() == []
