"""What Python itself would say of an error, a thread, a warning or a log record: class and place, never a value.

Arguments of an exception, texts of warnings, log messages of libraries and the repr of an object may all quote a line
or a key; the name of a class, of a file and of a logger can't. faulthandler stays off, though it prints places alone.
"""

import logging
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TextIO

SOFTWARE = 70  # sysexits EX_SOFTWARE: a bug of ours
Say = Callable[[str], None]


def _to_stderr(words: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # closed, full, or none
        print(f"postsink: {words}\n", end="", file=sys.stderr, flush=True)  # in one write: others may speak, too


class _Voice:
    say: Say = staticmethod(_to_stderr)


def speak_by(say: Say) -> None:
    """Have words said by another function from now on: a detached daemon has no stderr."""
    _Voice.say = staticmethod(say)


def install() -> None:
    """Take the place of all of Python's own hooks."""
    sys.excepthook = _crashed
    sys.unraisablehook = _unraisable
    threading.excepthook = _thread_crashed
    warnings.showwarning = _warned
    logging.raiseExceptions = False  # a handler that fails would print the record's arguments
    logging.lastResort = _Places(logging.WARNING)


def _crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _bug(kind, trace)
    os._exit(SOFTWARE)


def _thread_crashed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        _bug(args.exc_type, args.exc_traceback, " in a thread")


def _unraisable(args: "sys.UnraisableHookArgs") -> None:
    _bug(args.exc_type, args.exc_traceback, " that nothing could take")


def words_of(kind: type[BaseException], trace: TracebackType | None, where: str = "") -> str:
    """Return what may be said of a bug: its class and its places."""
    places = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in traceback.walk_tb(trace)]
    at = f" at {' > '.join(places)}" if places else ""
    return f"a bug: {kind.__name__}{where}{at}; please report this line"


def _bug(kind: type[BaseException], trace: TracebackType | None, where: str = "") -> None:
    _Voice.say(words_of(kind, trace, where))


def _warned(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    _Voice.say(f"a warning: {category.__name__} at {Path(filename).name}:{lineno}")


class _Places(logging.Handler):
    """Takes the records of libraries that nobody set up logging for, which is all: postsink does not use it."""

    def emit(self, record: logging.LogRecord) -> None:
        _Voice.say(f"a warning: {record.levelname} of {record.name} at {record.filename}:{record.lineno}")
