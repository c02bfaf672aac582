"""`postsink lookup` and `postsink forget`, of a store beside which nothing runs.

Whose rows are whose says an independent witness (people.py).
"""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

from sink import cli
from sink.fault import CONFIG, DATA, FINDINGS, NOINPUT, NOPERM, OK, TEMPFAIL, UNAVAILABLE, USAGE
from tests.integration.asking import PATIENCE, Answer, ask, command, environment, one_line
from tests.integration.owned import NOBODY, STRANGER, owned
from tests.integration.people import (
    ALICE,
    BOB,
    CAROL,
    START,
    VIEWS,
    Person,
    Witness,
    attempt,
    check_forgotten,
    clock,
    line,
    message,
    opened,
    queue_ids,
    refused,
    removed,
    tables,
    with_epochs,
    written,
)
from tests.judges.program import Program

HOUR = 3600


class Case(NamedTuple):
    """An address as an admin types it, its normal form, where it stands, and lines that name it."""

    typed: str
    person: Person
    columns: set[str]
    lines: list[bytes]


def cases() -> dict[str, Case]:
    ids, seconds = queue_ids(), itertools.count(0, 20)

    def mail(sender: str, recipient: str = "bob@example.net", **more: Any) -> list[bytes]:
        return message(next(seconds), next(ids), sender, recipient, **more)

    composed, decomposed = (unicodedata.normalize(form, "jürgen") for form in ("NFC", "NFD"))
    return {
        "sender": Case("ALICE@Example.COM", ALICE, {"sender"}, mail("alice@example.com")),
        "detail": Case("dave@example.com", Person("dave", "example.com"), {"recipient"},
                       mail("", "dave+shop@example.com")),
        "detail asked for": Case("dan+x@example.com", Person("dan", "example.com"), {"recipient"},
                                 mail("", "dan@example.com")),
        "bare recipient": Case("root", Person("root"), {"recipient"}, mail("alice@example.com", "root")),
        "bare sender": Case("cron", Person("cron"), {"sender"}, mail("cron")),
        "quoted": Case('"odd one"@example.com', Person("odd one", "example.com"), {"recipient"},
                       mail("", '"odd one"@example.com')),
        "at in quotes": Case('"a@b"@example.com', Person("a@b", "example.com"), {"recipient"},
                             mail("", '"a@b"@example.com')),
        "IDN": Case("info@bücher.example", Person("info", "xn--bcher-kva.example"), {"recipient"},
                    mail("", "info@xn--bcher-kva.example")),
        "SMTPUTF8": Case(f"{decomposed}@example.com", Person(composed, "example.com"), {"recipient"},
                         mail("", f"{composed}@example.com")),
        "literal": Case("eve@[IPv6:2001:DB8::0:1]", Person("eve", "[ipv6:2001:db8::1]"), {"recipient"},
                        mail("", "eve@[IPv6:2001:db8::1]")),
        "in brackets": Case("<erin@example.com>", Person("erin", "example.com"), {"recipient"},
                            mail("", "erin@example.com")),
        "verp list": Case("crew@lists.example.org", Person("crew", "lists.example.org"), {"sender"},
                          mail("bounce-crew=mia=example.org@lists.example.org", "mia@example.org")),
        "verp member": Case("mona@example.org", Person("mona", "example.org"), {"list_recipient"},
                            mail("bounce-team=mona=example.org@lists.example.org", "desk@example.org")),
        "srs": Case("dora@example.net", Person("dora", "example.net"), {"sender"},
                    mail("SRS0=xJ4k=AB=example.net=dora@fwd.example.org")),
        "batv": Case("frank@example.net", Person("frank", "example.net"), {"sender"},
                     mail("prvs=2345abcdef=frank@example.net")),
        "login": Case("gina@example.com", Person("gina", "example.com"), {"submitter"},
                      mail("office@example.com", sasl="gina@example.com")),
        "bare login": Case("gus", Person("gus"), {"submitter"}, mail("office@example.com", sasl="gus")),
        "original recipient": Case("desk@example.com", Person("desk", "example.com"), {"original_recipient"},
                                   mail("", "hugo@example.com", original="desk@example.com")),
        "lists": Case("ines@example.com", Person("ines", "example.com"), {"from", "to", "cc", "bcc"},
                      mail("", "x@example.com", headers=[
                          "From: Ines <ines@example.com>", "To: zoe@example.com, Ines@example.com",
                          "Cc: ines+a@example.com, abe@example.net", "Bcc: ines@example.com"])),
        "everywhere": Case("jan@example.com", Person("jan", "example.com"),
                           {"sender", "recipient", "original_recipient", "submitter", "from", "to"},
                           mail("jan@example.com", "jan+box@example.com", original="JAN@example.com",
                                sasl="jan@example.com", headers=["From: jan@example.com", "To: jan@example.com"])),
        "refused": Case("kim@example.com", Person("kim", "example.com"), {"recipient"},
                        [refused(next(seconds), "lea@example.net", "kim@example.com")]),
        "refused sender": Case("max@example.net", Person("max", "example.net"), {"sender"},
                               [refused(next(seconds), "max@example.net", "x@example.com")]),
    }  # fmt: skip


CASES = cases()
DEFERRED = [  # one message, five attempts: one outcome
    *opened(1000, "FFFFA321867", "carol@example.org", headers=["From: carol@example.org"]),
    *(attempt(1000 + 300 * number, "FFFFA321867", "nina@example.com", "deferred") for number in range(1, 5)),
    attempt(2600, "FFFFA321867", "nina@example.com"), removed(2600, "FFFFA321867"), clock(2620),
]  # fmt: skip
NINA = Person("nina", "example.com")
LOG = [*(one for case in CASES.values() for one in case.lines), *DEFERRED]


@pytest.fixture(scope="module")
def whole(with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A store in which everybody stands; nobody changes it."""
    return imported(with_keys, tmp_path_factory.mktemp("whole") / "installed", LOG)


@pytest.fixture
def some(whole: Program, tmp_path: Path) -> Program:
    """A copy of it."""
    return copied(whole, tmp_path / "copy")


def imported(keys: Program, folder: Path, lines: list[bytes]) -> Program:
    made = keys.sibling(folder)
    made.import_files(written(folder / "mail.log", lines))
    return made


def copied(program: Program, folder: Path) -> Program:
    made = program.sibling(folder)
    for path in program.store.parent.glob(f"{program.store.name}*"):
        shutil.copy2(path, folder / path.name)
    return made


def here(program: Program, *arguments: str, stdin: bytes = b"") -> Answer:
    """Run a command in this process, which takes a tenth of the time; what hardens a process is left out."""
    assert program.folder.stat().st_uid == os.geteuid(), "it would become another user for good"
    patched = [mock.patch(name) for name in ("sink.hardening.harden", "sink.hardening.lock", "sink.hooks.install")]
    patched.append(mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin))))
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        for one in (*patched, redirect_stdout(out), redirect_stderr(err)):
            stack.enter_context(one)
        status = cli.main(["--config", str(program.config), *arguments])
    return Answer(status, out.getvalue(), err.getvalue())


def looked_up(program: Program, *options: str, typed: str) -> list[dict[str, Any]]:
    answer = here(program, "lookup", "--json", *options, stdin=f"{typed}\n".encode())
    assert answer.status == (OK if answer.out else FINDINGS), answer
    return [json.loads(row) for row in answer.out.splitlines()]


def forgotten(program: Program, *typed: str) -> Answer:
    answer = here(program, "forget", "--yes", stdin="".join(f"{one}\n" for one in typed).encode())
    assert (answer.status, answer.err) == (OK, ""), answer
    return answer


# -- lookup


@pytest.mark.parametrize("name", CASES)
def test_each_form_of_an_address_is_found_where_it_stands(whole: Program, name: str) -> None:
    case = CASES[name]
    expected = Witness(whole).rows(case.person)
    assert case.columns <= {column for columns in expected.values() for column in columns}
    found = looked_up(whole, typed=case.typed)
    assert {row["id"]: row["as"] for row in found} == expected
    known = {row["id"]: row for view in VIEWS for row in whole.rows(view)}
    for row in found:
        assert {key: value for key, value in row.items() if key not in ("table", "as")} == known[row["id"]]
        assert row["table"] == ("delivery" if "queue_id" in row else "reject")


def test_a_table_tells_what_became_of_a_mail(with_keys: Program, tmp_path: Path) -> None:
    plain = "3Pt2mN2VXxznjll"
    lines = [
        *message(0, "4A5A321A867", "alice@example.com", "bob@example.net", sasl="alice@example.com"),
        refused(2, "carol@example.org", "alice@example.com"),
        *message(4, plain, "carol@example.org", "alice@example.com"),
    ]  # fmt: skip
    store = imported(with_keys, tmp_path / "hashed", lines)
    answer = here(store, "lookup", stdin=b"alice@example.com\n")
    ids = {row["recipient"]: row["queue_id"][:8] for row in store.rows()}
    witness = Witness(store)
    assert answer.err == ""
    assert answer.out == (
        "logged at             as                message   what became of it\n"
        f"2026-11-02T10:00:01Z  sender,submitter  {ids[witness.text(BOB)]}  sent 2.0.0 remote by smtp after 1 s\n"
        "2026-11-02T10:00:02Z  recipient         -         refused RCPT 552 5.2.2 over_quota\n"
        f"2026-11-02T10:00:05Z  recipient         {ids[witness.text(ALICE)]}  sent 2.0.0 remote by smtp after 1 s\n"
    )
    # A queue id in clear is shown whole: those of one second begin alike.
    known = store.config.read_text()
    clear = Program(tmp_path / "clear")
    for name in ("keyring", "seal.key"):
        shutil.copy2(store.folder / name, clear.folder / name)
    clear.config.write_text(known + "queue_id: plain\n")
    clear.import_files(store.folder / "mail.log")
    assert here(clear, "lookup", stdin=b"bob@example.net\n").out.splitlines()[1].split()[2] == "4A5A321A867"
    assert plain in here(clear, "lookup", stdin=b"carol@example.org\n").out


def test_a_look_up_is_narrowed_by_time_and_role(with_keys: Program, tmp_path: Path) -> None:
    pairs = [("alice@example.com", "bob@example.net"), ("bob@example.net", "alice@example.com"),
             ("alice@example.com", "carol@example.org"), ("carol@example.org", "alice@example.com")]  # fmt: skip
    lines = [one for at, (pair, name) in enumerate(zip(pairs, queue_ids(), strict=False))
             for one in message(at * HOUR, name, *pair, headers=[f"From: {pair[0]}", f"Cc: {pair[1]}"])]  # fmt: skip
    store = imported(with_keys, tmp_path / "made", lines)

    def hours(*options: str, typed: str = "alice@example.com") -> list[int]:
        return [int(row["logged_at"][11:13]) - 10 for row in looked_up(store, *options, typed=typed)]

    assert hours() == [0, 1, 2, 3]
    assert hours("--since", "2026-11-02T11:00:01") == [1, 2, 3]
    assert hours("--since", "2026-11-02T11:00:02") == [2, 3]
    assert hours("--until", "2026-11-02T13:00:01+01:00") == [0, 1]
    assert hours("--until", "2026-11-02T13:00:02+01:00") == [0, 1, 2]
    assert hours("--since", "2026-11-02", "--until", "2026-11-03") == [0, 1, 2, 3]
    assert hours("--since", "2026-11-03") == []
    assert hours("--sender") == [0, 2]
    assert hours("--recipient") == [1, 3]
    assert hours("--sender", typed="alice@example.com\ncarol@example.org") == [0, 2, 3]
    assert hours("--sender", "--recipient", typed="carol@example.org\nalice@example.com") == [3]
    assert hours("--sender", "--recipient", typed="bob@example.net\ncarol@example.org") == []
    answer = here(store, "lookup", "--sender", "--recipient", stdin=b"alice@example.com\n")
    one_line(answer, USAGE, "two lines")


def test_all_epochs_are_searched_but_the_destroyed(with_keys: Program, tmp_path: Path) -> None:
    program = with_epochs(with_keys.sibling(tmp_path / "made"), START + HOUR, START + 2 * HOUR)
    lines = [one for at, name in zip(range(3), queue_ids(), strict=False)
             for one in message(at * HOUR + 600, name, "alice@example.com", "bob@example.net")]  # fmt: skip
    program.import_files(written(tmp_path / "mail.log", lines))
    before = tables(program)
    assert [row["epoch"] for row in looked_up(program, typed="alice@example.com")] == [1, 2, 3]
    witness, known = Witness(program), tables(program)
    with_epochs(program, destroyed=[1])
    assert [row["epoch"] for row in looked_up(program, typed="alice@example.com")] == [2, 3]
    assert "2 deliveries" in forgotten(program, "alice@example.com").out
    del witness.secrets[1]
    assert check_forgotten(before, tables(program), witness, ALICE) == 2
    assert len(looked_up(program, typed="bob@example.net")) == 2
    assert known["delivery_text"].keys() == tables(program)["delivery_text"].keys()
    assert (program.folder / "s.sqlite.forgotten").read_text().split("\n")[0].startswith("2 ")


@pytest.mark.parametrize(
    ("setting", "typed", "lost"),
    [
        ("fold_local_part", "Olga@example.com", "olga@example.com"),
        ("cut_detail", "pia+a@example.com", "pia@example.com"),
    ],
)
def test_the_store_s_own_normal_form_counts(
    with_keys: Program, tmp_path: Path, setting: str, typed: str, lost: str
) -> None:
    program = with_keys.sibling(tmp_path / "made")
    known = program.config.read_text()
    program.config.write_text(f"{known}{setting}: no\n")
    program.import_files(written(tmp_path / "mail.log", message(0, "4A5A321A867", typed, "bob@example.net")))
    assert looked_up(program, typed=lost) == []
    assert len(looked_up(program, typed=typed)) == 1
    forgotten(program, typed)
    assert looked_up(program, typed=typed) == []
    program.config.write_text(known)
    for asked in (["lookup"], ["forget", "--yes"]):
        one_line(here(program, *asked, stdin=typed.encode()), CONFIG, setting, "set it back")


def test_a_look_up_can_be_read_by_head(undisturbed: Program, tmp_path: Path) -> None:
    store = copied(undisturbed, tmp_path / "copy")
    words = [*command(store), "lookup"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment()) as asked:  # fmt: skip
        assert asked.stdin is not None and asked.stdout is not None and asked.stderr is not None
        asked.stdin.write(b"person0@example.com\n")
        asked.stdin.close()
        assert asked.stdout.readline().startswith(b"logged at ")
        asked.stdout.close()
        assert (asked.wait(PATIENCE), asked.stderr.read()) == (OK, b"")


# -- what is asked


@pytest.mark.parametrize("name", ["lookup", "forget"])
@pytest.mark.parametrize(
    ("stdin", "status", "words"),
    [
        (b"", USAGE, "no address on standard input"),
        (b"\n \n", USAGE, "no address on standard input"),
        (b"alice@example.com\n<>\n", DATA, "address 2 is empty, or the null sender"),
        (b"Alice <alice@example.com>\n", DATA, "line 1 is no single address"),
        (b"alice@example.com\n\nalice@example.com, bob@example.net\n", DATA, "line 3 is no single address"),
        (b"alice@example.com bob@example.net\n", DATA, "line 1 is no single address"),
        (b"a" * 1_000_000, DATA, "line 1 is no single address"),
    ],
)
def test_what_is_no_address_is_told(some: Program, name: str, stdin: bytes, status: int, words: str) -> None:
    before = some.store.read_bytes()
    answer = here(some, name, *(["--yes"] if name == "forget" else []), stdin=stdin)
    one_line(answer, status, words)
    assert "@" not in answer.err + answer.out
    assert some.store.read_bytes() == before and not Path(f"{some.store}.forgotten").exists()


@pytest.mark.parametrize(
    "stdin", [b"\xef\xbb\xbfalice@example.com\r\n", b"\n\n\talice@example.com \x20\n\n", b"alice@example.com"]
)
def test_what_editors_leave_around_an_address_is_no_part_of_it(whole: Program, stdin: bytes) -> None:
    answer = here(whole, "lookup", "--json", stdin=stdin)
    assert len(answer.out.splitlines()) == len(Witness(whole).rows(ALICE)) > 0


@pytest.mark.parametrize("stdin", [bytes(range(14, 256)), b"\0\xff\xfe", b"\xc3(@\xff.example\n"])
def test_binary_junk_is_nobody(some: Program, stdin: bytes) -> None:
    one_line(here(some, "lookup", stdin=stdin), FINDINGS, "no rows")
    before = tables(some)
    assert here(some, "forget", "--yes", stdin=stdin).out.startswith("forgotten in 0 deliveries, 0 refusals")
    assert tables(some) == before


@pytest.mark.parametrize("name", ["lookup", "forget"])
@pytest.mark.parametrize("words", [["canary@example.com"], ["--", "-canary@example.com"], ["x", "canary@example.com"],
                                   ["--canary@example.com"], ["--yes=canary@example.com"],
                                   ["--json=canary@example.com"], ["--since", "canary@example.com"]])  # fmt: skip
def test_addresses_on_the_command_line_are_refused_and_not_repeated(some: Program, name: str, words: list[str]) -> None:
    answer = here(some, name, *words, stdin=b"alice@example.com\n")
    told = [] if "--since" in words or "=" in words[0] else ["on standard input, a line each"]
    one_line(answer, USAGE, *told)
    assert "canary" not in answer.err + answer.out


def test_whoever_does_not_agree_changes_nothing(some: Program) -> None:
    before = some.store.read_bytes()
    answer = here(some, "forget", stdin=b"alice@example.com\n")
    one_line(answer, USAGE, f"forget 1 address in {len(Witness(some).rows(ALICE))} rows", "--yes")
    assert some.store.read_bytes() == before and not Path(f"{some.store}.forgotten").exists()


@pytest.mark.parametrize(("typed", "status"), [("yes", OK), ("no", TEMPFAIL), ("", TEMPFAIL), ("YES", TEMPFAIL)])
def test_at_a_terminal_the_question_comes_after_the_addresses(some: Program, typed: str, status: int) -> None:
    before = tables(some)
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen([*command(some), "forget"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=environment(), bufsize=0) as asked:  # fmt: skip
            os.close(theirs)
            assert asked.stderr is not None
            assert asked.stderr.readline() == b"postsink: type addresses, a line each, then an empty line\n"
            os.write(ours, b"alice@example.com\nkim@example.com\n\n")
            number = len(Witness(some).rows(ALICE, Person("kim", "example.com")))
            question = f"forget 2 addresses in {number} rows, for good? (yes/no) ".encode()
            assert os.read(asked.stderr.fileno(), 4096) == question
            os.write(ours, f"{typed}\n".encode())
            assert asked.wait(PATIENCE) == status
            rest = asked.stderr.read()
    finally:
        os.close(ours)
    assert rest == (b"" if status == OK else b"postsink: nothing was done; answer yes to do it\n")
    if status == OK:
        assert check_forgotten(before, tables(some), Witness(some), ALICE, Person("kim", "example.com")) == number
    else:
        assert tables(some) == before and not Path(f"{some.store}.forgotten").exists()


# -- who asks

# Root, who loads what a stranger can't, and becomes another user.
AS_STRANGER = """\
import os, sys
import sink.tools.person, encodings.idna, stringprep
from sink import arguments, cli, config
config.load(arguments.parser().parse_args(sys.argv[2:]).config)  # all that is loaded late
os.setgroups([])
os.setresgid(int(sys.argv[1]), int(sys.argv[1]), int(sys.argv[1]))
os.setresuid(int(sys.argv[1]), int(sys.argv[1]), int(sys.argv[1]))
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.fixture
def service() -> Iterator[Program]:
    """An installation as the package lays it out, with rows."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user; run it as root")
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        program = owned(folder, NOBODY)
        assert ask(program, "keys", "init").status == OK
        assert ask(program, "import", written(folder / "mail.log", LOG)).status == OK
        yield program
    finally:
        shutil.rmtree(folder)


OPENED = {
    "all": [], "the keyring": ["keyring"], "the folder": ["."], "the store": ["s.sqlite"],
    "whatever there is": [".", "keyring", "s.sqlite", "../etc/seal.key"],
}  # fmt: skip


@pytest.mark.parametrize("opened_to_all", OPENED)
def test_another_user_learns_nothing(service: Program, opened_to_all: str) -> None:
    lib = service.store.parent
    for name in OPENED[opened_to_all]:
        (lib / name).chmod(0o777)
    before = {path: (path.read_bytes(), path.stat()) for path in lib.iterdir()}
    for asked in (["lookup"], ["forget", "--yes"], ["forget", "--again", "--yes"]):
        done = subprocess.run(
            [sys.executable, "-c", AS_STRANGER, str(STRANGER), "--config", str(service.config), *asked], cwd="/",
            input=b"alice@example.com\n", capture_output=True, check=False, env=environment(), timeout=PATIENCE,
        )  # fmt: skip
        one_line(Answer(done.returncode, done.stdout.decode(), done.stderr.decode()), NOPERM)
        assert done.stdout == b""
        assert {path: (path.read_bytes(), path.stat()) for path in lib.iterdir()} == before


def test_the_service_user_and_root_may_ask(service: Program) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_STRANGER, str(NOBODY), "--config", str(service.config), "lookup"],
        input=b"alice@example.com\n", capture_output=True, check=False, env=environment(), timeout=PATIENCE, cwd="/",
    )  # fmt: skip
    # The seal is root's alone, so that he is told that, and of no key.
    one_line(Answer(done.returncode, done.stdout.decode(), done.stderr.decode()), NOPERM, "seal")
    assert ask(service, "lookup", stdin=b"alice@example.com\n").status == OK
    before = tables(service)
    assert ask(service, "forget", "--yes", stdin=b"alice@example.com\n").status == OK
    assert check_forgotten(before, tables(service), Witness(service), ALICE)
    for path in service.store.parent.iterdir():
        assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (NOBODY, 0), path


def test_a_list_that_root_put_back_is_told(service: Program) -> None:
    """The folder is the service user's, who could not read it."""
    written(Path(f"{service.store}.forgotten"), []).chmod(0o600)
    one_line(ask(service, "forget", "--again", "--yes"), CONFIG, "chown nobody", "s.sqlite.forgotten")


# -- forget


@pytest.mark.parametrize("with_indexes", [False, True], ids=["plain", "indexed"])
@pytest.mark.parametrize(
    "name", ["sender", "bare recipient", "verp list", "verp member", "lists", "everywhere", "refused"]
)
def test_whoever_is_forgotten_is_nowhere_any_more(some: Program, name: str, with_indexes: bool) -> None:
    case, witness, before = CASES[name], Witness(some), tables(some)
    if with_indexes:
        assert here(some, "db", "index").status == OK
    assert witness.traces(case.person)
    number = len(witness.rows(case.person))
    out = forgotten(some, case.typed).out
    refusals = sum(bool(witness.columns(row, case.person)) for row in before["reject_text"].values())
    deliveries = number - refusals
    assert out.startswith(
        f"forgotten in {deliveries} {'delivery' if deliveries == 1 else 'deliveries'},"
        f" {refusals} {'refusal' if refusals == 1 else 'refusals'} and the open messages\n"
    )
    assert str(some.store) + ".forgotten" in out
    assert check_forgotten(before, tables(some), witness, case.person) == number
    assert witness.traces(case.person) == []
    one_line(here(some, "lookup", stdin=case.typed.encode()), FINDINGS, "no rows")
    after = tables(some)
    assert forgotten(some, case.typed).out.startswith("forgotten in 0 deliveries, 0 refusals")
    assert tables(some) == after, "forgotten twice is forgotten once"


def test_all_are_forgotten_at_once(some: Program) -> None:
    witness, before = Witness(some), tables(some)
    everybody = [case.person for case in CASES.values()]
    forgotten(some, *(case.typed for case in CASES.values()))
    assert check_forgotten(before, tables(some), witness, *everybody) == len(witness.rows(*everybody)) + len(
        [row for rows in before.values() for row in rows.values() if witness.columns(row, *everybody)]
    )
    assert witness.traces(*everybody) == []


@pytest.mark.parametrize("person", [NINA, CAROL], ids=["recipient", "sender"])
def test_a_message_that_was_tried_again_has_one_outcome_still(some: Program, person: Person) -> None:
    before = some.query("SELECT count(*), status FROM delivery_final GROUP BY status ORDER BY status")
    witness = Witness(some)
    assert len(witness.rows(person)) == 5
    user, domain = (part.decode() for part in person if part is not None)
    forgotten(some, f"{user}@{domain}")
    assert some.query("SELECT count(*), status FROM delivery_final GROUP BY status ORDER BY status") == before
    column = "recipient" if person is NINA else "sender"
    (others,) = some.query(f"SELECT count(DISTINCT {column}) FROM delivery_text WHERE first_seen_at GLOB '*T10:16:40*'")
    assert others == (1,)


def test_what_another_program_had_deleted_goes_too(some: Program) -> None:
    """sqlite3 leaves the bytes of a row where they were."""
    witness = Witness(some)
    store = sqlite3.connect(some.store)
    store.execute("PRAGMA secure_delete = OFF")
    store.execute("DELETE FROM delivery")
    store.commit()
    store.close()
    assert witness.rows(ALICE) == {} and witness.traces(ALICE) != []
    forgotten(some, "alice@example.com")
    assert witness.traces(ALICE) == []


def test_plain_queue_ids_stay(with_keys: Program, tmp_path: Path) -> None:
    program = with_keys.sibling(tmp_path / "made")
    program.config.write_text(program.config.read_text() + "queue_id: plain\n")
    program.import_files(written(tmp_path / "mail.log", LOG))
    before, witness = tables(program), Witness(program)
    forgotten(program, "alice@example.com", "nina@example.com")
    assert check_forgotten(before, tables(program), witness, ALICE, NINA)
    assert witness.traces(ALICE, NINA) == []


# -- the list, and backups


def test_a_restored_backup_forgets_again(some: Program, tmp_path: Path) -> None:
    before, witness = tables(some), Witness(some)
    backup = shutil.copy2(some.store, tmp_path / "backup")
    forgotten(some, "alice@example.com")
    forgotten(some, "kim@example.com", "alice@example.com")
    listed = Path(f"{some.store}.forgotten")
    assert listed.stat().st_mode & 0o777 == 0o600
    shutil.copy2(backup, some.store)
    assert len(looked_up(some, typed="alice@example.com")) == len(witness.rows(ALICE)) > 0
    answer = here(some, "forget", "--again", stdin=b"carol@example.org\n")
    kim = Person("kim", "example.com")
    number = len(witness.rows(ALICE, kim))
    one_line(answer, USAGE, f"forget again 2 pseudonyms in {number} rows")
    assert here(some, "forget", "--again", "--yes", stdin=b"carol@example.org\n").status == OK
    assert check_forgotten(before, tables(some), witness, ALICE, kim) == number
    assert witness.traces(ALICE, kim) == []
    assert len(looked_up(some, typed="carol@example.org")) == len(witness.rows(CAROL)) > 0
    # It is pseudonymous.
    assert b"alice" not in listed.read_bytes() and witness.text(ALICE).encode() not in listed.read_bytes()


def test_a_list_that_is_not_there_is_no_success(some: Program) -> None:
    one_line(here(some, "forget", "--again", "--yes"), NOINPUT, "names nobody", "restore it from its backup")


def test_what_was_cut_off_in_the_list_is_nobody(some: Program) -> None:
    """Power was lost in an addition: nobody was forgotten by it yet."""
    forgotten(some, "alice@example.com")
    listed = Path(f"{some.store}.forgotten")
    whole = listed.read_bytes()
    for cut in (1, 40, len(whole) - 1):
        listed.write_bytes(whole + whole[:cut])
        assert here(some, "forget", "--again", "--yes").status == OK
        assert [len(one) for one in listed.read_bytes().splitlines()] == [len(whole) - 1] * 2
        listed.write_bytes(whole)


def damaged(listed: Path, how: str) -> None:
    listed.unlink()
    if how == "a folder":
        listed.mkdir()
    elif how == "a FIFO":
        os.mkfifo(listed, 0o600)
    elif how == "a link":
        listed.symlink_to(listed.with_name("elsewhere"))
    else:
        listed.write_bytes({"no hex": b"1 xyz abc 1\n", "binary": bytes(range(256)) + b"\n",
                            "short": b"1 00 00 1\n"}.get(how, b""))  # fmt: skip
        listed.chmod(0o644 if how == "open to all" else 0o600)


@pytest.mark.parametrize("how", ["no hex", "binary", "short", "open to all", "a folder", "a FIFO", "a link"])
@pytest.mark.parametrize("again", [False, True])
def test_a_list_that_is_wrong_is_told_before_anything_is_done(some: Program, how: str, again: bool) -> None:
    forgotten(some, "carol@example.org")
    damaged(Path(f"{some.store}.forgotten"), how)
    before = some.store.read_bytes()
    answer = here(some, "forget", "--yes", *(["--again"] if again else []), stdin=b"alice@example.com\n")
    one_line(answer, NOINPUT if how == "a link" else CONFIG, "s.sqlite.forgotten")
    assert some.store.read_bytes() == before
    # Whoever only looks needs it not.
    assert len(looked_up(some, typed="alice@example.com")) > 0


def test_what_is_not_reached_is_told(some: Program) -> None:
    copy = Path(f"{some.store}.before-upgrade")
    assert str(copy) not in forgotten(some, "alice@example.com").out
    shutil.copy2(some.store, copy)
    assert str(copy) in forgotten(some, "alice@example.com").out
    some.config.write_text(some.config.read_text() + "database: host=/nowhere\n")
    for words in (["forget", "--yes"], ["lookup"]):
        answer = here(some, *words, stdin=b"carol@example.org\n")
        one_line(answer, UNAVAILABLE, "the database does not answer")  # so nobody is told that he is forgotten there


# -- imports


def test_open_messages_of_a_stream_are_forgotten_and_stay_so(with_keys: Program, tmp_path: Path) -> None:
    program, name = with_keys.sibling(tmp_path / "made"), "4A5A321A867"
    first = [*opened(0, name, "alice@example.com", sasl="alice@example.com", headers=["From: alice@example.com"]),
             attempt(1, name, "nina@example.com", "deferred"), attempt(2, name, "bob@example.net")]  # fmt: skip
    later = [line(300, "qmgr", f"{name}: from=<alice@example.com>, size=1520, nrcpt=2 (queue active)"),
             attempt(301, name, "nina@example.com"), removed(301, name),
             *message(310, "5A5A321A867", "alice@example.com", "nina@example.com"), clock(400)]  # fmt: skip
    program.import_files(written(tmp_path / "1.log", first), options=["--stream", "daily"])
    witness = Witness(program)
    assert len(witness.rows(ALICE)) == 2 and witness.traces(ALICE, NINA)
    forgotten(program, "alice@example.com", "nina@example.com")
    assert witness.rows(ALICE, NINA) == {} and witness.traces(ALICE, NINA) == []
    program.import_files(written(tmp_path / "2.log", later), options=["--stream", "daily"])
    # Only the mail that began later names them.
    found = witness.rows(ALICE, NINA)
    (row,) = [row for row in program.rows() if row["id"] in found]
    assert row["first_seen_at"].startswith("2026-11-02T10:05:10")
    assert len(program.rows()) == 4
    (others,) = program.query("SELECT count(DISTINCT sender), count(*) FROM delivery_text WHERE origin = 'sasl'")
    assert others in ((1, 3), (2, 3)), "stored before and after"
    assert program.query("SELECT count(*) FROM delivery_text WHERE sender IS NULL OR recipient IS NULL") == [(0,)]


def test_an_import_under_way_is_waited_for(with_keys: Program, log: Path, tmp_path: Path) -> None:
    """At its end it writes the open messages that it took up at its beginning."""
    program, name = with_keys.sibling(tmp_path / "made"), "4A5A321A867"
    first = [*opened(0, name, "alice@example.com"), attempt(1, name, "nina@example.com", "deferred")]
    program.import_files(written(tmp_path / "1.log", first), options=["--stream", "daily"])
    before = tables(program)
    words = [*command(program), "import", "--stream", "daily", "-"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as other:
        assert other.stdin is not None
        other.stdin.write(log.read_bytes())  # more than it reads before it takes the messages up
        other.stdin.flush()
        wait_for_lock(Path(f"{program.store}.import:daily.lock"))
        answer = ask(program, "forget", "--yes", stdin=b"alice@example.com\n")
        one_line(answer, TEMPFAIL, "import:daily", "wait until it ends")
        other.stdin.close()
        assert other.wait(PATIENCE) == OK
    assert not Path(f"{program.store}.forgotten").exists()
    assert set(before["delivery_text"]) <= set(tables(program)["delivery_text"])
    forgotten(program, "alice@example.com")
    assert Witness(program).traces(ALICE) == []


def wait_for_lock(path: Path) -> None:
    """Wait until somebody holds it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(FileNotFoundError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return
        threading.Event().wait(0.01)
    raise AssertionError("nobody holds it")


# -- killed

# Runs a command line again and again, each time in a fork that is killed one step later, and then once more to the end;
# prints how many steps there were. A step is a call to the system, or some work of SQLite's.
KILLING = """\
import fcntl, os, shutil, signal, sys
from pathlib import Path
import sink.tools.person, encodings.idna
from sink import cli, hardening
from sink.stores import opening

folder, out, typed, parts = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].encode(), int(sys.argv[4])

def steps(limit):
    seen = 0
    def passes(*ignored):
        nonlocal seen
        seen += 1
        if seen == limit:
            os.kill(os.getpid(), signal.SIGKILL)
    for owner, names in ((os, ("open", "write", "fsync", "ftruncate", "pread")), (fcntl, ("flock",))):
        for name in names:
            def watched(*given, real=getattr(owner, name), **more):
                passes()
                return real(*given, **more)
            setattr(owner, name, watched)
    connect = opening.connect
    def traced(path, mode):
        connection = connect(path, mode)
        connection.set_trace_callback(passes)
        connection.set_progress_handler(passes, 400)
        return connection
    opening.connect = traced
    return lambda: seen

def forked(limit):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        stdin, stdout = os.pipe(), os.open(os.devnull, os.O_WRONLY)
        os.write(stdin[1], typed)
        os.close(stdin[1])
        os.dup2(stdin[0], 0)
        os.dup2(stdout, 1)
        number = steps(limit)
        status = cli.main(["--config", str(folder / "postsink.yaml"), "forget", "--yes"])
        os.pwrite, os.write(write, b"%d" % number())
        os._exit(status)
    os.close(write)
    with open(read, "rb") as file:
        said = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, int(said or 0)

def fresh():
    for path in folder.glob("s.sqlite*"):
        path.unlink()
    shutil.copy2(out / "before", folder / "s.sqlite")

fresh()
status, number = forked(-1)
assert status == 0, status
shutil.copy2(folder / "s.sqlite", out / "undisturbed")
for limit in range(1, number + 1):
    if limit % parts and limit < number - 20:
        continue
    fresh()
    status, _ = forked(limit)
    assert status in (0, -9), (limit, status)
    for name in ("s.sqlite", "s.sqlite-wal", "s.sqlite.forgotten"):
        if (folder / name).exists():
            shutil.copy2(folder / name, out / f"{limit}.killed{name[8:]}")
    status, _ = forked(-1)
    assert status == 0, (limit, status)
    for name in ("s.sqlite", "s.sqlite-wal", "s.sqlite.forgotten"):
        if (folder / name).exists():
            shutil.copy2(folder / name, out / f"{limit}.again{name[8:]}")
print(number)
"""


def test_killed_at_any_step_and_done_again_it_is_the_same(some: Program, tmp_path: Path) -> None:
    witness, before = Witness(some), tables(some)
    assert ask(some, "db", "index").status == OK
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy2(some.store, out / "before")
    done = subprocess.run(
        [sys.executable, "-c", KILLING, str(some.folder), str(out), "alice@example.com\ncarol@example.org\n", "7"],
        capture_output=True, check=False, env=environment(), timeout=PATIENCE, cwd=some.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    ended = {path.name.split(".")[0] for path in out.glob("*.again")}
    assert len(ended) > 20 and int(done.stdout) > 60, done.stdout
    for step in sorted(ended, key=int):
        for state in ("killed", "again"):
            some.store = out / f"{step}.{state}"
            after = tables(some)
            if state == "killed":
                assert [rows.keys() for rows in after.values()] == [rows.keys() for rows in before.values()]
                if after != before:
                    # So that also --again does it again.
                    names = Path(f"{some.store}.forgotten").read_text()
                    assert all(half.hex() in names for person in (ALICE, CAROL) for half in witness.halves(person))
                continue
            assert check_each(before, after, witness, ALICE, CAROL), step
            witness.program.store = some.store
            assert witness.traces(ALICE, CAROL) == [], step


def check_each(before: Any, after: Any, witness: Witness, *persons: Person) -> int:
    """As check_forgotten(); but who was killed in the middle of a message may have given it two stand-ins."""
    changed = 0
    for view, rows in before.items():
        assert after[view].keys() == rows.keys()
        for key, row in rows.items():
            columns = witness.columns(row, *persons)
            assert witness.columns(after[view][key], *persons) == []
            assert {name for name in row if row[name] != after[view][key][name]} == set(columns), key
            changed += bool(columns)
    return changed


# -- a large store

MANY = 60_000
# VmHWM of proc(5), since getrusage() remembers the process that started this one.
MEASURED = """\
import sys
from sink import cli
status = cli.main(sys.argv[1:])
known = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(known["VmHWM"].split()[0]) // 1024, file=sys.stderr)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def large(whole: Program, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A store of many rows: one of them is dora's, most are alice's."""
    made = copied(whole, tmp_path_factory.mktemp("large") / "installed")
    store = sqlite3.connect(made.store)
    names = [row[1] for row in store.execute("PRAGMA table_info(delivery)")]
    others = {"logged_second": "logged_second + n.value", "id": "randomblob(16)"}
    listed = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(others.get(name, f'"{name}"') for name in names)
    user, _ = Witness(made).halves(ALICE)
    store.execute(
        f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {MANY})"
        f" INSERT INTO delivery ({listed}) SELECT {values} FROM n,"
        f" (SELECT * FROM delivery WHERE sender_user = ? AND recipient_domain IS NOT NULL LIMIT 1)", (user,),
    )  # fmt: skip
    store.commit()
    store.close()
    return made


def measured(program: Program, *words: str, stdin: bytes) -> tuple[bytes, int]:
    """What it prints, and how many megabytes it takes."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "--config", str(program.config), *words], input=stdin, capture_output=True,
        check=False, env=environment(), timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == OK, done.stderr
    return done.stdout, int(done.stderr.split()[-1])


def test_a_large_answer_takes_no_memory(large: Program) -> None:
    _, little = measured(large, "lookup", "--json", stdin=b"dora@example.net\n")
    out, much = measured(large, "lookup", "--json", "--until", "2026-11-02T17:00", stdin=b"alice@example.com\n")
    assert out.count(b"\n") > MANY // 3
    assert much < little + 15, (little, much)


def test_a_large_store_is_rewritten_without_its_size_in_memory(large: Program, whole: Program, tmp_path: Path) -> None:
    store = copied(large, tmp_path / "copy")
    size = store.store.stat().st_size >> 20
    assert size > 12
    _, little = measured(copied(whole, tmp_path / "small"), "forget", "--yes", stdin=b"dora@example.net\n")
    _, much = measured(store, "forget", "--yes", stdin=b"alice@example.com\n")
    assert much < little + size // 2, (little, much, size)
    assert sorted(path.name for path in store.folder.iterdir()) == sorted(
        {path.name for path in large.folder.iterdir()} | {"s.sqlite.forgotten"}
    )


@pytest.mark.parametrize("typed", [b"dora@example.net", b"alice@example.com"])
def test_nobody_waits_while_rows_are_looked_for(large: Program, tmp_path: Path, typed: bytes) -> None:
    """Another command may write while the store is read; it waits for some hundred rows at most."""
    from sink.core.pseudonym import NONE
    from sink.stores import person
    from sink.stores.person import Whom

    store = copied(large, tmp_path / "copy")
    user, domain = typed.decode().split("@")
    halves = Witness(store).halves(Person(user, domain))
    connection = sqlite3.connect(store.store, isolation_level=None)
    work = {False: 0, True: 0}
    longest = current = 0

    def progress() -> None:
        nonlocal longest, current
        work[connection.in_transaction] += 1
        current = current + 1 if connection.in_transaction else 0
        longest = max(longest, current)

    connection.set_progress_handler(progress, 1000)
    found = person.forget(connection, Whom([halves[0] + (halves[1] or NONE)]))
    connection.close()
    assert found["delivery"] == (1 if typed.startswith(b"dora") else found["delivery"])
    assert longest * 50 < sum(work.values()), (longest, work)
