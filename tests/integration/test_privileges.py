"""Root becomes the owner of the installation before it touches keyring or store, and leaves nothing of root's there."""

from __future__ import annotations

import argparse
import bz2
import gzip
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from sink import arguments
from sink.fault import CONFIG, DATA, NOINPUT, NOPERM, OK, UNAVAILABLE, USAGE
from tests.integration.asking import Answer, ask, command, environment, one_line, rows
from tests.integration.owned import NOBODY, STRANGER, ask_who, owned
from tests.judges.program import ROOT, Program

DEMO = ROOT / "demo" / "mail.log"
ADDRESS = b"alice@example.com\n"
PHRASE = "seven small boats drift past"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; run it as root")


@pytest.fixture(params=[NOBODY, STRANGER], ids=["account", "no-account"])
def user(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, which another user may not enter."""
    made = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def program(folder: Path, user: int) -> Program:
    return owned(folder, user)


class Case(NamedTuple):
    """A command line of a command; the logs that it names are root's alone."""

    words: list[str]
    stdin: bytes = b""
    typed: tuple[str, ...] = ()  # passphrases
    stays: bool = False  # root, since it touches neither keyring nor store, or needs root for what it does
    status: int | None = OK  # None: whatever this machine's syslog makes of it


# One a command, in an order in which each finds what it needs.
CASES = {
    "keys init": Case(["keys", "init"]),
    "keys list": Case(["keys", "list"]),
    "db init": Case(["db", "init"]),
    "import": Case(["import", "mail.log", "mail.log.gz", "mail.log.bz2"]),
    "db upgrade": Case(["db", "upgrade"]),
    "db status": Case(["db", "status"]),
    "db index": Case(["db", "index"]),
    "run": Case(["run", "--stdin"], DEMO.read_bytes()),
    "omprog": Case(["omprog"], stays=True),
    "status": Case(["status"], status=UNAVAILABLE),
    "pseudonym": Case(["pseudonym"], ADDRESS),
    "report": Case(["report", "--output", "report.html"]),
    "explain": Case(["explain", "mail.log"], stays=True),
    "scrub": Case(["scrub", "mail.log", "mail.log.gz"]),
    "keys rotate": Case(["keys", "rotate"]),
    "keys destroy": Case(["keys", "destroy", "1", "--yes"], status=USAGE),
    "keys export": Case(["keys", "export", "--to", "exported"], typed=(PHRASE, PHRASE)),
    "keys import": Case(["keys", "import", "exported"], typed=(PHRASE,)),
    "keys reseal": Case(["keys", "reseal"]),
    "lookup": Case(["lookup"], ADDRESS),
    "forget": Case(["forget", "--yes"], ADDRESS),
    "export": Case("export --recipient A --release 1 --output ../lib/set".split(), status=DATA),  # rows are too few
    "db prune": Case(["db", "prune", "--older-than", "36500d", "--yes"]),
    "doctor": Case(["doctor"], stays=True, status=None),
    "db reset": Case(["db", "reset", "--yes"]),
    "enable": Case(["enable", "rsyslog", "--dry-run"], stays=True, status=None),
    "disable": Case(["disable", "all", "--dry-run"], stays=True, status=None),
}
CHOSEN = {"keys", "db"}  # their actions are commands of their own


def commands() -> set[str]:
    """The commands of the command line, `keys` and `db` with their actions."""
    found = set()
    for action in arguments.parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                below = [one for each in parser._actions if not each.option_strings for one in each.choices or ()]
                found |= {f"{name} {one}" for one in below} if name in CHOSEN else {name}
    return found


def test_each_command_leaves_nothing_of_root_in_the_owners_folder(program: Program, user: int) -> None:
    assert set(CASES) == commands(), "tell above how a new command is called, and whether it stays root"
    log = DEMO.read_bytes()
    for name, data in (("mail.log", log), ("mail.log.gz", gzip.compress(log)), ("mail.log.bz2", bz2.compress(log))):
        (program.folder / name).write_bytes(data)
        (program.folder / name).chmod(0o600)
    program.config.chmod(0o600)
    program.folder.chmod(0o700)
    for name, case in CASES.items():
        answer, who = ask_who(program, *case.words, stdin=case.stdin, typed=case.typed)
        assert who.is_root if case.stays else who.is_only(user), (name, who, answer)
        assert answer.status == case.status or case.status is None, (name, answer)
        assert who.mask == 0o077, name
        strangers = [path for path in program.store.parent.rglob("*") if path.lstat().st_uid != user]
        assert strangers == [], name
    for path in program.store.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert stat.S_IMODE((program.folder / "seal.key").stat().st_mode) == 0o400
    assert (program.folder / "seal.key").stat().st_uid == 0


def test_what_a_dropped_command_does_is_right(program: Program) -> None:
    """Of a log, a seal and a config that root alone can read; the unpacking program runs as the user, too."""
    ask(program, "keys", "init")
    log = program.folder / "mail.log.zst"
    subprocess.run(["zstd", "-q", DEMO, "-o", log], check=True)
    for path in (log, program.config):
        path.chmod(0o600)
    program.folder.chmod(0o700)
    assert ask(program, "import", log).status == OK
    assert len(rows(program)) == 34
    assert len(ask(program, "pseudonym", stdin=ADDRESS).out) == 66


def test_direct_becomes_the_owner_too(program: Program, user: int) -> None:
    ask(program, "keys", "init")
    answer, who = ask_who(program, "omprog", "--direct", stdin=b"".join(DEMO.read_bytes().splitlines(True)[:20]))
    assert answer.status == OK
    assert answer.out == "OK\n" * 21
    assert who.is_only(user)


def test_home_is_that_of_the_account(program: Program, user: int) -> None:
    """A library may look there for files of its own, and must not in root's."""
    _, who = ask_who(program, "keys", "init", HOME="/nowhere")
    assert who.home == ("/nonexistent" if user == NOBODY else "/nowhere")


def test_root_stays_root_where_root_owns_the_folder(folder: Path) -> None:
    program = owned(folder, 0)
    for words in (["keys", "init"], ["db", "init"]):
        answer, who = ask_who(program, *words)
        assert answer.status == OK
        assert who.is_root


# -- what stands in the way


@pytest.mark.parametrize("name", ["s.sqlite", "s.sqlite-wal", "s.sqlite.imports", "s.sqlite.live.lock", "keyring"])
def test_what_root_left_there_before_is_told_with_the_remedy(name: str, program: Program, user: int) -> None:
    ask(program, "keys", "init")
    ask(program, "db", "init")
    path = program.store.parent / name
    path.touch()
    os.chown(path, 0, 0)
    answer = ask(program, "db", "init")
    one_line(answer, CONFIG, f"{path} does not belong to", "; type: chown ")
    subprocess.run(answer.err.partition("; type: ")[2].split(), check=True)
    assert ask(program, "db", "init").status == OK
    assert {one.stat().st_uid for one in program.store.parent.iterdir()} == {user}


def limited(program: Program, *words: str, stdin: bytes = b"") -> Answer:
    """Run a command as root without the right to become anyone else, as Debian 13's rsyslog.service has it."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv of util-linux is missing")
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-setuid,-setgid", "--", *command(program), *words],
        input=stdin, capture_output=True, check=False, env=environment(), cwd="/",
    )  # fmt: skip
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def test_root_that_may_become_nobody_else_does_not_go_on(program: Program) -> None:
    assert ask(program, "keys", "init").status == OK
    before = sorted(program.store.parent.iterdir())
    answer = limited(program, "db", "init")
    one_line(answer, NOPERM, "root may not become", "run this as", "or let root own that folder")
    direct = limited(program, "omprog", "--direct", stdin=DEMO.read_bytes())
    one_line(direct, NOPERM, "root may not become", "use the daemon and the relay: postsink enable rsyslog")
    assert direct.out == ""
    assert sorted(program.store.parent.iterdir()) == before
    os.chown(program.store.parent, 0, 0)
    assert limited(program, "db", "init").status == OK


# -- what root alone can read


def test_a_credential_that_root_alone_can_read(program: Program, user: int) -> None:
    """As systemd gives it to a service without User=."""
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(yaml.safe_dump({**known, "seal": {"credential": "seal"}}))
    given = program.folder / "credentials"
    given.mkdir(0o700)
    (given / "seal").write_text(os.urandom(32).hex())
    (given / "seal").chmod(0o400)
    for words in (["keys", "init"], ["keys", "list"]):
        answer, who = ask_who(program, *words, CREDENTIALS_DIRECTORY=str(given))
        assert answer.status == OK, answer
        assert who.is_only(user)


def test_a_seal_that_is_missing_is_called_so(program: Program) -> None:
    """Though the owner may not look into its folder, and would say that it has no permission."""
    ask(program, "keys", "init")
    (program.folder / "seal.key").unlink()
    program.folder.chmod(0o700)
    answer = ask(program, "keys", "list")
    one_line(answer, CONFIG, "seal.key is missing", "restore it")


def test_a_seal_of_the_owners_own(program: Program, user: int) -> None:
    ask(program, "keys", "init")
    os.chown(program.folder / "seal.key", user, user)
    assert ask(program, "keys", "list").status == OK
    os.chown(program.folder / "seal.key", user + 1, user)
    assert ask(program, "keys", "list").status in (CONFIG, NOPERM, NOINPUT)


def test_header_tokens_of_the_owners_own(program: Program, user: int) -> None:
    """As `enable postfix` makes them: the daemon reads them, and so does every command of root's."""
    tokens = program.folder / "header-tokens"
    tokens.write_text("k7Qm2Zx9RtW4bN8s\n")
    tokens.chmod(0o600)
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(yaml.safe_dump({**known, "header_tokens": str(tokens)}))
    for owner in (0, user):
        os.chown(tokens, owner, owner)
        assert ask(program, "keys", "init" if owner == 0 else "list").status == OK
    os.chown(tokens, user + 1, user)
    one_line(ask(program, "keys", "list"), CONFIG, "belongs to another user")
