"""A day of an invented host, imported and exported once for all; and a small store with all columns filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sink.fault import OK
from tests.export.world import LOCAL, World
from tests.integration.asking import Answer, ask
from tests.judges.program import ROOT, Program

Export = Callable[..., Path]
SETTINGS = {"timezone": "UTC", "trusted_networks": ["192.0.2.0/28"], "local_domains": list(LOCAL)}
DEFAULTS = ("--recipient", "Example University", "--release", "2026-1")
EVERYTHING = ("--with", "address,message-id,queue-id,relay,host")


def exported(program: Program, name: str, *options: str) -> Answer:
    """Export into a folder beside the config; what is typed twice counts the last time."""
    return ask(program, "export", *DEFAULTS, "--output", name, *options)


@pytest.fixture(scope="session")
def world() -> World:
    return World(100_000)


@pytest.fixture(scope="session")
def host(world: World, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The installation of the day."""
    program = Program(tmp_path_factory.mktemp("world") / "host", **SETTINGS).make_keys()
    log = program.folder / "mail.log"
    with log.open("w") as file:
        file.writelines(world.lines())
    program.import_files(log)
    log.unlink()
    return program


@pytest.fixture(scope="session")
def day(host: Program) -> Path:
    """Its data set, as the defaults have it."""
    answer = exported(host, "day")
    assert answer.status == OK, answer
    return host.folder / "day"


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A store with all columns filled; too few rows to hide each other as the defaults have it."""
    settings = {**SETTINGS, "local_domains": ["example.com", "example.org"]}
    program = Program(tmp_path_factory.mktemp("lab") / "postsink", **settings).make_keys()
    program.import_files(ROOT / "demo/mail.log")
    return program


@pytest.fixture(scope="session")
def alike(lab: Program) -> Export:
    """Export from that store with few alike, and return the folder."""

    def export(name: str, *options: str) -> Path:
        answer = exported(lab, name, "--k", "2", "--time", "day", *options)
        assert answer.status == OK, answer
        return lab.folder / name

    return export


@pytest.fixture(scope="session")
def day_in_parquet(host: Program) -> Path:
    """The day in Parquet."""
    pytest.importorskip("pyarrow")
    answer = exported(host, "parquet", "--format", "parquet")
    assert answer.status == OK, answer
    return host.folder / "parquet"
