"""A booted Debian: systemd in a container, over a suite's layers, without a network."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tests.package.suites import ENVIRONMENT, PATIENCE, Overlay, Suite

BOOTED = ("running", "degraded")
CGROUPS = ("unified", "systemd", ".")  # of /sys/fs/cgroup, whichever hierarchies there are
START = """\
for folder in $GROUPS_OF_MACHINE; do
    mkdir -p "$folder"
    echo $$ >"$folder/cgroup.procs"
done
exec "$@"
"""


def eventually(what: Callable[[], object], said: str, seconds: float = 90) -> None:
    """Look again and again for what gives no event."""
    until, pause = time.monotonic() + seconds, threading.Event()
    while not what():
        assert time.monotonic() < until, f"in {seconds} s it does not come: {said}"
        pause.wait(0.25)


class Machine:
    """One container; what it writes is in `upper`, through all its boots."""

    def __init__(self, suite: Suite, layers: Sequence[Path], *shared: Path) -> None:
        self.suite = suite
        self._overlay = Overlay(suite.folder, layers)
        self.upper = self._overlay.upper
        self._shared = shared
        self._process: subprocess.Popen[bytes] | None = None
        self._groups = [
            folder / f"postsink-test-{self._overlay.folder.name}" for folder in
            dict.fromkeys((Path("/sys/fs/cgroup") / name).resolve() for name in CGROUPS)
            if (folder / "cgroup.procs").exists()
        ]  # fmt: skip

    def __enter__(self) -> Machine:
        self.boot()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.power_off()
        finally:
            self._overlay.remove()
            for group in self._groups:
                for folder in sorted(group.rglob("*"), reverse=True):
                    with suppress(OSError):
                        folder.rmdir()
                with suppress(OSError):
                    group.rmdir()

    def boot(self) -> None:
        """Start it, and wait until systemd has started all."""
        self.console = self._overlay.folder / "console"
        words = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot"]
        words += [f"--bind-ro={path}:/shared/{path.name}" for path in self._shared]
        words += ["--directory", str(self._overlay.merged)]
        variables = {
            **ENVIRONMENT, **self._overlay.variables, "UNIFIED_CGROUP_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",  # its name since 253
            # Machines in one cgroup would see each other's processes as their own.
            "GROUPS_OF_MACHINE": " ".join(map(str, self._groups)),
        }  # fmt: skip
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                ["sh", "-ec", START, "sh", *self._overlay.command, *words], env=variables, stdin=subprocess.DEVNULL,
                stdout=console, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        eventually(self._is_up, f"a booted {self.suite}")

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.console.read_text(errors="replace")[-4000:]
        if self._leader() is None:
            return False
        return self.ask("systemctl is-system-running").strip() in BOOTED

    def _leader(self) -> int | None:
        """The container's first process, as seen from here: it has children in a namespace of its own."""
        assert self._process is not None
        number = self._process.pid
        with suppress(OSError):
            for child in Path(f"/proc/{number}/task/{number}/children").read_text().split():
                if os.readlink(f"/proc/{child}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                    return int(child)
        return None

    def power_off(self) -> None:
        """Shut it down as an admin does."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # systemd-nspawn passes it on as a wish to shut down
            try:
                self._process.wait(120)
            except subprocess.TimeoutExpired:
                leader = self._leader()
                if leader is not None:
                    os.kill(leader, signal.SIGKILL)
                self._process.kill()
                raise
        self._process = None

    def reboot(self) -> None:
        """Shut it down and start it again."""
        self.power_off()
        self.boot()

    def _inside(self, script: str) -> list[str]:
        leader = self._leader()
        assert leader is not None, "the machine is down"
        variables = [f"{name}={value}" for name, value in {**ENVIRONMENT, "DEBIAN_FRONTEND": "noninteractive"}.items()]
        return ["nsenter", "--target", str(leader), "--all", "env", "-i", *variables, "bash", "-c", script]

    def ask(self, script: str, given: str = "") -> str:
        """What a script prints on stdout, however it ends."""
        done = subprocess.run(
            self._inside(script), input=given.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
        return done.stdout.decode(errors="replace")

    def run(self, script: str, given: str = "", status: int = 0) -> str:
        """What a script prints, which must end as it should."""
        done = subprocess.run(
            self._inside(f"set -eu; {script}"), input=given.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        said = done.stdout.decode(errors="replace")
        assert done.returncode == status, f"{self.suite}: {script[:500]}\nended with {done.returncode}\n{said[-6000:]}"
        return said

    def put(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file."""
        self.run(f"install -D -m {mode} /dev/stdin {path}", given=text)
