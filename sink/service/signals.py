"""What the daemon is told by signals: to leave, or to read its config anew."""

import os
import selectors
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Final

from sink.fault import TEMPFAIL

CAUGHT: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """told: to leave; a second time it leaves at once. reloading: SIGHUP came; who has read it anew says so here."""

    def __init__(self) -> None:
        self.told = self.reloading = False
        self._wake, self._woken = socket.socketpair()
        for one in (self._wake, self._woken):
            one.setblocking(False)
        self._old = -1

    def register(self, selector: selectors.BaseSelector) -> None:
        """Catch signals, also those that were held, and end a wait of the selector when one comes."""
        selector.register(self._wake, selectors.EVENT_READ, self._woke)
        self._old = signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        for number in CAUGHT:
            signal.signal(number, self._caught)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, CAUGHT)

    def hold(self) -> None:
        """Have those that come from now on wait for the program that this process becomes, which would die of them."""
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)

    def close(self) -> None:
        """Catch no more of them."""
        signal.set_wakeup_fd(self._old)
        self._wake.close()
        self._woken.close()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reloading = True
        elif self.told:
            os._exit(TEMPFAIL)  # what is not committed was not confirmed
        else:
            self.told = True

    def _woke(self) -> None:
        with suppress(BlockingIOError):
            self._wake.recv(1024)
