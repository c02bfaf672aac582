"""`postsink scrub` as it is typed: files, pipes, and what can go wrong with them."""

from __future__ import annotations

import bz2
import gzip
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from sink.fault import DATA, NOINPUT, OK, USAGE
from tests.judges.program import ROOT, Program

DEMO = (ROOT / "demo" / "mail.log").read_bytes()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("scrub"), timezone="UTC").make_keys()


def test_files_and_pipes_give_the_same_bytes(program: Program) -> None:
    """However packed, and in the order they are named."""
    plain, packed, other = (program.folder / name for name in ("mail.log", "mail.log.gz", "mail.log.bz2"))
    plain.write_bytes(DEMO)
    packed.write_bytes(gzip.compress(DEMO))
    other.write_bytes(bz2.compress(DEMO))
    once = program.run("scrub", str(plain))
    assert program.run("scrub", stdin=DEMO) == program.run("scrub", "-", stdin=packed.read_bytes()) == once
    assert program.run("scrub", str(packed), str(other)) == once + once
    assert once.count(b"\n") == DEMO.count(b"\n")
    assert not program.store.exists()


def test_the_pseudonyms_are_those_of_the_command_and_the_rows(program: Program) -> None:
    line = b"2026-11-02T10:00:00+00:00 mx1 postfix/qmgr[1]: 4A5A321A867: from=<%b>, size=1, nrcpt=1 (queue active)\n"
    shown = program.run("scrub", stdin=line % b"alice@example.com")
    assert shown.split(b"<")[1].split(b">")[0].decode() == program.addresses(["alice@example.com"])["alice@example.com"]


def test_bytes_that_are_no_text_come_to_no_harm(program: Program) -> None:
    """Each line has its line, also where it holds what other programs take for a line's end."""
    lines = [b"\xff\xfe\0\x85", b"a\rb", b"\xe2\x80\xa8", b"", b"x" * 100_000]
    found = program.run("scrub", "--year", "2026", stdin=b"\n".join(lines)).split(b"\n")
    assert found[:4] == [b"[not understood: %d bytes]" % len(one) for one in lines[:4]]
    assert len(found) == len(lines) + 1


def test_who_reads_may_leave(program: Program) -> None:
    """As `| head` does."""
    command = [sys.executable, "-m", "sink", "--config", str(program.config), "scrub"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          cwd=ROOT) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        with suppress(BrokenPipeError):  # it may have ended by then
            child.stdin.write(DEMO * 20)
            child.stdin.close()
        said = child.stderr.read()
    assert child.returncode == OK, said
    assert b"bug" not in said


def test_what_is_damaged_is_told_after_what_could_be_read(program: Program) -> None:
    packed = gzip.compress(DEMO * 50)
    broken: Path = program.folder / "broken.gz"
    broken.write_bytes(packed[: len(packed) // 2])
    found = program.run("scrub", str(broken), expect=DATA)
    assert found
    assert found.endswith(b"\n")
    assert program.run("scrub", str(program.folder / "none.log"), expect=NOINPUT) == b""
    assert program.run("scrub", "-", "-", expect=USAGE) == b""
    assert program.run("scrub", "--digits", "3", expect=USAGE) == b""


def test_a_file_whose_year_nothing_tells_stops_it_before_a_word_goes_out(program: Program) -> None:
    (program.folder / "dated.log").write_bytes(DEMO)
    line = b"Nov  2 10:00:00 mx1 postfix/smtpd[1]: connect from unknown[203.0.113.7]\n"
    assert program.run("scrub", str(program.folder / "dated.log"), "-", stdin=line, expect=DATA) == b""
