"""The command line: words on stderr, data on stdout, an exit status of sysexits, and no value where a bug ends it."""

from __future__ import annotations

import argparse
import errno
import json
import marshal
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink import __version__, arguments, cli, fault, hooks
from sink.core.state import VERSION as V
from sink.tools import progress
from sink.tools.interrupt import Interrupt
from tests.judges.program import ROOT, Program

DEMO = ROOT / "demo" / "mail.log"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("cli") / "installed", timezone="UTC").make_keys()


@pytest.fixture
def run(program: Program, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, first without a store; gives (exit status, stdout, stderr).

    What hardens a process for good, or speaks in Python's place, is for processes of their own.
    """
    program.store.unlink(missing_ok=True)
    for name in ("sink.hardening.harden", "sink.hardening.lock", "sink.hooks.install"):
        monkeypatch.setattr(name, lambda: None)

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        status = cli.main(["--config", str(program.config), *map(str, arguments)])
        return status, *capfd.readouterr()

    return command


def raising(error: BaseException) -> Callable[..., int]:
    def command(*_: object) -> int:
        raise error

    return command


# -- how a command ends


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            fault.Fault(fault.DATA, "the file is damaged; get another"),
            fault.DATA,
            "the file is damaged; get another",
        ),
        (KeyboardInterrupt(), fault.TEMPFAIL, "stopped; start it again to do the rest"),
        (
            OSError(errno.ENOSPC, "canary"),
            fault.TEMPFAIL,
            "can't write any more; free some space and start again",
        ),
        (BrokenPipeError(errno.EPIPE, "canary"), fault.OK, ""),
        (SystemExit(0), fault.OK, ""),
    ],
)
def test_how_an_error_ends_a_command(
    error: BaseException, status: int, words: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli.COMMANDS, "keys", raising(error))
    with open(os.devnull, "w") as out:  # what is written to a stdout that nobody reads is dropped for good
        monkeypatch.setattr(sys, "stdout", out)
        assert run("keys", "list") == (status, "", f"postsink: {words}\n" if words else "")


@pytest.mark.parametrize("error", [ValueError("canary"), OSError(errno.EBADF, "canary"), KeyError("canary")])
def test_what_nobody_foresaw_is_raised(error: Exception, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "keys", raising(error))
    with pytest.raises(type(error)):
        run("keys", "list")


def test_a_bug_shows_its_place_and_no_value() -> None:
    """Also not that of the error behind it, and nothing of a line of code."""
    code = (
        "import sys; from sink import cli\n"
        "def broken(*_):\n"
        "    try:\n"
        "        int('canary')\n"
        "    except ValueError as error:\n"
        "        raise KeyError({'canary': 1}) from error\n"
        "cli.COMMANDS['keys'] = broken\n"
        "cli.main(['--config', sys.argv[1], 'keys', 'list'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, os.devnull],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (hooks.SOFTWARE, "")
    assert re.fullmatch(
        r"postsink: a bug: KeyError at <string>:\d+ > cli.py:\d+ > <string>:6; please report this line\n",
        done.stderr,
    )


# -- what is typed


def test_the_version(run: Run) -> None:
    assert run("--version") == (fault.OK, f"postsink {__version__}\n", "")


def parsers() -> Iterator[argparse.ArgumentParser]:
    top = arguments.parser()
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


@pytest.mark.parametrize("parser", [*parsers()], ids=lambda parser: parser.prog)
def test_nothing_is_guessed_and_everything_explained(parser: argparse.ArgumentParser) -> None:
    assert not parser.allow_abbrev
    silent = [action.dest for action in parser._actions if action.help in (None, argparse.SUPPRESS)]
    assert silent in ([], ["command"], ["action"], ["again"])


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("the following arguments are required: COMMAND", "the following arguments are required: COMMAND"),
        ("argument --year: expected one argument", "argument --year: expected one argument"),
        ("argument --json: ignored explicit argument 'canary'", "argument --json: takes no value"),
        ("argument ACTION: invalid choice: 'canary' (choose from 'a', 'b')", "argument ACTION: invalid choice"),
        ("argument --year: invalid _year value: 'canary'", "an argument is not known here, or is too much"),
        ("argument --year: must be a year of four digits", "argument --year: must be a year of four digits"),
        ("unrecognized arguments: canary", "an argument is not known here, or is too much"),
        ("ambiguous option: --canary could match --x, --y", "an argument is not known here, or is too much"),
        ("anything that a newer Python says: canary", "an argument is not known here, or is too much"),
    ],
)
def test_what_was_typed_is_not_repeated(message: str, words: str) -> None:
    assert arguments._without_values(message) == words


@pytest.mark.parametrize(
    "typed", [["--config", "a", "db", "status"], ["db", "--config", "a", "status"], ["db", "status", "--config=a"]]
)
def test_the_config_may_be_named_anywhere(typed: list[str]) -> None:
    assert arguments.parser().parse_args(typed).config == Path("a")
    assert arguments.parser().parse_args(["db", "status"]).config is None


@pytest.mark.parametrize("year", ["1990", "2026", "2100"])
def test_a_year_is_taken(year: str) -> None:
    assert arguments.parser().parse_args(["import", "--year", year]).year == int(year)


@pytest.mark.parametrize("name", ["a", "mail-2026_1", "x" * 64])
def test_a_streams_name_is_taken(name: str) -> None:
    assert arguments.parser().parse_args(["import", "--stream", name]).stream == name


# -- commands


def test_import_says_what_it_did(run: Run, program: Program) -> None:
    status, out, err = run("import", DEMO)
    assert (status, out) == (fault.OK, "")
    assert err.splitlines() == [
        "postsink: 245 lines read, 245 of Postfix",
        "postsink: 29 delivery lines: 29 new, 0 known already",
        "postsink: 5 refusals: 5 new; 2 more of categories that are not kept",
        "postsink: 62 lines ignored, 0 not understood",
        "postsink: refusals unify within one time format only: their fraction of a second counts",
    ]
    assert "29 delivery lines: 0 new, 29 known already" in run("import", DEMO)[2]


def test_import_says_it_to_scripts(run: Run) -> None:
    status, out, err = run("import", "--json", DEMO)
    summary = json.loads(out)
    assert (status, err, out.count("\n")) == (fault.OK, "", 1)
    # DESIGN "Commands": at least these
    assert summary.keys() >= {
        "lines", "postfix_lines", "delivery_lines", "deliveries", "duplicates", "rejects", "ignored", "not_understood",
        "without_sender", "years",
    }  # fmt: skip
    assert (summary["lines"], summary["delivery_lines"], summary["years"]) == (245, 29, [])


def test_import_tells_what_is_odd(run: Run, tmp_path: Path) -> None:
    """Each in a line of its own, none of them quoting the log."""
    odd = tmp_path / "odd.log"
    odd.write_bytes(
        b"canary\n" + b"x" * 70_000 + b"\n"
        b"Nov  2 10:00:00 mx1 postfix[1]: 4A5A321A867: to=<canary@example.com>, relay=none, delay=0, status=sent (x)\n"
        b"Nov  2 10:00:00 mx1 postfix/smtp[1]: canary canary\n"
        b"Nov  2 10:00:00 mx1 postfix/smtp[1]: message repeated 2 times: [ connect to canary]\n"
    )
    status, _, err = run("import", "--year", "2026", odd)
    assert status == fault.OK
    assert "canary" not in err
    for words in (
        "1 line without the name of a daemon", 'permitSlashInProgramname="on"', "1 row without a sender",
        "no syslog lines: 1; too long: 1", "not understood, by daemon: smtp 1", "taken to be of 2026, their zone UTC",
    ):  # fmt: skip
        assert words in err


def test_several_files_go_by_their_time(run: Run, program: Program, tmp_path: Path) -> None:
    lines = DEMO.read_bytes().splitlines(keepends=True)
    parts = [tmp_path / f"part{number}" for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(b"".join(lines[number * 82 : number * 82 + 82]))
    run("import", DEMO)
    whole = program.rows()
    program.store.unlink()
    assert run("import", parts[2], parts[0], parts[1])[0] == fault.OK
    assert program.rows() == whole


A, B = b"a" * 16, b"b" * 16


@pytest.mark.parametrize("table", ["host:mx1", "link:mx1:x", "a message"])
@pytest.mark.parametrize(
    "state",
    [
        b"", b"(", b"[2]", *[
            marshal.dumps(state, 2)
            for state in (
                1, {}, (), (1,), (V,), (V, 1), (V, None), (V, 1, 2), (V, A, 1, 2), [V, 1, []], (V, A, B, []),
                (V, A, B, (1,), [()], [], []), (V, A, B, (1,) * 12, [()], [], ()), (V, A, B, (1,) * 12, [], [()], ()),
                (V, A, B, (0, 0)),
            )
        ],
    ],
)
def test_a_stream_whose_state_is_damaged(
    run: Run, program: Program, tmp_path: Path, table: str, state: bytes
) -> None:
    """Also where it is well-formed, but of another shape."""
    run("import", "--stream", "daily", DEMO)
    with sqlite3.connect(program.store) as store:
        damaged = (table.encode(), state)
        store.execute("INSERT OR REPLACE INTO open_message VALUES ('import:daily', ?, ?)", damaged)
    store.close()
    status, _, words = run("import", "--stream", "daily", DEMO)
    assert status == fault.CONFIG
    assert words.count("\n") == 1


def test_a_stream_of_single_lines(run: Run, program: Program, tmp_path: Path) -> None:
    """A row that one import shows before its time is made anew by each that follows, until its time has come."""
    log = tmp_path / "mail.log"
    stamp = "2026-11-02T10:00:0%d.000000+00:00 mx1 postfix/"
    lines = [
        stamp % 0 + "smtp[1]: 4A5A321A867: to=<a@example.com>, relay=x[198.51.100.77]:25, delay=1, delays=0/0/0/1,"
        " dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 1F00D5EED01)\n",
        stamp % 1 + "qmgr[1]: 4A5A321A867: from=<b@example.com>, size=5, nrcpt=1 (queue active)\n",
        stamp % 2 + "smtpd[1]: 1F00D5EED01: client=localhost[127.0.0.1]\n",
        stamp % 3 + "cleanup[1]: 4A5A321A867: message-id=<1@example.com>\n",
        stamp % 9 + "qmgr[1]: 4A5A321A867: removed\n",
    ]
    found = []
    for line in lines:
        log.write_text(line)
        assert run("import", "--stream", "daily", log)[0] == fault.OK
        (row,) = program.rows()
        found.append((row["message_size"], row["is_internal"], row["message_id"] is not None))
    assert found == [(None, 0, False), (5, 0, False), (5, 1, False), (5, 1, True), (5, 1, True)]
    log.write_text("".join(lines))
    streamed = program.rows()
    program.store.unlink()
    run("import", log)
    assert program.rows() == streamed


def test_addresses_become_pseudonyms(program: Program) -> None:
    """A line each, in the order they came; one mailbox has one pseudonym however it is written."""
    lines = [
        b"alice@example.com",
        b" Alice+shop@EXAMPLE.com. ",
        b"",
        b"<>",
        b"root",
        b"\xff\xfe@\0",
        b"bob@example.com",
    ]
    out = program.run("pseudonym", stdin=b"\n".join(lines)).decode().split("\n")
    assert len(out) == len(lines) + 1 and out[-1] == ""
    assert out[0] == out[1] and re.fullmatch(r"[0-9a-f]{32}@[0-9a-f]{32}", out[0])
    assert out[2] == out[3] == ""
    assert re.fullmatch(r"[0-9a-f]{32}", out[4])
    assert out[6].partition("@")[2] == out[0].partition("@")[2]
    assert "alice" not in "".join(out)


def test_explain_shows_each_line_and_what_comes_of_it(run: Run) -> None:
    status, out, err = run("explain", DEMO)
    assert (status, err) == (fault.OK, "")
    lines = out.splitlines()
    assert [line for line in lines if line[:1] not in "#=?"] == DEMO.read_text().splitlines()
    assert sum(line.startswith("=> delivery ") for line in lines) == 29
    assert sum(line.startswith("=> reject ") for line in lines) == 5
    assert "sender=P(" in out


def test_explain_needs_no_keys_and_writes_nothing(program: Program, tmp_path: Path) -> None:
    bare = Program(tmp_path / "bare")
    odd = b"junk\n2026-11-02T10:00:00Z mx1 sshd[1]: hello\n2026-11-02T10:00:00Z mx1 postfix/smtp[1]: what?\n\xff\n"
    out = bare.run("explain", stdin=odd).decode()
    assert out.splitlines() == [
        "junk", "#   not a syslog line", "2026-11-02T10:00:00Z mx1 sshd[1]: hello", "#   not a line of Postfix",
        "? 2026-11-02T10:00:00Z mx1 postfix/smtp[1]: what?", "\\xff", "#   not a syslog line",
    ]  # fmt: skip
    assert sorted(path.name for path in bare.folder.iterdir()) == ["postsink.yaml"]


def test_db_status(run: Run, program: Program) -> None:
    run("import", DEMO)
    status, out, err = run("db", "status")
    assert (status, err) == (fault.OK, "")
    found = dict(re.split(r"  +", line, maxsplit=1) for line in out.splitlines() if "  " in line)
    assert (found["deliveries"], found["refusals"], found["open messages"]) == ("29", "5", "0")
    assert found["first logged"] == "2026-11-02T07:00:12Z"


def test_db_reset(run: Run, program: Program) -> None:
    run("import", DEMO)
    assert run("db", "reset", "--yes")[1:] == ("deleted 29 deliveries and 5 refusals\n", "")
    assert program.rows() == []
    assert run("db", "reset", "--yes")[1] == "deleted 0 deliveries and 0 refusals\n"


@pytest.mark.parametrize(
    ("typed", "status", "left"),
    [(b"yes\n", fault.OK, 0), (b"no\n", fault.TEMPFAIL, 29), (b"\n", fault.TEMPFAIL, 29)],
)
def test_db_reset_asks_at_a_terminal(typed: bytes, status: int, left: int, run: Run, program: Program) -> None:
    run("import", DEMO)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "sink", "--config", str(program.config), "db", "reset"]
    os.write(ours, typed)
    done = subprocess.run(
        command,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == status
    assert done.stderr.startswith(f"delete 29 deliveries and 5 refusals of {program.store}? (yes/no) ")
    assert len(program.rows()) == left


# -- at a terminal


def test_progress_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken away at the end, and holds numbers only."""
    from collections import Counter

    shown = progress.Progress(1_000, Counter(lines=5))
    shown.show(500)
    shown.clear()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(progress.time, "monotonic", iter((10.0, 10.1, 10.3)).__next__)
    for total, text in ((1_000, "\r[###############               ]  50%  5 lines "), (0, "\r5 lines ")):
        monkeypatch.setattr(progress.time, "monotonic", iter((10.0, 10.1)).__next__)
        shown = progress.Progress(total, Counter(lines=5))
        shown.show(500)
        shown.show(900)
        shown.clear()
        assert capsys.readouterr().err == text + "\r\x1b[K"


# -- Ctrl-C


def test_an_interrupt_waits_for_its_place() -> None:
    """While something is done with a piece nothing is raised; before the next one is read it is."""
    done = []
    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt):
        for piece in interrupt.reading([1, 2, 3]):
            done.append(piece)
            if piece == 2:
                signal.raise_signal(signal.SIGINT)
                done.append("whole")
    assert done == [1, 2, "whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_ends_a_wait() -> None:
    def waiting() -> Iterator[int]:
        yield 1
        signal.raise_signal(signal.SIGINT)
        yield 2

    with Interrupt() as interrupt, pytest.raises(KeyboardInterrupt):
        assert list(interrupt.reading(waiting())) == []


def test_an_interrupt_after_the_last_piece_is_too_late() -> None:
    with Interrupt() as interrupt:
        assert list(interrupt.reading([1])) == [1]
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            assert list(interrupt.reading([1, 2])) == [1, 2]
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
