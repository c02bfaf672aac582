"""`import --scheduler PLACE`: workers of a Dask cluster read, whoever is killed; no secret and no raw line travels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink import config
from sink.fault import CONFIG, DATA, NOINPUT, OK, TEMPFAIL, UNAVAILABLE, USAGE
from sink.hooks import SOFTWARE
from sink.installation import open_keyring
from tests.integration import fleet
from tests.integration.asking import PATIENCE, Answer, ask, environment, is_part, one_line, rows, said
from tests.integration.cluster import Cluster
from tests.judges.program import TOKEN, Program

# What a worker runs before it is one: all that it writes to the network goes into a file, too.
LISTENING = """
from tornado.iostream import IOStream
write = IOStream.write_to_fd
sent = open(folder / f"sent-{os.getpid()}", "ab", buffering=0)
def heard(self, data):
    sent.write(data)
    return write(self, data)
IOStream.write_to_fd = heard
"""
DYING = """
def dying(self):
    for number, parcel in enumerate(parcels(self)):
        if number == {number} and first("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        yield parcel
chains.Chain.parcels = dying
"""
CLIENT = """\
import os, signal, sys
from pathlib import Path
from sink import cli
from sink.tools import cluster, errands, importer, sharing
cluster._CONNECT = 2
importer.BATCH = 100
{code}
sys.exit(cli.main(sys.argv[1:]))
"""


def drive(program: Program, code: str, *arguments: str | Path) -> Answer:
    """Run a command, with some code before it, and small parcels."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT.format(code=code), "--config", str(program.config), *map(str, arguments)],
        env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def files(log: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six hosts, two files each."""
    hosts = fleet.by_host(log.read_bytes(), 6)
    return fleet.rotated(tmp_path_factory.mktemp("fleet"), hosts, 2)


@pytest.fixture(scope="module")
def alone(with_keys: Program, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Program:
    """What one process makes of them."""
    made = with_keys.sibling(tmp_path_factory.mktemp("alone") / "installed")
    answer = ask(made, "import", "--json", *files)
    assert answer.status == OK
    (made.folder / "summary").write_text(answer.out)
    return made


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers that nobody kills."""
    made = Cluster(tmp_path_factory.mktemp("steady"), 3, LISTENING)
    yield made
    made.stop()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters that a test may harm."""
    made: list[Cluster] = []

    def one(workers: int, code: str = "", scheduler: str = "") -> Cluster:
        (tmp_path / "cluster").mkdir()
        made.append(Cluster(tmp_path / "cluster", workers, code, scheduler))
        return made[-1]

    yield one
    for cluster in made:
        cluster.stop()


# -- equal


def test_three_workers_make_the_rows_of_one_process(
    steady: Cluster, program: Program, files: list[Path], alone: Program
) -> None:
    answer = ask(program, "import", "--json", "--scheduler", steady.place, *files)
    assert (answer.status, answer.err) == (OK, "")
    assert rows(program) == rows(alone)
    assert json.loads(answer.out) == json.loads((alone.folder / "summary").read_text())
    again = json.loads(ask(program, "import", "--json", "--scheduler", steady.place, *files).out)
    assert again["deliveries"] == 0
    assert rows(program) == rows(alone)


def test_an_address_is_a_place_too(steady: Cluster, program: Program, log: Path, undisturbed: Program) -> None:
    """One file, of two hosts: one worker reads it."""
    address = json.loads(steady.place.read_text())["address"]
    assert ask(program, "import", "--scheduler", address, log).status == OK
    assert rows(program) == rows(undisturbed)


@pytest.mark.parametrize("number", [0, 2])
def test_a_worker_is_killed_in_the_middle(
    number: int, make: Callable[..., Cluster], program: Program, files: list[Path], alone: Program
) -> None:
    """With -9, one of three; Dask gives its chain to another one."""
    cluster = make(3, DYING.format(number=number))
    answer = drive(program, "", "import", "--json", "--scheduler", cluster.place, *files)
    assert (cluster.folder / "killed").exists()
    assert [one.process.poll() for one in cluster.members].count(-signal.SIGKILL) == 1
    assert (answer.status, answer.err) == (OK, "")
    assert rows(program) == rows(alone)
    assert json.loads(answer.out) == json.loads((alone.folder / "summary").read_text())


def test_workers_are_killed_again_and_again(make: Callable[..., Cluster], program: Program, files: list[Path]) -> None:
    """Dask gives a chain up that costs it one worker after another; here the first is one too many."""
    scheduler = "import dask\ndask.config.set({'distributed.scheduler.allowed-failures': 0})"
    cluster = make(2, DYING.format(number=1), scheduler)
    answer = drive(program, "", "import", "--scheduler", cluster.place, *files)
    one_line(answer, TEMPFAIL, "since its Dask workers were killed; look at their memory, and start again")


def test_all_workers_are_killed(
    make: Callable[..., Cluster], program: Program, files: list[Path], alone: Program
) -> None:
    cluster = make(2, DYING.format(number=2).replace(' and first("killed")', ""))
    answer = drive(program, "cluster._PATIENCE = 1", "import", "--scheduler", cluster.place, *files)
    one_line(answer, TEMPFAIL, "its workers are gone; rows so far are kept")
    assert is_part(rows(program), rows(alone))
    cluster.add(1)
    assert drive(program, "", "import", "--scheduler", cluster.place, *files).status == OK
    assert rows(program) == rows(alone)


def test_a_worker_that_was_thought_to_be_lost_goes_on(
    make: Callable[..., Cluster], program: Program, files: list[Path], alone: Program
) -> None:
    """Two attempts at each chain at a time; one of them comes to its end first."""
    code = """
import secrets
send = errands._Sender.send
def twice(self, parcel, moved=(0, 0)):
    attempt, sent = self.attempt, self.sent
    self.attempt = attempt[::-1]
    if parcel.outcome is None:
        send(self, parcel, moved)
    self.attempt, self.sent = attempt, sent
    send(self, parcel, moved)
errands._Sender.send = twice
"""
    answer = drive(program, "", "import", "--json", "--scheduler", make(2, code).place, *files)
    assert (answer.status, answer.err) == (OK, "")
    assert rows(program) == rows(alone)
    assert json.loads(answer.out) == json.loads((alone.folder / "summary").read_text())


@pytest.mark.parametrize("lost", ["raise TimeoutError", "self.sent += 1; return"])
def test_a_parcel_does_not_come(
    lost: str, make: Callable[..., Cluster], program: Program, files: list[Path], alone: Program
) -> None:
    """Nobody took it in time, or the scheduler lost it: it is seen, and rows so far are right."""
    code = f"""
send = errands._Sender.send
def losing(self, parcel, moved=(0, 0)):
    if self.sent == 1 and self.number == 0:
        {lost}
    send(self, parcel, moved)
errands._Sender.send = losing
"""
    answer = drive(program, "", "import", "--scheduler", make(1, code).place, *files)
    one_line(answer, TEMPFAIL, "rows so far are kept; start the same import again")
    assert is_part(rows(program), rows(alone))


def test_the_scheduler_is_killed(make: Callable[..., Cluster], program: Program, files: list[Path]) -> None:
    cluster = make(1)
    code = f"""
gather = sharing._gather
def killing(parcels, *rest):
    def counted():
        for number, parcel in enumerate(parcels):
            yield parcel
            if number == 2:
                os.kill({cluster.scheduler.process.pid}, signal.SIGKILL)
    return gather(counted(), *rest)
sharing._gather = killing
"""
    answer = drive(program, code, "import", "--scheduler", cluster.place, *files)
    one_line(answer, TEMPFAIL, "rows so far are kept", "start the same import again")


def test_ctrl_c_lets_the_workers_go(
    steady: Cluster, program: Program, files: list[Path], alone: Program
) -> None:
    code = """
gather = sharing._gather
def stopped(parcels, *rest):
    def counted():
        for number, parcel in enumerate(parcels):
            yield parcel
            if number == 2:
                os.kill(os.getpid(), signal.SIGINT)
    return gather(counted(), *rest)
sharing._gather = stopped
"""
    answer = drive(program, code, "import", "--scheduler", steady.place, *files)
    one_line(answer, TEMPFAIL, "stopped; rows so far are kept")
    assert is_part(rows(program), rows(alone))
    assert ask(program, "import", "--scheduler", steady.place, *files).status == OK
    assert rows(program) == rows(alone)


# -- secrets


def test_nothing_raw_and_no_secret_travels(
    make: Callable[..., Cluster], program: Program, files: list[Path], alone: Program
) -> None:
    """Neither to the scheduler, nor into what Dask logs; also not of a bug, whose exception quotes a line."""
    cluster = make(2, LISTENING)
    assert ask(program, "import", "--scheduler", cluster.place, *files).status == OK
    wrong = LISTENING + """
def wrong(self):
    yield next(parcels(self))
    raise ValueError("alice@example.com")
chains.Chain.parcels = wrong
"""
    for one in cluster.members[1:]:
        one.kill()
    cluster.add(1, wrong)
    answer = drive(program, "", "import", "--scheduler", cluster.place, *files)
    assert answer.status == SOFTWARE
    said(answer, "a Dask worker says: a bug: ValueError at ", "please report this line")
    logged = cluster.stop()
    sent = b"".join(path.read_bytes() for path in cluster.folder.glob("sent-*"))
    assert len(sent) > 1_000_000 and b"mx1-0" in sent  # as it is, not packed
    keys = open_keyring(config.load(program.config))
    assert keys.active.secret
    secrets = [keys.active.secret, keys.correlation, (program.folder / "seal.key").read_bytes().strip()]
    secrets += [secret.hex().encode() for secret in secrets]
    for word in (b"example.", b"alice", b"203.0.113.", TOKEN.encode(), *secrets):
        assert word not in sent
        assert word not in logged.encode()
        assert word not in answer.err.encode()


def test_a_worker_is_as_hard_as_we_are(make: Callable[..., Cluster], program: Program, log: Path) -> None:
    code = """
import ctypes, resource
def telling(self):
    first(f"told {[ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)[0]]}"
          f" {sys.excepthook.__module__}")
    yield from parcels(self)
chains.Chain.parcels = telling
"""
    cluster = make(1, code)
    assert ask(program, "import", "--scheduler", cluster.place, log).status == OK
    assert [path.name for path in cluster.folder.glob("told*")] == ["told [0, 0] sink.hooks"]


# -- what goes wrong


@pytest.fixture
def elsewhere(program: Program, tmp_path: Path) -> str:
    """Code that has workers find another config than who sends them."""
    other = tmp_path / "elsewhere"
    program.sibling(other)
    return f"""
made = errands.errand
def told(*given):
    return {{**made(*given), "config": {str(other / "postsink.yaml")!r}}}
errands.errand = told
"""


def test_another_keyring(steady: Cluster, program: Program, files: list[Path], elsewhere: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/keyring").unlink()
    Program(tmp_path / "elsewhere", timezone="UTC").make_keys()
    answer = drive(program, elsewhere, "import", "--scheduler", steady.place, *files)
    one_line(answer, CONFIG, "a Dask worker says: it has another keyring", "keys export and import")
    assert rows(program) == []


def test_no_keyring(steady: Cluster, program: Program, files: list[Path], elsewhere: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere/keyring").unlink()
    answer = drive(program, elsewhere, "import", "--scheduler", steady.place, *files)
    one_line(answer, NOINPUT, "a Dask worker says: ", "keyring is missing")


def test_another_config(steady: Cluster, program: Program, files: list[Path], elsewhere: str, tmp_path: Path) -> None:
    """What makes other rows is named; what makes the same ones may differ."""
    path = tmp_path / "elsewhere/postsink.yaml"
    same = path.read_text()
    path.write_text(same + "local_domains: [example.com]\npatience: 7d\n")
    answer = drive(program, elsewhere, "import", "--scheduler", steady.place, *files)
    one_line(answer, CONFIG, "its config differs in local_domains, patience; make them alike")
    assert rows(program) == []
    path.write_text(same.replace("timezone: UTC", "timezone: Asia/Tokyo") + "keep: 90d\n")
    assert drive(program, elsewhere, "import", "--scheduler", steady.place, *files).status == OK


def test_a_worker_without_postsink(make: Callable[..., Cluster], program: Program, log: Path) -> None:
    code = """
for name in [name for name in sys.modules if name.partition(".")[0] == "sink"]:
    sys.modules[name] = None
"""
    answer = drive(program, "", "import", "--scheduler", make(1, code).place, log)
    one_line(answer, UNAVAILABLE, "a Dask worker finds no postsink like this one; install it there")


def test_another_version(steady: Cluster, program: Program, files: list[Path]) -> None:
    code = "errands.__version__ = '99.1'"
    answer = drive(program, code, "import", "--scheduler", steady.place, *files)
    one_line(answer, UNAVAILABLE, "a Dask worker says: it has postsink", "install 99.1 there")


def test_another_file_of_that_name(steady: Cluster, program: Program, files: list[Path], tmp_path: Path) -> None:
    """As when a log is rotated meanwhile, or the folder is not shared."""
    log = tmp_path / "mail.log"
    log.write_bytes(next(path for path in files if not path.suffix[1:].isalpha()).read_bytes())
    code = f"""
made = errands.errand
def told(*given):
    lines = Path({str(log)!r}).read_bytes().splitlines(keepends=True)
    Path({str(log)!r}).write_bytes(b"".join(lines[len(lines) // 2 :]))
    return made(*given)
errands.errand = told
"""
    answer = drive(program, code, "import", "--scheduler", steady.place, log)
    one_line(answer, TEMPFAIL, "a Dask worker says: ", "is another file here, or has changed")
    code = code.replace("write_bytes(b", "unlink() # ")
    answer = drive(program, code, "import", "--scheduler", steady.place, log)
    one_line(answer, NOINPUT, "a Dask worker says: there is no file")


def test_a_damaged_file_ends_its_chain_alone(
    steady: Cluster, program: Program, files: list[Path], alone: Program, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.gz"
    packed = next(path for path in files if path.suffix == ".gz")
    damaged.write_bytes(packed.read_bytes()[:-2000])
    paths = [damaged if path == packed else path for path in files]
    answer = ask(program, "import", "--json", "--scheduler", steady.place, *paths)
    one_line(answer, DATA, "damaged or cut off")
    assert len(rows(program)) > len(rows(alone)) * 0.8


def test_no_scheduler(program: Program, log: Path) -> None:
    answer = drive(program, "", "import", "--scheduler", "tcp://127.0.0.1:9", log)
    one_line(answer, UNAVAILABLE, "no Dask scheduler answers there")
    answer = drive(program, "", "import", "--scheduler", "alice@example.com", log)
    one_line(answer, UNAVAILABLE, "no Dask scheduler answers there")
    assert "alice" not in answer.err


def test_no_workers(make: Callable[..., Cluster], program: Program, log: Path) -> None:
    answer = ask(program, "import", "--scheduler", make(0).place, log)
    one_line(answer, TEMPFAIL, "has no workers", "dask worker ADDRESS")


def test_no_dask(program: Program, log: Path) -> None:
    code = "import sys; sys.modules['dask'] = None; from sink import cli; sys.exit(cli.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", str(program.config), "import", "--scheduler", "x", str(log)],
        env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    one_line(Answer(done.returncode, done.stdout, done.stderr), UNAVAILABLE, "needs Dask; type: ")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ((), "name files"),
        (("-",), "name files"),
        (("--stream", "daily", "a"), "leave out --stream"),
        (("--jobs", "2", "a"), "leave one of them out"),
        (("/dev/null",), "can be read twice"),
    ],
)
def test_what_needs_one_process(words: tuple[str, ...], hint: str, program: Program) -> None:
    one_line(ask(program, "import", "--scheduler", "x", *words), USAGE, hint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be root; run it as root")
def test_a_worker_of_root_does_not_read_for_another_user(
    steady: Cluster, program: Program, log: Path, elsewhere: str, tmp_path: Path
) -> None:
    os.chown(tmp_path / "elsewhere", 65534, 65534)
    answer = drive(program, elsewhere, "import", "--scheduler", steady.place, log)
    assert answer.status != OK
    said(answer, "a Dask worker says: it runs as root; start it as the user who owns")
