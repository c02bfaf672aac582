"""`lookup` and `forget` where rows have gone on to the database, or wait to: as in the embedded store.

Whose rows are whose says an independent witness (tests/integration/people.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest

from sink.fault import CONFIG, FINDINGS, OK, TEMPFAIL, UNAVAILABLE
from tests.integration.asking import one_line
from tests.integration.live.service import eventually
from tests.integration.people import ALICE, BOB, Witness, check_forgotten, message, queue_ids, tables, written
from tests.integration.postgres.driving import RESTLESS, ended, started
from tests.integration.postgres.server import Database
from tests.integration.test_person import CASES, LOG, NINA, forgotten, here, looked_up
from tests.judges.program import Program, Row

QUICK = mock.patch("sink.stores.postgres.SESSION", "SET timezone = 'UTC'; SET lock_timeout = '50ms'")


class Served(Program):
    """An installation whose rows are in a database, and some in the store."""

    database: Database

    def rows(self, view: str = "delivery_text") -> list[Row]:
        waiting = super().rows(view)
        known = {row["id"] for row in waiting}
        return [*waiting, *(row for row in self.database.rows(view) if row["id"] not in known)]


@pytest.fixture
def served_by(with_keys: Program, database: Database, tmp_path: Path) -> Callable[[list[bytes]], Served]:
    """Give a maker of installations whose rows are in the database."""

    def make(lines: list[bytes]) -> Served:
        made = Served(tmp_path / "installed")
        for name in ("postsink.yaml", "keyring", "seal.key"):
            (made.folder / name).write_bytes((with_keys.folder / name).read_bytes())
            (made.folder / name).chmod(0o600)
        made.database = database
        database.serve(made)
        made.import_files(written(tmp_path / "mail.log", lines))
        return made

    return make


@pytest.fixture
def some(served_by: Callable[[list[bytes]], Served]) -> Served:
    made = served_by(LOG)
    assert made.query("SELECT count(*) FROM delivery") == [(0,)]
    return made


@pytest.fixture(scope="module")
def embedded(with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The same rows in a store alone."""
    folder = tmp_path_factory.mktemp("embedded")
    made = with_keys.sibling(folder / "installed")
    made.import_files(written(folder / "mail.log", LOG))
    return made


@pytest.fixture
def logged(database: Database) -> Iterator[Callable[[], str]]:
    """Give a function that returns what the server has logged since the test began."""
    log = database.server.log
    start = log.stat().st_size

    def since() -> str:
        return log.read_bytes()[start:].decode()

    yield since


def test_a_look_up_finds_what_it_found(some: Served, embedded: Program) -> None:
    """Each form of an address, in each column; by time and role, too; in words, too."""
    for case in CASES.values():
        assert looked_up(some, typed=case.typed) == looked_up(embedded, typed=case.typed) != []
    for options in (["--since", "2026-11-02T10:05"], ["--until", "2026-11-02T10:05"], ["--sender"], ["--recipient"]):
        for typed in ("jan@example.com", "alice@example.com", "nina@example.com"):
            assert looked_up(some, *options, typed=typed) == looked_up(embedded, *options, typed=typed)
    both = "jan@example.com\njan@example.com"
    assert looked_up(some, "--sender", "--recipient", typed=both) != []
    answers = [here(one, "lookup", stdin=b"jan@example.com\n") for one in (some, embedded)]
    assert answers[0] == answers[1] and answers[0].out
    one_line(here(some, "lookup", stdin=b"nobody@example.com\n"), FINDINGS, "no rows")


def test_many_rows_come_in_pages(served_by: Callable[[list[bytes]], Served]) -> None:
    lines = [one for second, name in zip(range(0, 4800, 4), queue_ids(), strict=False)
             for one in message(second, name, "alice@example.com", "bob@example.net")]  # fmt: skip
    some = served_by(lines)
    found = looked_up(some, typed="bob@example.net")
    assert len(found) == 1200 and found == sorted(found, key=lambda row: row["logged_at"])
    before, witness = tables(some), Witness(some)
    assert forgotten(some, "bob@example.net").out.startswith("forgotten in 1200 deliveries, 0 refusals")
    assert check_forgotten(before, tables(some), witness, BOB) == 1200


def test_whoever_is_forgotten_is_nowhere_any_more(some: Served) -> None:
    """One after another: another user in each message, the domain stays, lists too; twice is once."""
    witness = Witness(some)
    for case in CASES.values():
        before, number = tables(some), len(witness.rows(case.person))
        out = forgotten(some, case.typed).out
        assert out.startswith(f"forgotten in {number} ") or ", " in out.partition(" and the open")[0]
        assert "WAL archives" in out and "Other hosts of the fleet" in out
        assert check_forgotten(before, tables(some), witness, case.person) == number > 0
        one_line(here(some, "lookup", stdin=case.typed.encode()), FINDINGS, "no rows")
    after = tables(some)
    assert forgotten(some, *(case.typed for case in CASES.values())).out.startswith("forgotten in 0 deliveries, 0 ref")
    assert tables(some) == after


def test_a_message_that_is_here_and_there(some: Served, database: Database) -> None:
    """Some of its rows wait in the store: all are found, and somebody has one stand-in throughout."""
    database.run("DELETE FROM delivery WHERE status = 'sent'")
    with database.away():
        with mock.patch("sink.tools.moving.PATIENCE", 0.2):
            assert here(some, "import", str(some.folder.parent / "mail.log")).status == TEMPFAIL
    witness, before = Witness(some), tables(some)
    waiting = {row["id"] for row in Program.rows(some)}
    there = {row["id"] for row in database.rows()}
    hers = set(witness.rows(NINA))
    assert hers & waiting - there and hers & there, "rows of one message are in both"
    assert [row["id"] for row in looked_up(some, typed="nina@example.com")] == [
        row["id"] for row in sorted(some.rows(), key=lambda row: row["logged_at"]) if row["id"] in hers
    ]
    forgotten(some, "nina@example.com")
    assert check_forgotten(before, tables(some), witness, NINA) == len(hers)


def test_the_servers_log_tells_nothing_of_it(some: Served, database: Database, logged: Callable[[], str]) -> None:
    """Neither who was looked up or forgotten, nor which rows were his: they would belong together again."""
    witness = Witness(some)
    keys = {UUID(one) for one in witness.rows(ALICE)}
    halves = [UUID(bytes=half) for half in witness.halves(ALICE)]
    looked_up(some, "--json", typed="alice@example.com")
    forgotten(some, "alice@example.com")
    fresh = [UUID(row["sender"][:32]) for row in some.rows() if UUID(row["id"]) in keys and row["sender"]]
    text = logged()
    assert "UPDATE" in text and "VACUUM" in text
    found = [one for one in (*halves, *keys, *fresh) if str(one) in text or one.hex in text]
    assert found == []
    assert database.one("SELECT count(*) FROM pg_class WHERE relname LIKE 'keys_%' OR relname LIKE 'whom%'") == 0


def test_nothing_is_left_to_be_seen(some: Served, database: Database) -> None:
    """No old version of a row is in the tables, once their pages were written."""
    database.run("CREATE EXTENSION pageinspect")
    forgotten(some, "alice@example.com")
    dead = database.one(
        "SELECT count(*) FROM (SELECT inhrelid::regclass::text AS name FROM pg_inherits JOIN pg_class c ON c.oid ="
        " inhrelid WHERE relkind = 'r') AS part,"
        " LATERAL generate_series(0, pg_relation_size(part.name) / 8192 - 1) AS page,"
        " LATERAL heap_page_items(get_raw_page(part.name, page::int))"
        " WHERE t_xmax::text <> '0' AND t_infomask & 2048 = 0 AND t_data IS NOT NULL"  # HEAP_XMAX_INVALID
    )
    assert dead == 0


def test_who_may_not_changes_nothing(some: Served, database: Database) -> None:
    """The daemon's own right is not enough: told before the question, and nobody is on the list."""
    before = tables(some)
    database.serve(some, admin="drain")
    for words in (["forget", "--yes"], ["lookup"]):
        one_line(here(some, *words, stdin=b"alice@example.com\n"), CONFIG, "grant postsink_admin to who connects")
    with database.away():
        for words in (["forget", "--yes"], ["lookup"]):
            one_line(here(some, *words, stdin=b"alice@example.com\n"), UNAVAILABLE, "the database does not answer")
    assert tables(some) == before
    assert not Path(f"{some.store}.forgotten").exists()


def test_what_was_cut_off_is_done_again(some: Served, database: Database) -> None:
    """The table is in use for too long: told in one line, and `--again` does the rest."""
    witness, before = Witness(some), tables(some)
    with database.connected() as other, other.transaction(), QUICK:
        other.execute("LOCK TABLE delivery IN EXCLUSIVE MODE")
        answer = here(some, "forget", "--yes", stdin=b"alice@example.com\n")
    one_line(answer, TEMPFAIL, "the database still names them", "type: postsink forget --again")
    assert witness.rows(ALICE)
    assert here(some, "forget", "--again", "--yes").status == OK
    assert check_forgotten(before, tables(some), witness, ALICE) > 0


def test_rows_on_their_way_are_waited_for(some: Served, database: Database, tmp_path: Path) -> None:
    """What the drain has read, and has not brought there yet, is not missed."""
    more = [one for second, name in zip(range(0, 80, 4), queue_ids(), strict=False)
            for one in message(86_400 + second, f"B{name}", "alice@example.com", "bob@example.net")]  # fmt: skip
    log = written(tmp_path / "more.log", more)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with database.connected() as other:
        with started(some, RESTLESS, "import", log) as moving:
            with other.transaction():
                other.execute("LOCK TABLE delivery IN EXCLUSIVE MODE")
                eventually(lambda: database.one(waiting))
                with mock.patch("sink.tools.awaiting.PATIENCE", 0.1):
                    answer = here(some, "forget", "--yes", stdin=b"carol@example.org\n")
                # To count does not wait; the rows do, and so whoever forgets.
                one_line(answer, TEMPFAIL, "rows are on their way to the database; type: postsink forget --again")
            assert ended(moving).status == OK
    assert database.one("SELECT count(*) FROM delivery WHERE logged_at > '2026-11-03'") == 20
    witness, before = Witness(some), tables(some)
    forgotten(some, "alice@example.com")
    assert check_forgotten(before, tables(some), witness, ALICE) > 20
