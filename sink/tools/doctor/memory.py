"""What of the memory may reach a disk: swap and core files.

Of another root than / only its configuration can tell; of this machine, the kernel does.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sink.tools.doctor import units
from sink.tools.doctor.finding import LOW, Finding, found
from sink.tools.doctor.tree import Place, Tree, shown

_SYSCTL: Final = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d")
_PATTERN: Final = re.compile(r"-?kernel[./]core_pattern\s*=\s*(.*)")
_OFF: Final = re.compile(r"\s*(?:/dev/null|\|\s*(?:/usr)?/bin/(?:true|false)\b.*)?\s*")
_NO_LIMIT: Final = ("rsyslog.service", "syslog-ng.service", "postfix@-.service", "postfix.service", "postsink.service")
_SYSTEM: Final = Path("/")
_MOST_LAYERS: Final = 8  # ours, of device on device


def findings(tree: Tree, *, is_here: bool) -> Iterator[Finding]:
    """Yield what is wrong; `is_here`: the root is this machine's own."""
    active = list(_active_swap()) if is_here else []
    yield from active or _swap_of_image(tree)
    yield from _cores(tree, is_here=is_here)


# -- swap


def _active_swap() -> Iterator[Finding]:
    """Look at the swap in use, and follow each down to its disk [/proc/swaps, /sys/class/block]."""
    for number, line in enumerate(_lines("/proc/swaps")[1:], 2):
        name = (line.split(maxsplit=1) or [""])[0].replace("\\040", " ")
        place = Place("/proc/swaps", number)
        if not name or "/zram" in name:
            continue
        device = name.rpartition("/")[2] if name.startswith("/dev/") else ""
        if not device:
            words = f"swap is on in the file {shown(name)}, and doctor can't tell whether its disk is encrypted"
            yield found("swap-open", place, words, severity=LOW)
        elif not _is_encrypted(device):
            yield found("swap-open", place, f"swap is on, and {shown(name)} is not encrypted")


def _is_encrypted(device: str, layers: int = 0) -> bool:
    """Whether a block device, or all that it lies on, is dm-crypt's."""
    tree = Tree(_SYSTEM)
    if (tree.text(f"/sys/class/block/{device}/dm/uuid") or "").startswith("CRYPT-"):
        return True
    below = tree.names(f"/sys/class/block/{device}/slaves")
    return bool(below) and layers < _MOST_LAYERS and all(_is_encrypted(each, layers + 1) for each in below)


def _swap_of_image(tree: Tree) -> Iterator[Finding]:
    """Look at the swap that fstab and units name, and at crypttab."""
    mapped = {line.split()[0] for line in (tree.text("/etc/crypttab") or "").split("\n")
              if line.strip() and not line.lstrip().startswith("#")}  # fmt: skip
    for device, place in _swap_named(tree):
        name = device.removeprefix("/dev/mapper/")
        if name in mapped or "/zram" in device:
            continue
        if mapped:
            words = f"swap on {shown(device)}: doctor can't tell from here whether it is encrypted"
            yield found("swap-open", place, words, severity=LOW)
        else:
            yield found("swap-open", place, f"swap on {shown(device)} is not encrypted")


def _swap_named(tree: Tree) -> Iterator[tuple[str, Place]]:
    for number, line in enumerate((tree.text("/etc/fstab") or "").split("\n"), 1):
        fields = line.split()
        if len(fields) > 2 and not fields[0].startswith("#") and fields[2] == "swap":
            options = fields[3].split(",") if len(fields) > 3 else []
            if "noauto" not in options:
                yield fields[0], Place("/etc/fstab", number)
    for folder in ("/etc/systemd/system", "/usr/lib/systemd/system"):
        for name in tree.names(folder):
            if name.endswith(".swap"):
                what = units.unit(tree, name).last("Swap", "What")
                if what:
                    yield what.value, what.place


# -- core files


def _cores(tree: Tree, *, is_here: bool) -> Iterator[Finding]:
    pattern, place = _core_pattern(tree)
    if is_here and (lines := _lines("/proc/sys/kernel/core_pattern")):
        pattern, place = lines[0], Place("/proc/sys/kernel/core_pattern") if lines[0] != pattern else place
    if _OFF.fullmatch(pattern):
        return
    if pattern.startswith("|"):
        if "systemd-coredump" not in pattern:
            yield found("core-files", place, "the memory of a program that crashes goes to another program")
            return
        line = units.configuration(tree, "coredump.conf").last("Coredump", "Storage")
        if line is None or line.value != "none":
            words = "systemd-coredump keeps the memory of a program that crashes"
            remedy = "write Storage=none under [Coredump] in a file of /etc/systemd/coredump.conf.d"
            yield found("core-files", line.place if line else place, words, remedy=remedy)
    elif pattern != "core":
        yield found("core-files", place, "the memory of a program that crashes goes to a file")
    else:
        yield from _limits(tree)


def _limits(tree: Tree) -> Iterator[Finding]:
    """Look whether core files are allowed: with the kernel's own pattern they are not, unless somebody says so."""
    lines = [units.configuration(tree, "system.conf").last("Manager", "DefaultLimitCORE")]
    lines += [units.unit(tree, name).last("Service", "LimitCORE") for name in _NO_LIMIT]
    for each in lines:
        if each and each.value.partition(":")[0].strip() not in ("0", ""):
            words = f"the memory of a program that crashes goes to a file: {each.key} allows it"
            yield found("core-files", each.place, words, remedy="take that line out, or set it to 0")


def _core_pattern(tree: Tree) -> tuple[str, Place]:
    """Return the pattern that sysctl sets at boot, by sysctl.d(5); the kernel's own where it sets none."""
    files: dict[str, str] = {}
    for folder in _SYSCTL:
        for name in tree.names(folder):
            if name.endswith(".conf"):
                files.setdefault(name, f"{folder}/{name}")
    # procps reads sysctl.conf last; Debian 12 links it into sysctl.d, Debian 13 no longer has it.
    paths = [*(files[name] for name in sorted(files)), "/etc/sysctl.conf"]
    pattern, place = "core", Place("/etc/sysctl.d")
    for path in paths:
        for number, line in enumerate((tree.text(path) or "").split("\n"), 1):
            if setting := _PATTERN.fullmatch(line.strip()):
                pattern, place = setting[1], Place(path, number)
    return pattern, place


def _lines(path: str) -> list[str]:
    """Return the lines of a file of the kernel's; it has no size, and holds no secret."""
    return (Tree(_SYSTEM).text(path) or "").split("\n")
