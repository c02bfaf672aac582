"""Fixtures of the judges, and the two places where they must know the program's inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.judges.program import Program


class Ids(Protocol):
    """Pseudonyms in hex of what the command line gives none of."""

    def queue_id(self, clear: str) -> str: ...
    def message_id(self, clear: str) -> str: ...
    def relay(self, clear: str) -> str: ...


def pseudonyms_of(program: Program) -> Ids:
    """The pseudonyms of an installation's active epoch: the one place that reads its keyring."""
    raise NotImplementedError(program)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Program]:
    """Makes installations with keys, each in a folder of its own."""

    def make(**config: Any) -> Program:
        return Program(tmp_path_factory.mktemp("judged"), **config).make_keys()

    return make


@pytest.fixture(scope="session")
def unpack_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where unpacked samples lie."""
    return tmp_path_factory.mktemp("samples")


def ignore_lists() -> list[tuple[str, str, str]]:
    """What the grammar ignores knowingly: (daemon or place, first word, reason)."""
    from sink.core import grammar

    places = {"": grammar.ANYWHERE, "QID": grammar.AFTER_QUEUE_ID, **grammar.BY_DAEMON}
    return [
        (place, word.decode(), reason) for place, words in places.items() for word, reason in words.items()
    ]


@pytest.fixture(scope="session")
def verdict() -> Callable[[bytes], str]:
    """Says of a line: understood, ignored or not understood."""
    raise NotImplementedError
