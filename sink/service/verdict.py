"""What is wrong with a daemon, judged by what it says of itself: for `postsink status`."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

# [Monitoring Plugins Development Guidelines, "Plugin Return Codes"]
WELL, WARNING, CRITICAL, UNKNOWN = range(4)
WORDS: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
WAIT: Final = 3_600  # seconds; Postfix's own queue is looked at after as long, as a rule
STRANGE: Final = 0.05  # share of Postfix's lines that are not understood; a common mail host has less than 0.001
FEW: Final = 100  # lines, of which no share is told


class Limits(NamedTuple):
    """What is too much, in seconds."""

    silence: int | None = None  # of a host; None: any
    wait: int = WAIT  # of a row, for the database


class Finding(NamedTuple):
    """Something that is wrong, and how wrong."""

    level: int
    words: str


def findings(status: Mapping[str, Any], limits: Limits) -> list[Finding]:
    """Return what is wrong, the worst first."""
    found = [*_store(status), *_hosts(status, limits), *_database(status, limits), *_lost(status)]
    return sorted(found, key=lambda one: -one.level)


def worst(found: list[Finding]) -> int:
    """Return the greatest level."""
    return max((one.level for one in found), default=WELL)


def _store(status: Mapping[str, Any]) -> list[Finding]:
    words = "the store can't take more; nothing is read until it can"
    return [Finding(CRITICAL, words)] if status["stuck"] else []


def _hosts(status: Mapping[str, Any], limits: Limits) -> list[Finding]:
    if limits.silence is None:
        return []
    hosts = status["hosts"]
    if not hosts and status["now"] - status["started"] > limits.silence:
        return [Finding(CRITICAL, f"no host has logged since the start {status['now'] - status['started']} s ago")]
    return [
        Finding(CRITICAL, f"{name} has logged nothing for {host['silent']} s")
        for name, host in hosts.items() if host["silent"] > limits.silence
    ]  # fmt: skip


def _database(status: Mapping[str, Any], limits: Limits) -> list[Finding]:
    if "database" not in status:
        return []
    found = []
    since, trouble = status["outbox_since"], status["database"] != "well"
    if since is not None and status["now"] - since > limits.wait:
        # Rows of an archive are old, and may have come just now.
        level = CRITICAL if trouble else WARNING
        found.append(Finding(level, f"rows of {status['now'] - since} s ago wait for the database"))
    if trouble:
        found.append(Finding(WARNING, f"the database: {status['database']}"))
    return found


def _lost(status: Mapping[str, Any]) -> list[Finding]:
    recent, found = status["recent"], []
    for name, words in (("dropped", "datagrams were dropped"), ("evicted", "open messages were forgotten at the cap")):
        if recent[name]:
            found.append(Finding(WARNING, f"{recent[name]} {words} in the last {recent['seconds']} s"))
    strange, lines = recent["not_understood"], recent["postfix_lines"]
    if lines >= FEW and strange > STRANGE * lines:
        found.append(Finding(WARNING, f"{strange} of the last {lines} lines of Postfix were not understood"))
    return found
