"""An import that is killed, stopped or run twice at once, and started again, ends with exactly the same rows."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from sink.fault import OK, TEMPFAIL
from tests.integration.asking import PATIENCE, Answer, ask, command, environment, is_part, one_line, rows
from tests.judges.program import Program

KILLED = -signal.SIGKILL
ROUNDS = 7  # stores
KILLS = 3  # of each
STREAM = ("--stream", "mail")
PIECES = 4

# Runs the command line behind it, and gives itself a signal at the Nth statement that SQLite executes, at the
# Nth chunk that is read, or before the store is used; batches are small, so that there are many transactions.
FAILPOINT = """\
import os, sys
from sink import cli
from sink.sources.archive import Archive
from sink.stores import opening, sqlite
from sink.tools import importer

importer.BATCH = 100
where, number, signal = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connect, lines = opening.connect, Archive.lines
seen = 0

def passes(text):
    global seen
    seen += where == "statement" or where == "commit" and text.startswith("COMMIT")
    if seen == number:
        seen += 1
        os.kill(os.getpid(), signal)

def watched(path, mode):
    connection = connect(path, mode)
    connection.set_trace_callback(passes)
    return connection

def counted(self):
    global seen
    for found in lines(self):
        seen += where == "chunk"
        if seen == number:
            seen += 1
            os.kill(os.getpid(), signal)
        yield found

def bound(self, *given, **more):
    global seen
    seen += where == "bind"
    if seen == number:
        seen += 1
        os.kill(os.getpid(), signal)
    return bind(self, *given, **more)

bind, sqlite.SqliteStore.bind = sqlite.SqliteStore.bind, bound
opening.connect = watched
Archive.lines = counted
sys.exit(cli.main(sys.argv[4:]))
"""


def fail(program: Program, where: str, number: int, what: int, *arguments: str | Path) -> Answer:
    """Run an import that gives itself a signal; its exit status is OK where that place was not reached."""
    done = subprocess.run(
        [
            sys.executable, "-c", FAILPOINT, where, str(number), str(int(what)), "--config", str(program.config),
            "import", *map(str, arguments),
        ],
        env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "a bug" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def pieces(log: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The log cut into files, in the middle of messages; the last is a few lines only."""
    folder = tmp_path_factory.mktemp("pieces")
    lines = log.read_bytes().splitlines(keepends=True)
    cuts = [
        0,
        *(len(lines) * number // (PIECES - 1) for number in range(1, PIECES - 1)),
        len(lines) - 5,
        len(lines),
    ]
    found = []
    for number, (start, end) in enumerate(pairwise(cuts)):
        found.append(folder / f"mail.log.{number}")
        found[-1].write_bytes(b"".join(lines[start:end]))
    return found


@pytest.fixture(scope="module")
def streamed(with_keys: Program, pieces: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """An undisturbed import of the pieces, one after another."""
    made = with_keys.sibling(tmp_path_factory.mktemp("streamed") / "installed")
    for piece in pieces:
        assert ask(made, "import", *STREAM, piece).status == OK
    return made


def open_messages(program: Program) -> list[tuple[object, ...]]:
    """What is remembered; nothing where a kill came before the tables were made."""
    try:
        return program.query("SELECT * FROM open_message ORDER BY stream, token")
    except sqlite3.OperationalError:
        return []


# -- killed


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("statement", (1, 3, 8, 20, 40, 41, 60, 200, 700, 1900)),
        ("commit", (1, 2, 3, 9, 12)),
        ("chunk", (1, 5, 20)),
    ],
)
def test_killed_at_failpoints(
    where: str, numbers: tuple[int, ...], with_keys: Program, log: Path, undisturbed: Program, tmp_path: Path
) -> None:
    """A trace callback runs before its statement, so a COMMIT that is seen is not made."""
    for number in numbers:
        program = with_keys.sibling(tmp_path / f"{where}-{number}")
        assert fail(program, where, number, signal.SIGKILL, log).status == KILLED
        assert is_part(rows(program), rows(undisturbed))
        assert ask(program, "import", log).status == OK
        assert rows(program) == rows(undisturbed)


def test_killed_again_and_again(program: Program, log: Path, undisturbed: Program) -> None:
    """Each time a transaction later; the last run has nothing new to say."""
    for number in range(3, 40, 4):
        fail(program, "commit", number, signal.SIGKILL, log)
    assert ask(program, "import", log).status == OK
    assert rows(program) == rows(undisturbed)


def killed_after(seconds: float, program: Program, *arguments: str | Path) -> bool:
    """Start an import and kill it some time later; say whether it was still running."""
    running = subprocess.Popen(
        [*command(program), "import", *map(str, arguments)],
        env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        running.kill()
    status = running.wait(PATIENCE)
    assert status in (OK, KILLED)
    return status == KILLED


def test_killed_at_random(with_keys: Program, log: Path, undisturbed: Program, tmp_path: Path) -> None:
    """An import that was done before its kill shows that the machine is faster: the next ones get less time."""
    dice, longest = random.Random(), 0.5  # a seed would not help: the machine's own timing decides
    for number in range(ROUNDS):
        program = with_keys.sibling(tmp_path / str(number))
        killed = 0
        while killed < KILLS:
            if killed_after(dice.uniform(longest / 5, longest), program, log):
                killed += 1
            else:
                longest *= 0.9
        assert ask(program, "import", log).status == OK
        assert rows(program) == rows(undisturbed)


# -- a stream of pieces


def test_pieces_end_as_one_file(streamed: Program, undisturbed: Program) -> None:
    assert rows(streamed) == rows(undisturbed)


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("statement", 30),
        ("statement", 400),
        ("commit", 1),
        ("commit", 2),
        ("commit", 4),
        ("commit", 5),
        ("chunk", 2),
    ],
)
def test_a_piece_is_killed_at_a_failpoint(
    where: str, number: int, program: Program, pieces: list[Path], streamed: Program
) -> None:
    killed = 0
    for piece in pieces:
        if fail(program, where, number, signal.SIGKILL, *STREAM, piece).status == KILLED:
            killed += 1
            assert ask(program, "import", *STREAM, piece).status == OK
    assert killed > 0
    assert rows(program) == rows(streamed)
    assert open_messages(program) == open_messages(streamed)


def test_a_piece_is_killed_at_its_last_commit(program: Program, pieces: list[Path], streamed: Program) -> None:
    """Rows and open messages are in one transaction: either the piece is done, or it is not."""
    for piece in pieces:
        number = 1
        while fail(program, "commit", number, signal.SIGKILL, *STREAM, piece).status == KILLED:
            number += 1
        assert number > 1
    assert rows(program) == rows(streamed)
    assert open_messages(program) == open_messages(streamed)


def test_a_piece_is_killed_at_random(
    with_keys: Program, pieces: list[Path], streamed: Program, tmp_path: Path
) -> None:
    dice = random.Random()
    for number in range(3):
        program = with_keys.sibling(tmp_path / str(number))
        for piece in pieces:
            before = open_messages(program)
            # Killed after its last commit a piece is done; then another run would only find what is there.
            if killed_after(dice.uniform(0.05, 0.35), program, *STREAM, piece) and open_messages(program) == before:
                assert ask(program, "import", *STREAM, piece).status == OK
        assert rows(program) == rows(streamed)
        assert open_messages(program) == open_messages(streamed)


def test_a_stream_has_one_writer(program: Program, pieces: list[Path]) -> None:
    """The second stops at once; another stream, or none, may run beside."""
    first = subprocess.Popen(
        [*command(program), "import", *STREAM], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert first.stdin is not None
    data = pieces[0].read_bytes()
    first.stdin.write(data)  # more than a pipe holds: it has begun to read
    first.stdin.flush()
    one_line(
        ask(program, "import", *STREAM, pieces[1]),
        TEMPFAIL,
        "another postsink writes stream",
        "wait until it ends",
    )
    assert ask(program, "import", "--stream", "other", pieces[1]).status == OK
    assert ask(program, "import", pieces[2]).status == OK
    first.communicate(timeout=PATIENCE)
    assert first.returncode == OK


# -- stopped


@pytest.mark.parametrize(
    ("where", "number"), [("chunk", 3), ("chunk", 15), ("commit", 4), ("statement", 300), ("statement", 1500)]
)
def test_stopped_by_the_operator(
    where: str, number: int, program: Program, log: Path, undisturbed: Program
) -> None:
    """With Ctrl-C: what is settled is kept, and the same import goes on from there."""
    answer = fail(program, where, number, signal.SIGINT, log)
    one_line(answer, TEMPFAIL, "stopped; rows so far are kept", "start the same import again")
    kept = rows(program)
    assert kept
    assert is_part(kept, rows(undisturbed))
    assert ask(program, "import", log).status == OK
    assert rows(program) == rows(undisturbed)


def test_stopped_before_it_reads(program: Program, log: Path) -> None:
    answer = fail(program, "bind", 1, signal.SIGINT, log)
    one_line(answer, TEMPFAIL, "stopped; start it again")
    assert ask(program, "import", log).status == OK


def test_stopped_while_it_waits_for_input(program: Program, log: Path, undisturbed: Program) -> None:
    running = subprocess.Popen(
        [*command(program), "import"], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdin is not None
    running.stdin.write(log.read_bytes())  # all but what a pipe holds is then read
    running.stdin.flush()
    running.send_signal(signal.SIGINT)
    _, words = running.communicate(timeout=PATIENCE)
    one_line(Answer(running.returncode, "", words.decode()), TEMPFAIL, "stopped; rows so far are kept")
    assert len(rows(program)) > len(rows(undisturbed)) // 2


def test_a_background_job_ignores_ctrl_c(program: Program, log: Path, undisturbed: Program) -> None:
    """As a shell starts it: SIGINT is ignored, and stays so."""
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    running = subprocess.Popen(
        [*shell, *command(program), "import"], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdin is not None
    data = log.read_bytes()
    running.stdin.write(data)
    running.stdin.flush()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=PATIENCE)
    assert running.returncode == OK
    assert rows(program) == rows(undisturbed)


# -- two at once


@pytest.mark.parametrize("same", [True, False], ids=["one file twice", "two files"])
def test_two_imports_at_once(same: bool, with_keys: Program, pieces: list[Path], tmp_path: Path) -> None:
    """Into one store that neither finds there: both end well, and the rows are those of both."""
    first, second = pieces[0], pieces[0] if same else pieces[1]
    other = with_keys.sibling(tmp_path / "one after another")
    for piece in (first, second):
        ask(other, "import", piece)
    for number in range(5):
        program = with_keys.sibling(tmp_path / str(number))
        both = [
            subprocess.Popen(
                [*command(program), "import", str(piece)], env=environment(), stderr=subprocess.PIPE
            )
            for piece in (first, second)
        ]
        words = [one.communicate(timeout=PATIENCE)[1] for one in both]
        assert [one.returncode for one in both] == [OK, OK], words
        assert rows(program) == rows(other)


def test_other_commands_beside_an_import(program: Program, log: Path, undisturbed: Program) -> None:
    running = subprocess.Popen(
        [*command(program), "import"], env=environment(), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdin is not None
    data = log.read_bytes()
    running.stdin.write(data[: len(data) // 2])
    running.stdin.flush()
    for arguments in (["db", "status"], ["db", "index"], ["pseudonym"], ["keys", "list"], ["db", "init"]):
        assert ask(program, *arguments).status == OK
    running.communicate(data[len(data) // 2 :], timeout=PATIENCE)
    assert running.returncode == OK
    assert rows(program) == rows(undisturbed)
    assert "indexes          made" in ask(program, "db", "status").out
    assert os.listdir(program.folder)
