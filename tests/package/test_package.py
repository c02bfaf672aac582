"""The Debian package on Debian 12 and 13: built, examined by Debian's own tools, and living on booted mail hosts.

What can wait for itself does so at the same time: each suite does two parts at once. A test only asks how its own part
ended, and says how long that took.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.package import building, installing, living, scraping, suites
from tests.package.suites import Suite

Part = Callable[[Suite], None]
# What takes longest comes first. Stories wait more than they work, so that a tool goes well with each.
PARTS: tuple[Part, ...] = (
    living.with_journald_alone_a_key_is_destroyed_and_no_row_missed,
    building.tests_pass_under_debians_own_python,
    living.with_rsyslog_nothing_is_lost_and_nothing_twice,
    living.rows_go_on_to_postgresql,
    building.lintian_is_content,
    building.tests_pass_with_debians_own_postgresql,
    living.an_upgrade_keeps_all_and_a_removal_tells_everybody,
    living.with_syslog_ng_lines_wait_while_the_daemon_is_away,
    scraping.metrics_come_by_a_port_and_the_daemon_has_no_network,
    installing.autopkgtest_passes,
    installing.piuparts_finds_nothing_left,
    building.it_holds_what_the_repository_holds,
    building.manual_and_completions_are_sound,
    building.the_same_commit_gives_the_same_bytes,
)
Ends = dict[tuple[str, Part], "Future[float]"]


def timed(part: Part, suite: Suite) -> float:
    """Do one part; tell how many seconds it took."""
    begun = time.monotonic()
    part(suite)
    return time.monotonic() - begun


def tidy() -> None:
    """Remove what a run that was killed has left."""
    for left in suites.TOP.glob("*/mounted-*"):
        if not os.path.exists(f"/proc/{left.name.split('-')[1]}"):
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="module")
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """How each part that is asked for ends; all of them begin now."""
    reason = suites.reason_to_skip()
    if reason:
        pytest.skip(reason)
    tidy()
    wanted = {
        (item.callspec.params["name"], item.callspec.params["part"]) for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec")
    }  # fmt: skip
    with ExitStack() as pools:
        found: Ends = {}
        for suite in map(Suite, suites.NAMES):
            pool = ThreadPoolExecutor(2)
            pools.callback(pool.shutdown, cancel_futures=True)
            mine = [part for part in PARTS if (suite.name, part) in wanted]
            found |= {(suite.name, part): pool.submit(timed, part, suite) for part in mine}
        yield found


@pytest.mark.parametrize("name", suites.NAMES)
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_package(name: str, part: Part, ends: Ends, capsys: pytest.CaptureFixture[str]) -> None:
    """How one part ended; see its own words."""
    seconds = ends[name, part].result()
    with capsys.disabled():
        print(f" {seconds:.0f} s of its own")
