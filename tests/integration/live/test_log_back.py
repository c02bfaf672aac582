"""The daemon's log comes back into mail.log by a real rsyslogd and syslog-ng, and never into postsink."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.live.rsyslogd import Many, Rsyslogd
from tests.integration.live.service import Service, eventually
from tests.integration.live.syslog_ng import SyslogNg
from tests.integration.live.test_log import log_of, logging, scrubbed
from tests.integration.live.test_rsyslog import OTHER, log
from tests.integration.live.verdict import same_rows
from tests.judges.program import ROOT, Program

__all__ = ["logging"]
PIECES = ROOT / "syslog-conf"


def piece(name: str, program: Program, files: Path) -> str:
    """A shipped piece, with the paths of a test."""
    text = (PIECES / name).read_text()
    for old, new in (("/var/log/postsink/mail.log", log_of(program)), ("/var/log/mail.log", files / "mail.log")):
        assert text.count(f'"{old}"') == 1
        text = text.replace(f'"{old}"', f'"{new}"')
    return text


def of_postfix(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    return [line for line in path.read_bytes().split(b"\n")[:-1] if b"postfix" in line or b"understood" in line]


def rest_is_quiet(service: Service, number: int) -> None:
    """Nothing came back: after some looks of the daemon's there are as many lines as were sent."""
    for _ in range(3):
        assert service.ask(ask="look")["ok"]
        assert service.status()["lines"] == number


def test_rsyslog(logging: Program, some_lines: list[bytes], some_imported: Program) -> None:
    folder = logging.folder.parent / "rsyslog"
    made = Rsyslogd(folder, logging)
    back = folder / "rsyslog.d" / "20-postsink-log.conf"
    back.write_text(piece("rsyslog/20-postsink-log.conf", logging, made.files))
    assert made.check() == ""
    with Service(logging) as service, made:
        with Many(made) as client:
            client.send(some_lines)
            client.wait_until_read()
        log(made, [OTHER % 1], b"<78>")
        eventually(lambda: service.status()["lines"] == len(some_lines))
        eventually(lambda: len(of_postfix(made.files / "mail.log")) >= len(some_lines))
        eventually(lambda: "job 1\n" in made.written())
        # Rotated as a package's logrotate does it: the rest comes, too.
        log_of(logging).rename(log_of(logging).with_name("mail.log.1"))
        eventually(log_of(logging).exists)
        with Many(made) as client:
            client.send(some_lines[:50])
            client.wait_until_read()
        eventually(lambda: len(of_postfix(made.files / "mail.log")) >= len(some_lines) + 50)
        rest_is_quiet(service, len(some_lines) + 50)
        made.stop()
        assert service.stop() == 0
    assert of_postfix(made.files / "mail.log") == scrubbed(logging, [*some_lines, *some_lines[:50]])
    for other in made.files.iterdir():
        assert other.name == "mail.log" or of_postfix(other) == []
    same_rows(logging, some_imported)


def in_front(text: str, program: Program, files: Path) -> str:
    """As an admin would include both."""
    return piece("syslog-ng/postsink-log.conf", program, files) + text


def test_syslog_ng(logging: Program, some_lines: list[bytes], some_imported: Program) -> None:
    folder = logging.folder.parent / "syslog-ng"
    made = SyslogNg(folder, logging, lambda text: in_front(text, logging, folder / "var-log"))
    assert made.check() == ""
    with Service(logging) as service, made:
        made.send(some_lines)
        made.send([OTHER % 1], b"<78>")
        eventually(lambda: service.status()["lines"] == len(some_lines))
        eventually(lambda: len(of_postfix(made.files / "mail.log")) >= len(some_lines))
        eventually(lambda: "job 1\n" in made.written())
        rest_is_quiet(service, len(some_lines))
        made.stop()
        assert service.stop() == 0
    assert of_postfix(made.files / "mail.log") == scrubbed(logging, some_lines)
    for other in made.files.iterdir():
        assert other.name == "mail.log" or of_postfix(other) == []
    same_rows(logging, some_imported)


@pytest.mark.parametrize("tag", [b"scrubbed:", b"scrubbed[9]:"])
def test_its_tag_is_not_taken(tag: bytes, logging: Program, some_lines: list[bytes]) -> None:
    """Also where an admin has taken out the ruleset: by the tag alone nothing enters postsink."""
    made = Rsyslogd(logging.folder.parent / "rsyslog", logging)
    with Service(logging) as service, made:
        log(made, [b"2026-11-02T09:00:00+00:00 mx1 %b %b" % (tag, line) for line in scrubbed(logging, some_lines[:20])])
        log(made, [OTHER % 1], b"<78>")
        eventually(lambda: "job 1\n" in made.written())
        made.stop()
        assert service.status()["lines"] == 0
        assert service.stop() == 0
