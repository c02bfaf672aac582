"""The tests of this folder notice what they are for: each bug here is put into the program, and is found."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.integration.live.canary import leaks
from tests.integration.live.confirming import Confirming, deliver
from tests.integration.live.service import KILLED, Service
from tests.integration.live.verdict import counted, same_rows
from tests.judges.program import Program

BUGS = {
    "confirms before it commits": """
from sink.service.live import Live
commit, calls = Live.commit, 0
def early(self):
    global calls
    calls += 1
    return commit(self) if calls % 50 == 0 else True
Live.commit = early
""",
    "forgets open messages at a restart": """
from sink.stores.sqlite import SqliteStore
SqliteStore.state = lambda self, stream: {}
""",
    "commits rows without their open messages": """
from sink.stores.sqlite import SqliteStore
commit = SqliteStore.commit
SqliteStore.commit = lambda self, batch, stream=None: commit(self, batch, None)
""",
    "a key that depends on the connection": """
from sink.core.pseudonym import Pseudonyms
import os
key = Pseudonyms.delivery_key
Pseudonyms.delivery_key = lambda self, host, second, pid, text: key(self, host, second, b"%d" % os.getpid(), text)
""",
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(
    bug: str, live: Program, some_lines: list[bytes], some_imported: Program, tmp_path: Path
) -> None:
    """With a kill in each hundred lines, and the line that comes again."""
    done = 0
    while done < len(some_lines):
        end = min(done + 100, len(some_lines))
        with Service(live, bug=BUGS[bug]) as service:
            with Confirming(service.stream) as client:
                again = max(done - 1, 0)
                client.send(*some_lines[again:end])
                client.until(end - again)
            service.process.kill()
            assert service.ended() == KILLED
        done = end
    with pytest.raises(AssertionError, match=r"missing|differ|too many"):
        same_rows(live, some_imported)


def test_the_counter_finds_a_missing_row(
    live: Program, some_lines: list[bytes], some_imported: Program, tmp_path: Path
) -> None:
    counted(some_imported, some_lines, tmp_path)
    lost = next(number for number, line in enumerate(some_lines) if b": to=<" in line)
    with Service(live) as service:
        assert deliver(service.stream, some_lines[:lost] + some_lines[lost + 1 :], 100) == len(some_lines) - 1
        assert service.stop() == 0
    with pytest.raises(AssertionError):
        counted(live, some_lines, tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"to=<bob@example.com>",
        b"TO=<BOB@EXAMPLE.COM>",
        "bob@example.com".encode("utf-16-le"),
        b"bob@example.com".hex().encode(),
        *(base64.b64encode(b"." * number + b"bob@example.com") for number in range(3)),
        b"\0" * 100_000 + b"from unknown[198.51.100.7]",
    ],
)
def test_a_leak_is_found(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "clean").write_bytes(b"fbd086ecaabeda62b9623f6ea6f3dac6")
    assert leaks(tmp_path) == []
    (tmp_path / "file").write_bytes(data)
    assert len(leaks(tmp_path)) == 1


def test_a_leak_in_a_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "bob@example.com").touch()
    assert len(leaks(tmp_path)) == 1
