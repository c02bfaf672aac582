"""Redacts stories as `explain --redact` does, and plays what came out into rows.

A row of the redacted lines must be the row of the raw ones, where each pseudonym stands for the stand-in that the
redactor gave to what it stands for.
"""

from __future__ import annotations

import re

from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.redact import Redactor
from sink.core.rules import Rules
from sink.core.standins import one_named
from sink.core.syslog import Reader
from tests.golden_runner import CORRELATION, PASS, SECRET, YEAR, Player, Story

_HEX = re.compile(r"[0-9a-f]{32}")


def redactor(rules: Rules, year: int | None = YEAR) -> Redactor:
    return Redactor(rules, Reader(rules.timezone, year), SECRET)


def raw_rows(story: Story) -> list[str]:
    """A story's rows with pseudonyms, under the redactor's own key and rules."""
    player = Player(story)
    player.pipe = Pipeline(
        story.rules, [Epoch(1, None, None, SECRET)], CORRELATION, player.reader, naming=one_named
    )
    for kind, text in story.steps:
        player.wait(text) if kind == PASS else player.feed(text)
    return player.end()


def renamed(rows: list[str], tool: Redactor) -> list[str]:
    """Rows with the redactor's stand-ins in the place of pseudonyms, hosts and instances."""
    names = {key: name.decode() for key, name in tool.names.names.items()}
    for name in ("localhost", "unknown", "local"):
        names.setdefault(one_named(SECRET, False).domain(name.encode()).hex(), name)

    def host(found: re.Match[str]) -> str:
        place, instance = tool.names.host(found[1].encode()), tool._named(found[2].encode())
        return f" host={place.decode()} instance={instance.decode()} "

    def plain(found: re.Match[str]) -> str:
        return tool.names.queue_id(found[0].encode()).decode()

    def group(found: re.Match[str]) -> str:
        return " ".join(sorted(found[0].split(" ")))

    shown = [_HEX.sub(lambda found: names[found[0]], row) for row in rows]
    shown = [re.sub(r"(?<=queue_id=)\w+(?= )", plain, row) for row in shown]
    shown = [re.sub(r"P\([^)]*\)(?: P\([^)]*\))+", group, row) for row in shown]
    return sorted(re.sub(r" host=(\S+) instance=(\S+) ", host, row) for row in shown)
