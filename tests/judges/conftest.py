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


class _Ids:
    def __init__(self, secret: bytes) -> None:
        from sink.core.pseudonym import Pseudonyms

        self._keyed = Pseudonyms(secret)

    def queue_id(self, clear: str) -> str:
        return self._keyed.queue_id(clear.encode()).hex()

    def message_id(self, clear: str) -> str:
        return self._keyed.message_id(clear.encode()).hex()

    def relay(self, clear: str) -> str:
        return self._keyed.relay(clear.encode()).hex()


def pseudonyms_of(program: Program) -> Ids:
    """The pseudonyms of an installation's active epoch: the one place that reads its keyring."""
    from sink import config
    from sink.tools.installation import open_keyring

    secret = open_keyring(config.load(program.config)).active.secret
    assert secret is not None
    return _Ids(secret)


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
    """Says of a line: understood, ignored or not understood. Of what only shows that a message is there,
    ignored is said."""
    from sink.core import facts
    from sink.core.pipeline import Epoch, Pipeline
    from sink.core.rules import Rules
    from sink.core.syslog import Reader

    class Watched(Pipeline):
        empty = False

        def apply(self, *given: Any) -> None:
            found, *others = given[-1]
            self.empty = not any(others) and all(kind == facts.SEEN for kind, _ in found)
            super().apply(*given)

    rules = Rules(dropped_rejects=frozenset())
    epochs = [Epoch(1, None, None, bytes(range(32)))]

    def judged(line: bytes) -> str:
        pipeline = Watched(rules, epochs, bytes(range(1, 33)), Reader(rules.timezone))
        pipeline.feed([line.rstrip(b"\n")])
        counts = pipeline.counts
        if counts["not_understood"] or not counts["postfix_lines"]:
            return "not understood"
        return "ignored" if counts["ignored"] or pipeline.empty else "understood"

    return judged
