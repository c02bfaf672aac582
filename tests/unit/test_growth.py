"""What the measurement of growth lets grow really grows; no time is taken here."""

from __future__ import annotations

import re
import sqlite3
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import bare, generate, growing, growth, model, sizing
from bench.climb import cut
from bench.curves import Curve, Figure, Part, Point, judged, middle
from bench.filled import cleared, each_held, fill
from bench.plots import draw
from sink.core.batch import Batch
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.stores.sqlite import SqliteStore

NUMBER = 700  # messages
CURVES = [
    Curve("no store", [Point(1_000, 7.0, 40.0), Point(100_000, 7.5, 60.0)]),
    Curve("SQLite", [Point(1_000, 9.0, 41.0, 300.0), Point(100_000, 9.9, 62.0, 310.0)]),
]


def fed(pipe: Pipeline, chunk: bytes) -> Batch:
    return pipe.feed(chunk.split(b"\n")[:-1])


def traffic(lines: int = 4_000) -> bytes:
    out = BytesIO()
    generate.write(out, lines, 1)
    return out.getvalue()


def test_so_many_messages_are_open() -> None:
    """Each has its row, none ended, and none is looked at while the traffic goes over them."""
    pipe = bare.pipeline(journal=False)
    rows = [row for chunk in growing.standing(NUMBER) for row in fed(pipe, chunk).rows]
    assert pipe.standing().open_messages == NUMBER
    assert len(rows) == pipe.counts["delivery_lines"] == NUMBER
    assert pipe.counts["not_understood"] == 0
    fed(pipe, traffic())
    assert not pipe.counts["forgotten_never_active"] + pipe.counts["forgotten_too_many"]
    assert pipe.standing().open_messages > NUMBER


def test_what_stands_is_over_before_the_traffic_begins() -> None:
    """An hour and more before, so that no message is looked at as one that never was active; clocks never jump."""
    chunks = list(growing.standing(NUMBER))
    times = sorted(set(re.findall(rb"(?m)^\S+", b"".join(chunks))))
    quiet = sorted(set(re.findall(rb"(?m)^\S+", chunks[-1])))
    assert times[-1] < growing.stamp(generate.START) and traffic(1)[:32] >= growing.stamp(generate.START)
    assert times[-len(quiet) - 1] < growing.stamp(generate.START - 3_600)
    assert len(quiet) >= 3_600 / growing.BEAT


def test_a_journal_keeps_what_is_open(tmp_path: Path) -> None:
    pipe = bare.pipeline(journal=True)
    with SqliteStore.create(tmp_path / "s.sqlite") as store:
        for chunk in growing.standing(NUMBER):
            store.commit(fed(pipe, chunk), "live")
        kept = [token for token in store.state("live") if not token.startswith(b"host:")]
        assert len(kept) == NUMBER
    assert 100 < each_held(tmp_path / "s.sqlite", "open_message") < 2_000


@pytest.mark.parametrize("distinct", [10, 250, 1_000])
def test_so_many_recipients_are_distinct(distinct: int) -> None:
    log = b"".join(growing.mailings(1_000, distinct))
    seen = re.findall(rb"to=<([^>]+)>", log)
    assert len(seen) == 1_000
    assert len(set(seen)) == distinct
    assert {seen.count(one) for one in set(seen)} == {1_000 // distinct}


def test_a_message_has_the_lines_of_its_mix() -> None:
    mix = growing.Mix(ignored=9, refused=2, headers=3, said=4, rows=5)
    pipe = bare.pipeline(journal=False)
    for chunk in growing.mixed(50, mix):
        fed(pipe, chunk)
    pipe.flush()
    assert pipe.counts["lines"] == 50 * (4 + sum(mix))
    assert pipe.counts["ignored"] == 50 * mix.ignored
    assert pipe.counts["delivery_lines"] == 50 * mix.rows
    assert pipe.counts["rejects"] == 50 * mix.refused
    assert pipe.counts["not_understood"] == pipe.counts["without_sender"] == 0


def test_what_waits_is_tried_again() -> None:
    pipe = bare.pipeline(journal=False)
    for chunk in growing.retried(NUMBER, 2):
        fed(pipe, chunk)
    pipe.flush()
    assert pipe.standing().open_messages == NUMBER
    assert pipe.counts["delivery_lines"] == 3 * NUMBER


def test_a_log_of_a_mix_is_counted_as_it_was_composed(tmp_path: Path) -> None:
    """What is told of a generated log by its text and by the pipeline is what the other logs are known to have."""
    made = model.composed(tmp_path, 2_000)
    assert len(made) > len(model.UNITS) - 1
    for log in made[:-1]:
        assert model.counted(log.path) == log.counts
        assert log.path.read_bytes().count(b"\n") == log.counts.lines
    again = made[-1]
    assert again.path.read_bytes().count(b"\n") == again.counts.lines
    found = model.counted(again.path)
    assert (found.rows, found.again) == (again.counts.rows, again.counts.again)


def test_least_squares_find_what_was_put_in() -> None:
    prices = [2.0, 17.0, 8.0, 6.0, 25.0, 20.0, 30.0]
    counts = [[10_000 * (1 + (place == unit) * 9) + place * unit for unit in range(7)] for place in range(9)]
    seconds = [model.told_by(prices, row) for row in counts]
    assert model.solved(counts, seconds) == pytest.approx(prices)


def test_a_host_is_sized_by_its_mails() -> None:
    """By hand: 86,400 mails of ten lines a day are ten lines a second."""
    whole = model.Counts(500, 10, 0, 100, 100, 100, 0)
    weights = sizing.Weights({"SQLite": (300.0, 500.0, 200.0)}, 500.0, 600.0)
    assert whole.lines == 1_110
    name, head, rows = sizing.hosts(whole._replace(ignored=390), weights, {50: 360.0, 5_000: 100.0}, 50.0)
    assert name == "hosts" and [len(row) for row in rows] == [len(head)] * len(rows)
    found = dict(zip(head, rows[sizing.MAILS.index(100_000)], strict=True))
    assert (found["lines a day"], found["rows a day"], found["memory"]) == ("1,000,000", "100,000", "52 MB")
    assert found["CPU, mean"] == "0.42 %"  # 1,000,000 / 86,400 a second at 360 us
    assert found["disk a year, SQLite"] == "12 GB"  # 365 * (100,000 * 300 + 10,000 * 200)


def test_a_rate_costs_what_the_next_lower_one_does() -> None:
    paces = {50: 300.0, 500: 100.0}
    assert [sizing.share(rate, paces) for rate in (10, 400, 1_000)] == pytest.approx([0.003, 0.12, 0.1])


def made_store(path: Path) -> Path:
    """A store that has taken a generated log."""
    pipe = Pipeline(Rules(header_tokens=(generate.TOKEN,)), [Epoch(1, None, None, bytes(32))], bytes(32), Reader())
    with SqliteStore.create(path) as store:
        store.commit(fed(pipe, traffic()))
        store.commit(pipe.flush())
    return path


@pytest.mark.parametrize("rows", [100, 5_000])
def test_a_filled_store_has_so_many_rows(tmp_path: Path, rows: int) -> None:
    """All are older than the log that is imported next, and the views read them."""
    template, grown = made_store(tmp_path / "template.sqlite"), made_store(tmp_path / "grown.sqlite")
    cleared(grown)
    assert fill(grown, rows, template=template) == rows
    with sqlite3.connect(grown) as store:
        for view in ("delivery_text", "delivery_final"):
            found = store.execute(f"SELECT * FROM {view}").fetchall()
            assert (len(found) == rows) if view == "delivery_text" else found
        days = store.execute("SELECT count(DISTINCT id), max(logged_at) FROM delivery_text").fetchone()
    store.close()
    assert days[0] == rows and days[1] < "2026-11-02T08"
    assert 200 < each_held(grown, "delivery") < 600


def test_a_store_is_filled_further(tmp_path: Path) -> None:
    template, grown = made_store(tmp_path / "template.sqlite"), made_store(tmp_path / "grown.sqlite")
    cleared(grown)
    assert fill(grown, 300, template=template) == 300
    assert fill(grown, 1_000, template=template) == 1_000


def test_what_a_row_takes_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = made_store(tmp_path / "s.sqlite")
    with sqlite3.connect(path) as store:
        before = store.execute("SELECT count(*) FROM delivery_text").fetchall()
        each_held(path, "delivery")
        assert store.execute("SELECT count(*) FROM delivery_text").fetchall() == before
    store.close()


def test_a_log_is_cut_without_loss(tmp_path: Path) -> None:
    log = tmp_path / "mail.log"
    log.write_bytes(traffic(3_000))
    parts = [b"".join(part) for part in cut(log, [10, 1_500, 2_999, 3_000])]
    assert [part.count(b"\n") for part in parts] == [10, 1_490, 1_499, 1]
    assert b"".join(parts) == log.read_bytes()


# What is told

def test_a_plot_is_svg_on_white() -> None:
    text = draw(CURVES, "messages")
    top = ElementTree.fromstring(text)
    assert top.tag == "{http://www.w3.org/2000/svg}svg"
    words = {part.text for part in top.iter("{http://www.w3.org/2000/svg}text")}
    assert {"messages", "no store", "SQLite", "1k", "100k"} <= words
    assert "fill: #ffffff" in text.partition("</g>")[0]
    assert draw(CURVES, "messages") == text


def test_a_part_finds_its_place_in_the_page(tmp_path: Path) -> None:
    """Each has its markers in docs/performance.md, and what is put between them replaces what was there."""
    page = tmp_path / "performance.md"
    page.write_text(growth.PAGE.read_text())
    for name in (*growth.PARTS, growth.MEMORY):
        curves = CURVES if name in growth.PARTS else []
        for _ in range(2):
            growth.document(name, curves, [Figure(f"this of {name}", 12.5, "MB", 40)], page)
        assert page.read_text().count(f"| this of {name} | 12.50 | MB | 40 |") == 1
        assert not curves or (tmp_path / f"growth-{name}.svg").exists()
    inside = re.compile(r"(<!-- bench-growth \w+ -->\n).*?(<!-- -->)", re.S)
    assert inside.sub(r"\1\2", page.read_text()) == inside.sub(r"\1\2", growth.PAGE.read_text())


@pytest.mark.parametrize("name", ["constants", "bytes", "confirmed", "hosts"])
def test_a_table_of_the_model_finds_its_place(name: str) -> None:
    page = growth.put(growth.PAGE.read_text(), name, growth.written(["what", ""], [["this", "1"]]))
    assert page.count("| what |  |\n| --- | --- |\n| this | 1 |") == 1


def test_a_page_without_the_marker_is_told() -> None:
    with pytest.raises(SystemExit, match="marker"):
        growth.put("# Performance\n", "lines", "")


def test_a_ratio_beyond_the_limit_is_told() -> None:
    within = judged("lines", CURVES)
    assert [(round(one.value, 2), one.is_missed) for one in within] == [
        (1.07, False), (1.07, False), (1.1, False), (1.1, False),
    ]  # fmt: skip
    steep = [Curve("no store", [Point(1, 1.0, 40.0), Point(2, 1.2, 40.0)])]
    last, all_of_them = judged("lines", steep)
    assert (last.value, last.is_missed) == (1.2, True)
    assert all_of_them.value == pytest.approx(1.1)  # one line at 1.0, one at 1.2
    heavy = {one.what: one.value for one in judged("open", CURVES)}
    assert heavy["memory of an open message, no store"] == pytest.approx(20 * 2**20 / 99_000)


def test_the_median_of_rounds_counts() -> None:
    rounds = [[Curve("no store", [Point(1, value, 40.0), Point(2, 2.0, value)])] for value in (9.0, 5.0, 6.0)]
    assert middle(rounds) == [Curve("no store", [Point(1, 6.0, 40.0), Point(2, 2.0, 6.0)])]


def test_each_part_is_documented() -> None:
    part: Part
    for name, part in growth.PARTS.items():
        assert f"### {part.title}\n" in growth.PAGE.read_text(), name
