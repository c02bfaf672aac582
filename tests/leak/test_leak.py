"""Nothing raw comes out: of no command, no daemon, no failure, whatever the system calls, files and names are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.leak.cases import COMMANDS, Case
from tests.leak.database import DATABASE
from tests.leak.ends import ENDS
from tests.leak.failures import FAILURES
from tests.leak.ground import Ground
from tests.leak.live import LIVE
from tests.leak.persons import PERSONS
from tests.leak.watch import Verdict

CASES: tuple[Case, ...] = (*COMMANDS, *LIVE, *PERSONS, *DATABASE, *FAILURES, *ENDS)
AT_ONCE = 2  # drives: they wait for each other's programs more than they compute

Played = Callable[[Case], tuple[Verdict, float]]


def play(ground: Ground, case: Case) -> tuple[Verdict, float]:
    """Drive one case; return what was found, and the seconds that it took."""
    begun = time.monotonic()
    with ground.drive(*case.allowed, keys=case.keys, store=case.store) as drive:
        case.play(drive)
        return drive.verdict(), time.monotonic() - begun


@pytest.fixture(scope="session")
def played(ground: Ground, request: pytest.FixtureRequest) -> Iterator[Played]:
    """Plays the chosen cases in the order of their tests; each test waits for its own."""
    ground.prepare()
    given = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    chosen = [params["case"] for params in given if isinstance(params.get("case"), Case)]
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        playing = {case.name: pool.submit(play, ground, case) for case in chosen}
        yield lambda case: playing[case.name].result()
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nothing_raw_comes_out(case: Case, played: Played, record_property: Callable[[str, object], None]) -> None:
    found, seconds = played(case)
    record_property("searched", f"{seconds:5.1f} s {found}")
    assert found.leaks == []
