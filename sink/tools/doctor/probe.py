"""A line that is not there: doctor leads it through a syslog daemon's rules and looks where it would come out.

What a rule may ask of it is known (program, facility, severity), or it is not (the text, the host name); a condition
on the latter is neither true nor false but None: then both ways are looked at.
"""

import re
from dataclasses import dataclass
from typing import Final

from sink.tools.doctor.tree import Place

Truth = bool | None
FACILITIES: Final = {
    "kern": 0, "user": 1, "mail": 2, "daemon": 3, "auth": 4, "security": 4, "syslog": 5, "lpr": 6, "news": 7,
    "uucp": 8, "cron": 9, "authpriv": 10, "ftp": 11, "ntp": 12, "audit": 13, "alert": 14, "clock": 15,
    **{f"local{number}": 16 + number for number in range(8)},
}  # fmt: skip
SEVERITIES: Final = {
    "emerg": 0, "panic": 0, "alert": 1, "crit": 2, "err": 3, "error": 3, "warning": 4, "warn": 4, "notice": 5,
    "info": 6, "informational": 6, "debug": 7,
}  # fmt: skip
# What Postfix logs with [msg_syslog.c]: a panic or fatal error, an error, a warning, all else.
LOGGED: Final = ("crit", "err", "warning", "info")
# Of the daemons those whose names a rule may pick out: one that receives, one that delivers, one with a service's name.
DAEMONS: Final = ("smtpd", "qmgr", "smtp", "cleanup", "submission/smtpd")
_MOST_PATTERN: Final = 200
# A pattern that Python reads as a POSIX or Perl one would be, and that can't take long on a short name.
_EASY: Final = re.compile(r"(?:\\\W|[\w\s^$.*+?|()/:,=@!<>\[\]-])*")
_HEAVY: Final = re.compile(r"\)[*+?{]|(?:[^*+{]*[*+{]){4}|(?:[^(]*\(){4}")


@dataclass(frozen=True, slots=True)
class Probe:
    """A line by its facility, severity and tag, the program's name as it is logged."""

    facility: str
    severity: str
    tag: str


@dataclass(frozen=True, slots=True)
class Leak:
    """A rule by which a line comes out raw."""

    place: Place
    where: str  # a file's path, or words
    is_file: bool
    sure: bool  # else it depends on what nobody knows


def probes(name: str = "postfix", facility: str = "mail") -> list[Probe]:
    """Return lines of all kinds that an instance of Postfix logs."""
    return [Probe(facility, severity, f"{name}/{daemon}") for daemon in DAEMONS for severity in LOGGED]


def plain_probes(tag: str, facility: str = "mail") -> list[Probe]:
    """Return lines of all severities of another program."""
    return [Probe(facility, severity, tag) for severity in LOGGED]


def both(one: Truth, other: Truth) -> Truth:
    """And."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def either(one: Truth, other: Truth) -> Truth:
    """Or."""
    return opposite(both(opposite(one), opposite(other)))


def opposite(one: Truth) -> Truth:
    """Not."""
    return None if one is None else not one


def matches(text: str | None, pattern: str, *, case: bool = True) -> Truth:
    """Whether a regular expression is found in a text; None where that can't be told, or would take long."""
    if text is None or len(pattern) > _MOST_PATTERN or not _EASY.fullmatch(pattern) or _HEAVY.search(pattern):
        return None
    try:
        return re.search(pattern, text, 0 if case else re.IGNORECASE) is not None
    except (re.error, OverflowError, RecursionError):
        return None
