"""`postsink run`: starts the daemon, in the foreground or, with --daemonize, detached."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import daemon
from daemon.pidfile import TimeoutPIDLockFile
from lockfile import LockFailed, LockTimeout

from sink.config import Config
from sink.fault import TEMPFAIL, USAGE, Fault
from sink.installation import open_keyring
from sink.keys.epochs import Keyring
from sink.service.daemon import Daemon
from sink.service.live import Live
from sink.service.words import to_syslog


def run(load: Callable[[], Config], *, stdin: bool, daemonize: bool, pid_file: Path | None) -> int:
    """Serve; return the exit status. load reads the config, now and at each reload."""
    if daemonize and stdin:
        raise Fault(USAGE, "a detached daemon has no standard input; leave --stdin or --daemonize out")
    if pid_file is not None and not daemonize:
        raise Fault(USAGE, "--pid-file is for --daemonize; leave it out")
    config = load()
    keys = open_keyring(config)  # a passphrase is asked for while there is a terminal
    if not daemonize:
        return _serve(config, keys, load, stdin=stdin)
    Live(config, keys).close()  # what is wrong is said while there is somebody to read it
    with ExitStack() as detached:
        _detach(detached, pid_file)
        to_syslog()
        return _serve(config, keys, load, stdin=False)


def _serve(config: Config, keys: Keyring, load: Callable[[], Config], *, stdin: bool) -> int:
    live = Live(config, keys)
    try:
        served = Daemon(config, live, load, stdin=stdin)
    except BaseException:
        live.close()
        raise
    return served.run()


def _detach(stack: ExitStack, pid_file: Path | None) -> None:
    lock = None if pid_file is None else TimeoutPIDLockFile(str(pid_file.absolute()), 0)
    try:
        stack.enter_context(daemon.DaemonContext(umask=0o077, pidfile=lock, signal_map={}))
    except LockTimeout:
        raise Fault(TEMPFAIL, f"{pid_file} is held by another postsink; stop that first") from None
    except LockFailed:
        raise Fault(TEMPFAIL, f"can't write {pid_file}; look at its folder") from None
