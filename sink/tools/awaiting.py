"""Waits until the process that writes the live stream has taken up what a command changed."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sink import control
from sink.fault import TEMPFAIL, Fault
from sink.stores import locks

STREAM = "live"
PATIENCE = 30.0  # seconds
PULSE = 0.05

Told = dict[str, object]


def live(store: Path) -> Told | None:
    """Return what the daemon, or rsyslogd's child, works with; None where there is none."""
    return locks.told(store, STREAM)


def until(store: Path, is_done: Callable[[Told], bool], undone: str) -> bool:
    """Wait until whoever writes has done something; tell whether there is anybody.

    Fault 75: undone, in words. Who is just starting has said nothing yet, and is waited for.
    """
    with suppress(Fault):
        control.ask(store, "look")  # a child of rsyslogd has no control socket, and looks once a second
    end = time.monotonic() + PATIENCE
    while (told := live(store)) is not None:
        if is_done(told):
            return True
        if time.monotonic() >= end:
            raise Fault(TEMPFAIL, f"{undone}; look at its log, and restart it")
        time.sleep(PULSE)
    return False
