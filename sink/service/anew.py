"""Begins the program anew in the same process: what it held in memory is gone then, as Python alone can't promise.

Whoever destroys a key wants that. Process id, standard files and what is handed down stay; the new program gets what
opened the keyring through a socket, since it may have no right, or no terminal, to get it again.
"""

import fcntl
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import sink
from sink.keys.seal import Secret
from sink.service.sockets import Left

TYPED, READ = b"t", b"r"  # kinds of secrets
MOST = 1 << 16  # bytes of one
LEAST = 100  # descriptors below it are for the sockets, of which listen: names few


def begin_anew(secret: Secret | None, words: list[str], left: Left | None = None) -> NoReturn:
    """Become `postsink WORDS --again FD`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # an ignored signal stays so; a caught one would end it
    # No pipe: until the new program has hardened itself, its user could open that in /proc/PID/fd.
    near, far = socket.socketpair()
    if secret is not None:
        far.sendall((TYPED if secret.typed else READ) + secret.value)
    far.close()
    hand = fcntl.fcntl(near, fcntl.F_DUPFD, LEAST)  # out of the sockets' way
    if left is not None:
        left.hand_down()
    os.set_inheritable(hand, True)
    # It may have been started by a name that leads nowhere from here.
    os.environ["PYTHONPATH"] = str(Path(sink.__file__).parents[1])
    os.execv(sys.executable, [sys.executable, "-m", "sink", *words, "--again", str(hand)])


def taken_over(hand: int) -> Secret | None:
    """Return what the program before left."""
    try:
        with open(hand, "rb") as file:
            found = file.read(MOST)
    except OSError:
        return None
    return Secret(found[1:], typed=found[:1] == TYPED) if found else None
