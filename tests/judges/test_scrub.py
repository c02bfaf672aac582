"""Tools of mail logs, which others wrote, count in a scrubbed log what they count in the raw one.

Two things differ by intent, and are told apart here:

* where a quoted sender holds a `>`, tools misread the raw line and count nothing; the scrubbed one they read. These
  lines are left out of both (two in the 3.10 sample);
* tools count a null sender's host among the senders' domains. A name that is a host here and a domain there is one
  for them, and two pseudonyms for us: host names and domains have keys of their own.
"""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judges.program import LAB, ROOT, SAMPLES, Program, unpacked
from tests.judges.test_totals import pflogsumm

__all__ = ["pflogsumm"]
FORMATS = ("iso8601", "traditional")
FAIL2BAN = ROOT / "build" / "unpacked" / "fail2ban"
MODES = ("more", "rbl", "aggressive", "errors")
MISREAD = re.compile(rb': from=<"[^,]*>[^,]*>, size=')
LISTS = (
    "Per-Hour Traffic Summary", "Host/Domain Summary: Message Delivery", "Senders by message count",
    "Recipients by message count", "Senders by message size", "Recipients by message size",
)  # fmt: skip
RECEIVED = "Host/Domain Summary: Messages Received"
Logs = Callable[[str], tuple[Path, Path, Program]]


@pytest.fixture(scope="module")
def logs(installation: Callable[..., Program], unpack_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Logs:
    """A sample and what `scrub` makes of it, without the lines that tools misread."""
    made: dict[str, tuple[Path, Path, Program]] = {}
    folder = tmp_path_factory.mktemp("scrubbed")

    def scrubbed(name: str) -> tuple[Path, Path, Program]:
        if name not in made:
            log = unpacked(name, unpack_folder)
            program = installation(**LAB)
            lines, shown = log.read_bytes().split(b"\n"), program.run("scrub", str(log)).split(b"\n")
            assert len(shown) == len(lines)
            pairs = [pair for pair in zip(lines, shown, strict=True) if not MISREAD.search(pair[0])]
            base = Path(name).stem
            first, second = folder / f"raw-{base}", folder / f"scrubbed-{base}"
            for path, side in ((first, 0), (second, 1)):
                path.write_bytes(b"\n".join(pair[side] for pair in pairs))
            made[name] = first, second, program
        return made[name]

    return scrubbed


def summary(tool: str, log: Path) -> tuple[dict[str, str], dict[str, list[str]], list[str]]:
    """pflogsumm's totals by name, the numbers of its lists by title, the domains that sent."""
    done = subprocess.run(
        [tool, "--syslog-name", "postfix-relay", "--smtpd-stats"],
        input=log.read_bytes(), capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )  # fmt: skip
    words = done.stdout.decode()
    grand = words.partition("Grand Totals")[2].partition("Per-Hour")[0]
    totals = {name.strip(): number for number, name in re.findall(r"^ +(\d+[km]?) {2,3}([a-z/ ]+)", grand, re.M)}
    totals |= {"deferrals": "".join(re.findall(r"\((\d+) +deferrals\)", grand))}
    sections: dict[str, list[str]] = {}
    names: list[str] = []
    for title in (*LISTS, RECEIVED):
        body = words.partition(f"\n{title}")[2].partition("\n\n")[0]
        rows = [line.split() for line in body.split("\n")[2:] if line.startswith("  ") and "---" not in line]
        sections[title] = sorted(" ".join(row) if title == LISTS[0] else " ".join(row[:-1]) for row in rows)
        names = [row[-1] for row in rows if row[0].isdigit()]
    return totals, sections, names


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_pflogsumm_counts_the_same(pflogsumm: str, logs: Logs, name: str, form: str) -> None:
    raw, scrubbed, program = logs(name.format(form))
    totals, lists, domains = summary(pflogsumm, raw)
    totals_, lists_, domains_ = summary(pflogsumm, scrubbed)
    assert int(totals["delivered"]) > 60
    assert len(lists["Recipients by message count"]) > 10
    both = named_twice(program, domains, domains_)
    sent = "sending hosts/domains"
    assert int(totals_.pop(sent)) == int(totals.pop(sent)) + both
    assert totals_ == totals
    assert {title: lists_[title] for title in LISTS} == {title: lists[title] for title in LISTS}


def named_twice(program: Program, raw: list[str], scrubbed: list[str]) -> int:
    """How many names are a host's pseudonym and a domain's at once."""
    raw = [name for name in raw if "<" not in name]
    lines = "".join(f"2026-11-02T10:00:00Z mx1 postfix/smtpd[1]: connect from {name}[192.0.2.1]\n" for name in raw)
    hosts = re.findall(r"connect from ([^\[]*)", program.run("scrub", stdin=lines.encode()).decode())
    people = program.addresses(f"x@{name}" for name in raw)
    return sum(
        host in scrubbed and people[f"x@{name}"].partition("@")[2] in scrubbed
        for name, host in zip(raw, hosts, strict=True)
    )


# Values that quote a text or a name; and what is counted by name, of which the numbers are compared.
OF_TEXT = {"files", "rejects", "bounced", "deferred", "discards", "holds", "warnings", "smtp_messages"}


@pytest.mark.parametrize("name", SAMPLES)
def test_postfix_logsums_counts_the_same(logs: Logs, name: str) -> None:
    """It reads times of the ISO form alone."""
    if importlib.util.find_spec("postfix_logsums") is None:
        pytest.skip("postfix-logsums is not installed: make test does so")
    raw, scrubbed, program = logs(name.format("iso8601"))
    first, second = counted(raw), counted(scrubbed)
    both = named_twice(program, list(first["sending_domain_data"]), list(second["sending_domain_data"]))
    assert second["msgs_total"].pop("sending_domains") == first["msgs_total"].pop("sending_domains") + both
    assert first["msgs_total"]["delivered"] > 60
    del first["sending_domain_data"], second["sending_domain_data"]
    for key in first.keys() - OF_TEXT:
        assert unnamed(second[key]) == unnamed(first[key]), key
    assert {key: total(second[key]) for key in OF_TEXT - {"files"}} == {
        key: total(first[key]) for key in OF_TEXT - {"files"}
    }


def counted(log: Path) -> dict[str, Any]:
    """All that postfix-logsums counts."""
    words = "import sys; from postfix_logsums.app import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", words, "-O", "json", "--smtpd-stats", "--extended", str(log)],
        capture_output=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def unnamed(value: Any) -> Any:
    """A value with how many names there are in the place of the names."""
    if isinstance(value, dict):
        if all(re.fullmatch(r"[a-z_]+", key) for key in value):
            return {key: unnamed(one) for key, one in value.items()}
        return sorted(json.dumps(unnamed(one), sort_keys=True) for one in value.values())
    if isinstance(value, list):
        return [unnamed(one) for one in value]
    return "name" if isinstance(value, str) and "@" in value else value


def total(value: Any) -> float:
    """The sum of all numbers in a value."""
    if isinstance(value, dict):
        return sum(map(total, value.values()))
    return sum(map(total, value)) if isinstance(value, list) else value if isinstance(value, int | float) else 0


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_fail2ban_matches_the_same_lines(logs: Logs, name: str, form: str) -> None:
    """By each mode of its filter for Postfix, and in the same lines."""
    if not FAIL2BAN.exists():
        pytest.skip("fail2ban is not unpacked: packaging/prepare debian")
    raw, scrubbed, _ = logs(name.format(form))
    found = [matched(raw, mode) for mode in MODES]
    assert [matched(scrubbed, mode) for mode in MODES] == found
    assert any(found)


def matched(log: Path, mode: str) -> list[int]:
    """The numbers of the lines that fail2ban's filter matches; each line's time says which it is."""
    modules = str(FAIL2BAN / "usr/lib/python3/dist-packages")
    done = subprocess.run(
        ["/usr/bin/python3", FAIL2BAN / "usr/bin/fail2ban-regex", "-c", FAIL2BAN / "etc/fail2ban",
         "--print-all-matched", log, f"postfix[mode={mode}]"],
        capture_output=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": modules, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    shown = re.findall(rb"^\|  (.*)$", done.stdout.partition(b"Matched line(s):")[2].partition(b"\n`-")[0], re.M)
    lines = log.read_bytes().split(b"\n")
    assert b"Lines: %d lines" % (len(lines) - lines.count(b"")) in done.stdout
    return [lines.index(line) for line in shown]
