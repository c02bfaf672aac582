"""`export` where rows have gone on to the database, or wait to: the same data set as from the embedded store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sink.fault import OK, UNAVAILABLE
from tests.export.conftest import EVERYTHING, exported
from tests.export.test_export import log_of, manifest, read
from tests.integration.asking import one_line
from tests.integration.postgres.server import Database
from tests.judges.program import Program

SECOND = 1_793_606_400  # 2026-11-02T08:00:00Z
MAILS = [(f"a{n}@example.net", f"p{n}@example.com") for n in range(9)]


@pytest.fixture
def here(with_keys: Program, tmp_path: Path) -> Iterator[Program]:
    """Rows of two days in an embedded store."""
    program = with_keys.sibling(tmp_path / "here")
    for second in (SECOND, SECOND + 86_400):
        program.import_files(stdin=log_of(MAILS, second))
    yield program


def rows(program: Program, name: str, *options: str) -> list[str]:
    answer = exported(program, name, *EVERYTHING, *options)
    assert answer.status == OK, answer
    found = [str(row) for table in ("delivery", "reject") for row in read(program.folder / name, table)]
    told = manifest(program.folder / name)["files"]
    assert sum(one["rows"] for one in told.values()) == len(found)
    return sorted(found)


def test_the_database_gives_the_same_data_set(here: Program, with_keys: Program, database: Database, tmp_path: Path
                                              ) -> None:  # fmt: skip
    there = database.serve(with_keys.sibling(tmp_path / "there"))
    for second in (SECOND, SECOND + 86_400):
        there.import_files(stdin=log_of(MAILS, second))
    assert there.query("SELECT count(*) FROM delivery") == [(0,)]
    whole = rows(here, "whole")
    assert rows(there, "whole") == whole
    assert len(whole) == 18
    part = ("--since", "2026-11-03", "--until", "2026-11-03T09:00")
    assert rows(there, "part", *part) == rows(here, "part", *part)
    assert len(rows(here, "again", *part)) == 9


def test_a_row_that_is_here_and_there_comes_once(
    here: Program, with_keys: Program, database: Database, tmp_path: Path
) -> None:
    """As one that moves on while it is read."""
    whole = rows(here, "alone")
    there = database.serve(with_keys.sibling(tmp_path / "there"))
    there.import_files(stdin=log_of(MAILS, SECOND))
    database.serve(here)  # its rows wait, half of them are there already
    assert here.query("SELECT count(*) FROM delivery") == [(18,)]
    assert database.count() == 9
    assert rows(here, "both") == whole


def test_without_an_answer_nothing_is_written(here: Program, database: Database) -> None:
    database.serve(here)
    with database.away():
        one_line(exported(here, "out"), UNAVAILABLE, "does not answer")
    assert not (here.folder / "out").exists()
    assert not list(here.folder.glob(".*"))
