"""Keeps what this process knows out of core files, out of the sight of its own user's processes, and out of swap.

Laws: harden() comes first in every command, before a line or a key is read; lock() once the process is who it will be,
and before the keyring is opened. An exec() undoes the first in part, a fork() the second, a change of user the first
on some systems: then they are called again.

Memory is locked whole or not at all. Keys, and what hashlib makes of them, lie on the heaps of Python and OpenSSL
wherever these put them, and a hash state under a key tests an address as well as the key itself: a locked page for
the keys alone would guard nothing. Nor can Python promise that what it forgets is overwritten.
"""

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_GET_DUMPABLE: Final = 3  # PR_GET_DUMPABLE, PR_SET_DUMPABLE [linux/prctl.h]
_SET_DUMPABLE: Final = 4
_LOCK: Final = 1 | 2 | 4  # MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT: what is never touched costs no memory [mlockall(2)]
_IPC_LOCK: Final = 1 << 14  # CAP_IPC_LOCK [linux/capability.h]
_TOTAL_SWAP: Final = 8  # of struct sysinfo, in longs: after uptime, three loads and four kinds of RAM [sysinfo(2)]
_MOST_LAYERS: Final = 8  # ours, of device on device
_SEEN: Final = "processes of the same user can read its memory; allow prctl in the unit's SystemCallFilter="
_SWAPPED: Final = (
    "memory may be swapped to a disk; set MemorySwapMax=0 or LimitMEMLOCK=infinity in the unit, or encrypt swap"
)


def harden() -> None:
    """Have no core file, no same user's debugger, and no file that others can read."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hide()


def hide() -> None:
    """Be not dumpable: /proc/PID/mem and environ are root's then, and nobody of the same user may attach.

    A core_pattern that is a pipe heeds this, and does not heed RLIMIT_CORE [core(5)].
    """
    _call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)


def lock(root: Path = Path("/")) -> str | None:
    """Keep memory out of swap; return in one line what could not be had, and its remedy, or None.

    `root` is where /proc and /sys are found.
    """
    missing = [] if _call("prctl", _GET_DUMPABLE, 0, 0, 0, 0) else [_SEEN]
    raise_limit()
    locked = _may_lock() and _call("mlockall", _LOCK)
    if not locked and _swaps(root) and not _swaps_nothing(root):
        missing.append(_SWAPPED)
    return "; and ".join(missing) or None


def raise_limit() -> None:
    """Let this process, and who it will be, lock all memory, where that is allowed: root may."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    for hard in (resource.RLIM_INFINITY, most):
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
            return


def _may_lock() -> bool:
    """Tell whether all memory, and all that comes, may be locked.

    Below a limit mlockall() may succeed and a later allocation fail: so without one, or not at all. What is counted
    is address space, of which a thread alone takes 72 MB; systemd's 8 MB are not enough.
    """
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        return True
    return any(int(line.split()[1], 16) & _IPC_LOCK for line in _lines(Path("/proc/self/status"), "CapEff:"))


def _swaps(root: Path) -> bool:
    """Tell whether there is swap on a disk in clear: zram is RAM, and dm-crypt encrypts."""
    if not (root / "proc/swaps").exists():  # ProcSubset=pid of a unit hides it
        known = (ctypes.c_ulong * 64)()
        ctypes.CDLL(None).sysinfo(known)
        return bool(known[_TOTAL_SWAP])
    devices = [line.split()[0] for line in _lines(root / "proc/swaps", "/")]
    return any(not (device.startswith("/dev/zram") or _is_encrypted(root, device)) for device in devices)


def _is_encrypted(root: Path, device: str, layers: int = 0) -> bool:
    """Tell whether a block device, or all that it lies on, is dm-crypt's."""
    block = root / "sys/class/block" / Path(device).name
    if any(_lines(block / "dm/uuid", "CRYPT-")):
        return True
    below = list((block / "slaves").glob("*"))
    return bool(below) and layers < _MOST_LAYERS and all(_is_encrypted(root, one.name, layers + 1) for one in below)


def _swaps_nothing(root: Path) -> bool:
    """Tell whether the process's cgroup, or one around it, may not swap [cgroup v2, memory.swap.max]."""
    for line in _lines(root / "proc/self/cgroup", "0::/"):
        group = root / "sys/fs/cgroup" / line.strip().removeprefix("0::/")
        for one in (group, *group.parents):
            if any(_lines(one / "memory.swap.max", "0")):
                return True
    return False


def _lines(path: Path, start: str) -> Iterator[str]:
    """Yield the lines of a file of /proc or /sys that begin with some text; none where there is no such file."""
    try:
        with path.open(errors="replace") as file:
            yield from (line for line in file if line.startswith(start))
    except OSError:
        return


def _call(name: str, *numbers: int) -> bool:
    """Call a function of the C library that Python has no module for; tell whether it returned 0."""
    return bool(ctypes.CDLL(None)[name](*map(ctypes.c_ulong, numbers)) == 0)
