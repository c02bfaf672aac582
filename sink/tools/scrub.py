"""`postsink scrub`: log lines in, the same lines out, with pseudonyms in the place of what is somebody's.

Files are read one after the other, in the order they are named, and their lines go to stdout as bytes, each with its
newline. It needs the keyring and the config, and no store; where a message's lines lie on both sides of a change of
keys, only lines of this call tell which epoch it began in.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from sink import hardening, privileges
from sink.config import Config
from sink.core.epochs import Epoch
from sink.core.masks import WHOLE
from sink.core.rules import Rules
from sink.core.scrub import Scrubber
from sink.core.syslog import Reader
from sink.fault import NOPERM, OK, USAGE, Fault
from sink.installation import machine_zone, open_keyring, rules
from sink.keys.epochs import Keyring
from sink.sources.archive import STDIN, Archive, allow_many_files

_SAID = (
    ("not_understood", "not understood, and shown by their length"),
    ("other_programs", "of these of programs that are not known"),
    ("not_syslog", "no syslog lines"),
    ("too_long", "too long"),
    ("epoch_destroyed", "of an epoch whose key is destroyed"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    files: Sequence[str] = ()
    digits: int = WHOLE
    year: int | None = None


def scrubber(rules: Rules, keys: Keyring, reader: Reader, *, digits: int = WHOLE) -> Scrubber:
    """Return a scrubber under a keyring."""
    epochs = [Epoch(epoch.number, epoch.since, epoch.until, epoch.secret) for epoch in keys.epochs]
    return Scrubber(rules, epochs, reader, keys.correlation, digits=digits)


def run(config: Config, options: Options) -> int:
    """Scrub files, or standard input, to standard output."""
    if list(options.files).count(STDIN) > 1:
        raise Fault(USAGE, "standard input is named twice; name it once")
    if sys.stdout is None:
        raise Fault(NOPERM, "standard output is closed; send it to a file or a pipe")
    allow_many_files()
    archives = [Archive(name) for name in options.files or (STDIN,)]  # before: logs are root's
    privileges.become_owner(config)
    missing = hardening.lock()
    if missing:
        print(f"postsink: {missing}", file=sys.stderr)
    keys = open_keyring(config)
    choices = rules(config, config.timezone or machine_zone())
    tool = scrubber(choices, keys, Reader(choices.timezone), digits=options.digits)
    with ExitStack() as opened:
        for archive in archives:
            opened.callback(archive.close)
        fault = _scrub(archives, choices, options.year, tool)
    _tell(tool)
    if fault is not None:
        raise fault
    return OK


def _scrub(archives: Sequence[Archive], choices: Rules, year: int | None, tool: Scrubber) -> Fault | None:
    """Write each archive's lines; return what was wrong with the first that broke off."""
    write = sys.stdout.buffer.write
    fault = None
    for archive in archives:
        archive.date(choices.timezone, year)  # all of them, before a word goes out
    for archive in archives:
        tool.reader = archive.reader()
        for lines in archive.lines():
            if lines:
                write(b"\n".join(tool.scrub(lines)) + b"\n")
        fault = fault or archive.damage()
    sys.stdout.buffer.flush()
    return fault


def _tell(tool: Scrubber) -> None:
    said = [f"{tool.counts[name]} {words}" for name, words in _SAID if tool.counts[name]]
    print(f"postsink: {tool.counts['lines']} lines" + "".join(f"; {words}" for words in said), file=sys.stderr)
