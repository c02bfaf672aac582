"""Asks the program as a user would: a command line in, what it printed and its exit status out."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.judges.program import ROOT, Program, Row

PATIENCE = 60  # seconds until a command that does not end is a failure
# Run before a command, in its own process.
AS_NOBODY = """\
import ctypes, os, sys
from sink import cli
status = cli.main(sys.argv[1].split("\\n"))  # a first command loads all that a second needs
if status:
    sys.exit(f"the first command ended with {status}")
ctypes.CDLL(None).munlockall()  # what root may lock, nobody may not
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.stdout.flush()
print("now as nobody", file=sys.stderr, flush=True)
sys.exit(cli.main(sys.argv[2:]))
"""


@dataclass
class Answer:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def words(self) -> list[str]:
        return self.err.splitlines()


def ask(program: Program, *arguments: str | Path, **given: Any) -> Answer:
    """Run a command; stdin may be bytes or a file."""
    stdin = given.pop("stdin", b"")
    if isinstance(stdin, bytes):
        given["input"] = stdin
    else:
        given["stdin"] = stdin
    given.setdefault("stdout", subprocess.PIPE)
    done = subprocess.run(
        [*command(program), *map(str, arguments)], stderr=subprocess.PIPE, check=False, cwd=program.folder,
        env=environment(), timeout=PATIENCE, **given,
    )  # fmt: skip
    answer = Answer(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())
    assert "Traceback" not in answer.err, answer.err
    assert "a bug" not in answer.err, answer.err
    return answer


def command(program: Program) -> list[str]:
    return [sys.executable, "-m", "sink", "--config", str(program.config)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def one_line(answer: Answer, status: int, *words: str) -> None:
    """The command ended with a status and one line on stderr, which holds these words."""
    assert answer.status == status, answer
    assert len(answer.words) == 1, answer.err
    said(answer, *words)


def said(answer: Answer, *words: str) -> None:
    """The last line on stderr is ours, and holds these words."""
    last = answer.words[-1]
    assert last.startswith("postsink: "), answer.err
    assert [word for word in words if word not in last] == [], last
    assert last.isprintable()


def rows(program: Program) -> list[Row]:
    """Both views, in an order of their own; empty where there is no store yet, or an empty one."""
    if not program.store.exists() or not program.query("SELECT name FROM sqlite_schema"):
        return []
    found = program.rows("delivery_text") + program.rows("reject_text")
    return sorted(found, key=lambda row: str(row["id"]))


def is_part(some: list[Row], whole: list[Row]) -> bool:
    """Each row stands in the whole, alike in all columns."""
    known = {row["id"]: row for row in whole}
    return all(known.get(row["id"]) == row for row in some)
