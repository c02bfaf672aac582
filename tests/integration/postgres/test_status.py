"""What the daemon says of a database that is away, and of rows that wait for it."""

from __future__ import annotations

import json

import pytest

from sink.fault import FINDINGS, OK
from tests.integration.asking import PATIENCE, ask
from tests.integration.live.confirming import deliver
from tests.integration.live.scraping import path_of, samples, scraping
from tests.integration.live.service import Service, eventually
from tests.integration.live.test_status import PERFORMANCE, checked
from tests.integration.postgres.driving import RESTLESS
from tests.integration.postgres.server import Database
from tests.judges.program import Program, Row
from tests.unit.test_docs import TOP, cells, section

pytest.importorskip("prometheus_client")

KEYS = cells(section((TOP / "docs/status.md").read_text(), "## The JSON object"), 0)


def test_a_database_that_is_away(live: Program, database: Database, some_lines: list[bytes], wanted: list[Row]) -> None:
    """Critical where rows are too old, a warning before that, and well when it is back; the last is remembered."""
    with database.away():
        service = Service(scraping(live), bug=RESTLESS)
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        service.said.ever("the database is away or busy")
        eventually(lambda: service.status()["outbox"] == len(wanted), PATIENCE)
        old, young = checked(live, "--max-wait", "1m"), checked(live, "--max-wait", "366d")
        answer = ask(live, "status")
        eventually(lambda: samples(path_of(live)).get(("postsink_outbox_rows", "")) == len(wanted), PATIENCE)
        away = samples(path_of(live))
    with service:
        service.said.until("the database is back")
        eventually(lambda: service.status()["outbox"] == 0, PATIENCE)
        eventually(lambda: service.status()["database"] == "well", PATIENCE)
        found = json.loads(ask(live, "status", "--json").out)
        back = checked(live)
        eventually(lambda: samples(path_of(live)).get(("postsink_outbox_rows", "")) == 0, PATIENCE)
        eventually(lambda: samples(path_of(live))["postsink_database_well", ""] == 1, PATIENCE)
        assert samples(path_of(live))["postsink_outbox_left_rows_total", ""] == len(wanted)
        assert service.stop() == OK
    assert (old.status, young.status, back.status) == (2, 1, OK)
    assert "wait for the database" in old.out and "wait for the database" not in young.out
    assert "the database: connection" in young.out
    assert f" outbox={len(wanted)} outbox_age=" in old.out and " outbox=0 outbox_age=0s;;3600;0" in back.out
    assert PERFORMANCE.fullmatch(back.out.partition(" | ")[2].rstrip("\n"))
    assert answer.status == FINDINGS
    assert (away["postsink_database_well", ""], away["postsink_outbox_left_rows_total", ""]) == (0, 0)
    assert away["postsink_database_trouble_timestamp_seconds", "connection"] >= found["started"] - 1
    assert 0 < away["postsink_outbox_oldest_timestamp_seconds", ""] < found["now"]
    assert f"outbox: {len(wanted):,} rows wait, the oldest logged 2026-11-02T08:00:" in answer.out
    assert (found["database"], found["outbox_since"], found["outbox_left"]) == ("well", None, len(wanted))
    assert found["last_trouble"]["class"] == "connection"
    assert found["started"] - 1 <= found["last_trouble"]["at"] <= found["now"]
    assert found.keys() == set(KEYS)
