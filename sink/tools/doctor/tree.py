"""A host's files, found from one root folder, such as the mount point of an image; nothing outside it is ever read.

The kernel would take an absolute link of an image for one of this machine, so links are followed here, inside the root.
What can't be read is remembered: doctor says so, since it can't vouch for it.
"""

import errno
import fnmatch
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

MOST_BYTES: Final = 1 << 20  # ours, of one configuration file
_MOST_READ: Final = 1 << 25  # bytes, ours, of all of them
MOST_FOUND: Final = 2000  # ours, files of one pattern
_MOST_LINKS: Final = 40  # as the kernel's path_resolution(7)
_MISSING: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_NOT_FOLLOWED: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_WILD: Final = re.compile(r"[*?\[]")
_SCREEN: Final = re.compile(r"/dev/(?:null|x?console|tty\w*|vcs\w*|pts/\d+)")


class Place(NamedTuple):
    """A line of a file, as the host names it; no line: the file as a whole."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(slots=True)
class Tree:
    """A root folder. Paths are absolute ones of the host; a relative one starts at its root."""

    root: Path
    refused: dict[str, str] = field(default_factory=dict)  # path -> why it could not be read
    _read: int = 0  # bytes

    def real(self, path: str) -> Path:
        """Return where a path leads on this machine, all its links followed inside the root. Raises OSError."""
        pending = _parts(path)[::-1]
        done: list[str] = []
        links = 0
        while pending:
            name = pending.pop()
            if name == "..":
                del done[-1:]  # the root's parent is the root
                continue
            try:
                target = os.readlink(self.root.joinpath(*done, name))
            except (OSError, ValueError):  # it is no link, or not there
                done.append(name)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith("/"):
                done.clear()
            pending += _parts(target)[::-1]
        return self.root.joinpath(*done)

    def status(self, path: str) -> os.stat_result | None:
        """Return what is known of a file or folder, its links followed; None where it is not there."""
        try:
            return os.lstat(self.real(path))
        except ValueError:  # a NUL in the name
            return None
        except OSError as error:
            self._refuse(path, error)
            return None

    def has(self, path: str) -> bool:
        """Whether something is there."""
        return self.status(path) is not None

    def has_file(self, path: str) -> bool:
        """Whether a regular file is there."""
        status = self.status(path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def has_folder(self, path: str) -> bool:
        """Whether a folder is there."""
        status = self.status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def link(self, path: str) -> str:
        """Return where a link itself points to, or nothing."""
        folder, _, name = path.rstrip("/").rpartition("/")
        try:
            return os.readlink(self.real(folder) / name)
        except (OSError, ValueError):
            return ""

    def descriptor(self, path: str) -> int | None:
        """Return a descriptor of a regular file, or None; whoever takes it closes it."""
        try:
            number = os.open(self.real(path), os.O_RDONLY | _NOT_FOLLOWED)
        except ValueError:
            return None
        except OSError as error:
            self._refuse(path, error)
            return None
        mode = os.fstat(number).st_mode
        if stat.S_ISREG(mode):
            return number
        os.close(number)
        if not stat.S_ISCHR(mode):  # a link to /dev/null means: an empty file
            self.refused[path] = "is no regular file"
        return None

    def text(self, path: str) -> str | None:
        """Return a configuration file's text; None where there is none, or where it can't be read."""
        number = self.descriptor(path)
        if number is None:
            return None
        try:
            with open(number, "rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            self._refuse(path, error)
            return None
        self._read += len(data)
        if len(data) > MOST_BYTES or self._read > _MOST_READ:
            self.refused[path] = f"is larger than {MOST_BYTES >> 20} MiB, or all files together are too large"
            return None
        if b"\0" in data:
            self.refused[path] = "holds bytes that are no text"
        return data.decode("utf-8", errors="surrogateescape")

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, in order of their bytes, as programs without a locale read them."""
        try:
            return sorted(os.listdir(self.real(folder)), key=os.fsencode)
        except ValueError:
            return []
        except OSError as error:
            self._refuse(folder, error)
            return []

    def lacks(self, pattern: str) -> bool:
        """Whether a file is named, not a pattern of files, and is not there."""
        return not _WILD.search(pattern) and not self.has(pattern) and pattern not in self.refused

    def glob(self, pattern: str) -> list[str]:
        """Return what a pattern of glob(7) matches, in order; a name that begins with a dot only by a dot."""
        found = ["/"]
        for part in _parts(pattern):
            found = [path for folder in found for path in self._step(folder, part)]
            if len(found) > MOST_FOUND:
                self.refused[pattern] = f"matches more than {MOST_FOUND} files"
                return found[:MOST_FOUND]
        return found if pattern else []

    def _step(self, folder: str, part: str) -> list[str]:
        base = folder.rstrip("/")
        if not _WILD.search(part):
            return [f"{base}/{part}"] if self.has(f"{base}/{part}") else []
        names = self.names(folder) if self.has_folder(folder) else []
        return [
            f"{base}/{name}" for name in names
            if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
        ]  # fmt: skip

    def _refuse(self, path: str, error: OSError) -> None:
        if error.errno not in _MISSING:
            self.refused[path] = f"can't be read ({os.strerror(error.errno or 0)})"


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def is_screen(path: str) -> bool:
    """Whether a path is of a terminal, or of nothing: what is written there is on no disk."""
    return _SCREEN.fullmatch(path) is not None


def shown(text: str, most: int = 80) -> str:
    """Return text of a configuration as it can be printed: one line, no control characters, not endless."""
    plain = "".join(char if char.isprintable() else "?" for char in text)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
