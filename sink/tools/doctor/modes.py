"""Who else may read or change what is secret: seal, keyring, store, tokens, tables, sockets, and their folders."""

import os
import re
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sink.config import Config, FileSeal
from sink.tools.doctor import units
from sink.tools.doctor.finding import Finding, found
from sink.tools.doctor.tree import Place, Tree, shown
from sink.tools.enabling.journal import SOCKET
from sink.tools.enabling.mail import TABLES

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH
_PASSWORD: Final = re.compile(r"(?i)password\s*=|://[^/\s@:]*:[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Modes:
    """The files that the config names; `tokens`: the file of the header tokens."""

    tree: Tree
    config: Config
    config_path: str
    tokens: Path | None

    def findings(self, folders: list[str], programs: list[tuple[str, Place]]) -> Iterator[Finding]:
        """Yield what is open; `folders` of Postfix, `programs` that syslog starts for us."""
        for path in self._seals():
            yield from self._open("seal-open", path, 0o400)
        yield from self._beside()
        yield from self._open("keyring-open", str(self.config.keyring), 0o600)
        yield from self._open("store-open", str(self.config.store), 0o600)  # with SQLite's own files beside it
        if self.tokens:
            yield from self._open("tokens-open", str(self.tokens), 0o600)
        for folder in folders:
            for table in TABLES:
                yield from self._open("table-open", f"{folder}/postsink_{table}", 0o600)
        if self.config.database and _PASSWORD.search(self.config.database):
            yield from self._open("config-open", self.config_path, 0o600)
        yield from self._folders()
        yield from self._sockets()
        if self.config.clear_ips:
            file = shown(str(self.config.clear_ips.path))
            words = f"addresses of clients are written to {file}, each for {self.config.clear_ips.keep} s"
            yield found("clear-ips", self.config_path, words)
        for program, place in programs:
            yield from self._program(program, place)

    def _seals(self) -> list[str]:
        """Return the files of the seal: those of the config, and those that the unit hands on as credentials."""
        paths = [str(seal.path) for seal in self.config.seal if isinstance(seal, FileSeal)]
        for line in units.unit(self.tree, "postsink.service").listed("Service", "LoadCredential"):
            _, colon, path = line.value.partition(":")
            paths += [path] if colon and path.startswith("/") else []
        return list(dict.fromkeys(paths))

    def _beside(self) -> Iterator[Finding]:
        folder = str(self.config.keyring.parent)
        for path in self._seals():
            if str(Path(path).parent) == folder and self.tree.has(path) and self.tree.has(str(self.config.keyring)):
                yield found("seal-beside-keyring", path, f"seal and keyring are both in {shown(folder)}")

    def _open(self, name: str, path: str, mode: int) -> Iterator[Finding]:
        """Find a file that group or others can do anything with, or that belongs to somebody else; and its copies,
        which have its name and something behind it.
        """
        folder, _, file = path.rpartition("/")
        for each in self.tree.names(folder or "/"):
            if each == file or (each.startswith(file) and not each[len(file)].isalnum()):
                yield from self._open_file(name, f"{folder}/{each}", mode)

    def _open_file(self, name: str, path: str, mode: int) -> Iterator[Finding]:
        status = self.tree.status(path)
        if status is None or not stat.S_ISREG(status.st_mode):
            return
        remedy = f"type: chmod {mode:04o} {shlex.quote(shown(path, 200))}"
        if status.st_mode & _OTHERS:
            words = f"its mode is {stat.S_IMODE(status.st_mode):04o}: {_who(status.st_mode)}"
            yield found(name, path, words, remedy=_then(name, remedy))
        if status.st_uid not in self._owners():
            words = "it belongs to another user than root and the daemon"
            yield found(name, path, words, remedy=_then(name, f"type: chown root {shlex.quote(shown(path, 200))}"))

    def _owners(self) -> set[int]:
        """Return whom a secret may belong to: root, the owner of the store's folder, and of a copy who made it."""
        folders = (self.tree.status("/"), self.tree.status(str(self.config.store.parent)))
        return {0, *(folder.st_uid for folder in folders if folder)}

    def _folders(self) -> Iterator[Finding]:
        files = [*map(Path, self._seals()), self.config.keyring, self.config.store, self.tokens]
        files += [each.path for each in self.config.listen]
        for folder in dict.fromkeys(str(file.parent) for file in files if file):
            status = self.tree.status(folder)
            if status and _changeable(status):
                words = f"its mode is {stat.S_IMODE(status.st_mode):04o}: {_who(status.st_mode & _WRITABLE)}"
                remedy = f"type: chmod go-w {shlex.quote(shown(folder, 200))}"
                yield found("folder-open", folder, words, remedy=remedy)

    def _sockets(self) -> Iterator[Finding]:
        """Find datagram sockets that everybody may write to; only that in journald's place must be so.

        On a stream socket the daemon asks the kernel who speaks.
        """
        for each in self.config.listen:
            if each.kind == "stream" or each.path == SOCKET:
                continue
            status = self.tree.status(str(each.path))
            is_there = status is not None and stat.S_ISSOCK(status.st_mode)
            mode = status.st_mode if status is not None and is_there else each.mode
            if mode & stat.S_IWOTH:
                words = f"everybody can write to the datagram socket {shown(str(each.path))}"
                yield found("socket-open", str(each.path) if is_there else self.config_path, words)

    def _program(self, program: str, place: Place) -> Iterator[Finding]:
        status = self.tree.status(program)
        if status and (_changeable(status) or status.st_uid not in self._owners()):
            words = f"syslog starts it ({place}), and others than root can change it"
            path = shlex.quote(shown(program, 200))
            yield found("program-open", program, words, remedy=f"type: chown root {path} && chmod go-w {path}")


def _changeable(status: os.stat_result) -> bool:
    """Whether others than the owner and root's group can write; a sticky folder keeps names that are there."""
    mode = status.st_mode & ~(stat.S_IWGRP if status.st_gid == 0 else 0)
    return bool(mode & _WRITABLE) and not mode & stat.S_ISVTX


def _who(mode: int) -> str:
    """Say who else may do what."""
    said = []
    for who, shift in (("the group", 3), ("everybody", 0)):
        bits = mode >> shift & 7
        does = [word for bit, word in ((4, "read"), (2, "write")) if bits & bit]
        said += [f"{who} can {' and '.join(does)}"] if does else []
    return ", ".join(said) or "the right to execute is too much"


def _then(name: str, remedy: str) -> str:
    return f"{remedy}, then make a new token" if name in ("tokens-open", "table-open") else remedy
