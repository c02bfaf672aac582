"""Runs `postsink run` as a service manager would: waits for its lines, and ends it by its pid."""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.integration.asking import PATIENCE, command, environment
from tests.integration.live.failpoints import WRAPPER
from tests.judges.program import Program

KILLED = -signal.SIGKILL


def listening(program: Program) -> Program:
    """The installation, with both sockets in its folder."""
    known = yaml.safe_load(program.config.read_text())
    known["listen"] = [{"stream": "stream"}, {"datagram": "datagram"}]
    program.config.write_text(yaml.safe_dump(known))
    return program


def failing(program: Program, place: str, number: int) -> list[str]:
    """The command, in a process that kills itself when it comes to a place for the Nth time."""
    given = [place, str(number), str(program.store), "--config", str(program.config)]
    return [sys.executable, "-c", WRAPPER, *given]


def with_bug(program: Program, bug: str) -> list[str]:
    """The command, in a process that runs some lines of Python first."""
    script = f"{bug}\nimport sys\nfrom sink import cli\nsys.exit(cli.main(sys.argv[1:]))"
    return [sys.executable, "-c", script, "--config", str(program.config)]


class Spoken:
    """The lines that a process writes into a pipe, each waited for."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.all: list[str] = []
        self._process = process
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\n"))
        self._lines.put(None)

    def until(self, word: str) -> str:
        """Return the next line that holds a word."""
        found = self.next_with(word)
        assert found is not None, f"it has ended without a line with {word!r}, after {self.all[-5:]}"
        return found

    def ever(self, word: str) -> bool:
        """Wait until a line was said, before or after others that were waited for: two threads may say in any order."""
        return any(word in line for line in self.all) or bool(self.until(word))

    def next_with(self, word: str) -> str | None:
        """Return the next line that holds a word, None where the process ends without one."""
        while True:
            try:
                line = self._lines.get(timeout=PATIENCE)
            except queue.Empty:
                raise AssertionError(f"no line with {word!r} in {PATIENCE} s, after {self.all[-5:]}") from None
            if line is None:
                return None
            self.all.append(line)
            if word in line:
                return line

    def rest(self) -> list[str]:
        """Return all that was said, when the process has ended."""
        self._reader.join(PATIENCE)
        while not self._lines.empty():
            line = self._lines.get()
            if line is not None:
                self.all.append(line)
        return self.all


class Service:
    """One `postsink run`, ready to take lines."""

    def __init__(
        self, program: Program, *arguments: str, place: str = "", number: int = 1, bug: str = "",
        may_crash: bool = False, prefix: tuple[str, ...] = (), variables: dict[str, str] | None = None, **given: Any,
    ) -> None:  # fmt: skip
        self.program = program
        self._may_crash = may_crash
        words = failing(program, place, number) if place else command(program)
        words = with_bug(program, bug) if bug else words
        given.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen(
            [*prefix, *words, "run", *arguments], env={**environment(), **(variables or {})}, cwd=program.folder,
            stderr=subprocess.PIPE, **given,
        )  # fmt: skip
        self.said = Spoken(self.process)
        self.is_ready = self.said.next_with("ready") is not None
        if not self.is_ready and not place:
            raise AssertionError(f"it ended with {self.ended()}: {self.said.all}")

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()

    @property
    def stream(self) -> Path:
        return self.program.folder / "stream"

    @property
    def datagram(self) -> Path:
        return self.program.folder / "datagram"

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Return its exit status; a crash of our own is a failure."""
        status = self.process.wait(PATIENCE)
        words = "\n".join(self.said.rest())
        if self.process.stderr is not None:
            self.process.stderr.close()
        assert "Traceback" not in words and (self._may_crash or "a bug" not in words), words
        return status

    def stop(self) -> int:
        """SIGTERM, and its exit status."""
        self.send(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        self.process.kill()
        assert self.ended() == KILLED

    def ask(self, **question: object) -> dict[str, Any]:
        """One question on the control socket."""
        return ask(self.program, **question)

    def status(self) -> dict[str, Any]:
        return self.ask(ask="status")


def eventually(what: Callable[[], object], seconds: float = 20) -> None:
    """Look again and again for what gives no event, such as a row in SQLite, or a count of the daemon's."""
    until, pause = time.monotonic() + seconds, threading.Event()
    while not what():
        assert time.monotonic() < until, "it does not come"
        pause.wait(0.005)


def ask(program: Program, **question: object) -> dict[str, Any]:
    """One JSON object in, one out, on the control socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(program.store) + ".control")
        client.sendall(json.dumps(question).encode() + b"\n")
        with client.makefile("rb") as answer:
            found: dict[str, Any] = json.loads(answer.readline())
            return found


class Manager:
    """The socket on which a service manager is told of state; each message is waited for."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self.all: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(str(self.path))

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def until(self, wanted: str | Callable[[str], bool]) -> str:
        """Return the next message with a line that begins with a word."""
        while True:
            try:
                message = self._socket.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"no {wanted!r} in {PATIENCE} s, after {self.all[-5:]}") from None
            self.all.append(message)
            if any(line.startswith(wanted) if isinstance(wanted, str) else wanted(line)
                   for line in message.split("\n")):  # fmt: skip
                return message

    def so_far(self) -> list[str]:
        """Return every message, those that wait too."""
        self._socket.setblocking(False)
        try:
            while True:
                self.all.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            self._socket.settimeout(PATIENCE)
        return self.all

    @property
    def variables(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path)}


AS_SERVICE = ("sh", "-c", 'SYSTEMD_EXEC_PID=$$ exec "$@"', "sh")
