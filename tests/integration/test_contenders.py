"""Who takes part in `make bench` reads the log, all of it, and postsink makes the same rows in each of its ways."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from bench import bench, contenders, measure, mixes, table
from bench.contenders import BARE, IMPORT, PFLOGSUMM, READING, SCRUB
from bench.measure import Run
from tests.integration.postgres.server import programs

LINES = 4_000
PEERS = (PFLOGSUMM, "postfix-logsums", "logwatch")


@pytest.fixture(autouse=True)
def _own_logs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `make bench` keeps is not touched."""
    monkeypatch.setattr(measure, "CACHE", tmp_path_factory.mktemp("logs"))


def test_all_take_part_and_make_the_same_rows(capfd: pytest.CaptureFixture[str]) -> None:
    bench.main(["--lines", str(LINES), "--rounds", "1", "--json"])  # its status is of speed: not for here
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert list(told)[:3] == [READING, IMPORT, BARE]
    for name in ("... into PostgreSQL", *PEERS):
        assert (name in told) != (f"{name.rpartition(' ')[2]} is not installed: left out." in err), name
    rows = {name: of["rows"] for name, of in told.items() if of["rows"] is not None}
    hosts = {name: rows.pop(name) for name in list(rows) if "hosts" in name or "--jobs" in name}
    assert {IMPORT, BARE, "... of .gz"} <= set(rows)
    assert ("... into PostgreSQL" in rows) == (programs() is not None)
    assert len(set(rows.values())) == 1 and rows[IMPORT] > LINES / 15
    assert list(hosts) == ["... of 4 hosts", "... of these, --jobs 2"] and len(set(hosts.values())) == 1
    for name in ("omprog --direct", "omprog and daemon", SCRUB, "zcat"):
        assert told[name]["lines"] == LINES and told[name]["wall"] > 0 and told[name]["megabytes"] > 1, name
    assert told[READING]["floor"] == 1


@pytest.mark.parametrize("name", PEERS)
def test_another_program_reads_all_lines(name: str, tmp_path: Path) -> None:
    """What it counts stands in the log so often."""
    log = measure.made_log(LINES, 1)
    command = contenders.report(name, log)
    if not command:
        pytest.skip(f"{name} is not installed: packaging/prepare debian")
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
    text = log.read_text()
    if name == "logwatch":
        said = {"Connections": r"smtpd\[\d+\]: connect from", "Postscreen": r" postfix/postscreen\["}
    else:
        said = {"delivered": "status=sent ", "deferrals": "status=deferred ", "bounced": "status=bounced "}
    for word, pattern in said.items():
        found = re.search(rf"(\d+) +{word}", done.stdout)
        assert found and int(found[1]) == len(re.findall(pattern, text)) > 10, word


def test_a_log_with_old_times_is_the_same_log() -> None:
    """postsink makes as many deliveries of it."""
    log = measure.made_log(LINES, 1)
    old = measure.dated(log).read_bytes().splitlines()
    assert [line[15:] for line in old] == [line[32:] for line in log.read_bytes().splitlines()]
    assert all(re.match(rb"Nov  2 08:0\d:\d\d \w", line) for line in old)


def test_each_mix_has_its_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--mix", "all", "--lines", "1500", "--rounds", "1"]) == 0
    head, *lines = capfd.readouterr().out.splitlines()
    assert head.startswith("of 1,500 lines") and head.endswith(table.MIXED[-1].head)
    names = [re.split("  +", line)[0] for line in lines]
    assert names == ["public", "public, headers of none", "public, headers of all", *list(mixes.MIXES)[1:]]


def test_a_figure_is_the_median_and_a_ratio_of_lines() -> None:
    runs = {
        READING: [Run(1, 5, 1)] * 3,
        IMPORT: [Run(12, 50, 13, 7), Run(10, 40, 11, 7), Run(8, 60, 9, 7)],
        PFLOGSUMM: [Run(5, 20, 5)] * 3,
        "half": [Run(5, 20, 5)] * 3,
    }
    told = table.figures(runs, {READING: 100, IMPORT: 100, PFLOGSUMM: 100, "half": 50})
    assert told[IMPORT] == {
        "lines": 100, "lines_a_second": 10, "microseconds_a_line": 1e5, "seconds": 10, "wall": 11, "megabytes": 60,
        "rows": 7, "floor": 10, "pflogsumm": 0.5, "spread": 0.4,
    }  # fmt: skip
    assert told["half"]["floor"] == 10 and told["half"]["pflogsumm"] == 0.5
    del runs[PFLOGSUMM]
    assert table.figures(runs, dict.fromkeys(runs, 100))[IMPORT]["pflogsumm"] is None


@pytest.mark.parametrize(("speed", "memory", "scrub", "words"), [
    (300_000, 60, 150_000, []),
    (299_999, 60, 150_000, ["bench: postsink import is below the floor of 300,000 lines per CPU second."]),
    (300_000, 61, 150_000, ["bench: postsink import is above the limit of 60 MB."]),
    (400_000, 10, 150_000, ["bench: postsink scrub has less than 0.5 of postsink import's speed."]),
])  # fmt: skip
def test_what_is_asked_is_told_where_it_is_missed(
    speed: float, memory: float, scrub: float, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told: dict[str, table.Figures] = {
        IMPORT: {"lines_a_second": speed, "megabytes": memory}, SCRUB: {"lines_a_second": scrub},
    }  # fmt: skip
    assert bench.missed(told, bench.options([])) == bool(words)
    assert capsys.readouterr().err.splitlines() == words


def test_only_the_table_of_the_page_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table has marks of its own, and all else stays as it is."""
    page = tmp_path / "performance.md"
    before = table.PAGE.read_text()
    page.write_text(before)
    monkeypatch.setattr(table, "PAGE", page)
    told: dict[str, table.Figures] = {"one": {"bare": 1, "import": 2, "rows": 3, "floor": 4, "pflogsumm": None}}
    table.document("bench-mixes", "of 9 lines", told, table.MIXED)
    after = page.read_text()
    assert "\n| of 9 lines | µs a line, no store | " in after and "\n| one | 1.00 | 2.00 | 3 | 4.0 |  |\n" in after
    mark = "<!-- make bench-mixes -->\n"
    assert after.partition(mark)[0] == before.partition(mark)[0]
    assert after.partition(mark)[2].partition("<!-- -->")[2] == before.partition(mark)[2].partition("<!-- -->")[2]
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="has no place"):
        table.document("bench-mixes", "of 9 lines", told, table.MIXED)


@pytest.mark.parametrize(("target", "columns"), [("bench-docs", table.COLUMNS), ("bench-mixes", table.MIXED)])
def test_the_tables_of_the_page_have_the_columns_of_today(target: str, columns: tuple[table.Column, ...]) -> None:
    written = table.PAGE.read_text().partition(f"<!-- make {target} -->\n")[2].partition("<!-- -->")[0]
    head, *rows = (line.strip("|").split("|") for line in written.split("\n") if line.startswith("| "))
    assert [cell.strip() for cell in head[1:]] == [column.head for column in columns]
    assert rows and {len(row) for row in rows} == {len(head)}
