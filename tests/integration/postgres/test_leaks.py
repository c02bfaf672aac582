"""What lies in the database and in its log, which holds all statements and what each error quotes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink.fault import CONFIG, OK
from tests.integration.asking import ask
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service, eventually
from tests.integration.postgres.driving import RESTLESS, told, written
from tests.integration.postgres.server import Database, Server
from tests.judges.program import Program
from tests.leak import planted
from tests.leak.canaries import Searcher

# A number is wanted where a host's name stands: COPY then quotes the row.
WRONG_TYPE = "from sink.stores import postgres; postgres._TYPES['delivery']['host'] = 'integer'"


@pytest.fixture(scope="module")
def planted_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Lines of all kinds, with a canary in every field that a person or a host is known by.

    It does not stay: tests/leak searches for what others leave.
    """
    log = written(tmp_path_factory.mktemp("planted") / "mail.log", [*planted.archived(), *planted.fields()])
    yield log
    log.unlink()


@pytest.fixture
def since(server: Server) -> Iterator[Callable[[], bytes]]:
    """Give a function that returns what the server has logged since the test began."""
    start = server.log.stat().st_size
    yield lambda: server.log.read_bytes()[start:]


@pytest.fixture
def searched(served: Program, database: Database, since: Callable[[], bytes]) -> Iterator[Searcher]:
    """Search the server's log, and all that is in the database, when the test is over."""
    searcher = Searcher()
    yield searcher
    dump = database.server.tool("pg_dump", "-d", database.conninfo(), "--inserts").stdout
    assert b"INSERT INTO public.delivery" in dump
    assert searcher.find(dump) is None
    log = since()
    assert b"COPY " in log and b"STATEMENT:" in log
    assert searcher.find(log) is None


def test_an_import(served: Program, database: Database, planted_log: Path, searched: Searcher) -> None:
    """Rows that go through, rows that are refused by a type and by a constraint: all is quoted there, nothing here."""
    answer = told(served, WRONG_TYPE, "import", planted_log)
    assert answer.err == "postsink: the database refuses: SQLSTATE 22P02; look at its log\n"
    database.run("ALTER TABLE delivery ADD CONSTRAINT none_at_all CHECK (epoch = 9)")
    answer = ask(served, "import", planted_log)
    assert (answer.status, len(answer.words)) == (CONFIG, 1)
    assert "SQLSTATE 23514, constraint none_at_all" in answer.err
    database.run("ALTER TABLE delivery DROP CONSTRAINT none_at_all")
    answer = ask(served, "import", planted_log)
    assert answer.status == OK and database.count() > 300
    assert searched.find(answer.err.encode()) is None


def test_the_daemon(live: Program, database: Database, searched: Searcher, since: Callable[[], bytes]) -> None:
    """The same live; its words, its status and its backend's place in pg_stat_activity hold none either."""
    database.run("ALTER TABLE reject ADD CONSTRAINT none_at_all CHECK (epoch = 9)")
    lines = list(planted.current())
    with Service(live, bug=RESTLESS) as service:
        assert deliver(service.stream, lines, 200) == len(lines)
        assert service.said.until("SQLSTATE 23514, constraint none_at_all")
        database.run("ALTER TABLE reject DROP CONSTRAINT none_at_all")
        eventually(lambda: database.count() > 300)
        seen = str(database.ask("SELECT * FROM pg_stat_activity")) + str(service.status())
        assert service.stop() == OK
        assert searched.find((seen + "\n".join(service.said.all)).encode()) is None
