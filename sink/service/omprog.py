"""rsyslog's end of omprog with confirmMessages: lines on stdin, one reply each on stdout [rsyslog doc, omprog].

Laws: the first OK says that this child is ready; then each line is answered by one reply in a write of its own, when
what it does is committed. Dots say that it is still at work. An error is never replied: rsyslog would send that line
for ever. Replies are constant (law 7). SIGTERM and SIGHUP are ignored: rsyslogd sends them, logrotate makes it pass
them on, and the end is the end of stdin; whoever leaves before loses lines.
"""

import os
import select
import signal
import stat
from collections.abc import Iterator

from sink.sources.framer import Framer

STDIN, STDOUT = 0, 1
CHUNK = 1 << 16
PULSE = 1.0  # seconds between dots


class Gone(Exception):
    """rsyslogd has closed our stdin, or reads no more."""


def stay() -> None:
    """Ignore the signals that do not end this child; whoever tries it by hand may end it as usual."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if not stat.S_ISFIFO(os.fstat(STDIN).st_mode) and not stat.S_ISSOCK(os.fstat(STDIN).st_mode):
        return
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def reply(text: bytes) -> None:
    """Write to rsyslogd; raises Gone."""
    try:
        os.write(STDOUT, text)
    except OSError:
        raise Gone from None


def ok() -> None:
    """Confirm the line that is at hand, or at first that all is ready."""
    reply(b"OK\n")


def dot() -> None:
    """Say that work goes on; raises Gone where rsyslogd left meanwhile."""
    reply(b".")
    poll = select.poll()
    poll.register(STDIN, 0)
    if any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0)):
        raise Gone


class Lines:
    """The lines that come, None for each PULSE in which none does, until stdin ends.

    is_between: nothing is at hand but the line given last.
    """

    def __init__(self) -> None:
        self._framer = Framer()
        self._left = 0

    @property
    def is_between(self) -> bool:
        """Whether whoever reads stdin from here on misses nothing."""
        return not self._left and not self._framer.is_within

    def __iter__(self) -> Iterator[bytes | None]:
        """Give them."""
        poll = select.poll()
        poll.register(STDIN, select.POLLIN)
        while True:
            if not poll.poll(PULSE * 1000):
                yield None
                continue
            chunk = os.read(STDIN, CHUNK)
            if not chunk:
                return  # what has no newline was cut off: rsyslogd died in its middle
            found = self._framer.lines(chunk)
            self._left = len(found)
            for line in found:
                self._left -= 1
                yield line
