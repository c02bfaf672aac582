"""The search notices what it is for: each way out of a process, and each bug that is put into the program."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.leak import planted, ways
from tests.leak.ground import Ground
from tests.leak.test_leak import CASES

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")
LINE = b"to=<" + planted.named("recipient").encode() + b"@" + planted.named("recipient_domain").encode() + b">"


def dumps_core(folder: Path) -> bool:
    """Whether the kernel writes a core of a process that may leave one."""
    code = f"import os; os.chdir({str(folder)!r}); " + ways.WAYS["a core"].replace("; os.kill", "\nos.kill")
    child = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", code], dict(os.environ))
    status = os.waitpid(child, 0)[1]
    for core in folder.glob("core*"):
        core.unlink()
    return os.WCOREDUMP(status)


@pytest.fixture
def cores(tmp_path: Path) -> Iterator[None]:
    """A machine that writes cores: for all of it core_pattern is another one meanwhile, if it must be."""
    if dumps_core(tmp_path):
        yield
        return
    before = CORE_PATTERN.read_text()
    try:
        CORE_PATTERN.write_text("core")
    except OSError:
        pytest.skip("no core is written here, and kernel.core_pattern can't be changed")
    try:
        if not dumps_core(tmp_path):
            pytest.skip("no core is written here: the limit on its size is 0, and can't be raised")
        yield
    finally:
        CORE_PATTERN.write_text(before)


def numbered(code: str) -> str:
    """Put in the numbers of system calls that Python has no name for."""
    for name, by_machine in ways.NUMBERS.items():
        code = code.replace("{" + name + "}", str(by_machine.get(platform.machine(), -1)))
    return code.replace("{io_uring}", str(ways.IO_URING_SETUP))


def bare(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", ways.BEFORE + numbered(code)]


@pytest.mark.parametrize("way", ways.WAYS)
def test_a_way_out_is_found(
    way: str, ground: Ground, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    if way == "a core":
        request.getfixturevalue("cores")
    with ground.drive() as drive:
        drive.watch.run(*bare(ways.WAYS[way]), drive.log("fields"), input=LINE + b"\n")
        found = drive.verdict()
    record_property("searched", f"found: {found.places}")
    assert found.leaks != []
    assert way != "a core" or "the core of process" in found.places


@pytest.mark.parametrize("way", ways.LIVING)
def test_what_a_living_process_shows_is_found(
    way: str, ground: Ground, record_property: Callable[[str, object], None]
) -> None:
    with ground.drive() as drive:
        code = ways.LIVING[way] + "\nprint('ready', flush=True); sys.stdin.read()"
        with subprocess.Popen(
            [*drive.watch.trace.prefix, *bare(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            cwd=drive.watch.root, env=drive.watch.environment,
        ) as process:  # fmt: skip
            assert process.stdin and process.stdout
            process.stdin.write(LINE + b"\n")
            assert process.stdout.readline() == b"ready\n"
            drive.watch.look_at(process.pid)
            process.stdin.close()
            assert process.wait(20) == 0
        found = drive.verdict()
    record_property("searched", f"found: {found.places}")
    assert found.leaks != []


def test_what_is_clean_is_not_found(ground: Ground) -> None:
    """Else all of the above would prove nothing."""
    code = 'os.write(unlinked(), b"x" * 99); open("left", "w").write("fbd086ecaabeda62b9623f6ea6f3dac6")'
    with ground.drive() as drive:
        drive.watch.run(*bare(code), drive.log("fields"), input=LINE + b"\n")
        found = drive.verdict()
    assert found.leaks == []
    assert found.calls > 50


# -- bugs in the program

# Each defines leak(), which gets a line with a canary.
WITH_A_LINE = """
import os, sys
from sink.core.pipeline import Pipeline
take = Pipeline.take
def taken(self, lines):
    for one in lines:
        if b": to=<" in one:
            leak(one.decode(), self)
            break
    return take(self, lines)
Pipeline.take = taken
"""
BUGS: dict[str, tuple[str, str]] = {  # by name: which case is played, and with what
    "printed for a developer": ("import fields", "def leak(text, pipe): print('DEBUG', text, file=sys.stderr)"),
    "a log file": ("import fields", "def leak(text, pipe): open('debug.log', 'a').write(text)"),
    "a queue id as a file's name": ("import fields", "def leak(text, pipe): open(text.split(': ')[1], 'w').close()"),
    "a temporary file": (
        "import gz fields",
        "import tempfile\ndef leak(text, pipe): tempfile.TemporaryFile().write(text.encode())",
    ),
    "a copy of the archive": (
        "import gz fields",
        "import shutil\nfrom sink.sources.archive import Archive\nlines = Archive.lines\n"
        "def lined(self):\n    for found in lines(self):\n"
        "        open('copy', 'ab').write(b'\\n'.join(found))\n        yield found\n    os.unlink('copy')\n"
        "Archive.lines = lined\ndef leak(text, pipe): pass",
    ),
    "a metric by sender": (
        "import --json --stream daily log",
        "def leak(text, pipe): pipe.counts['not_understood:' + text.split('<')[1]] += 1",
    ),
    "a label of Prometheus by sender": (
        "run: asked what it has done",
        "def leak(text, pipe): pipe.counts['not_understood:' + text.split('<')[1].split('>')[0]] += 1",
    ),
    "a bar that shows the line": (
        "import on a terminal",
        "from sink.tools.progress import Progress\n"
        "def leak(text, pipe): Progress.show = lambda self, done: sys.stderr.write('\\r' + text[-60:])",
    ),
    "a traceback": ("a bug: import", "def leak(text, pipe): sys.excepthook = sys.__excepthook__"),
    "an error's words": (
        "import fields",
        "import sqlite3\nstore = sqlite3.connect(':memory:')\ndef leak(text, pipe):\n"
        "    try: store.execute('SELECT \"%s\"()' % text)\n"
        "    except sqlite3.Error as error: print(error, file=sys.stderr)",
    ),
    "a library's log": (
        "import fields",
        "import logging\ndef leak(text, pipe): logging.basicConfig(); logging.warning('got %s', text)",
    ),
    "a warning": (
        "what Python says by itself",
        "import warnings\nfrom sink import hooks\ninstall = hooks.install\nshow = warnings.showwarning\n"
        "def shown():\n    install()\n    warnings.showwarning = show\nhooks.install = shown\n"
        "def leak(text, pipe): pass",
    ),
    "a thread's error": (
        "what Python says by itself",
        "import threading\nfrom sink import hooks\ninstall = hooks.install\n"
        "def threaded():\n    install()\n    threading.excepthook = threading.__excepthook__\n"
        "hooks.install = threaded\ndef leak(text, pipe): pass",
    ),
    "a status for systemd": (
        "run: told to systemd",
        "from sink.service.notify import Notifier\nkept = []\nsend = Notifier.send\n"
        "Notifier.send = lambda self, *states: send(self, *states, *('STATUS=' + one for one in kept))\n"
        "def leak(text, pipe): kept.append(text)",
    ),
    "words of the detached daemon": (
        "run --daemonize",
        "from sink.service import words\ndef leak(text, pipe): words.say(text)",
    ),
    "argv of the unpacking program": (
        "import zst",
        "import subprocess\ndef leak(text, pipe): subprocess.run(['zstd', '--version', text], stdout=-3, stderr=-3)",
    ),
    "an environment that a child inherits": (
        "import zst",
        "def leak(text, pipe): os.environ['LAST'] = text; import subprocess; subprocess.run('true')",
    ),
    "base64 in the store": (
        "import fields",
        "import base64\nfrom sink.stores.sqlite import SqliteStore\n"
        "def leak(text, pipe):\n    commit = SqliteStore.commit\n    def committed(self, *given):\n"
        "        word = base64.b64encode(text.encode()).decode()\n"
        "        self._connection.execute('INSERT OR REPLACE INTO setting VALUES (?, ?)', ('last', word))\n"
        "        return commit(self, *given)\n    SqliteStore.commit = committed",
    ),
    "an address that the store deletes again": (
        "import fields",
        "from sink.stores.sqlite import SqliteStore\n"
        "def leak(text, pipe):\n    commit = SqliteStore.commit\n    def committed(self, *given):\n"
        "        self._connection.execute('INSERT INTO setting VALUES (?, ?)', ('last', text))\n"
        "        self._connection.execute('DELETE FROM setting WHERE name = ?', ('last',))\n"
        "        return commit(self, *given)\n    SqliteStore.commit = committed",
    ),
    "raw text in an open message": (
        "run: lines that are confirmed",
        "from sink.stores.sqlite import SqliteStore\n"
        "def leak(text, pipe):\n    write = SqliteStore._write\n    def written(self, batch, stream):\n"
        "        batch.puts[b'last'] = text.encode()\n        return write(self, batch, stream)\n"
        "    SqliteStore._write = written",
    ),
    "a pseudonym without a key": (
        "import fields",
        "import hashlib, sys\nfrom sink.core import addressbook, pseudonym\n"
        "pseudonym.keyed = lambda key, width=16: lambda data: hashlib.sha256(data).digest()[:width]\n"
        "for name in ('keyed',):\n    for module in list(sys.modules.values()):\n"
        "        if getattr(module, '__name__', '').startswith('sink') and hasattr(module, name):\n"
        "            setattr(module, name, pseudonym.keyed)\ndef leak(text, pipe): pass",
    ),
    "half of it in each of two writes": (
        "import fields",
        "def leak(text, pipe):\n    for part in (text[:len(text) // 2], text[len(text) // 2:]):\n"
        "        os.write(2, part.encode())",
    ),
    "upper case": ("import fields", "def leak(text, pipe): print(text.upper(), file=sys.stderr)"),
    "half hidden": (
        "import fields",
        "def leak(text, pipe):\n    word = text.split('<')[1].split('@')[0]\n"
        "    print(word[:8] + '*' * len(word[8:]) + '@***', file=sys.stderr)",
    ),
    "escapes of JSON": (
        "import fields",
        "def leak(text, pipe): print(''.join(f'\\\\u{ord(c):04x}' for c in text), file=sys.stderr)",
    ),
    "what explain shows, on stderr too": ("explain log", "def leak(text, pipe): print(text, file=sys.stderr)"),
    "a line that the relay keeps": (
        "omprog",
        "from sink.service.relay import Relay\nhand_over = Relay.hand_over\n"
        "def handed(self, line):\n    open('/var/tmp/postsink-leak-relay', 'wb').write(line)\n"
        "    os.unlink('/var/tmp/postsink-leak-relay')\n    return hand_over(self, line)\n"
        "Relay.hand_over = handed\ndef leak(text, pipe): pass",
    ),
    "a name of the process": (
        "run: plain lines",
        "import ctypes\ndef leak(text, pipe):\n"
        "    ctypes.CDLL(None).prctl(15, text.split('<')[1].encode()[:15], 0, 0, 0)",
    ),
    "a core": (
        "run: SIGSEGV",
        "from sink import hardening\nhardening.hide = lambda: None\ndef leak(text, pipe): pass",
    ),
    "a key": (
        "keys list",
        "from sink.keys import keyring\nunlock = keyring.unlock\n"
        "def unlocked(*given, **named):\n    found = unlock(*given, **named)\n"
        "    print(found[0].epochs[0].secret.hex(), file=sys.stderr)\n    return found\n"
        "keyring.unlock = unlocked\ndef leak(text, pipe): pass",
    ),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found(
    bug: str, ground: Ground, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    name, code = BUGS[bug]
    case = next(case for case in CASES if case.name == name)
    if bug == "a core":
        request.getfixturevalue("cores")
    with ground.drive(*case.allowed, keys=case.keys, store=case.store) as drive:
        drive.bug = code + WITH_A_LINE
        with suppress(AssertionError), drive.stack:  # the drive may notice, too
            case.play(drive)
        found = drive.verdict()
    record_property("searched", f"found: {found.places}")
    assert found.leaks != []
    assert bug != "a core" or "the core of process" in found.places
