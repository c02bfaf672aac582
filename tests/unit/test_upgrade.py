"""A store's schema is brought up to date with a copy of the old store beside it, whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink.fault import NOINPUT, OK, TEMPFAIL, Fault
from sink.stores import opening, schema
from sink.stores.sqlite import SqliteStore
from tests.integration.asking import ask
from tests.judges.program import Program

Add = Callable[[str], None]
NEXT = f"{schema.version(opening.DIALECT) + 1:03}-next.sql"
COLUMN = "ALTER TABLE reject ADD COLUMN more TEXT;\n"


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Give the program one schema step more."""
    folder = tmp_path / "sql"
    shutil.copytree(schema.folder(), folder)

    def add_step(text: str) -> None:
        (folder / "sqlite" / NEXT).write_text(text)
        monkeypatch.setattr(schema, "folder", lambda: folder)
        schema.files.cache_clear()

    yield add_step
    schema.files.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.sqlite"
    with SqliteStore.create(path) as made:
        made.bind({"timezone": "UTC"}, {1: "0123456789abcdef"})
    return path


def columns(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    names = [row[1] for row in connection.execute("PRAGMA table_info(reject)")]
    connection.close()
    return names


def test_a_step_is_run_once_and_the_copy_goes(store: Path, add: Add) -> None:
    add(COLUMN)
    assert SqliteStore.upgrade(store) == [int(NEXT[:3])]
    assert columns(store)[-1] == "more"
    assert SqliteStore.upgrade(store) == []
    assert [path.name for path in store.parent.glob("s.sqlite*")] == ["s.sqlite"]


def test_the_copy_is_the_old_store(store: Path, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add(COLUMN)
    seen = []

    def look(path: Path) -> None:
        seen.append((columns(path), stat.S_IMODE(path.stat().st_mode), columns(store)))

    replaced = opening.rootonly.sync_folder
    monkeypatch.setattr(opening.rootonly, "sync_folder", lambda path: (look(path), replaced(path)))
    SqliteStore.upgrade(store)
    assert seen == [(columns(store)[:-1], 0o600, columns(store)[:-1])]


def test_a_step_that_fails_changes_nothing_and_leaves_the_copy(store: Path, add: Add) -> None:
    before = columns(store)
    add(COLUMN + "SELECT no_such_function();\n")
    with pytest.raises(Fault):
        SqliteStore.upgrade(store)
    assert columns(store) == columns(opening.copy_of(store)) == before
    add(COLUMN)
    assert SqliteStore.upgrade(store) == [int(NEXT[:3])]
    assert not opening.copy_of(store).exists()


def test_without_room_for_the_copy_nothing_is_changed(store: Path, add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    add(COLUMN)
    real = opening.connect

    def small(path: Path, mode: str) -> sqlite3.Connection:
        connection = real(path, mode)
        if path.name.endswith(".new"):
            connection.execute(f"PRAGMA page_size = {opening.PAGE_SIZE}")
            connection.execute("PRAGMA max_page_count = 2")
        return connection

    monkeypatch.setattr(opening, "connect", small)
    with pytest.raises(Fault) as caught:
        SqliteStore.upgrade(store)
    assert caught.value.status == TEMPFAIL
    assert "more" not in columns(store)
    assert [path.name for path in store.parent.glob("s.sqlite*")] == ["s.sqlite"]


def test_before_the_first_start_there_is_nothing_to_upgrade(tmp_path: Path) -> None:
    program = Program(tmp_path / "postsink")
    answer = ask(program, "db", "upgrade", "--local")
    assert (answer.status, answer.out) == (OK, "the store: is not there yet\n")
    assert ask(program, "db", "upgrade").status == NOINPUT
    assert not program.store.exists()


def test_what_is_enabled_is_taken_back_though_the_config_is_wrong(tmp_path: Path) -> None:
    program = Program(tmp_path / "postsink")
    program.config.write_text("no such key: 1\n")
    assert ask(program, "disable", "syslog-ng", "--dry-run").status == OK
