"""Totals of pflogsumm, which others wrote and use every day, equal those from SQL.

What pflogsumm 1.1.5 counts, line for line of its source, and the SQL that says the same:

* delivered: `to=` lines with status=sent, but for those that say "forwarded as" anywhere behind the status;
* forwarded: the others. Only local(8) says so: `agent = 'local' AND next_queue_id IS NOT NULL`;
* deferred: queue ids that were deferred, and in parentheses the deferrals;
* bounced: `to=` lines with status=bounced;
* rejected: `reject:` of smtpd and postscreen, and header, body and END-OF-MESSAGE refusals of cleanup. It
  counts neither the `milter-reject:` of smtpd nor the warning about an address syntax: `reject` holds these
  as well, so their number, counted from the text, is added. Without fractions of seconds refusals that are
  alike are one reject, so this is judged on the format that has them;
* bytes delivered: the size of a delivered message, once for each delivery; nothing where the log begins
  after the line that tells the size. Where a quoted sender holds a `>`, it misreads the line and counts
  nothing: two hostile messages in the 3.10 sample, whose sizes are added.
"""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from tests.judges import counter
from tests.judges.program import LAB, SAMPLES, Program, unpacked

FORMATS = ("iso8601", "traditional")
FORWARDED = "agent = 'local' AND next_queue_id IS NOT NULL"
# pflogsumm shows 524288 and more in units of k, rounded: each part must stay below that.
PARTS = 8


@pytest.fixture(scope="module")
def pflogsumm() -> str:
    """The tool of Debian's package of that name."""
    tool = shutil.which("pflogsumm", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not tool:
        pytest.skip("pflogsumm is not installed: apt-get install pflogsumm (make test does so as root)")
    return tool


Stored = Callable[[str], tuple[Path, Program]]


@pytest.fixture(scope="module")
def stored(installation: Callable[..., Program], unpack_folder: Path) -> Stored:
    """A sample and a store with its rows, made once."""
    made: dict[str, tuple[Path, Program]] = {}

    def imported(name: str) -> tuple[Path, Program]:
        if name not in made:
            log = unpacked(name, unpack_folder)
            program = installation(**LAB)
            program.import_files(log)
            made[name] = log, program
        return made[name]

    return imported


def totals(tool: str, log: bytes) -> dict[str, int]:
    """pflogsumm's grand totals; it reads one syslog name beside `postfix`."""
    done = subprocess.run(
        [tool, "--detail", "0", "--syslog-name", "postfix-relay"],
        input=log, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    words = done.stdout.decode()
    # A number in k or m is rounded: left out.
    counted = re.findall(r"^ +(\d+) {3}([a-z ]+)", words, re.MULTILINE)
    found = {name.strip(): int(number) for number, name in counted}
    deferrals = re.search(r"\((\d+) +deferrals\)", words)
    return {**found, "deferrals": int(deferrals[1]) if deferrals else 0}


def in_parts(log: Path) -> list[bytes]:
    """A log in parts, each queue id whole in one of them."""
    parts: list[list[bytes]] = [[] for _ in range(PARTS)]
    for line in log.read_bytes().split(b"\n")[:-1]:
        text = line.partition(b"]: ")[2]
        parts[crc32(text.partition(b":")[0]) % PARTS].append(line + b"\n")
    return [b"".join(part) for part in parts]


def misread_sizes(log: Path) -> list[int]:
    """Sizes of messages whose sender ends, for pflogsumm, at a `>` within its quotes."""
    return [
        int(counter.field(one.text, "size") or 0)
        for one in counter.entries(log)
        if one.agent == "qmgr" and ", size=" in one.text and ">" in one.text.partition(">, size=")[0]
    ]


def one_number(program: Program, sql: str) -> int:
    """The answer to a query for one number."""
    return int(program.query(sql)[0][0] or 0)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_deliveries(pflogsumm: str, stored: Stored, name: str, form: str) -> None:
    """Delivered, forwarded, deferred and bounced."""
    log, program = stored(name.format(form))
    said = totals(pflogsumm, log.read_bytes())
    sent = "SELECT count(*) FROM delivery_text WHERE status = 'sent' AND "
    mine = {
        "delivered": one_number(program, sent + f"NOT coalesce({FORWARDED}, 0)"),
        "forwarded": one_number(program, sent + FORWARDED),
        "deferrals": one_number(program, "SELECT count(*) FROM delivery_text WHERE status = 'deferred'"),
        "deferred": one_number(
            program, "SELECT count(DISTINCT queue_id) FROM delivery_text WHERE status = 'deferred'"
        ),
        "bounced": one_number(program, "SELECT count(*) FROM delivery_text WHERE status = 'bounced'"),
    }
    assert mine == {key: said[key] for key in mine}
    assert mine["delivered"] > 60


@pytest.mark.parametrize("name", SAMPLES)
def test_rejects(pflogsumm: str, stored: Stored, name: str) -> None:
    """Rejected, and what pflogsumm does not count."""
    log, program = stored(name.format("iso8601"))
    uncounted = sum(
        1 for one in counter.refusals(counter.entries(log))
        if one.kind == "syntax" or (one.kind == "milter-reject" and one.entry.agent == "smtpd")
    )
    said = totals(pflogsumm, log.read_bytes())["rejected"]
    assert one_number(program, "SELECT count(*) FROM reject_text") == said + uncounted
    assert (uncounted, said) in {(0, 48), (2, 6), (3, 27)}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_bytes(pflogsumm: str, stored: Stored, name: str, form: str) -> None:
    """Bytes delivered, to the byte."""
    log, program = stored(name.format(form))
    said = [totals(pflogsumm, part)["bytes delivered"] for part in in_parts(log)]
    assert max(said) < 524288
    assert sum(said) > 60_000
    misread = misread_sizes(log)
    assert len(misread) == (2 if "3.10" in name else 0)
    assert sum(said) + sum(misread) == one_number(
        program,
        f"SELECT sum(message_size) FROM delivery_text WHERE status = 'sent' AND NOT coalesce({FORWARDED}, 0)",
    )
