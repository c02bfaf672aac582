"""One PostgreSQL for most tests, with a database of its own for each; whoever stops a server makes another."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sink.fault import OK
from tests.integration.asking import ask, rows
from tests.integration.live.conftest import ends, import_of
from tests.integration.live.service import listening
from tests.integration.postgres.driving import written
from tests.integration.postgres.server import HAS_LIBPQ, Database, Server, made_folder, programs
from tests.judges.program import Program, Row

if TYPE_CHECKING:
    from tests.integration.postgres.stage import Stage

# Some of them import the store, which needs libpq; `make test` installs it.
collect_ignore_glob = [] if HAS_LIBPQ else ["test_*.py"]
collect_ignore = [] if os.environ.get("POSTSINK_TEST_CITUS_DSN") else ["test_citus.py"]

USERS = {"drain": "postsink_writer", "analyst": "postsink_reader", "keeper": "postsink_admin"}  # own nothing


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    top = made_folder()
    try:
        yield top
    finally:
        shutil.rmtree(top)


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Server]:
    """The server of most tests."""
    made = Server(folder).make().start()
    try:
        yield made
    finally:
        made.stop("immediate")


@pytest.fixture(scope="session")
def template(server: Server, with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """A database that `db init` made, bound to the keys of `program`, and the users of its roles."""
    made = server.make_database()
    program = made.serve(with_keys.sibling(tmp_path_factory.mktemp("pg") / "init"), admin="postgres")
    assert ask(program, "db", "init").status == OK
    server.run(*(f"CREATE USER {user} IN ROLE {role}" for user, role in USERS.items()))
    return made


@pytest.fixture(scope="session")
def filled(
    server: Server, template: Database, with_keys: Program, some_log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Database:
    """A database with the rows of the log, to be looked at only."""
    made = server.make_database(template.name)
    program = made.serve(with_keys.sibling(tmp_path_factory.mktemp("pg") / "fill"))
    for words in (["import", str(some_log)], ["db", "upgrade"]):
        assert ask(program, *words).status == OK
    assert made.count() > 100
    return made


@pytest.fixture(scope="session")
def stage(server: Server, template: Database) -> Iterator[Stage]:
    from tests.integration.postgres.stage import Stage

    made = Stage(server.make_database(template.name))
    yield made
    made.close()


@pytest.fixture
def database(server: Server, template: Database) -> Iterator[Database]:
    """An empty database with a schema."""
    made = server.make_database(template.name)
    yield made
    server.run(f"DROP DATABASE {made.name} WITH (FORCE)")


@pytest.fixture
def served(program: Program, database: Database) -> Program:
    """An installation whose rows go there."""
    return database.serve(program)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for installations that listen: the path of a Unix socket must be short."""
    made = made_folder()
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture
def live(with_keys: Program, database: Database, home: Path) -> Program:
    """An installation that listens, and whose rows go there."""
    return database.serve(listening(with_keys.sibling(home / "live")))


@pytest.fixture(scope="session")
def some_lines(log: Path) -> list[bytes]:
    """The log's first lines, and behind them what lets the last rows leave."""
    found = log.read_bytes().split(b"\n")[:2000]
    return [*found, *ends(found[-1])]


@pytest.fixture(scope="session")
def some_log(some_lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("some") / "mail.log", some_lines)


@pytest.fixture(scope="session")
def wanted(with_keys: Program, some_lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """The rows that must come of them, whatever happens: those of an undisturbed import into SQLite."""
    return rows(import_of(with_keys, some_lines, tmp_path_factory.mktemp("wanted")))


@pytest.fixture
def make_server(folder: Path) -> Iterator[Callable[..., Server]]:
    """Give a maker of servers that a test may harm; they end with it."""
    made: list[Server] = []

    def make(data: Path | None = None) -> Server:
        made.append(Server(folder, tempfile.mkdtemp(prefix="", dir=folder)[len(str(folder)) + 1 :], data))
        return made[-1]

    yield make
    for one in made:
        one.stop("immediate")
        shutil.rmtree(one.data, ignore_errors=True)
