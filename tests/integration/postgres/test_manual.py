"""docs/postgresql.md is true: what it says to type leads from nothing to rows."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from sink.fault import OK
from tests.integration.asking import PATIENCE, ask
from tests.integration.postgres.server import Database, Server, programs
from tests.judges.program import ROOT, Program

MANUAL = (ROOT / "docs/postgresql.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", MANUAL, re.M | re.S)
SERVICES = ("systemctl ",)  # of the host


def test_from_nothing_to_rows(
    make_server: Callable[[], Server], program: Program, some_log: Path, tmp_path: Path
) -> None:
    """Line by line, in a shell; sudo is a program that takes the words behind it, and the socket is another one."""
    server = make_server().make().start()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in {
        "sudo": 'shift 2; PGUSER=postgres exec "$@"',
        "postsink": f'exec {shlex.quote(sys.executable)} -m sink --config {shlex.quote(str(program.config))} "$@"',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(stat.S_IRWXU)
    path = os.pathsep.join([str(tools), str(programs()), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PGHOST": str(server.socket), "PYTHONPATH": str(ROOT)}

    def typed(block: str) -> str:
        text = block.replace("/run/postgresql", f"{server.socket} user=_postsink")
        text = text.replace("/etc/postsink/postsink.yaml", str(program.config))
        lines = [line for line in text.splitlines() if not line.startswith(SERVICES)]
        done = subprocess.run(
            ["sh", "-e", "-c", "\n".join(lines)], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    superuser, connected, reader = BLOCKS
    typed(superuser)
    assert "there: deliveries 0" in typed(connected)
    assert ask(program, "import", some_log).status == OK
    typed(reader)
    database = Database(server, "postsink")
    assert len(database.rows("delivery_final", "alice")) > 100
    assert ask(program, "db", "prune", "--older-than", "36500d", "--yes").status == OK


def test_the_roles_are_all_named() -> None:
    made = set(re.findall(r"postsink_\w+", (ROOT / "sql/postgres/roles.sql").read_text()))
    assert made == set(re.findall(r"^\| `(postsink_\w+)` \|", MANUAL, re.M))


def test_the_views_are_all_named() -> None:
    made = set(re.findall(r"^CREATE VIEW (\w+)", (ROOT / "sql/postgres/002-views.sql").read_text(), re.M))
    assert {name for name in made if f"`{name}`" not in MANUAL} == set()


def test_the_example_of_a_conninfo_needs_no_advice() -> None:
    from sink.stores.postgres import check

    shown = re.findall(r"^    (database: .*)$", MANUAL, re.M)
    assert shown
    for line in shown:
        assert check(yaml.safe_load(line)["database"]) == []
