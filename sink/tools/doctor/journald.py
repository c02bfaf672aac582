"""journald: whether it writes lines to the disk, where else it hands them, and whether Postfix logs past it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sink.tools.doctor import units
from sink.tools.doctor.finding import MEDIUM, Finding, found
from sink.tools.doctor.tree import Place, Tree
from sink.tools.doctor.units import Setting, Settings
from sink.tools.enabling.journal import SOCKET

MAIN: Final = "/etc/systemd/journald.conf"
PROGRAMS: Final = ("/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald")
KEPT: Final = "/var/log/journal"
_THERE: Final = "/run/systemd/journal"  # where /dev/log leads to
_STORAGE: Final = ("volatile", "persistent", "auto", "none")
_YES: Final = ("1", "yes", "y", "true", "t", "on")  # parse_boolean() of systemd
_ELSEWHERE: Final = {
    "ForwardToKMsg": "the kernel's log", "ForwardToConsole": "the console", "ForwardToSocket": "another socket",
}  # fmt: skip
_UPLOAD: Final = "systemd-journal-upload.service"
# On Debian 12 postfix.service is an empty shell, and postfix@-.service starts the master.
_SHELL: Final = re.compile(r"/bin/true\s*")
UNITS: Final = ("postfix@-.service", "postfix.service")


@dataclass(frozen=True, slots=True)
class Journald:
    """journald's settings, and Postfix's units."""

    tree: Tree
    settings: Settings

    @classmethod
    def of(cls, tree: Tree) -> "Journald":
        """Read them."""
        return cls(tree, units.configuration(tree, "journald.conf"))

    def _last(self, key: str, *others: str) -> Setting | None:
        return self.settings.last("Journal", key, *others)

    def storage(self) -> tuple[str, Place]:
        """Return what counts for Storage, and where it stands; a word that journald does not know it passes over."""
        lines = [line for line in self.settings.lines if (line.section, line.key) == ("Journal", "Storage")]
        known = [line for line in lines if line.value in _STORAGE]
        if known:
            return known[-1].value, known[-1].place
        return "auto", lines[-1].place if lines else Place(MAIN)

    def is_kept(self) -> bool:
        """Whether it writes to the disk."""
        word, _ = self.storage()
        return word == "persistent" or (word == "auto" and self.tree.has_folder(KEPT))

    def forwards(self) -> bool:
        """Whether the syslog daemon gets each line."""
        line = self._last("ForwardToSyslog")
        if line is not None:
            return line.value.lower() in _YES
        # The file that is shipped shows, as comments, what the program was made with: Debian 12 says yes.
        return re.search(r"^#ForwardToSyslog=yes\s*$", self.tree.text(MAIN) or "", re.MULTILINE) is not None

    # -- Postfix's units

    def unit(self) -> str:
        """Return the unit that starts Postfix's master."""
        shell = units.unit(self.tree, "postfix.service").listed("Service", "ExecStart")
        is_shell = any(_SHELL.search(line.value) for line in shell) or not shell
        template = units.unit(self.tree, UNITS[0])
        return UNITS[0] if is_shell and template.listed("Service", "ExecStart") else UNITS[1]

    def is_bound(self, unit: str = "") -> bool:
        """Whether a unit of Postfix sees our folder in place of journald's."""
        bound = {
            tuple(pair.lstrip("-+").split(":")[:2])
            for line in units.unit(self.tree, unit or self.unit()).listed("Service", "BindPaths")
            for pair in line.value.split()
        }
        return (str(SOCKET.parent), _THERE) in bound

    # -- findings

    def findings(self, *, syslog_reads: bool | None, instances: tuple[str, ...]) -> Iterator[Finding]:
        """Yield what is wrong.

        `syslog_reads`: whether the syslog daemon reads the journal itself; None: there is none. `instances`: the names
        of Postfix's instances, none where it is not configured; the first one has no name.
        """
        word, place = self.storage()
        if self.is_kept():
            words = "Storage=auto, and /var/log/journal is there" if word == "auto" else f"Storage={word}"
            yield found("journald-storage", place, f"journald writes each line to the disk: {words}")
        if syslog_reads is False and not self.forwards():
            line = self._last("ForwardToSyslog")
            words = "journald does not forward lines to the syslog daemon"
            yield found("journald-not-forwarded", line.place if line else MAIN, words)
        elif syslog_reads and word == "none":
            words = "the syslog daemon reads the journal, and with Storage=none there is nothing in it"
            remedy = "write Storage=volatile there"
            yield found("journald-not-forwarded", place, words, remedy=remedy)
        yield from self._elsewhere()
        if not (instances and self.is_bound()):
            yield from self._rates()
        yield from self._units(instances, alone=syslog_reads is None)

    def _elsewhere(self) -> Iterator[Finding]:
        for key, where in _ELSEWHERE.items():
            line = self._last(key)
            if line and (line.value.lower() in _YES or (key == "ForwardToSocket" and line.value)):
                yield found("journald-forwards-elsewhere", line.place, f"journald hands each line to {where}: {key}")
        for folder in self.tree.glob("/etc/systemd/system/*.wants"):
            wanted = f"{folder}/{_UPLOAD}"
            if self.tree.link(wanted) or self.tree.has(wanted):
                yield found("journald-upload", wanted, "the journal is sent to another host")

    def _rates(self) -> Iterator[Finding]:
        interval = self._last("RateLimitIntervalSec", "RateLimitInterval")
        burst = self._last("RateLimitBurst")
        if not any(line and _is_zero(line.value) for line in (interval, burst)):
            place = burst.place if burst else interval.place if interval else Place(MAIN)
            words = "a limit is set" if burst or interval else "by default 10,000 lines in 30 seconds"
            yield found("journald-rate-limit", place, f"journald has a rate limit: {words}")
        for unit in UNITS:
            settings = units.unit(self.tree, unit)
            line = settings.last("Service", "LogRateLimitBurst") or settings.last("Service", "LogRateLimitIntervalSec")
            if line and not _is_zero(line.value):
                words = f"journald has a rate limit for {unit}"
                yield found("journald-rate-limit", line.place, words, remedy="write LogRateLimitBurst=0 there")

    def _units(self, instances: tuple[str, ...], *, alone: bool) -> Iterator[Finding]:
        for number, name in enumerate(instances):
            candidates = _instance_units(name) if number else [self.unit()]
            for unit in candidates:
                line = units.unit(self.tree, unit).last("Service", "LogNamespace")
                if line and line.value:
                    yield found("journald-namespace", line.place, f"{unit} logs to a journal of its own")
            if alone and not any(self.is_bound(unit) for unit in candidates):
                yield self._not_bound(candidates[0], is_first=not number)

    def _not_bound(self, unit: str, *, is_first: bool) -> Finding:
        drop_in = f"/etc/systemd/system/{unit}.d/postsink.conf"
        place = drop_in if self.tree.has(drop_in) else next(iter(units.unit(self.tree, unit).files), drop_in)
        words = f"{unit} logs to journald, and no line comes to postsink"
        remedy = "" if is_first else f"copy postsink.conf of the first instance's unit to {drop_in}"
        return found("journald-not-bound", place, words, remedy=remedy, severity="" if self.is_kept() else MEDIUM)


def _instance_units(name: str) -> list[str]:
    """Return what the unit of an instance, such as postfix-out, may be called: Debian 12 and 13 differ."""
    stems = (name, name.removeprefix("postfix-"))
    escaped = [stem.replace("-", "\\x2d") for stem in stems]
    return [f"postfix@{stem}.service" for stem in dict.fromkeys((*stems, *escaped))]


def _is_zero(value: str) -> bool:
    return re.fullmatch(r"0+\s*(?:us|ms|s|sec|m|min|h)?", value) is not None
