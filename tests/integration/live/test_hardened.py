"""Processes that hold lines and keys: nobody looks into them, they leave no core file, and say what they lack."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from sink.config import FileSeal
from sink.fault import OK
from sink.keys.keyring import load
from tests.integration.asking import PATIENCE, ask, command, environment
from tests.integration.live.confirming import deliver
from tests.integration.live.service import Service, eventually
from tests.integration.owned import NOBODY, STRANGER, owned
from tests.judges.program import Program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of another user; run it so")

# A command as another user would start it: an exec() makes a process dumpable, a change of user does not. What it needs
# is loaded before, since that user may not be able to read this Python.
AS_USER = """\
import ctypes, encodings.utf_8_sig, os, sys
import sink.service.direct, sink.service.relay, sink.service.run
import sink.tools.explain, sink.tools.importer, sink.tools.pseudonyms
from sink import cli
user = int(sys.argv[1])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
ctypes.CDLL(None).prctl(4, 1)
print("as another user", file=sys.stderr, flush=True)
if sys.argv[2] == "nothing":
    sys.stdin.read()
else:
    sys.exit(cli.main(sys.argv[2:]))
"""
# What another process of that user tries; it tells what it could do.
LOOKING = """\
import ctypes, json, os, sys
from contextlib import suppress
user, pid = map(int, sys.argv[1:])
library = ctypes.CDLL(None, use_errno=True)
os.setresgid(user, user, user)
os.setresuid(user, user, user)
could = []
for name in ("environ", "mem", "maps", "auxv", "io", "syscall"):
    with suppress(OSError), open(f"/proc/{pid}/{name}", "rb"):
        could.append(name)
for name in ("fd", "map_files", "task/%d/fd" % pid):
    with suppress(OSError):
        os.listdir(f"/proc/{pid}/{name}")
        could.append(name)
for name in ("cwd", "exe"):
    with suppress(OSError):
        os.readlink(f"/proc/{pid}/{name}")
        could.append(name)
if library.ptrace(16, pid, None, None) == 0:  # PTRACE_ATTACH
    could.append("ptrace")
print(json.dumps(could))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, which another user may not enter."""
    made = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def program(folder: Path) -> Program:
    made = owned(folder, STRANGER)
    assert ask(made, "keys", "init").status == OK
    return made


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def limit(pid: int, name: str) -> list[str]:
    """Soft and hard limit, as /proc/PID/limits names them."""
    found = re.search(rf"^{name} +(\S+) +(\S+)", Path(f"/proc/{pid}/limits").read_text(), re.M)
    assert found
    return [found[1], found[2]]


def looked(user: int, pid: int) -> list[str]:
    """What a process of a user can learn of another one."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKING, str(user), str(pid)], capture_output=True, check=True, timeout=PATIENCE
    )
    found: list[str] = json.loads(done.stdout)
    return found


# -- a look into memory


@pytest.mark.parametrize("user", [NOBODY, STRANGER])
def test_nobody_looks_into_a_daemon_that_root_started(user: int, folder: Path) -> None:
    program = owned(folder, user)
    ask(program, "keys", "init")
    with Service(program) as service:
        known = status(service.process.pid)
        assert known["Uid"].split() == [str(user)] * 4
        assert int(known["CapPrm"], 16) == 0
        assert looked(user, service.process.pid) == []
        assert limit(service.process.pid, "Max core file size") == ["0", "0"]
        assert service.stop() == OK


@pytest.mark.parametrize(
    "words",
    [
        ["run"], ["omprog"], ["omprog", "--direct"], ["import"], ["explain"], ["pseudonym"],
        ["keys", "list"], ["db", "reset"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_nobody_looks_into_a_command(words: list[str], program: Program) -> None:
    """While it waits for its input, or for what a FIFO of the test's gives as its config."""
    waiting = words[0] in ("keys", "db")
    os.chown(program.folder / "seal.key", STRANGER, STRANGER)
    config = program.folder / "fifo" if waiting else program.config
    if waiting:
        os.mkfifo(config, 0o644)
    start = [sys.executable, "-c", AS_USER, str(STRANGER), "--config", str(config), *words]
    with subprocess.Popen(
        start, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), cwd="/"
    ) as process:
        assert process.stdin and process.stderr
        assert process.stderr.readline() == b"as another user\n"
        eventually(lambda: Path(f"/proc/{process.pid}/mem").stat().st_uid == 0)
        assert looked(STRANGER, process.pid) == []
        assert process.poll() is None, "it did not wait"
        process.kill()


def test_others_can_be_looked_into(program: Program) -> None:
    """Else the tests above would show nothing. ptrace alone may be forbidden for all, by Yama."""
    with subprocess.Popen(
        [sys.executable, "-c", AS_USER, str(STRANGER), "nothing"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    ) as process:  # fmt: skip
        assert process.stderr
        assert process.stderr.readline() == b"as another user\n"
        assert {"environ", "maps", "fd", "cwd"} <= set(looked(STRANGER, process.pid))
        process.kill()


def test_no_secret_is_in_argv_or_environment(program: Program, some_lines: list[bytes]) -> None:
    """Those everybody can see, these root; of a seal, a key or a line nothing is there."""
    ring = load(program.folder.parent / "lib/keyring", [FileSeal(program.folder / "seal.key")])
    seal = (program.folder / "seal.key").read_bytes().strip()
    keys = [ring.correlation, *(epoch.secret for epoch in ring.epochs if epoch.secret)]
    secrets = [seal, bytes.fromhex(seal.decode()), *keys, *(key.hex().encode() for key in keys), b"example.com"]
    with Service(program) as service:
        assert deliver(program.store.parent / "stream", some_lines[:20]) == 20
        for name in ("cmdline", "environ", "comm"):
            shown = Path(f"/proc/{service.process.pid}/{name}").read_bytes()
            assert shown
            assert [secret for secret in secrets if secret in shown] == []


# -- a core file


UNLIMITED = ("sh", "-c", 'ulimit -c "$(ulimit -H -c)"; exec "$@"', "sh")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGQUIT])
def test_a_crash_leaves_no_core(number: int, program: Program, some_lines: list[bytes]) -> None:
    with Service(program, prefix=UNLIMITED) as service:
        assert deliver(program.store.parent / "stream", some_lines[:20]) == 20
        service.send(number)
        ended = os.waitid(os.P_PID, service.process.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        assert ended.si_code == os.CLD_KILLED, "it was dumped"
        assert service.ended() == -number
    assert [path for path in program.folder.parent.rglob("*core*")] == []


CRASHING = """\
import os, signal, sys
from sink import hardening
if sys.argv[1]:
    getattr(hardening, sys.argv[1])()
os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.parametrize("hidden", [True, False])
def test_a_process_that_is_hidden_leaves_none_whatever_the_limit_is(hidden: bool, folder: Path) -> None:
    """A core_pattern that is a pipe heeds no limit. Where it is one, no other program's crash is asked to feed it."""
    if not hidden and Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"):
        return
    process = subprocess.Popen(
        [*UNLIMITED, sys.executable, "-c", CRASHING, "hide" if hidden else ""], cwd=folder, env=environment()
    )
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert process.wait() == -signal.SIGSEGV
    may = resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
    assert ended.si_code == (os.CLD_KILLED if hidden or not may else os.CLD_DUMPED)


# -- swap


def may_lock(pid: int) -> bool:
    unlimited = limit(pid, "Max locked memory")[0] == "unlimited"
    return unlimited or bool(int(status(pid)["CapEff"], 16) & 1 << 14)


@pytest.mark.parametrize("user", [0, STRANGER])
def test_memory_is_locked_where_it_may_be(user: int, folder: Path) -> None:
    """All of it, for the daemon's whole life: what comes later, too; and it costs no more of it."""
    program = owned(folder, user)
    ask(program, "keys", "init")
    with Service(program) as service:
        known = status(service.process.pid)
        locked, size, resident = (int(known[name].split()[0]) for name in ("VmLck", "VmSize", "VmRSS"))
        if may_lock(service.process.pid):
            assert locked > size * 0.9
        else:
            assert locked == 0
        assert resident < 60_000
        assert service.stop() == OK


SWAP = "/dev/dm-1                               partition\t999420\t\t0\t\t-2\n"


@pytest.fixture
def machine(folder: Path) -> Callable[[str], tuple[str, ...]]:
    """What goes before a command, for it to see a machine with that swap, with neither right nor limit to lock."""
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        pytest.skip("unshare or setpriv of util-linux is missing")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace can be made here")

    def prefix(swaps: str) -> tuple[str, ...]:
        seen = folder / "swaps"
        seen.write_text("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + swaps)
        script = 'ulimit -l 8192 && mount --bind "$0" /proc/swaps && exec "$@"'
        without = ("setpriv", "--bounding-set", "-sys_resource,-ipc_lock", "--")
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(seen), *without)

    return prefix


def told(words: list[str]) -> list[str]:
    return [word for word in words if "swap" in word]


@pytest.mark.parametrize("user", [0, STRANGER])
def test_what_the_daemon_lacks_is_one_warning(
    user: int, folder: Path, machine: Callable[[str], tuple[str, ...]], some_lines: list[bytes]
) -> None:
    program = owned(folder, user)
    ask(program, "keys", "init")
    for swaps, number in ((SWAP, 1), ("", 0)):
        with Service(program, prefix=machine(swaps)) as service:
            assert deliver(program.store.parent / "stream", some_lines[:20]) == 20
            service.send(signal.SIGHUP)
            service.said.until("reloaded")
            assert service.stop() == OK
        warnings = told(service.said.all)
        assert len(warnings) == number
        assert all("; set MemorySwapMax=0 or LimitMEMLOCK=infinity in the unit, or encrypt swap" in word
                   for word in warnings)  # fmt: skip


def test_who_else_warns(program: Program, machine: Callable[[str], tuple[str, ...]], some_lines: list[bytes]) -> None:
    """An import, which may take hours, does; what is over in a moment does not."""
    log = program.folder / "mail.log"
    log.write_bytes(b"".join(line + b"\n" for line in some_lines))
    for words, number in ((["import", log], 1), (["pseudonym"], 0), (["keys", "list"], 0), (["db", "status"], 0)):
        done = subprocess.run(
            [*machine(SWAP), *command(program), *map(str, words)], input=b"", capture_output=True, check=True,
            env=environment(), timeout=PATIENCE,
        )  # fmt: skip
        assert len(told(done.stderr.decode().splitlines())) == number, words


# -- a daemon that root started


def test_a_reload_after_root_has_gone(program: Program) -> None:
    """The seal is root's alone, and is still open; also in a detached daemon, which closes all else."""
    lib = program.store.parent
    program.config.chmod(0o644)
    answer = ask(program, "run", "--daemonize", "--pid-file", lib / "pid", stdout=subprocess.DEVNULL)
    assert answer.status == OK, answer
    number = int((lib / "pid").read_text())
    handle = os.pidfd_open(number)
    try:
        assert status(number)["Uid"].split() == [str(STRANGER)] * 4
        assert looked(STRANGER, number) == []
        known = yaml.safe_load(program.config.read_text())
        listen = [*known["listen"], {"stream": str(lib / "another")}]
        program.config.write_text(yaml.safe_dump({**known, "listen": listen}))
        signal.pidfd_send_signal(handle, signal.SIGHUP)
        eventually((lib / "another").is_socket)
        assert {path.lstat().st_uid for path in lib.iterdir()} == {STRANGER}
    finally:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        assert select.select([handle], [], [], PATIENCE)[0], "the daemon does not end"
        os.close(handle)
