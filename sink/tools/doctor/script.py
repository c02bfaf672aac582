"""What rsyslog's configuration says, once it is read: rulesets of statements, objects and $-lines."""

import re
from dataclasses import dataclass, field
from typing import Final

from sink.tools.doctor.expression import Expression
from sink.tools.doctor.tree import Place

DEFAULT: Final = "RSYSLOG_DefaultRuleset"
Parameters = dict[str, str | None]  # None: a value that only rsyslogd knows, such as `echo $NAME`

_TO_MODULE: Final = re.compile(r":([a-z0-9]+):(.*)", re.IGNORECASE)
_FILE_NAME: Final = re.compile(r"[^\s;]*")
_SIGNS: Final = {"@": "omfwd", "|": "ompipe", "^": "omshell", ">": "omdatabase"}


@dataclass(frozen=True, slots=True)
class Action:
    """Something that is done with a line; older forms are put as action() would say them."""

    place: Place
    given: Parameters = field(repr=False)  # may hold a password

    @property
    def kind(self) -> str:
        """The module's name; a question mark where only rsyslogd knows it."""
        return (self.given.get("type") or "?").lower().removeprefix("builtin:")


@dataclass(frozen=True, slots=True)
class Stop:
    """The line goes no further."""

    place: Place


@dataclass(frozen=True, slots=True)
class Call:
    """Another ruleset; None: its name is computed."""

    place: Place
    name: str | None


@dataclass(frozen=True, slots=True)
class Branch:
    """What happens under a condition."""

    place: Place
    condition: Expression
    then: "list[Statement]"
    other: "list[Statement]" = field(default_factory=list)


Statement = Action | Stop | Call | Branch


@dataclass(frozen=True, slots=True)
class Object:
    """An object that is no statement, such as module() or input()."""

    place: Place
    kind: str
    given: Parameters = field(repr=False)


@dataclass(frozen=True, slots=True)
class Directive:
    """A $-line; its name in lower case."""

    place: Place
    name: str
    value: str = field(repr=False)


@dataclass(slots=True)
class Script:
    """All of it."""

    rulesets: dict[str, list[Statement]] = field(default_factory=lambda: {DEFAULT: []})
    objects: list[Object] = field(default_factory=list)
    directives: list[Directive] = field(default_factory=list)
    includes: list[Place] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # in the order they are read
    not_understood: list[tuple[Place, str]] = field(default_factory=list)
    default: str = DEFAULT  # the ruleset of lines that no input sends elsewhere

    def add(self, ruleset: str, statements: list[Statement]) -> None:
        """Put statements at the end of a ruleset."""
        self.rulesets.setdefault(ruleset, []).extend(statements)

    def switch(self, kind: str, name: str) -> str:
        """Return the last value that objects of a kind give a parameter, or nothing."""
        values = [each.given[name] or "" for each in self.objects if each.kind == kind and name in each.given]
        return values[-1] if values else ""


@dataclass(slots=True)
class Legacy:
    """What the lines so far have set for those that come: $-lines for actions of older form."""

    ruleset: str = DEFAULT
    queue: str = ""
    program: str = ""
    default: str = DEFAULT
    statements: int = 0  # that were read so far

    def heed(self, name: str, value: str) -> None:
        """Take in a $-line."""
        match name:
            case "ruleset":
                self.ruleset = value
            case "defaultruleset":
                self.default = value
            case "actionqueuefilename":
                self.queue = value
            case "actionomprogbinary":
                self.program = value

    def action(self, place: Place, text: str) -> Action | Stop | None:
        """Return an action of older form; None for what rsyslogd can't do anything with [cflineDoAction()]."""
        text = text.strip()
        if text.startswith("~"):
            return Stop(place)
        given = self._given(text)
        if given is None:
            return None
        if self.queue:  # counts for one action
            given["queue.filename"], self.queue = self.queue, ""
        return Action(place, given)

    def _given(self, text: str) -> Parameters | None:
        if module := _TO_MODULE.match(text):
            return self._to_module(module[1].lower(), module[2])
        plain = text.removeprefix("-")
        if plain.startswith(("/", ".", "?", "$")):
            return {"type": "omfile", "file": _FILE_NAME.match(plain)[0]}  # type: ignore[index]
        if kind := _SIGNS.get(text[0]):
            path = _FILE_NAME.match(text[1:])
            return {"type": kind, "pipe": path[0] if path else ""}
        return None if text.startswith("-") else {"type": "omusrmsg"}

    def _to_module(self, name: str, rest: str) -> Parameters:
        if name == "omfile":
            return self._given(rest) or {"type": name}
        return {"type": name, "binary": self.program} if name == "omprog" else {"type": name}
