"""`postsink doctor`: looks at everything once, and tells.

Law: fail towards a finding. What can't be read or understood, and could hold a leak, is a finding itself. Nothing is
changed, no program is run, and nothing outside the root is looked at, but the kernel's own files when the root is /.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sink import config
from sink.config import DEFAULT_PATH, Config
from sink.fault import CONFIG, FINDINGS, NOINPUT, OK, Fault
from sink.tools.doctor import journald, leftovers, memory, others, postfix, report, rsyslog, syslogng, units
from sink.tools.doctor.finding import HIGH, SEVERITIES, Finding, found
from sink.tools.doctor.journald import Journald
from sink.tools.doctor.modes import Modes
from sink.tools.doctor.probe import Leak, Probe
from sink.tools.doctor.rsyslog import Rsyslog
from sink.tools.doctor.syslogng import SyslogNg
from sink.tools.doctor.tree import Place, Tree
from sink.yamlfile import text_of

ROOT: Final = Path("/")
# With one of these the log is raw, whatever else is in order.
_OPENS: Final = frozenset({
    "rsyslog-no-drop-in", "rsyslog-raw-file", "rsyslog-raw-elsewhere", "rsyslog-no-stop", "rsyslog-queue-on-disk",
    "rsyslog-main-queue-on-disk", "rsyslog-debug", "syslog-ng-no-path", "syslog-ng-raw-file",
    "syslog-ng-raw-elsewhere", "syslog-ng-no-final", "syslog-ng-disk-buffer", "journald-storage",
    "journald-forwards-elsewhere", "journald-not-bound", "postfix-log-file", "postfix-name-missed",
    "postfix-facility-missed",
})  # fmt: skip


def run(config_path: Path | None, *, as_json: bool, root: Path = ROOT) -> int:
    """Print the findings; 1 where there are some."""
    tree = Tree(root)
    host = Host(tree, *_settings(tree, config_path))
    findings = sorted(dict.fromkeys(host.findings()), key=lambda each: SEVERITIES.index(each.severity))
    if as_json:
        print(report.as_json(findings))
    elif findings:
        print(report.as_text(findings), end="")
    where = "" if host.is_here else f"; paths are those that the host under {root} sees"
    print(f"postsink: {report.counted(findings)}; looked at {host.looked_at()}{where}", file=sys.stderr)
    return FINDINGS if findings else OK


def _settings(tree: Tree, given: Path | None) -> tuple[Config, str, Path | None]:
    """Return the config of the host, its path there, and the file of its header tokens."""
    if not tree.has_folder("/etc"):
        raise Fault(NOINPUT, f"there is no folder etc in {tree.root}; give the root folder of a host or of its image")
    path = DEFAULT_PATH if given is None else Path("/") / (given.absolute() if tree.root == ROOT else given)
    try:
        text = text_of(tree.real(str(path)))
    except Fault as fault:
        if given is None and fault.status == NOINPUT:
            return Config(), str(path), None
        raise
    except OSError:
        raise Fault(CONFIG, f"{path} can't be read; give the path of a regular file") from None
    settings, tokens = config.survey(path, text)
    return settings, str(path), tokens


@dataclass(slots=True)
class Host:
    """A host under one root folder, and what of it takes lines."""

    tree: Tree
    config: Config
    config_path: str
    tokens: Path | None
    is_here: bool = False
    rsyslog: Rsyslog | None = None
    syslog_ng: SyslogNg | None = None
    journald: Journald | None = None
    instances: list[str] = field(default_factory=list)  # folders of Postfix
    is_bound: bool = False  # whether Postfix logs past journald, to us

    def __post_init__(self) -> None:
        self.is_here = os.path.realpath(self.tree.root) == "/"
        if self._is_installed(rsyslog.PROGRAMS, rsyslog.MAIN, rsyslog.UNIT):
            self.rsyslog = Rsyslog(self.tree)
        if self._is_installed(syslogng.PROGRAMS, syslogng.MAIN, syslogng.UNIT):
            self.syslog_ng = SyslogNg(self.tree, frozenset(str(each.path) for each in self.config.listen))
        if self._is_installed(journald.PROGRAMS, "/etc/systemd", "systemd-journald.service"):
            self.journald = Journald.of(self.tree)
        self.instances = postfix.folders(self.tree)
        self.is_bound = bool(self.instances) and self.journald is not None and self.journald.is_bound()

    def _is_installed(self, programs: Sequence[str], main: str, unit: str) -> bool:
        """Whether a program is there; of a copy that has only /etc, whether its configuration is."""
        if units.unit(self.tree, unit).masked:
            return False
        is_copy = not self.tree.has_folder("/usr/sbin") and not self.tree.has_folder("/sbin")
        return any(self.tree.has(path) for path in programs) or (is_copy and self.tree.has(main))

    def _daemons(self) -> list[Rsyslog | SyslogNg]:
        return [daemon for daemon in (self.rsyslog, self.syslog_ng) if daemon]

    def looked_at(self) -> str:
        """Return what was there to be looked at, in words."""
        names = {"rsyslog": self.rsyslog, "syslog-ng": self.syslog_ng, "journald": self.journald,
                 "Postfix": self.instances}  # fmt: skip
        return ", ".join([*(name for name, there in names.items() if there), "files and memory"])

    def takes(self, lines: list[Probe]) -> bool:
        """Whether lines come to postsink and to nothing else."""
        return self.is_bound or (bool(self._daemons()) and all(daemon.takes(lines) for daemon in self._daemons()))

    def leaks(self, lines: list[Probe]) -> list[Leak]:
        """Return where lines come out raw."""
        return [leak for daemon in self._daemons() for leak in daemon.leaks(lines)]

    def findings(self) -> Iterator[Finding]:
        """Yield all that is wrong."""
        raw = list(self._syslog())
        for folder in self.instances:
            raw += postfix.findings(self.tree, folder, self.takes)
        yield from raw
        if any(each.id in _OPENS and (each.severity == HIGH or each.id == "journald-not-bound") for each in raw):
            yield from filter(None, (postfix.logs_headers(self.tree, folder) for folder in self.instances))
        yield from others.findings(self.tree, self.leaks, self._kept())
        yield from memory.findings(self.tree, is_here=self.is_here)
        modes = Modes(self.tree, self.config, self.config_path, self.tokens)
        yield from modes.findings(self.instances, self.rsyslog.programs() if self.rsyslog else [])
        yield from leftovers.findings(self.tree, scrubs=self.config.log is not None)
        for path, why in self.tree.refused.items():
            yield found("unreadable", path, f"it {why}")

    def _syslog(self) -> Iterator[Finding]:
        for daemon in self._daemons():
            yield from daemon.findings(is_bound=self.is_bound)
        yield from others.others(self.tree)
        if self.journald:
            reads = any(daemon.takes_from_journal() for daemon in self._daemons()) if self._daemons() else None
            names = tuple(folder.rpartition("/")[2] for folder in self.instances)
            yield from self.journald.findings(syslog_reads=reads, instances=names)
        elif not self._daemons():
            place = self.instances[0] if self.instances else "/etc"
            yield found("no-syslog", place, "nothing here is seen to take Postfix's lines")

    def _kept(self) -> Place | None:
        """Return where it says that journald writes to the disk, if it does."""
        return self.journald.storage()[1] if self.journald and self.journald.is_kept() else None
