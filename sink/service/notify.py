"""Tells systemd how the service is [sd_notify(3)]; only where this process is the service itself.

A child of rsyslogd inherits rsyslogd's NOTIFY_SOCKET, and must not speak in its name.
"""

import os
import socket
import time
from contextlib import suppress


class Notifier:
    """Sends states to systemd; does nothing where there is none."""

    def __init__(self) -> None:
        here = os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid())
        self._address = os.environ.get("NOTIFY_SOCKET", "") if here else ""
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        wanted = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        micros = os.environ.get("WATCHDOG_USEC", "")
        self.interval = int(micros) / 2e6 if self._address and wanted and micros.isdecimal() else None  # seconds

    def send(self, *states: str) -> None:
        """Send states such as "READY=1"."""
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.connect(self._address)
                one.send("\n".join(states).encode())

    def reloading(self) -> None:
        """Say that a reload begins; "READY=1" ends it."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
