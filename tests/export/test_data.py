"""docs/data.md is true and whole: columns, manifest, and the questions that it has people type."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sink.tools.exporting import treatments
from tests.export.test_export import manifest
from tests.judges.program import ROOT
from tests.unit.test_docs import blocks, cells, section

DATA = (ROOT / "docs/data.md").read_text()


@pytest.fixture
def inside(day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is a data set."""
    shutil.copytree(day, tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.parametrize("table", ["delivery", "reject"])
def test_each_exported_column_is_told(table: str) -> None:
    text = section(DATA, f"### {table}")
    columns = treatments.chosen(table, treatments.ASKED)
    assert cells(text, 0) == list(columns)
    plain = treatments.chosen(table, ())
    for line in text.splitlines():
        for name in cells(line, 0):
            *_, known, asked = [cell.strip() for cell in line.strip("|").split("|")]
            assert asked == (treatments.TREATMENTS[table][name].asked), name
            assert known == ("yes" if name in plain and plain[name].known else ""), name


def test_each_member_of_the_manifest_is_told(day: Path) -> None:
    told = manifest(day)
    text = section(DATA, "## The manifest")
    assert {"format", *cells(text, 0)} >= told.keys() - {"files"}
    one = told["files"]["delivery.csv"]
    assert set(re.findall(r"`(\w+)`", text)) >= one.keys() | one["columns"]["sender"].keys()


def test_questions_in_sql(inside: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    found = [question for text in blocks(DATA, "sql") for question in text.split(";") if question.strip()]
    assert len(found) == 3
    for question in found:
        assert len(duckdb.sql(question).fetchall()) >= 4, question


def test_questions_to_parquet(day_in_parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb = pytest.importorskip("duckdb")
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(day_in_parquet)
    first, second, _ = (text.replace(".csv", ".parquet") for text in blocks(DATA, "sql"))
    assert len(duckdb.sql(first.strip().rstrip(";")).fetchall()) >= 4
    assert len(duckdb.sql(second.strip().rstrip(";")).fetchall()) >= 4
    assert str(pandas.read_parquet("delivery.parquet")["logged_at"].dtype) == "datetime64[ms, UTC]"


def test_questions_in_the_shell(inside: Path) -> None:
    if not shutil.which("sqlite3"):
        pytest.skip("the program sqlite3 is missing")
    (text,) = blocks(DATA, "sh")
    done = subprocess.run(["sh", "-ec", text], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) > 24
    assert sum(int(line.rpartition("|")[2]) for line in lines) == manifest(inside)["files"]["delivery.csv"]["rows"]


def test_questions_in_python(inside: Path) -> None:
    pytest.importorskip("pandas")
    found = blocks(DATA, "python")
    assert len(found) == 2
    done = [subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True) for text in found]
    said = [one.stdout for one in done]
    assert "deferred" in said[0]
    assert "plain" in said[0]
    assert "gave way" in said[1]
    assert str(manifest(inside)["files"]["delivery.csv"]["rows"]) in said[1]
    assert json.loads((inside / "manifest.json").read_text())
