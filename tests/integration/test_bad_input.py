"""Whatever is wrong outside, a command ends with one clear line, its exit status, and what was read is kept."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import os
import random
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from sink.fault import CANTCREATE, CONFIG, DATA, NOINPUT, NOPERM, OK, TEMPFAIL, USAGE
from tests.integration.asking import (
    AS_NOBODY,
    PATIENCE,
    Answer,
    ask,
    command,
    environment,
    is_part,
    one_line,
    rows,
    said,
)
from tests.judges.program import ROOT, Program
from tests.property import hostile

DEMO = ROOT / "demo" / "mail.log"
ADDRESS = "canary@example.com"  # typed in a wrong place, it must not be shown again
YEARLESS = (
    b"Nov  2 10:00:00 mx1 postfix/smtp[1]: 4A5A321A867: to=<a@example.com>, relay=none, delay=0, status=sent (x)\n"
)

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user, or mount a small disk"
)


def changed(program: Program, **settings: object) -> Program:
    """Change keys of the config; None takes one out."""
    known = yaml.safe_load(program.config.read_text())
    program.config.write_text(
        yaml.safe_dump({k: v for k, v in {**known, **settings}.items() if v is not None})
    )
    return program


# -- files


def test_a_missing_file(program: Program) -> None:
    one_line(ask(program, "import", "nothing.log"), NOINPUT, "nothing.log", "look at its name")
    one_line(ask(program, "import", DEMO, "nothing.log"), NOINPUT, "nothing.log")
    one_line(ask(program, "explain", "nothing.log"), NOINPUT, "nothing.log")
    assert rows(program) == []


def test_a_folder(program: Program) -> None:
    one_line(ask(program, "import", program.folder), NOINPUT, "is a folder")
    one_line(ask(program, "import", ""), NOINPUT, "is a folder")


def test_an_address_for_a_file(program: Program) -> None:
    one_line(ask(program, "import", ADDRESS), NOINPUT, "no file of that name")
    one_line(ask(program, "explain", ADDRESS), NOINPUT, "no file of that name")


def test_a_name_that_does_not_print(program: Program) -> None:
    one_line(ask(program, "import", "a\x1b[2Jb\nc\udcff"), NOINPUT, "a?[2Jb?c?")


def test_an_empty_file(program: Program) -> None:
    empty = program.folder / "empty.log"
    empty.touch()
    one_line(ask(program, "import", empty), OK, "empty.log is empty")
    one_line(ask(program, "import"), OK, "standard input is empty")
    packed = program.folder / "empty.gz"
    packed.write_bytes(gzip.compress(b""))
    one_line(ask(program, "import", packed), OK, "empty.gz is empty")
    assert ask(program, "import", empty, DEMO).status == OK
    assert rows(program)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: (
        subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    ),
}


def has(form: str) -> None:
    if form == "zst" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")


@pytest.mark.parametrize("form", PACKED)
def test_a_packed_file(form: str, program: Program, log: Path, undisturbed: Program) -> None:
    has(form)
    packed = program.folder / f"mail.log.{form}"
    packed.write_bytes(PACKED[form](log.read_bytes()))
    assert ask(program, "import", packed).status == OK
    assert rows(program) == rows(undisturbed)


@pytest.mark.parametrize("form", PACKED)
def test_a_packed_file_that_was_cut_off(form: str, program: Program, log: Path, undisturbed: Program) -> None:
    """What stands before the cut is kept; a whole copy then brings the rest."""
    has(form)
    packed = PACKED[form](log.read_bytes())
    part, whole = program.folder / f"mail.log.{form}", program.folder / f"whole.{form}"
    part.write_bytes(packed[: len(packed) * 2 // 3])
    whole.write_bytes(packed)
    answer = ask(program, "import", part)
    assert answer.status == DATA
    said(answer, f"mail.log.{form}: damaged or cut off", "import a whole copy")
    kept = {row["id"] for row in rows(program)}
    assert len(kept) > len(rows(undisturbed)) // 4
    assert ask(program, "import", whole).status == OK
    found = rows(program)
    assert kept <= {row["id"] for row in found} == {row["id"] for row in rows(undisturbed)}
    # The last rows before the cut left without what came after it.
    assert sum(one != other for one, other in zip(found, rows(undisturbed), strict=True)) <= 5


def test_half_a_line_before_the_cut_is_none(program: Program) -> None:
    """It could pass for another delivery than the one that the whole copy brings."""
    line = (
        DEMO.read_bytes()
        .splitlines(keepends=True)[0]
        .replace(
            b"connect",
            b"4A5A321A867: to=<a@example.com>, relay=none,"
            b" delay=0, delays=0/0/0/0, dsn=2.0.0, status=sent (250 2.0.0 Ok: and many words more)",
        )
    )
    packer = zlib.compressobj(wbits=31)
    part = program.folder / "half.gz"
    part.write_bytes(packer.compress(line + line[:-10]) + packer.flush(zlib.Z_SYNC_FLUSH))
    answer = ask(program, "import", part)
    assert (answer.status, answer.words[0]) == (DATA, "postsink: 1 line read, 1 of Postfix")
    assert len(rows(program)) == 1


def test_every_line_before_the_cut_is_read(program: Program, log: Path) -> None:
    packed = gzip.compress(log.read_bytes())[:3_000]
    lines = zlib.decompressobj(wbits=31).decompress(packed).count(b"\n")
    part = program.folder / "short.gz"
    part.write_bytes(packed)
    answer = ask(program, "import", part)
    assert answer.status == DATA
    assert answer.words[0] == f"postsink: {lines} lines read, {lines} of Postfix"


@pytest.mark.parametrize("form", PACKED)
def test_a_packed_file_that_holds_junk(form: str, program: Program) -> None:
    has(form)
    packed = PACKED[form](DEMO.read_bytes())
    broken = program.folder / "broken"
    broken.write_bytes(packed[:12] + b"\xa5" * (len(packed) - 12))
    one_line(ask(program, "import", broken), DATA, "damaged or cut off")
    with broken.open("rb") as file:
        one_line(ask(program, "import", stdin=file), DATA, "standard input: damaged or cut off")


def test_the_form_is_told_by_the_first_bytes(program: Program) -> None:
    misnamed = program.folder / "mail.log"
    misnamed.write_bytes(gzip.compress(DEMO.read_bytes()))
    assert ask(program, "import", misnamed).status == OK
    plain = program.folder / "mail.log.gz"
    plain.write_bytes(DEMO.read_bytes())
    assert " 0 new," in ask(program, "import", plain).err
    assert " 0 new," in ask(program, "import", stdin=misnamed.read_bytes()).err


def test_zstd_by_a_pipe(program: Program) -> None:
    has("zst")
    answer = ask(program, "import", stdin=PACKED["zst"](DEMO.read_bytes()))
    one_line(answer, 69, "zstd -dc FILE | postsink import")


def test_binary_junk(program: Program) -> None:
    junk = program.folder / "junk"
    junk.write_bytes(bytes(range(256)) * 2_000 + b"canary")
    answer = ask(program, "import", junk)
    assert answer.status == DATA
    said(answer, "no line of Postfix was found")
    assert "canary" not in answer.err
    assert rows(program) == []


def test_nothing_raw_is_kept_or_told(program: Program) -> None:
    """Canaries in every field of every line: none in what is printed, nor in any file that is left behind."""
    dice = random.Random(4)
    lines = []
    for number in range(6_000):
        daemon, template = dice.choice(hostile.TEMPLATES)
        text = hostile.filled(template, lambda name: hostile.field(name, dice))
        stamp = hostile.stamp_iso(hostile.START + number // 3, number)
        lines.append(b"%b mx%d postfix/%b[%d]: %b\n" % (stamp, number % 2, daemon, number % 7, text))
    log = program.folder.parent / "mail.log"
    log.write_bytes(b"".join(lines))
    answers = [
        ask(program, "import", "--json", "--stream", "daily", log),
        ask(program, "import", log),
        ask(program, "db", "index"),
        ask(program, "db", "status"),
    ]
    assert [answer.status for answer in answers] == [OK] * 4
    assert len(rows(program)) > 1_000
    assert program.query("SELECT count(*) FROM open_message")[0][0] > 10
    told = b"".join((answer.out + answer.err).encode() for answer in answers)
    kept = b"".join(path.read_bytes() for path in program.folder.iterdir())
    for word in (hostile.CANARY, hostile.CANARY.hex().encode(), base64.b64encode(hostile.CANARY)):
        assert word not in (told + kept).lower()


def test_a_line_of_ten_megabytes(program: Program) -> None:
    line = b"canary" * 1_700_000
    alone = program.folder / "alone"
    alone.write_bytes(line)
    answer = ask(program, "import", alone)
    assert answer.status == DATA
    assert "too long: 1" in answer.err
    among = program.folder / "among"
    half = DEMO.read_bytes().splitlines(keepends=True)
    among.write_bytes(b"".join(half[:100]) + line + b"\n" + b"".join(half[100:]))
    answer = ask(program, "import", among)
    assert answer.status == OK
    assert "too long: 1" in answer.err
    assert "canary" not in answer.err
    assert len(rows(program)) == 34


def test_lines_that_end_as_on_other_systems(program: Program, with_keys: Program, tmp_path: Path) -> None:
    foreign = program.folder / "mail.log"
    foreign.write_bytes(DEMO.read_bytes().replace(b"\n", b"\r\n"))
    assert ", 0 not understood" in ask(program, "import", foreign).err
    other = with_keys.sibling(tmp_path / "other")
    ask(other, "import", DEMO)
    assert rows(program) == rows(other)


def test_many_files(program: Program) -> None:
    """More than a process may usually hold open at once."""
    lines = DEMO.read_bytes().splitlines(keepends=True)
    names = []
    for number in range(1_100):
        path = program.folder / f"mail.log.{number}"
        path.write_bytes(lines[number] if number < len(lines) else b"")
        names.append(path)

    def few() -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))

    assert ask(program, "import", *names, preexec_fn=few).status == OK
    assert len(rows(program)) == 34

    def at_most_few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    one_line(ask(program, "import", *names, preexec_fn=at_most_few), 69, "too many files at once")


# -- what was typed


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["mail.log"],
        ["import", "--jsno", DEMO],
        ["import", "--year", "junk"],
        ["import", "--year", "20266"],
        ["import", "--year", "-1"],
        ["import", "--year", "\u0662\u0660\u0662\u0666"],
        ["import", "--year"],
        ["import", "--stream"],
        ["import", "--stream", "a b"],
        ["import", "--stream", "x" * 65],
        ["import", "--stream", ""],
        ["import", "--ye", "2026"],
        ["import", "-", "-"],
        ["db"],
        ["db", "drop"],
        ["db", "status", "now"],
        ["keys"],
        ["keys", "lost"],
        [ADDRESS],
        ["import", "--year", ADDRESS],
        ["import", f"--year={ADDRESS}"],
        ["import", f"--json={ADDRESS}"],
        ["import", "--stream", ADDRESS],
        ["pseudonym", ADDRESS],
        ["explain", "x", ADDRESS],
        ["db", ADDRESS],
        ["keys", ADDRESS],
        ["db", "init", ADDRESS],
        [f"--{ADDRESS}"],
        [f"-{ADDRESS}"],
        ["--version", ADDRESS, "-x"],
    ],
    ids=lambda arguments: " ".join(map(str, arguments))[:40] or "nothing",
)
def test_a_wrong_command_line(arguments: list[str | Path], program: Program) -> None:
    if arguments[:1] == ["--version"]:
        answer = ask(program, *arguments)
        assert (answer.status, answer.err) == (OK, "")
    else:
        answer = ask(program, *arguments)
        one_line(answer, USAGE)
        assert "--help" in answer.err or "named twice" in answer.err
    assert "canary" not in answer.out + answer.err
    assert not program.store.exists()


def test_help_says_what_there_is(program: Program) -> None:
    answer = ask(program, "--help")
    assert (answer.status, answer.err) == (OK, "")
    assert all(word in answer.out for word in ("import", "keys", "pseudonym", "explain", "db"))


def test_a_reset_that_nobody_confirms(program: Program) -> None:
    ask(program, "import", DEMO)
    one_line(ask(program, "db", "reset"), USAGE, "delete 29 deliveries and 5 refusals", "say --yes")
    assert len(rows(program)) == 34


# -- years


def test_a_pipe_without_a_year(program: Program) -> None:
    one_line(
        ask(program, "import", stdin=YEARLESS),
        DATA,
        "nothing in standard input tells the year",
        "--year YYYY",
    )
    answer = ask(program, "import", "--year", "2024", stdin=YEARLESS)
    assert answer.status == OK
    assert "taken to be of 2024, their zone UTC" in answer.err
    assert [row["logged_at"] for row in rows(program)] == ["2024-11-02T10:00:00.000000Z"]


def test_a_year_that_comes_too_late(program: Program) -> None:
    """More than is looked at in a pipe to find a year: such lines are counted and told."""
    answer = ask(program, "import", stdin=b"junk junk\n" * 10_000 + YEARLESS)
    assert "1 line not read: nothing tells their year; give --year YYYY" in answer.err


# -- standard files


def closed(number: int) -> Callable[[], None]:
    return lambda: os.close(number)


def test_stdin_is_closed(program: Program) -> None:
    for arguments in (["import"], ["explain"], ["pseudonym"]):
        one_line(ask(program, *arguments, preexec_fn=closed(0)), NOINPUT, "standard input is closed")
    assert ask(program, "import", DEMO, preexec_fn=closed(0)).status == OK


def test_stdout_is_closed(program: Program) -> None:
    assert ask(program, "import", "--json", DEMO, preexec_fn=closed(1)).status == OK
    assert ask(program, "db", "status", preexec_fn=closed(1)).status == OK
    assert len(rows(program)) == 34


def test_stderr_is_closed(program: Program) -> None:
    """Words that have no place go nowhere: not to stdout, and not into the store."""
    answer = ask(program, "import", DEMO, preexec_fn=closed(2))
    assert (answer.status, answer.out) == (OK, "")
    answer = ask(program, "import", "nothing.log", preexec_fn=closed(2))
    assert (answer.status, answer.out) == (NOINPUT, "")
    assert len(rows(program)) == 34


@pytest.mark.parametrize(
    "arguments",
    [["import", "--json", DEMO], ["explain", DEMO], ["db", "status"], ["keys", "list"], ["--help"]],
)
def test_nobody_reads_stdout(arguments: list[str | Path], program: Program) -> None:
    """As with `| head -0`; the import is made all the same."""
    ask(program, "db", "init")
    reader, writer = os.pipe()
    os.close(reader)
    answer = ask(program, *arguments, stdout=writer)
    os.close(writer)
    assert (answer.status, answer.err) == (OK, "")


def test_nobody_reads_stdout_and_a_file_is_damaged(program: Program) -> None:
    part = program.folder / "part.gz"
    part.write_bytes(gzip.compress(DEMO.read_bytes())[:2_000])
    reader, writer = os.pipe()
    os.close(reader)
    one_line(ask(program, "import", "--json", part, stdout=writer), DATA, "damaged or cut off")
    os.close(writer)


def test_stderr_is_full(program: Program) -> None:
    """The status is the command's own, though nobody can be told why."""
    ask(program, "keys", "init")
    for words, status in ((["keys", "destroy", "9"], USAGE), (["keys", "list"], OK)):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*command(program), *words], env=environment(), stderr=full, stdout=subprocess.DEVNULL, check=False
            )
        assert done.returncode == status


@pytest.mark.parametrize(
    "arguments", [["import", "--json", DEMO], ["explain", DEMO], ["db", "status"], ["pseudonym"]]
)
def test_stdout_is_full(arguments: list[str | Path], program: Program) -> None:
    ask(program, "db", "init")
    with open("/dev/full", "wb") as full:
        answer = ask(program, *arguments, stdin=b"a@example.com\n" * 5_000, stdout=full)
    one_line(answer, TEMPFAIL, "free some space")


def test_a_terminal_of_another_charset(program: Program) -> None:
    line = DEMO.read_bytes().splitlines()[0].replace(b"connect from", b"warning: \xc3\xa4\xff\xe2\x80\xa8")
    done = subprocess.run(
        [*command(program), "explain"], input=line, capture_output=True, check=False, timeout=PATIENCE,
        env={**environment(), "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (OK, b"")


# -- config and keys


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stroe: s.sqlite\n", ['line 1: unknown key "stroe"; did you mean "store"?']),
        ("store: [a]\n", ["line 1: store must be text"]),
        ("store: s.sqlite\nstore: t.sqlite\n", ['line 2: key "store" stands in line 1']),
        ("store: 'x\n", ["not YAML"]),
        ("patience: 5\n", ["line 1: patience must be a time"]),
        ("timezone: Mars/Olympus\n", ["line 1: timezone must be"]),
        ("queue_id: canary@example.com\n", ["line 1: queue_id must be one of: hashed, plain"]),
        ("\xff\xfe", ["line 1: not UTF-8"]),
    ],
)
def test_a_config_with_a_mistake(text: str, words: list[str], program: Program) -> None:
    program.config.write_bytes(text.encode("latin-1"))
    answer = ask(program, "import", DEMO)
    one_line(answer, CONFIG, "postsink.yaml", *words)
    assert "canary" not in answer.err


def test_a_config_that_is_not_there(program: Program) -> None:
    program.config.unlink()
    one_line(ask(program, "import", DEMO), NOINPUT, "postsink.yaml is missing")
    program.config.mkdir()
    one_line(ask(program, "import", DEMO), CONFIG, "postsink.yaml can't be read")


def test_no_keyring(program: Program) -> None:
    (program.folder / "keyring").unlink()
    for arguments in (["import", DEMO], ["pseudonym"], ["keys", "list"], ["db", "init"]):
        one_line(ask(program, *arguments), NOINPUT, "keyring is missing; make one with: postsink keys init")
    assert not program.store.exists()


def test_a_keyring_is_not_made_twice(program: Program) -> None:
    before = (program.folder / "keyring").read_bytes()
    one_line(ask(program, "keys", "init"), CANTCREATE, "keyring exists already")
    assert (program.folder / "keyring").read_bytes() == before


@pytest.mark.parametrize("name", ["keyring", "seal.key"])
def test_secrets_that_others_can_read(name: str, program: Program) -> None:
    (program.folder / name).chmod(0o644)
    one_line(ask(program, "import", DEMO), CONFIG, f"{name} is open to group or others", "chmod go=")
    assert not program.store.exists()


def test_a_damaged_keyring(program: Program) -> None:
    path = program.folder / "keyring"
    text = path.read_text()
    for broken in (text[:100], "", "{}", text.replace('"payload": "', '"payload": "00')):
        path.write_text(broken)
        one_line(ask(program, "import", DEMO), CONFIG, "keyring")
    assert not program.store.exists()


def test_another_seal(program: Program) -> None:
    seal = program.folder / "seal.key"
    text = seal.read_text().strip()
    seal.chmod(0o600)
    seal.write_text(text[::-1] + "\n")
    one_line(ask(program, "import", DEMO), CONFIG, "does not open")


# -- stores


def test_a_store_of_another_key(program: Program, tmp_path: Path) -> None:
    ask(program, "import", DEMO)
    before = rows(program)
    other = Program(tmp_path / "other", timezone="UTC", store=str(program.store)).make_keys()
    for arguments in (["import", DEMO], ["import", "nothing.log"], ["db", "init"]):
        answer = ask(other, *arguments)
        if "nothing.log" not in arguments:
            one_line(
                answer, CONFIG, "was made with another key for epoch 1", "use the keyring it was made with"
            )
    assert rows(program) == before


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("fold_local_part", False, "false"),
        ("cut_detail", False, "false"),
        ("queue_id", "plain", "plain"),
        ("timezone", "Asia/Tokyo", "Asia/Tokyo"),
    ],
)
def test_a_store_of_other_settings(key: str, value: object, word: str, program: Program) -> None:
    """Once there are rows; `db reset` makes room for them."""
    ask(program, "db", "init")
    before = program.config.read_text()
    changed(program, **{key: value})
    assert ask(program, "db", "init").status == OK
    program.config.write_text(before)
    ask(program, "import", DEMO)
    known = rows(program)
    changed(program, **{key: value})
    one_line(
        ask(program, "import", DEMO), CONFIG, f"was made with {key} ", f"the config says {word}; set it back"
    )
    assert rows(program) == known != []
    assert ask(program, "db", "reset", "--yes").status == OK
    assert ask(program, "import", DEMO).status == OK
    assert len(rows(program)) == len(known)


def test_a_zone_that_the_config_leaves_out_is_the_stores(program: Program) -> None:
    changed(program, timezone="Asia/Tokyo")
    ask(program, "db", "init")
    changed(program, timezone=None)
    assert ask(program, "import", "--year", "2026", stdin=YEARLESS).status == OK
    assert [row["logged_at"] for row in rows(program)] == ["2026-11-02T01:00:00.000000Z"]


def test_a_store_in_a_missing_folder(program: Program) -> None:
    changed(program, store="nowhere/s.sqlite")
    one_line(ask(program, "import", DEMO), CANTCREATE, "there is no folder", "make it")
    one_line(ask(program, "db", "status"), NOINPUT, "there is no store")


def test_a_store_that_is_a_folder(program: Program) -> None:
    program.store.mkdir()
    one_line(ask(program, "import", DEMO), CANTCREATE, "is a folder")
    one_line(ask(program, "db", "status"), CANTCREATE)


@pytest.mark.parametrize("version", [0, 1, 7])
def test_a_store_that_is_another_programs_database(version: int, program: Program) -> None:
    """It is left as it is, to the byte."""
    other = sqlite3.connect(program.store)
    other.execute(f"PRAGMA user_version = {version}")
    other.execute("CREATE TABLE bookmark (address TEXT)")
    other.execute("INSERT INTO bookmark VALUES ('canary@example.com')")
    other.commit()
    other.close()
    program.store.chmod(0o640)
    before = program.store.read_bytes()
    for arguments in (
        ["import", DEMO],
        ["db", "init"],
        ["db", "status"],
        ["db", "reset", "--yes"],
        ["db", "index"],
    ):
        one_line(ask(program, *arguments), CONFIG, "is no store of postsink")
    assert program.store.read_bytes() == before
    assert stat.S_IMODE(program.store.stat().st_mode) == 0o640


def test_a_store_of_a_newer_version(program: Program) -> None:
    ask(program, "db", "init")
    store = sqlite3.connect(program.store)
    store.execute("PRAGMA user_version = 99")
    store.close()
    one_line(ask(program, "import", DEMO), CONFIG, "is of a newer postsink (schema 99); install that")


def test_a_store_that_is_no_database(program: Program) -> None:
    program.store.write_bytes(b"canary@example.com\n" * 1_000)
    for arguments in (["import", DEMO], ["db", "status"]):
        one_line(ask(program, *arguments), DATA, "is damaged or no SQLite file")


def test_a_damaged_store(program: Program, log: Path) -> None:
    ask(program, "import", log)
    data = bytearray(program.store.read_bytes())
    page = 8_192
    for at in range(2 * page, len(data), page):
        data[at : at + 64] = b"\xa5" * 64
    program.store.write_bytes(data)
    for arguments in (["import", DEMO], ["db", "status"], ["db", "index"]):
        one_line(ask(program, *arguments), DATA, "is damaged or no SQLite file", "restore it")


def test_a_store_is_for_its_owner_alone(program: Program) -> None:
    ask(program, "import", DEMO, umask=0)
    assert stat.S_IMODE(program.store.stat().st_mode) == 0o600


def test_a_store_that_somebody_holds(program: Program) -> None:
    """Its wait is BUSY long; here the holder goes before."""
    ask(program, "db", "init")
    holder = sqlite3.connect(program.store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    waiting = subprocess.Popen(
        [*command(program), "import", str(DEMO)],
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1)
    holder.execute("COMMIT")
    holder.close()
    assert waiting.communicate(timeout=PATIENCE)[1].count(b"\n") == 5
    assert waiting.returncode == OK


# -- a full disk


def small_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("size", [1, 20_000, 60_000, 150_000, 400_000])
def test_a_file_that_may_not_grow(size: int, program: Program, log: Path, undisturbed: Program) -> None:
    one_line(
        ask(program, "import", log, preexec_fn=small_files(size)),
        TEMPFAIL,
        "full or failing; free some space",
    )
    comes_to_its_end(program, log, undisturbed)


def comes_to_its_end(program: Program, log: Path, undisturbed: Program) -> None:
    """What was committed is whole and true, and the same import, started again, brings the rest."""
    kept = rows(program)
    whole = rows(undisturbed)
    assert is_part(kept, whole)
    assert ask(program, "import", log).status == OK
    assert rows(program) == whole


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        folder.rmdir()
        pytest.skip("a small disk can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
        folder.rmdir()


@needs_root
def test_a_full_disk(program: Program, log: Path, undisturbed: Program, small_disk: Path) -> None:
    changed(program, store=str(small_disk / "s.sqlite"))
    program.store = small_disk / "s.sqlite"
    one_line(ask(program, "import", log), TEMPFAIL, f"the disk of {program.store} is full or failing")
    assert len(rows(program)) > 100
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    comes_to_its_end(program, log, undisturbed)


@needs_root
def test_a_disk_that_is_full_from_the_start(program: Program, small_disk: Path) -> None:
    changed(program, store=str(small_disk / "s.sqlite"), keyring=str(small_disk / "keyring"))
    (small_disk / "rest").write_bytes(b"x" * 700 * 1024)
    one_line(ask(program, "keys", "init"), CANTCREATE, "can't be written")
    changed(program, keyring="keyring")
    one_line(ask(program, "db", "init"), TEMPFAIL, "full or failing; free some space")
    one_line(ask(program, "import", DEMO), TEMPFAIL, "full or failing; free some space")


def test_the_largest_store_that_sqlite_may_make(program: Program, log: Path) -> None:
    """SQLite's own word for a full disk."""
    ask(program, "db", "init")
    driver = (
        "import sys, sqlite3; from sink import cli; from sink.stores import opening\n"
        "make = opening.connect\n"
        "def capped(path, mode):\n"
        "    connection = make(path, mode); connection.execute('PRAGMA max_page_count = 30'); return connection\n"
        "opening.connect = capped\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", driver, "--config", str(program.config), "import", str(log)],
        env=environment(), capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    one_line(Answer(done.returncode, done.stdout, done.stderr), TEMPFAIL, "full or failing")


# -- another user


@pytest.fixture
def shared(program: Program) -> Iterator[Program]:
    """An installation in a folder that everybody may enter, as nobody's own, code and all."""
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    moved = program.sibling(folder / "installed")
    for path in (moved.folder, *moved.folder.iterdir()):
        os.chown(path, 65534, 65534)
    for name in ("sink", "sql"):
        shutil.copytree(ROOT / name, folder / name)
    for path in folder.rglob("*"):
        if path.parent != moved.folder:
            path.chmod(0o755 if path.is_dir() else 0o644)
    moved.folder.chmod(0o700)
    try:
        yield moved
    finally:
        shutil.rmtree(folder)


def as_nobody(program: Program, first: Program, *arguments: str | Path) -> Answer:
    """Run a command as nobody; a first one, as root, on another installation, loads what that needs."""
    warm = "\n".join(["--config", str(first.config), "import", "--json", str(DEMO)])
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, warm, "--config", str(program.config), *map(str, arguments)],
        cwd="/", env={**environment(), "PYTHONPATH": str(program.folder.parent)}, capture_output=True, text=True,
        check=False, timeout=PATIENCE,
    )  # fmt: skip
    _, mark, err = done.stderr.partition("now as nobody\n")
    assert mark, done.stderr
    assert "Traceback" not in err and "a bug" not in err, err
    return Answer(done.returncode, done.stdout, err)


@needs_root
def test_what_another_user_may_not_read(shared: Program, program: Program) -> None:
    log = shared.folder / "mail.log"
    log.write_bytes(DEMO.read_bytes())
    log.chmod(0o600)
    one_line(as_nobody(shared, program, "import", log), NOPERM, "no permission to read", "mail.log")
    log.chmod(0o644)
    assert as_nobody(shared, program, "import", log).status == OK
    assert len(rows(shared)) == 34
    for name in ("postsink.yaml", "keyring"):
        os.chown(shared.folder / name, 0, 0)
        (shared.folder / name).chmod(0o600)
        one_line(as_nobody(shared, program, "import", log), NOPERM, "no permission to read", name)
        os.chown(shared.folder / name, 65534, 65534)
    os.chown(shared.folder / "seal.key", 0, 0)
    (shared.folder / "seal.key").chmod(0o600)
    answer = as_nobody(shared, program, "import", log)
    assert answer.status in (NOPERM, CONFIG)
    one_line(answer, answer.status, "seal.key")


@needs_root
def test_what_another_user_may_not_write(shared: Program, program: Program) -> None:
    assert as_nobody(shared, program, "db", "init").status == OK
    os.chown(shared.store, 0, 0)
    for mode in (0o600, 0o644):
        shared.store.chmod(mode)
        one_line(
            as_nobody(shared, program, "import", DEMO), NOPERM, "no permission to read and write", "s.sqlite"
        )
    shared.store.unlink()
    shared.folder.chmod(0o555)
    one_line(as_nobody(shared, program, "import", DEMO), NOPERM, "no permission to make", "s.sqlite")
    changed(shared, store=str(program.store))
    for arguments in (["import", DEMO], ["db", "status"]):
        one_line(as_nobody(shared, program, *arguments), NOPERM, "no permission to look into")
