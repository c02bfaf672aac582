"""The command: where the page goes, what it does without rows, and how it ends where something is missing."""

from __future__ import annotations

import os
import pty
import sqlite3
import stat
from pathlib import Path

import pytest

from bench import report
from sink.fault import CANTCREATE, CONFIG, NOINPUT, OK, UNAVAILABLE, USAGE
from sink.tools.report.questions import percentiles, within
from tests.integration.asking import ask, command, environment, one_line, said
from tests.judges.program import Program
from tests.report.reading import Read, number


def test_an_empty_store_is_no_error(empty: Program, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    answer = ask(empty, "report", "--output", page)
    assert answer.status == OK
    said(answer, "no rows")
    assert "No row was logged in this time." in page.read_text()
    assert Read(page.read_text()).tables == {}


def test_a_time_without_rows_is_one(day: Program) -> None:
    answer = ask(day, "report", "--since", "2031-01-01")
    assert answer.status == OK
    assert "No row was logged in this time." in answer.out
    assert "2031-01-01 00:00:00 UTC" in answer.out


def test_a_day_is_told_by_hour(day: Program) -> None:
    page = Read(ask(day, "report").out)
    (hour,) = page.tables["Mail by hour"]
    assert hour["hour"] == "2026-11-02 07"
    assert number(hour["incoming"]) + number(hour["outgoing"]) == day.query("SELECT count(*) FROM delivery_final")[0][0]


def test_years_are_told_by_month(day: Program, tmp_path: Path) -> None:
    other = day.sibling(tmp_path / "years")
    other.run("db", "init")
    with sqlite3.connect(other.store) as store:
        store.execute("ATTACH ? AS day", (str(day.store),))
        store.execute("INSERT INTO delivery SELECT * FROM day.delivery")
        # A message's only row, so that it is final whenever it was.
        alone = "GROUP BY host, queue_id HAVING count(*) = 1 AND status = 'sent' AND NOT is_internal"
        first = f"(SELECT id FROM delivery {alone} LIMIT 1)"
        store.execute(f"UPDATE delivery SET logged_second = logged_second - 2 * 366 * 86400 WHERE id = {first}")
    store.close()
    months = [row["month"] for row in Read(ask(other, "report").out).tables["Mail by month"]]
    assert months[0][:4] == "2024" and months[-1] == "2026-11" and len(months) >= 24
    assert len(set(months)) == len(months)


def test_it_goes_to_standard_output_and_to_a_file_alike(day: Program, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("older, and longer\n" * 100_000)
    assert ask(day, "report", "--output", page).status == OK
    answer = ask(day, "report", "--output", "-")
    assert Read(ask(day, "report", "--output", "/dev/stdout").out).tables == Read(answer.out).tables
    tables = Read(page.read_text()).tables
    assert Read(answer.out).tables == tables
    assert page.read_text().endswith("</html>\n")


def test_the_file_is_its_makers_alone(day: Program, tmp_path: Path) -> None:
    ask(day, "report", "--output", tmp_path / "page.html")
    assert stat.S_IMODE((tmp_path / "page.html").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["page.html"]


def test_the_same_rows_make_the_same_page(day: Program) -> None:
    """But for the time when it was made, so that pages can be compared."""
    pages = [ask(day, "report").out for _ in range(2)]
    assert len({"".join(line for line in page.splitlines() if "<dt>Made" not in line) for page in pages}) == 1


def test_no_domain_is_named_unless_asked_for(weeks: Program) -> None:
    """Nor a small one, nor any user, nor a host, ever."""
    users = "SELECT DISTINCT lower(hex(sender_user)) FROM delivery WHERE length(sender_user) > 0"
    names = {name for (name,) in weeks.query(users)}
    few = {name for (name,) in weeks.query("""SELECT domain FROM (
        SELECT substr(recipient, 34) AS domain FROM delivery_final
        UNION ALL SELECT substr(sender, 34) FROM delivery_final
        ) WHERE domain <> '' GROUP BY 1 HAVING count(*) < 10""")}
    assert len(names) > 100 and few
    page = ask(weeks, "report", "--top", "100").out
    assert [name for name in names | few if name[:12] in page] == []
    assert ">mx1<" not in page and ">out1<" not in page
    largest = [row["domain"] for row in Read(page).tables["Mail to and from the largest domains"]]
    none = ask(weeks, "report", "--top", "0").out
    assert largest and [name for name in largest if name in none] == []


@pytest.mark.parametrize("words", [["--top", "101"], ["--top", "-1"], ["--since", "yesterday"], ["--top"], ["x"]])
def test_what_is_typed_wrong_is_told(words: list[str], day: Program) -> None:
    one_line(ask(day, "report", *words), USAGE)


def test_a_terminal_is_no_place_for_a_page(day: Program) -> None:
    ours, theirs = pty.openpty()
    try:
        one_line(ask(day, "report", stdout=theirs), USAGE, "--output")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_folder_that_is_missing_is_told(day: Program, tmp_path: Path) -> None:
    one_line(ask(day, "report", "--output", tmp_path / "nowhere/page.html"), CANTCREATE, "nowhere")


def test_where_it_fails_no_file_is_left(day: Program, tmp_path: Path) -> None:
    other = day.sibling(tmp_path / "other")
    one_line(ask(other, "report", "--output", tmp_path / "page.html"), NOINPUT, "postsink db init")
    assert not (tmp_path / "page.html").exists()


def test_a_store_of_an_older_postsink_is_told(day: Program, tmp_path: Path) -> None:
    other = day.sibling(tmp_path / "other")
    other.run("db", "init")
    with sqlite3.connect(other.store) as store:
        store.execute("PRAGMA user_version = 1")
    store.close()
    one_line(ask(other, "report"), CONFIG, "postsink db upgrade")


def test_without_matplotlib_one_line_says_so(day: Program, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError\n")
    wanted = {**environment(), "PYTHONPATH": f"{tmp_path}:{environment()['PYTHONPATH']}"}
    import subprocess

    done = subprocess.run(
        [*command(day), "report", "--output", str(tmp_path / "page.html")], env=wanted, capture_output=True, check=False
    )
    assert done.returncode == UNAVAILABLE
    assert b"apt-get install python3-matplotlib" in done.stderr and done.stderr.count(b"\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_settings_of_matplotlib_do_nothing(day: Program, tmp_path: Path) -> None:
    """Those of the folder where the command is typed, and of who types it: one could have it run a program."""
    want = ask(day, "report").out
    for folder in (day.folder, tmp_path):
        (folder / "matplotlibrc").write_text("font.size: 40\ntext.usetex: True\nsvg.fonttype: path\n")
    have = ask(day, "report").out
    (day.folder / "matplotlibrc").unlink()
    assert have.count("<text") == want.count("<text") > 100
    assert "40px" not in have


def test_it_writes_nothing_into_the_store(day: Program) -> None:
    before = {path.name: path.read_bytes() for path in day.folder.iterdir() if path.is_file()}
    ask(day, "report")
    after = {path.name: path.read_bytes() for path in day.folder.iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before


def test_many_rows_take_little_memory_and_time(tmp_path: Path) -> None:
    """A fifth of a million; python -m bench.report holds the whole against 15 s and 300 MB."""
    rows = report.multiply(report.install(tmp_path, 100_000), 200_000)
    assert rows >= 200_000
    cost = report.measure(tmp_path)
    assert cost.processor < 8, cost
    assert cost.memory < 300, cost


def test_percentiles_are_values_that_were_there() -> None:
    assert percentiles({}, (50,)) == []
    assert percentiles({3.0: 1}, (50, 99)) == [3.0, 3.0]
    assert percentiles({1.0: 90, 2.0: 9, 7.0: 1}, (50, 90, 95, 99, 100)) == [1.0, 1.0, 2.0, 2.0, 7.0]
    assert within({1.0: 90, 2.0: 9, 7.0: 1}, 2) == 99
