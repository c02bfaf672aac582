"""Runs commands under strace(1), and reads what they handed to the kernel.

Whatever leaves a process for a file, a socket, a pipe, another program or a name goes through one of CALLS, and all
text in these is kept. What can move bytes past strace is in BLIND: its use is a finding by itself. Reads are not
looked at: raw lines come in by them.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

PATIENCE = 60  # seconds until all that was started has ended

WRITES = frozenset("write pwrite64 writev pwritev pwritev2 sendto sendmsg sendmmsg".split())
OPENS = frozenset("open openat openat2 creat".split())
NAMES = OPENS | frozenset(
    "mkdir mkdirat mknod mknodat rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat rmdir "
    "truncate chdir execve execveat setxattr lsetxattr fsetxattr memfd_create prctl bind connect setsockopt mq_open "
    "mq_timedsend msgsnd add_key request_key keyctl sethostname setdomainname mount fsconfig swapon acct".split()
)
LOOKED_AT = frozenset("mmap lseek ioctl clone clone3 fork vfork".split())  # for what they do, not for their text
# What moves bytes without showing them: between descriptors, through shared memory, by another queue of calls.
BLIND = frozenset(
    "sendfile splice tee vmsplice copy_file_range io_uring_setup io_uring_enter io_uring_register io_submit "
    "process_vm_writev ptrace shmget shmat memfd_secret pidfd_getfd remap_file_pages bpf".split()
)
COPIES = frozenset("sendfile copy_file_range".split())  # whose source may be read instead
CALLS = WRITES | NAMES | LOOKED_AT | BLIND
_BLIND_REQUESTS = (b"FICLONE", b"FIDEDUPERANGE", b"TIOCSTI")

# Of the signals that leave a core strace tells whether it was written.
_CORES = "signal=SIGQUIT,SIGILL,SIGTRAP,SIGABRT,SIGBUS,SIGFPE,SIGSEGV,SIGXCPU,SIGXFSZ,SIGSYS"
_OPTIONS = ("-D", "-q", "-ff", "--seccomp-bpf", "-y", "-xx", "-v", "-ttt", "-s", str(1 << 24), "-e", _CORES)
_LINE = re.compile(rb"([0-9.]+) (\w+)\((.*)", re.DOTALL)
_FD = re.compile(rb"(?:^|, )(\d+)<([^>]*)>(\(deleted\))?")
_RESULT = re.compile(rb"(-?\d+)(?:<([^>]*)>)?")


class Blind(AssertionError):
    """strace did not show all."""


def why_not() -> str | None:
    """Say why nothing can be traced here, None where it can."""
    if os.geteuid() != 0:
        return "only root may trace what may not be looked into"
    missing = [program for program in ("strace", "zstd") if shutil.which(program) is None]
    if missing:
        return f"not installed: {' '.join(missing)}"
    done = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else "tracing is not permitted here (CAP_SYS_PTRACE, seccomp)"


def _unhex(text: bytes) -> bytes:
    return bytes.fromhex(text.replace(b"\\x", b"").decode()) if text.startswith(b"\\x") else text


@dataclass(frozen=True)
class Call:
    """One call of one process."""

    at: float
    pid: int
    name: str
    arguments: bytes
    result: bytes
    process: int = 0  # that the thread belongs to
    program: str = ""  # what the process runs
    peer: str = ""  # what its socket is connected to

    @cached_property
    def texts(self) -> list[bytes]:
        """All text in it, in order."""
        pieces = self.arguments.split(b'"')  # all text is in hex, so each quotation mark is one
        # prctl() takes 16 bytes of a name, whatever it is given.
        if self.name != "prctl" and any(behind.startswith(b"...") for behind in pieces[2::2]):
            raise Blind(f"{self.name} of more than strace shows")
        return [_unhex(piece) for piece in pieces[1::2]]

    @cached_property
    def files(self) -> list[tuple[int, str]]:
        """Descriptors before its text, and what each is."""
        return [
            (int(number), os.fsdecode(_unhex(name)) + (" (deleted)" if gone else ""))
            for number, name, gone in _FD.findall(self.arguments.partition(b'"')[0])
        ]

    @property
    def fd(self) -> int:
        return self.files[0][0] if self.files else -1

    @property
    def target(self) -> str:
        """What the descriptor that it is about is: a path, `pipe:[N]`, `socket:[N]`."""
        return self.files[0][1] if self.files else ""

    @property
    def returned(self) -> int:
        """What it returned; -1 for an error, or where the process died in it."""
        found = _RESULT.match(self.result)
        return int(found[1]) if found else -1

    @property
    def opened(self) -> str:
        """The path that an open() returned."""
        found = _RESULT.match(self.result)
        return os.fsdecode(_unhex(found[2])) if found and found[2] else ""

    @property
    def offset(self) -> int | None:
        """Where in the file it writes, as far as the call itself says."""
        place = {"pwrite64": 1, "pwritev": 1, "pwritev2": 2}.get(self.name)  # from the end
        return None if place is None else int(self.arguments.rsplit(b", ", place)[1])

    def is_blind(self) -> bool:
        """Whether it may have moved bytes that it does not show."""
        if self.name == "ioctl":
            return any(request in self.arguments for request in _BLIND_REQUESTS)
        return self.name in BLIND

    def __str__(self) -> str:
        return f"{self.name} of {self.program or 'a child'} to {self.target or 'the kernel'}"


@dataclass
class Trace:
    """All calls of all processes that began with `prefix`, and of their children."""

    folder: Path
    _end: int = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        os.mkfifo(self.folder / "end")
        # As long as one strace lives, it holds the other end of this pipe.
        self._end = os.open(self.folder / "end", os.O_RDONLY | os.O_NONBLOCK)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command line. The process is then the command itself: strace is its grandchild."""
        where = str(self.folder / "calls")
        calls = f"trace={','.join(sorted('?' + name for name in CALLS))}"
        hold = ("sh", "-c", 'exec 9>"$0"; exec "$@"', str(self.folder / "end"))
        return (*hold, "strace", *_OPTIONS, "-o", where, "-e", calls, "--")

    def close(self) -> None:
        """Wait until all that was traced has ended."""
        waiting = select.poll()
        waiting.register(self._end, 0)
        assert waiting.poll(PATIENCE * 1000), "what was started does not end"
        os.close(self._end)

    def calls(self) -> Iterator[Call]:
        """Give all calls in their order; close() comes first."""
        processes: dict[int, int] = {}
        programs: dict[int, str] = {}
        peers: dict[str, str] = {}
        found = [call for path in self.folder.glob("calls.*") for call in _calls(path)]
        for call in sorted(found, key=lambda one: one.at):
            process = processes.setdefault(call.pid, call.pid)
            if call.name in ("execve", "execveat") and call.returned == 0 and call.texts:
                programs[process] = os.path.basename(os.fsdecode(call.texts[0]))
            elif call.name in ("clone", "clone3", "fork", "vfork") and call.returned > 0:
                processes[call.returned] = process if b"CLONE_THREAD" in call.arguments else call.returned
                programs.setdefault(processes[call.returned], programs.get(process, ""))
            elif call.name == "connect" and call.texts:
                peers[call.target] = os.fsdecode(call.texts[0])
            yield replace(call, process=process, program=programs.get(process, ""), peer=peers.get(call.target, ""))

    def cores(self) -> Iterator[str]:
        """Give each process whose memory was written somewhere when it died: the kernel says so, wherever it went."""
        for path in self.folder.glob("calls.*"):
            if b"(core dumped) +++" in path.read_bytes()[-200:]:
                yield f"the core of process {path.suffix[1:]}"


def _calls(path: Path) -> Iterator[Call]:
    pid = int(path.suffix[1:])
    for line in path.read_bytes().split(b"\n"):
        found = _LINE.fullmatch(line)
        if found is None:  # a signal, an end
            continue
        arguments, _, result = found[3].rpartition(b" = ")
        if not arguments:  # the process died in it
            arguments, result = found[3], b"?"
        yield Call(float(found[1]), pid, found[2].decode(), arguments.rstrip().removesuffix(b")"), result)
