"""Shows findings: as blocks of lines for a person, or as one JSON object."""

import json
import textwrap
from collections.abc import Sequence
from typing import Final

from sink.tools.doctor.finding import SEVERITIES, Finding
from sink.tools.doctor.tree import shown

_WIDTH: Final = 100
_MOST: Final = 4096  # characters of a path


def as_text(findings: Sequence[Finding]) -> str:
    """Return a block for each finding: how much it matters, where, what, why, and what to do."""
    return "\n".join(_block(finding) for finding in findings)


def _block(finding: Finding) -> str:
    place = shown(str(finding.place), _MOST)
    lines = [f"{finding.severity.upper():<6}  {place}  [{finding.id}]", *_wrapped("", finding.words, "")]
    lines += _wrapped("why: ", finding.why, "     ")
    lines += _wrapped("do:  ", finding.remedy, "     ")
    return "\n".join(lines) + "\n"


def _wrapped(head: str, words: str, indent: str) -> list[str]:
    return textwrap.wrap(
        words, _WIDTH, initial_indent=f"        {head}", subsequent_indent=f"        {indent}",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def as_json(findings: Sequence[Finding]) -> str:
    """Return one object with the list of findings; `line` is null where the file as a whole is meant."""
    return json.dumps({"findings": [
        {
            "id": finding.id,
            "severity": finding.severity,
            "file": shown(finding.place.file, _MOST),
            "line": finding.place.line,
            "words": finding.words,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]})  # fmt: skip


def counted(findings: Sequence[Finding]) -> str:
    """Return how many there are, in words."""
    if not findings:
        return "nothing found"
    counts = {severity: sum(each.severity == severity for each in findings) for severity in SEVERITIES}
    total = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    return f"{total}: " + ", ".join(f"{count} {severity}" for severity, count in counts.items() if count)
