"""`postsink status` of a real daemon: each figure is held against the store, or against what was sent."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sink.config import CATEGORIES
from sink.core.deliveries import STATUSES
from sink.core.tags import DAEMONS
from sink.fault import CONFIG, FINDINGS, OK, UNAVAILABLE, USAGE
from sink.service.figures import COVERED, MARKED, RATES
from tests.integration.asking import AS_NOBODY, PATIENCE, Answer, ask, environment, one_line
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service, eventually
from tests.integration.live.test_outage import held
from tests.judges.program import Program
from tests.unit.test_docs import TOP, cells, section

MONITOR = {OK: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
# 'label'=value[UOM];[warn];[crit];[min];[max] [Monitoring Plugins Development Guidelines, "Performance data"]
PERFORMANCE = re.compile(r"(?:[a-z_]+=\d+(?:c|s|B)?(?:;\d*){0,4})(?: [a-z_]+=\d+(?:c|s|B)?(?:;\d*){0,4})*")


def current(host: str, ago: int, *texts: str) -> list[bytes]:
    """Lines of a host that were logged some seconds ago."""
    stamp = datetime.fromtimestamp(int(time.time()) - ago, UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    return [f"{stamp} {host} postfix/{text}".encode() for text in texts]


ANVIL = "anvil[1]: statistics: max cache size 1 at Nov  2 08:00:00"


def told(program: Program, *options: str) -> tuple[Answer, dict[str, Any]]:
    answer = ask(program, "status", "--json", *options)
    return answer, json.loads(answer.out)


def checked(program: Program, *options: str) -> Answer:
    """One line for the monitor, whatever happens."""
    answer = ask(program, "status", "--check", *options)
    assert answer.err == ""
    (line,) = answer.out.splitlines()
    assert line.startswith(f"POSTSINK {MONITOR[answer.status]}: ")
    words, bar, data = line.partition(" | ")
    assert "|" not in words + data
    assert not bar or PERFORMANCE.fullmatch(data), data
    return answer


# -- figures


def test_figures_are_those_of_the_store(live: Program, some_lines: list[bytes]) -> None:
    with Service(live) as service:
        assert deliver(service.stream, some_lines, 20) == len(some_lines)
        eventually(lambda: service.status()["hosts"].keys() == {"mx1", "out1"})
        answer, found = told(live)
        (rows,), (refusals,), (opened,) = (
            live.query(f"SELECT count(*) FROM {table}")[0] for table in ("delivery", "reject", "open_message")
        )
        statuses = dict(live.query("SELECT status, count(*) FROM delivery GROUP BY 1"))
        categories = dict(live.query("SELECT category, count(*) FROM reject GROUP BY 1"))
    assert answer.status == OK
    assert found["lines"] == found["postfix_lines"] == len(some_lines)
    assert (found["deliveries"], found["rejects"]) == (rows, refusals)
    assert (found["statuses"], found["categories"]) == (statuses, categories)
    assert found["delivery_lines"] == rows and rows > 50
    assert sum(found["not_understood_by_daemon"].values()) == found["not_understood"]
    assert 0 < found["open_messages"] <= opened  # what the store keeps, are links and clocks, too
    assert found["started"] <= found["last_commit"] <= found["now"] < found["started"] + PATIENCE
    assert all(host["silent"] < PATIENCE and host["last_line"] >= found["started"] for host in found["hosts"].values())
    assert 10 << 20 < found["memory"] <= found["memory_peak"] < 1 << 30
    assert (found["dropped"], found["evicted"], found["stuck"], found["not_committed"]) == (0, 0, False, 0)
    assert (found["epoch"], found["epoch_since"], found["findings"]) == (1, None, [])
    assert "outbox" not in found


def test_header_coverage_is_that_of_the_rows(live: Program, some_lines: list[bytes]) -> None:
    """So few rows that each was looked at."""
    with Service(live) as service:
        lines = [*some_lines[:150], *some_lines[-2:]]
        assert deliver(service.stream, lines, 10) == len(lines)
        headers = service.status()["headers"]
        rows = live.rows("delivery_text")
    present = {name: sum(row[name] is not None for row in rows) for name in COVERED[:-2]}
    present |= {"any_header": sum(row["headers_cut"] is not None for row in rows)}
    present |= {"headers_cut": sum(bool(row["headers_cut"]) for row in rows)}
    assert headers == {"rows": len(rows), "with": present}
    assert 5 < len(rows) <= 50 and present["message_id"] > 5


def test_words_of_the_document_are_of_closed_lists(live: Program, some_lines: list[bytes]) -> None:
    """Numbers, times and these; else the names of logging hosts."""
    strange = current("mx1", 0, "smtpd[1]: alice@example.com is not understood", "nothing[1]: x")
    with Service(live) as service:
        deliver(service.stream, [*some_lines, *strange], 100)
        eventually(lambda: "mx1" in service.status()["hosts"])
        _, found = told(live)
        words = ask(live, "status").out
    closed = {*STATUSES.values(), *CATEGORIES, *DAEMONS, *COVERED, *MARKED, *RATES, "unknown"}
    known = closed | found.keys() | {"mx1", "out1", "seconds", "rows", "with", "last_line", "silent", "class", "at"}
    assert set(names(found)) <= known
    assert found["not_understood_by_daemon"]["smtpd"] >= 1
    assert "alice" not in words and "not understood: " in words


def test_each_key_is_in_the_manual(live: Program) -> None:
    """Those of a database are looked at where there is one."""
    manual = section((TOP / "docs/status.md").read_text(), "## The JSON object")
    with Service(live):
        _, found = told(live)
    own = [line for line in manual.splitlines() if "with `database`" not in line]
    assert found.keys() == set(cells("\n".join(own), 0))
    assert [name for name in (*COVERED[-2:], *RATES) if f"`{name}`" not in manual] == []


def names(value: object) -> list[str]:
    """Every text in a document, keys included."""
    if isinstance(value, str):
        return [value]
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in names(part)]


def test_people_read_one_thing_a_line(live: Program, some_lines: list[bytes]) -> None:
    with Service(live) as service:
        deliver(service.stream, some_lines, 100)
        eventually(lambda: service.status()["hosts"])
        answer = ask(live, "status")
    assert (answer.status, answer.err) == (OK, "")
    said = dict(line.split(": ", 1) for line in answer.out.splitlines())
    assert said["lines"].startswith(f"{len(some_lines):,} (")
    assert {"rows", "refusals", "not understood", "open messages", "rows with headers", "host mx1", "last commit",
            "epoch", "memory", "started"} <= said.keys()  # fmt: skip
    assert said["epoch"] == "1, since the beginning"
    assert all(line.isprintable() for line in answer.out.splitlines())


def test_the_oldest_open_message_outlives_a_restart(live: Program) -> None:
    """The store gives open messages in no order of time."""
    opened = [line for ago in (500, 300, 100) for line in current(
        "mx1", ago, f"smtpd[1]: 4A5A321A{ago}: client=x[192.0.2.1]", f"cleanup[1]: 4A5A321A{ago}: message-id=<x@y>"
    )]
    with Service(live) as service:
        deliver(service.stream, opened)
        before = service.status()
        service.kill()
    with Service(live) as service:
        after = service.status()
    assert before["open_messages"] == after["open_messages"] == 3
    assert before["oldest_open"] == after["oldest_open"] == int(datetime.fromisoformat(
        opened[0].split(b" ")[0].decode()).timestamp())  # fmt: skip


# -- silence


def test_a_host_is_silent(live: Program) -> None:
    """Since its last line, which may have been before a restart."""
    with Service(live) as service:
        deliver(service.stream, current("mx1", 4_000, ANVIL))
        deliver(service.stream, current("mx2", 3_000, "qmgr[1]: 4A5A321A867: removed"))
        eventually(lambda: service.status()["hosts"].keys() == {"mx1", "mx2"})
        assert checked(live, "--max-silence", "10m").status == OK, "both have just logged"
        assert service.stop() == OK
    with Service(live) as service:
        deliver(service.stream, current("mx3", 0, ANVIL))
        eventually(lambda: "mx3" in service.status()["hosts"])
        answer, found = told(live, "--max-silence", "10m")
        assert checked(live, "--max-silence", "10m").status == 2
        assert checked(live, "--max-silence", "2h").status == OK
        assert checked(live).status == OK
        said = ask(live, "status", "--max-silence", "10m")
    silent = {name: host["silent"] for name, host in found["hosts"].items()}
    assert 3_000 <= silent["mx2"] < 3_000 + PATIENCE and silent["mx3"] < PATIENCE
    assert answer.status == said.status == FINDINGS
    assert [one["level"] for one in found["findings"]] == ["critical"] * (len(silent) - 1)
    assert "CRITICAL: mx2 has logged nothing for " in said.out


def test_a_hosts_name_is_no_order_to_a_monitor(live: Program) -> None:
    """Whoever may write lines may name a host: no bar, no control character comes through."""
    with Service(live) as service:
        deliver(service.stream, current("mx|1\x1b[31m;x=1", 3_000, "qmgr[1]: 4A5A321A867: removed"))
        eventually(lambda: service.status()["hosts"])
        assert service.stop() == OK
    with Service(live):
        answer = checked(live, "--max-silence", "10m")
        assert answer.status == 2
        assert "mx?1?[31m;x=1 has logged nothing" in answer.out


# -- what is wrong


def test_a_store_that_takes_no_more(live: Program, some_lines: list[bytes]) -> None:
    """Datagrams are dropped meanwhile, and counted."""
    with Service(live) as service, held(service), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.connect(str(service.datagram))
        for line in some_lines[:400]:
            sender.send(line)
        service.said.until("can't take more")
        for line in some_lines[:400]:
            sender.send(line)
        eventually(lambda: service.status()["dropped"] >= 300)
        answer = checked(live)
        assert answer.status == 2
        assert "the store can't take more" in answer.out and " datagrams were dropped" in answer.out
        assert ask(live, "status").status == FINDINGS


def test_no_daemon(live: Program) -> None:
    """A monitor takes that for critical; people are told what to type."""
    one_line(ask(live, "status"), UNAVAILABLE, "no daemon answers; start it")
    one_line(ask(live, "status", "--json"), UNAVAILABLE)
    answer = checked(live)
    assert (answer.status, "no daemon answers" in answer.out) == (2, True)
    with Service(live) as service:
        service.kill()
    assert checked(live).status == 2, "its socket is there still"


def test_a_config_that_is_wrong_is_unknown_to_a_monitor(live: Program) -> None:
    live.config.write_text("stroe: x\n")
    one_line(ask(live, "status"), CONFIG, "line 1")
    assert checked(live).status == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_stranger_learns_nothing(live: Program) -> None:
    live.config.chmod(0o644)
    words = ["--config", str(live.config), "status", "--check"]
    with Service(live):
        unseen = as_nobody(words)
        Path(f"{live.store}.control").chmod(0o666)
        refused = as_nobody(words)
    assert unseen.returncode == 3 and unseen.stdout.endswith("run this as one of them\n"), unseen
    assert refused.returncode == 2 and "no daemon answers" in refused.stdout, "it hangs up on strangers"


def as_nobody(words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command of root's, which loads all that is needed, and then the same one of nobody's."""
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "\n".join(words), *words], capture_output=True, text=True, check=False,
        env=environment(), timeout=PATIENCE,
    )  # fmt: skip


def test_a_daemon_of_another_version(live: Program) -> None:
    """As between an upgrade and the restart."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(live.store) + ".control")
        listener.listen()
        threading.Thread(target=old_answer, args=(listener,), daemon=True).start()
        one_line(ask(live, "status"), UNAVAILABLE, "another version")


def old_answer(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b'{"ok": true, "lines": 3}\n')


@pytest.mark.parametrize(
    "options", [("--json", "--check"), ("--max-silence", "10"), ("--max-wait", "soon"), ("--max-silence", "9999d")]
)
def test_wrong_options(options: tuple[str, ...], live: Program) -> None:
    one_line(ask(live, "status", *options), USAGE)


def test_the_answer_about_many_hosts_comes_whole(live: Program) -> None:
    """Two hundred names as long as they may be, and characters of four bytes."""
    hosts = ["\U0001d4b6" * 60 + f"{number:03}" for number in range(230)]
    with Service(live) as service:
        deliver(service.stream, [line for host in hosts for line in current(host, 0, ANVIL)], 50)
        eventually(lambda: service.status()["hosts_not_named"] == 30, 30)
        _, found = told(live)
    assert len(found["hosts"]) == 200
    assert Path("/proc/self/statm").exists()  # where memory is read
