"""Reads rsyslog's configuration: RainerScript, and the older forms that it still takes, line by line.

The rules are those of rsyslog's grammar/lexer.l, grammar.y and readConfFile(). Included files are read where they are
named, since that is where rsyslogd puts their rules. What is not understood is remembered with its place, and reading
goes on at the next line.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Final

from sink.tools.doctor import expression
from sink.tools.doctor.expression import Expression
from sink.tools.doctor.script import (
    Action,
    Branch,
    Call,
    Directive,
    Legacy,
    Object,
    Parameters,
    Script,
    Statement,
    Stop,
)
from sink.tools.doctor.tree import Place, Tree

MOST_FILES: Final = 500  # ours, of all that one configuration includes
MOST_INCLUDES: Final = 2000  # ours: a file that includes itself names no new one
MOST_STATEMENTS: Final = 20_000  # ours
_MOST_DEPTH: Final = 100  # ours, of blocks in blocks
_MOST_ABOVE: Final = 16  # ours, of files in files

# Repeats that may run over lines are bounded, so that no file takes time that grows with its square.
_BLANKS: Final = re.compile(r"(?:[ \t\r\n\f\v]++|#[^\n]*+|/\*(?>(?:[^*]|\*(?!/))*)\*/)+")
_OBJECT: Final = re.compile(
    r"(main_queue|timezone|parser|global|template|ruleset|property|constant|input|module|lookup_table|dyn_stats"
    r"|percentile_stats|ratelimit|include|action)[ \n\t]*\(", re.IGNORECASE,
)  # fmt: skip
_NAME: Final = re.compile(r"[a-z][a-z0-9_.]*", re.IGNORECASE)
_STRING: Final = re.compile(r'"((?>(?:[^"\\]|\\.){0,65536}))"', re.DOTALL)
_TICKS: Final = re.compile(r"`(?>(?:[^`\\]|\\.){0,65536})`", re.DOTALL)
_DIRECTIVE: Final = re.compile(r"\$([a-z]+)([^\n]*)", re.IGNORECASE)
_SELECTOR: Final = re.compile(r"[*a-z][*a-z]*[0-7]*[.,][,!=;.*a-z0-7]+", re.IGNORECASE)
_PROPERTY: Final = re.compile(r':(\$?[a-z-]+) *, *(!?)([a-z]+) *, *"((?:\\"|[^"]){0,4096})"', re.IGNORECASE)
_LINE: Final = re.compile(r"[^\n]*")
_WORD: Final = re.compile(r"[a-z0-9_][a-z0-9_\-+,;]*", re.IGNORECASE)
_TO_DO: Final = re.compile(r"[^\n]*?\bdo\b", re.IGNORECASE)
_CALLED: Final = re.compile(r"[ \t\n]*([a-z][a-z0-9_.-]*)", re.IGNORECASE)
_UNTIL: Final = re.compile(
    r"""(?>(?:[^;"'`]|"(?>(?:[^"\\]|\\.){0,4096})"|'(?>(?:[^'\\]|\\.){0,4096})'|`[^`]{0,4096}+`){0,4096});""", re.DOTALL
)
_PARAMETERS: Final = re.compile(r"[^)]{0,4096}+\)")
_TO_MODULE: Final = re.compile(r":[a-z0-9]+:", re.IGNORECASE)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_BSD: Final = re.compile(r"(?:![^ \t\n]+|[+-][a-z0-9.:*-]+)[ \t]*(?=#|\n|\Z)", re.IGNORECASE)


class ConfusedError(Exception):
    """What stands here is not understood; holds words that quote nothing."""


def read(tree: Tree, path: str) -> Script:
    """Return what rsyslogd would make of a configuration file."""
    script = Script()
    legacy = Legacy()
    try:
        _File(tree, script, path, legacy, ()).read(0)
    except RecursionError:
        script.not_understood.append((Place(path), "blocks and files are nested too deep"))
    if legacy.default in script.rulesets:
        script.default = legacy.default
    return script


def _joined(text: str) -> tuple[str, list[int], list[int]]:
    """Return the text with its lines joined at a last \\, and for each line its start and number [readConfFile()]."""
    parts: list[str] = []
    starts, numbers = [0], [1]
    at, goes_on = 0, False
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.partition("\0")[0]  # fgets() and strlen() see no more of it
        plain = (line.lstrip() if goes_on else line).rstrip()
        if not goes_on:
            starts.append(at)
            numbers.append(number)
        if plain or not goes_on:
            goes_on = plain.endswith("\\")
        part = plain.removesuffix("\\") if goes_on else f"{plain}\n"
        parts.append(part)
        at += len(part)
    return "".join(parts), starts, numbers


class _File:
    """One file; a file that it includes is another one, for the same script."""

    def __init__(self, tree: Tree, script: Script, path: str, legacy: Legacy, above: tuple[str, ...]) -> None:
        self._tree, self._script, self._path, self._legacy, self._above = tree, script, path, legacy, above
        self._text, self._starts, self._numbers = _joined(tree.text(path) or "")
        self._at = 0
        script.files.append(path)

    def read(self, depth: int) -> list[Statement]:
        """Read the file to its end; at no depth into the script, else for the block that includes it."""
        found: list[Statement] = []
        while self._more():
            if self._text[self._at] == "}":
                self._note("a brace closes nothing")
                self._at += 1
                continue
            statements = self._sure(depth)
            if depth:
                found += statements
            else:
                self._script.add(self._legacy.ruleset, statements)
        return found

    def _body(self, depth: int) -> list[Statement]:
        """Return the statements up to the brace that closes the block."""
        found: list[Statement] = []
        while self._more():
            if self._text[self._at] == "}":
                self._at += 1
                return found
            found += self._sure(depth)
        self._note("a block is not closed in its file")
        return found

    def _sure(self, depth: int) -> list[Statement]:
        """Return a statement, or nothing and go on with the next line where it is not understood."""
        start = self._at
        try:
            self._legacy.statements += 1
            if self._legacy.statements > MOST_STATEMENTS:
                self._at = len(self._text)
                raise ConfusedError("there are more rules than doctor follows")
            return self._statement(depth)
        except ConfusedError as why:
            self._note(str(why), start)
            self._line()
            if self._at <= start:
                self._at = start + 1
            return []

    # -- places

    def _place(self, at: int | None = None) -> Place:
        line = bisect_right(self._starts, self._at if at is None else at) - 1
        return Place(self._path, self._numbers[line])

    def _note(self, words: str, at: int | None = None) -> None:
        self._script.not_understood.append((self._place(at), words))

    def _more(self) -> bool:
        """Skip blanks and comments; whether something comes after."""
        self._take(_BLANKS)
        return self._at < len(self._text)

    def _line(self) -> str:
        found = self._take(_LINE)
        return found[0] if found else ""

    def _begins_line(self) -> bool:
        start = self._text.rfind("\n", 0, self._at) + 1
        return not self._text[start : self._at].strip()

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        if found:
            self._at = found.end()
        return found

    def _next(self, *signs: str) -> bool:
        """Take a sign, if it comes next."""
        self._more()
        for sign in signs:
            if self._text.startswith(sign, self._at):
                self._at += len(sign)
                return True
        return False

    # -- statements

    def _statement(self, depth: int) -> list[Statement]:
        """Read one statement, and what hangs on it by &."""
        if depth > _MOST_DEPTH:
            self._at = len(self._text)
            raise ConfusedError("blocks are nested too deep")
        found = self._single(depth)
        while self._next("&"):
            if not self._more():
                raise ConfusedError("nothing comes after &")
            found += self._single(depth + 1)
        return found

    def _single(self, depth: int) -> list[Statement]:
        place = self._place()
        if made := self._take(_OBJECT):
            return self._object(made[1].lower(), place, depth)
        if self._begins_line() and (chosen := self._take(_PROPERTY)):
            name, negated, operation, value = chosen.groups()
            condition = expression.of_property(name, operation, value, negated=bool(negated))
            return [Branch(place, condition, self._block(depth))]
        if chosen := self._take(_SELECTOR):
            return [Branch(place, expression.of_selector(chosen[0]), self._block(depth))]
        if made := self._take(_DIRECTIVE):
            return self._directive(place, made[1].lower(), made[2].strip(), depth)
        word = _WORD.match(self._text, self._at)
        if word and (keyword := _KEYWORDS.get(word[0].lower())):
            self._at = word.end()
            return keyword(self, place, depth)
        if self._begins_line() and self._take(_BSD):
            return []  # rsyslogd has not heeded such blocks since version 7
        return self._older(place, word)

    def _older(self, place: Place, word: re.Match[str] | None) -> list[Statement]:
        """Read an action of older form: to the end of the line, or the names of users, who are no such end."""
        if word:
            self._at = word.end()
            action = self._legacy.action(place, word[0])
        elif self._text.startswith("/*", self._at):
            self._at = len(self._text)
            raise ConfusedError("a comment is not closed")
        elif self._text[self._at] in "-/|.@^?~>*" or _TO_MODULE.match(self._text, self._at):
            action = self._legacy.action(place, self._line())
        else:
            raise ConfusedError("this is no statement that doctor knows")
        return [] if action is None else [action]

    def _block(self, depth: int) -> list[Statement]:
        if self._next("{"):
            return self._body(depth + 1)
        if not self._more() or self._text[self._at] == "}":
            raise ConfusedError("a condition has nothing to do")
        return self._statement(depth + 1)

    def _keyword(self, wanted: str) -> bool:
        self._more()
        word = _WORD.match(self._text, self._at)
        if not word or word[0].lower() != wanted:
            return False
        self._at = word.end()
        return True

    def _if(self, place: Place, depth: int) -> list[Statement]:
        condition = self._expression()
        then = self._block(depth)
        return [Branch(place, condition, then, self._block(depth) if self._keyword("else") else [])]

    def _expression(self) -> Expression:
        reader = expression.Reader(self._text, self._at)
        found = reader.expression()
        self._at = reader.at
        if found is None or not self._keyword("then"):
            raise ConfusedError("a condition is not understood")
        return found

    def _foreach(self, place: Place, depth: int) -> list[Statement]:
        if not self._take(_TO_DO):
            raise ConfusedError("a foreach is not understood")
        return [Branch(place, expression.unknown, self._block(depth))]

    def _call(self, place: Place, depth: int) -> list[Statement]:
        name = self._take(_CALLED)
        if not name:
            raise ConfusedError("a call names no ruleset")
        return [Call(place, name[1])]

    def _call_indirect(self, place: Place, depth: int) -> list[Statement]:
        self._variable(place, depth)
        return [Call(place, None)]

    def _stop(self, place: Place, depth: int) -> list[Statement]:
        return [Stop(place)]

    def _variable(self, place: Place, depth: int) -> list[Statement]:
        """Pass over set, reset and unset: a condition on a variable is not followed anyhow."""
        if not self._take(_UNTIL):
            raise ConfusedError("a statement has no semicolon")
        return []

    def _reload(self, place: Place, depth: int) -> list[Statement]:
        self._take(_PARAMETERS)
        return []

    def _nothing(self, place: Place, depth: int) -> list[Statement]:
        return []

    def _directive(self, place: Place, name: str, value: str, depth: int) -> list[Statement]:
        if name == "includeconfig":
            return self._include(place, value.split(maxsplit=1)[0] if value else "", depth)
        self._legacy.heed(name, value)
        self._script.directives.append(Directive(place, name, value))
        return []

    # -- objects

    def _object(self, kind: str, place: Place, depth: int) -> list[Statement]:
        given = self._parameters()
        body: list[Statement] = []
        if kind in ("ruleset", "template") and self._next("{"):
            body = self._body(depth + 1)
        if given.get("config.enabled", "on") != "on":
            return []
        if kind == "action":
            return [Action(place, given)]
        if kind == "include":
            return self._include_object(place, given, depth)
        if kind == "ruleset":
            self._script.add(given.get("name") or "?", body)
        self._script.objects.append(Object(place, kind, given))
        return []

    def _parameters(self) -> Parameters:
        given: Parameters = {}
        while not self._next(")"):
            name = self._take(_NAME)
            if not name or not self._next("="):
                raise ConfusedError("the parameters of an object are not understood")
            given[name[0].lower()] = self._value()
        return given

    def _value(self) -> str | None:
        self._more()
        if text := self._take(_STRING):
            return _ESCAPED.sub(r"\1", text[1])
        if self._take(_TICKS):
            return None
        if not self._next("["):
            raise ConfusedError("the value of a parameter is not understood")
        values = []
        while not self._next("]"):
            if text := self._take(_STRING):
                values.append(_ESCAPED.sub(r"\1", text[1]))
            elif not self._next(","):
                raise ConfusedError("a list of values is not understood")
        return "\n".join(values)

    # -- other files

    def _include_object(self, place: Place, given: Parameters, depth: int) -> list[Statement]:
        path = given.get("file")
        if path is None:
            raise ConfusedError("what an include() brings, only rsyslogd knows")
        return self._include(place, path, depth, optional=given.get("mode") == "optional")

    def _include(self, place: Place, pattern: str, depth: int, *, optional: bool = False) -> list[Statement]:
        """Read the files that an include names, in place [cnfDoInclude()]."""
        self._script.includes.append(place)
        if len(self._script.includes) > MOST_INCLUDES:
            self._at = len(self._text)
            raise ConfusedError("more files are included than doctor reads")
        if self._tree.has_folder(pattern):
            pattern += "*" if pattern.endswith("/") else "/*"
        elif not optional and self._tree.lacks(pattern):
            self._script.not_understood.append((place, "a file is included that is not there"))
        found: list[Statement] = []
        for path in self._tree.glob(pattern):
            if path in (*self._above, self._path):
                continue  # such a loop rsyslogd leaves out, too
            if len(self._script.files) >= MOST_FILES or len(self._above) >= _MOST_ABOVE:
                raise ConfusedError("more files are included than doctor reads")
            if self._tree.has_folder(path):
                found += self._include(place, f"{path}/", depth)
            elif path.endswith((".yaml", ".yml")):
                self._script.not_understood.append((Place(path), "rsyslog's YAML is not read by doctor"))
            else:
                other = _File(self._tree, self._script, path, self._legacy, (*self._above, self._path))
                found += other.read(depth)
        return found


_KEYWORDS: Final[Mapping[str, Callable[[_File, Place, int], list[Statement]]]] = {
    "if": _File._if,
    "foreach": _File._foreach,
    "call": _File._call,
    "call_indirect": _File._call_indirect,
    "stop": _File._stop,
    "continue": _File._nothing,
    "set": _File._variable,
    "reset": _File._variable,
    "unset": _File._variable,
    "reload_lookup_table": _File._reload,
}
