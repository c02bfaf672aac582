"""Plays golden stories (tests/golden/NAME.golden) in many ways, and rewrites their rows.

    python -m tests.golden_runner --rewrite [NAME...]

A story's lines: `#` says why it exists, `#: key: value` sets a rule, `? ` begins a line that must not be
understood, `~ 6d` lets wall clock pass, `=> ` is a row, all else is a log line, verbatim and in bytes.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import yaml

from sink.core.batch import Batch
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.pseudonym import Pseudonyms
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.installation import time_zone
from sink.sources.framer import Framer
from sink.stores.sqlite import SqliteStore
from sink.tools.story import NamedPseudonyms, render

FOLDER = Path(__file__).parent / "golden"
SECRET = bytes(range(7, 39))
CORRELATION = bytes(range(99, 131))
RULES = Rules(
    local_domains=frozenset({b"example.com"}),
    trusted_networks=tuple(map(ip_network, ("127.0.0.0/8", "::1/128", "192.0.2.0/28"))),
    internal_networks=(ip_network("198.51.100.9"),),
    header_tokens=(b"k7Qm2Zx9RtW4bN8s",),
)
YEAR = 2026
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LINE, WRONG, PASS = "line", "? ", "~ "

_COLUMN = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)')
_HEADER = re.compile(
    rb"(?:<\d+>)?(?:(?P<iso>\d{4}-\d\d-\d\dT\S+)|(?P<plain>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)) "
    rb"(?P<rest>\S+ \S+: .*)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Story:
    """One golden file."""

    name: str
    steps: tuple[tuple[str, bytes], ...]
    rows: tuple[str, ...]
    rules: Rules = RULES
    year: int = YEAR
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def lines(self) -> list[bytes]:
        return [text for kind, text in self.steps if kind != PASS]


def read(path: Path) -> Story:
    steps: list[tuple[str, bytes]] = []
    rows: list[str] = []
    settings: dict[str, Any] = {}
    for line in path.read_bytes().split(b"\n"):
        if line.startswith(b"#:"):
            settings.update(yaml.safe_load(line[2:].decode()))
        elif line.startswith(b"=> "):
            rows.append(line.decode("utf-8", "backslashreplace"))
        elif line.startswith((b"? ", b"~ ")):
            steps.append((line[:2].decode(), line[2:]))
        elif line and not line.startswith(b"#"):
            steps.append((LINE, line))
    year = settings.pop("year", YEAR)
    return Story(path.stem, tuple(steps), tuple(rows), _rules(settings), year, settings)


def stories() -> list[Story]:
    return [read(path) for path in sorted(FOLDER.glob("*.golden"))]


def _rules(settings: dict[str, Any]) -> Rules:
    made = {
        "timezone": time_zone,
        "header_tokens": lambda tokens: tuple(token.encode() for token in tokens),
        "local_domains": lambda names: frozenset(name.encode() for name in names),
        "trusted_networks": lambda names: tuple(map(ip_network, names)),
    }
    changes: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "queue_id":
            changes["plain_queue_id"] = value == "plain"
        elif key == "rejects":
            changes["dropped_rejects"] = frozenset({"blocklist"}) - frozenset(value)
        elif key == "internal_relays":
            names = [name for name in value if not name[0].isdigit()]
            changes["internal_hosts"] = frozenset(name.encode() for name in names)
            changes["internal_networks"] = tuple(ip_network(name) for name in value if name[0].isdigit())
        else:
            changes[key] = made[key](value)
    return replace(RULES, **changes)


class Player:
    """Plays one story into a store, and hands the rows back as golden lines."""

    def __init__(self, story: Story, store: SqliteStore | None = None, journal: bool = False) -> None:
        self.story = story
        self.names: dict[str, str] = {}
        self.store = store or SqliteStore.memory()
        self.journal = journal
        self.now = 0.0
        self.found: list[dict[str, Any]] = []
        self.tables: list[str] = []
        self.states: list[bytes] = []
        self.batches: list[Batch] = []
        self.reader = Reader(story.rules.timezone, story.year)
        self.pipe = self.pipeline()

    def pipeline(self) -> Pipeline:
        def naming(secret: bytes, plain: bool) -> Pseudonyms:
            return NamedPseudonyms(secret, plain, self.names)

        epochs = [Epoch(1, None, None, SECRET)]
        return Pipeline(self.story.rules, epochs, CORRELATION, self.reader, self.journal, naming)

    def take(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.states += batch.puts.values()
        self.store.commit(batch, "live" if self.journal else None)

    def feed(self, *lines: bytes) -> None:
        self.take(self.pipe.feed(lines))

    def restart(self) -> None:
        """Stop here, and go on from the store."""
        self.pipe = self.pipeline()
        self.pipe.resume(self.store.state("live"))

    def wait(self, words: bytes) -> None:
        self.take(self.pipe.tick(self.now))
        self.now += int(words[:-1]) * UNITS[chr(words[-1])]
        self.take(self.pipe.tick(self.now))

    def end(self) -> list[str]:
        self.take(self.pipe.flush())
        rows = []
        for table in ("delivery", "reject"):
            rows += [render(table, row, self.names) for row in self.store.take(table + "_text")]
        if not self.journal:
            self.store.close()
        return rows


def as_written(story: Story) -> list[str]:
    player = Player(story)
    for kind, text in story.steps:
        if kind == PASS:
            player.wait(text)
            continue
        before = player.pipe.counts.copy()
        player.feed(text)
        change = player.pipe.counts - before
        wrong = change["not_understood"] or change["not_syslog"] or change["too_long"] or not change["postfix_lines"]
        assert bool(wrong) == (kind == WRONG), f"{story.name}: {'not ' if wrong else ''}understood: {text!r}"
    return player.end()


def chunked(story: Story, cut: Callable[[bytes], Iterator[bytes]]) -> list[str]:
    player, framer = Player(story), Framer()
    for kind, text in story.steps:
        if kind == PASS:
            player.wait(text)
            continue
        for chunk in cut(text + b"\n"):
            player.feed(*framer.lines(chunk))
    player.feed(*framer.last())
    return player.end()


def byte_by_byte(text: bytes) -> Iterator[bytes]:
    return (text[at : at + 1] for at in range(len(text)))


def cut_anywhere(dice: random.Random) -> Callable[[bytes], Iterator[bytes]]:
    def cut(text: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(text):
            size = dice.choice((1, 2, 7, 50, 500))
            yield text[at : at + size]
            at += size

    return cut


def in_one_batch(story: Story) -> list[str]:
    player = Player(story)
    waiting: list[bytes] = []
    for kind, text in story.steps:
        if kind == PASS:
            player.feed(*waiting)
            waiting = []
            player.wait(text)
        else:
            waiting.append(text)
    player.feed(*waiting)
    return player.end()


def shuffled(story: Story, dice: random.Random) -> list[str]:
    """Shuffle the lines that follow each other in one second of one host."""
    player = Player(story)
    reader = Reader(story.rules.timezone, story.year)
    group: list[bytes] = []
    mark: object = None
    for kind, text in story.steps:
        record = None if kind == PASS else reader.read(text)
        here = None if record is None else (record[0], record[2])
        if here != mark or here is None:
            dice.shuffle(group)
            player.feed(*group)
            group, mark = [], here
        if kind == PASS:
            player.wait(text)
        else:
            group.append(text)
    dice.shuffle(group)
    player.feed(*group)
    return player.end()


def interleaved(story: Story, other: Story, dice: random.Random) -> list[str]:
    """Play another story of another host in between, at the same time of log."""
    player = Player(story)
    reader = Reader(story.rules.timezone, story.year)
    first = next((record[0] for record in map(reader.read, story.lines) if record), 0)
    stranger = iter(shifted(other, first))
    for kind, text in story.steps:
        if kind == PASS:
            player.wait(text)
            continue
        for line in [next(stranger, None) for _ in range(dice.randrange(4))]:
            if line is not None:
                player.feed(line)
        player.feed(text)
    player.feed(*stranger)
    return [row for row in player.end() if " host=stranger " not in row]


def shifted(story: Story, second: int, host: bytes = b"stranger") -> Iterator[bytes]:
    """Give a story's lines another host's name, and times that begin in a given second."""
    reader = Reader(story.rules.timezone, story.year)
    start: int | None = None
    for line in story.lines:
        record, header = reader.read(line), _HEADER.fullmatch(line)
        if record is None or header is None:
            continue
        start = record[0] if start is None else start
        rest = host + b" " + header["rest"].split(b" ", 1)[1]
        yield stamp_iso(record[0] - start + second, 0) + b" " + rest


def stamp_iso(second: int, micros: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{micros:06d}+00:00").encode()


def _plain(second: int, micros: int) -> bytes:
    when = datetime.fromtimestamp(second, UTC)
    return f"{when:%b} {when.day:2d} {when:%H:%M:%S}".encode()


def _yeared(second: int, micros: int) -> bytes:
    when = datetime.fromtimestamp(second, UTC)
    return f"{when:%Y %b} {when.day} {when:%H:%M:%S}.{micros // 1000:03d}".encode()


FORMATS: dict[str, Callable[[int, int], bytes]] = {
    "traditional": _plain,
    "iso": stamp_iso,
    "iso without fraction": lambda second, micros: stamp_iso(second, 0)[:19] + b"Z",
    "pri and traditional": lambda second, micros: b"<22>" + _plain(second, micros),
    "pri and iso": lambda second, micros: b"<22>" + stamp_iso(second, micros),
    "with a year": _yeared,
}


def reformatted(story: Story, form: str) -> list[str] | None:
    """Play the lines in another syslog format; None where the story's own format is its point."""
    if "timezone" in story.settings:
        return None
    player = Player(story)
    reader = Reader(story.rules.timezone, story.year)
    for kind, text in story.steps:
        if kind == PASS:
            player.wait(text)
            continue
        record, header = reader.read(text), _HEADER.fullmatch(text)
        if record is None or header is None:
            player.store.close()
            return None
        if form == "rfc 5424":
            host, tag, words = header["rest"].split(b" ", 2)
            name, _, pid = tag.rstrip(b":").partition(b"[")
            stamp = b"<22>1 " + stamp_iso(record[0], int(record[1]))
            player.feed(b" ".join((stamp, host, name, pid.rstrip(b"]") or b"-", b"-", b"-", b" " + words)))
        else:
            player.feed(FORMATS[form](record[0], int(record[1])) + b" " + header["rest"])
    return player.end()


def resumed(story: Story, folder: Path) -> list[str]:
    """Stop after every line, and go on from the store."""
    with SqliteStore.create(folder / "s.sqlite") as store:
        player = Player(story, store, journal=True)
        for kind, text in story.steps:
            if kind == PASS:
                player.wait(text)
            else:
                player.feed(text)
                player.restart()
        return player.end()


def columns(row: str) -> tuple[tuple[str, str], ...]:
    """A row as something to compare: its table and its columns, whatever their order."""
    table = row.removeprefix("=> ").partition(" ")[0]
    return (("table", table), *sorted(_COLUMN.findall(row)))


def difference(story: Story, rows: list[str]) -> list[str]:
    """Lines that say how rows differ from the story's; empty where they do not."""
    want, have = sorted(map(columns, story.rows)), sorted(map(columns, rows))
    said: list[str] = []
    missing = [row for row in want if row not in have or want.count(row) > have.count(row)]
    extra = [row for row in have if row not in want or have.count(row) > want.count(row)]
    for row in missing:
        best = max(extra, key=lambda other: len(set(row) & set(other)), default=None)
        if best is None:
            said.append(f"  missing: {dict(row)}")
            continue
        extra.remove(best)
        said.append(f"  {dict(row).get('recipient') or dict(row).get('table')} {dict(row).get('status', '')}")
        said += [f"    expected {name}={value}" for name, value in row if (name, value) not in best]
        said += [f"    given    {name}={value}" for name, value in best if (name, value) not in row]
    said += [f"  too much: {dict(row)}" for row in extra]
    return said


def rewrite(path: Path) -> bool:
    """Write the rows that come out of a story into its file; say whether it changed."""
    story = read(path)
    rows = as_written(story)
    left = [columns(row) for row in rows]
    kept: list[bytes] = []
    for line in path.read_bytes().rstrip(b"\n").split(b"\n"):
        if line.startswith(b"=> "):
            known = columns(line.decode("utf-8", "backslashreplace"))
            if known not in left:
                continue
            at = left.index(known)
            del left[at], rows[at]
        kept.append(line)
    text = b"\n".join([*kept, *(row.encode() for row in rows)]) + b"\n"
    changed = text != path.read_bytes()
    path.write_bytes(text)
    return changed


def main(arguments: list[str]) -> int:
    names = [argument for argument in arguments if not argument.startswith("--")]
    wrong = 0
    for path in sorted(FOLDER.glob("*.golden")):
        if names and path.stem not in names:
            continue
        if "--rewrite" in arguments:
            if rewrite(path):
                print(f"rewrote {path.name}; review the diff")
            continue
        try:
            said = difference(read(path), as_written(read(path)))
        except AssertionError as error:
            said = [f"  {error}"]
        if said:
            wrong += 1
            print(path.stem, *said, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
