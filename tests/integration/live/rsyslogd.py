"""Runs a real rsyslogd of its own: Debian's config and the shipped drop-in, with every path in one folder.

It takes lines from a datagram socket, as /dev/log is one, and from a stream socket that lets its client wait. That it
reads is heard on a notify socket. It is the unpacked one of packaging/prepare; the machine's own is left alone.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.asking import PATIENCE, command, environment
from tests.integration.live.service import Manager, eventually
from tests.judges.program import ROOT, Program

UNPACKED = ROOT / "build" / "unpacked" / "rsyslog"
DROP_IN = ROOT / "syslog-conf" / "rsyslog" / "10-postsink.conf"
PRIORITY = b"<22>"  # mail.info

# log, many: times and host names of the lines are theirs, they were logged elsewhere. dev-log: as /dev/log is.
INPUTS = """\
module(load="imuxsock" SysSock.Use="off")
module(load="imptcp")
global(parser.permitSlashInProgramname="off")
input(type="imuxsock" Socket="{folder}/log" UseSysTimeStamp="off" IgnoreTimestamp="off" UseSpecialParser="off"
      ParseHostname="on"
      RateLimit.Interval="0")
input(type="imuxsock" Socket="{folder}/dev-log" RateLimit.Interval="0")
input(type="imptcp" Path="{folder}/many")
"""
CHILD = """\
#!/bin/sh
unset LD_LIBRARY_PATH
echo $$ >{folder}/child.new && mv {folder}/child.new {folder}/child.pid
export {variables}
exec {words} omprog {options} 2>>{folder}/child.err
"""


def libraries(unpacked: Path) -> str:
    """Folders of shared libraries in an unpacked package."""
    return ":".join(sorted({str(path.parent) for path in unpacked.rglob("*.so.*")}))


class Rsyslogd:
    """One instance in a folder: etc, spool, var/log, sockets."""

    def __init__(self, folder: Path, program: Program, *options: str, drop_in: Callable[[str], str] = str) -> None:
        if not UNPACKED.is_dir():
            pytest.skip("rsyslog is not unpacked: packaging/prepare debian")
        self.folder = folder
        self.log = folder / "log"
        self.files = folder / "var-log"
        self.spool = folder / "spool"
        for path in (folder, self.files, self.spool, folder / "rsyslog.d"):
            path.mkdir()
        self._config(drop_in)
        child = folder / "child"
        variables = " ".join(f"{name}='{value}'" for name, value in environment().items() if name == "PYTHONPATH")
        child.write_text(CHILD.format(
            folder=folder, variables=variables, words=" ".join(command(program)), options=" ".join(options)
        ))  # fmt: skip
        child.chmod(0o755)
        self._modules = next(UNPACKED.rglob("omprog.so")).parent
        self._environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries(UNPACKED)}
        self.process: subprocess.Popen[bytes] | None = None

    def _config(self, drop_in: Callable[[str], str]) -> None:
        text = (UNPACKED / "etc" / "rsyslog.conf").read_text()
        text = "\n".join(
            line for line in text.split("\n") if not line.startswith(("module(", "*.emerg", "$FileOwner", "$FileGroup"))
        )
        for old, new in (
            ("/var/log", self.files), ("/var/spool/rsyslog", self.spool), ("/etc/rsyslog.d", self.folder / "rsyslog.d")
        ):  # fmt: skip
            text = text.replace(old, str(new))
        (self.folder / "rsyslog.conf").write_text(INPUTS.format(folder=self.folder) + text)
        shipped = DROP_IN.read_text().replace("/usr/bin/postsink omprog", str(self.folder / "child"))
        assert str(self.folder) in shipped
        shipped = shipped.replace('action.resumeInterval="2"', 'action.resumeInterval="1"')  # or tests take long
        (self.folder / "rsyslog.d" / DROP_IN.name).write_text(drop_in(shipped))

    def _words(self, *options: str) -> list[str]:
        return [
            str(UNPACKED / "usr/sbin/rsyslogd"), "-f", str(self.folder / "rsyslog.conf"), "-M", str(self._modules),
            *options,
        ]  # fmt: skip

    def check(self) -> str:
        """What `rsyslogd -N1` has to say about the config; nothing is best."""
        done = subprocess.run(
            self._words("-N1"), env=self._environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return "\n".join(line for line in done.stderr.split("\n") if "rror" in line or "arning" in line)

    def start(self) -> None:
        with Manager(self.folder) as manager:
            self.process = subprocess.Popen(
                self._words("-n", "-i", str(self.folder / "rsyslogd.pid")),
                env={**self._environment, **manager.variables}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            manager.until("READY=1")
        (self.folder / "notify").unlink()

    def stop(self) -> None:
        """As a service manager does: TERM, and it waits for its queues."""
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0
        self.process = None
        (self.folder / "many").unlink(missing_ok=True)

    def __enter__(self) -> Rsyslogd:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
        kill_child(self.folder / "child.pid")

    def kill_child(self) -> bool:
        return kill_child(self.folder / "child.pid")

    def reload(self) -> None:
        """What logrotate does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def written(self) -> str:
        """All that it wrote into files."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.files.iterdir()))


def kill_child(pid_file: Path) -> bool:
    """Kill the child whose pid was written down, if it lives; never another process of that pid."""
    try:
        handle = os.pidfd_open(int(pid_file.read_text()))
    except (FileNotFoundError, ProcessLookupError):
        return False
    try:
        words = Path(f"/proc/{int(pid_file.read_text())}/cmdline").read_bytes()
        if str(pid_file.parent).encode() not in words and b"omprog" not in words:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(handle)
    return True


class Many:
    """A client of the stream input; it waits where rsyslogd does not read."""

    def __init__(self, rsyslogd: Rsyslogd) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(rsyslogd.folder / "many"))

    def __enter__(self) -> Many:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, lines: Sequence[bytes]) -> None:
        self._socket.sendall(b"".join(PRIORITY + line + b"\n" for line in lines))

    def wait_until_read(self) -> None:
        """Wait until rsyslogd has read all that was sent [SIOCOUTQ, unix(7)]."""
        eventually(lambda: fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)) == bytes(4))


def log(rsyslogd: Rsyslogd, lines: Sequence[bytes], priority: bytes = PRIORITY) -> None:
    """Send lines as syslog(3) does: datagrams, waiting where the socket is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(rsyslogd.log))
        for line in lines:
            client.send(priority + line)


