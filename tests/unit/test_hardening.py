"""Memory stays out of swap where that can be had; where not, one line says so and what to do."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.judges.program import ROOT

# Run in a process of its own, which has neither the right nor the limit to lock memory, unless told otherwise.
PROCESS = """\
import ctypes, json, mmap, os, resource, sys
from pathlib import Path
from sink import hardening
given = json.loads(sys.argv[1])
most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]  # which not every root may raise
limit = given["limit"] if most == -1 else min(given["limit"], most)
resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
if os.geteuid() == 0 and not given["root"]:
    os.setresuid(65534, 65534, 65534)
exec(given["before"])
hardening.harden()
said = hardening.lock(Path(given["folder"]))
mmap.mmap(-1, 1 << 28, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # another 256 MB of address space
known = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
locked = int(known["VmLck"].split()[0])
cores = resource.getrlimit(resource.RLIMIT_CORE)
library = ctypes.CDLL(None)
print(json.dumps({"said": said, "locked": locked, "cores": cores, "mask": os.umask(0), "dumpable": library.prctl(3),
                  "limit": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]}))
"""
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
PARTITION = "/dev/dm-1                               partition\t999420\t\t0\t\t-2\n"
FILE = "/swap\\040file                            file\t\t524284\t\t0\t\t-3\n"
ZRAM = "/dev/zram0                              partition\t999420\t\t0\t\t100\n"
LIMIT = 8 << 20  # systemd's default


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's own, which another user may not enter."""
    made = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def machine(folder: Path, swaps: str, cgroup: str = "0::/\n", **most: str) -> Path:
    """A folder with what of /proc and /sys is asked for."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/swaps").write_text(SWAPS + swaps)
    (folder / "proc/self/cgroup").write_text(cgroup)
    for name, value in most.items():
        group = folder / "sys/fs/cgroup" / name.replace("_", "/")
        group.mkdir(parents=True, exist_ok=True)
        (group / "memory.swap.max").write_text(f"{value}\n")
    return folder


def process(folder: Path, *, limit: int = LIMIT, root: bool = False, before: str = "") -> dict[str, Any]:
    given = json.dumps({"folder": str(folder), "limit": limit, "root": root, "before": before})
    done = subprocess.run(
        [sys.executable, "-c", PROCESS, given], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


IN_A_UNIT = "0::/system.slice/postsink.service\n"


@pytest.mark.parametrize(
    ("swaps", "cgroup", "most"),
    [
        ("", "0::/\n", {}),
        (ZRAM, "0::/\n", {}),
        (PARTITION, IN_A_UNIT, {"system.slice_postsink.service": "0"}),
        (FILE, IN_A_UNIT, {"system.slice_postsink.service": "max", "system.slice": "0"}),
        (FILE, "1:name=systemd:/\n" + IN_A_UNIT, {"system.slice_postsink.service": "0"}),
    ],
)
def test_memory_that_nothing_swaps_is_no_reason_for_words(
    swaps: str, cgroup: str, most: dict[str, str], folder: Path
) -> None:
    found = process(machine(folder, swaps, cgroup, **most))
    assert (found["said"], found["locked"]) == (None, 0)


@pytest.mark.parametrize(
    ("swaps", "cgroup", "most"),
    [
        (PARTITION, "0::/\n", {}),
        (ZRAM + FILE, "0::/\n", {}),
        (PARTITION, IN_A_UNIT, {"system.slice_postsink.service": "max", "system.slice": "1048576"}),
        (PARTITION, IN_A_UNIT, {"system.slice_other.service": "0"}),
        (PARTITION, "4:memory:/system.slice/postsink.service\n", {"system.slice_postsink.service": "0"}),
    ],
)
def test_memory_that_may_be_swapped_is_told_with_the_remedy(
    swaps: str, cgroup: str, most: dict[str, str], folder: Path
) -> None:
    found = process(machine(folder, swaps, cgroup, **most))
    assert found["said"] == (
        "memory may be swapped to a disk; set MemorySwapMax=0 or LimitMEMLOCK=infinity in the unit, or encrypt swap"
    )
    assert found["locked"] == 0


@pytest.mark.parametrize(
    ("devices", "quiet"),
    [
        ({"dm-1": "CRYPT-PLAIN-cryptswap"}, True),
        ({"dm-1": "LVM-swap", "dm-1/slaves/dm-0": "CRYPT-LUKS2-disk"}, True),
        ({"dm-1": "LVM-swap", "dm-1/slaves/dm-0": "CRYPT-LUKS2-disk", "dm-1/slaves/sdb1": ""}, False),
        ({"dm-1": "LVM-swap", "dm-1/slaves/sdb1": ""}, False),
        ({"dm-1": "LVM-swap"}, False),
    ],
)
def test_swap_that_is_encrypted_is_none(devices: dict[str, str], quiet: bool, folder: Path) -> None:
    """As in /sys/class/block, where each device has a folder, and links to those that it lies on."""
    made = machine(folder, PARTITION)
    for name, uuid in devices.items():
        for place in {name, Path(name).name}:
            (made / "sys/class/block" / place / "dm").mkdir(parents=True, exist_ok=True)
        (made / "sys/class/block" / Path(name).name / "dm/uuid").write_text(uuid)
    assert (process(made)["said"] is None) is quiet


def test_a_unit_that_hides_the_list_of_swap(folder: Path) -> None:
    """ProcSubset=pid: then it is this machine's swap, zram too, that counts."""
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    assert bool(process(folder)["said"]) is bool(swaps)


def test_a_limit_that_the_start_would_not_exceed_is_too_low(folder: Path) -> None:
    """mlockall() would succeed, and the first large allocation after it would fail."""
    found = process(machine(folder, PARTITION), limit=128 << 20)
    assert found["locked"] == 0
    assert "may be swapped" in found["said"]


def test_what_may_be_locked_is(folder: Path) -> None:
    """By CAP_IPC_LOCK, which a container's root may lack; then it is as for others."""
    found = process(machine(folder, PARTITION), root=True)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    may = int(status["CapEff"], 16) & (1 << 14) or found["limit"] == -1
    assert bool(found["locked"]) is (found["said"] is None) is bool(may)


def test_what_comes_first_in_every_command(folder: Path) -> None:
    found = process(folder)
    assert (found["dumpable"], found["cores"], found["mask"]) == (0, [0, 0], 0o077)


def test_a_process_that_others_can_read_says_so(folder: Path) -> None:
    """Where a filter of system calls forbids prctl(PR_SET_DUMPABLE)."""
    found = process(machine(folder, PARTITION), before=FORBIDDING)
    assert found["dumpable"] == 1
    assert found["said"].startswith("processes of the same user can read its memory; allow prctl in the unit's ")
    assert found["said"].count("\n") == 0 and "; and memory may be swapped" in found["said"]


# A filter of system calls [seccomp(2)]: prctl(4, ...) fails with EPERM, everything else goes on.
FORBIDDING = """
import struct
number = {"x86_64": 157, "aarch64": 167}[os.uname().machine]
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, 4), (0x06, 0, 0, 0x50001),
         (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program)))
library = ctypes.CDLL(None, use_errno=True)
library.prctl(4, 1)  # the change of user has cleared it
assert library.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert library.prctl(22, 2, filter) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
"""
assert ctypes.sizeof(ctypes.c_void_p) == 8, "the filter above is laid out for 64 bits"
