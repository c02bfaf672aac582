"""The daemon is killed at each place, again and again: every line is in the store once, as if nothing had happened."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

from tests.integration.asking import is_part, rows
from tests.integration.live.confirming import deliver
from tests.integration.live.failpoints import PLACES
from tests.integration.live.service import KILLED, Service
from tests.integration.live.verdict import counted, same_rows
from tests.judges.program import Program

TIMES = 20  # kills at each place
# How often a place is passed before the kill; at a reload it is the first time.
APART = {"reload": 1, "checkpoint": 3}


def killed_at(
    live: Program, place: str, lines: list[bytes], window: int, dice: random.Random
) -> int:
    """Start the daemon, send lines until it kills itself at a place; return how many were confirmed."""
    with Service(live, place=place, number=dice.randint(1, APART.get(place, 100))) as service:
        if not service.is_ready:  # a start commits and checkpoints, too
            assert service.ended() == KILLED
            return 0
        if place == "reload":
            done = deliver(service.stream, lines[: dice.randint(1, 100)], window)
            service.send(signal.SIGHUP)
            assert service.ended() == KILLED
            return done
        done = deliver(service.stream, lines, window)
        if done == len(lines):
            service.kill()  # the log's end came first
        assert service.ended() == KILLED
        return done


def plan(dice: random.Random) -> list[str]:
    order = [place for place in PLACES for _ in range(TIMES)]
    dice.shuffle(order)
    return order


def test_killed_at_each_place(
    live: Program, lines: list[bytes], imported: Program, tmp_path: Path
) -> None:
    """In lock step: when a commit was not confirmed, the line that comes again is one that is in the store."""
    dice = random.Random()
    done, hit = 0, Counter[str]()
    for place in plan(dice):
        done += killed_at(live, place, lines[done : len(lines) - 2], 1, dice)
        hit[place] += done < len(lines) - 2
    assert {place: hit[place] for place in PLACES if hit[place] < TIMES} == {}, "the log is too short"
    assert hit["commit"] + hit["before-ok"] >= TIMES  # each was followed by the committed line, sent again
    assert is_part(rows(live), rows(imported))
    with Service(live) as service:
        assert deliver(service.stream, lines[done:], 500) == len(lines) - done
        assert service.stop() == 0
    same_rows(live, imported)
    counted(live, lines, tmp_path)


def test_killed_with_many_lines_under_way(live: Program, lines: list[bytes], imported: Program) -> None:
    """A client that sends ahead, begins again at the first line that was not confirmed."""
    dice = random.Random()
    done, kills = 0, 0
    while done < len(lines) - 2:
        place = dice.choice(["parse", "insert", "commit", "before-ok", "after-ok"])
        before = done
        with Service(live, place=place, number=dice.randint(1, 12)) as service:
            if service.is_ready:
                done += deliver(service.stream, lines[done:-2], 200)
            if done < len(lines) - 2:
                assert service.ended() == KILLED
                kills += 1
            else:
                service.kill()
        assert done >= before
    assert kills >= 10
    with Service(live) as service:
        assert deliver(service.stream, lines[done:], 500) == len(lines) - done
        assert service.stop() == 0
    same_rows(live, imported)


def test_stopped_again_and_again(live: Program, lines: list[bytes], imported: Program) -> None:
    """SIGTERM takes what has arrived; the next one goes on with the open messages."""
    step = len(lines) // 10
    for start in range(0, len(lines), step):
        with Service(live) as service:
            piece = lines[start : start + step]
            assert deliver(service.stream, piece, 300) == len(piece)
            assert service.stop() == 0
    same_rows(live, imported)
