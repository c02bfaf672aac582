"""Drives the program: with constants of its own, or a bug; and makes small logs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.integration.asking import PATIENCE, Answer, environment
from tests.integration.live.service import with_bug
from tests.judges.program import Program

# Patient programs make slow tests. As lines of Python that run before a command.
IMPATIENT = "from sink.tools import moving; moving.PATIENCE = 1.0"
RESTLESS = "from sink.stores import drain; drain.PAUSE = drain.FIRST = drain.LONGEST = drain.REFUSED = 0.05"


def schema_in(folder: Path) -> str:
    """Lines of Python that take the schema files from a folder."""
    return f"from pathlib import Path; from sink.stores import schema; schema.folder = lambda: Path({str(folder)!r})"


@contextmanager
def started(program: Program, bug: str, *arguments: str | Path, **given: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command under way, with lines of Python to run first."""
    with subprocess.Popen(
        [*with_bug(program, bug), *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=program.folder, env=environment(), **given,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def ended(process: subprocess.Popen[bytes]) -> Answer:
    """Wait for its end; return what it said."""
    out, err = process.communicate(timeout=PATIENCE)
    answer = Answer(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in answer.err and "a bug" not in answer.err, answer.err
    return answer


def told(program: Program, bug: str, *arguments: str | Path, **given: Any) -> Answer:
    """Run a command, with lines of Python to run first."""
    with started(program, bug, *arguments, **given) as process:
        return ended(process)


def mail(when: datetime, number: int = 1, host: str = "mx1", queue_id: str = "", **said: str) -> list[bytes]:
    """The lines of a message's life, one second long, unless they are said otherwise."""
    stamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00")
    name = queue_id or f"{0xABC000000 + number:X}"
    words = {
        "client": "client=mx.example.net[203.0.113.7]", "id": f"<{number}@example.net>", "status": "sent (250 ok)",
        "sender": f"ann{number}@example.net", "recipient": f"bob{number}@example.com", "delay": "0.5", **said,
    }  # fmt: skip
    return [line.encode() for line in (
        f"{stamp} {host} postfix/smtpd[1]: {name}: {words['client']}",
        f"{stamp} {host} postfix/cleanup[2]: {name}: message-id={words['id']}",
        f"{stamp} {host} postfix/qmgr[3]: {name}: from=<{words['sender']}>, size=1200, nrcpt=1 (queue active)",
        f"{stamp} {host} postfix/smtp[{number}]: {name}: to=<{words['recipient']}>, relay=none, delay={words['delay']},"
        f" delays=0.1/0/0.2/0.2, dsn=2.0.0, status={words['status']}",
        f"{stamp} {host} postfix/qmgr[3]: {name}: removed",
    )]  # fmt: skip


def written(path: Path, *parts: list[bytes]) -> Path:
    """A log of some lines."""
    path.write_bytes(b"".join(line + b"\n" for lines in parts for line in lines))
    return path
