"""Lines that nobody expects: each is counted and confirmed, at once, and the honest ones around them lose nothing."""

from __future__ import annotations

import random

import pytest

from tests.integration.asking import rows
from tests.integration.live.confirming import Confirming, deliver, send_datagrams, send_plain
from tests.integration.live.omprog import Child
from tests.integration.live.service import Service
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program

HEAD = b"2026-11-02T08:00:00.000000+00:00 mx1 postfix/smtp[1]: "
POISON = (
    b"",
    b" ",
    b"\0",
    b"\0" * 100,
    b"\0postsink 1",
    b"\r",
    b"\x1b[2J\x07",
    b"\xff\xfe\xfd",
    b"\xc3",
    bytes(range(256)).replace(b"\n", b""),
    b"OK",
    b"BEGIN TRANSACTION",
    b"2026-11-02T08:00",
    b"2026-11-02T08:00:00.000000+00:00",
    b"2026-11-02T08:00:00.000000+00:00 mx1",
    b"2026-11-02T08:00:00.000000+00:00 mx1 postfix/smtp[1]",
    b"2026-13-45T99:99:99+99:99 mx1 postfix/smtp[1]: 4A5A321A867: removed",
    b"9999-12-31T23:59:59.999999+00:00 mx1 postfix/qmgr[1]: 4A5A321A867: removed",
    b"0001-01-01T00:00:00.000000+00:00 mx1 postfix/qmgr[1]: 4A5A321A867: removed",
    b"Nov",
    b"Nov 31 25:61:61 mx1 postfix/smtp[1]: 4A5A321A867: removed",
    b"<22>1 - - - - - -",
    b"<999999999999999999999>Nov  2 08:00:00 mx1 postfix/smtp[1]: x",
    b"message repeated 99999999999999999999 times: [ x]",
    HEAD,
    HEAD + b"\0",
    HEAD + b"4A5A321A867: ",
    HEAD + b"4A5A321A867: to=<",
    HEAD + b"4A5A321A867: to=<canary@example.com",
    HEAD + b"4A5A321A867: to=<\xff\xfe@\xc3\x28>, relay=none, delay=1, delays=1/0/0/0, dsn=2.0.0, status=sent (x)",
    HEAD + b"4A5A321A867: to=<a@b>, relay=none, delay=" + b"9" * 400 + b", delays=nan/inf/-1/1e999, dsn=9.9.9, status=",
    HEAD + b"4A5A321A867: to=<a@b>, relay=none, delay=" + b"9" * 5000 + b", delays=1/0/0/0, dsn=2.0.0, status=sent (x)",
    HEAD.replace(b"smtp", b"qmgr") + b"4A5A321A867: from=<>, size=99999999999999999999999, nrcpt=1 (queue active)",
    HEAD.replace(b"smtp", b"cleanup") + b"4A5A321A867: info: header Subject: " + b"=?utf-8?b?" * 2000,
    HEAD.replace(b"mx1", b"\xff\xff\0") + b"4A5A321A867: removed",
    HEAD.replace(b"mx1", b"h" * 5000) + b"4A5A321A867: removed",
    HEAD + b"x" * 65_536,
    b"x" * 65_535,
    b"\xff" * 65_536,
    b"\0" * 65_537,
    b"(" * 30_000,
    HEAD + b"4A5A321A867: to=<" + b"a@" * 30_000,
    HEAD + b"4A5A321A867: to=<" + b'"' * 30_000 + b">, relay=none, status=sent (x)",
)  # fmt: skip


def junk(dice: random.Random, lines: list[bytes]) -> bytes:
    """An honest line that was damaged on its way, or bytes by chance."""
    if dice.random() < 0.3:
        return dice.randbytes(dice.choice((1, 3, 80, 2000))).replace(b"\n", b"")
    line = bytearray(dice.choice(lines))
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(line))
        line[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3)).replace(b"\n", b"")
    return bytes(line[: dice.choice((len(line), dice.randint(0, len(line))))])


@pytest.fixture(scope="session")
def poison(lines: list[bytes]) -> list[bytes]:
    dice = random.Random(1)
    return [*POISON, *(junk(dice, lines) for _ in range(1_000))]


def test_each_is_counted_and_confirmed(live: Program, poison: list[bytes]) -> None:
    with Service(live) as service:
        with Confirming(service.stream) as client:
            for number, line in enumerate(poison, 1):
                client.send(line)
                client.until(number)
        found = service.status()
        assert found["lines"] == len(poison)
        assert found["not_syslog"] + found["too_long"] + found["postfix_lines"] > 0
        assert service.stop() == 0


@pytest.mark.parametrize("shape", ["relay", "direct"])
def test_each_is_answered_with_ok(shape: str, live: Program, poison: list[bytes]) -> None:
    """rsyslogd would send a line again for ever that is not."""
    with Service(live) if shape == "relay" else Child(live, "--direct") as first:
        with Child(live) if isinstance(first, Service) else first as child:
            assert child.reply()
            assert child.deliver(poison) == len(poison)
            assert child.close() == 0


def test_honest_lines_between_them(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """What could be taken for a line of their hosts is left out: it might move a clock."""
    dice = random.Random(2)
    strange = [line for line in POISON if b"mx1" not in line and b"out1" not in line]
    mixed = []
    for line in some_lines:
        mixed += [dice.choice(strange), line]
    with Service(live) as service:
        assert deliver(service.stream, mixed, 100) == len(mixed)
        assert service.stop() == 0
    same_rows(live, some_imported)


def test_in_plain_streams_and_datagrams(live: Program, poison: list[bytes], some_lines: list[bytes]) -> None:
    """Nobody is answered; the daemon lives, and takes what is honest afterwards."""
    small = [line for line in poison if len(line) < 60_000]
    with Service(live) as service:
        # A first line that begins with a NUL speaks another protocol.
        send_plain(service.stream, [b"first", *poison])
        send_plain(service.stream, [b"\0" * 50])
        send_datagrams(service.datagram, small)
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        assert service.stop() == 0
    assert rows(live)


@pytest.mark.parametrize(
    "data",
    [
        b"\0postsink 2\n",
        b"\0postsink 1\n\xff\xff\xff\xff",
        b"\0postsink 1\n\x7f\xff\xff\xff" + b"x" * 100_000,
        b"\0" * 100,
        b"\0postsink 1",
    ],
)
def test_another_protocol(data: bytes, live: Program, some_lines: list[bytes]) -> None:
    """Such a connection ends, without an answer; the others go on."""
    with Service(live) as service:
        with Confirming(service.stream) as other:
            other.send(some_lines[0])
            other.until(1)
            import socket

            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(service.stream))
                try:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    assert client.recv(8) == b""
                except ConnectionError:
                    pass
            other.send(some_lines[1])
            other.until(2)
        assert service.status()["lines"] == 2
        assert service.stop() == 0
