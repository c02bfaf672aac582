"""Opens the sockets that the daemon listens on: those that systemd hands down, and those that the config names."""

import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sink.config import Listen
from sink.fault import CANTCREATE, CONFIG, NOPERM, TEMPFAIL, Fault

FIRST_FD = 3  # of those that systemd hands down [sd_listen_fds(3)]
OURS = "postsink-own"  # the name of one that this service made itself, before it began anew
BACKLOG = 64
_UCRED = struct.Struct("3i")  # pid, uid, gid [unix(7)]
_KINDS = {"stream": socket.SOCK_STREAM, "datagram": socket.SOCK_DGRAM}
_RECEIVE = 1 << 20  # bytes of datagrams that wait in the kernel


def handed_down() -> tuple[list[socket.socket], list[socket.socket]]:
    """Return the Unix sockets that systemd hands down, and those that Left did, and clear the environment."""
    mine = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    number = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if not mine or not number.isdecimal():
        return [], []
    found = [socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + int(number))]
    for one in found:
        os.set_inheritable(one.fileno(), False)
        one.setblocking(False)
        if one.family != socket.AF_UNIX or one.type not in _KINDS.values():
            raise Fault(CONFIG, "systemd hands down a socket that is no Unix one; correct the .socket unit")
    named = list(zip(found, names + [""] * len(found), strict=False))
    return [one for one, name in named if name != OURS], [one for one, name in named if name == OURS]


class Left(NamedTuple):
    """Listening sockets that outlive this program: those that systemd gave, and our own."""

    given: list[socket.socket]
    ours: list[socket.socket]

    @classmethod
    def of(cls, given: Sequence[socket.socket], listeners: Iterable[socket.socket]) -> "Left":
        """Return copies of sockets, so that these can be closed."""
        return cls([one.dup() for one in given], [one.dup() for one in listeners if one not in given])

    def hand_down(self) -> None:
        """Put them where the program that this process becomes at once looks for them [sd_listen_fds(3)]."""
        ends = [*self.given, *self.ours]
        # None of them may lie where another is to come.
        fds = [fcntl.fcntl(one, fcntl.F_DUPFD, FIRST_FD + len(ends)) for one in ends]
        for place, fd in enumerate(fds, FIRST_FD):
            os.dup2(fd, place, inheritable=True)
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(len(fds))
        os.environ["LISTEN_FDNAMES"] = ":".join(["unknown"] * len(self.given) + [OURS] * len(self.ours))


def opened(listen: Sequence[Listen], given: Sequence[socket.socket]) -> dict[str, socket.socket]:
    """Return the sockets to listen on, by path: those given, and of the config's those that are not among them."""
    found = {str(one.getsockname()): one for one in given}
    for wanted in listen:
        if str(wanted.path) not in found:
            found[str(wanted.path)] = bind(wanted)
    return found


def bind(listen: Listen) -> socket.socket:
    """Make a socket of the config; raises Fault where its place is taken or forbidden."""
    one = socket.socket(socket.AF_UNIX, _KINDS[listen.kind])
    try:
        _clear(listen.path)
        mask = os.umask(0o777)  # nobody may connect before owner and mode are right
        try:
            one.bind(str(listen.path))
        finally:
            os.umask(mask)
        _own(listen)
        if listen.kind == "stream":
            one.listen(BACKLOG)
        else:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE)
    except (OSError, KeyError) as error:
        one.close()
        raise _refused(listen.path, error) from None
    except Fault:
        one.close()
        raise
    one.setblocking(False)
    return one


def _clear(path: Path) -> None:
    """Take away a socket that nobody listens on any more; what else stands there is left."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise Fault(CANTCREATE, f"{path} is in the way and no socket; move it, or listen: elsewhere")
    except FileNotFoundError:
        return
    for kind in _KINDS.values():
        with socket.socket(socket.AF_UNIX, kind) as probe:
            try:
                probe.connect(str(path))
            except OSError as error:
                if error.errno == errno.EPROTOTYPE:
                    continue
                break
        raise Fault(TEMPFAIL, f"somebody listens on {path} already; stop the other postsink first")
    path.unlink()


def check_kind(listen: Listen, one: socket.socket) -> None:
    """Hold an open socket against the config; raises Fault where it must be made anew."""
    if one.type != _KINDS[listen.kind]:
        raise Fault(CONFIG, f"another kind of socket at {listen.path} needs a restart of the daemon")


def hand_over(listen: Listen) -> None:
    """Give an open socket the owner and mode that the config names now; raises Fault where that is forbidden."""
    try:
        _own(listen)
    except (OSError, KeyError) as error:
        raise _refused(listen.path, error) from None


def _own(listen: Listen) -> None:
    user = pwd.getpwnam(listen.owner).pw_uid if listen.owner else -1
    group = grp.getgrnam(listen.group).gr_gid if listen.group else -1
    os.chown(listen.path, user, group)
    os.chmod(listen.path, listen.mode)


def _refused(path: Path, error: OSError | KeyError) -> Fault:
    if isinstance(error, KeyError):
        return Fault(CONFIG, f"owner or group of {path} does not exist; correct listen:")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Fault(NOPERM, f"no permission to make {path}; run this as a user who may, or listen: elsewhere")
    return Fault(CANTCREATE, f"can't listen on {path}; look at its folder, and at the length of its name")


def peer(connection: socket.socket) -> int:
    """Return the user id of the process at the other end, -1 where the kernel does not tell."""
    with suppress(OSError):
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(found)[1])
    return -1


def owner_of(path: str) -> int:
    """Return the user id that a socket's file belongs to, -1 where there is none."""
    try:
        return os.stat(path).st_uid
    except OSError:
        return -1
