"""Rows that lie on several servers: the same as in one, whoever writes, reads, asks and forgets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from sink.fault import CONFIG, FINDINGS, OK, USAGE
from tests.integration.asking import ask, one_line, rows
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service, eventually, listening
from tests.integration.people import Witness, check_forgotten, tables, written
from tests.integration.postgres.driving import RESTLESS, started
from tests.integration.postgres.server import Database, Server
from tests.integration.postgres.spread import DSN, Coordinator, front, made_users, on_workers
from tests.integration.postgres.stage import VIEWS
from tests.integration.postgres.test_person import Served
from tests.integration.test_person import CASES, LOG, forgotten, here, looked_up
from tests.judges.program import Program, Row

KINDS = ["foreign partitions", "Citus"] if DSN else ["foreign partitions"]
NARROW = f"{RESTLESS}; drain.MOST = drain.SOON = 50"


@pytest.fixture(scope="module")
def back(folder: Path, with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Database]]:
    """A database on each of three servers."""
    servers = [Server(folder, name).make().start() for name in ("near", "far", "farther")]
    made = [server.make_database() for server in servers]
    for number, one in enumerate(made):
        program = one.serve(with_keys.sibling(tmp_path_factory.mktemp("pg") / str(number)), admin="postgres")
        assert ask(program, "db", "init").status == OK
        made_users(one)
    try:
        yield made
    finally:
        for server in servers:
            server.stop("immediate")


@pytest.fixture(params=KINDS)
def spread(request: pytest.FixtureRequest, with_keys: Program, tmp_path: Path) -> Database:
    """An empty database of several servers."""
    if request.param == "Citus":
        return on_workers(with_keys.sibling(tmp_path / "init"))
    back: list[Database] = request.getfixturevalue("back")
    for one in back:
        one.run("TRUNCATE delivery, reject")
    return front([one.server for one in back], back)


@pytest.fixture
def served(program: Program, spread: Database) -> Program:
    return spread.serve(program)


def test_an_import(served: Program, spread: Database, some_log: Path, wanted: list[Row]) -> None:
    """All rows are there once, also when they come again, and lie on all servers."""
    for _ in range(2):
        answer = ask(served, "import", "--json", some_log)
        assert (answer.status, answer.err) == (OK, "")
        assert spread.both() == wanted
        assert rows(served) == []
    assert len(places(spread)) >= 3


def places(database: Database) -> list[tuple[object, ...]]:
    """Where the rows lie."""
    if isinstance(database.server, Coordinator):
        shards = "SELECT shardid FROM citus_shards WHERE shard_size > 0 AND table_name::text ~ '^delivery_'"
        return database.ask(shards)
    return database.ask("SELECT DISTINCT tableoid FROM delivery")


def test_the_daemon(
    spread: Database, with_keys: Program, home: Path, some_lines: list[bytes], wanted: list[Row]
) -> None:
    live = spread.serve(listening(with_keys.sibling(home / "live")))
    with Service(live, bug=NARROW) as service:
        assert deliver(service.stream, some_lines, 50) == len(some_lines)
        eventually(lambda: spread.count() == len(wanted))
        assert service.status()["database"] == "well"
        assert service.stop() == OK
    assert spread.both() == wanted


def test_views_are_the_same(
    served: Program, spread: Database, with_keys: Program, some_log: Path, tmp_path: Path
) -> None:
    """As a reader sees them, letter by letter; and those for use are there."""
    alone = with_keys.sibling(tmp_path / "alone")
    for one in (served, alone):
        assert ask(one, "import", some_log).status == OK
    for view in VIEWS:
        assert spread.rows(view) == sorted(alone.rows(view), key=lambda row: str(row["id"]))
    for view, least in {"delivery_attempt": 100, "delivery_daily": 1, "reply_edge": 0}.items():
        assert len(spread.ask(f"SELECT * FROM {view}", "analyst")) >= least


def test_many_at_once(
    spread: Database, with_keys: Program, some_log: Path, wanted: list[Row], tmp_path: Path
) -> None:
    """Four drains with batches that overlap: nobody is told of a deadlock, and nothing is there twice."""
    hosts = [spread.serve(with_keys.sibling(tmp_path / str(number))) for number in range(4)]
    with ExitStack() as stack:
        processes = [stack.enter_context(started(host, NARROW, "import", some_log)) for host in hosts]
        for process in processes:
            err = process.communicate()[1].decode()
            assert process.returncode == OK, err
            assert "refuses" not in err
    assert spread.both() == wanted
    assert [rows(host) for host in hosts] == [[]] * 4


def test_one_server_is_away(back: list[Database], program: Program, some_log: Path, wanted: list[Row]) -> None:
    """Rows wait, those of other servers too, and all are there in the end."""
    for one in back:
        one.run("TRUNCATE delivery, reject")
    spread = front([one.server for one in back], back)
    served = spread.serve(program)
    with back[2].away():
        with started(served, NARROW, "import", some_log):
            eventually(lambda: served.store.exists() and rows(served) != [])
            with spread.connected() as connection, pytest.raises(psycopg.Error):
                connection.execute("SELECT count(*) FROM delivery_2")
    assert ask(served, "import", some_log).status == OK
    assert spread.both() == wanted


def test_a_person_is_found_and_forgotten(
    spread: Database, with_keys: Program, tmp_path: Path
) -> None:
    """As in a store alone."""
    log = written(tmp_path / "mail.log", LOG)
    alone = with_keys.sibling(tmp_path / "alone")
    some = Served(tmp_path / "installed")
    for name in ("postsink.yaml", "keyring", "seal.key"):
        (some.folder / name).write_bytes((with_keys.folder / name).read_bytes())
        (some.folder / name).chmod(0o600)
    some.database = spread
    spread.serve(some)
    for one in (some, alone):
        one.import_files(log)
    for case in CASES.values():
        assert looked_up(some, typed=case.typed) == looked_up(alone, typed=case.typed) != []
    witness = Witness(some)
    for case in CASES.values():
        before, number = tables(some), len(witness.rows(case.person))
        forgotten(some, case.typed)
        assert check_forgotten(before, tables(some), witness, case.person) == number > 0
        one_line(here(some, "lookup", stdin=case.typed.encode()), FINDINGS, "no rows")


def test_without_citus(program: Program, database: Database) -> None:
    """What is missing is said in one line, and the schema is as without it."""
    one_line(ask(program, "db", "init", "--citus"), USAGE, "--citus is for a database; name it by database:")
    database.serve(program)
    one_line(ask(program, "db", "init", "--citus"), CONFIG, "a superuser types there: CREATE EXTENSION citus")
    assert ask(program, "import", "/dev/null").status == OK
