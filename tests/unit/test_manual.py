"""What docs/ says to type can be typed, and what it says that the program says, it says.

A shell block is run, page by page and from top to bottom, unless `<!-- not run: reason -->` stands before it. Every one
is looked at by sh, and every command line of postsink by its own parser.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from sink import arguments, fault, hooks
from sink.fault import Fault
from tests.judges.program import ROOT, Program, pseudonyms_of
from tests.unit.test_docs import OPTIONS, cells, section

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TROUBLE = (DOCS / "troubleshooting.md").read_text()
# Pages whose blocks others run, or nobody can here.
ELSEWHERE = {
    "citus.md": "it needs a cluster of Citus; tests/integration/postgres has one where there is one",
    "data.md": "tests/export/test_data.py runs them, in a data set",
    "fleet.md": "keys export asks for a passphrase at a terminal",
    "postgresql.md": "it needs a superuser of a cluster",
    "scrub.md": "its log is one line of the page",
    "status.md": "it changes the units of a host",
}
WORDS_BEFORE = re.compile(r"^(?:runuser -u \S+ -- |sudo -u \S+ |\w+=\S* )*")
RAW = re.compile(r"[\w.+-]+@example\.\w+|\b(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d+")


class Block(NamedTuple):
    """A shell block: what it says, and the words of the comment before it."""

    text: str
    mark: str

    @property
    def is_run(self) -> bool:
        return not self.mark.startswith("not run: ")


def blocks_of(page: Path) -> list[Block]:
    found = re.findall(r"^(?:<!-- (.*?) -->\n)?```sh\n(.*?)^```$", page.read_text(), re.M | re.S)
    return [Block(text, mark) for mark, text in found]


def simple_commands(script: str) -> Iterator[list[str]]:
    """The commands of a script, as lists of words: here-documents and redirections are gone."""
    script = re.sub(r"<<'?(\w+)'?(.*?)\n.*?^\1$", r"\2", script, flags=re.M | re.S).replace("\\\n", " ")
    reader = shlex.shlex(script, posix=True, punctuation_chars="|;&<>()\n")
    reader.whitespace, reader.whitespace_split, reader.commenters = " \t", True, ""
    words: list[str] = []
    is_place = False  # of a redirection
    for token in reader:
        if set(token) <= set("|;&()\n"):
            yield words
            words = []
        elif set(token) <= set("<>"):
            is_place = True
        elif is_place:
            is_place = False
        else:
            words.append(token)
    yield words


def typed(script: str) -> list[list[str]]:
    """What is typed behind the word postsink."""
    lines = [shlex.split(WORDS_BEFORE.sub("", shlex.join(words))) for words in simple_commands(script)]
    return [words[1:] for words in lines if words and Path(words[0]).name == "postsink"]


ALL = [pytest.param(block, id=f"{page.name}-{number}") for page in PAGES
       for number, block in enumerate(blocks_of(page), 1)]


def test_a_command_line_is_found_behind_what_stands_before_it() -> None:
    before = "cd x && PATH=y sudo -u z postsink db init >/dev/null; echo a | postsink lookup\n"
    script = before + "cat <<'END'\npostsink no\nEND\n"
    assert typed(script) == [["db", "init"], ["lookup"]]


@pytest.mark.parametrize("block", ALL)
def test_each_block_is_shell_and_its_commands_are_ours(block: Block) -> None:
    done = subprocess.run(["sh", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for words in typed(block.text):
        arguments.parser().parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_in_running_text_is_ours(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for span in re.findall(r"`postsink ([a-z][^`]*)`", text.replace("\n", " ")):
        words = [word for word in shlex.split(span) if not re.search("[A-Z]{3}|[|…]|^\\.+$", word)]
        try:
            arguments.parser().parse_args(words)
        except Fault as wrong:  # what is left out is a placeholder, or meant so
            assert "are required" in str(wrong) or "expected one argument" in str(wrong), span


def test_each_option_of_the_manual_exists() -> None:
    text = (DOCS / "commands.md").read_text()
    others = {"--nthreads", "--scheduler-file"}  # of Dask
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text)) - set(OPTIONS) - others == set()


def test_the_index_names_each_page_once() -> None:
    named = re.findall(r"\]\((\w[\w-]*\.md)\)", (DOCS / "index.md").read_text())
    assert sorted(named) == sorted(page.name for page in PAGES if page.name != "index.md")


def test_what_is_run_elsewhere_is_a_page_and_not_run_here() -> None:
    for name in ELSEWHERE:
        assert blocks_of(DOCS / name), name


# The pages, typed

@contextmanager
def daemon(program: Program) -> Iterator[None]:
    """The daemon of an installation, when it has said that it is ready."""
    words = [sys.executable, "-m", "sink", "--config", str(program.config), "run"]
    known = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=program.folder, env=known, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        try:
            while "ready" not in said:
                said = process.stderr.readline()
                assert said, "the daemon has ended"
            yield
        finally:
            process.terminate()
            process.stderr.read()
    assert process.returncode == 0


def lines_of_now() -> list[str]:
    """The demo's log, moved to the last hour: a daemon forgets what is days old."""
    found = [line.split(" ", 1) for line in (ROOT / "demo/mail.log").read_text().splitlines()]
    last = datetime.fromisoformat(found[-1][0])
    moved = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60) - last
    lines = [f"{(datetime.fromisoformat(time) + moved).isoformat()} {rest}\n" for time, rest in found]
    # The host's clock goes on, so that the last rows leave at once.
    end = (last + moved + timedelta(seconds=30)).isoformat()
    return [*lines, f"{end} mx1 postfix/anvil[1]: statistics: max cache size 1 at Nov  2 08:00:00\n"]


class Newcomer:
    """Somebody who types a page in an empty folder; /var/log is a folder in it."""

    def __init__(self, folder: Path) -> None:
        self.program = Program(folder, listen=[{"stream": "stream"}], timezone="Europe/Berlin",
                               local_domains=["example.com"]).make_keys()  # fmt: skip
        self.log = folder / "log/mail.log"
        self.log.parent.mkdir()
        command = folder / "bin/postsink"
        command.parent.mkdir()
        words = shlex.join([sys.executable, "-m", "sink", "--config", str(self.program.config)])
        command.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {words} "$@"\n')
        command.chmod(0o755)

    def type(self, block: Block) -> str:
        script = "set -eu\n" + block.text.replace("/var/log/", "log/")
        known = {**os.environ, "PATH": f"{self.program.folder / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", script], cwd=self.program.folder, env=known, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)  # fmt: skip
        assert done.returncode == 0, f"{block.text}\n{done.stdout[-3000:]}"
        assert ("prints addresses" in block.mark) == bool(RAW.search(done.stdout)), block.text
        return done.stdout


def test_pages_of_which_nothing_is_run_say_why() -> None:
    """A block that is run is on a page that a test types."""
    for page in PAGES:
        assert page.name in {*ELSEWHERE, "moving.md"} or not any(block.is_run for block in blocks_of(page)), page
        assert all(block.is_run or len(block.mark) > 20 for block in blocks_of(page))


def test_from_archives_to_live_nothing_is_lost_and_nothing_twice(tmp_path: Path) -> None:
    """moving.md from top to bottom, while mail goes on: its rows are those of one import of all lines."""
    lines = lines_of_now()
    archived = len(lines) // 2
    read, switched = archived + 10, archived + 20  # by the daemon from the file; by syslog to the daemon
    newcomer = Newcomer(tmp_path / "host")
    newcomer.log.write_text("".join(lines[:archived]))
    with daemon(newcomer.program):
        for block in blocks_of(DOCS / "moving.md"):
            if "omprog" in block.text:
                newcomer.log.write_text("".join(lines[:read]))  # meanwhile
            if block.is_run:
                newcomer.type(block)
            elif "enable rsyslog" in block.text:
                newcomer.log.write_text("".join(lines[:switched]))
                newcomer.program.run("omprog", stdin="".join(lines[switched:]).encode())
    between = {pseudonyms_of(newcomer.program).queue_id(line.split()[3].rstrip(":")) for line in lines[read:switched]}
    all_at_once = newcomer.program.sibling(tmp_path / "one")
    whole = tmp_path / "whole.log"
    whole.write_text("".join(lines))
    all_at_once.import_files(whole)
    for view in ("delivery_text", "reject_text"):
        wanted = {row["id"]: row for row in all_at_once.rows(view)}
        rows = newcomer.program.rows(view)
        assert sorted(row["id"] for row in rows) == sorted(wanted)  # none is missing, none is there twice
        unlike = [row for row in rows if row != wanted[row["id"]]]
        # as the page says; a content filter gives the same mail another queue id
        mails = {row.get("message_id") for row in wanted.values() if row.get("queue_id") in between}
        assert {row["message_id"] for row in unlike} <= mails
        assert len(unlike) < len(rows)


def test_the_question_at_the_seam_is_one(tmp_path: Path) -> None:
    newcomer = Newcomer(tmp_path / "host")
    newcomer.program.import_files(ROOT / "demo/mail.log")
    pages = [DOCS / "moving.md", DOCS / "quickstart.md"]
    questions = [question for page in pages for block in blocks_of(page)
                 for question in re.findall(r'"(SELECT .*?)"', block.text, re.S)]
    assert len(questions) == 2
    for question in questions:
        assert newcomer.program.query(question)
    for _, rows, different, without in newcomer.program.query(questions[0]):
        assert (rows, without) == (different, 0)


# Troubleshooting

@cache
def literals() -> list[tuple[Path, ast.JoinedStr | ast.Constant, str]]:
    """Each text in the program, an f-string as one with `*` for what is put in."""
    found: list[tuple[Path, ast.JoinedStr | ast.Constant, str]] = []
    for path in sorted((ROOT / "sink").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "*" for part in node.values]
                found.append((path, node, "".join(map(str, parts))))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append((path, node, node.value))
    return found


def said_by_the_daemon() -> set[str]:
    """What say(), note() and _tell() are handed in the daemon and its drain."""
    texts = {(path, node.lineno, node.col_offset): text for path, node, text in literals()}
    found = set()
    for path in [*(ROOT / "sink/service").glob("*.py"), ROOT / "sink/stores/drain.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in ("say", "note", "_tell", "_trouble"):
                    places = [(path, one.lineno, one.col_offset) for one in node.args]
                    found |= {texts[place] for place in places if place in texts}
    return {text for text in found if len(re.sub(r"\*| times|\W", "", text)) > 4} - {"refused"}


def told(title: str) -> list[str]:
    return cells(section(TROUBLE, title), 0)


@pytest.mark.parametrize("words", [*told("## Words of the daemon"), *told("## Commands that refuse")])
def test_what_is_told_of_the_program_it_says(words: str) -> None:
    assert any(words in text for _, _, text in literals())


def test_all_that_the_daemon_says_is_told() -> None:
    fragments = told("## Words of the daemon")
    spoken = said_by_the_daemon()
    assert len(spoken) >= 15
    assert [text for text in spoken if not any(words in text for words in fragments)] == []


def test_each_exit_status_has_its_line() -> None:
    numbers = {int(number) for line in section(TROUBLE, "## Exit statuses").splitlines()
               for number in re.findall(r"^\| ([\d, ]+) \|", line) for number in number.split(", ")}
    ours = {value for value in vars(fault).values() if type(value) is int} | {hooks.SOFTWARE}
    assert numbers == ours | {2, 3}  # of `status --check`
