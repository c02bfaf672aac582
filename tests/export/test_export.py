"""The command: what it writes by default and when asked, and when it writes nothing."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sink import arguments
from sink.fault import CANTCREATE, DATA, NOINPUT, NOPERM, OK, TEMPFAIL, UNAVAILABLE, USAGE, Fault
from sink.stores.staging import Staging
from sink.tools import export
from sink.tools.exporting import coarse, files, treatments
from tests.export.conftest import DEFAULTS, EVERYTHING, SETTINGS, Export, exported
from tests.export.world import World
from tests.integration.asking import Answer, ask, command, environment, one_line
from tests.integration.epochs import BOUND, put, ring_of, with_bounds
from tests.integration.live.service import eventually
from tests.integration.owned import NOBODY, ask_who, owned
from tests.judges.program import ROOT, Program
from tests.unit.test_docs import cells, section, view_columns

TOKEN = re.compile(r"[0-9a-f]{32}")
Row = dict[str, str]


def read(folder: Path, table: str = "delivery") -> list[Row]:
    with (folder / f"{table}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def tokens(folder: Path) -> set[str]:
    return {token for path in folder.iterdir() if path.suffix == ".csv" for token in TOKEN.findall(path.read_text())}


def stored(program: Program) -> set[str]:
    rows = [*program.rows("delivery_text"), *program.rows("reject_text")]
    return {token for row in rows for value in row.values() for token in TOKEN.findall(str(value))}


def left(program: Program, before: set[str]) -> set[str]:
    return {path.name for path in program.folder.iterdir()} - before


# -- columns


@pytest.mark.parametrize("table", ["delivery", "reject"])
def test_each_column_has_a_treatment(table: str) -> None:
    """A new one isn't exported until it has: the list is what is allowed."""
    assert sorted(treatments.TREATMENTS[table]) == sorted(view_columns(f"{table}_text"))
    columns = (ROOT / "docs/columns.md").read_text()
    listed = cells(section(columns, f"## {table}_text").partition("\n### ")[0], 0)
    assert list(treatments.TREATMENTS[table]) == listed, "in the order of the docs"


def test_a_column_without_a_treatment_is_not_exported(lab: Program, tmp_path: Path) -> None:
    program = lab.sibling(tmp_path / "new")
    program.run("db", "init")
    with sqlite3.connect(lab.store) as source, sqlite3.connect(program.store) as store:
        source.backup(store)
        (view,) = store.execute("SELECT sql FROM sqlite_schema WHERE name = 'delivery_text'").fetchone()
        store.execute("DROP VIEW delivery_text")
        store.execute(view.replace("FROM delivery", ", 'raw' AS helo FROM delivery"))
    source.close()
    store.close()
    assert exported(program, "out", "--k", "2", "--time", "day", *EVERYTHING).status == OK
    assert "raw" not in (program.folder / "out/delivery.csv").read_text()


def test_the_words_of_the_command_line_are_those_of_the_export() -> None:
    assert tuple(treatments.ASKED) == arguments.ASKED
    assert (coarse.TIMES, coarse.SIZES, files.FORMATS) == (arguments.TIMES, arguments.SIZES, arguments.FORMATS)
    needed = {one.asked for table in treatments.TREATMENTS.values() for one in table.values()} - {""}
    assert needed == set(treatments.ASKED)


@pytest.mark.parametrize(("number", "lower"), [(0, 0), (1, 1), (2, 2), (3, 2), (4095, 2048), (4096, 4096)])
def test_a_size_is_the_power_of_two_below(number: int, lower: int) -> None:
    assert coarse.size("log2")(number) == lower
    assert coarse.size("exact")(number) == number


@pytest.mark.parametrize(("seconds", "lower"), [(0, 0), (0.12, 0), (0.125, 0.125), (0.99, 0.5), (1, 1), (700, 512)])
def test_a_delay_is_the_power_of_two_below(seconds: float, lower: float) -> None:
    assert coarse.delay("hour")(seconds) == lower
    assert coarse.delay("second")(seconds) == seconds


@pytest.mark.parametrize(("points", "whole"), [(4.9, 4), (-0.1, -1), (-2.0, -2)])
def test_a_score_is_its_whole_points(points: float, whole: int) -> None:
    assert coarse.score(points) == whole


@pytest.mark.parametrize(
    ("width", "cut"),
    [("second", "2026-11-02T07:09:12Z"), ("minute", "2026-11-02T07:09:00Z"), ("hour", "2026-11-02T07:00:00Z"),
     ("day", "2026-11-02T00:00:00Z")],
)  # fmt: skip
def test_a_time_is_cut(width: str, cut: str) -> None:
    assert coarse.time(width)("2026-11-02T07:09:12.391936Z") == cut


# -- what is written


def test_all_is_coarse_by_default(day: Path, host: Program) -> None:
    rows = read(day)
    assert {row["logged_at"][13:] for row in rows} == {":00:00Z"}
    for name in ("message_size", "recipients"):
        assert all(int(row[name]).bit_count() == 1 for row in rows if row[name])
    for name in ("delay", "delay_before_queue", "delay_in_queue", "delay_connect", "delay_transmit"):
        values = {float(row[name]) for row in rows if row[name]}
        assert values <= {0.0, *(2.0**power for power in range(-3, 30))}
        assert name in ("delay_in_queue", "delay_connect") or len(values) > 4
    missing = {"id", "queue_id", "message_id", "host", "instance", "relay", "from", "first_seen_at", "delays"}
    assert not missing & rows[0].keys()
    assert "mx1" not in (day / "delivery.csv").read_text()
    assert len(rows) > 0.99 * len(host.rows())


def test_values_are_those_of_the_store(world: World, host: Program, day: Path) -> None:
    """Counted in another way: what is not blank is as often as in the store."""
    ours = Counter(
        (row["logged_at"][:13], 1 << row["message_size"].bit_length() - 1, row["status"]) for row in host.rows()
    )
    theirs = Counter((row["logged_at"][:13], int(row["message_size"] or 0), row["status"]) for row in read(day))
    assert all(number <= ours[key] for key, number in theirs.items() if key[1])
    assert sum(number for key, number in theirs.items() if key[1]) > 0.97 * ours.total()


def test_rows_are_shuffled(day: Path, host: Program) -> None:
    """The place in the file tells nothing of the time, nor which rows were neighbours."""
    hours = [row["logged_at"] for row in read(day)]
    alike = sum(one == other for one, other in pairwise(hours)) / len(hours)
    by_chance = sum((number / len(hours)) ** 2 for number in Counter(hours).values())
    assert abs(alike - by_chance) < 0.01
    early = [hour < "2026-11-02T11" for hour in hours]
    middle = len(early) // 2
    assert abs(sum(early[:middle]) - sum(early[middle:])) < 0.02 * len(early)


def test_asked_for_all_it_re_keys_all(alike: Export, lab: Program) -> None:
    rows = read(alike("all", *EVERYTHING))
    source = lab.rows()
    for name, kind in treatments.chosen("delivery", treatments.ASKED).items():
        if "re-keyed" in kind.how and any(row[name] for row in source):
            values = {row[name] for row in rows} - {""}
            assert values, name
            assert len(values) <= len({row[name] for row in source}), name
    parties = {row["sender"] for row in rows} | {row["recipient"] for row in rows}
    headers = {one for row in rows for name in ("from", "to", "cc") for one in row[name].split()}
    assert len(headers & parties) > 3, "an address has one token in all columns"
    lists = Counter(len(row["to"].split()) for row in source if row["to"])
    assert Counter(len(row["to"].split()) for row in rows if row["to"]).keys() <= lists.keys()
    assert max(lists) > 1
    ids = {row["message_id"] for row in rows} - {""}
    assert {row["re_message_id"] for row in rows} & ids, "an answer names the message that it answers"


def test_two_data_sets_share_no_token_nor_does_the_store(alike: Export, lab: Program) -> None:
    ways = {
        "one": (), "other-release": ("--release", "2026-2"), "other-recipient": ("--recipient", "Example Institute"),
        "shifted": ("--recipient", "Example University6", "--release", "026-1"),
    }  # fmt: skip
    found = {name: tokens(alike(name, *EVERYTHING, *way)) for name, way in ways.items()}
    assert all(len(some) > 50 for some in found.values())
    sets = [*found.values(), stored(lab)]
    assert sum(map(len, sets)) == len(set().union(*sets))
    assert tokens(alike("again", *EVERYTHING)) == found["one"]


def test_a_user_is_bound_to_its_domain(tmp_path: Path) -> None:
    program = Program(tmp_path / "postsink", **SETTINGS).make_keys()
    mails = [(f"postmaster@{domain}", f"p{n}@example.com") for n, domain in enumerate(("a.example", "b.example") * 2)]
    program.import_files(stdin=log_of(mails), options=["--year", "2026"])
    assert exported(program, "out", "--k", "2", "--time", "day", "--with", "address").status == OK
    senders = {row["sender"] for row in read(program.folder / "out")}
    assert len(senders) == len({one.partition("@")[0] for one in senders}) == 2
    users = {row["sender"].partition("@")[0] for row in program.rows()}
    assert len(users) == 1, "where the store has one pseudonym"


def log_of(mails: list[tuple[str, str]], second: int = 1_793_606_400) -> bytes:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000+00:00 mx1 postfix/")
    return "".join(
        f"{at}smtpd[1]: 4A{second % 1000:03}{n:04X}: client=c[203.0.113.7]\n"
        f"{at}qmgr[1]: 4A{second % 1000:03}{n:04X}: from=<{sender}>, size=1000, nrcpt=1 (queue active)\n"
        f"{at}lmtp[1]: 4A{second % 1000:03}{n:04X}: to=<{recipient}>, relay=m[/run/l], delay=1, delays=1/0/0/0,"
        " dsn=2.0.0, status=sent (250 ok)\n"
        for n, (sender, recipient) in enumerate(mails)
    ).encode()


def test_queue_ids_are_re_keyed_also_where_they_are_kept_plain(tmp_path: Path) -> None:
    program = Program(tmp_path / "postsink", **SETTINGS, queue_id="plain").make_keys()
    program.import_files(stdin=log_of([(f"a{n}@example.net", f"p{n}@example.com") for n in range(9)]))
    assert exported(program, "out", *EVERYTHING).status == OK
    rows = read(program.folder / "out")
    assert all(TOKEN.fullmatch(row["queue_id"]) for row in rows)
    assert "4A400" in program.rows()[0]["queue_id"]
    assert "4A400" not in (program.folder / "out/delivery.csv").read_text()


def test_parquet_holds_the_same(alike: Export) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = read(alike("as-csv", *EVERYTHING))
    table = parquet.read_table(alike("as-parquet", *EVERYTHING, "--format", "parquet") / "delivery.parquet")
    assert str(table.schema.field("logged_at").type) == "timestamp[ms, tz=UTC]"
    assert str(table.schema.field("message_size").type) == "int64"
    rows = [
        {name: "" if value is None else f"{value:%Y-%m-%dT%H:%M:%SZ}" if name == "logged_at" else str(value)
         for name, value in row.items()}
        for row in table.to_pylist()
    ]  # fmt: skip
    assert sorted(map(repr, rows)) == sorted(map(repr, texts))


def test_memory_does_not_hold_the_rows(host: Program) -> None:
    """Some 110,000 of them, of 25 values: as objects they would take more than 250 MB."""
    code = (
        "import sys; from pathlib import Path; from sink import cli; status = cli.main(sys.argv[1:]);"
        " print(Path('/proc/self/status').read_text()); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", host.config, "export", *DEFAULTS, "--output", "lean"],
        check=True, capture_output=True, text=True, cwd=host.folder, env=environment(),
    )  # fmt: skip
    assert len(host.rows()) > 90_000
    assert int(done.stdout.split("VmHWM:")[1].split()[0]) < 130_000  # kB


def test_a_range_is_kept_to(host: Program) -> None:
    answer = exported(host, "morning", "--since", "2026-11-02T08:00", "--until", "2026-11-02T10:00")
    assert answer.status == OK
    for table in ("delivery", "reject"):
        hours = {row["logged_at"] for row in read(host.folder / "morning", table)}
        assert hours == {"2026-11-02T08:00:00Z", "2026-11-02T09:00:00Z"}
    one_line(exported(host, "half", "--since", "2026-11-02T08:30"), USAGE, "must be a whole hour")


def test_it_is_its_owners_alone_and_nothing_else_is_left(day: Path, host: Program) -> None:
    assert stat.S_IMODE(day.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in day.iterdir()} == dict.fromkeys(
        ("delivery.csv", "reject.csv", "manifest.json"), 0o600
    )
    assert not list(host.folder.glob(".*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; run it as root")
def test_of_root_it_is_the_installations_owner_who_writes() -> None:
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        program = owned(folder, NOBODY, local_domains=SETTINGS["local_domains"])
        program.run("keys", "init")
        program.import_files(stdin=log_of([(f"a{n}@example.net", f"p{n}@example.com") for n in range(9)]))
        answer, who = ask_who(program, "export", *DEFAULTS, "--output", "../lib/set")
        assert answer.status == OK
        assert who.is_only(NOBODY)
        assert {path.stat().st_uid for path in [folder / "lib/set", *(folder / "lib/set").iterdir()]} == {NOBODY}
        answer, _ = ask_who(program, "export", *DEFAULTS, "--output", "elsewhere")
        assert answer.status == NOPERM
    finally:
        shutil.rmtree(folder)


# -- the manifest


def test_the_manifest_is_true(day: Path, host: Program) -> None:
    told = manifest(day)
    assert told["recipient"], told["release"] == DEFAULTS[1::2]
    assert (told["k"], told["time"], told["size"], told["with"]) == (5, "hour", "log2", [])
    assert told["program"].startswith("postsink ")
    for table in ("delivery", "reject"):
        one, rows = told["files"][f"{table}.csv"], read(day, table)
        assert one["sha256"] == hashlib.sha256((day / f"{table}.csv").read_bytes()).hexdigest()
        assert one["rows"] == len(rows) == one["rows_by_epoch"]["1"]
        assert one["rows"] + one["suppressed"]["too few rows alike"] == len(host.rows(f"{table}_text"))
        assert list(one["columns"]) == list(rows[0])
        assert one["columns"].keys() | one["left_out"].keys() == set(view_columns(f"{table}_text"))
        known = [name for name, column in one["columns"].items() if column["known"]]
        classes = Counter(tuple(row[name] for name in known) for row in rows)
        assert one["smallest_class"] == min(classes.values()) >= 5
        for name, column in one["columns"].items():
            nothing = sum(row[name] == "" for row in rows)
            assert column["gave_way"] <= nothing
            assert column["gave_way"] == nothing or column["gave_way"] == 0, name


# -- epochs


def two_epochs(tmp_path: Path) -> Program:
    program = Program(tmp_path / "postsink", **SETTINGS).make_keys()
    with_bounds(program, BOUND)
    for second in (BOUND - 7_200, BOUND + 3_600):
        program.import_files(stdin=log_of([(f"a{n}@example.net", f"p{n}@example.com") for n in range(9)], second))
    return program


def test_an_address_of_two_epochs_has_two_tokens(tmp_path: Path) -> None:
    program = two_epochs(tmp_path)
    assert exported(program, "out", "--with", "address").status == OK
    rows = read(program.folder / "out")
    by_epoch = {epoch: {row["sender"] for row in rows if row["epoch"] == epoch} for epoch in ("1", "2")}
    assert [len(some) for some in by_epoch.values()] == [9, 9]
    assert not by_epoch["1"] & by_epoch["2"]
    told = manifest(program.folder / "out")
    assert told["epochs"] == dict.fromkeys(("1", "2"), "tokens under a key of the sender's")
    assert told["files"]["delivery.csv"]["rows_by_epoch"] == {"1": 9, "2": 9}


def test_with_an_epochs_key_goes_what_could_make_its_tokens(tmp_path: Path) -> None:
    program = two_epochs(tmp_path)
    for name in ("before", "once-more"):
        assert exported(program, name, "--with", "address").status == OK
    assert tokens(program.folder / "before") == tokens(program.folder / "once-more")
    put(program, ring_of(program).without(1))
    for name in ("after", "later"):
        assert exported(program, name, "--with", "address").status == OK
    assert manifest(program.folder / "after")["epochs"]["1"] == "tokens by chance: the key is destroyed"
    kept = {row["sender"] for row in read(program.folder / "before") if row["epoch"] == "2"}
    for name in ("after", "later"):
        assert {row["sender"] for row in read(program.folder / name) if row["epoch"] == "2"} == kept
    olds = [
        {row["sender"] for row in read(program.folder / name) if row["epoch"] == "1"}
        for name in ("before", "after", "later")
    ]  # fmt: skip
    assert sum(map(len, olds)) == len(set().union(*olds)) == 27


# -- when nothing is written


def test_rows_that_are_too_few_are_refused(lab: Program) -> None:
    before = {path.name for path in lab.folder.iterdir()}
    one_line(exported(lab, "few", "--time", "second", "--size", "exact"), DATA, "fewer than 5 alike", "coarser --time")
    assert left(lab, before) == set()


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    program = Program(tmp_path / "postsink").make_keys()
    one_line(exported(program, "out"), NOINPUT, "there is no store")
    program.run("db", "init")
    one_line(exported(program, "out"), DATA, "no rows to export")
    assert left(program, set()).isdisjoint({"out", ".out.part"})


def wanted(folder: Path, **more: Any) -> export.Wanted:
    made = export.Wanted("A", "1", folder, "csv", None, None, "day", "log2", 5, frozenset())
    return made._replace(**more)


def test_a_check_that_fails_leaves_nothing(host: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a fault of ours let rows pass that are alone: the file is looked at again."""
    from sink import config

    def all_pass(staging: Staging, least: int) -> list[int]:
        return [staging._connection.execute("UPDATE staged SET level = 0").rowcount]

    monkeypatch.setattr(Staging, "settle", all_pass)
    with pytest.raises(Fault, match=r"the check of delivery\.csv failed, so nothing is exported") as caught:
        export.run(config.load(host.config), wanted(tmp_path / "out"))
    assert caught.value.status == DATA
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten(lab: Program) -> None:
    (lab.folder / "there").mkdir()
    one_line(exported(lab, "there", "--k", "2", "--time", "day"), CANTCREATE, "exists already")
    one_line(exported(lab, "no/where", "--k", "2", "--time", "day"), CANTCREATE, "where")


def test_what_a_killed_one_left_goes(alike: Export, lab: Program) -> None:
    beside = lab.folder / ".after-kill.part"
    beside.mkdir()
    (beside / "delivery.staging").write_text("rows")
    lock = os.open(beside, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    one_line(exported(lab, "after-kill", "--k", "2"), TEMPFAIL, "another export is writing")
    assert (beside / "delivery.staging").exists()
    os.close(lock)
    assert alike("after-kill").is_dir()
    assert not beside.exists()


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, TEMPFAIL), (signal.SIGKILL, -signal.SIGKILL)])
def test_one_that_is_stopped_has_made_nothing(how: signal.Signals, status: int, host: Program) -> None:
    """Whenever that is; what a killed one left beside is gone with the next of that name."""
    words = ["export", *DEFAULTS, "--output", f"stopped-{how}"]
    beside = host.folder / f".stopped-{how}.part"
    with subprocess.Popen(
        [*command(host), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=host.folder, env=environment()
    ) as process:
        staging = beside / "delivery.staging"
        eventually(lambda: staging.exists() and staging.stat().st_size > 1_000_000, 60)
        assert stat.S_IMODE(beside.stat().st_mode) == 0o700
        assert stat.S_IMODE(staging.stat().st_mode) == 0o600
        process.send_signal(how)
        process.communicate()
    assert process.returncode == status
    assert beside.exists() == (how is signal.SIGKILL)
    assert not (host.folder / f"stopped-{how}").exists()
    if how is signal.SIGKILL:
        assert ask(host, *words).status == OK
        assert not beside.exists()


def test_parquet_without_pyarrow_says_what_to_install(lab: Program, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    answer = ask_with(lab, tmp_path, "export", *DEFAULTS, "--output", "out", "--format", "parquet")
    one_line(answer, UNAVAILABLE, "needs pyarrow", "postsink[parquet]")
    assert not (lab.folder / "out").exists()


def ask_with(program: Program, folder: Path, *words: str) -> Answer:
    """Run with a folder of modules that come first."""
    done = subprocess.run(
        [sys.executable, "-m", "sink", "--config", str(program.config), *words], capture_output=True, text=True,
        check=False, cwd=program.folder, env={**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"},
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("option", ["--recipient", "--release", "--with", "--k", "--time", "--format", "--since"])
def test_what_is_typed_is_not_repeated(option: str, lab: Program) -> None:
    """It may be an address, in the wrong place."""
    answer = exported(lab, "out", option, "alice@example.com")
    one_line(answer, USAGE)
    assert "alice" not in answer.err


def test_who_may_not_read_the_keyring_may_not_export(lab: Program) -> None:
    assert ask(lab, "export", "--recipient", "A", "--output", "out").status == USAGE
