"""Whatever Python says by itself holds class and place, and no value."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from sink.hooks import SOFTWARE
from tests.judges.program import ROOT

CANARY = "canary"
# Line 1 installs the hooks; what is provoked stands from line 2 on.
INSTALLED = "import sys; from sink import hooks; hooks.install(); text = sys.stdin.read()\n"


def provoked(code: str, *options: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own; the canary comes on stdin, so that no line of code holds it."""
    done = subprocess.run(
        [sys.executable, *options, "-c", INSTALLED + code], input=CANARY, capture_output=True, text=True, check=False,
        cwd=ROOT, timeout=60, **given,
    )  # fmt: skip
    assert CANARY not in done.stderr + done.stdout
    return done


def said(code: str, *options: str) -> str:
    """What it said; it came to its end, and Python itself printed nothing."""
    done = provoked(code, *options)
    assert (done.returncode, done.stdout) == (0, ""), done
    return done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ValueError(text)", "ValueError at <string>:2"),
        ("def f(): raise KeyError({text: 1})\nf()", "KeyError at <string>:3 > <string>:2"),
        ("try: int(text)\nexcept ValueError as error: raise TypeError(text) from error", "TypeError at <string>:3"),
        ("raise ExceptionGroup(text, [ValueError(text)])", "ExceptionGroup at <string>:2"),
        ("class E(Exception):\n def __str__(self): raise ValueError(text)\nraise E(text)", "E at <string>:4"),
        ("exec(compile('1/0', '/var/log/' + 'module.py', 'exec'))", "ZeroDivisionError at <string>:2 > module.py:1"),
        ("sys.stderr = None\nraise ValueError(text)", None),
    ],
)
def test_an_error_that_nobody_takes(code: str, words: str | None) -> None:
    done = provoked(code)
    assert done.returncode == SOFTWARE
    assert done.stderr == ("" if words is None else f"postsink: a bug: {words}; please report this line\n")


def test_stderr_that_is_closed() -> None:
    assert provoked("import os; os.close(2)\nraise ValueError(text)").returncode == SOFTWARE


THREAD = (
    "import threading\nthread = threading.Thread(target={}, args=(text,), name=text)\nthread.start(); thread.join()"
)
LOGGING = "import logging\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            THREAD.format("int"),
            r"a bug: ValueError in a thread at threading.py:\d+ > threading.py:\d+; please report this line",
        ),
        (THREAD.format("sys.exit"), ""),
        (
            "class C:\n def __repr__(self): return text\n def __del__(self): raise ValueError(text)\nC()",
            r"a bug: ValueError that nothing could take at <string>:4; please report this line",
        ),
        (
            "import atexit\natexit.register(int, text)",
            r"a bug: ValueError that nothing could take; please report this line",
        ),
        ("import warnings\nwarnings.warn(text)", r"a warning: UserWarning at <string>:3"),
        (
            "import warnings\nwarnings.simplefilter('always')\nwarnings.warn(text, DeprecationWarning)",
            r"a warning: DeprecationWarning at <string>:4",
        ),
        (
            "import warnings\nwarnings.simplefilter('always')\nopen('/dev/null')",
            r"a warning: ResourceWarning at <string>:4",
        ),
        (LOGGING + "logging.getLogger('psycopg').warning('got %r', text)",
         r"a warning: WARNING of psycopg at <string>:3"),
        (LOGGING + "logging.getLogger('psycopg').info('got %r', text)", ""),
        (LOGGING + "logging.getLogger('x.y').error('%d', text)", r"a warning: ERROR of x.y at <string>:3"),
        (
            LOGGING + "try: int(text)\nexcept ValueError: logging.getLogger('x').exception('of %s', text)",
            r"a warning: ERROR of x at <string>:4",
        ),
        (
            # A handler of a library's own that can't format its record.
            LOGGING + "logging.getLogger('x').addHandler(logging.StreamHandler())\n"
            "logging.getLogger('x').error('%d', text)", "",
        ),
        (
            "from concurrent.futures import Future\nfuture = Future()\n"
            "future.add_done_callback(lambda done: int(done.result()))\nfuture.set_result(text)",
            r"a warning: ERROR of concurrent.futures at _base.py:\d+",
        ),
        (
            "import asyncio\nasync def left():\n asyncio.get_running_loop().call_soon(int, text)\n"
            " await asyncio.sleep(0)\nasyncio.run(left())",
            r"a warning: ERROR of asyncio at base_events.py:\d+",
        ),
    ],
)  # fmt: skip
def test_what_goes_on_says_one_line_at_most(code: str, words: str) -> None:
    assert re.fullmatch(f"postsink: {words}\n" if words else "", said(code))


def test_a_voice_of_another() -> None:
    """As a detached daemon has one."""
    done = provoked("hooks.speak_by(lambda words: print('said', words.partition(' at ')[0], flush=True))\nint(text)")
    assert (done.returncode, done.stderr, done.stdout) == (SOFTWARE, "", "said a bug: ValueError\n")
