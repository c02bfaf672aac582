"""Where drives take place: keys, logs in every form, a store that holds rows; made once, and outside of any trace."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sink import config
from sink.fault import Fault
from sink.keys import keyring
from tests.integration.asking import command
from tests.integration.live.omprog import Child
from tests.integration.live.service import Service, failing, with_bug
from tests.integration.postgres.server import Server, programs
from tests.judges.program import Program
from tests.leak import planted
from tests.leak.canaries import STEM, WORDS, Searcher
from tests.leak.watch import Allowance, Verdict, Watch

_ELSEWHERE = ("/tmp", "/var/tmp", "/var/log", "/var/spool", "/var/crash", "/dev/shm", "/run")
_VALUE = re.compile(rb"[=<\[ ]([^<>\[\]=, ]*@[^<>\[\]=, ]+|[\w-]+\.[\w.-]+)")


def lines_of(data: tuple[bytes, ...]) -> bytes:
    return b"".join(line + b"\n" for line in data)


class SystemLog:
    """Listens where syslog(3) speaks to, unless somebody does already; what is said there is seen by strace."""

    PATH = Path("/dev/log")

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.is_ours = not self._is_heard()
        if self.is_ours:
            self.PATH.unlink(missing_ok=True)
            self._socket.bind(str(self.PATH))
            threading.Thread(target=self._read, daemon=True).start()

    def _is_heard(self) -> bool:
        """Whether somebody listens there."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            return probe.connect_ex(str(self.PATH)) == 0

    def _read(self) -> None:
        with suppress(OSError):  # closed
            while data := self._socket.recv(1 << 16):
                self.said.append(data)

    def close(self) -> None:
        if self.is_ours:
            self.PATH.unlink()
            self._socket.shutdown(socket.SHUT_RD)
        self._socket.close()


class Ground:
    """A folder under /var/tmp, since the path of a socket must be short; it goes with the session."""

    def __init__(self) -> None:
        self._begun = time.time()
        self.top = Path(tempfile.mkdtemp(prefix="postsink-leak-", dir="/var/tmp"))
        self.top.chmod(0o755)
        self._tokens = self.top / "header-tokens"
        self._tokens.write_text(planted.TOKEN + "\n")
        self._tokens.chmod(0o600)
        self.first = Program(
            self.top / "first", timezone="UTC", local_domains=[planted.LOCAL], header_tokens=str(self._tokens),
            trusted_networks=["192.0.2.0/28"], internal_relays=["198.51.100.9"],
            listen=[{"stream": "stream"}, {"datagram": "datagram"}],
        ).make_keys()  # fmt: skip
        self._numbers = count()
        self._lock = threading.Lock()
        self._server: Server | None = None
        self.syslog = SystemLog()

    def prepare(self) -> None:
        """Make all that drives share, before several begin at once."""
        planted.troubles()
        assert self.searcher
        assert self.logs
        assert self.filled

    @cached_property
    def searcher(self) -> Searcher:
        """Looks for all canaries, their digests, and the header token."""
        values = {value.lower() for line in (*planted.current(), *planted.fields()) for value in _VALUE.findall(line)}
        parts = {part for value in values for part in (value, *value.split(b"@"))}
        return Searcher((*WORDS, planted.TOKEN.encode()), parts)

    @cached_property
    def logs(self) -> dict[str, Path]:
        """The log of all kinds, plain, packed and damaged; and the one with a word in each field."""
        data = lines_of(planted.archived()) + lines_of(planted.fields())
        cut = gzip.compress(data)
        content = {
            "log": data, "gz": cut, "bz2": bz2.compress(data), "xz": lzma.compress(data),
            "cut": cut[: len(cut) // 2], "fields": lines_of(planted.fields()), "live": lines_of(planted.current()),
        }  # fmt: skip
        made = {name: self.top / f"mail.{name}" for name in (*content, "zst")}
        for name, text in content.items():
            made[name].write_bytes(text)
        subprocess.run(["zstd", "-qf", made["log"], "-o", made["zst"]], check=True)
        packed = bytearray(made["zst"].read_bytes())
        packed[len(packed) // 2 :: 7] = b"\xa5" * len(packed[len(packed) // 2 :: 7])
        made["damaged"] = self.top / "mail.damaged.zst"
        made["damaged"].write_bytes(packed)
        return made

    @property
    def server(self) -> Server:
        """A PostgreSQL, made when the first drive asks for it."""
        with self._lock:
            if self._server is None:
                if programs() is None:
                    pytest.skip("PostgreSQL is not installed")
                (self.top / "pg").mkdir()
                self._server = Server(self.top / "pg").make().start()
        return self._server

    @cached_property
    def filled(self) -> Program:
        """An installation whose store holds rows, refusals and open messages."""
        made = self.first.sibling(self.top / "filled")
        made.run("import", "--stream", "daily", str(self.logs["log"]))
        return made

    @contextmanager
    def drive(self, *allowed: Allowance, keys: bool = True, store: bool = False) -> Iterator[Drive]:
        """Give a drive in a folder of its own."""
        folder = self.top / str(next(self._numbers))
        watch = Watch(folder, self.searcher, *allowed)
        home = watch.root / "p"
        if store:
            shutil.copytree(self.filled.folder, home)
        program = self.first.sibling(home)
        if not keys:
            (home / "keyring").unlink()
            (home / "seal.key").unlink()
        program.store = home / "s.sqlite"
        watch.knows(program)
        with ExitStack() as kept, ExitStack() as stack:
            yield Drive(self, watch, program, stack, kept)

    def strays(self) -> list[Path]:
        """Files that came into being elsewhere meanwhile, and hold the stem, in whatever case."""
        folders = [name for name in {*_ELSEWHERE, tempfile.gettempdir()} if Path(name).is_dir()]
        # Not on other file systems: a /proc may be mounted below, whose files have no end.
        wanted = ("-xdev", "-path", str(self.top), "-prune", "-o", "-type", "f", "-newermt", f"@{self._begun}")
        words = ["find", *folders, *wanted, "-size", "-128M", "-size", "+0", "-print0"]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        found = []
        for path in (Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name):
            with suppress(OSError):  # gone
                if STEM.encode() in os.fsencode(path.name).lower() + path.read_bytes().lower():
                    found.append(path)
        return found

    def close(self) -> None:
        if self._server is not None:
            self._server.stop("immediate")
        self.syslog.close()
        shutil.rmtree(self.top)


@dataclass
class Drive:
    """One case under way: an installation, and how its commands are run."""

    ground: Ground
    watch: Watch
    program: Program
    stack: ExitStack  # what ends before the search
    kept: ExitStack  # what ends after it, such as a disk of its own
    bug: str = ""  # lines of Python that run before each command: the seeded bugs'

    def words(self, *arguments: str | Path, place: str = "", number: int = 1, bug: str = "") -> list[str]:
        """The command line; with a place, one that kills itself there; with a bug, lines of Python to run first."""
        words = failing(self.program, place, number) if place else command(self.program)
        words = with_bug(self.program, bug + self.bug) if bug + self.bug else words
        return [*words, *map(str, arguments)]

    def run(
        self, *arguments: str | Path, status: int | tuple[int, ...] = 0, before: tuple[str, ...] = (), place: str = "",
        number: int = 1, bug: str = "", **given: Any,
    ) -> str:  # fmt: skip
        """Run a command to its end, which must be as it should; return what it said."""
        done = self.watch.run(*before, *self.words(*arguments, place=place, number=number, bug=bug), **given)
        said = (done.stderr or b"").decode()
        wanted = (status,) if isinstance(status, int) else status
        assert done.returncode in wanted, f"{arguments}: {done.returncode}, not {status}: {said}"
        assert "Traceback" not in said
        return said + (done.stdout or b"").decode("utf-8", "replace")

    def serve(self, *arguments: str, **given: Any) -> Service:
        """Start the daemon; it is killed with the drive where the drive does not end it."""
        given["bug"] = given.get("bug", "") + self.bug
        given["prefix"] = (*given.pop("before", ()), *self.watch.trace.prefix)
        given["variables"] = {**self.watch.environment, **given.pop("variables", {})}
        return self.stack.enter_context(Service(self.program, *arguments, **given))

    def child(self, *options: str, **given: Any) -> Child:
        """Start rsyslogd's child."""
        child = Child(self.program, *options, prefix=self.watch.trace.prefix, bug=self.bug, **given)
        return self.stack.enter_context(child)

    def verdict(self) -> Verdict:
        """End what runs, and search; what the keyring keeps, and what locks it, is looked for, too."""
        self.stack.close()
        self.watch.searcher = self.watch.searcher.also(self.secrets)
        return self.watch.verdict()

    @property
    def secrets(self) -> set[bytes]:
        """All keys, and the seal both as it is written and as it is meant."""
        found = {path.read_bytes().strip() for path in self.program.folder.glob("*.key")}
        found |= {bytes.fromhex(seal.decode()) for seal in found}
        with suppress(Fault):  # damaged or missing
            settings = config.load(self.program.config)
            ring = keyring.load(settings.keyring, settings.seal)
            found |= {ring.correlation, *(epoch.secret for epoch in ring.epochs if epoch.secret)}
        return found

    def log(self, name: str) -> Path:
        return self.ground.logs[name]

    def rows(self) -> int:
        """How many deliveries and refusals the store holds."""
        (deliveries,) = self.program.query("SELECT count(*) FROM delivery")[0]
        (rejects,) = self.program.query("SELECT count(*) FROM reject")[0]
        return int(deliveries) + int(rejects)
