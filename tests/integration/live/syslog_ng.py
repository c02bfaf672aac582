"""Runs a real syslog-ng of its own, with the shipped config included as a host would, every path in one folder.

It is the unpacked one of packaging/prepare. Its client is a stream, or datagrams as /dev/log takes them.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.asking import PATIENCE, command, environment
from tests.integration.live.rsyslogd import PRIORITY, libraries
from tests.integration.live.service import eventually
from tests.judges.program import ROOT, Program

UNPACKED = ROOT / "build" / "unpacked" / "syslog-ng-core"
SHIPPED = ROOT / "syslog-conf" / "syslog-ng" / "postsink.conf"

# As Debian's syslog-ng.conf, in short: everything of mail goes to a file, unless somebody took it before.
CONFIG = """\
@version: {version}
options {{ keep-hostname(yes); keep-timestamp(yes); chain-hostnames(no); flush-lines(0); stats-freq(0); }};
source s_here {{
    unix-dgram("{folder}/log" flags(expect-hostname));
    unix-stream("{folder}/many" max-connections(10) flags(expect-hostname));
}};
@include "{folder}/postsink.conf"
destination d_mail {{ file("{folder}/var-log/mail.log"); }};
destination d_syslog {{ file("{folder}/var-log/syslog"); }};
log {{ source(s_here); filter {{ facility(mail); }}; destination(d_mail); }};
log {{ source(s_here); destination(d_syslog); }};
"""
PROGRAM = """\
#!/bin/sh
unset LD_LIBRARY_PATH
export PYTHONPATH={path}
exec {words} run --stdin 2>>{folder}/program.err
"""


class SyslogNg:
    """One instance in a folder; `shipped` may change the config that is included."""

    def __init__(self, folder: Path, program: Program, shipped: Callable[[str], str] = str) -> None:
        if not UNPACKED.is_dir():
            pytest.skip("syslog-ng is not unpacked: packaging/prepare debian")
        self.folder = folder
        self.files = folder / "var-log"
        for path in (folder, self.files):
            path.mkdir()
        self._environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": libraries(UNPACKED)}
        text = SHIPPED.read_text().replace("/run/postsink/stream", str(program.folder / "stream"))
        text = text.replace("/usr/bin/postsink run --stdin", str(folder / "program"))
        assert str(program.folder) in text and "${R_ISODATE}" in text
        # When a line came is when it was logged, on a host of its own; ours were logged long ago.
        text = text.replace("${R_ISODATE}", "${S_ISODATE}")
        (folder / "postsink.conf").write_text(shipped(text))
        script = folder / "program"
        words = " ".join(command(program))
        script.write_text(PROGRAM.format(folder=folder, words=words, path=environment()["PYTHONPATH"]))
        script.chmod(0o755)
        (folder / "syslog-ng.conf").write_text(CONFIG.format(folder=folder, version=self._version()))
        self.process: subprocess.Popen[bytes] | None = None

    def _version(self) -> str:
        said = subprocess.run(
            [UNPACKED / "usr/sbin/syslog-ng", "-V"], env=self._environment, capture_output=True, text=True, check=True
        ).stdout
        return next(line.split()[-1] for line in said.split("\n") if line.startswith("Config version"))

    def _words(self, *options: str) -> list[str]:
        folder = self.folder
        modules = next(UNPACKED.rglob("libafsocket.so")).parent
        return [
            str(UNPACKED / "usr/sbin/syslog-ng"), "-f", f"{folder}/syslog-ng.conf", f"--module-path={modules}",
            "-R", f"{folder}/persist", "-p", f"{folder}/syslog-ng.pid", "-c", f"{folder}/control", *options,
        ]  # fmt: skip

    def check(self) -> str:
        done = subprocess.run(
            self._words("-s"), env=self._environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return done.stderr if done.returncode else ""

    def __enter__(self) -> SyslogNg:
        self.process = subprocess.Popen(
            self._words("-F", "--no-caps"), env=self._environment, cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        eventually(lambda: (self.folder / "many").is_socket() and self._answers(), PATIENCE)
        return self

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.folder / "control"))
            except OSError:
                return False
        return True

    def __exit__(self, *error: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(PATIENCE)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0

    def written(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted(self.files.iterdir()))

    def send(self, lines: Sequence[bytes], priority: bytes = PRIORITY) -> None:
        """Over the stream, which waits where syslog-ng does not read."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.folder / "many"))
            client.sendall(b"".join(priority + line + b"\n" for line in lines))
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""  # it has read all

    def log(self, lines: Sequence[bytes], priority: bytes = PRIORITY) -> None:
        """As syslog(3) does."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.folder / "log"))
            for line in lines:
                client.send(priority + line)
