"""A store whose WAL is cut at any byte, as after a loss of power, opens to an exact prefix of what was sent."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from sink.fault import OK
from tests.integration.asking import ask, rows
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program

CUTS = 60
Content = tuple[tuple[object, ...], ...]


def content(store: Path) -> Content:
    """All rows and open messages, for comparison."""
    connection = sqlite3.connect(store)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = []
        for table in ("delivery", "reject", "open_message"):
            found += connection.execute(f"SELECT '{table}', * FROM {table} ORDER BY 2, 3").fetchall()
        return tuple(found)
    finally:
        connection.close()


def copied(live: Program, target: Path) -> Path:
    target.mkdir()
    for name in ("s.sqlite", "s.sqlite-wal"):
        shutil.copy2(live.folder / name, target / name)
    return target / "s.sqlite"


@pytest.fixture
def grown(live: Program, some_lines: list[bytes], tmp_path: Path) -> tuple[Program, list[Content]]:
    """A killed daemon's store whose whole story is in the WAL, and its content after each line that was confirmed."""
    states: list[Content] = []
    assert ask(live, "db", "init").status == OK
    with Service(live) as service:
        reader = sqlite3.connect(f"file:{live.store}?mode=ro", uri=True)
        try:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM delivery").fetchone()  # while this is open, nothing is checkpointed
            for number, line in enumerate(some_lines[:400]):
                assert deliver(service.stream, [line]) == 1
                states.append(content(copied(live, tmp_path / f"at-{number}")))
                shutil.rmtree(tmp_path / f"at-{number}")
            service.kill()
            copied(live, tmp_path / "whole")
        finally:
            reader.close()
    return live, states


def test_a_cut_wal_holds_a_prefix(
    grown: tuple[Program, list[Content]], some_lines: list[bytes], some_imported: Program, tmp_path: Path
) -> None:
    live, states = grown
    dice = random.Random()
    whole = tmp_path / "whole"
    size = (whole / "s.sqlite-wal").stat().st_size
    first = states[0]
    for number in range(CUTS):
        folder = tmp_path / f"cut-{number}"
        shutil.copytree(whole, folder)
        at = dice.randrange(size)
        with open(folder / "s.sqlite-wal", "r+b") as wal:
            wal.truncate(at)
        found = content(folder / "s.sqlite")
        assert found in states or len(found) < len(first), f"cut at {at} of {size}"
        if number % 15 == 0:
            goes_on(live, folder, states.index(found) + 1 if found in states else 0, some_lines, some_imported)
        shutil.rmtree(folder)


def goes_on(live: Program, folder: Path, held: int, lines: list[bytes], imported: Program) -> None:
    """The daemon goes on with what is left, and the lines behind it make the store whole."""
    for name in ("s.sqlite", "s.sqlite-wal", "s.sqlite-shm"):
        (live.folder / name).unlink(missing_ok=True)
        if (folder / name).exists():
            shutil.copy2(folder / name, live.folder / name)
    with Service(live) as service:
        assert deliver(service.stream, lines[held:], 100) == len(lines) - held
        assert service.stop() == 0
    same_rows(live, imported)
    assert rows(live)
