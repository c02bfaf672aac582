"""Addresses for fail2ban: of clients turned away alone, in memory, for a time; fail2ban finds what it found."""

from __future__ import annotations

import re
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sink.fault import CONFIG, OK
from sink.outputs import ClearIps
from sink.service import shortlived
from sink.service.shortlived import ShortLived
from sink.service.words import Seldom
from tests.integration.asking import ask, one_line
from tests.integration.live.canary import leaks
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service
from tests.integration.live.test_log import scrubbed, told, written
from tests.judges.conftest import unpack_folder
from tests.judges.program import SAMPLES, Program, unpacked
from tests.judges.test_scrub import FAIL2BAN, matched

__all__ = ["unpack_folder"]
CLIENT = b"203.0.113.77"
HEAD = b"2026-11-02T08:00:%02d.000000+00:00 mx1 postfix/%b[9]: "
# (daemon, text, whether it is of a client that was turned away)
TEXTS = (
    (b"smtpd", b"warning: unknown[%b]: SASL LOGIN authentication failed: UGFzc3dvcmQ6", True),
    (b"submission/smtpd", b"warning: c.example.net[%b]: SASL PLAIN authentication failed: (reason unavailable),"
     b" sasl_username=alice@example.com", True),
    (b"smtpd", b"warning: unknown[%b]: SASL CRAM-MD5 authentication aborted", True),
    (b"smtpd", b"NOQUEUE: reject: RCPT from unknown[%b]: 554 5.7.1 Service unavailable; Client host [%b] blocked using"
     b" bl.example.org; from=<a@example.net> to=<b@example.com> proto=ESMTP helo=<[198.51.100.7]>", True),
    (b"smtpd", b"NOQUEUE: reject: RCPT from c.example.net[%b]: 450 4.1.1 <b@example.com>: Recipient address rejected:"
     b" User unknown; from=<a@example.net> to=<b@example.com> proto=ESMTP helo=<c.example.net>", True),
    (b"smtpd", b"4A5A321A867: reject: DATA from unknown[%b]: 503 5.5.0 <DATA>: Data command rejected: Improper use of"
     b" SMTP command pipelining; from=<a@example.net> proto=SMTP helo=<x>", True),
    (b"postscreen", b"NOQUEUE: reject: RCPT from [%b]:4711: 550 5.7.1 Service unavailable; client [%b] blocked using"
     b" bl.example.org; from=<a@example.net>, to=<b@example.com>, proto=ESMTP, helo=<x>", True),
    (b"smtpd", b"too many errors after AUTH from unknown[%b]", True),
    (b"smtpd", b"improper command pipelining after EHLO from unknown[%b]: canary", True),
    (b"smtpd", b"lost connection after AUTH from unknown[%b]", True),
    (b"smtpd", b"disconnect from unknown[%b] ehlo=1 auth=0/3 quit=1 commands=2/5", True),
    (b"postscreen", b"PREGREET 11 after 0.1 from [%b]:4711: EHLO canary\\r\\n", True),
    (b"postscreen", b"COMMAND COUNT LIMIT from [%b]:4711 after RCPT", True),
    (b"smtpd", b"connect from unknown[%b]", False),
    (b"smtpd", b"lost connection after EHLO from unknown[%b]", False),
    (b"smtpd", b"disconnect from unknown[%b] ehlo=1 auth=1/2 quit=1 commands=2", False),
    (b"smtpd", b"4A5A321A867: client=unknown[%b], sasl_method=PLAIN, sasl_username=alice@example.com", False),
    (b"postscreen", b"PASS NEW [%b]:4711", False),
    (b"smtp", b"4A5A321A867: to=<b@example.com>, relay=m.example.net[%b]:25, delay=1, delays=1/0/0/0, dsn=5.0.0,"
     b" status=bounced (host m.example.net[%b] said: 550 NOQUEUE: reject: RCPT from unknown[%b]: 554 no)", False),
)  # fmt: skip
# What a client chose stands where Postfix would write an address, or before it; none may come out.
CHOSEN = (
    b"smtpd[9]: NOQUEUE: reject: RCPT from unknown[unknown]: 554 5.7.1 <x[203.0.113.77]>: no; from=<> to=<> proto=SMTP",
    b"cleanup[9]: 4A5A321A867: info: header Subject: postfix/smtpd[9]: warning: x[203.0.113.77]: SASL LOGIN"
    b" authentication failed: from x[203.0.113.77]; from=<a@example.net> to=<b@example.com> proto=SMTP helo=<x>",
    b"smtpd[9]: warning: unknown[203.0.113.77]x[203.0.113.77]: SASL LOGIN authentication failed",
    b"smtpd[9]: NOQUEUE: reject: RCPT from unknown[203.0.113.77.canary]: 554 no",
    b"smtpd[9]: NOQUEUE: reject: RCPT from unknown[::ffff:203.0.113.777]: 554 no",
    b"smtpd[9]: reject: x\nNOQUEUE: reject: RCPT from unknown[203.0.113.77]: 554 no",
    b"smtpd: NOQUEUE: reject: RCPT from unknown[203.0.113.77]: 554 no",
)
MODES = ("auth", "normal", "more", "rbl", "extra", "errors")
WIDE = ("ddos", "aggressive")
HUNG_UP = re.compile(rb"\]: (?:lost connection after (?!AUTH )|HANGUP after )")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder on a tmpfs."""
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/dev/shm"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def banning(live: Program, memory: Path) -> Program:
    return told(live, clear_ips={"path": str(memory / "fail2ban.log"), "keep": "10m"})


def lines_of(texts: tuple[tuple[bytes, bytes, bool], ...]) -> list[bytes]:
    return [HEAD % (number, daemon) + text.replace(b"%b", CLIENT) for number, (daemon, text, _) in enumerate(texts)]


def test_lines_of_clients_that_were_turned_away(banning: Program, memory: Path) -> None:
    """With their address, and all else as the log has it; no other line. An orderly end leaves nothing."""
    log, sent = memory / "fail2ban.log", lines_of(TEXTS)
    with Service(banning) as service:
        assert deliver(service.stream, sent) == len(sent)
        found = written(log)
        assert stat.S_IMODE(log.stat().st_mode) == 0o640
        shown = [line for line, (_, _, is_in) in zip(scrubbed(banning, sent), TEXTS, strict=True) if is_in]
        hidden = re.search(rb"unknown\[(.*?)\]", shown[0])
        assert hidden
        assert found == [line.replace(b"[%b]" % hidden[1], b"[%b]" % CLIENT) for line in shown]
        assert all(CLIENT in line for line in found)
        log.write_bytes(log.read_bytes().replace(CLIENT, b""))
        assert leaks(memory) == []
        assert service.stop() == OK
    assert log.read_bytes() == b""


def test_what_a_client_chose_is_no_address(banning: Program, memory: Path) -> None:
    lines = [b"2026-11-02T08:00:00+00:00 mx1 postfix/" + text for text in CHOSEN]
    with Service(banning) as service:
        assert deliver(service.stream, lines) == len(lines)
        assert leaks(memory) == []
        assert (memory / "fail2ban.log").read_bytes() == b""
        assert service.stop() == OK


def test_a_disk_is_refused(live: Program) -> None:
    told(live, clear_ips={"path": "fail2ban.log"})
    one_line(ask(live, "run"), CONFIG, "clear_ips: ", "is not in memory; name a file on a tmpfs")
    assert not (live.folder / "fail2ban.log").exists()


def test_a_killed_daemon_leaves_lines_until_the_next_start(banning: Program, memory: Path) -> None:
    log, sent = memory / "fail2ban.log", lines_of(TEXTS)
    with Service(banning) as service:
        assert deliver(service.stream, sent) == len(sent)
        service.kill()
    assert log.read_bytes()
    with Service(banning) as service:
        assert log.read_bytes() == b""
        assert deliver(service.stream, sent[:1]) == 1
        service.send(signal.SIGHUP)
        service.said.until("reloaded")
        assert len(written(log)) == 1  # a reload takes nothing away
        assert service.stop() == OK


@pytest.mark.parametrize("busy", [True, False])
def test_no_line_is_older_than_keep(busy: bool, memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at once a second, with a line each second or none for some: the clock is the test's."""
    now, seldom, path = [1000.0], Seldom(), memory / "fail2ban.log"
    monkeypatch.setattr(shortlived.time, "clock_gettime", lambda clock: now[0])
    file = ShortLived(ClearIps(path, 60))
    oldest, lived = 0.0, list[float]()
    for second in range(400):
        now[0] += 1
        if busy or second % 20 < 10:
            file.write([b"%d" % now[0]])
        file.look(seldom)
        lines = path.read_bytes().split()
        oldest = max([oldest, *(now[0] - float(line) for line in lines)])
        lived += [] if lines else [now[0]]
    assert oldest < 60 - 1
    assert 6 <= len(lived) <= 60
    file.close()
    assert path.read_bytes() == b""


def test_an_attack_does_not_fill_the_memory(memory: Path) -> None:
    path = memory / "fail2ban.log"
    file = ShortLived(ClearIps(path))
    for _ in range(40):
        file.write([b"x" * 999] * 1000)
        assert path.stat().st_size <= shortlived.MOST
    file.close()


@pytest.mark.parametrize("name", SAMPLES)
def test_fail2ban_finds_what_it_found(
    name: str, live: Program, memory: Path, unpack_folder: Path, tmp_path: Path
) -> None:
    """By each mode of its filter for Postfix; of the two widest not who merely hung up."""
    if not FAIL2BAN.exists():
        pytest.skip("fail2ban is not unpacked: packaging/prepare debian")
    raw = unpacked(name.format("iso8601"), unpack_folder)
    lines = raw.read_bytes().split(b"\n")[:-1]
    with Service(told(live, clear_ips={"path": str(memory / "fail2ban.log"), "keep": "1h"})) as service:
        assert deliver(service.stream, lines, 100) == len(lines)
        (tmp_path / "clear.log").write_bytes((memory / "fail2ban.log").read_bytes())
        assert service.stop() == OK
    clear = (tmp_path / "clear.log").read_bytes().split(b"\n")
    for mode in (*MODES, *WIDE):
        wanted = [lines[number] for number in matched(raw, mode)]
        wanted = [line for line in wanted if mode in MODES or not HUNG_UP.search(line)]
        found = [clear[number] for number in matched(tmp_path / "clear.log", mode)]
        assert [what(line) for line in found] == [what(line) for line in wanted], mode
        print(f"{name} {mode}: {len(found)} of {len(lines)} lines")
    assert any(matched(raw, mode) for mode in MODES)


def what(line: bytes) -> tuple[bytes, bytes]:
    """The time of a line, and the address that fail2ban reads in it."""
    found = re.search(rb"\[([0-9a-f.:]+)\](?::\d+)?[: ]", line.partition(b"]: ")[2] + b" ")
    assert found
    return line[:32], found[1]
