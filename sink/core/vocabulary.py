"""The words of Postfix that the grammar knows, for lines that it does not understand; for `explain --redact`.

There is no list: the words are those of the grammar's own constants, that is byte strings, patterns and templates, so
what the grammar learns is known here. Texts for people (str) are not searched. A word is a run of letters and digits
with a letter in it; what stands in a pattern's classes and escapes is none.
"""

import re
from collections.abc import Iterable
from types import ModuleType

from sink.core import (
    deliveries,
    dovecot,
    forms,
    grammar,
    headers,
    masks,
    notices,
    parse,
    reasons,
    refusals,
    retell,
    rspamd,
    tags,
    wordings,
)
from sink.core.forms import Form, Forms

_MODULES: tuple[ModuleType, ...] = (
    deliveries, dovecot, forms, grammar, headers, masks, notices, parse, reasons, refusals, retell, rspamd, wordings,
)  # fmt: skip
_NO_WORDS = ("_STEMS",)  # halves of words, by which reasons looks for wordings
LEAST = 2  # letters; single ones are of patterns, or initials
_NOISE = re.compile(rb"\\(?:x[0-9a-fA-F]{2}|.)|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<\w+>|\{[\d,]*\}", re.DOTALL).sub
_WORD = re.compile(rb"[0-9A-Za-z]*+").findall
_HAS_LETTER = re.compile(rb"[A-Za-z]").search


def _constants(value: object) -> Iterable[bytes]:
    """Give the byte strings that a constant holds, those of its patterns without what is no word."""
    value = getattr(value, "__self__", value)  # a pattern's method, such as re.compile(...).fullmatch
    if isinstance(value, bytes):
        yield _NOISE(b" ", value)  # a part of a pattern, or none
    elif isinstance(value, re.Pattern) and isinstance(value.pattern, bytes):
        yield _NOISE(b" ", value.pattern)
    elif isinstance(value, Form | Forms):
        for name in value.__slots__ if isinstance(value, Form) else ("_forms",):
            yield from _constants(getattr(value, name))
    elif isinstance(value, dict):
        yield from _constants([*value.keys(), *value.values()])
    elif isinstance(value, tuple | list | frozenset):
        for one in value:
            yield from _constants(one)


def _words() -> frozenset[bytes]:
    constants = [value for module in _MODULES for name, value in vars(module).items() if name not in _NO_WORDS]
    texts = [text for value in constants for text in _constants(value)]
    found = {word for text in texts for word in _WORD(text)}
    found |= {part.encode("ascii") for daemon in tags.DAEMONS for part in daemon.split("-")}
    return frozenset(word for word in found if len(word) >= LEAST and _HAS_LETTER(word))


WORDS = _words()


def is_known(word: bytes) -> bool:
    """Tell whether a run of letters and digits is a word that the grammar knows, or one at a sentence's beginning."""
    return word in WORDS or (word[1:].islower() and word.lower() in WORDS)
