"""`import --jobs N`: whatever the files, and whoever is killed, the rows are those of one process."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sink.fault import DATA, OK, TEMPFAIL, USAGE
from sink.hooks import SOFTWARE
from tests.integration import fleet
from tests.integration.asking import PATIENCE, Answer, ask, command, environment, is_part, one_line, rows, said
from tests.integration.owned import NOBODY, ask_who, owned
from tests.judges.program import Program

TWO = ("--jobs", "2")
KILLED = -signal.SIGKILL
ONE_CHAIN = "one process reads them"

# Runs the command line behind it, with something done in a worker (or before they begin), told in Python.
DRIVER = """\
import os, resource, signal, sys
from multiprocessing import Barrier
from pathlib import Path
from sink import cli, hardening
from sink.tools import chains, importer, jobs

importer.BATCH = 100
parcels, read = chains.Chain.parcels, jobs.Team.read
folder, parent = Path(sys.argv[1]), os.getpid()

def first(name):
    # Whether this is the first process that comes here.
    try:
        os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
"""


def drive(program: Program, code: str, *arguments: str | Path, **given: Any) -> Answer:
    """Run a command, with some code before it."""
    code = f"{DRIVER}\n{code}\nsys.exit(cli.main(sys.argv[2:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(program.folder), "--config", str(program.config), *map(str, arguments)],
        env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE, **given,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def hosts(log: Path) -> dict[bytes, list[bytes]]:
    return fleet.by_host(log.read_bytes(), 4)


@pytest.fixture(scope="module")
def files(hosts: dict[bytes, list[bytes]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four hosts, three files each."""
    return fleet.rotated(tmp_path_factory.mktemp("fleet"), hosts, 3)


@pytest.fixture(scope="module")
def alone(with_keys: Program, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """What one process makes of them."""
    made = with_keys.sibling(tmp_path_factory.mktemp("alone") / "installed")
    answer = ask(made, "import", "--json", *files)
    assert answer.status == OK
    (made.folder / "summary").write_text(answer.out)
    assert len(rows(made)) > 1_000
    return made


def summary_of(program: Program) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((program.folder / "summary").read_text())
    return found


def same_as_one(program: Program, with_keys: Program, *paths: Path) -> None:
    """Rows and summary of an import by two processes are those of one."""
    other = with_keys.sibling(program.folder.parent / "other")
    one = ask(other, "import", "--json", *paths)
    two = ask(program, "import", "--json", *TWO, *paths)
    assert (one.status, two.status) == (OK, OK)
    assert rows(program) == rows(other)
    assert json.loads(two.out) == json.loads(one.out)


# -- equal


@pytest.mark.parametrize("jobs", [2, 16])
def test_several_processes_make_the_rows_of_one(jobs: int, program: Program, files: list[Path], alone: Program) -> None:
    """Rotated files of each host, in any order, packed in all ways."""
    random.shuffle(files := list(files))
    answer = ask(program, "import", "--json", "--jobs", jobs, *files)
    assert answer.status == OK
    assert answer.err == ""
    assert rows(program) == rows(alone)
    assert json.loads(answer.out) == summary_of(alone)
    again = json.loads(ask(program, "import", "--json", *TWO, *files).out)
    assert (again["deliveries"], again["duplicates"]) == (0, again["delivery_lines"] + again["expired_lines"])
    assert rows(program) == rows(alone)


def test_two_chains_are_read_at_the_same_time(program: Program, files: list[Path], alone: Program) -> None:
    """Each of the two waits for the other in the middle of its first chain."""
    code = """
both = Barrier(2)
def waiting(self):
    for number, parcel in enumerate(parcels(self)):
        if number == 1 and first(f"pid-{os.getpid()}"):
            both.wait(30)
        yield parcel
chains.Chain.parcels = waiting
"""
    assert drive(program, code, "import", *TWO, *files).status == OK
    assert len(list(program.folder.glob("pid-*"))) == 2
    assert rows(program) == rows(alone)


def test_files_that_share_hosts_are_one_chain(
    program: Program, with_keys: Program, hosts: dict[bytes, list[bytes]], tmp_path: Path
) -> None:
    """A relay's files hold all hosts: there is nothing to share out, which a line says."""
    everything = list(hosts.values())
    halves = [[lines[: len(lines) // 2] for lines in everything], [lines[len(lines) // 2 :] for lines in everything]]
    paths = fleet.mixed(tmp_path, halves)
    same_as_one(program, with_keys, *paths)
    said(ask(program, "import", "--json", *TWO, *paths), ONE_CHAIN)


def test_one_line_joins_two_files(
    program: Program, with_keys: Program, hosts: dict[bytes, list[bytes]], tmp_path: Path
) -> None:
    """The last line of a host's life stands in another host's file, in another form of line: rows go by it."""
    one, two, three, _ = hosts.values()
    paths = fleet.mixed(tmp_path, [[one], [two], [three]])
    with paths[1].open("ab") as file:
        file.write(b"<22>1 " + one[-1].replace(b": ", b" - - - ", 1).replace(b"[", b" ", 1))
    same_as_one(program, with_keys, *paths)
    with paths[2].open("ab") as file:  # now all three
        file.write(one[-1])
    assert ONE_CHAIN in ask(program, "import", *TWO, *paths).err


def test_hosts_that_go_together(
    program: Program, with_keys: Program, hosts: dict[bytes, list[bytes]], tmp_path: Path
) -> None:
    one, two, three, four = hosts.values()
    paths = fleet.mixed(tmp_path, [[one[:300], two], [one[300:]], [three, four]])
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "of others").write_bytes(b"2026-11-02T08:00:00+00:00 mx1-0 cron[7]: nothing of Postfix\n" * 9)
    same_as_one(program, with_keys, *paths, tmp_path / "empty", tmp_path / "of others")


def test_files_that_overlap(
    program: Program, with_keys: Program, hosts: dict[bytes, list[bytes]], tmp_path: Path
) -> None:
    """Of a line that came twice the first row stays, wherever transactions begin and end."""
    one, two, *_ = hosts.values()
    paths = []
    for name, lines in (("a", one[:2000]), ("b", one[1900:]), ("c", two), ("d", two[100:1100])):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(b"".join(lines))
    same_as_one(program, with_keys, *paths)


def test_lines_that_come_after_the_look(
    program: Program, with_keys: Program, hosts: dict[bytes, list[bytes]], tmp_path: Path
) -> None:
    """Another host's lines, written to a file meanwhile: none becomes a row that its own lines would have completed."""
    one, two, *_ = hosts.values()
    paths = fleet.mixed(tmp_path, [[one], [two[: len(two) // 2]]])
    other = with_keys.sibling(tmp_path / "other")
    assert ask(other, "import", *paths).status == OK
    rest = tmp_path / "rest"
    rest.write_bytes(b"".join(two[len(two) // 2 :]))
    code = f"""
def later(self, found):
    with open({str(paths[0])!r}, "ab") as file:
        file.write(Path({str(rest)!r}).read_bytes())
    return read(self, found)
jobs.Team.read = later
"""
    answer = drive(program, code, "import", *TWO, *paths)
    assert answer.status == TEMPFAIL
    said(answer, "lines of another host meanwhile", "start the import again")
    assert len(rows(program)) > 100
    assert is_part(rows(program), rows(other))
    assert ONE_CHAIN in ask(program, "import", *TWO, *paths).err


# -- killed


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_killed_process_costs_nothing(number: int, program: Program, files: list[Path], alone: Program) -> None:
    """Another one does its chain again; the summary counts each row once."""
    code = f"""
def dying(self):
    for number, parcel in enumerate(parcels(self)):
        if number == {number} and first("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield parcel
chains.Chain.parcels = dying
"""
    answer = drive(program, code, "import", "--json", *TWO, *files)
    assert (program.folder / "killed").exists()
    assert (answer.status, answer.err) == (OK, "")
    assert rows(program) == rows(alone)
    assert json.loads(answer.out) == summary_of(alone)


def test_killed_while_it_looks_through(program: Program, files: list[Path], alone: Program) -> None:
    code = """
look = jobs.hosts_of
def dying(archive):
    if first("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    return look(archive)
jobs.hosts_of = dying
"""
    assert drive(program, code, "import", *TWO, *files).status == OK
    assert (program.folder / "killed").exists()
    assert rows(program) == rows(alone)


def test_all_killed(program: Program, files: list[Path], alone: Program) -> None:
    """As when memory is short: there is no end of it but this one."""
    code = """
def dying(self):
    for number, parcel in enumerate(parcels(self)):
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        yield parcel
chains.Chain.parcels = dying
"""
    answer = drive(program, code, "import", *TWO, *files)
    one_line(answer, TEMPFAIL, "were killed", "start it again, with fewer --jobs")
    assert is_part(rows(program), rows(alone))
    assert ask(program, "import", *TWO, *files).status == OK
    assert rows(program) == rows(alone)


def children(process: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


@pytest.fixture
def running(program: Program, files: list[Path]) -> Iterator[subprocess.Popen[bytes]]:
    """An import that has begun, in a session of its own."""
    process = subprocess.Popen(
        [*command(program), "import", *TWO, *map(str, files)],
        env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and len(children(process.pid)) < 2:
        pass
    with process:
        yield process
        process.kill()


def gone(processes: list[int]) -> bool:
    """Wait until processes of others have ended."""
    for one in processes:
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(one)
            ended = select.select([handle], [], [], PATIENCE)[0]
            os.close(handle)
            if not ended:
                return False
    return True


@pytest.mark.parametrize("round", range(3))
def test_a_process_is_killed_at_random(
    round: int, running: subprocess.Popen[bytes], program: Program, alone: Program
) -> None:
    victims = children(running.pid)
    with suppress(subprocess.TimeoutExpired):
        running.wait(random.uniform(0.0, 0.3))
    if victims:
        with suppress(ProcessLookupError):
            os.kill(random.choice(victims), signal.SIGKILL)
    _, words = running.communicate(timeout=PATIENCE)
    assert running.returncode == OK, words
    assert rows(program) == rows(alone)


def test_who_started_them_is_killed(
    running: subprocess.Popen[bytes], program: Program, files: list[Path], alone: Program
) -> None:
    """They end by themselves."""
    workers = children(running.pid)
    running.kill()
    assert running.wait(PATIENCE) == KILLED
    assert gone(workers)
    assert ask(program, "import", *TWO, *files).status == OK
    assert rows(program) == rows(alone)


def test_ctrl_c(program: Program, files: list[Path], alone: Program) -> None:
    """It reaches all processes of the terminal; one of them says so."""
    code = """
def stopped(self):
    for number, parcel in enumerate(parcels(self)):
        yield parcel
        if number == 3 and first("stopped"):
            os.killpg(0, signal.SIGINT)
chains.Chain.parcels = stopped
"""
    answer = drive(program, code, "import", *TWO, *files, start_new_session=True)
    one_line(answer, TEMPFAIL, "stopped; rows so far are kept", "start the same import again")
    kept = rows(program)
    assert kept and is_part(kept, rows(alone))
    assert ask(program, "import", *TWO, *files).status == OK
    assert rows(program) == rows(alone)


# -- what goes wrong


def test_a_damaged_file_ends_its_chain_alone(
    program: Program, hosts: dict[bytes, list[bytes]], tmp_path: Path
) -> None:
    one, two, *_ = hosts.values()
    paths = fleet.rotated(tmp_path, {b"a": one, b"b": two}, 2)
    packed = next(path for path in paths if path.suffix == ".gz")
    packed.write_bytes(packed.read_bytes()[:-4000])
    answer = ask(program, "import", "--json", *TWO, *paths)
    one_line(answer, DATA, packed.name, "damaged or cut off")
    other = one if packed.name.startswith("b") else two
    delivered = sum(b" status=" in line for line in other)
    summary = json.loads(answer.out)
    assert summary["lines"] > len(other)
    assert len({row["id"] for row in rows(program)}) >= delivered


def test_a_bug_in_a_process_shows_no_value(program: Program, files: list[Path]) -> None:
    code = """
def wrong(self):
    yield next(parcels(self))
    if first("wrong"):
        raise ValueError("alice@example.com")
    yield from parcels(self)
chains.Chain.parcels = wrong
"""
    answer = drive(program, code, "import", *TWO, *files)
    assert answer.status == SOFTWARE
    assert all(word.startswith("postsink: a ") for word in answer.words), answer.err
    assert "a bug: ValueError" in answer.err and "alice" not in answer.err
    said(answer, "report the line above")


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk and become another user")


def test_a_full_disk(program: Program, files: list[Path], alone: Program) -> None:
    """One process alone writes; the others end with it."""
    code = """
import sqlite3
from sink.stores import opening
make = opening.connect
def capped(path, mode):
    connection = make(path, mode)
    connection.execute("PRAGMA max_page_count = 40")
    return connection
opening.connect = capped
"""
    ask(program, "db", "init")
    one_line(drive(program, code, "import", *TWO, *files), TEMPFAIL, "full or failing; free some space")
    assert rows(program) and is_part(rows(program), rows(alone))
    assert ask(program, "import", *TWO, *files).status == OK
    assert rows(program) == rows(alone)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--jobs", "0"), "from 1 to 64"),
        (("--jobs", "65"), "from 1 to 64"),
        (("--jobs", "two"), "from 1 to 64"),
        (("--jobs", "2"), "leave out --jobs and --scheduler"),
        (("--jobs", "2", "-", "a"), "leave out --jobs and --scheduler"),
        (("--jobs", "2", "--stream", "daily", "a", "b"), "leave out --stream, or --jobs"),
    ],
)
def test_what_needs_one_process(words: tuple[str, ...], hint: str, program: Program) -> None:
    one_line(ask(program, "import", *words), USAGE, hint)
    assert not program.store.exists()


def test_a_pipe_can_not_be_read_twice(program: Program, files: list[Path]) -> None:
    reader, writer = os.pipe()
    os.write(writer, files[0].read_bytes()[:4000] + b"\n")
    os.close(writer)
    done = subprocess.run(
        [*command(program), "import", *TWO, f"/dev/fd/{reader}", str(files[1])],
        env=environment(), capture_output=True, text=True, pass_fds=(reader,), check=False, timeout=PATIENCE,
    )  # fmt: skip
    os.close(reader)
    answer = Answer(done.returncode, done.stdout, done.stderr)
    one_line(answer, USAGE, "can be read twice", "leave out --jobs and --scheduler")


def test_one_file(program: Program, log: Path, undisturbed: Program) -> None:
    answer = ask(program, "import", *TWO, log)
    assert ONE_CHAIN in answer.words[0]
    assert answer.status == OK
    assert rows(program) == rows(undisturbed)


# -- secrets


def test_processes_are_as_hard_as_the_one_that_forked_them(program: Program, files: list[Path]) -> None:
    code = """
import ctypes
def telling(self):
    seen = [ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0],
            sys.excepthook.__module__, os.getpid() != parent, signal.getsignal(signal.SIGINT) is signal.SIG_IGN]
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY
    locked = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmLck")]
    seen.append(not limit or int(locked[0].split()[1]) > 10_000)
    first(f"told {seen}")
    yield from parcels(self)
chains.Chain.parcels = telling
"""
    assert drive(program, code, "import", *TWO, *files).status == OK
    told = [path.name for path in program.folder.glob("told*")]
    assert told == ["told [0, 0, 'sink.hooks', True, True, True]"]


@needs_root
def test_root_opens_the_files_and_reads_them_as_the_owner(files: list[Path], alone: Program) -> None:
    """The files are root's alone, and so is what is begun anew by another process."""
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        program = owned(folder, NOBODY)
        logs = []
        for path in files:
            logs.append(program.folder / path.name)
            logs[-1].write_bytes(path.read_bytes())
            logs[-1].chmod(0o600)
        assert ask_who(program, "keys", "init")[0].status == OK
        answer, who = ask_who(program, "import", "--json", *TWO, *logs)
        assert answer.status == OK, answer.err
        assert who.is_only(NOBODY)
        assert json.loads(answer.out) == summary_of(alone)
    finally:
        shutil.rmtree(folder)
