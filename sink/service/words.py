"""What the daemon tells the admin: constant words and counts, to stderr, or to syslog once it has no stderr."""

import sys
import syslog
from collections import Counter
from contextlib import suppress

from sink import hooks

MINUTE = 60.0  # seconds
MOST_A_MINUTE = 20


class _Voice:
    is_syslog = False


def to_syslog() -> None:
    """Speak to syslog from now on."""
    syslog.openlog("postsink", syslog.LOG_PID, syslog.LOG_DAEMON)
    _Voice.is_syslog = True
    hooks.speak_by(say)


def say(words: str) -> None:
    """Tell the admin."""
    if _Voice.is_syslog:
        syslog.syslog(syslog.LOG_NOTICE, words)
        return
    with suppress(OSError, ValueError):
        print(f"postsink: {words}\n", end="", file=sys.stderr, flush=True)  # in one write: the drain speaks, too


class Seldom:
    """Tells the same thing at most once a minute, with its number, and few things a minute in all."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # when each was told last
        self._waiting: Counter[str] = Counter()

    def note(self, words: str, number: int = 1) -> None:
        """Have something told by tell()."""
        self._waiting[words] += number

    def tell(self, now: float) -> None:
        """Tell what is due at a time, in seconds that only grow."""
        for words, number in list(self._waiting.items()):
            if now >= self._told.get(words, now - MINUTE) + MINUTE and self._may(now):
                self._told[words] = now
                del self._waiting[words]
                say(words + (f" ({number} times)" if number > 1 else ""))

    def _may(self, now: float) -> bool:
        return sum([now < told + MINUTE for told in self._told.values()]) < MOST_A_MINUTE
