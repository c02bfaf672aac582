"""Rows in the golden format: what a mail admin reads and writes in tests/golden and what `explain` prints.

`=> delivery logged_at=2026-11-02T10:00:02Z host=mx1 ... sender=P(alice@example.com) status=sent`: the table, then
each column that is not NULL, in the order of its view; id and epoch are left out. P(x) is the pseudonym of x, so these
lines hold clear text: they are for eyes, never for a disk of a mail host. Times are whole seconds in UTC.
"""

import json
import re
from typing import Any

from sink.core.pseudonym import Digest, Pseudonyms

LEFT_OUT = frozenset({"id", "epoch"})
ROW = "=> "
_PSEUDONYM = re.compile(r"[0-9a-f]{32}(?:@[0-9a-f]{32})?")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_HALF = 32  # hex digits
_ZEROS = ".000000Z"


class NamedPseudonyms(Pseudonyms):
    """Pseudonyms that remember what they stand for, in a table given by the caller."""

    __slots__ = ()

    def __init__(self, secret: bytes, plain_queue_id: bool, names: dict[str, str]) -> None:
        super().__init__(secret, plain_queue_id)

        def remembering(digest: Digest) -> Digest:
            def named(text: bytes) -> bytes:
                found = digest(text)
                names[found.hex()] = text.decode("utf-8", "backslashreplace")
                return found

            return named

        for purpose in ("user", "domain", "message_id", "relay"):
            setattr(self, purpose, remembering(getattr(self, purpose)))
        if not plain_queue_id:
            self.queue_id = remembering(self.queue_id)


def render(table: str, row: dict[str, Any], names: dict[str, str]) -> str:
    """Return one row of a view as a golden line."""
    shown = [
        f"{column}={_quoted(_value(value, names))}"
        for column, value in row.items()
        if value is not None and column not in LEFT_OUT
    ]
    return f"{ROW}{table} {' '.join(shown)}"


def _value(value: Any, names: dict[str, str]) -> str:
    if isinstance(value, float):
        return f"{value:g}" if value != int(value) else str(int(value))
    if not isinstance(value, str):
        return str(value)
    if _TIME.fullmatch(value):
        return value[:19] + "Z"
    parts = value.split(" ")
    if all(_PSEUDONYM.fullmatch(part) for part in parts):
        return " ".join(sorted(_named(part, names) for part in parts))
    return value


def _named(pseudonym: str, names: dict[str, str]) -> str:
    user, at, domain = pseudonym.partition("@")
    return f"P({names.get(user, user)}{at}{names.get(domain, domain) if at else ''})"


def _quoted(text: str) -> str:
    if text and '"' not in text and not any(char.isspace() for char in text):
        return text
    return json.dumps(text, ensure_ascii=False)
