"""Makes numbers and times coarse: each value becomes the lower end of the range it is in."""

import math
from collections.abc import Callable

_CUT = {"second": (19, "Z"), "minute": (16, ":00Z"), "hour": (13, ":00:00Z"), "day": (10, "T00:00:00Z")}
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
TIMES = tuple(_CUT)
SIZES = ("exact", "log2")
LEAST = 0.125  # seconds; what took less took no time


def time(width: str) -> Callable[[str], str]:
    """Return what cuts a time of the views, which is text, to its second, minute, hour or day."""
    length, end = _CUT[width]
    return lambda text: text[:length] + end


def size(width: str) -> Callable[[int], int]:
    """Return what takes a number to the power of two below it, or leaves it."""
    return int if width == "exact" else lambda number: 1 << (number.bit_length() - 1) if number > 0 else 0


def delay(width: str) -> Callable[[float], float]:
    """Return what takes seconds to the power of two below them; where times are to the second, it leaves them."""
    return float if width == "second" else _power


def _power(seconds: float) -> float:
    return 0.0 if seconds < LEAST else math.ldexp(0.5, math.frexp(seconds)[1])


def score(points: float) -> int:
    """Return a spam score's whole points."""
    return math.floor(points)
