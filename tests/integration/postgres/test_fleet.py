"""Archives of a fleet go into the database, whoever reads them: processes of this machine, or workers of Dask."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink.fault import CONFIG, OK, TEMPFAIL
from tests.integration import fleet
from tests.integration.asking import ask, one_line, rows
from tests.integration.cluster import Cluster
from tests.integration.postgres.server import Database
from tests.integration.test_dask import DYING, drive
from tests.judges.program import Program

Make = Callable[..., Cluster]


@pytest.fixture(scope="module")
def files(log: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four hosts, two files each."""
    return fleet.rotated(tmp_path_factory.mktemp("fleet"), fleet.by_host(log.read_bytes(), 4), 2)


@pytest.fixture(scope="module")
def alone(with_keys: Program, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """What one process makes of them, in SQLite."""
    made = with_keys.sibling(tmp_path_factory.mktemp("alone") / "installed")
    answer = ask(made, "import", "--json", *files)
    assert answer.status == OK
    (made.folder / "summary").write_text(answer.out)
    return made


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Cluster] = []

    def one(workers: int, code: str = "") -> Cluster:
        (tmp_path / "cluster").mkdir()
        made.append(Cluster(tmp_path / "cluster", workers, code))
        return made[-1]

    yield one
    for cluster in made:
        cluster.stop()


def arrived(database: Database, served: Program, alone: Program) -> None:
    assert database.both() == rows(alone)
    assert rows(served) == []


def test_processes_of_this_machine(served: Program, database: Database, files: list[Path], alone: Program) -> None:
    """Their rows go by way of the local store, as one process's do."""
    answer = ask(served, "import", "--json", "--jobs", "2", *files)
    assert (answer.status, answer.err) == (OK, "")
    arrived(database, served, alone)
    assert json.loads(answer.out) == json.loads((alone.folder / "summary").read_text())


def test_workers_of_dask(
    make: Make, served: Program, database: Database, files: list[Path], alone: Program
) -> None:
    """Each writes there itself; the local store sees no row."""
    place = make(2).place
    answer = ask(served, "import", "--json", "--scheduler", place, *files)
    assert (answer.status, answer.err) == (OK, "")
    arrived(database, served, alone)
    assert json.loads(answer.out) == json.loads((alone.folder / "summary").read_text())
    again = json.loads(ask(served, "import", "--json", "--scheduler", place, *files).out)
    assert (again["deliveries"], again["rejects"]) == (0, 0)


def test_a_worker_is_killed(make: Make, served: Program, database: Database, files: list[Path], alone: Program) -> None:
    cluster = make(3, DYING.format(number=1))
    assert drive(served, "sharing.LARGE = 100", "import", "--scheduler", cluster.place, *files).status == OK
    assert (cluster.folder / "killed").exists()
    arrived(database, served, alone)


def test_the_database_is_away(make: Make, served: Program, database: Database, files: list[Path]) -> None:
    """A worker tries for a while, and says so then."""
    cluster = make(1, "errands._TRIES = 1")
    with database.away():
        answer = ask(served, "import", "--scheduler", cluster.place, *files)
    one_line(answer, TEMPFAIL, "a Dask worker says: the database does not take the rows", "later")


def test_a_database_of_another_key(
    make: Make, served: Program, database: Database, files: list[Path], tmp_path: Path
) -> None:
    cluster = make(1)
    database.run("UPDATE epoch SET check_value = '0123456789abcdef'")
    answer = ask(served, "import", "--scheduler", cluster.place, *files)
    one_line(answer, CONFIG, "a Dask worker says: the database has rows under another key")
    assert database.count() == 0
