"""`postsink explain`: what becomes of each line, in the golden format.

Needs no keyring and writes nothing: pseudonyms are shown as P(what they stand for). It prints the lines it was
given, addresses and all; it is for the admin's own eyes. With --redact it prints a golden story that can be sent in:
each line with stand-ins (sink.core.redact), and what becomes of that.
"""

import os
import sys
from dataclasses import dataclass
from itertools import chain

from sink import hardening
from sink.config import Config
from sink.core.batch import Batch
from sink.core.epochs import Epoch
from sink.core.pseudonym import Pseudonyms
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.fault import OK
from sink.installation import machine_zone, rules
from sink.sources.archive import STDIN, Archive
from sink.stores.sqlite import SqliteStore
from sink.tools.redaction import Redaction, taken
from sink.tools.story import NamedPseudonyms, render
from sink.tools.watched import Watched

KEY = b"a key for eyes only: nothing made with it is kept"
ONLY = ("not-understood", "rows")
LINE, STRANGE, ROW, WORDS = "line", "strange", "row", "words"  # what a line on stdout is
_COLOURS = {STRANGE: "1;31", ROW: "32", WORDS: "2"}  # bold red, green, dim; a line of the log as it is
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if code != 9}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    file: str = STDIN
    year: int | None = None
    only: str | None = None
    redact: bool = False


def run(config: Config, options: Options) -> int:
    """Explain a file's lines."""
    archive = Archive(options.file)
    hardening.lock()
    zone = config.timezone or machine_zone()
    choices = rules(config, zone)
    reader = archive.date(choices.timezone, options.year)
    shown = Page(options.only)
    redaction = Redaction(choices, zone, (reader, archive.reader()), KEY) if options.redact else None
    if redaction is not None:
        choices, reader = redaction.rules, archive.reader()
        shown.tell(WORDS, redaction.begins)
    with SqliteStore.memory() as store:
        explainer = Explainer(choices, reader, store, shown, strict=options.redact)
        for line in chain.from_iterable(archive.lines()):
            if redaction is None:
                explainer.explain(line)
            else:
                redaction.told(explainer.explain(redaction.line(line)))
        explainer.end()
    if redaction is not None:
        for rule in redaction.settings():
            shown.tell(WORDS, rule)
        print(redaction.ends(), file=sys.stderr)
    fault = archive.damage()
    if fault is not None:
        raise fault
    return OK


class Page:
    """Stdout: with colours on a terminal, unless NO_COLOR says otherwise [no-color.org]; of all lines or of some."""

    def __init__(self, only: str | None = None) -> None:
        self._is_terminal = sys.stdout is not None and sys.stdout.isatty()
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        self._coloured = self._is_terminal and not plain
        self._wanted = {None: (LINE, STRANGE, ROW, WORDS), "not-understood": (STRANGE,), "rows": (ROW,)}[only]

    def tell(self, kind: str, text: str) -> None:
        """Print a line, if lines of its kind are wanted."""
        if kind not in self._wanted:
            return
        if self._is_terminal:
            text = text.translate(_CONTROLS)  # a terminal would obey what a stranger wrote
        print(f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if self._coloured and kind in _COLOURS else text)


class Explainer:
    """Plays lines into a pipeline, and tells what becomes of each.

    strict: as in golden stories, lines that are no syslog lines of Postfix are not understood.
    """

    def __init__(
        self, choices: Rules, reader: Reader, store: SqliteStore, page: Page, *, strict: bool = False
    ) -> None:
        self._names: dict[str, str] = {}
        self._told: set[bytes] = set()  # ids of rows: a line that comes again has none of its own
        self._page = page
        self._strict = strict
        self._pipe = Watched(choices, [Epoch(1, None, None, KEY)], KEY, reader, naming=self._naming)
        self._store = store

    def _naming(self, secret: bytes, plain: bool) -> Pseudonyms:
        return NamedPseudonyms(secret, plain, self._names)

    def explain(self, line: bytes) -> tuple[int, ...]:
        """Tell what becomes of a line; return what was counted of it."""
        pipe, tell = self._pipe, self._page.tell
        pipe.seen.clear()
        before = pipe.counts.copy()
        batch = pipe.feed([line])
        change = pipe.counts - before
        shown = line.decode("utf-8", "backslashreplace")
        if change["not_understood"] or (self._strict and not change["postfix_lines"]):
            tell(STRANGE, f"? {shown}")
        else:
            tell(LINE, shown)
        if change["ignored"]:
            tell(WORDS, "#   ignored: known, and nothing of it is wanted")
        elif not change["postfix_lines"]:
            tell(WORDS, "#   not a syslog line" if change["not_syslog"] else "#   not a line of Postfix")
        for words in pipe.seen:
            tell(WORDS, f"#   {words}")
        self._show(batch)
        return taken(pipe.counts, before)

    def end(self) -> None:
        """Tell the rows that are left at the end."""
        self._show(self._pipe.flush())

    def _show(self, batch: Batch) -> None:
        if batch.rows or batch.rejects:
            self._store.commit(batch)
            for table in ("delivery", "reject"):
                for row in self._store.take(table + "_text"):
                    one = bytes.fromhex(str(row["id"]))
                    if one not in self._told:
                        self._told.add(one)
                        self._page.tell(ROW, render(table, row, self._names))
