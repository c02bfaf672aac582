"""Raw lines from before: logs, their rotated copies, the persistent journal, queues on the disk.

A file is opened and looked for the mark of a Postfix line; nothing of what it holds is kept or said.
"""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedIOBase, BufferedReader
from itertools import chain
from typing import Final

from sink.tools.doctor.finding import Finding, found
from sink.tools.doctor.tree import Tree

_FOLDERS: Final = ("/var/log", "/var/log/mail", "/var/log/postfix", "/var/log/syslog-ng", "/var/spool/rsyslog",
                   "/var/lib/syslog-ng")  # fmt: skip
_LOGINS: Final = ("btmp", "wtmp", "lastlog", "faillog")  # who logged in, and no lines
_JOURNALS: Final = ("/var/log/journal/*/*.journal", "/var/log/journal/*/*.journal~")
# postfix/smtpd[9]: as a tag, also cut at the slash, and as RFC 5424 has it; or one of its daemons under another name.
# Not what `postfix reload` and the like print of themselves, and journald logs for the unit as Debian 13 has it.
_LINE: Final = re.compile(
    rb"\bpostfix(?!\[\d+\]: postfix/(?:postlog|postfix-script): )[\w.-]{0,40}(?:/[\w./-]{1,60})?(?:\[\d+\]: | \d+ - )"
    rb"|/(?:smtpd?|qmgr|cleanup|pickup|bounce|local|virtual|lmtp|pipe|error|postscreen)\[\d+\]: "
)
# What a scrubbed line of the daemon's log, which may come back into mail.log, has not (sink.core.masks): an address
# whose domain is no pseudonym, an IP address that a host can have. Raw lines without either are few, and tell less.
_RAW: Final = re.compile(
    rb"@(?!(?:[0-9a-f]{32}|id\.invalid)(?![\w.-]))"
    rb"|\[(?!127\.|2[45]\d\.|fd[0-9a-f]{2}:|::1\])(?=[0-9A-Fa-f]*[.:])[0-9A-Fa-f.:]{3,45}\]"
)
_FIELD: Final = re.compile(rb"SYSLOG_IDENTIFIER=postfix|_EXE=/usr/lib(?:exec)?/postfix/")  # it packs long fields only
_MOST: Final = 1 << 26  # bytes, ours: a mail log holds such a line long before
_MOST_JOURNALS: Final = 1 << 31
_CHUNK: Final = 1 << 20
_OVERLAP: Final = 256
_MOST_LINE: Final = 1 << 14
_ROTATED: Final = re.compile(r"(?:[.-]\d[\d-]*)?(?:\.(?:gz|bz2|xz|zst|old))?")
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MOST_MEMORY: Final = 1 << 28  # bytes, ours: xz -9 needs a quarter of it
_DAMAGE: Final = (EOFError, OSError, zlib.error, lzma.LZMAError)


def findings(tree: Tree, *, scrubs: bool = False) -> Iterator[Finding]:
    """Yield raw logs that still lie there; scrubs: the daemon writes a log, whose lines may be among them."""
    groups: dict[str, list[str]] = {}
    for folder in _FOLDERS:
        for name in tree.names(folder):
            path = f"{folder}/{name}"
            if name in _LOGINS or not tree.has_file(path):
                continue
            held = _holds(tree, path, scrubs=scrubs)
            if held:
                groups.setdefault(_stem(path), []).append(path)
            elif held is None:
                yield found("raw-log-unread", path, "doctor can't look through it to its end")
    for paths in groups.values():
        copies = f"it and {len(paths) - 1} of its rotated copies hold" if len(paths) > 1 else "it holds"
        yield found("raw-log-left", paths[0], f"{copies} raw lines of Postfix")
    yield from _journals(tree)


def _journals(tree: Tree) -> Iterator[Finding]:
    paths = [path for pattern in _JOURNALS for path in tree.glob(pattern)]
    left = _MOST_JOURNALS
    for path in paths:
        held, size = _journal_holds(tree, path, left)
        left -= size
        if held or left <= 0:
            words = "the journal on the disk holds lines of Postfix"
            if not held:
                words = "the journal on the disk is too large to be looked through"
            yield found("raw-journal-left", path, f"{words} ({len(paths)} files)")
            return


def _journal_holds(tree: Tree, path: str, most: int) -> tuple[bool, int]:
    number = tree.descriptor(path)
    if number is None:
        return False, 0
    with open(number, "rb") as file:
        return _search(_chunks(file), _FIELD, most)


def _holds(tree: Tree, path: str, *, scrubs: bool) -> bool | None:
    """Whether a log holds a line of Postfix; None where it can't be looked through."""
    number = tree.descriptor(path)
    if number is None:
        return False  # doctor says that of any file
    with open(number, "rb") as file:
        begin = file.read(6)
        file.seek(0)
        if begin.startswith(_ZSTD):
            return None  # Python has no zstd of its own before 3.14
        try:
            chunks = _unpacked(file, begin)
            held, size = _search_lines(chunks, _MOST) if scrubs else _search(chunks, _LINE, _MOST)
        except _DAMAGE:
            return None
    return True if held else None if size >= _MOST else False


def _unpacked(file: BufferedReader, begin: bytes) -> Iterator[bytes]:
    """Yield what a file holds, in bounded pieces."""
    if begin.startswith(b"\x1f\x8b"):
        yield from _chunks(gzip.GzipFile(fileobj=file))
    elif begin.startswith(b"BZh"):
        yield from _chunks(bz2.BZ2File(file))
    elif begin.startswith(b"\xfd7zXZ\0"):
        reader = lzma.LZMADecompressor(memlimit=_MOST_MEMORY)
        while not reader.eof and (chunk := file.read(_CHUNK) if reader.needs_input else b"\0"):
            yield reader.decompress(chunk if reader.needs_input else b"", _CHUNK)
    else:
        yield from _chunks(file)


def _chunks(file: BufferedIOBase) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _search(chunks: Iterable[bytes], pattern: re.Pattern[bytes], most: int) -> tuple[bool, int]:
    """Look for a pattern; return whether it is there, and how many bytes were looked at."""
    size, rest = 0, b""
    for chunk in chunks:
        size += len(chunk)
        if pattern.search(rest + chunk):
            return True, size
        if size >= most:
            break
        rest = chunk[-_OVERLAP:]
    return False, size


def _search_lines(chunks: Iterable[bytes], most: int) -> tuple[bool, int]:
    """Look for a raw line of Postfix among scrubbed ones; return as _search() does."""
    size, rest = 0, b""
    for chunk in chain(chunks, (b"\n",)):
        size += len(chunk)
        lines, _, rest = (rest + chunk).rpartition(b"\n")
        rest = rest[-_MOST_LINE:]
        if any(_LINE.search(line) and _RAW.search(line) for line in lines.split(b"\n")):
            return True, size
        if size >= most:
            break
    return False, size


def _stem(path: str) -> str:
    """Return the name that a log had before it was rotated: mail.log of mail.log.2.gz."""
    for at in range(len(path)):
        if path[at] in ".-" and _ROTATED.fullmatch(path, at):
            return path[:at]
    return path
