"""Fixtures of the judges, and what they must know of the grammar's inside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.judges.judged import FORMATS, Judged
from tests.judges.program import LAB, TOKEN, Program, unpacked


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


@pytest.fixture
def sample(unpack_folder: Path) -> Callable[[str], Path]:
    """Unpacks a sample by its name in tests/data."""
    return lambda name: unpacked(name, unpack_folder)


@pytest.fixture(scope="session")
def keyed(
    installation: Callable[..., Program], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Program]:
    """Makes installations with empty stores that all have the same keys, so that rows can be compared."""
    folder = tmp_path_factory.mktemp("tokens")
    tokens = folder / "tokens"
    tokens.write_text(TOKEN + "\n")
    tokens.chmod(0o600)
    first = installation(**LAB, header_tokens=str(tokens))
    return lambda: first.sibling(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="session")
def reference(keyed: Callable[[], Program], unpack_folder: Path) -> Callable[[str], Program]:
    """One plain import of a sample, made once."""
    made: dict[str, Program] = {}

    def imported(name: str) -> Program:
        if name not in made:
            made[name] = keyed()
            made[name].import_files(unpacked(name, unpack_folder))
        return made[name]

    return imported


@pytest.fixture(scope="session")
def judge(installation: Callable[..., Program], unpack_folder: Path) -> Callable[..., Judged]:
    """Imports the scenarios once for each format and config, under one keyring for each config."""
    first: dict[str, Program] = {}
    made: dict[tuple[str, str], Judged] = {}

    def judged(form: str, **config: Any) -> Judged:
        key = repr(config)
        if (form, key) not in made:
            if key in first:
                program = first[key].sibling(first[key].folder.with_name(f"{first[key].folder.name}-{form}"))
            else:
                program = first[key] = installation(**LAB, **config)
            made[form, key] = Judged(program, unpacked(f"scenarios/mail-{form}.log.gz", unpack_folder))
        return made[form, key]

    return judged


@pytest.fixture(params=FORMATS)
def judged(request: pytest.FixtureRequest, judge: Callable[..., Judged]) -> Judged:
    return judge(request.param)


def ignore_lists() -> list[tuple[str, str, str]]:
    """What the grammar ignores knowingly: (daemon or place, first word, reason)."""
    from sink.core import grammar

    places = {"": grammar.ANYWHERE, **grammar.BY_DAEMON}
    return [
        (place, word.decode(), reason) for place, words in places.items() for word, reason in words.items()
    ]


@pytest.fixture(scope="session")
def verdict() -> Callable[[bytes], str]:
    """Says of a line: understood, ignored or not understood. Understood is also what only shows that a message
    is there."""
    from sink.core.epochs import Epoch
    from sink.core.pipeline import Pipeline
    from sink.core.rules import Rules
    from sink.core.syslog import Reader

    rules = Rules(dropped_rejects=frozenset())
    epochs = [Epoch(1, None, None, bytes(range(32)))]

    def judged(line: bytes) -> str:
        pipeline = Pipeline(rules, epochs, bytes(range(1, 33)), Reader(rules.timezone))
        pipeline.feed([line.rstrip(b"\n")])
        counts = pipeline.counts
        if counts["not_understood"] or not counts["postfix_lines"]:
            return "not understood"
        return "ignored" if counts["ignored"] else "understood"

    return judged
