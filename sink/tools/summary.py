"""The summary of an import: numbers for scripts, words for people."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sink.tools.chains import Outcome

NOT_TOLD = " rows are there; Citus does not tell which of them were new"


def numbers(outcome: Outcome, new: Mapping[str, int]) -> dict[str, object]:
    """Return the numbers of an import; DESIGN "Commands" names those that scripts may rely on.

    new: rows that were added, by table; empty where the database does not tell.
    """
    counts = Counter(outcome.counts)
    seen = counts["delivery_lines"] + counts["expired_lines"]
    return {
        "lines": counts["lines"],
        "postfix_lines": counts["postfix_lines"],
        "delivery_lines": counts["delivery_lines"],
        "expired_lines": counts["expired_lines"],
        "deliveries": new.get("delivery"),
        # Rows that had waited for the database since another import are new, and not of these lines.
        "duplicates": max(0, seen - new["delivery"]) if new else None,
        "rejects": new.get("reject"),
        "rejects_seen": counts["rejects"],
        "rejects_not_kept": counts["rejects_not_kept"],
        "epoch_destroyed": counts["epoch_destroyed"],
        "ignored": counts["ignored"],
        "not_understood": counts["not_understood"],
        "not_understood_by_daemon": {
            name.partition(":")[2]: number
            for name, number in sorted(counts.items())
            if name.startswith("not_understood:")
        },
        "not_syslog": counts["not_syslog"],
        "too_long": counts["too_long"],
        "undecided": outcome.undecided,
        "repeated": outcome.repeated,
        "without_daemon": counts["without_daemon"],
        "without_sender": counts["without_sender"],
        "open_messages": outcome.open_messages,
        "years": list(outcome.years),
    }


def tell(summary: dict[str, Any], empty: Sequence[str], zone: object) -> None:
    """Print the summary as words for people."""
    words = [f"{name} is empty" for name in empty]
    if summary["lines"]:
        is_told = summary["deliveries"] is not None
        words += [
            f"{_counted(summary['lines'], 'line')} read, {summary['postfix_lines']} of Postfix",
            f"{_counted(summary['delivery_lines'] + summary['expired_lines'], 'delivery line')}:"
            + (f" {summary['deliveries']} new, {summary['duplicates']} known already" if is_told else NOT_TOLD),
            _counted(summary["rejects_seen"], "refusal")
            + (f": {summary['rejects']} new; " if is_told else "; ")
            + f"{summary['rejects_not_kept']} more of categories that are not kept",
            f"{_counted(summary['ignored'], 'line')} ignored, {summary['not_understood']} not understood",
        ]
    if summary["epoch_destroyed"]:
        words.append(f"{_counted(summary['epoch_destroyed'], 'line')} refused: the key of their time is destroyed")
    if summary["rejects_seen"]:
        words.append("refusals unify within one time format only: their fraction of a second counts")
    if summary["years"]:
        years = ", ".join(map(str, summary["years"]))
        words.append(f"lines without a year were taken to be of {years}, their zone {zone}")
    if summary["undecided"]:
        words.append(f"{_counted(summary['undecided'], 'line')} not read: nothing tells their year; give --year YYYY")
    if summary["without_daemon"]:
        words.append(
            f"{_counted(summary['without_daemon'], 'line')} without the name of a daemon: a template cut the tag at its"
            ' slash; set parser.permitSlashInProgramname="on" in rsyslog'
        )
    if summary["without_sender"]:
        words.append(
            f"{_counted(summary['without_sender'], 'row')} without a sender: the log begins in mid-stream, or lines"
            " are missing"
        )
    if summary["not_syslog"] or summary["too_long"]:
        words.append(f"no syslog lines: {summary['not_syslog']}; too long: {summary['too_long']}")
    if summary["not_understood"]:
        by_daemon = summary["not_understood_by_daemon"].items()
        words.append("not understood, by daemon: " + ", ".join(f"{name} {number}" for name, number in by_daemon))
    for line in words:
        print(f"postsink: {line}", file=sys.stderr)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
