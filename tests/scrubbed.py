"""Scrubs lines as the tests of `scrub` do, and plays what came out into rows.

The second time the rules are what an admin of scrubbed logs would write: his own domains, hosts and networks by their
pseudonyms. A row of the scrubbed lines must then be the row of the raw lines, where each value stands for what the
first has: the pseudonym of `3eb3...@0dc6...` for the pseudonym 3eb3...@0dc6... itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from sink.core.epochs import Epoch, Parsers
from sink.core.masks import Masks
from sink.core.pseudonym import Pseudonyms
from sink.core.retell import TOKEN
from sink.core.rules import Rules
from sink.core.scrub import Scrubber
from sink.core.syslog import Reader
from tests.golden_runner import CORRELATION, PASS, RULES, SECRET, YEAR, Player, Story

EPOCHS = (Epoch(1, None, None, SECRET),)
TRUSTED = ("127.0.0.0/8", "::1/128", "248.0.0.0/6", "254.0.0.0/8", "fd40::/10", "fdc0::/10")
INTERNAL = ("252.0.0.0/7", "254.0.0.0/8", "fd80::/10", "fdc0::/10")
_ID = re.compile(r"P\(([0-9A-Za-z]{12,20})\)")
_HEX = str.maketrans("BCDFGH", "abcdef")


def scrubber(rules: Rules, year: int | None = None, **options: int | bool) -> Scrubber:
    return Scrubber(rules, EPOCHS, Reader(rules.timezone, year), CORRELATION, **options)  # type: ignore[arg-type]


def masks(rules: Rules) -> Masks:
    parser = Parsers(rules, EPOCHS, Pseudonyms).at(0)
    assert parser is not None
    return Masks(parser.pseudonyms, parser.book, rules)


def second_rules(rules: Rules) -> Rules:
    """The rules for lines that were scrubbed under some."""
    mask = masks(rules)
    return replace(
        rules,
        local_domains=frozenset(mask.address(b"x@" + name).partition(b"@")[2] for name in rules.local_domains),
        trusted_networks=tuple(map(ip_network, TRUSTED)),
        internal_networks=tuple(map(ip_network, INTERNAL)),
        internal_hosts=frozenset(map(mask.host, rules.internal_hosts)),
        header_tokens=(TOKEN,),
    )


def scrubbed(story: Story) -> Story:
    tool = scrubber(story.rules, story.year)
    steps = tuple((kind, text if kind == PASS else tool.line(text)) for kind, text in story.steps)
    return replace(story, steps=steps, rules=second_rules(story.rules))


def rows(story: Story, *, named: bool) -> list[str]:
    """A story's rows: named shows what a pseudonym stands for, else the pseudonym itself."""
    player = Player(story)
    for kind, text in story.steps:
        player.wait(text) if kind == PASS else player.feed(text)
    if not named:
        player.names.clear()
    return player.end()


def renamed(shown: Sequence[str]) -> list[str]:
    """Rows of scrubbed lines, with the first row's pseudonyms where their names stand."""
    relay = Pseudonyms(SECRET).relay
    nobodys = {f"P({name})": f"P({relay(name.encode()).hex()})" for name in ("localhost", "unknown")}
    shown = [re.sub(r"P\((?:localhost|unknown)\)", lambda found: nobodys[found[0]], row) for row in shown]
    return sorted(
        _ID.sub(_queue_id, row.replace("@id.invalid)", ")").replace("P(h-", "P(").replace(".invalid)", ")"))
        for row in shown
    )


def shortened(shown: Sequence[str]) -> list[str]:
    """Rows of raw lines, with as many digits of a queue id as a scrubbed line has."""
    return sorted(
        re.sub(r"(queue_id=P\([0-9a-f]{12})[0-9a-f]{20}\)", r"\1)", row) for row in shown
    )


def _queue_id(found: re.Match[str]) -> str:
    text = found[1]
    if "z" not in text:
        return f"P({text.lower()})" if len(text) == 12 else found[0]
    return f"P({(text[6:10] + text[11:]).translate(_HEX)})"


# -- lines of other programs, as golden stories of their own: `-> ` is what a line becomes, in six digits

STORIES = Path(__file__).parent / "neighbours"
BECOMES = "-> "


def retold(path: Path) -> list[str]:
    """A story's lines as they should be: each line of the log with what it becomes under it."""
    tool = scrubber(RULES, YEAR, digits=6)
    found = []
    for line in path.read_text().splitlines():
        if line and not line.startswith(BECOMES):
            found += [line] if line.startswith("#") else [line, BECOMES + tool.line(line.encode()).decode()]
    return found


def main() -> None:
    """Rewrite the stories."""
    for path in sorted(STORIES.glob("*.scrubbed")):
        text = "\n".join(retold(path)) + "\n"
        if text != path.read_text():
            path.write_text(text)
            print(f"rewrote {path.name}; review the diff")


if __name__ == "__main__":
    main()
