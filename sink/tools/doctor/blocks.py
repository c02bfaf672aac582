"""Reads syslog-ng's configuration into nested blocks: words, and what stands in brackets behind them.

The rules are those of syslog-ng's lib/cfg-lex.l. Included files are read where they are named, but for its own library
(scl), which holds no log path. What is not understood is remembered with its place.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from sink.tools.doctor.tree import Place, Tree

MOST_FILES: Final = 500  # ours, of all that one configuration includes
_MOST_DEPTH: Final = 100  # ours, of blocks in blocks
_MOST_ABOVE: Final = 16  # ours, of files in files
_HOME: Final = "/etc/syslog-ng"
_LIBRARY: Final = "/usr/share/syslog-ng/include"
_CLOSES: Final = {"{": "}", "(": ")"}

_BLANKS: Final = re.compile(r"(?:\s++|#[^\n]*+)+")
_PRAGMA: Final = re.compile(r"@(\w[\w-]*)[ \t]*:?[ \t]*([^\n]*)")
_QUOTED: Final = re.compile(r""""((?>(?:[^"\\]|\\.){0,65536}))"|'([^']{0,65536}+)'""", re.DOTALL)
_WORD: Final = re.compile(r"""[^\s#'"(){}\\;,|@]++""")
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_DEFINED: Final = re.compile(r"""([\w.-]+)\s+(?:"([^"]*)"|'([^']*)'|(\S+))""")
_TICKED: Final = re.compile(r"`([\w.-]+)`")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, a number or a quoted text."""

    text: str = field(repr=False)  # may be a password
    place: Place
    is_quoted: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """What stands in brackets."""

    sign: str  # { or (
    place: Place
    items: "tuple[Item, ...]"


Item = Word | Block


@dataclass(slots=True)
class Blocks:
    """All of a configuration."""

    items: list[Item] = field(default_factory=list)  # a semicolon is a word
    files: list[str] = field(default_factory=list)
    not_understood: list[tuple[Place, str]] = field(default_factory=list)
    defined: dict[str, str] = field(default_factory=dict)


def read(tree: Tree, path: str) -> Blocks:
    """Return what a configuration file and all that it includes hold."""
    blocks = Blocks()
    blocks.items = _File(tree, blocks, path, ()).items(0)
    return blocks


def statements(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield statements: items up to a semicolon, which may be left out behind a brace."""
    held: list[Item] = []
    for item in items:
        if isinstance(item, Word) and item.text == ";" and not item.is_quoted:
            if held:
                yield held
            held = []
            continue
        held.append(item)
    if held:
        yield held


def key(item: Item) -> str:
    """Return a word as syslog-ng compares keywords: in lower case, _ for -; of a text or block nothing."""
    return item.text.lower().replace("-", "_") if isinstance(item, Word) and not item.is_quoted else ""


def calls(items: Iterable[Item]) -> Iterator[tuple[Word, Block]]:
    """Yield words with the brackets behind them, such as file("/var/log/x")."""
    for one, other in pairwise(items):
        if isinstance(one, Word) and isinstance(other, Block) and other.sign == "(":
            yield one, other


class _File:
    """One file."""

    def __init__(self, tree: Tree, blocks: Blocks, path: str, above: tuple[str, ...]) -> None:
        self._tree, self._blocks, self._path, self._above = tree, blocks, path, above
        self._text = tree.text(path) or ""
        self._at, self._counted, self._line = 0, 0, 1
        blocks.files.append(path)

    def items(self, depth: int, closing: str = "") -> list[Item]:
        """Return the items up to a closing bracket, or to the end of the file."""
        found: list[Item] = []
        while self._more():
            sign = self._text[self._at]
            if sign in ")}":
                self._at += 1
                if sign == closing:
                    return found
                self._note("a bracket closes nothing")
                if closing:
                    return found
            elif sign == "@":
                found += self._pragma(depth)
            else:
                found += self._item(sign, depth)
        if closing:
            self._note("a block is not closed in its file")
        return found

    def _item(self, sign: str, depth: int) -> list[Item]:
        place = self._place()
        if sign in "({":
            self._at += 1
            if depth >= _MOST_DEPTH:
                self._note("blocks are nested too deep")
                self._at = len(self._text)
                return []
            return [Block(sign, place, tuple(self.items(depth + 1, _CLOSES[sign])))]
        if text := _QUOTED.match(self._text, self._at):
            self._at = text.end()
            plain = text[2] if text[1] is None else _ESCAPED.sub(r"\1", text[1])
            return [Word(self._expanded(plain), place, is_quoted=True)]
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            if word[0].lower() == "include" and not depth:  # the form of version 2
                return self._include(self._rest(), place, depth)
            return [Word(self._expanded(word[0]), place)]
        self._at += 1
        if sign == ";":
            return [Word(";", place)]
        if sign in "\"'\\":
            self._note("a quotation is not closed")
            self._at = len(self._text)
        return []

    def _more(self) -> bool:
        found = _BLANKS.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _place(self) -> Place:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return Place(self._path, self._line)

    def _note(self, words: str) -> None:
        self._blocks.not_understood.append((self._place(), words))

    def _rest(self) -> str:
        end = self._text.find("\n", self._at)
        end = len(self._text) if end < 0 else end
        rest, self._at = self._text[self._at : end], end
        return rest

    def _expanded(self, text: str) -> str:
        """Put in what @define says, where it says something."""
        return _TICKED.sub(lambda name: self._blocks.defined.get(name[1], name[0]), text)

    # -- lines that begin with @

    def _pragma(self, depth: int) -> list[Item]:
        place = self._place()
        found = _PRAGMA.match(self._text, self._at)
        if not found:
            self._at += 1
            return []
        self._at = found.end()
        if found[1].lower() == "include":
            return self._include(found[2], place, depth)
        if found[1].lower() == "define" and (pair := _DEFINED.match(found[2])):
            self._blocks.defined[pair[1]] = pair[2] or pair[3] or pair[4] or ""
        return []

    def _include(self, text: str, place: Place, depth: int) -> list[Item]:
        named = _QUOTED.search(text)
        pattern = self._expanded((named[1] or named[2] or "") if named else text.partition("#")[0].strip(" \t;"))
        if pattern.split("/")[-1] == "scl.conf" or pattern.startswith("scl/"):
            return []  # the library
        if "`" in pattern:
            self._blocks.not_understood.append((place, "what is included here, only syslog-ng knows"))
            return []
        places = [pattern] if pattern.startswith("/") else [f"{_HOME}/{pattern}", f"{_LIBRARY}/{pattern}"]
        paths = next((paths for each in places if (paths := self._files(each))), [])
        if all(self._tree.lacks(each) for each in places):
            self._blocks.not_understood.append((place, "a file is included that is not there"))
        found: list[Item] = []
        for path in paths:
            if path in (*self._above, self._path):
                continue  # a loop: syslog-ng would not start
            if len(self._blocks.files) >= MOST_FILES or len(self._above) >= _MOST_ABOVE:
                self._blocks.not_understood.append((place, "more files are included than doctor reads"))
                return found
            found += _File(self._tree, self._blocks, path, (*self._above, self._path)).items(depth)
        return found

    def _files(self, pattern: str) -> list[str]:
        """Return the files of an include; of a folder all that do not begin with a dot."""
        if self._tree.has_folder(pattern):
            pattern = f"{pattern.rstrip('/')}/*"
        return [path for path in self._tree.glob(pattern) if not self._tree.has_folder(path)]
