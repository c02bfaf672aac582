"""A real syslog-ng with the shipped config hands Postfix's lines to the daemon, and writes none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.live.service import Service, eventually
from tests.integration.live.syslog_ng import SyslogNg
from tests.integration.live.test_rsyslog import OTHER, lines_taken
from tests.integration.live.verdict import counted, same_rows
from tests.judges.program import Program


@pytest.fixture
def syslog_ng(live: Program) -> Iterator[SyslogNg]:
    made = SyslogNg(live.folder.parent / "syslog-ng", live)
    yield made
    assert "postfix" not in made.written()


def as_program(text: str) -> str:
    """The shipped config with its other destination: syslog-ng starts postsink itself."""
    lines = text.split("\n")
    start = next(number for number, line in enumerate(lines) if line.strip().startswith("unix-stream("))
    end = next(number for number in range(start, len(lines)) if lines[number].strip() == ");")
    del lines[start : end + 1]
    program = next(number for number, line in enumerate(lines) if line.strip().startswith("#program("))
    while lines[program].strip().startswith("#"):
        lines[program] = lines[program].replace("#", "", 1)
        program += 1
    return "\n".join(lines)


def test_the_config_is_without_mistakes(syslog_ng: SyslogNg) -> None:
    assert syslog_ng.check() == ""


def test_each_line_arrives(
    live: Program, syslog_ng: SyslogNg, lines: list[bytes], imported: Program, tmp_path: Path
) -> None:
    with Service(live) as service, syslog_ng:
        syslog_ng.send([OTHER % 1], b"<78>")
        syslog_ng.send(lines)
        eventually(lambda: service.status()["lines"] == len(lines))
        eventually(lambda: "job 1\n" in syslog_ng.written())
        syslog_ng.stop()
        assert service.stop() == 0
    same_rows(live, imported)
    counted(live, lines, tmp_path)


def test_datagrams(
    live: Program, syslog_ng: SyslogNg, some_lines: list[bytes], some_imported: Program
) -> None:
    with Service(live) as service, syslog_ng:
        syslog_ng.log(some_lines)
        eventually(lambda: service.status()["lines"] == len(some_lines))
        syslog_ng.stop()
        assert service.stop() == 0
    same_rows(live, some_imported)


def test_nobody_waits_for_a_daemon_that_is_away(
    live: Program, syslog_ng: SyslogNg, lines: list[bytes], imported: Program
) -> None:
    """Lines wait in syslog-ng's memory; clients and other rules go on."""
    with syslog_ng:
        syslog_ng.send(lines)
        syslog_ng.send([OTHER % 1], b"<78>")
        eventually(lambda: "job 1\n" in syslog_ng.written())
        with Service(live) as service:
            eventually(lambda: service.status()["lines"] == len(lines))
            syslog_ng.stop()
            assert service.stop() == 0
    same_rows(live, imported)


def test_a_daemon_that_is_stopped_and_started(
    live: Program, syslog_ng: SyslogNg, lines: list[bytes], imported: Program
) -> None:
    """An orderly stop takes what lies in the socket; syslog-ng sends the rest to the next daemon."""
    step = len(lines) // 4
    with syslog_ng:
        for start in range(0, len(lines), step):
            with Service(live) as service:
                syslog_ng.send(lines[start : start + step])
                lines_taken(service, len(lines[start : start + step]))
                assert service.stop() == 0
        syslog_ng.stop()
    same_rows(live, imported)


def test_postsink_as_its_program(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """At its end it closes the pipe, and postsink takes what lies in there."""
    live.config.write_text(re.sub("listen:.*?\n(?=[a-z])", "", live.config.read_text(), flags=re.DOTALL))
    made = SyslogNg(live.folder.parent / "syslog-ng", live, as_program)
    assert made.check() == ""
    with made:
        made.send(some_lines)
        eventually(lambda: live.store.exists() and live.query("SELECT count(*) FROM sqlite_schema")[0][0])
        eventually(lambda: live.query("SELECT count(*) FROM delivery")[0][0] > 50)
        made.stop()
    eventually(lambda: not Path(f"{live.store}.control").exists())
    same_rows(live, some_imported)
    assert "postfix" not in made.written()
