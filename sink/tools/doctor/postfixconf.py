"""Reads main.cf and master.cf as Postfix does: logical lines, parameters with their $names, services with options.

Sources: util/readlline.c, util/mac_expand.c, master/master_ent.c; postconf(5), master(5).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sink.tools.doctor.tree import Place, Tree

_MOST_DEPTH: Final = 20  # ours, of parameters that name parameters
_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_FIELDS: Final = 8  # of a service, up to its command
_WITH_VALUE: Final = frozenset("imnost")  # options of Postfix's daemons that take a value [master/*_server.c]
DEFAULTS: Final = {
    "mime_header_checks": "$header_checks",
    "nested_header_checks": "$header_checks",
    "multi_instance_name": "",
    "syslog_name": "${multi_instance_name?{$multi_instance_name}:{postfix}}",
    "syslog_facility": "mail",
    "queue_directory": "/var/spool/postfix",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as it is written."""

    value: str = field(repr=False)
    place: Place


@dataclass(frozen=True, slots=True)
class Service:
    """A line of master.cf."""

    name: str
    command: str
    options: str  # letters, such as v
    given: dict[str, Parameter]  # by -o
    place: Place


@dataclass(slots=True)
class Instance:
    """One instance of Postfix, by its folder."""

    folder: str
    main: dict[str, Parameter] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    not_understood: list[tuple[Place, str]] = field(default_factory=list)

    def raw(self, name: str, service: Service | None = None) -> Parameter:
        """Return a parameter as it is written for a service, or for all; its default where it is not."""
        of_service = service.given.get(name) if service else None
        return of_service or self.main.get(name) or Parameter(DEFAULTS.get(name, ""), Place(f"{self.folder}/main.cf"))

    def value(self, name: str, service: Service | None = None) -> str | None:
        """Return a parameter's value; None where doctor can't work it out."""

        def look(wanted: str, depth: int) -> str | None:
            if wanted == "service_name" and service:
                return service.name
            return expanded(self.raw(wanted, service).value, look, depth + 1)

        return look(name, 0)


def read(tree: Tree, folder: str) -> Instance:
    """Return what an instance is configured with."""
    instance = Instance(folder)
    path = f"{folder}/main.cf"
    for lines in _logical(tree.text(path) or ""):
        text, number = _text(lines), lines[0][0]
        name, sign, value = text.partition("=")
        if not sign or not _NAME.fullmatch(name.strip()) or text[0].isspace():
            instance.not_understood.append((Place(path, number), "this line is no parameter"))
        else:
            instance.main[name.strip()] = Parameter(value.strip(), Place(path, number))
    path = f"{folder}/master.cf"
    for lines in _logical(tree.text(path) or ""):
        service = _service(lines, path)
        if service is None:
            instance.not_understood.append((Place(path, lines[0][0]), "this line is no service"))
        else:
            instance.services.append(service)
    return instance


Lines = list[tuple[int, str]]  # the lines of a logical line, with their numbers


def _logical(text: str) -> Iterator[Lines]:
    """Yield logical lines: one that begins with a blank goes on with the one before, past comments and empty ones."""
    held: Lines = []
    for number, line in enumerate(text.split("\n"), 1):
        plain = line.strip()
        if not plain or plain.startswith("#"):
            continue
        if held and not line[0].isspace():
            yield held
            held = []
        held.append((number, line.rstrip()))
    if held:
        yield held


def _text(lines: Lines) -> str:
    return "".join(line for _, line in lines)


def _words(lines: Lines) -> list[tuple[str, int]]:
    """Return the words of a logical line with their line numbers; what stands in braces is one word."""
    words: list[tuple[str, int]] = []
    held: list[str] = []
    depth, first = 0, 0
    for number, line in lines:
        for word in line.split():
            if not held:
                first = number
            held.append(word)
            if depth or word.startswith("{"):
                depth = max(depth + word.count("{") - word.count("}"), 0)
            if not depth:
                words.append((" ".join(held), first))
                held = []
    return [*words, *([(" ".join(held), first)] if held else [])]


def _service(lines: Lines, path: str) -> Service | None:
    words = _words(lines)
    if len(words) < _FIELDS or lines[0][1][0].isspace():
        return None
    name, command = words[0][0], words[_FIELDS - 1][0]
    options = ""
    given: dict[str, Parameter] = {}
    rest = iter(words[_FIELDS:])
    for word, number in rest:
        if not word.startswith("-") or word in ("-", "--"):
            break  # what comes now is the program's own
        letters, value = _option(word)
        options += letters
        if letters[-1:] in _WITH_VALUE and not value:
            value = next(rest, ("", number))[0]
        if letters.endswith("o"):
            key, _, setting = value.strip("{} ").partition("=") if value.startswith("{") else value.partition("=")
            given[key.strip()] = Parameter(setting.strip(), Place(path, number))
    # A service's name may hold its address: 127.0.0.1:10025
    return Service(name, command, options, given, Place(path, lines[0][0]))


def _option(word: str) -> tuple[str, str]:
    """Return the letters of a word like -v or -oname=value, and what is left of it."""
    for at, letter in enumerate(word[1:], 1):
        if letter in _WITH_VALUE:
            return word[1 : at + 1], word[at + 1 :]
    return word[1:], ""


Look = Callable[[str, int], str | None]


def expanded(text: str, look: Look, depth: int = 0) -> str | None:
    """Return a value with its $names put in; None where that is not understood."""
    if depth > _MOST_DEPTH:
        return None
    parts: list[str] = []
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        parts.append(text[at:dollar])
        found = _reference(text, dollar + 1, look, depth)
        if found is None:
            return None
        part, at = found
        parts.append(part)
    return "".join([*parts, text[at:]])


def _reference(text: str, at: int, look: Look, depth: int) -> tuple[str, int] | None:
    """Return what stands for the reference behind a $, and where it ends."""
    sign = text[at : at + 1]
    if sign == "$":
        return "$", at + 1
    if sign in ("{", "(") and sign:
        end = _closing(text, at)
        part = None if end < 0 else _conditional(text[at + 1 : end], look, depth)
        return None if part is None else (part, end + 1)
    name = _NAME.match(text, at)
    part = look(name[0], depth) if name else None
    return None if part is None or name is None else (part, name.end())


def _conditional(inner: str, look: Look, depth: int) -> str | None:
    """Return what stands for name, name?text, name:text or name?{text}:{text}."""
    name = _NAME.match(inner.strip())
    if not name:
        return None
    value = look(name[0], depth)
    rest = inner.strip()[name.end() :].strip()
    if value is None or not rest:
        return value
    if rest[0] not in "?:":
        return None
    wanted = bool(value) if rest[0] == "?" else not value
    body = rest[1:].lstrip()
    other = ""
    if body.startswith("{"):
        end = _closing(body, 0)
        if end < 0:
            return None
        body, other = body[1:end], body[end + 1 :].strip()
        other = other.removeprefix(":").strip().removeprefix("{").removesuffix("}")
    return expanded(body if wanted else other, look, depth + 1)


def _closing(text: str, at: int) -> int:
    """Return where a bracket is closed; -1 where it is not."""
    opens, closes = text[at], {"{": "}", "(": ")"}[text[at]]
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == opens) - (text[place] == closes)
        if not depth:
            return place
    return -1
