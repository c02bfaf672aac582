"""An installation that listens, a log to send, and what must come of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sink.fault import OK
from tests.integration.asking import ask, rows
from tests.integration.live.canary import leaks
from tests.integration.live.service import listening
from tests.judges.program import Program

# Two hosts log in the samples. These lines stand behind: they move their clocks, so that the last rows leave.
BEHIND = b"2026-11-02T%02d:%02d:%02d.000000+00:00 %b postfix/anvil[1]: statistics: max cache size 1 at Nov  2 08:00:00"


@pytest.fixture
def live(with_keys: Program) -> Iterator[Program]:
    """An installation that listens; when the test is over, no file of its folder holds a raw address.

    Not pytest's own folder: the path of a Unix socket is at most 107 bytes long, and other users must enter.
    """
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield listening(with_keys.sibling(folder / "live"))
        assert leaks(folder) == []
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def lines(log: Path) -> list[bytes]:
    """The log's lines, and behind them one of each host that is 8 s later than any row."""
    found = log.read_bytes().split(b"\n")[:-1]
    return [*found, *ends(found[-1])]


def ends(last: bytes) -> list[bytes]:
    """Lines of both hosts, 8 s after the last one."""
    hour, minute, second = int(last[11:13]), int(last[14:16]), int(last[17:19])
    whole = hour * 3600 + minute * 60 + second + 8
    return [BEHIND % (whole // 3600, whole // 60 % 60, whole % 60, host) for host in (b"mx1", b"out1")]


@pytest.fixture(scope="session")
def some_lines(lines: list[bytes]) -> list[bytes]:
    """The log's first thousand lines, ended likewise."""
    return [*lines[:1000], *ends(lines[999])]


@pytest.fixture(scope="session")
def imported(
    with_keys: Program, lines: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Program:
    """An undisturbed import of all lines."""
    return import_of(with_keys, lines, tmp_path_factory.mktemp("all"))


@pytest.fixture(scope="session")
def some_imported(
    with_keys: Program, some_lines: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Program:
    """An undisturbed import of some lines."""
    return import_of(with_keys, some_lines, tmp_path_factory.mktemp("some"))


def import_of(keys: Program, lines: list[bytes], folder: Path) -> Program:
    made = keys.sibling(folder / "installed")
    path = folder / "mail.log"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert ask(made, "import", path).status == OK
    assert rows(made)
    return made


@pytest.fixture
def small_disk(live: Program) -> Iterator[Path]:
    """A disk of 400 kB for the store."""
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k,mode=755", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        folder.rmdir()
        pytest.skip("a small disk can't be mounted here")
    try:
        known = yaml.safe_load(live.config.read_text())
        live.store = folder / "s.sqlite"
        live.config.write_text(yaml.safe_dump({**known, "store": str(live.store)}))
        yield folder
        assert leaks(folder) == []
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


def grow(disk: Path) -> None:
    """Give a small disk room for everything."""
    subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
