"""What the daemon tells the admin: constant words and counts, to stderr, or to syslog once it has no stderr."""

import sys
import syslog
from contextlib import suppress


class _Voice:
    is_syslog = False


def to_syslog() -> None:
    """Speak to syslog from now on."""
    syslog.openlog("postsink", syslog.LOG_PID, syslog.LOG_DAEMON)
    _Voice.is_syslog = True


def say(words: str) -> None:
    """Tell the admin."""
    if _Voice.is_syslog:
        syslog.syslog(syslog.LOG_NOTICE, words)
        return
    with suppress(OSError, ValueError):
        print(f"postsink: {words}", file=sys.stderr, flush=True)
