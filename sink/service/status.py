"""`postsink status`: what the daemon says of itself, for people, programs and monitors.

With --check it is a plugin of Nagios, Icinga and their kin: one line, and their exit status. Whatever keeps it from
asking is UNKNOWN there, but where no daemon answers that is CRITICAL.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sink.config import Config
from sink.control import ask
from sink.fault import FINDINGS, OK, UNAVAILABLE, Fault
from sink.service.verdict import CRITICAL, UNKNOWN, WORDS, Finding, Limits, findings, worst

Status = dict[str, Any]


class Options(NamedTuple):
    """How the answer is shown, and what is too much."""

    as_json: bool
    check: bool
    limits: Limits


def run(load: Callable[[], Config], options: Options) -> int:
    """Print what the daemon says; 1 where something is wrong with it, 69 where none answers; see CODES for --check."""
    if options.check:
        return _check(load, options.limits)
    found = _asked(load())
    wrong = findings(found, options.limits)
    if options.as_json:
        shown = [{"level": WORDS[one.level].lower(), "words": one.words} for one in wrong]
        print(json.dumps({**found, "findings": shown}, ensure_ascii=False))
    else:
        for line in _lines(found, wrong):
            print(line)
    return FINDINGS if wrong else OK


def _asked(config: Config) -> Status:
    found = ask(config.store, "status")
    if found.pop("ok", False) is not True or "hosts" not in found:
        raise Fault(UNAVAILABLE, "the daemon is of another version; restart it: systemctl restart postsink")
    return found


def _check(load: Callable[[], Config], limits: Limits) -> int:
    """Print one line, with performance data behind a bar [Monitoring Plugins Development Guidelines]."""
    try:
        found = _asked(load())
    except Fault as fault:
        level = CRITICAL if fault.status == UNAVAILABLE else UNKNOWN
        print(f"POSTSINK {WORDS[level]}: {_barless(str(fault))}")
        return level
    wrong = findings(found, limits)
    said = "; ".join(one.words for one in wrong) or f"{found['by_second']['lines']:g} lines/s"
    data = " ".join(f"{name}={value}" for name, value in _performance(found, limits))
    level = worst(wrong)
    print(f"POSTSINK {WORDS[level]}: {_barless(said)} | {data}")
    return level


def _barless(text: str) -> str:
    return text.replace("|", "?")  # what stands behind a bar is data


def _performance(found: Status, limits: Limits) -> list[tuple[str, str]]:
    silent = max((host["silent"] for host in found["hosts"].values()), default=0)
    kept = [
        *((name, f"{found[name]}c") for name in ("lines", "deliveries", "rejects", "not_understood", "dropped")),
        ("evicted", f"{found['evicted']}c"), ("open_messages", str(found["open_messages"])),
        ("silent", f"{silent}s;;{limits.silence or ''};0"), ("memory", f"{found['memory']}B"),
    ]  # fmt: skip
    if "outbox" in found:
        age = 0 if found["outbox_since"] is None else max(found["now"] - found["outbox_since"], 0)
        kept += [("outbox", str(found["outbox"])), ("outbox_age", f"{age}s;;{limits.wait};0")]
    return kept


def _lines(found: Status, wrong: list[Finding]) -> list[str]:
    """Return what people read."""
    now, rate, headers = found["now"], found["by_second"], found["headers"]
    shown = [
        ("lines", f"{found['lines']:,} ({rate['lines']:g} a second), of Postfix {found['postfix_lines']:,}"),
        ("rows", f"{found['deliveries']:,} ({rate['deliveries']:g} a second){_by(found['statuses'])}"),
        ("refusals", f"{found['rejects']:,} ({rate['rejects']:g} a second){_by(found['categories'])}"),
        ("not understood", f"{found['not_understood']:,}{_by(found['not_understood_by_daemon'])}"),
        ("open messages", f"{found['open_messages']:,}{_oldest(found)}, forgotten at the cap {found['evicted']:,}"),
        ("datagrams dropped", f"{found['dropped']:,}"),
        ("rows with headers", _covered(headers)),
        *((f"host {name}", f"last line {_ago(host['silent'])}") for name, host in found["hosts"].items()),
        *([("other hosts", f"{found['hosts_not_named']:,}")] if found["hosts_not_named"] else []),
        ("last commit", _since(found["last_commit"], now)),
        *_database(found),
        ("epoch", f"{found['epoch']}, since {_time(found['epoch_since']) or 'the beginning'}"),
        ("memory", f"{found['memory'] >> 20:,} MiB, at most {found['memory_peak'] >> 20:,} MiB"),
        ("started", _since(found["started"], now)),
    ]
    return [f"{name}: {value}" for name, value in shown] + [f"{WORDS[one.level]}: {one.words}" for one in wrong]


def _by(counts: Mapping[str, int]) -> str:
    """Return counts, the largest first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return f": {', '.join(f'{name} {number:,}' for name, number in ordered)}" if ordered else ""


def _covered(headers: Mapping[str, Any]) -> str:
    if not headers["rows"]:
        return "none yet"
    return ", ".join(f"{name} {number / headers['rows']:.0%}" for name, number in headers["with"].items())


def _oldest(found: Status) -> str:
    return "" if found["oldest_open"] is None else f", the oldest of {_since(found['oldest_open'], found['now'])}"


def _database(found: Status) -> list[tuple[str, str]]:
    if "outbox" not in found:
        return []
    last, waiting = found["last_trouble"], f"{found['outbox']:,} rows wait"
    if found["outbox_since"] is not None:
        waiting += f", the oldest logged {_since(found['outbox_since'], found['now'])}"
    trouble = "none" if last is None else f"{last['class']}, {_since(last['at'], found['now'])}"
    return [("outbox", waiting), ("database", found["database"]), ("its last trouble", trouble)]


def _time(second: int | None) -> str:
    return "" if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _since(second: int | None, now: int) -> str:
    return "never" if second is None else f"{_time(second)}, {_ago(now - second)}"


UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


def spell(seconds: int) -> str:
    """Return a time in its two greatest units, like 2h 5m."""
    parts = []
    for unit, letter in UNITS:
        if seconds >= unit:
            parts.append(f"{seconds // unit}{letter}")
            seconds %= unit
    return " ".join([*parts, f"{seconds}s"][:2])


def _ago(seconds: int) -> str:
    return f"{spell(max(seconds, 0))} ago"
