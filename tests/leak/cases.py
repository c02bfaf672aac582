"""The table of drives: one line for each command, more for the daemon and for each failure.

A new command or option without a line here fails a test. A line is the command as it is typed; {log} and its like are
files of Ground.logs. `allowed` names what may go out by intent, such as what `explain` shows on its stdout.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sink.fault import CONFIG, DATA, FINDINGS, OK, UNAVAILABLE, USAGE
from tests.integration.cluster import Cluster
from tests.leak import planted
from tests.leak.canaries import STEM
from tests.leak.ground import Drive
from tests.leak.watch import Allowance, from_zstd, to_a_scheduler, to_standard_output, to_the_seal

ADDRESSES = f"{STEM}alice@{STEM}.example.net\n<{STEM}bob>\n\nnot {STEM} one\n"
PERSON = f"{STEM}alice@{planted.LOCAL}\n"
PAIR = f"{STEM}alice@{STEM}.example.net\n{STEM}bob@{planted.LOCAL}\n"
RELEASE = "--recipient University --release 1"
ALL = "--with address,message-id,queue-id,relay,host"
HOURS = "--since 2026-01-01 --until 2027-12-31"
SINCE = "--since 2026-01-01 --until 2027-12-31T23:59"


@dataclass(frozen=True)
class Case:
    """One drive: what is done, and what it covers of the command line."""

    name: str
    play: Callable[[Drive], object]
    covers: tuple[str, ...] = ()
    allowed: tuple[Allowance, ...] = ()
    keys: bool = True
    store: bool = False  # begins with one that holds rows


def command(
    line: str, *, status: int | tuple[int, ...] = OK, stdin: str = "", keys: bool = True, store: bool = False,
    daemon: bool = False, allowed: tuple[Allowance, ...] = (), name: str = "",
) -> Case:  # fmt: skip
    """A command that is run to its end: with text on stdin, or a log where stdin is its name in braces."""

    def play(drive: Drive) -> None:
        if daemon:
            drive.serve()
        given: dict[str, Any] = {"input": stdin.encode()}
        if stdin.startswith("{"):
            given = {"stdin": drive.stack.enter_context(drive.log(stdin.strip("{}")).open("rb"))}
        logs = {name: str(path) for name, path in drive.ground.logs.items()}
        said = drive.run(*shlex.split(line.format(**logs)), status=status, **given)
        # The canaries were there: it read them, or kept what comes of them.
        assert not line.startswith("explain") or (STEM in said) == ("--redact" not in line)
        assert not line.startswith("import") or drive.rows() > 5

    name = name or re.sub("[{}]", "", f"{line} < {stdin}" if stdin.startswith("{") else line)
    words = tuple(word for word in shlex.split(line) if not word.startswith("{"))
    return Case(name, play, (" ".join(words),), allowed, keys, store)


def by_workers(drive: Drive) -> None:
    """Workers of a Dask cluster read; what they send is looked at by tests/integration/test_dask.py."""
    folder = drive.watch.root / "dask"
    folder.mkdir()
    cluster = Cluster(folder, 2)
    try:
        drive.run("import", "--scheduler", str(cluster.place), str(drive.log("live")), str(drive.log("fields")))
    finally:
        logged = cluster.stop()
    assert STEM not in logged
    assert drive.rows() > 5


def host_examined(drive: Drive) -> None:
    """A host whose logs, packed and plain, are full of raw lines: doctor reads them, and names the files alone."""
    host = drive.watch.root / "host"
    for name in ("etc/rsyslog.d", "var/log/journal/1"):
        (host / name).mkdir(parents=True)
    (host / "etc/rsyslog.conf").write_text("mail.* /var/log/mail.log\n")
    for name, log in (("mail.log", "log"), ("mail.log.1", "live"), ("mail.log.2.gz", "gz"), ("old.zst", "damaged")):
        shutil.copy(drive.log(log), host / "var/log" / name)
    lines = [b"SYSLOG_IDENTIFIER=postfix/smtp MESSAGE=" + line for line in planted.fields()]
    (host / "var/log/journal/1/system.journal").write_bytes(b"\0".join(lines))
    words = [word for word in drive.words("doctor", "--json", "--root", host) if word != "--config"]
    words.remove(str(drive.program.config))
    done = drive.watch.run(*words)
    assert done.returncode == FINDINGS
    assert b"raw-log-left" in done.stdout
    assert b"raw-journal-left" in done.stdout
    shutil.rmtree(host)  # these files are not the program's


TRIED = (OK, UNAVAILABLE, CONFIG)  # of what depends on the programs of this machine

COMMANDS = (
    command("import {log}"),
    command("import {fields}"),
    command("import {gz} {fields}"),
    command("import {bz2}"),
    command("import {xz}"),
    command("import {zst}", allowed=(from_zstd,)),
    command("import --jobs 2 {live} {fields}"),
    Case("import --scheduler", by_workers, ("import --scheduler",), (to_a_scheduler,)),
    command("import --json --stream daily {log}"),
    command("import --json --stream daily {log} {live}", store=True),
    command("import --year 2026", stdin="{log}"),
    command("import -", stdin="{gz}"),
    command("explain {log}", allowed=(to_standard_output,)),
    command("explain --year 2026", stdin="{log}", allowed=(to_standard_output,)),
    command("explain --only rows {log}", allowed=(to_standard_output,)),
    # its stand-ins are of networks that hold canaries, too; what else there is in it, tests/test_redact.py looks for
    command("explain --redact {log} --year 2026", allowed=(to_standard_output,)),
    command("scrub {log} {fields} {gz} {zst}", allowed=(from_zstd,)),
    command("scrub --digits 6 --year 2026 -", stdin="{log}"),
    command("keys init", keys=False, allowed=(to_the_seal,)),
    command("keys list", store=True),
    command("keys rotate", store=True),
    command("keys rotate --in 2h", daemon=True),
    command("keys destroy 1 --yes", status=USAGE),
    command("pseudonym", stdin=ADDRESSES),
    command("db init"),
    command("db init --citus", status=USAGE),
    command("db status", store=True),
    command("db upgrade", store=True),
    command("db upgrade --local", store=True),
    command("db index", store=True),
    command("db prune --older-than 1d --yes", store=True),
    command("db reset --yes", store=True),
    command("lookup", stdin=PERSON, store=True),
    command("lookup --json", stdin=PERSON, store=True),
    command(f"lookup {SINCE} --sender --recipient", stdin=PAIR, store=True),
    command("lookup", stdin=ADDRESSES, store=True, name="lookup: some that are none"),
    command("forget --yes", stdin=PERSON, store=True),
    command(f"export {RELEASE} --output set --time day --k 2", store=True),
    command(f"export {RELEASE} --output set --format csv --size exact {HOURS} {ALL}", store=True, status=(OK, DATA)),
    command("report --output report.html", store=True),
    command("report --since 2026-01-01 --until 2027-12-31 --top 100 --output -", store=True),
    command("status", daemon=True),
    command("status --json", daemon=True),
    command("status --check --max-silence 10m --max-wait 2h", daemon=True),
    command("enable rsyslog --dry-run", status=TRIED),
    command("enable syslog-ng --dry-run", status=TRIED),
    command("enable journald --dry-run", status=TRIED),
    command("enable postfix --subject none --dry-run", status=TRIED),
    command("disable rsyslog --dry-run", status=TRIED),
    command("disable syslog-ng --dry-run", status=TRIED),
    command("disable journald --dry-run", status=TRIED),
    command("disable postfix --dry-run", status=TRIED),
    command("disable all --dry-run", status=TRIED),
    command("doctor", status=(OK, FINDINGS)),
    Case("doctor --json --root HOST", host_examined, ("doctor --json --root",)),
    command("--help"),
)
