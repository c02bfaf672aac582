"""Begins the program anew in the same process: what it held in memory is gone then, as Python alone can't promise.

Whoever destroys a key wants that. Process id, standard files and what is handed down stay; the new program gets what
opened the keyring through a socket, since it may have no right, or no terminal, to get it again, and the lock of the
live stream, so that nobody takes that meanwhile and nobody takes the old program for gone.

Who can't begin anew goes on, and says so: mail comes first. Signals that come in between wait: an exec() would undo
their handlers, and they would end the new program.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

import sink
from sink.keys.seal import Secret
from sink.service.sockets import Left

TYPED, READ = b"t", b"r"  # kinds of secrets
MOST = 1 << 16  # bytes of one
LEAST = 100  # descriptors below it are for the sockets, of which listen: names few
HELD = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


TRIAL = 30.0  # seconds that Python may need to start
LOADED = "import sink.service.direct, sink.service.run"


class Heritage(NamedTuple):
    """What a program leaves to the one that goes on in its place: what opened the keyring, and a held lock."""

    secret: Secret | None
    lock: int | None


NOTHING = Heritage(None, None)


def can_begin() -> bool:
    """Tell whether there would be a new program: root may have started this one, who is somebody else now."""
    try:
        words = [sys.executable, "-P", "-c", LOADED]
        done = subprocess.run(
            words, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=TRIAL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _environment() -> dict[str, str]:
    """Return the environment in which this very program is found: it may have been started by another name."""
    known = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    places = dict.fromkeys([str(Path(sink.__file__).parents[1]), *known])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def begin_anew(heritage: Heritage, words: list[str], left: Left | None = None) -> NoReturn:
    """Become `postsink WORDS --again FD`."""
    secret, lock = heritage
    # No pipe: until the new program has hardened itself, its user could open that in /proc/PID/fd.
    near, far = socket.socketpair()
    # Out of the sockets' way.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, LEAST) for end in (near, lock) if end is not None]
    hand = ends[0]
    far.sendall(b"%d " % (ends[1] if ends[1:] else -1))
    if secret is not None:
        far.sendall((TYPED if secret.typed else READ) + secret.value)
    far.close()
    if left is not None:
        left.hand_down()
    for end in ends:
        os.set_inheritable(end, True)
    # -P: nothing is loaded from the current folder.
    again = [sys.executable, "-P", "-m", "sink", *words, "--again", str(hand)]
    os.execve(sys.executable, again, _environment())


def taken_over(hand: int) -> Heritage:
    """Return what the program before left."""
    try:
        with open(hand, "rb") as file:
            number, _, found = file.read(MOST).partition(b" ")
        lock = int(number) if int(number) >= 0 else None
        if lock is not None:
            os.set_inheritable(lock, False)
    except (OSError, ValueError):
        return NOTHING
    return Heritage(Secret(found[1:], typed=found[:1] == TYPED) if found else None, lock)
