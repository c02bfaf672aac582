"""A report out of the database is that out of the embedded store, number by number; a reader may make it."""

from __future__ import annotations

from pathlib import Path

import yaml

from sink.fault import CONFIG, OK, UNAVAILABLE
from tests.integration.asking import ask, one_line
from tests.integration.postgres.server import Database
from tests.judges.program import LAB, Program, unpacked
from tests.report.reading import Read

SAMPLES = (
    "postfix-3.7-mixed.iso8601.log.gz", "postfix-3.10-sample.iso8601.log.gz", "scenarios/mail-iso8601.log.gz",
)  # fmt: skip


def test_its_numbers_are_those_of_the_embedded_store(program: Program, database: Database, tmp_path: Path) -> None:
    """Of logs with filters, requeues, forwards, expiry, answers and refusals; of all, and of some time."""
    embedded = Program(tmp_path / "embedded", **LAB).make_keys()
    served = database.serve(embedded.sibling(tmp_path / "served"))
    database.run("DELETE FROM epoch")
    logs = [unpacked(name, tmp_path) for name in SAMPLES]
    for one in (embedded, served):
        assert ask(one, "import", *logs).status == OK
    reader = database.serve(embedded.sibling(tmp_path / "reader"), "analyst")
    first, middle = embedded.query("SELECT min(logged_at), max(logged_at) FROM delivery_text WHERE id < '8'")[0]
    for words in ([], ["--since", first[:19], "--until", middle[:15] + "0"]):
        want = Read(ask(embedded, "report", "--top", "50", *words).out)
        have = ask(reader, "report", "--top", "50", *words)
        assert have.status == OK, have
        assert Read(have.out).tables == want.tables
        assert len(want.tables) >= 13
        assert ">database<" in have.out


def test_an_empty_database_is_no_error(served: Program) -> None:
    reader = Program(served.folder / "reader", database=served_conninfo(served).replace("drain", "analyst"))
    answer = ask(reader, "report")
    assert answer.status == OK
    assert "No row was logged in this time." in answer.out


def served_conninfo(program: Program) -> str:
    """The database of an installation."""
    return str(yaml.safe_load(program.config.read_text())["database"])


def test_who_may_not_read_is_told_what_to_grant(served: Program) -> None:
    one_line(ask(served, "report"), CONFIG, "42501", "grant postsink_reader")


def test_a_database_that_is_away_is_told(served: Program, tmp_path: Path) -> None:
    other = Program(tmp_path / "other", database=f"host={tmp_path} dbname=postsink")
    one_line(ask(other, "report", "--output", tmp_path / "page.html"), UNAVAILABLE, "does not answer")
    assert not (tmp_path / "page.html").exists()
