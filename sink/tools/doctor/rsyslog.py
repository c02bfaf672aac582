"""rsyslog: which of its rules get lines of Postfix, and what they do with them."""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sink.tools.doctor import expression, rainerscript, units
from sink.tools.doctor.finding import LOW, MEDIUM, Finding, found, not_understood
from sink.tools.doctor.probe import Leak, Probe, probes
from sink.tools.doctor.script import Action, Object, Script
from sink.tools.doctor.tree import Place, Tree, is_screen, shown
from sink.tools.doctor.walk import Outlet, Walk, is_ours

MAIN: Final = "/etc/rsyslog.conf"
OURS: Final = "/etc/rsyslog.d/10-postsink.conf"
PROGRAMS: Final = ("/usr/sbin/rsyslogd", "/sbin/rsyslogd", "/usr/local/sbin/rsyslogd")
UNIT: Final = "rsyslog.service"
_DEFAULT: Final = "/etc/default/rsyslog"  # of Debian; not read under systemd

# What keeps no line: it goes to who is logged in, or nowhere. Modules named mm change a line only.
_HARMLESS: Final = frozenset({"omusrmsg", "omdiscard", "omtesting"})
_ELSEWHERE: Final = {
    **dict.fromkeys(("omfwd", "omrelp", "omgssapi", "omudpspoof", "omdtls"), "another host"),
    **dict.fromkeys(("omdatabase", "ommysql", "ompgsql", "omlibdbi", "ommongodb", "omclickhouse"), "a database"),
    **dict.fromkeys(("omprog", "omshell", "mmexternal"), "a program"),
    "ompipe": "a pipe", "omuxsock": "a socket", "omjournal": "the journal", "ommail": "a mailbox",
}  # fmt: skip
_LOCAL: Final = frozenset({"imuxsock", "imjournal"})  # the inputs that this host's Postfix can reach
_REMOTE: Final = frozenset({"imudp", "imtcp", "imptcp", "imrelp", "imgssapi", "imdtls"})
_RATES: Final = {"imuxsock": ("syssock.ratelimit.interval", "ratelimit.interval"), "imjournal": ("ratelimit.interval",)}
_RATE_LINES: Final = ("systemlogratelimitinterval", "imuxsockratelimitinterval", "imjournalratelimitinterval")


@dataclass(slots=True)
class Rsyslog:
    """One configuration."""

    tree: Tree
    main: str = MAIN
    script: Script = field(default_factory=Script)
    debug: list[Place] = field(default_factory=list)  # where the command line asks for it

    def __post_init__(self) -> None:
        self._heed_command_line()
        self.script = rainerscript.read(self.tree, self.main)

    def takes_from_journal(self) -> bool:
        """Whether it reads the journal itself, and needs nothing forwarded."""
        return any(load == "imjournal" for load, _ in self._loaded())

    def walk(self, probe: Probe, ruleset: str = "", *, sure: bool = True) -> Walk:
        """Lead a line through a ruleset, or the default one."""
        slash = self.script.switch("global", "parser.permitslashinprogramname") == "on"
        walk = Walk(self.script, expression.known(probe, slash=slash))
        walk.enter(ruleset or self.script.default, sure=sure)
        return walk

    def leaks(self, lines: Iterable[Probe]) -> list[Leak]:
        """Return where lines come out raw, each place once."""
        outlets = [outlet for probe in lines for outlet in self.walk(probe).outlets]
        return list(_leaks(outlets).values())

    def takes(self, lines: Iterable[Probe]) -> bool:
        """Whether lines come to postsink and to nothing else."""
        walks = [self.walk(probe) for probe in lines]
        return all(walk.ours for walk in walks) and not _leaks(outlet for walk in walks for outlet in walk.outlets)

    def programs(self) -> list[tuple[str, Place]]:
        """Return the programs that it starts for us, with the place of their action."""
        ours = [outlet.action for probe in probes() for outlet in self.walk(probe).outlets if is_ours(outlet.action)]
        return list({(action.given.get("binary") or "").split()[0]: action.place for action in ours}.items())

    # -- findings

    def findings(self, *, is_bound: bool) -> Iterator[Finding]:
        """Yield what is wrong; `is_bound`: Postfix logs past rsyslog."""
        walks = [self.walk(probe) for probe in probes()]
        others = [
            self.walk(probe, ruleset, sure=sure) for ruleset, sure in self._bound().items() for probe in probes()
        ]
        if not is_bound:
            yield from self._handed(walks)
        yield from self._written(walks + others)
        yield from self._queues(walks + others)
        yield from self._actions(walks + others)
        yield from self._debug()
        yield from self._rates()
        yield from self._not_understood(walks + others)

    def _handed(self, walks: list[Walk]) -> Iterator[Finding]:
        if all(walk.ours for walk in walks):
            return
        if any(is_ours(outlet.action) for walk in walks for outlet in walk.outlets):
            words = "doctor can't tell whether every line of Postfix comes to postsink"
            yield found("rsyslog-no-drop-in", OURS, words, severity=LOW)
        elif not self.tree.has(OURS):
            yield found("rsyslog-no-drop-in", self.main, "rsyslog hands no line of Postfix to postsink")
        elif OURS in self.script.files:
            words = "no line of Postfix comes as far as this file, or it does not hand them to postsink"
            remedy = "take the file away, and type: postsink enable rsyslog"
            yield found("rsyslog-no-drop-in", OURS, words, remedy=remedy)
        else:
            remedy = "add before the rules: $IncludeConfig /etc/rsyslog.d/*.conf"
            words = f"{OURS} is there, but rsyslog does not read it"
            yield found("rsyslog-no-drop-in", self.main, words, remedy=remedy)

    def _written(self, walks: list[Walk]) -> Iterator[Finding]:
        is_on = any(walk.ours for walk in walks)
        outlets = [outlet for walk in walks for outlet in walk.outlets]
        for leak in _leaks(outlet for outlet in outlets if not outlet.behind).values():
            name = "rsyslog-raw-file" if leak.is_file else "rsyslog-raw-elsewhere"
            may = "are written" if leak.sure else "may be written"
            remedy = _order(leak.place) if is_on else ""
            severity = "" if leak.sure else MEDIUM
            yield found(name, leak.place, f"lines of Postfix {may} to {leak.where}", remedy=remedy, severity=severity)
        behind = [outlet for outlet in outlets if outlet.behind]
        leaks = list(_leaks(behind).values())
        if leaks and behind[0].behind:
            more = f", and {len(leaks) - 1} more" if len(leaks) > 1 else ""
            words = f"behind postsink lines go on to {leaks[0].where} ({leaks[0].place}){more}"
            yield found("rsyslog-no-stop", behind[0].behind, words)

    def _queues(self, walks: list[Walk]) -> Iterator[Finding]:
        for line in self.script.directives:
            if line.name == "mainmsgqueuefilename" and line.value:
                yield found("rsyslog-main-queue-on-disk", line.place, "the main queue has a file name")
        for each in self.script.objects:
            if each.kind == "main_queue" and "queue.filename" in each.given:
                yield found("rsyslog-main-queue-on-disk", each.place, "the main queue has a file name")
            entered = any(each.given.get("name") in walk.entered for walk in walks)
            if each.kind == "ruleset" and entered and "queue.filename" in each.given:
                words = "a ruleset that gets lines of Postfix has a disk queue"
                yield found("rsyslog-queue-on-disk", each.place, words)
        for outlet in _once(walks):
            if "queue.filename" in outlet.action.given:
                words = "an action that gets lines of Postfix has a disk queue"
                yield found("rsyslog-queue-on-disk", outlet.action.place, words)

    def _actions(self, walks: list[Walk]) -> Iterator[Finding]:
        for outlet in _once(walks):
            given, place = outlet.action.given, outlet.action.place
            if "action.errorfile" in given:
                yield found("rsyslog-error-file", place, "an action that gets lines of Postfix has action.errorfile")
            if is_ours(outlet.action) and "output" in given:
                yield found("rsyslog-child-output", place, "the action of postsink has the option output")
            if is_ours(outlet.action) and given.get("reportfailures", "off") != "off":
                yield found("rsyslog-report-failures", place, 'the action of postsink has reportFailures="on"')
        for each in self.script.objects:
            if each.kind == "global" and "oversizemsg.errorfile" in each.given:
                yield found("rsyslog-error-file", each.place, "lines that are too long go to oversizemsg.errorfile")

    def _debug(self) -> Iterator[Finding]:
        for line in self.script.directives:
            if line.name == "debugfile" or (line.name == "debuglevel" and line.value not in ("0", "")):
                yield found("rsyslog-debug", line.place, f"${line.name} is set")
        for each in self.script.objects:
            if each.kind == "global" and "debug.logfile" in each.given:
                yield found("rsyslog-debug", each.place, "debug.logFile is set")
        for place in self.debug:
            yield found("rsyslog-debug", place, "rsyslogd is started with its debug log")

    def _rates(self) -> Iterator[Finding]:
        set_by = {line.name: line for line in self.script.directives if line.name in _RATE_LINES}
        for line in set_by.values():
            if line.value != "0":
                yield found("rsyslog-rate-limit", line.place, f"${line.name} is set")
        for load, each in self._loaded():
            wanted = _RATES.get(load, ())
            rates = [each.given[name] for name in wanted if name in each.given]
            silent = load == "imjournal" and not rates and "imjournalratelimitinterval" not in set_by
            if silent or any(rate != "0" for rate in rates):
                words = "20,000 lines in ten minutes, unless it is told otherwise" if silent else "it is set"
                yield found("rsyslog-rate-limit", each.place, f"{load} has a rate limit: {words}")

    def _not_understood(self, walks: list[Walk]) -> Iterator[Finding]:
        lost = [(place, "a ruleset is called that doctor can't find") for walk in walks for place in walk.lost]
        yield from not_understood("rsyslog-not-understood", [*self.script.not_understood, *lost])

    # -- what is asked of the configuration

    def _loaded(self) -> Iterator[tuple[str, Object]]:
        """Yield modules and inputs by their names."""
        for each in self.script.objects:
            if each.kind == "module":
                yield (each.given.get("load") or "").lower().removesuffix(".so"), each
            elif each.kind == "input":
                yield (each.given.get("type") or "").lower(), each
        for line in self.script.directives:
            if line.name == "modload":
                yield line.value.lower().removesuffix(".so").rpartition("/")[2], Object(line.place, "module", {})

    def _bound(self) -> dict[str, bool]:
        """Return rulesets that an input sends lines to, and whether they are surely this host's."""
        bound: dict[str, bool] = {}
        for kind, each in self._loaded():
            ruleset = each.given.get("ruleset")
            if ruleset and kind in _LOCAL | _REMOTE and ruleset != self.script.default:
                bound[ruleset] = bound.get(ruleset, False) or kind in _LOCAL
        for line in self.script.directives:
            if line.name.startswith("input") and line.name.endswith("bindruleset"):
                bound.setdefault(line.value, False)
        return bound

    def _heed_command_line(self) -> None:
        """Find the configuration file and debug options that rsyslogd is started with."""
        unit = units.unit(self.tree, UNIT)
        started = [(line.value, line.place) for line in unit.listed("Service", "ExecStart")]
        for setting in units.parsed(self.tree.text(_DEFAULT) or "", _DEFAULT):  # the same form, as far as it matters
            if setting.key == "RSYSLOGD_OPTIONS" and not started:
                started.append((setting.value.strip("\"'"), setting.place))
        for command, place in started:
            for option, value in _options(command):
                if option == "-f":
                    self.main = value
                elif option == "-d":
                    self.debug.append(place)
        for line in unit.listed("Service", "Environment"):
            if "RSYSLOG_DEBUG" in line.value:
                self.debug.append(line.place)


def _options(command: str) -> Iterator[tuple[str, str]]:
    """Yield the options of a command line that matter here."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-f"):
            yield "-f", word[2:] or after
        elif word.startswith("-d"):
            yield "-d", ""


def _once(walks: Iterable[Walk]) -> list[Outlet]:
    """Return what lines come to, each place once."""
    return list({outlet.action.place: outlet for walk in walks for outlet in walk.outlets}.values())


def _leaks(outlets: Iterable[Outlet]) -> dict[tuple[Place, str], Leak]:
    """Return where lines come out raw; sure where it is so for one of them."""
    leaks: dict[tuple[Place, str], Leak] = {}
    for outlet in outlets:
        place = outlet.action.place
        where = _where(outlet.action)
        if where and not is_ours(outlet.action):
            known = leaks.get((place, where))
            sure = outlet.sure or (known is not None and known.sure)
            leaks[place, where] = Leak(place, where, outlet.action.kind == "omfile", sure)
    return leaks


def _where(action: Action) -> str:
    """Return where an action puts a line, or nothing where it keeps none."""
    kind, given = action.kind, action.given
    path = given.get("file") or given.get("pipe") or "?"
    if kind in ("omfile", "ompipe") and is_screen(path) and "dynafile" not in given:
        return ""
    if kind in _HARMLESS or (kind.startswith("mm") and kind not in _ELSEWHERE):
        return ""
    if kind != "omfile":
        return _ELSEWHERE.get(kind) or f"the output {shown(kind, 30)}"
    return "files that a template names" if path.startswith(("?", "$")) or "dynafile" in given else shown(path)


def _order(place: Place) -> str:
    if place.file.startswith("/etc/rsyslog.d/"):
        return "rename that file so that its name sorts behind 10-postsink.conf"
    return "move the rule behind the line that includes /etc/rsyslog.d"
