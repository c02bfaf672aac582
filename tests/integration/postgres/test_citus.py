"""What is so on Citus alone; the rest is in test_spread.py. It runs where POSTSINK_TEST_CITUS_DSN is set: spread.py."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from sink.fault import NOPERM, OK
from tests.integration.asking import ask, one_line
from tests.integration.postgres.driving import mail, written
from tests.integration.postgres.server import Database
from tests.integration.postgres.spread import Coordinator, on_workers
from tests.integration.postgres.test_roles import FORBIDDEN
from tests.integration.postgres.test_schema import ago
from tests.judges.program import Program, Row


@pytest.fixture
def spread(with_keys: Program, tmp_path: Path) -> Database:
    return on_workers(with_keys.sibling(tmp_path / "init"))


@pytest.fixture
def served(program: Program, spread: Database) -> Program:
    return spread.serve(program)


def test_it_is_done_once(spread: Database, served: Program) -> None:
    """By a superuser; afterwards who administers is none."""
    spread.serve(served, admin="keeper")
    for words in (["init", "--citus"], ["init"], ["upgrade"], ["status"], ["index"],
                  ["prune", "--older-than", "1d", "--yes"], ["reset", "--yes"]):  # fmt: skip
        answer = ask(served, "db", *words)
        assert (answer.status, answer.err) == (OK, ""), words


def test_who_is_no_superuser_is_told_so(program: Program, spread: Database) -> None:
    made = Coordinator().make_database()
    assert ask(made.serve(program, admin="postgres"), "db", "init").status == OK
    one_line(ask(made.serve(program), "db", "init", "--citus"), NOPERM, "only a superuser")


def test_rows_that_are_there_move(
    program: Program, spread: Database, some_log: Path, wanted: list[Row]
) -> None:
    """And leave nothing on the coordinator."""
    made = Coordinator().make_database()
    assert ask(made.serve(program, admin="postgres"), "db", "init").status == OK
    assert ask(program, "import", some_log).status == OK
    assert ask(program, "db", "init", "--citus").status == OK
    assert made.both() == wanted
    ours = "relname ~ '^(delivery|reject)_' AND relkind = 'r'"
    assert made.ask(f"SELECT sum(pg_relation_size(oid))::int FROM pg_class WHERE {ours}") == [(0,)]


def test_an_import_does_not_say_what_nobody_knows(served: Program, some_log: Path) -> None:
    """Citus counts what it was given."""
    answer = ask(served, "import", some_log)
    assert "rows are there; Citus does not tell which of them were new" in answer.err
    summary = json.loads(ask(served, "import", "--json", some_log).out)
    assert (summary["deliveries"], summary["duplicates"], summary["rejects"]) == (None, None, None)


def test_months(served: Program, spread: Database, tmp_path: Path) -> None:
    """Are made and dropped as elsewhere, with the rows that lay in the default partition."""
    log = written(tmp_path / "mail.log", mail(ago(400)), mail(ago(1), 2))
    assert ask(served, "import", log).status == OK
    assert spread.one("SELECT count(*) FROM delivery_default") == 1
    assert ask(served, "db", "upgrade").status == OK
    assert spread.one("SELECT count(*) FROM delivery_default") == 0
    assert spread.one(f"SELECT count(*) FROM delivery_{ago(400):%Y_%m}") == 1
    assert ask(served, "db", "prune", "--older-than", "90d", "--yes").status == OK
    assert (spread.ask(f"SELECT to_regclass('delivery_{ago(400):%Y_%m}')"), spread.count()) == ([(None,)], 1)


@pytest.mark.parametrize("user", ["drain", "analyst"])
def test_what_nobody_may(spread: Database, user: str) -> None:
    """A writer sees no row and changes none; a reader sees the views' columns, and changes none."""
    allowed = {"SELECT 1 FROM {table}", "SELECT count(*) FROM {table}"} if user == "analyst" else set()
    copying = "COPY {table} TO STDOUT"  # by parts, of which the first is refused
    for table in ("delivery", "reject"):
        for statement in set(FORBIDDEN) - {*allowed, copying}:
            with spread.connected(user) as connection:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.format(table=table))  # type: ignore[call-overload]
        with psycopg.connect(spread.conninfo(user)) as connection, pytest.raises(psycopg.Error):
            with connection.cursor().copy(copying.format(table=table)) as copy:  # type: ignore[arg-type]
                assert not list(copy)
    for table in ("epoch", "schema_version"):
        with spread.connected("analyst") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SELECT * FROM {table}")  # type: ignore[call-overload]
