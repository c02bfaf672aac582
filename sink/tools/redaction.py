"""Makes a golden story of raw lines, for `explain --redact`, and sees to it that nothing else came of them.

Each raw line is played beside its redacted one: where the two are not understood alike, a count says so, since such a
story does not show what the admin saw.
"""

import json
from collections import Counter
from collections.abc import Iterator

from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.redact import Redactor
from sink.core.retell import TOKEN
from sink.core.rules import Rules
from sink.core.standins import played_by, told_by
from sink.core.syslog import Reader

YEAR = 2026  # of golden stories' lines that have none
# what is counted of a line; where these are equal, the two lines were taken alike
_COUNTED = ("postfix_lines", "delivery_lines", "rejects", "ignored", "not_understood", "not_syslog", "too_long")


class Redaction:
    """The redaction of one source's lines.

    readers: two of the source, for redacting and for the raw lines' own rows; rules: for the lines that come out.
    """

    begins = "# (why this case exists, and which Postfix version wrote it)"

    def __init__(self, choices: Rules, zone: str, readers: tuple[Reader, Reader], key: bytes) -> None:
        self.rules = played_by(choices)
        self._zone = zone
        self.redactor = Redactor(choices, readers[0], key)
        self._reader = readers[1]
        self._raw = Pipeline(told_by(choices), [Epoch(1, None, None, key)], key, self._reader)
        self._counted: tuple[int, ...] = ()
        self._has_tokens = False
        self._lines = self._not_understood = self._unlike = 0

    def line(self, line: bytes) -> bytes:
        """Return a line, redacted."""
        before = self._raw.counts.copy()
        self._raw.feed([line])
        self._counted = taken(self._raw.counts, before)
        found = self.redactor.line(line)
        self._has_tokens = self._has_tokens or TOKEN in found
        return found

    def told(self, counted: tuple[int, ...]) -> None:
        """Say what was counted of the line that line() returned last."""
        self._lines += 1
        self._not_understood += counted[_COUNTED.index("not_understood")]
        self._unlike += counted != self._counted

    def settings(self) -> Iterator[str]:
        """Give the rules that the story needs beyond those of all, as its lines."""
        found = self.redactor.names.settings()
        if self._has_tokens:
            found["header_tokens"] = [TOKEN.decode("ascii")]
        if self._reader.years and min(self._reader.years) != YEAR:
            found["year"] = min(self._reader.years)
        if self._zone != "UTC":
            found["timezone"] = self._zone
        if self.rules.plain_queue_id:
            found["queue_id"] = "plain"
        if not self.rules.dropped_rejects:
            found["rejects"] = ["blocklist"]
        for key, value in found.items():
            yield f"#: {key}: {value if isinstance(value, str) else json.dumps(value)}"

    def ends(self) -> str:
        """Return what to say to who redacted."""
        said = f"postsink: {self._lines} lines redacted; read them before you send them"
        said += ": times, sizes and words of Postfix stay"
        if self._not_understood:
            said += f"; {self._not_understood} not understood, which are redacted by the form of their words alone"
        if self._unlike:
            said += f"; {self._unlike} were not taken as the raw lines are: redact these by hand"
        return said


def taken(counts: Counter[str], before: Counter[str]) -> tuple[int, ...]:
    """Return what was counted between two states of a pipeline's counts."""
    return tuple(counts[name] - before[name] for name in _COUNTED)
