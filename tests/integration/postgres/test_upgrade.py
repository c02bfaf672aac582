"""The database's schema grows by a step: whole or not at all, whoever does it, and however it ends."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from sink.fault import CONFIG, OK, TEMPFAIL
from tests.integration.asking import ask, one_line
from tests.integration.live.service import eventually
from tests.integration.postgres.driving import ended, schema_in, started, told
from tests.integration.postgres.server import Database
from tests.judges.program import ROOT, Program

MORE = "CREATE TABLE more (number integer);\nALTER TABLE delivery ADD COLUMN more integer;\n"
QUICK = "from sink.stores import postgres; postgres.SESSION = postgres.SESSION.replace('10s', '50ms')\n"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A copy of the schema files, with one step more."""
    made = tmp_path / "sql"
    shutil.copytree(ROOT / "sql", made)
    (made / "postgres/003-more.sql").write_text(MORE)
    return made


@pytest.fixture
def filled(served: Program) -> Program:
    assert ask(served, "import", ROOT / "demo/mail.log").status == OK
    return served


def steps(database: Database) -> list[int]:
    return [version for (version,) in database.ask("SELECT version FROM schema_version ORDER BY 1")]


def has_more(database: Database) -> bool:
    return bool(database.ask("SELECT 1 FROM pg_class WHERE relname = 'more'"))


def test_a_step_more(filled: Program, database: Database, newer: Path) -> None:
    """Rows stay, partitions have what is new, and the old program says that it is too old."""
    before = database.rows()
    for said in ("schema steps 3", "the schema is up to date"):
        answer = told(filled, schema_in(newer), "db", "upgrade")
        assert answer.status == OK and f"the database: {said}\n" in answer.out, answer
    assert steps(database) == [1, 2, 3] and has_more(database)
    assert database.rows() == before
    one_line(ask(filled, "db", "upgrade"), CONFIG, "the database is of a newer postsink (schema 3); install that")


def test_a_step_that_older_drains_must_not_miss(filled: Program, database: Database, newer: Path) -> None:
    """They can't read the version: a column that they don't fill stops them, and they say why."""
    step = "ALTER TABLE delivery ADD COLUMN more integer NOT NULL DEFAULT 0;\n"
    (newer / "postgres/003-more.sql").write_text(f"{step}ALTER TABLE delivery ALTER more DROP DEFAULT;\n")
    assert told(filled, schema_in(newer), "db", "upgrade").status == OK
    answer = ask(filled, "import", ROOT / "demo/mail.log")
    one_line(answer, CONFIG, "it is of a newer postsink; install that")
    assert filled.rows(), "rows wait"


def test_a_step_that_an_older_program_can_use(filled: Program, database: Database, newer: Path) -> None:
    (newer / "postgres/003-more.sql").write_text("-- compat: 2\n" + MORE)
    assert told(filled, schema_in(newer), "db", "upgrade").status == OK
    for words in (["db", "upgrade"], ["import", str(ROOT / "demo/mail.log")]):
        assert ask(filled, *words).status == OK
    assert steps(database) == [1, 2, 3]


def test_a_step_that_was_changed(filled: Program, database: Database, newer: Path) -> None:
    with (newer / "postgres/001-tables.sql").open("a") as file:
        file.write("-- changed\n")
    answer = told(filled, schema_in(newer), "db", "upgrade")
    one_line(answer, CONFIG, "the database was made by another build of schema 1")
    assert steps(database) == [1, 2] and not has_more(database)


def test_a_step_that_fails_leaves_nothing(filled: Program, database: Database, newer: Path) -> None:
    (newer / "postgres/003-more.sql").write_text(MORE + "INSERT INTO nowhere VALUES (1);\n")
    one_line(told(filled, schema_in(newer), "db", "upgrade"), CONFIG, "SQLSTATE 42P01")
    assert steps(database) == [1, 2] and not has_more(database)


def test_killed_in_the_middle(filled: Program, database: Database, newer: Path) -> None:
    before = database.rows()
    (newer / "postgres/003-more.sql").write_text(f"{MORE}LOCK TABLE reject;\n")
    with database.connected() as other:
        with other.transaction():
            other.execute("LOCK TABLE reject IN SHARE MODE")
            with started(filled, schema_in(newer), "db", "upgrade") as process:
                eventually(lambda: database.one(WAITING))
                process.kill()
                process.communicate()
    assert process.returncode == -signal.SIGKILL
    eventually(lambda: not database.one("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'"))
    assert steps(database) == [1, 2] and not has_more(database)
    assert told(filled, schema_in(newer), "db", "upgrade").status == OK
    assert steps(database) == [1, 2, 3] and database.rows() == before


def test_a_table_in_use_is_waited_for_and_then_left(filled: Program, database: Database, newer: Path) -> None:
    """Whoever holds a lock for long keeps no drain waiting behind the upgrade for longer."""
    with database.connected() as other:
        with other.transaction():
            other.execute("LOCK TABLE delivery IN SHARE MODE")
            one_line(told(filled, QUICK + schema_in(newer), "db", "upgrade"), TEMPFAIL, "SQLSTATE 55P03", "try again")
    assert steps(database) == [1, 2]


def test_two_at_once(filled: Program, database: Database, newer: Path) -> None:
    """One waits for the other, and has nothing left to do; partitions are made once."""
    with database.connected() as other:
        with other.transaction():
            other.execute("LOCK TABLE delivery IN SHARE MODE")
            one = started(filled, schema_in(newer), "db", "upgrade")
            two = started(filled, schema_in(newer), "db", "upgrade")
            first, second = one.__enter__(), two.__enter__()
            eventually(lambda: database.one(WAITING) == 2)
        answers = [ended(first), ended(second)]
        one.__exit__(None, None, None)
        two.__exit__(None, None, None)
    assert [answer.status for answer in answers] == [OK, OK], answers
    assert sorted("schema steps 3" in answer.out for answer in answers) == [False, True]
