"""Nothing raw comes out: of no command, no daemon, no failure, whatever the system calls, files and names are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.leak.cases import COMMANDS, Case
from tests.leak.failures import FAILURES
from tests.leak.ground import Ground
from tests.leak.live import LIVE
from tests.leak.persons import PERSONS

CASES = (*COMMANDS, *LIVE, *PERSONS, *FAILURES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_raw_comes_out(case: Case, ground: Ground, record_property: Callable[[str, object], None]) -> None:
    with ground.drive(*case.allowed, keys=case.keys, store=case.store) as drive:
        case.play(drive)
        found = drive.verdict()
    record_property("searched", found)
    assert found.leaks == []
