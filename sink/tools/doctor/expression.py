"""Conditions of rsyslog: expressions of RainerScript, property filters, and selectors of the traditional form.

A condition becomes a function of what is known of a line, and gives true, false, or None where that can't be told.
Precedence is that of rsyslog's grammar.y: `and` and `or` are equals, and `not` binds closer than a comparison.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from sink.tools.doctor.probe import FACILITIES, SEVERITIES, Probe, Truth, both, either, matches, opposite

Known = Mapping[str, str]
Value = str | int | tuple[str, ...] | None
Expression = Callable[[Known], Truth]
_Node = Callable[[Known], Value]

_MOST_DEPTH: Final = 60  # ours, of brackets in brackets
_TOKEN: Final = re.compile(
    r"""(?>(?:[ \t\r\n\f\v]|/\*(?>(?:[^*]|\*(?!/)){0,65536})\*/)*)(?:
    (?P<number>0x[0-9a-f]+|\d+)
    |\$(?P<name>[$!./]?[@a-z_]*[!@a-z0-9\-_.\[\]]*)
    |(?P<text>"(?>(?:[^"\\]|\\.){0,65536})"|'(?>(?:[^'\\]|\\.){0,65536})')
    |(?P<ticks>`(?>(?:[^`\\]|\\.){0,65536})`)
    |(?P<word>[a-z][a-z0-9_]*)
    |(?P<sign>==|<=|>=|!=|<>|[<>=,*/%+&()\[\]-])
    )""", re.IGNORECASE | re.DOTALL | re.VERBOSE,
)  # fmt: skip
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_COMPARED: Final = {
    "==": "isequal", "!=": "differs", "<>": "differs", "<": "<", ">": ">", "<=": "<=", ">=": ">=",
    "contains": "contains", "contains_i": "contains_i", "startswith": "startswith", "startswith_i": "startswith_i",
    "endswith": "endswith",
}  # fmt: skip
_NUMERIC: Final[Mapping[str, Callable[[int, int], bool]]] = {
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}
_TEXTUAL: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "isequal": lambda one, other: one == other,
    "contains": lambda one, other: other in one,
    "contains_i": lambda one, other: other.lower() in one.lower(),
    "startswith": lambda one, other: one.startswith(other),
    "startswith_i": lambda one, other: one.lower().startswith(other.lower()),
    "endswith": lambda one, other: one.endswith(other),
}
_BASIC: Final = re.compile(r"[\w\s^$.*/:,=@!<>-]*")  # of a basic regular expression, what an extended one reads alike


def known(probe: Probe, *, slash: bool) -> dict[str, str]:
    """Return the properties of a line of this host; `slash`: whether a program's name may hold one."""
    program = probe.tag if slash else probe.tag.partition("/")[0]
    severity = SEVERITIES[probe.severity]
    return {
        "syslogfacility": str(FACILITIES[probe.facility]),
        "syslogfacility-text": probe.facility,
        "syslogseverity": str(severity),
        "syslogpriority": str(severity),
        "syslogseverity-text": probe.severity,
        "syslogpriority-text": probe.severity,
        "pri": str(FACILITIES[probe.facility] * 8 + severity),
        "programname": program,
        "app-name": program,
        "syslogtag": f"{probe.tag}[1]:",
        "fromhost-ip": "127.0.0.1",
    }


def unknown(known: Known) -> Truth:
    """Give None: a condition that depends on what nobody knows."""
    return None


def of_selector(selector: str) -> Expression:
    """Return the condition of a selector like *.*;auth,mail.none [DecodePRIFilter()]."""

    def holds(known: Known) -> Truth:
        facility, severity = known["syslogfacility-text"], int(known["syslogseverity"])
        takes = False
        for part in selector.split(";"):
            names, _, priority = part.rpartition(".")
            facilities = {FACILITIES.get(name) for name in names.lower().split(",")}
            if "*" in names.split(",") or FACILITIES[facility] in facilities:
                takes = _taken(priority.rstrip(",").lower(), severity, before=takes)
        return takes

    return holds


def _taken(priority: str, severity: int, *, before: bool) -> bool:
    """Whether a part of a selector takes a line in; what it says nothing of stays as it was."""
    negated = priority.startswith("!")
    word = priority.removeprefix("!")
    exact = word.startswith("=")
    word = word.removeprefix("=")
    if word == "none":
        return negated
    if word == "*":
        return not negated
    level = SEVERITIES.get(word, int(word) if word.isdecimal() else 7)
    hit = severity == level if exact else severity <= level
    return (before and not hit) if negated else (before or hit)


def of_property(name: str, operation: str, value: str, *, negated: bool) -> Expression:
    """Return the condition of a filter like :programname, startswith, "postfix"."""
    name = name.lower().removeprefix("$")
    operation = operation.lower()
    value = value.replace('\\"', '"')

    def holds(known: Known) -> Truth:
        text = known.get(name)
        if operation == "isempty":
            found: Truth = None if text is None else not text
        elif operation in ("regex", "ereregex"):
            basic = operation == "regex" and not _BASIC.fullmatch(value)
            found = None if basic else matches(text, value)
        else:
            found = _compare(operation, text, value)
        return opposite(found) if negated else found

    return holds


def _compare(operation: str, one: Value, other: Value) -> Truth:
    if isinstance(other, tuple):
        found: Truth = operation == "differs"
        for each in other:
            join = both if operation == "differs" else either
            found = join(found, _compare(operation, one, each))
        return found
    if one is None or other is None or isinstance(one, tuple):
        return None
    if operation == "differs":
        return opposite(_compare("isequal", one, other))
    if operation in _NUMERIC or (operation == "isequal" and _number(one) is not None and _number(other) is not None):
        left, right = _number(one), _number(other)
        if left is None or right is None:
            return None
        return left == right if operation == "isequal" else _NUMERIC[operation](left, right)
    compare = _TEXTUAL.get(operation)
    return None if compare is None else compare(str(one), str(other))


def _number(value: Value) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


def _truth(value: Value) -> Truth:
    return value != 0 if isinstance(value, int) else None


class Reader:
    """Reads one expression out of a text, from `at` on; `at` is then behind it."""

    def __init__(self, text: str, at: int) -> None:
        self._text, self.at = text, at
        self._depth = 0

    def expression(self) -> Expression | None:
        """Return the expression, or None where it is not understood."""
        node = self._logic()
        return None if node is None else lambda known: _truth(node(known))

    def _peek(self) -> tuple[str, str, int]:
        """Return kind, text and end of the next token."""
        found = _TOKEN.match(self._text, self.at)
        if not found or found.lastgroup is None:
            return "", "", self.at
        return found.lastgroup, found[found.lastgroup], found.end()

    def _word(self, *words: str) -> str:
        """Take one of these words or signs, if it comes next."""
        kind, text, end = self._peek()
        if kind in ("word", "sign") and text.lower() in words:
            self.at = end
            return text.lower()
        return ""

    def _logic(self) -> _Node | None:
        first = self._comparison()
        more: list[tuple[str, _Node]] = []
        while word := self._word("and", "or"):
            node = self._comparison()
            if node is None:
                return None
            more.append((word, node))
        return first if first is None or not more else lambda known: _joined(known, first, more)

    def _comparison(self) -> _Node | None:
        """Read one comparison; one of its outcome would be odd, and is not followed."""
        node = self._sum()
        word = self._word(*_COMPARED) if node else ""
        if node is None or not word:
            return node
        other = self._sum()
        while self._word(*_COMPARED):
            other = None if self._sum() is None else _nothing
        return None if other is None else _compared(_COMPARED[word], node, other)

    def _sum(self) -> _Node | None:
        """Read what is reckoned or put together: its value is not followed."""
        node = self._single()
        while node and self._word("+", "-", "&", "*", "/", "%"):
            node = None if self._single() is None else _nothing
        return node

    def _single(self) -> _Node | None:
        if self._depth > _MOST_DEPTH:
            return None
        self._depth += 1
        try:
            return self._primary()
        finally:
            self._depth -= 1

    def _primary(self) -> _Node | None:
        kind, text, end = self._peek()
        if kind == "sign":
            return self._bracket(text)
        if kind == "word" and text.lower() in ("then", "do", "and", "or", *_COMPARED):
            return None
        self.at = end
        match kind:
            case "word":
                return self._negation() if text.lower() == "not" else self._function(text.lower())
            case "number":
                number = int(text, 0 if text.lower().startswith("0x") else 10)
                return lambda known: number
            case "name":
                return lambda known: known.get(text.lower())
            case "text":
                plain = _ESCAPED.sub(r"\1", text[1:-1])
                return lambda known: plain
            case "ticks":
                return _nothing
        return None

    def _negation(self) -> _Node | None:
        node = self._single()
        return None if node is None else lambda known: opposite(_truth(node(known)))

    def _bracket(self, sign: str) -> _Node | None:
        if self._word("("):
            node = self._logic()
            return node if self._word(")") else None
        if self._word("-"):
            return None if self._single() is None else _nothing
        if not self._word("["):
            return None
        values = []
        while not self._word("]"):
            kind, text, end = self._peek()
            if kind != "text" and text != ",":
                return None
            self.at = end
            if kind == "text":
                values.append(_ESCAPED.sub(r"\1", text[1:-1]))
        return lambda known: tuple(values)

    def _function(self, name: str) -> _Node | None:
        if not self._word("("):
            return None
        given: list[_Node] = []
        while not self._word(")"):
            node = self._logic()
            if node is None:
                return None
            given.append(node)
            self._word(",")
        return lambda known: _called(name, [node(known) for node in given], known)


def _nothing(known: Known) -> Value:
    return None


def _joined(known: Known, first: _Node, more: list[tuple[str, _Node]]) -> Truth:
    found = _truth(first(known))
    for word, node in more:
        found = (both if word == "and" else either)(found, _truth(node(known)))
    return found


def _compared(operation: str, one: _Node, other: _Node) -> _Node:
    return lambda known: _compare(operation, one(known), other(known))


def _called(name: str, given: list[Value], known: Known) -> Value:
    """Return what a function gives, of those that are worth knowing here."""
    match name, given:
        case "prifilt", [str(selector)]:
            return of_selector(selector)(known)
        case "re_match" | "re_match_i", [str(text), str(pattern)]:
            return matches(text, pattern, case=name == "re_match")
        case "tolower", [str(text)]:
            return text.lower()
        case "toupper", [str(text)]:
            return text.upper()
    return None
