"""Makes installations whose rows a report can tell much of, and a browser."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.generate import TOKEN
from tests.judges.program import ROOT, Program
from tests.report import browser as browsers

LINES = 60_000
DAYS = 19  # over which the generated minutes are spread


def installed(folder: Path) -> Program:
    """An installation with keys, for generated logs."""
    folder.mkdir()
    (folder / "tokens").write_text(f"{TOKEN.decode()}\n")
    (folder / "tokens").chmod(0o600)
    made = Program(
        folder, timezone="UTC", local_domains=["example.com"], header_tokens=str(folder / "tokens"),
        trusted_networks=["192.0.2.0/28"],
    )  # fmt: skip
    return made.make_keys()


def fill(program: Program, folder: Path, lines: int) -> None:
    """Import a generated log."""
    log = folder / "mail.log"
    with log.open("wb") as file:
        words = [sys.executable, "-m", "bench.generate", "--lines", str(lines)]
        subprocess.run(words, cwd=ROOT, stdout=file, check=True)
    program.import_files(log)
    log.unlink()


def spread(program: Program) -> None:
    """Move each message to a day of its own, let some mail answer other mail, and one lack what lines may not tell."""
    dice = random.Random(7)
    days: dict[bytes, int] = {}
    store = sqlite3.connect(program.store)
    store.create_function("day", 1, lambda one: 86_400 * days.setdefault(bytes(one), dice.randrange(DAYS)))
    store.execute("CREATE TEMP TABLE old AS SELECT * FROM delivery")
    names = [row[1] for row in store.execute("PRAGMA table_info(delivery)")]
    moved = {"logged_second": "logged_second + day(queue_id)", "first_seen": "first_seen + 1000000 * day(queue_id)",
             "date": "date + day(queue_id)"}  # fmt: skip
    store.execute("DELETE FROM delivery")
    columns = ", ".join(moved.get(name, f'"{name}"') for name in names)
    store.execute(f"INSERT INTO delivery SELECT {columns} FROM old")
    found = [one for (one,) in store.execute(
        "SELECT message_id FROM delivery WHERE date IS NOT NULL GROUP BY message_id ORDER BY min(date), message_id")]
    for place, one in enumerate(found):
        asked = found[max(0, place - 1 - int(dice.expovariate(1 / 20)))] if place % 3 == 0 else None
        if place == 6:
            asked = found[-1]  # an answer that is dated before
        store.execute("UPDATE delivery SET re_message_id = ? WHERE message_id = ?", (asked, one))
    first = "WHERE id IN (SELECT id FROM delivery WHERE status = 'sent' ORDER BY id LIMIT ?)"
    store.execute(f"UPDATE delivery SET sender_user = NULL, sender_domain = NULL, sender_kind = NULL {first}", (3,))
    store.execute(f"UPDATE delivery SET agent = NULL, message_size = NULL {first}", (2,))
    store.commit()
    store.close()


@pytest.fixture(scope="session")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Some weeks of mail, with headers, lists, answers, retries, refusals, and mail that expired."""
    folder = tmp_path_factory.mktemp("weeks")
    made = installed(folder / "installed")
    fill(made, folder, LINES)
    spread(made)
    return made


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Program:
    made = installed(tmp_path_factory.mktemp("empty") / "installed")
    made.run("db", "init")
    return made


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The hour of the demo."""
    made = installed(tmp_path_factory.mktemp("day") / "installed")
    made.import_files(ROOT / "demo/mail.log")
    return made


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browsers.Browser]:
    if browsers.program() is None:
        pytest.skip("chromium is not installed")
    opened = browsers.Browser(tmp_path_factory.mktemp("profile"))
    try:
        yield opened
    finally:
        opened.close()


