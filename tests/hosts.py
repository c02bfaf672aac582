"""Puts a host of tests/data/hosts together: a folder that `postsink doctor --root` can look at.

    python -m tests.hosts NAME FOLDER     makes one, to look at it by hand
    python -m tests.hosts --pieces        writes our pieces of syslog-conf anew into the clean hosts

tests/data/hosts/README.md tells what a host's folder holds.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sink.tools.enabling import snippets

HOSTS = Path(__file__).parent / "data" / "hosts"
RULES = "HOST"  # the file of a folder that is no part of the host

# Where our pieces are on a clean host, and what they are made of.
PIECES = {
    "etc/rsyslog.d/10-postsink.conf": "rsyslog/10-postsink.conf",
    "etc/rsyslog.d/20-postsink-log.conf": "rsyslog/20-postsink-log.conf",
    "etc/syslog-ng/postsink.conf": "syslog-ng/postsink.conf",
    "etc/syslog-ng/postsink-log.conf": "syslog-ng/postsink-log.conf",
    "etc/systemd/journald.conf.d/zz-postsink-rsyslog.conf": "journald/journald.conf",
    "etc/systemd/journald.conf.d/zz-postsink-syslog-ng.conf": "journald/journald.conf",
    "etc/systemd/journald.conf.d/zz-postsink-journald.conf": "journald/journald.conf",
    "etc/systemd/system/postfix.service.d/postsink.conf": "journald/postfix.service.conf",
    "etc/tmpfiles.d/postsink.conf": "journald/tmpfiles.conf",
}
TOKEN = "k7Qm2Zx9RtW4bN8s"


@dataclass
class Host:
    """What the file HOST of a folder says."""

    name: str
    like: str = ""
    finds: list[tuple[str, str]] = field(default_factory=list)  # id, place
    steps: list[tuple[str, str]] = field(default_factory=list)  # word, the rest of its line

    @property
    def is_clean(self) -> bool:
        return not self.finds


def read(name: str) -> Host:
    host = Host(name)
    for line in (HOSTS / name / RULES).read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, rest = line.partition(": ")
        if word == "like":
            host.like = rest
        elif word == "finds":
            kind, _, place = rest.partition(" ")
            host.finds.append((kind, place))
        else:
            assert word in STEPS, f"{name}: {word} is no step"
            host.steps.append((word, rest))
    return host


def names() -> list[str]:
    return sorted(path.parent.name for path in HOSTS.glob(f"*/{RULES}"))


def make(name: str, root: Path) -> None:
    """Put a host together: what it is like, its own files over that, then the steps that its HOST tells."""
    host = read(name)
    if host.like:
        make(host.like, root)
    shutil.copytree(HOSTS / name, root, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns(RULES))
    for path in [root, *root.rglob("*")]:  # as an installation has them, whatever the umask of who made the checkout
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    for word, rest in host.steps:
        STEPS[word](root, rest)


def make_file(root: Path, rest: str) -> None:
    """make: MODE PATH TEXT: a file that git can't hold as it is."""
    mode, name, text = [*rest.split(" ", 2), "x"][:3]
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.encode().decode("unicode_escape") + "\n")
    path.chmod(int(mode, 8))


def set_mode(root: Path, rest: str) -> None:
    """mode: MODE PATH"""
    mode, name = rest.split(" ")
    (root / name).chmod(int(mode, 8))


def remove(root: Path, rest: str) -> None:
    """remove: PATH"""
    path = root / rest
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def make_folder(root: Path, rest: str) -> None:
    """folder: PATH"""
    (root / rest).mkdir(parents=True)


def link(root: Path, rest: str) -> None:
    """link: PATH TARGET"""
    name, target = rest.split(" ")
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def append(root: Path, rest: str) -> None:
    """append: PATH LINE"""
    name, line = rest.split(" ", 1)
    path = root / name
    path.write_text(path.read_text() + line.replace("\\n", "\n") + "\n")


def replace(root: Path, rest: str) -> None:
    """replace: PATH OLD => NEW, where OLD stands once; \\n is a line break."""
    name, change = rest.split(" ", 1)
    old, new = (text.replace("\\n", "\n") for text in change.split(" => "))
    path = root / name
    text = path.read_text()
    assert text.count(old) == 1, f"{name}: {text.count(old)} times {old!r}"
    path.write_text(text.replace(old, new))


STEPS = {
    "make": make_file, "mode": set_mode, "remove": remove, "folder": make_folder, "link": link, "append": append,
    "replace": replace,
}  # fmt: skip


def piece(name: str) -> bytes:
    """What `enable` writes there, on a host whose daemon has a user of its own."""
    return snippets.marked(snippets.text(PIECES[name]).replace(" USER ", " _postsink "))


def pieces() -> dict[Path, bytes]:
    """Our pieces in all hosts that are like no other one, with what they must be."""
    return {
        path: piece(name) for host in names() if not read(host).like for name in PIECES
        if (path := HOSTS / host / name).exists()
    }  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:] == ["--pieces"]:
        for found, data in pieces().items():
            found.write_bytes(data)
    else:
        make(sys.argv[1], Path(sys.argv[2]))
