"""When the next epoch is to begin, where the operator has them begin by the calendar."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sink.config import Config
from sink.keys.epochs import Keyring

AHEAD: Final = 60  # seconds between a boundary's writing and itself: all who have the keyring load it meanwhile
LEAD: Final = 3600  # seconds before a boundary in which it is written


def due(keyring: Keyring, config: Config, now: int) -> int | None:
    """Return the boundary to write now, None where there is none: it is too early, or written already.

    What was coming when the keyring was loaded may have begun. Fault 78 where the clock is wrong.
    """
    if config.rotate == "never":
        return None
    last = keyring.as_of(now).epochs[-1]
    if last.state == "coming":
        return None
    begin, end = _period(config.rotate, now)
    if now >= end - LEAD:
        return max(end, now + AHEAD)
    late = last.since is not None and last.since < begin  # nobody was there at the turn
    return now + AHEAD if late else None


def _period(word: str, second: int) -> tuple[int, int]:
    """Return the bounds of the calendar's week, month, quarter or year that holds a second; UTC."""
    day = datetime.fromtimestamp(second, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if word == "weekly":
        first = day - timedelta(days=day.weekday())
        return int(first.timestamp()), int((first + timedelta(days=7)).timestamp())
    months = {"monthly": 1, "quarterly": 3, "yearly": 12}[word]
    first = day.replace(month=(day.month - 1) // months * months + 1, day=1)
    number = first.month - 1 + months
    following = first.replace(year=first.year + number // 12, month=number % 12 + 1)
    return int(first.timestamp()), int(following.timestamp())
