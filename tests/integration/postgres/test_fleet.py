"""Many hosts, one database: their keyrings are held against each other by the check values of the keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sink.fault import CONFIG, OK
from tests.integration.asking import ask, one_line, rows
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service, eventually, listening
from tests.integration.postgres.driving import RESTLESS
from tests.integration.postgres.server import Database
from tests.judges.program import Program, Row

ANOTHER = "the database has rows under another key for epoch 1; use the keyring of its fleet, or another database"


def bound(database: Database) -> list[tuple[object, ...]]:
    return database.ask("SELECT number, check_value, settings FROM epoch ORDER BY 1")


@pytest.fixture
def stranger(database: Database, tmp_path: Path) -> Program:
    """A host with a keyring of its own, that has a second epoch."""
    made = Program(tmp_path / "stranger", timezone="UTC").make_keys()
    made.run("keys", "rotate")
    return database.serve(made)


def test_another_key_is_refused(stranger: Program, database: Database, some_log: Path) -> None:
    """Nothing is written, not even the check value of an epoch that the database does not know; rows wait."""
    before = bound(database)
    one_line(ask(stranger, "import", some_log), CONFIG, ANOTHER)
    one_line(ask(stranger, "db", "init"), CONFIG, ANOTHER)
    assert (database.count(), bound(database)) == (0, before)


def test_the_daemon_goes_on_with_another_key(
    stranger: Program, database: Database, some_lines: list[bytes], home: Path
) -> None:
    """It says so in one line, and takes lines; under the right keyring the rows of the wrong one would be a mess."""
    live = database.serve(listening(stranger.sibling(home / "live")))
    before = bound(database)
    with Service(live, bug=RESTLESS) as service:
        assert service.said.ever(f"{ANOTHER}; rows wait in the store")
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        status = service.status()
        assert status["database"] == "refused" and status["outbox"]
        assert service.stop() == OK
        assert len([line for line in service.said.all if "another key" in line]) == 1
    assert (database.count(), bound(database)) == (0, before)
    assert len(rows(live)) == status["outbox"]


def test_other_settings_are_refused(served: Program, database: Database, some_log: Path) -> None:
    known = yaml.safe_load(served.config.read_text())
    served.config.write_text(yaml.safe_dump({**known, "cut_detail": False}))
    one_line(ask(served, "import", some_log), CONFIG, "made with other settings of addresses or queue ids")
    assert database.count() == 0


def test_another_zone_is_not(served: Program, database: Database, some_log: Path) -> None:
    """The hosts of a fleet may lie in several."""
    known = yaml.safe_load(served.config.read_text())
    served.config.write_text(yaml.safe_dump({**known, "timezone": "Asia/Tokyo"}))
    assert ask(served, "import", some_log).status == OK
    assert database.count()


def test_a_new_epoch_is_made_known(
    live: Program, database: Database, some_lines: list[bytes], wanted: list[Row]
) -> None:
    """By the daemon, when its keyring has one."""
    with Service(live, bug=RESTLESS) as service:
        assert ask(live, "keys", "rotate").status == OK
        eventually(lambda: [row[0] for row in bound(database)] == [1, 2])
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        eventually(lambda: database.count() == len(wanted))
        assert service.stop() == OK
    assert database.both() == wanted
