"""What the daemon reads, scrubbed, into a log; and, apart, lines of clients that were turned away.

Laws: never raw: what is written is what sink.core.scrub tells, and of a client turned away the address beside it. Each
line is written once and in order, before what it does is committed, so that a confirmed line is in the log. Killed in
between, who sent it sends it again: then it stands there twice, and its row once. Nothing is waited for but a write.
"""

import os
import re
from collections.abc import Sequence

from sink.config import Config, FileSeal
from sink.core.clients import turned_away, with_address
from sink.core.epochs import Epoch
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.fault import CONFIG, Fault
from sink.keys.epochs import Keyring
from sink.outputs import ClearIps, LogTo
from sink.service.logfile import LogFile
from sink.service.shortlived import ShortLived
from sink.service.words import Seldom

_PRIORITY = re.compile(rb"<\d{1,3}>(?!\d )").match  # of /dev/log; files have none. RFC 5424's is part of its form


class Outputs:
    """The files, as the config names them; those that it goes on naming stay open."""

    def __init__(self, config: Config, before: "Outputs | None" = None) -> None:
        self.log_to: LogTo | None = config.log
        self.clear_to: ClearIps | None = config.clear_ips
        self.log = self.clear = None
        _check(config)
        self._mine: list[LogFile] = []  # opened here
        try:
            if self.log_to is not None:
                kept = before.log if before is not None and before.log_to == self.log_to else None
                self.log = kept or self._open(LogFile("log", self.log_to.path, self.log_to.group))
            if self.clear_to is not None:
                short = before.clear if before is not None and before.clear_to == self.clear_to else None
                self.clear = short or self._open(ShortLived(self.clear_to))
        except BaseException:
            self.withdraw()
            raise

    def _open(self, file: LogFile) -> LogFile:
        self._mine.append(file)
        return file

    def withdraw(self) -> None:
        """Close what was opened here, since it is not to be used."""
        for file in self._mine:
            file.close()

    def files(self) -> list[LogFile]:
        """Return those that there are."""
        return [file for file in (self.log, self.clear) if file is not None]

    def close(self, but: "Outputs | None" = None) -> None:
        """Close all but those that another one goes on with."""
        kept = [] if but is None else but.files()
        for file in self.files():
            if not any(file is one for one in kept):
                file.close()


class Scrubbing:
    """Scrubs lines, keeps what came of them until flush(), and writes it then."""

    def __init__(
        self, outputs: Outputs, rules: Rules, keys: Keyring, reader: Reader, state: dict[bytes, bytes]
    ) -> None:
        from sink.core.scrub import Scrubber  # a MB, which a daemon without such files does without

        epochs = [Epoch(epoch.number, epoch.since, epoch.until, epoch.secret) for epoch in keys.epochs]
        self.outputs = outputs
        self._scrubber = Scrubber(rules, epochs, reader, keys.correlation)
        self._scrubber.resume(state)
        self._lines: list[bytes] = []
        self._clear: list[bytes] = []

    def take(self, lines: Sequence[bytes]) -> None:
        """Scrub lines."""
        if b"\n" in b"".join(lines):
            lines = [line.replace(b"\n", b"?") for line in lines]
        scrubbed = self._scrubber.scrub(lines)
        if self.outputs.clear is not None:
            for raw, line in zip(lines, scrubbed, strict=True):
                address = turned_away(raw)
                shown = None if address is None else with_address(line, address)
                if shown is not None:
                    self._clear.append(_without_priority(shown))
        if self.outputs.log is not None:
            self._lines += map(_without_priority, scrubbed)

    def flush(self) -> None:
        """Write what waits."""
        if self._lines and self.outputs.log is not None:
            self.outputs.log.write(self._lines)
        if self._clear and self.outputs.clear is not None:
            self.outputs.clear.write(self._clear)
        self._lines, self._clear = [], []

    def look(self, seldom: Seldom) -> None:
        """See to the files' names, age and losses."""
        for file in self.outputs.files():
            file.look(seldom)

    def lost(self) -> int:
        """Return how many lines could not be written."""
        return sum([file.lost for file in self.outputs.files()])


def _check(config: Config) -> None:
    """Refuse a path that is another file's of ours (78): lines would be written into it, or it be emptied."""
    known = {os.path.realpath(path) for path in (config.store, config.keyring)}
    known |= {os.path.realpath(seal.path) for seal in config.seal if isinstance(seal, FileSeal)}
    for key, choice in (("log", config.log), ("clear_ips", config.clear_ips)):
        path = None if choice is None else os.path.realpath(choice.path)
        if path in known:
            raise Fault(CONFIG, f"{key}: {path} is another file of postsink's; name one of its own")
        known |= set() if path is None else {path}


def _without_priority(line: bytes) -> bytes:
    found = _PRIORITY(line) if line.startswith(b"<") else None
    return line[found.end() :] if found else line
