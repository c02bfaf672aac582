"""What the config says of the files that the daemon writes lines to; and readers that several of its keys share."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sink.yamlfile import Value

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}  # Postfix's own suffixes
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_ACCOUNT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}\$?")  # useradd(8)
_LEAST_KEEP, _MOST_KEEP = 60, 3600  # seconds, ours: what fail2ban has not read by then it never will


@dataclass(frozen=True, slots=True)
class LogTo:
    """The file that scrubbed lines are written to, and its group; "": the one that it gets in its folder."""

    path: Path
    group: str = ""


@dataclass(frozen=True, slots=True)
class ClearIps:
    """The file of lines with clients' IP addresses, and how many seconds a line stays in it."""

    path: Path
    keep: int = 600


def log(value: Value) -> LogTo | None:
    """Read a path, or {path: PATH, group: NAME}."""
    if value.is_null():
        return None
    if not value.is_mapping():
        return LogTo(path_of(value))
    return LogTo(**_with_path(value, {"path": path_of, "group": account}))


def clear_ips(value: Value) -> ClearIps | None:
    """Read {path: PATH, keep: TIME}."""
    if value.is_null():
        return None
    return ClearIps(**_with_path(value, {"path": path_of, "keep": _keep}))


def _with_path(value: Value, readers: Mapping[str, Callable[[Value], Any]]) -> dict[str, Any]:
    found = value.fields(readers)
    if "path" not in found:
        raise value.fault("must name a file; write {path: PATH}")
    return found


def _keep(value: Value) -> int:
    return duration(value, _LEAST_KEEP, _MOST_KEEP, "1m to 1h, like 10m")


def path_of(value: Value) -> Path:
    """Read a path; a relative one starts at the folder of the config file."""
    return value.path.parent.absolute() / value.text()


def account(value: Value) -> str:
    """Read the name of a user or group."""
    if not _ACCOUNT.fullmatch(value.text()):
        raise value.fault("must be the name of a user or group")
    return value.text()


def seconds_of(text: str) -> int | None:
    """Return the seconds that a time like 90d means, None where it is none."""
    found = _DURATION.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else None


def duration(value: Value, least: int, most: int, like: str) -> int:
    """Read a time."""
    seconds = (seconds_of(value.node.value) if value.is_text() else None) or int(value.digits() or 0)
    if not least <= seconds <= most:
        raise value.fault(f"must be a time from {like}, or a number of seconds")
    return seconds
