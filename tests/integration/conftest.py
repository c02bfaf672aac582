"""Runs real Postfix instances of their own: on loopback, in one folder each, nothing leaves the machine.

Log lines come by a pipe (`maillog_file = /dev/stdout`, `postfix start-fg`), so that a test waits for a line
and never sleeps. And installs the program with keys, beside a generated log to import.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sink.fault import OK
from tests.integration.asking import ask, rows
from tests.judges.program import ROOT, Program

PATIENCE = 30  # seconds until a missing line is a failure
PROGRAMS = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
myhostname = mx1.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
default_transport = discard
maillog_file = /dev/stdout
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
alias_maps =
"""
MASTER_CF = """\
127.0.0.1:{port}     inet       n - n - -   smtpd
127.0.0.1:{way_back} inet       n - n - -   smtpd -o cleanup_service_name=cleanup-filtered
cleanup          unix       n - n - 0   cleanup
cleanup-filtered unix       n - n - 0   cleanup
    -o header_checks={kind}:{folder}/etc/postsink_milter_header_checks
qmgr             unix       n - n 300 1 qmgr
rewrite          unix       - - n - -   trivial-rewrite
bounce           unix       - - n - 0   bounce
defer            unix       - - n - 0   bounce
trace            unix       - - n - 0   bounce
discard          unix       - - n - -   discard
anvil            unix       - - n - 1   anvil
proxymap         unix       - - n - -   proxymap
postlog          unix-dgram n - n - 1   postlogd
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postfix:
    """One instance; `on` and `off` of its tables are the very commands of the README."""

    def __init__(self, folder: Path, kind: str, main_cf: str = "") -> None:
        self.folder, self.kind = folder, kind
        self.port, self.way_back = free_port(), free_port()
        self.secret = folder / "header-tokens"
        self.environment = {"PATH": PROGRAMS, "MAIL_CONFIG": str(folder / "etc"), "LC_ALL": "C"}
        for name in ("etc", "queue", "data"):
            (folder / name).mkdir()
            (folder / name).chmod(0o755)
        shutil.chown(folder / "data", "postfix")
        (folder / "etc/main.cf").write_text(MAIN_CF.format(folder=folder) + main_cf)
        (folder / "etc/master.cf").write_text(
            MASTER_CF.format(port=self.port, way_back=self.way_back, kind=kind, folder=folder)
        )
        self._lines: queue.Queue[bytes | None] = queue.Queue()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["postfix", "start-fg"], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, umask=0o022,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.lines_until(lambda line: b"daemon started" in line)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip(b"\n"))
        self._lines.put(None)

    def stop(self) -> None:
        """Ends the master of this instance by its pid; the log ends when all its children are gone."""
        subprocess.run(["postfix", "abort"], env=self.environment, check=False, timeout=PATIENCE,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def lines_until(self, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """Return the log lines up to and with the first one that is wanted."""
        lines = []
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no such line in {PATIENCE} s, after {lines[-5:]}") from None
            assert line is not None, f"Postfix has ended, after {lines[-5:]}"
            lines.append(line)
            if wanted(line):
                return lines

    def postconf(self, *arguments: str) -> str:
        return subprocess.run(["postconf", *arguments], env=self.environment, check=True, timeout=PATIENCE,
                              capture_output=True, text=True).stdout

    def shell(self, block: str, folder: Path) -> None:
        """Run commands as an admin would type them; they end with a reload, which is waited for."""
        subprocess.run(["bash", "-c", block], env=self.environment, cwd=folder, check=True, timeout=PATIENCE)
        self.lines_until(lambda line: b"reload -- version" in line)

    def send(self, message: bytes, sender: str = "alice@example.org", recipient: str = "bob@example.com",
             helo: str = "client.example.org", port: int | None = None) -> tuple[str, list[bytes]]:
        """Send one mail; return its queue id and its log lines, up to `removed` or its refusal."""
        with smtplib.SMTP("127.0.0.1", port or self.port, local_hostname=helo, timeout=PATIENCE) as smtp:
            smtp.ehlo()
            assert smtp.docmd(f"MAIL FROM:<{sender}>")[0] == 250
            assert smtp.docmd(f"RCPT TO:<{recipient}>")[0] == 250
            code, reply = smtp.data(message)
        lines = self.lines_until(lambda line: b"disconnect from" in line)
        if code != 250:
            return "", lines
        queue_id = re.findall(r"queued as (\w+)", reply.decode())[0]
        removed = f": {queue_id}: removed".encode()
        if not any(line.endswith(removed) for line in lines):
            lines += self.lines_until(lambda line: line.endswith(removed))
        return queue_id, lines


@pytest.fixture(scope="session")
def make_postfix() -> Iterator[Callable[..., Postfix]]:
    """Give a maker of started instances; they end with the session."""
    if os.geteuid() != 0:
        pytest.skip("Postfix can be started by root alone")
    if not shutil.which("postfix", path=PROGRAMS):
        pytest.skip("postfix is not installed")
    instances: list[Postfix] = []
    # Not pytest's own folder: only root may enter that one, and most of Postfix does not run as root.
    top = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    top.chmod(0o755)

    def make(kind: str, main_cf: str = "") -> Postfix:
        folder = top / str(len(instances))
        folder.mkdir()
        folder.chmod(0o755)
        instance = Postfix(folder, kind, main_cf)
        if kind not in instance.postconf("-m").split():
            pytest.skip(f"Postfix has no {kind} tables: postfix-{kind} is not installed")
        instances.append(instance)
        instance.start()
        return instance

    try:
        yield make
    finally:
        for instance in instances:
            instance.stop()
        shutil.rmtree(top)


@pytest.fixture(scope="session")
def with_keys(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return Program(tmp_path_factory.mktemp("keys") / "first", timezone="UTC").make_keys()


@pytest.fixture
def program(with_keys: Program, tmp_path: Path) -> Program:
    """An installation with keys and no store."""
    return with_keys.sibling(tmp_path / "installed")


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty thousand lines, three megabytes: more than one block of any compressor."""
    path = tmp_path_factory.mktemp("log") / "mail.log"
    with path.open("wb") as file:
        generate = [sys.executable, "-m", "bench.generate", "--lines", "20000"]
        subprocess.run(generate, cwd=ROOT, stdout=file, check=True, timeout=PATIENCE)
    return path


@pytest.fixture(scope="session")
def undisturbed(with_keys: Program, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """An import of the whole log."""
    made = with_keys.sibling(tmp_path_factory.mktemp("whole") / "installed")
    assert ask(made, "import", log).status == OK
    assert len(rows(made)) > 1_000
    return made
