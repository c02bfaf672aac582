"""Watches a drive: what its processes did, what they left behind, what they hold while they live.

What is written is searched as it was written, then joined with what stands before it: in time, for each file, pipe or
socket whoever wrote there, and by place, for each file.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.judges.program import ROOT, Program
from tests.leak.canaries import REACH, STEM, Searcher
from tests.leak.traced import COPIES, OPENS, PATIENCE, WRITES, Call, Trace

_elsewhere = re.compile(rb"sa_family=AF_(?!UNIX|NETLINK|UNSPEC)").search
Allowance = Callable[[Call], bool]
_WRITING = (b"O_WRONLY", b"O_RDWR", b"O_CREAT", b"O_TMPFILE")
_MOST_FILE = 1 << 26  # bytes
_SENDS = ("connect", "sendto", "sendmsg", "sendmmsg")
_SYSTEM = ("/dev/", "/proc/", "/sys/")
_BLOCK = 512  # bytes
_MUCH = 1 << 19  # bytes


def to_standard_output(call: Call) -> bool:
    """A product that is shown to whoever asked: on the pipe or terminal of stdout, and nowhere else."""
    return call.name == "write" and call.fd == 1 and call.target.startswith(("pipe:", "/dev/pts/"))


def to_the_daemon(call: Call) -> bool:
    """rsyslogd's child hands lines to the daemon's socket: nobody else is at its other end."""
    return call.name == "sendto" and call.peer.endswith("/stream")


def from_zstd(call: Call) -> bool:
    """What unpacks an archive hands it to the import by a pipe."""
    return call.program == "zstd" and to_standard_output(call)


def to_the_seal(call: Call) -> bool:
    """A seal is a file that holds its secret."""
    return call.name == "write" and ".key" in os.path.basename(call.target)


def to_itself(call: Call) -> bool:
    """A daemon that begins anew hands what opens the keyring to itself, through a pair of sockets."""
    return call.name == "sendto" and call.target.startswith("socket:") and not call.peer


def to_a_database_elsewhere(call: Call) -> bool:
    """PostgreSQL may be on another host."""
    return call.name == "connect" and b"sa_family=AF_INET" in call.arguments


def to_a_scheduler(call: Call) -> bool:
    """Dask's may be on another host; and Dask asks the kernel for addresses of this one, which may be for documents."""
    return to_a_database_elsewhere(call) or call.name == "ioctl"


@dataclass
class Verdict:
    """What was searched, and what was found."""

    calls: int = 0
    size: int = 0  # bytes
    files: int = 0
    leaks: list[str] = field(default_factory=list)

    @property
    def places(self) -> str:
        """Where canaries were found, without them: this may be printed into a file that is searched itself."""
        places = dict.fromkeys(leak.partition(": ")[0] for leak in self.leaks)
        return "; ".join("a name" if STEM in place.lower() else place for place in places)

    def __str__(self) -> str:
        return f"{self.calls:6} calls {self.size / 1e6:6.2f} MB {self.files:3} files  {len(self.leaks)} found"


class Watch:
    """One drive, in a folder of its own: what it works in, and beside it what was traced."""

    def __init__(self, folder: Path, searcher: Searcher, *allowed: Allowance) -> None:
        self.root = folder / "root"
        for name in ("home", "tmp"):
            (self.root / name).mkdir(parents=True)
        self.trace = Trace(folder / "traces")
        self._known: set[Path] = set()  # files that hold words of their operator's, and secrets by intent
        self.searcher = searcher
        self._allowed = allowed
        self._verdict = Verdict()
        self._copies = folder / "copies"
        self._copies.mkdir()

    def knows(self, program: Program) -> None:
        """Leave out an installation's config, where local domains stand, and its seals."""
        self._known |= {program.config, program.folder / "seal.key", program.folder / "new.key"}

    @property
    def environment(self) -> dict[str, str]:
        """A small one: what is in the tester's own environment is no finding."""
        return {
            "PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"), "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",  # a compiled module holds the examples of its comments
        }  # fmt: skip

    def run(self, *words: str | Path, **given: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        given = {**pipes, "cwd": self.root, "env": self.environment, "timeout": PATIENCE, **given}
        if not given.keys() & {"stdin", "input"}:
            given["stdin"] = subprocess.DEVNULL
        return subprocess.run([*self.trace.prefix, *map(str, words)], check=False, **given)

    # -- while it lives

    def look_at(self, pid: int) -> None:
        """Search what a living process shows of itself, and the files it writes, also such as have no name."""
        top = Path("/proc") / str(pid)
        for name in ("cmdline", "comm", "environ"):
            self.search((top / name).read_bytes(), f"{name} of process {pid}")
        for link in (top / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                flags = int((top / "fdinfo" / link.name).read_text().split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY and stat.S_ISREG(link.stat().st_mode):
                    self.search(_head(link), f"what process {pid} holds open: {os.readlink(link)}")

    # -- when it has ended

    def verdict(self) -> Verdict:
        """Wait for the end of all processes; search what they did and left."""
        self.trace.close()
        leaks = self._verdict.leaks
        leaks += self.trace.cores()
        written: set[str] = set()
        joined, waiting = _Joined(), _Waiting(self.searcher)
        for call in self.trace.calls():
            self._verdict.calls += 1
            leaks += self._oddities(call, written)
            joined.follow(call)
            if not any(allowed(call) for allowed in self._allowed):
                texts = joined.pieces(call) if call.name in WRITES else call.texts
                leaks += waiting.add(call, b"\n".join(texts))
        leaks += waiting.end()
        self._verdict.size += waiting.size
        for path in self._left(written):
            self._verdict.files += 1
            leaks += self._leaks_in(path)
        self._verdict.leaks = list(dict.fromkeys(leaks))
        return self._verdict

    def search(self, data: bytes, where: str) -> None:
        self._verdict.size += len(data)
        found = self.searcher.find(data)
        if found:
            self._verdict.leaks.append(f"{where}: {found}")

    def _oddities(self, call: Call, written: set[str]) -> Iterator[str]:
        """Tell of calls that could carry text past us; note what is opened to be written."""
        if call.name in OPENS and call.returned >= 0 and any(flag in call.arguments for flag in _WRITING):
            written.add(call.opened)
        if call.is_blind() and not (call.name in COPIES and self._is_clean_copy(call)):
            yield f"{call} may carry anything"
        if call.name == "mmap" and b"MAP_SHARED" in call.arguments and self._may_write(call, written):
            yield f"a shared mapping of {call.target} may carry anything"
        if call.name in ("sendmsg", "sendmmsg") and b"SCM_RIGHTS" in call.arguments:
            yield f"{call} hands a descriptor to another process"
        if _elsewhere(call.arguments) and call.name in _SENDS and not any(allowed(call) for allowed in self._allowed):
            yield f"{call} goes to the network"

    @staticmethod
    def _may_write(call: Call, written: set[str]) -> bool:
        """Whether a mapping may write into its file; SQLite's index of its WAL holds page numbers only."""
        name = call.target
        if not name or (name.endswith("-shm") and name.removesuffix("-shm") in written):
            return False
        return b"PROT_WRITE" in call.arguments or name in written or "(deleted)" in name

    def _is_clean_copy(self, call: Call) -> bool:
        """Whether what was copied is a plain file that is still there, and holds nothing."""
        source = call.files[-1][1] if call.name == "sendfile" else call.target
        path = Path(source)
        return path.is_file() and self.searcher.find(_head(path)) is None

    def _left(self, written: Iterable[str]) -> Iterator[Path]:
        yield from (path for path in sorted(self.root.rglob("*")) if path not in self._known)
        for name in sorted(written):
            path = Path(name)
            if not path.is_relative_to(self.root) and not name.startswith(_SYSTEM) and path.is_file():
                yield path

    def _leaks_in(self, path: Path) -> Iterator[str]:
        """Search a file's name, its content, and what its content means to SQLite."""
        name = bytes(path.relative_to(self.root) if path.is_relative_to(self.root) else path)
        with suppress(OSError):
            name += b"\n" + os.fsencode(os.readlink(path))
        pieces = [(name, f"the name of {path.name}")]
        pieces += [(os.getxattr(path, one, follow_symlinks=False), f"{one} of {path.name}")
                   for one in os.listxattr(path, follow_symlinks=False)]  # fmt: skip
        if stat.S_ISREG(path.lstat().st_mode):
            pieces.append((_head(path), f"what is left in {path.name}"))
        for data, where in pieces:
            self._verdict.size += len(data)
            found = self.searcher.find(data)
            if found:
                yield f"{where}: {found}"
        if pieces[-1][0].startswith(b"SQLite format 3\0"):
            for table, values in self._tables(path):
                found = self.searcher.find_values(values)
                if found:
                    yield f"table {table} of {path.name}: {found}"

    def _tables(self, path: Path) -> Iterator[tuple[str, list[object]]]:
        """Give all values of each table of a copy: a long one lies in pieces in the file."""
        folder = self._copies / str(len(list(self._copies.iterdir())))
        folder.mkdir()
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(f"{path}{suffix}", folder / f"store{suffix}")
        with closing(sqlite3.connect(folder / "store")) as store, suppress(sqlite3.DatabaseError):
            store.text_factory = bytes
            for (table,) in store.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
                rows = store.execute(f'SELECT * FROM "{table.decode()}"')
                yield table.decode(), [value for row in rows for value in row]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_FILE)


class _Waiting:
    """Gathers text and searches it at once: most of it is short, and holds nothing."""

    def __init__(self, searcher: Searcher) -> None:
        self.size = 0  # bytes searched
        self._searcher = searcher
        self._texts: list[tuple[Call, bytes]] = []
        self._waits = 0

    def add(self, call: Call, text: bytes) -> list[str]:
        """Take a call's text; return what was found in all that has waited so far, if it is time to look."""
        self._texts.append((call, text))
        self._waits += len(text)
        return self.end() if self._waits >= _MUCH else []

    def end(self) -> list[str]:
        """Search what waits."""
        texts, self._texts = self._texts, []
        self.size, self._waits = self.size + self._waits, 0
        if self._searcher.find(b"\n".join(text for _, text in texts)) is None:
            return []
        found = [(call, self._searcher.find(text)) for call, text in texts]
        return [f"{call}: {words}" for call, words in found if words]


class _Joined:
    """Joins what is written to one place by several calls."""

    def __init__(self) -> None:
        self._tails: dict[str, bytes] = {}
        self._images: dict[str, bytearray] = {}
        self._at: dict[tuple[int, int], int] = {}  # where in its file a descriptor stands
        self._searched: set[int] = set()

    def follow(self, call: Call) -> None:
        """Know where a descriptor stands."""
        if call.name in OPENS and call.returned >= 0:
            end = len(self._images.get(call.opened, b"")) if b"O_APPEND" in call.arguments else 0
            self._at[call.process, call.returned] = end
        elif call.name == "lseek" and call.returned >= 0:
            self._at[call.process, call.fd] = call.returned

    def pieces(self, call: Call) -> Iterator[bytes]:
        """Give what a call wrote with what stands before it, and its edges with their neighbours in the file."""
        data = b"".join(call.texts)
        done = data[: call.returned] if call.returned >= 0 else b""
        place = call.target or f"{call.process}:{call.fd}"
        yield self._fresh(self._tails.get(place, b"") + data)
        self._tails[place] = (self._tails.get(place, b"") + done)[-REACH:]
        at = call.offset
        if at is None:
            at = self._at.get((call.process, call.fd))
            if at is None or not place.startswith("/"):
                return
            self._at[call.process, call.fd] = at + len(done)
        image = self._images.setdefault(place.removesuffix(" (deleted)"), bytearray())
        image.extend(b"\0" * (at - len(image)))
        image[at : at + len(done)] = done
        for edge in (at, at + len(done)):
            yield bytes(image[max(edge - REACH, 0) : edge + REACH])

    def _fresh(self, data: bytes) -> bytes:
        """Leave out what was searched before, with the same neighbours: most of a database's page stays as it was."""
        if len(data) <= 2 * _BLOCK:
            return data
        pieces = []
        for at in range(0, len(data), _BLOCK):
            piece = data[max(at - REACH, 0) : at + _BLOCK + REACH]
            mark = hash(piece)
            if mark not in self._searched:
                self._searched.add(mark)
                pieces.append(piece)
        return b"\n".join(pieces)
