"""Wheel and source archive hold the same program, and an empty environment with the wheel works, as pipx makes one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.judges.program import ROOT
from tests.package.suites import commit

CONFIG = """\
store: mail.sqlite
keyring: keyring
seal: {file: seal.key}
timezone: Europe/Berlin
local_domains: [example.com]
"""
# What is read when the program needs it, and would be missed only then.
DATA = ("sql/", "syslog-conf/")
LOOK = """\
from sink.stores import schema
from sink.tools.enabling import snippets
print(schema.folder(), snippets.folder(), schema.version("postgres"), len(snippets.text("rsyslog/10-postsink.conf")))
"""


def run(*words: str | Path, folder: Path) -> str:
    """Run a program without anything of the checkout or of the user in reach."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        list(map(str, words)), cwd=folder, env=known, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words} ended with {done.returncode}\n{done.stdout[-3000:]}"
    return done.stdout


def environment(folder: Path, *packages: str | Path) -> Path:
    """Make an environment that holds packages and what they need, of the newest version; return its programs."""
    run(sys.executable, "-m", "venv", folder, folder=folder.parent)
    run(folder / "bin/pip", "--disable-pip-version-check", "install", "-q", *packages, folder=folder.parent)
    return folder / "bin"


def committed() -> set[str]:
    return set(run("git", "ls-tree", "-r", "-z", "--name-only", commit(), folder=ROOT).split("\0")) - {""}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive of the last commit, and the wheel that is made of that alone."""
    top = tmp_path_factory.mktemp("wheel")
    tools = environment(top / "tools", "hatchling")
    (top / "tree").mkdir()
    run("git", "archive", f"--output={top / 'tree.tar'}", commit(), folder=ROOT)
    run("tar", "-xf", top / "tree.tar", "-C", top / "tree", folder=top)
    run(tools / "python", "-m", "hatchling", "build", "-t", "sdist", "-d", top, folder=top / "tree")
    (source,) = top.glob("*.tar.gz")
    run("tar", "-xzf", source, folder=top)
    unpacked = top / source.name.removesuffix(".tar.gz")
    run(tools / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", top, folder=unpacked)
    (wheel,) = top.glob("*.whl")
    return source, wheel


def test_the_source_archive_is_whole(archives: tuple[Path, Path]) -> None:
    source, _ = archives
    with tarfile.open(source) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert {name for name in committed() if not name.startswith(".ci/")} == names - {"PKG-INFO"}


def test_the_wheel_has_the_program_and_its_data(archives: tuple[Path, Path]) -> None:
    _, wheel = archives
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("sink/")}
    wanted = {name for name in committed() if name.startswith("sink/")}
    assert names == wanted | {f"sink/{name}" for name in committed() if name.startswith(DATA)}


def test_an_empty_environment_with_the_wheel_works(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """Schema, snippets and dependencies come with it: an archived log goes in, and twice is once."""
    _, wheel = archives
    programs = environment(tmp_path / "empty", wheel)
    (tmp_path / "postsink.yaml").write_text(CONFIG)
    postsink = (programs / "postsink", "--config", tmp_path / "postsink.yaml")
    run(*postsink, "keys", "init", folder=tmp_path)
    run(*postsink, "db", "init", folder=tmp_path)
    log = ROOT / "demo" / "mail.log"
    first, again = (json.loads(run(*postsink, "import", "--json", log, folder=tmp_path)) for _ in range(2))
    assert first["deliveries"] == first["delivery_lines"] > 20
    assert again["deliveries"] == 0
    said = run(programs / "python", "-I", "-c", LOOK, folder=tmp_path)
    assert said.count(f"{tmp_path}/empty/lib/") == 2, said
