"""What a line costs does not creep up: steps of the interpreter, which no other load on the machine changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cost import NOTED, VERSION

TOP = Path(__file__).parents[2]
SLACK = 1.02  # of what is noted


def steps() -> float:
    """As a program of its own: a test runner's tracing would count."""
    said = subprocess.run(
        [sys.executable, "-m", "bench.cost", "--top", "0"], cwd=TOP, check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(TOP)},
    ).stdout  # fmt: skip
    return float(said.split()[0])


def test_a_line_costs_what_it_did() -> None:
    noted = json.loads(NOTED.read_text())
    most = noted.get(VERSION, max(noted.values()) * 1.2)  # of a version that nobody has counted with: about
    found = steps()
    assert found <= most * SLACK, "dearer; see what took them: python -m bench.cost"
    if VERSION in noted:
        assert found >= most / SLACK, "cheaper: note it, so that it stays: python -m bench.cost --write"


def test_it_is_the_same_each_time() -> None:
    assert steps() == pytest.approx(steps(), rel=0.001)
