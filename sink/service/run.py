"""`postsink run`: starts the daemon, in the foreground or, with --daemonize, detached."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import daemon
from daemon.pidfile import TimeoutPIDLockFile
from lockfile import LockFailed, LockTimeout

from sink import hardening, privileges, rootonly
from sink.config import Config
from sink.fault import OK, TEMPFAIL, USAGE, Fault
from sink.installation import Opened, unlock_keyring
from sink.service.anew import NOTHING, Heritage, begin_anew, taken_over
from sink.service.daemon import Daemon
from sink.service.live import Live
from sink.service.words import say, to_syslog

READY = b"1"  # what the detached daemon says to the process that started it


class Way(NamedTuple):
    """How the daemon was started."""

    config: Path | None
    stdin: bool
    daemonize: bool
    pid_file: Path | None
    again: int | None  # the descriptor on which the program before, in this process, left what opened the keyring

    def words(self) -> list[str]:
        """Return the command line that starts it so."""
        found = ["run"] if self.config is None else ["--config", str(self.config), "run"]
        found += ["--stdin"] * self.stdin + ["--daemonize"] * self.daemonize
        return found if self.pid_file is None else [*found, "--pid-file", str(self.pid_file)]


def run(load: Callable[[], Config], way: Way) -> int:
    """Serve; return the exit status. load reads the config, now and at each reload."""
    _, stdin, daemonize, pid_file, again = way
    if daemonize and stdin:
        raise Fault(USAGE, "a detached daemon has no standard input; leave --stdin or --daemonize out")
    if pid_file is not None and not daemonize:
        raise Fault(USAGE, "--pid-file is for --daemonize; leave it out")
    if again is not None:
        with _unattended(way) if daemonize else nullcontext():
            return _serve(load, way, lambda: None, *_opened(load, taken_over(again)))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the daemon is there to read the config anew
    # A passphrase is asked for while there is a terminal.
    config, opened, _ = _opened(load, NOTHING)
    if not daemonize:
        return _serve(load, way, lambda: None, config, opened)
    Live(config, opened).close()  # what is wrong is said while there is somebody to read it
    waiting, ready = os.pipe()
    if os.fork():
        return _started(waiting, ready)
    os.close(waiting)
    with ExitStack() as detached:
        _detach(detached, pid_file, ready)
        detached.enter_context(_unattended(way))
        return _serve(load, way, lambda: os.write(ready, READY), config, opened)


def _opened(load: Callable[[], Config], heritage: Heritage) -> tuple[Config, Opened, int | None]:
    config = load()
    privileges.become_owner(config)
    hardening.lock()
    return config, unlock_keyring(config, heritage.secret), heritage.lock


@contextmanager
def _unattended(way: Way) -> Iterator[None]:
    """Speak to syslog."""
    to_syslog()
    try:
        yield
    except Fault as fault:
        say(str(fault))  # stderr is gone
        raise
    finally:
        if way.again is not None and way.pid_file is not None:
            with suppress(OSError):  # it was made by the program before
                way.pid_file.unlink()


def _started(waiting: int, ready: int) -> int:
    """Wait until the detached daemon is ready; it hangs up where it fails."""
    os.close(ready)
    if os.read(waiting, 1) == READY:
        return OK
    raise Fault(TEMPFAIL, "the detached daemon did not start; run it without --daemonize to see why")


def _serve(
    load: Callable[[], Config], way: Way, tell: Callable[[], object], config: Config, opened: Opened,
    lock: int | None = None,
) -> int:  # fmt: skip
    missing = hardening.lock()  # again: a fork has undone it
    if missing:
        say(missing)
    live = Live(config, opened, lock)
    try:
        served = Daemon(config, live, load, stdin=way.stdin)
    except BaseException:
        live.close()
        raise
    status = served.run(tell)
    if served.left is not None:
        say("goes on as a new program, which knows nothing of what is destroyed")
        heritage, left = served.left
        begin_anew(heritage, way.words(), left)
    return status


def _lives(number: int | None) -> bool:
    """Tell whether a process is there."""
    if number is None:
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _detach(stack: ExitStack, pid_file: Path | None, ready: int) -> None:
    lock = None if pid_file is None else TimeoutPIDLockFile(str(pid_file.absolute()), 0)
    if lock is not None and lock.is_locked() and not _lives(lock.read_pid()):
        lock.break_lock()  # of one that was killed
    kept = [ready, *rootonly.held()]
    try:
        stack.enter_context(daemon.DaemonContext(umask=0o077, pidfile=lock, signal_map={}, files_preserve=kept))
    except LockTimeout:
        raise Fault(TEMPFAIL, f"{pid_file} is held by another postsink; stop that first") from None
    except LockFailed:
        raise Fault(TEMPFAIL, f"can't write {pid_file}; look at its folder") from None
