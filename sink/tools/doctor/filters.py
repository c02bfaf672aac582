"""syslog-ng's filters, asked of a line: true, false, or None where that can't be told [lib/filter/]."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Final

from sink.tools.doctor.blocks import Block, Item, Word, calls, key
from sink.tools.doctor.probe import FACILITIES, SEVERITIES, Probe, Truth, both, either, matches, opposite

_MOST_CALLS: Final = 30  # ours, of filters that name filters
_RANGE: Final = re.compile(r"(\w+)\s*\.\.\s*(\w+)")
_PLAIN: Final = ("facility", "level", "priority", "severity", "program", "match", "filter")


class Filters:
    """The filters of a configuration, by their names."""

    def __init__(self, named: Mapping[str, Sequence[Item]]) -> None:
        self._named = named
        self._calls = 0

    def holds(self, items: Sequence[Item], probe: Probe) -> Truth:
        """Whether an expression holds of a line."""
        words = [item for item in items if not (isinstance(item, Word) and item.text == ";" and not item.is_quoted)]
        return self._any(words, probe)

    def _any(self, items: Sequence[Item], probe: Probe) -> Truth:
        """Split at `or`, which binds less than `and`."""
        truth: Truth = False
        for part in _split(items, "or"):
            whole: Truth = True
            for each in _split(part, "and"):
                whole = both(whole, self._single(each, probe))
            truth = either(truth, whole)
        return truth

    def _single(self, items: Sequence[Item], probe: Probe) -> Truth:
        negated = False
        while items and key(items[0]) == "not":
            negated, items = not negated, items[1:]
        truth = self._plain(items, probe)
        return opposite(truth) if negated else truth

    def _plain(self, items: Sequence[Item], probe: Probe) -> Truth:
        match items:
            case [Block(sign="(", items=inner)]:
                return self._any(inner, probe)
            case [Word() as word, Block(sign="(", items=given)] if key(word) in _PLAIN:
                return self._asked(key(word), given, probe)
        return None

    def _asked(self, name: str, given: Sequence[Item], probe: Probe) -> Truth:
        words = [item.text for item in given if isinstance(item, Word)]
        match name:
            case "filter":
                return self._other(words, probe)
            case "facility":
                return _listed(words, FACILITIES, FACILITIES[probe.facility])
            case "program":
                return _fits(words, given, probe.tag)
            case "match":
                of = {word.text for name, block in calls(given) if key(name) == "value" for word in _texts(block)}
                return _fits(words[:1], given, probe.tag) if of == {"PROGRAM"} else None
        return _listed(words, SEVERITIES, SEVERITIES[probe.severity])

    def _other(self, words: Sequence[str], probe: Probe) -> Truth:
        if len(words) != 1 or words[0] not in self._named or self._calls > _MOST_CALLS:
            return None
        self._calls += 1
        truth = self.holds(self._named[words[0]], probe)
        self._calls -= 1
        return truth


def _split(items: Sequence[Item], word: str) -> list[Sequence[Item]]:
    parts: list[list[Item]] = [[]]
    for item in items:
        if key(item) == word:
            parts.append([])
        else:
            parts[-1].append(item)
    return list(parts)


def _texts(block: Block) -> list[Word]:
    return [item for item in block.items if isinstance(item, Word)]


def _listed(words: Sequence[str], names: Mapping[str, int], number: int) -> Truth:
    """Whether a list like `info, err .. emerg` holds a number."""
    text = " ".join(words).lower()
    ranges = [(_number(low, names), _number(high, names)) for low, high in _RANGE.findall(text)]
    single = [_number(word, names) for word in _RANGE.sub(" ", text).split()]
    if None in single or any(None in each for each in ranges):
        return None
    within = any(low is not None and high is not None and min(low, high) <= number <= max(low, high)
                 for low, high in ranges)  # fmt: skip
    return within or number in single


def _number(word: str, names: Mapping[str, int]) -> int | None:
    return int(word) if word.isdecimal() and len(word) < 4 else names.get(word)


def _fits(words: Sequence[str], given: Sequence[Item], text: str) -> Truth:
    """Whether a text matches a pattern of the kind that type() and flags() say."""
    options = {key(name): {word.text.lower() for word in _texts(block)} for name, block in calls(given)}
    flags = options.get("flags", set())
    kind = min(options.get("type", {"pcre"}))
    pattern = words[0] if words else ""
    if "ignore-case" in flags:
        text, pattern = text.lower(), pattern.lower() if kind != "pcre" else pattern
    match kind:
        case "pcre" | "posix":
            return matches(text, pattern, case="ignore-case" not in flags)
        case "glob":
            return fnmatch.fnmatchcase(text, pattern)
        case "string" if "substring" in flags:
            return pattern in text
        case "string":
            return text.startswith(pattern) if "prefix" in flags else text == pattern
    return None
