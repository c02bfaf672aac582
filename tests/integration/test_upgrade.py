"""The embedded store's schema grows by a step: whole or not at all, whoever does it, and however it ends."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from sink.fault import CONFIG, OK, TEMPFAIL
from tests.integration.asking import ask, one_line, rows
from tests.integration.postgres.driving import ended, schema_in, started, told
from tests.judges.program import ROOT, Program

MORE = "CREATE TABLE more (number INTEGER);\nALTER TABLE delivery ADD COLUMN more INTEGER;\n"
# A function of SQL, in each connection, that kills the process.
DEADLY = """
import os, signal
from sink.stores import opening
connect = opening.connect
def deadly(*given):
    connection = connect(*given)
    connection.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    return connection
opening.connect = deadly
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A copy of the schema files, with one step more."""
    made = tmp_path / "sql"
    shutil.copytree(ROOT / "sql", made)
    (made / "sqlite/003-more.sql").write_text(MORE)
    return made


@pytest.fixture
def filled(program: Program) -> Program:
    assert ask(program, "import", ROOT / "demo/mail.log").status == OK
    return program


def steps(program: Program) -> list[int]:
    return [version for (version,) in program.query("SELECT version FROM schema_version ORDER BY 1")]


def has_more(program: Program) -> bool:
    return bool(program.query("SELECT 1 FROM sqlite_schema WHERE name = 'more'"))


def test_a_step_more(filled: Program, newer: Path) -> None:
    """Rows stay; before it, the new program says what to type; after it, the old program says that it is too old."""
    before = rows(filled)
    one_line(told(filled, schema_in(newer), "db", "status"), CONFIG, "type: postsink db upgrade")
    for said in ("schema steps 3", "the schema is up to date"):
        answer = told(filled, schema_in(newer), "db", "upgrade")
        assert (answer.status, answer.out) == (OK, f"the store: {said}\n")
    assert steps(filled) == [1, 2, 3] and has_more(filled)
    assert told(filled, schema_in(newer), "db", "status").status == OK
    assert rows(filled) == before
    for words in (["db", "upgrade"], ["db", "status"], ["import", str(ROOT / "demo/mail.log")]):
        one_line(ask(filled, *words), CONFIG, "is of a newer postsink (schema 3); install that")


def test_a_step_that_an_older_program_can_use(filled: Program, newer: Path) -> None:
    (newer / "sqlite/003-more.sql").write_text("-- compat: 2\n" + MORE)
    assert told(filled, schema_in(newer), "db", "upgrade").status == OK
    for words in (["db", "upgrade"], ["db", "status"], ["import", str(ROOT / "demo/mail.log")]):
        assert ask(filled, *words).status == OK
    assert steps(filled) == [1, 2, 3]


def test_a_step_that_was_changed(filled: Program, newer: Path) -> None:
    with (newer / "sqlite/001-tables.sql").open("a") as file:
        file.write("-- changed\n")
    answer = told(filled, schema_in(newer), "db", "upgrade")
    one_line(answer, CONFIG, "was made by another build of schema 1")
    assert steps(filled) == [1, 2] and not has_more(filled)


def test_a_step_that_fails_leaves_nothing(filled: Program, newer: Path) -> None:
    (newer / "sqlite/003-more.sql").write_text(MORE + "INSERT INTO nowhere VALUES (1);\n")
    assert told(filled, schema_in(newer), "db", "upgrade").status == TEMPFAIL
    assert steps(filled) == [1, 2] and not has_more(filled)
    assert ask(filled, "db", "status").status == OK


def test_killed_in_the_middle(filled: Program, newer: Path) -> None:
    before = rows(filled)
    (newer / "sqlite/003-more.sql").write_text(f"{MORE}SELECT die();\n")
    with started(filled, DEADLY + schema_in(newer), "db", "upgrade") as process:
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert steps(filled) == [1, 2] and not has_more(filled)
    (newer / "sqlite/003-more.sql").write_text(MORE)
    assert told(filled, schema_in(newer), "db", "upgrade").status == OK
    assert steps(filled) == [1, 2, 3] and rows(filled) == before


def test_two_at_once(filled: Program, newer: Path) -> None:
    """One waits for the other, and has nothing left to do."""
    with sqlite3.connect(filled.store, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with started(filled, schema_in(newer), "db", "upgrade") as one:
            with started(filled, schema_in(newer), "db", "upgrade") as two:
                other.execute("COMMIT")
                answers = [ended(one), ended(two)]
    other.close()
    assert [answer.status for answer in answers] == [OK, OK], answers
    said = sorted(answer.out for answer in answers)
    assert said == ["the store: schema steps 3\n", "the store: the schema is up to date\n"]
