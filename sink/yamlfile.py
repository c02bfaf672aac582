"""Reads a YAML file as nodes that know their lines, and takes checked values out of them.

Rules: the text is composed, never constructed, so no tag can make an object; what is wrong ends in a Fault
of one line with the line number; no message quotes a value, which may be a password, and a key only when
it looks like one.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, TypeVar

import yaml

from sink.fault import CONFIG, NOINPUT, NOPERM, Fault

T = TypeVar("T")

MOST_BYTES: Final = 1 << 18  # ours: a hundred times the sample; PyYAML takes seconds for more
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")  # ours: what may be quoted as somebody's try at a key
_TRUE: Final = ("yes", "true", "on")  # YAML 1.1; its resolver lets these and their opposites through
_TAG: Final = "tag:yaml.org,2002:"


def text_of(path: Path, limit: int = MOST_BYTES) -> str:
    """Gives the text of a UTF-8 file that an operator wrote; Faults 66, 77 and 78."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise Fault(NOINPUT, f"{path} is missing; check the path or make the file") from None
    except PermissionError:
        raise Fault(NOPERM, f"no permission to read {path}; run this as root or its owner") from None
    except OSError:
        raise Fault(CONFIG, f"{path} can't be read; give the path of a regular file") from None
    if len(data) > limit:
        raise Fault(CONFIG, f"{path} is larger than {limit} bytes; check that it is the right file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    raise Fault(CONFIG, f"{path} line {line}: not UTF-8; write it in UTF-8")


def compose(path: Path, text: str) -> yaml.Node | None:
    """Gives the one document of the text as nodes, or None when there is nothing in it."""
    loader = None
    try:
        loader = yaml.SafeLoader(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line if mark else 0
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError):
        # ValueError and OverflowError: PyYAML's scanner on "\U00110000" and on a %YAML of 5,000 digits.
        line = loader.line if loader else 0
    raise Fault(CONFIG, f"{path} line {line + 1}: not YAML; check colons, quotes and indentation")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of the file, with what is needed to say where it stands and what it is for."""

    path: Path
    key: str
    node: yaml.Node

    def fault(self, what: str) -> Fault:
        """Makes the Fault for this value; `what` goes on after the key's name and says what it must be."""
        return Fault(CONFIG, f"{self.path} line {self.node.start_mark.line + 1}: {self.key} {what}")

    def is_null(self) -> bool:
        return self.node.tag == _TAG + "null"

    def is_text(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode) and self.node.tag == _TAG + "str"

    def is_list(self) -> bool:
        return isinstance(self.node, yaml.SequenceNode)

    def is_mapping(self) -> bool:
        return isinstance(self.node, yaml.MappingNode)

    def text(self) -> str:
        """Gives a non-empty printable text; a bare `no`, `10` or `1:30` is no text in YAML."""
        if not self.is_text():
            raise self.fault("must be text; put it in quotes when YAML reads it otherwise")
        if not self.node.value or not self.node.value.isprintable():
            raise self.fault("must not be empty nor hold control characters; correct it")
        return str(self.node.value)

    def word(self, words: tuple[str, ...]) -> str:
        if not self.is_text() or self.node.value not in words:
            raise self.fault(f"must be one of: {', '.join(words)}")
        return str(self.node.value)

    def truth(self) -> bool:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag != _TAG + "bool":
            raise self.fault("must be yes or no")
        return self.node.value.lower() in _TRUE

    def digits(self) -> str | None:
        """Gives the decimal digits of a number of at most nine, else None."""
        if isinstance(self.node, yaml.ScalarNode) and self.node.tag == _TAG + "int":
            return self.node.value if re.fullmatch(r"0|[1-9][0-9]{0,8}", self.node.value) else None
        return None

    def items(self, most: int) -> list["Value"]:
        """Gives the entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.fault("must be a list; write [one, two] or a line `- one` each")
        if len(self.node.value) > most:
            raise self.fault(f"has more than {most} entries; take some out")
        return [Value(self.path, self.key, node) for node in self.node.value]

    def fields(self, known: Mapping[str, Callable[["Value"], T]]) -> dict[str, T]:
        """Reads a mapping by the readers of its known keys."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.fault(f"must be made of keys and values; the keys are: {', '.join(known)}")
        seen: dict[str, int] = {}
        found: dict[str, T] = {}
        for key, node in self.node.value:
            name = self._name(key, known, seen)
            seen[name] = key.start_mark.line + 1
            found[name] = known[name](Value(self.path, name, node))
        return found

    def _name(self, key: yaml.Node, known: Mapping[str, object], seen: Mapping[str, int]) -> str:
        where = f"{self.path} line {key.start_mark.line + 1}:"
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if not _KEY.fullmatch(name):
            raise Fault(CONFIG, f"{where} not a key; the keys here are: {', '.join(known)}")
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"the keys here are: {', '.join(known)}"
            raise Fault(CONFIG, f'{where} unknown key "{name}"; {hint}')
        if name in seen:
            raise Fault(CONFIG, f'{where} key "{name}" stands in line {seen[name]} already; take one out')
        return name
