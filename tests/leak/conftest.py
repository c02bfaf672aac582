"""One ground for all drives, and one line for each: what was searched."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.leak.ground import Ground
from tests.leak.traced import why_not


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    made = Ground()
    try:
        yield made
        assert made.strays() == [], "raw text was left where nobody looked"
    finally:
        made.close()


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """With -v, say what was searched instead of PASSED."""
    searched = dict(report.user_properties).get("searched") if report.when == "call" and report.passed else None
    return None if searched is None else ("passed", ".", str(searched))
