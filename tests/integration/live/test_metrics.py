"""Prometheus metrics of a real daemon: what they say, who may read them, and that no scrape holds up the mail."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from sink.config import CATEGORIES
from sink.core.deliveries import STATUSES
from sink.core.tags import DAEMONS
from sink.fault import OK, TEMPFAIL, UNAVAILABLE
from sink.service.figures import CLASSES, COVERED
from sink.service.metrics import METRICS
from tests.integration.asking import PATIENCE, ask, environment, one_line
from tests.integration.conftest import free_port
from tests.integration.live.confirming import deliver
from tests.integration.live.scraping import answer, path_of, samples, scraping
from tests.integration.live.service import Service, eventually
from tests.integration.live.test_status import ANVIL, current
from tests.integration.live.verdict import same_rows
from tests.judges.program import Program
from tests.unit.test_docs import TOP, cells, section

pytest.importorskip("prometheus_client")

PROXY = shutil.which("systemd-socket-proxyd", path="/usr/lib/systemd:/lib/systemd")
ACTIVATE = shutil.which("systemd-socket-activate", path="/usr/bin:/bin")
MANUAL = (TOP / "docs/status.md").read_text()
WORDS = {
    "daemon": {*DAEMONS, "unknown"}, "status": set(STATUSES.values()), "category": set(CATEGORIES),
    "header": set(COVERED), "kind": {"lost", "timed_out", "of_errors"}, "class": {*CLASSES.values(), "other"},
}  # fmt: skip


def told(program: Program) -> dict[str, object]:
    found: dict[str, object] = json.loads(ask(program, "status", "--json").out)
    return found


def key_of(name: str) -> str:
    return next(metric.label for metric in METRICS if metric.name == name)


# -- what they say


def test_metrics_are_the_figures_of_status(live: Program, some_lines: list[bytes]) -> None:
    strange = current("mx1", 0, "smtpd[1]: alice@example.com is not understood")
    with Service(scraping(live)) as service:
        lines = [*some_lines, *strange]
        assert deliver(service.stream, lines, 50) == len(lines)
        eventually(lambda: samples(path_of(live))["postsink_lines_total", ""] == len(lines))
        eventually(lambda: ("postsink_host_last_line_timestamp_seconds", "mx1") in samples(path_of(live)))
        found, status = samples(path_of(live)), service.status()
    assert found["postsink_deliveries_total", ""] == status["deliveries"] > 50
    assert found["postsink_rejects_total", ""] == status["rejects"] > 0
    assert found["postsink_open_messages", ""] == status["open_messages"] > 0
    assert found["postsink_oldest_open_timestamp_seconds", ""] == status["oldest_open"]
    assert found["postsink_not_understood_lines_total", "smtpd"] == status["not_understood_by_daemon"]["smtpd"] >= 1
    assert found["postsink_sampled_rows_total", ""] == status["headers"]["rows"]
    for name, key in (("committed_rows_total", "statuses"), ("committed_rejects_total", "categories")):
        shown = {label: value for (one, label), value in found.items() if one == f"postsink_{name}"}
        assert {label: value for label, value in shown.items() if value} == status[key]
        assert shown.keys() == WORDS[key_of(name)], "each is there from the start, so that its first rate is right"
    assert {label for name, label in found if name.startswith("postsink_host_")} == {"mx1", "out1"}
    assert (found["postsink_stuck", ""], found["postsink_epoch", ""]) == (0, 1)
    assert abs(found["postsink_updated_timestamp_seconds", ""] - status["now"]) <= 3
    assert not any(name.startswith(("postsink_outbox", "postsink_database")) for name, _ in found)


def test_labels_are_of_closed_lists(live: Program, some_lines: list[bytes]) -> None:
    """Those, the version, and the names of logging hosts."""
    labels = {f"postsink_{metric.name}": metric.label for metric in METRICS}
    with Service(scraping(live)) as service:
        deliver(service.stream, [*some_lines, *current("mx9", 0, "smtpd[1]: x@y", "qmgr[1]: z", ANVIL)], 50)
        eventually(lambda: ("postsink_host_last_line_timestamp_seconds", "mx9") in samples(path_of(live)))
        found = samples(path_of(live))
    for name, value in found:
        if labels[name] in WORDS:
            assert value in WORDS[labels[name]], (name, value)
        elif labels[name] not in ("host", "version"):
            assert (labels[name], value) == ("", "")


def test_each_metric_is_in_the_manual() -> None:
    table = section(MANUAL, "## Prometheus")
    assert cells(table, 0) == [f"postsink_{metric.name}" for metric in METRICS]
    labels = [line.split("|")[2].strip().strip("`") for line in table.splitlines() if line.startswith("| `postsink_")]
    assert labels == [metric.label for metric in METRICS]


def test_names_follow_prometheus_habits() -> None:
    """[Prometheus, "Metric and label naming"]"""
    for metric in METRICS:
        assert re.fullmatch(r"[a-z]+(?:_[a-z]+)*", metric.name)
        assert not metric.words.endswith(".")
        assert "seconds" not in metric.name or metric.name.endswith("_seconds")


def test_a_hosts_name_harms_no_scrape(live: Program) -> None:
    """Quotes, backslashes and controls that whoever may write lines puts there."""
    with Service(scraping(live)) as service:
        deliver(service.stream, current('m"x\\1\x07{}', 0, ANVIL))
        eventually(lambda: any(name.startswith("postsink_host_last") for name, _ in samples(path_of(live))))
        (name,) = [label for one, label in samples(path_of(live)) if one.startswith("postsink_host_last")]
    assert name == 'm\\"x\\\\1?{}'


# -- who may read, and what else is answered


def test_off_by_default(live: Program) -> None:
    with Service(live):
        assert not path_of(live).exists()
    loaded = "import sys; from sink.service import run; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_socket_of_its_own(live: Program) -> None:
    with Service(scraping(live)) as service:
        assert stat.S_IMODE(path_of(live).stat().st_mode) == 0o600
        assert answer(path_of(live))[0] == 200
        assert service.stop() == OK
    assert not path_of(live).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_stranger_is_refused(live: Program) -> None:
    asking = ("import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
              " s.sendall(b'GET /metrics HTTP/1.1\\r\\n\\r\\n'); print(s.recv(10))")  # fmt: skip
    with Service(scraping(live)):
        words = [sys.executable, "-c", asking, str(path_of(live))]
        assert "PermissionError" in subprocess.run(words, capture_output=True, text=True, check=False).stderr
        path_of(live).chmod(0o666)
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.stdout == "b''\n" or "ConnectionResetError" in done.stderr or "BrokenPipeError" in done.stderr


def test_a_port_of_this_host(live: Program) -> None:
    port = free_port()
    with Service(scraping(live, f"127.0.0.1:{port}")):
        assert answer(port)[0] == 200
        bound = subprocess.run(["cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
        assert f" 0100007F:{port:04X} 00000000:0000 0A" in bound, "it listens there and nowhere else"
        other = scraping(live.sibling(live.folder / "other"), f"127.0.0.1:{port}")
        one_line(ask(other, "run"), TEMPFAIL, "take another port")


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", 200), (b"GET /metrics?name[]=x HTTP/1.1\r\nA: b\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404), (b"GET /alice@example.com HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405), (b"\r\n\r\n", 405), (b"\0postsink 1\n\r\n\r\n", 405),
        (b"G" * 9_000, 0), (b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 2_000 + b"\r\n", 0),
    ],
)  # fmt: skip
def test_questions(question: bytes, status: int, live: Program) -> None:
    with Service(scraping(live)) as service:
        assert answer(path_of(live))[0] == 200
        try:
            found, text = answer(path_of(live), question)
        except ConnectionError:
            found, text = 0, ""
        assert found == status
        assert "alice" not in text
        assert answer(path_of(live))[0] == 200, "it goes on"
        assert service.stop() == OK


# -- mail comes first


def test_no_scrape_holds_up_the_mail(live: Program, some_lines: list[bytes], some_imported: Program) -> None:
    """Some ask and never read, one asks in a loop; lines are confirmed meanwhile, and the rows are right."""
    done, scrapes = threading.Event(), 0

    def scrape() -> None:
        nonlocal scrapes
        while not done.is_set():
            answer(path_of(live))
            scrapes += 1

    with ExitStack() as stack, Service(scraping(live)) as service:
        assert answer(path_of(live))[0] == 200
        thread = threading.Thread(target=scrape)
        thread.start()
        assert deliver(service.stream, some_lines[:500], 20) == 500
        done.set()
        thread.join()
        for _ in range(5):
            silent = stack.enter_context(socket.socket(socket.AF_UNIX))
            silent.connect(str(path_of(live)))
            silent.send(b"GET /metr")
        assert deliver(service.stream, some_lines[500:], 20) == len(some_lines) - 500
        begun = time.monotonic()
        assert service.stop() == OK
        assert time.monotonic() < begun + 4, "its end does not wait for who asks"
    assert scrapes > 1
    same_rows(live, some_imported)


def test_a_reload_moves_it(live: Program, some_lines: list[bytes]) -> None:
    """To another place, to a wrong one, which changes nothing, and away."""
    port = free_port()
    with Service(scraping(live)) as service, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        scraping(live, f"127.0.0.1:{port}")
        service.send(1)
        service.said.until("reloaded")
        assert answer(port)[0] == 200
        assert not path_of(live).exists()
        scraping(live, f"127.0.0.1:{taken.getsockname()[1]}")
        service.send(1)
        assert service.said.until("not reloaded").endswith("where the unit allows no network")
        assert answer(port)[0] == 200
        known = yaml.safe_load(live.config.read_text())
        live.config.write_text(yaml.safe_dump({**known, "metrics": None}))
        service.send(1)
        service.said.until("reloaded")
        with pytest.raises(ConnectionRefusedError):
            answer(port)
        assert deliver(service.stream, some_lines[:10]) == 10
        assert service.stop() == OK


def test_without_the_library(live: Program) -> None:
    scraping(live)
    bug = "import sys; sys.modules['prometheus_client'] = None"
    script = f"{bug}\nfrom sink import cli\nsys.exit(cli.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", script, "--config", str(live.config), "run"], env=environment(), capture_output=True,
        text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == UNAVAILABLE
    assert done.stderr.endswith("type: apt-get install python3-prometheus-client\n")


# -- the port of a daemon without a network


@pytest.mark.skipif(not (PROXY and ACTIVATE), reason="systemd is not installed")
def test_the_shipped_proxy_hands_a_port_on(live: Program) -> None:
    """What postsink-metrics.socket and .service have systemd do, without systemd."""
    unit = (TOP / "packaging/systemd/postsink-metrics.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    words = start.replace("/run/postsink/metrics.sock", str(path_of(live))).split()
    assert Path(words[0]).name == Path(str(PROXY)).name
    port = free_port()
    with Service(scraping(live)):
        assert answer(path_of(live))[0] == 200
        proxy = subprocess.Popen(
            [str(ACTIVATE), "-l", f"127.0.0.1:{port}", str(PROXY), *words[1:]], stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert proxy.stderr is not None
            proxy.stderr.readline()  # it listens
            assert samples(port)["postsink_stuck", ""] == 0
        finally:
            proxy.kill()
            proxy.wait()
            proxy.stderr.close()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_shipped_units(tmp_path: Path) -> None:
    for name in ("postsink-metrics.socket", "postsink-metrics.service"):
        text = (TOP / "packaging/systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("User=_postsink", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "postsink-metrics" in line] == []
