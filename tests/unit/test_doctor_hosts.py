"""Each host of tests/data/hosts has the findings that its folder tells, and no other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sink import fault
from sink.tools.doctor import examination
from sink.tools.doctor.finding import AREAS, KINDS
from tests import hosts

NAMES = hosts.names()
CLEAN = [name for name in NAMES if hosts.read(name).is_clean]
TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("name", NAMES)
def test_a_host_has_its_findings(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "root"
    hosts.make(name, root)
    status = examination.run(None, as_json=True, root=root)
    said = capsys.readouterr()
    findings = json.loads(said.out)["findings"]
    places = [(each["id"], f"{each['file']}:{each['line']}".removesuffix(":None")) for each in findings]
    assert sorted(places) == sorted(hosts.read(name).finds)
    assert status == (fault.FINDINGS if findings else fault.OK)
    assert hosts.TOKEN not in said.out + said.err


@pytest.mark.parametrize("name", [name for name in CLEAN if not hosts.read(name).like])
def test_a_clean_host_is_clean_as_it_lies_there(name: str) -> None:
    assert examination.run(None, as_json=False, root=hosts.HOSTS / name) == fault.OK


def test_each_finding_has_a_host() -> None:
    assert {kind for name in NAMES for kind, _ in hosts.read(name).finds} == set(KINDS)


@pytest.mark.parametrize("path", hosts.pieces(), ids=lambda path: str(path.relative_to(hosts.HOSTS)))
def test_the_pieces_on_a_clean_host_are_what_enable_writes(path: Path) -> None:
    assert path.read_bytes() == hosts.pieces()[path], "python -m tests.hosts --pieces writes them anew"


def test_the_manual_has_each_finding_with_its_reason_and_remedy() -> None:
    text = (TOP / "docs/doctor.md").read_text()
    for area, kinds in AREAS.items():
        section = text.split(f"\n## {area}\n", 1)[1].partition("\n## ")[0]
        rows = [re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in section.splitlines() if line.startswith("| `")]
        told = [[f"`{name}`", kind.severity, kind.why, kind.remedy] for name, kind in kinds.items()]
        assert [[cell.replace("\\|", "|") for cell in row] for row in rows] == told
    assert re.findall(r"^\| `([\w-]+)`", text, re.M) == list(KINDS)
