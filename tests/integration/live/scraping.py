"""Scrapes the daemon's metrics as Prometheus would, and reads them strictly."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import yaml

from tests.integration.asking import PATIENCE
from tests.judges.program import Program

# A sample of the text format 0.0.4; of its escapes in a label's value only those that it knows.
SAMPLE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="((?:[^"\\\n]|\\[\\n"])*)"\})? (-?[0-9.e+-]+)')
Samples = dict[tuple[str, str], float]


def scraping(program: Program, place: str = "unix:metrics") -> Program:
    """The installation, with metrics."""
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(yaml.safe_dump({**known, "metrics": place}))
    return program


def path_of(program: Program) -> Path:
    return program.folder / "metrics"


def answer(place: Path | int, question: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[int, str]:
    """Return the status and the body of an answer; (0, "") where it hangs up without one."""
    where = ("127.0.0.1", place) if isinstance(place, int) else str(place)
    with socket.socket(socket.AF_INET if isinstance(place, int) else socket.AF_UNIX) as one:
        one.settimeout(PATIENCE)
        one.connect(where)
        one.sendall(question)
        with one.makefile("rb") as file:
            data = file.read()
    head, _, body = data.partition(b"\r\n\r\n")
    if not head:
        return 0, ""
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    return int(head.split(b" ")[1]), body.decode()


def samples(place: Path | int) -> Samples:
    """Return the samples of a scrape by name and label."""
    status, text = answer(place)
    assert status == 200, text
    found: Samples = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            name, _, value, number = sample.groups()
            assert (name, value or "") not in found
            found[name, value or ""] = float(number)
    return found
