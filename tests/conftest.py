"""Holds what is true of every test: its order is random, and in CI nothing is skipped."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest

LONGEST_NAME = 100  # of a parameter in the name of its test, which every program that it starts has in its environment
IN_CI = os.environ.get("CI") == "true"


def pytest_configure() -> None:
    # Who starts the tests in the background of a shell has them ignore SIGINT, and the programs they start would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup() -> None:
    os.umask(0o022)  # a command that a test ran in this process leaves its own behind


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=random.SystemRandom().randrange(1_000_000),
                     help="order of the tests; the header of a run names the one it used")


def pytest_report_header(config: pytest.Config) -> str:
    return f"order of tests: --seed {config.getoption('--seed')}"


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    if isinstance(val, bytes | str) and len(val) > LONGEST_NAME:
        return f"{argname} of {len(val)}"
    return None


# First, so that pytest then still brings together the tests that share a fixture: it may hold a real server.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffles modules, and tests within a module."""
    dice = random.Random(config.getoption("--seed"))
    modules: dict[str, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.nodeid.partition("::")[0], []).append(item)
    order = list(modules.values())
    dice.shuffle(order)
    for tests in order:
        dice.shuffle(tests)
    items[:] = [test for tests in order for test in tests]


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """A skip in CI would look like a pass, so there it is a failure that names its reason."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"nothing may be skipped in CI: {reason}"


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    outcome = yield
    fail_if_skipped(outcome.get_result())  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Iterator[None]:
    outcome = yield
    fail_if_skipped(outcome.get_result())  # type: ignore[attr-defined]
