"""The manual is true and whole: README.md and the pages that it links to."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sink import arguments, config, fault, hooks
from sink.core.deliveries import STATUSES
from sink.stores import opening
from tests.judges.program import Program

TOP = Path(__file__).parents[2]
DOCS = sorted(
    Path(name) for name in subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=TOP, check=True, capture_output=True, text=True
    ).stdout.split("\0") if name and (TOP / name).is_file()
)
README = (TOP / "README.md").read_text()
COLUMNS = (TOP / "docs/columns.md").read_text()
COMMANDS = (TOP / "docs/commands.md").read_text()
PRIVACY = (TOP / "docs/privacy.md").read_text()
MANUAL = "\n".join([
    README, *((TOP / name).read_text() for name in re.findall(r"\]\(([\w/]+\.md)\)", README))
])


def section(text: str, title: str) -> str:
    """The text under a heading, down to the next one of its level or above."""
    level, _, _ = title.partition(" ")
    after = text.split(f"\n{title}\n", 1)[1]
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.M)[0]


def cells(text: str, column: int) -> list[str]:
    """What stands in backticks in one column of a text's tables."""
    rows = [line.split("|")[column + 1] for line in text.splitlines() if line.startswith("|")]
    return [name for cell in rows for name in re.findall(r"`([^`]+)`", cell)]


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S)


# Commands

def parsers(parser: argparse.ArgumentParser, above: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield above.strip(), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from parsers(child, f"{above} {name}")


ACTIONS = [f"{name} {word}" for name, parser in parsers(arguments.parser())
           for action in parser._actions if not action.option_strings and name
           for word in (action.choices or ())]
WITHOUT_ACTION = [name for name, _ in parsers(arguments.parser())
                  if name and name not in ACTIONS and not any(action.startswith(f"{name} ") for action in ACTIONS)]
OPTIONS = sorted({option for _, parser in parsers(arguments.parser()) for action in parser._actions
                  for option in action.option_strings if option.startswith("--")})


def test_each_command_has_its_line() -> None:
    named = [re.sub(r" [\[A-Z].*", "", name) for name in cells(COMMANDS.partition("\n## ")[0], 0)]
    assert sorted(named) == sorted([*WITHOUT_ACTION, *ACTIONS])


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_is_in_the_manual(option: str) -> None:
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", COMMANDS)


def test_each_number_of_an_import_is_in_the_manual(tmp_path: Path) -> None:
    summary = Program(tmp_path / "postsink").make_keys().import_files(TOP / "demo/mail.log")
    assert sorted(cells(section(COMMANDS, "### The summary"), 1)[1:]) == sorted(summary)


def test_each_exit_status_is_in_the_manual() -> None:
    numbers = {int(number) for number in re.findall(r"^\| (\d+) \|", section(COMMANDS, "## Exit statuses"), re.M)}
    assert numbers == {value for value in vars(fault).values() if type(value) is int} | {hooks.SOFTWARE}


def test_each_config_key_is_in_the_manual() -> None:
    keys = [field.name for field in dataclasses.fields(config.Config)]
    assert sorted(cells(section(COMMANDS, "## Config"), 0)) == sorted(keys)


# Columns

def view_columns(view: str) -> list[str]:
    store = sqlite3.connect(":memory:")
    store.executescript(opening.script())
    names = [row[0] for row in store.execute(f"SELECT * FROM {view}").description]
    store.close()
    return names


@pytest.mark.parametrize("view", ["delivery_text", "reject_text"])
def test_each_column_has_its_line_in_the_order_of_the_view(view: str) -> None:
    tables = section(COLUMNS, f"## {view}").partition("\n### ")[0]
    assert cells(tables, 0) == view_columns(view)


def test_each_column_is_judged_for_what_it_tells() -> None:
    told = cells(section(PRIVACY, "## What each column tells"), 0)
    assert sorted(told) == sorted(view_columns("delivery_text"))


def test_final_outcomes_have_the_columns_of_attempts() -> None:
    assert view_columns("delivery_final") == view_columns("delivery_text")


@pytest.mark.parametrize("word", sorted({*config.CATEGORIES, *STATUSES.values()}))
def test_each_word_of_a_closed_list_is_in_the_manual(word: str) -> None:
    assert re.search(rf"(?<![\w-]){word}(?![\w-])", COLUMNS)


def test_the_row_in_the_readme_is_one() -> None:
    shown = re.findall(r"^ *(\w+) = ", section(README, "## What a row looks like"), re.M)
    columns = view_columns("delivery_text")
    assert [name for name in columns if name in shown] == shown
    assert f"These are {len(shown)} of {len(columns)} columns" in README


# What the README says to type, and what it says that one sees

def masked(line: str) -> str:
    return re.sub(r"[0-9a-f]{6}@[0-9a-f]{6}|\s+", lambda found: "P" if "@" in found[0] else " ", line).strip()


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    if not (Path(sys.executable).parent / "postsink").exists():
        pytest.skip("postsink is not installed beside this Python; `make test` does so")
    shutil.copytree(TOP / "demo", tmp_path / "demo", ignore=shutil.ignore_patterns("out"))
    done = subprocess.run(
        [sys.executable, "demo/demo.py"], cwd=tmp_path, check=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    printed = iter([masked(line) for line in done.stdout.splitlines()])
    shown = blocks(section(README, "## Two commands do all set-up"), "")[0]
    missing = [line for line in shown.splitlines() if line != "..." and masked(line) not in printed]
    assert not missing, done.stdout


def test_the_walk_through_own_logs_works(tmp_path: Path) -> None:
    text = "".join(blocks(section(README, "## Your own logs"), "sh"))
    match = re.search(r"<<'END'\n(.*?)^END$", text, re.M | re.S)
    assert match
    program = Program(tmp_path / "postsink")
    program.config.write_text(match[1])
    for line in re.findall(r"^postsink (.*)$", text, re.M):
        words = shlex.split(line.replace("/var/log/mail.log*", shlex.quote(str(TOP / "demo/mail.log"))))
        assert words[:2] == ["--config", "postsink.yaml"]
        program.run(*words[2:])
    person = program.run("pseudonym", stdin=b"alice@example.com\n").decode().strip()
    questions = re.findall(r'^sqlite3 -box mail\.sqlite "(.*?)"$', text, re.M | re.S)
    assert len(questions) == text.count("sqlite3 ")
    with sqlite3.connect(tmp_path / "postsink/mail.sqlite") as store:
        answers = [store.execute(question.replace("$person", person)).fetchall() for question in questions]
    store.close()
    assert all(answers)


# Links, and the house around the manual

def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (TOP / "Makefile").read_text(), re.M))


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_names_each_target() -> None:
    assert set(re.findall(r"`make ([a-z-]+)`", README)) == targets() - {"help"}


@pytest.mark.parametrize("path", DOCS, ids=str)
def test_what_a_document_points_to_is_there(path: Path) -> None:
    text = (TOP / path).read_text()
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        target = TOP / path.parent / name if name else TOP / path
        if "://" not in link:
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text()), link
    for name in re.findall(r"`((?:sink|sql|tests|docs|packaging|syslog-conf)/[\w./-]+)`", text):
        assert (TOP / name).exists(), name


def test_each_module_of_the_core_is_on_the_path_of_a_line() -> None:
    text = (TOP / "ARCHITECTURE.md").read_text()
    modules = [path.name for path in (TOP / "sink/core").glob("*.py") if path.name != "__init__.py"]
    assert [name for name in modules if name not in text] == []
    assert len(text.splitlines()) <= 120


def test_each_target_is_in_the_readme() -> None:
    assert [name for name in targets() - {"help"} if f"`make {name}`" not in README] == []


def test_the_changelog_has_its_form() -> None:
    text = (TOP / "CHANGELOG.md").read_text()
    assert re.search(r"^## \[Unreleased\]$", text, re.M)
    kinds = set(re.findall(r"^### (.*)$", text, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_command_is_where_the_package_says() -> None:
    text = (TOP / "pyproject.toml").read_text()
    module, _, name = re.findall(r'^postsink = "(.*)"$', text, re.M)[0].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
