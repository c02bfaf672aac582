"""syslog-ng: which of its log paths get lines of Postfix, and where those lead."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from sink.tools.doctor import blocks, units
from sink.tools.doctor.blocks import Block, Blocks, Item, Word, calls, key, statements
from sink.tools.doctor.filters import Filters
from sink.tools.doctor.finding import LOW, MEDIUM, Finding, found, not_understood
from sink.tools.doctor.probe import Leak, Probe, Truth, both, either, opposite, probes
from sink.tools.doctor.tree import Place, Tree, is_screen, shown

MAIN: Final = "/etc/syslog-ng/syslog-ng.conf"
OURS: Final = "/etc/syslog-ng/postsink.conf"
PROGRAMS: Final = ("/usr/sbin/syslog-ng", "/sbin/syslog-ng", "/usr/local/sbin/syslog-ng")
UNIT: Final = "syslog-ng.service"

_KINDS: Final = ("source", "destination", "filter", "log", "parser", "rewrite", "options", "template", "block")
_LOCAL: Final = frozenset({"system", "unix_dgram", "unix_stream", "systemd_journal", "systemd_syslog", "pipe"})
_NOT_POSTFIX: Final = frozenset({"internal", "file"})  # syslog-ng's own words, and /proc/kmsg as a rule
_HARMLESS: Final = frozenset({"usertty", "getvirtconsole"})  # the screens of who is logged in
_ELSEWHERE: Final = {
    **dict.fromkeys(("network", "syslog", "tcp", "tcp6", "udp", "udp6", "syslog_ng", "relp"), "another host"),
    **dict.fromkeys(("sql", "mongodb", "redis", "clickhouse"), "a database"),
    **dict.fromkeys(("unix_stream", "unix_dgram"), "a socket"),
    "program": "a program", "pipe": "a pipe", "smtp": "a mailbox", "block": "what is nested in a destination",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Driver:
    """What a destination does with lines."""

    name: str
    given: tuple[Item, ...] = field(repr=False)  # may hold a password
    place: Place

    @property
    def target(self) -> str:
        """The first text in its brackets, as a rule a path."""
        return next((item.text for item in self.given if isinstance(item, Word)), "")


@dataclass(frozen=True, slots=True)
class Outlet:
    """A driver that a line comes to by a log path; `behind`: our log path, where that has had the line already."""

    driver: Driver
    place: Place
    sure: bool
    behind: Place | None


class Configuration:
    """What is defined in a configuration, and its log paths in order."""

    def __init__(self, read: Blocks) -> None:
        self.sources: dict[str, list[str]] = {}
        self.destinations: dict[str, list[Driver]] = {}
        self.paths: list[tuple[Place, Block]] = []
        self.not_understood = list(read.not_understood)
        named: dict[str, Sequence[Item]] = {}
        for each in statements(read.items):
            self._define(each, named)
        self.filters = Filters(named)

    def _define(self, each: list[Item], named: dict[str, Sequence[Item]]) -> None:
        kind = key(each[0])
        bodies = [item for item in each if isinstance(item, Block) and item.sign == "{"]
        names = [item.text for item in each[1:2] if isinstance(item, Word)]
        if kind == "log" and bodies:
            self.paths.append((each[0].place, bodies[0]))
        elif kind == "source" and names and bodies:
            self.sources[names[0]] = [driver.name for driver in drivers(bodies[0])]
        elif kind == "destination" and names and bodies:
            self.destinations[names[0]] = drivers(bodies[0])
        elif kind == "filter" and names and bodies:
            named[names[0]] = bodies[0].items
        elif kind not in (*_KINDS, "python", "java"):
            self.not_understood.append((each[0].place, "this is no statement that doctor knows"))


def drivers(body: Block) -> list[Driver]:
    """Return the drivers in the braces of a source or destination; what stands in braces there, as a whole."""
    found = [Driver(key(word), block.items, word.place) for word, block in calls(body.items)]
    inner = [item for item in body.items if isinstance(item, Block) and item.sign == "{"]
    return found + [Driver("block", (), item.place) for item in inner]


Branch = tuple[Place | None, Block, Truth]  # its place, where it is one of the top; its items; whether lines come there


class Walk:
    """One line's way through the log paths [lib/logmpx.c]."""

    def __init__(self, configuration: Configuration, probe: Probe, sockets: frozenset[str]) -> None:
        self._all, self._probe, self._sockets = configuration, probe, sockets
        self.outlets: list[Outlet] = []
        self.lost: list[tuple[Place, str]] = []  # where doctor can't follow it
        self.ours: Place | None = None
        self._path = Place("")
        self._is_as_logged = True  # no parser or rewrite rule has had it, that could change what filters ask for
        self._paths()

    def _paths(self) -> None:
        """Go through the log paths that this host's sources feed."""
        branches: list[Branch] = []
        for place, body in self._all.paths:
            here = self._comes_from(body, _flags(body))
            if here is not False:
                branches.append((place, body, here))
        self._side_by_side(branches, sure=True)

    def _side_by_side(self, branches: Sequence[Branch], *, sure: bool, more: bool = False) -> tuple[Truth, Truth]:
        """Go through log paths or channels: one that is final ends it; those with the flag fallback come after all
        others, for lines that nobody took. Return whether the line comes out behind, and whether one took it.

        `more`: something comes behind that may drop the line; then it may count as not taken, by syslog-ng's version.
        """
        lives: Truth = True
        flows: Truth = False
        taken: Truth = False
        for late in (False, True):
            lives = opposite(taken) if late else True
            for place, body, here in branches:
                flags = _flags(body)
                if ("fallback" in flags) is not late or lives is False:
                    continue
                self._path, self._is_as_logged = place or self._path, place is not None or self._is_as_logged
                reached = both(lives, here)
                flow, took = self._body(body, sure=sure and reached is True, more=more)
                took = None if more and took else took
                flows, taken = either(flows, both(reached, flow)), either(taken, both(reached, took))
                lives = both(lives, opposite(both(here, took))) if "final" in flags else lives
        return flows, taken

    def _comes_from(self, body: Block, flags: set[str]) -> Truth:
        """Whether a path takes lines of this host's sources."""
        if "catchall" in flags:
            return True
        here: Truth = False
        for _, block in _parts(body, "source"):
            kinds = [driver.name for driver in drivers(block)] if block.sign == "{" else []
            for name in _names(block):
                kinds += self._all.sources.get(name, ["?"])
            for kind in kinds:
                known: Truth = True if kind in _LOCAL else None
                here = either(here, False if kind in _NOT_POSTFIX else known)
        return here

    def _body(self, body: Block, *, sure: bool, more: bool = False) -> tuple[Truth, Truth]:
        """Go through the statements of a path; return whether the line comes out behind, and whether it was taken."""
        flow: Truth = True
        taken: Truth = True
        parts = [(key(each[0]), each, next((item for item in each if isinstance(item, Block)), None))
                 for each in statements(body.items)]  # fmt: skip
        for at, (kind, each, block) in enumerate(parts):
            if block is None or flow is False or kind in ("source", "flags", "log"):
                continue
            behind = more or any(kind not in ("destination", "flags") for kind, _, _ in parts[at + 1 :])
            flowed, took = self._part(kind, each, block, sure=sure and flow is True, more=behind)
            flow, taken = both(flow, flowed), both(taken, took)
        inner: list[Branch] = [(None, block, True) for kind, _, block in parts if kind == "log" and block]
        if inner and flow is not False:
            _, took = self._side_by_side(inner, sure=sure and flow is True, more=more)
            flow, taken = None, both(taken, took)  # the line comes out of these, where it comes out at all
        # Behind alternatives, whether a line that is dropped counts as taken differs between versions.
        is_plain = not any(kind in ("if", "junction", "channel", "parser", "rewrite") for kind, _, _ in parts)
        return flow, taken if taken is not False or is_plain else None

    def _part(
        self, kind: str, each: Sequence[Item], block: Block, *, sure: bool, more: bool
    ) -> tuple[Truth, Truth]:
        match kind:
            case "filter":
                truth = self._holds(block.items if block.sign == "{" else (Word("filter", block.place), block))
                return truth, truth
            case "parser" | "rewrite":
                self._is_as_logged = False
                return None, None  # it may drop the line
            case "destination":
                self._arrive(block, sure=sure)
            case "channel":
                return self._body(block, sure=sure, more=more)
            case "junction":
                channels: list[Branch] = [(None, item, True) for item in block.items if isinstance(item, Block)]
                return self._side_by_side(channels, sure=sure, more=more)
            case "if":
                return self._if(each, sure=sure, more=more)
            case _:
                self.lost.append((each[0].place, "doctor does not know this part of a log path"))
        return True, True

    def _holds(self, items: Sequence[Item]) -> Truth:
        return self._all.filters.holds(items, self._probe) if self._is_as_logged else None

    def _if(self, items: Sequence[Item], *, sure: bool, more: bool) -> tuple[Truth, Truth]:
        """Go through if (...) {} elif (...) {} else {}; without a condition what the braces begin with decides."""
        reached: Truth = True
        flows: Truth = False
        taken: Truth = False
        condition: Truth = True
        asked = False
        for item in items:
            if key(item) in ("elif", "else"):
                condition, asked = True, False
            elif isinstance(item, Block) and item.sign == "(":
                condition, asked = self._holds(item.items), True
            elif isinstance(item, Block) and both(reached, condition) is not False:
                here = both(reached, condition)
                flow, took = self._body(item, sure=sure and here is True, more=more)
                took = None if more and not asked and took else took
                flows, taken = either(flows, both(here, flow)), either(taken, both(here, took))
                reached = both(reached, opposite(condition if asked else took))
        if not any(key(item) == "else" for item in items):
            flows, taken = either(flows, reached), either(taken, reached)
        return flows, taken

    def _arrive(self, block: Block, *, sure: bool) -> None:
        reached = drivers(block) if block.sign == "{" else []
        for name in _names(block):
            if name not in self._all.destinations:
                self.lost.append((block.place, "a destination is named that doctor can't find"))
            reached += self._all.destinations.get(name, [])
        behind = None if self.ours == self._path else self.ours
        self.outlets += [Outlet(driver, self._path, sure, behind) for driver in reached]
        if sure and self.ours is None and any(is_ours(driver, self._sockets) for driver in reached):
            self.ours = self._path


@dataclass(slots=True)
class SyslogNg:
    """One configuration; `sockets`: those that the daemon listens on."""

    tree: Tree
    sockets: frozenset[str]
    main: str = MAIN
    files: list[str] = field(default_factory=list)
    configuration: Configuration = field(default_factory=lambda: Configuration(Blocks()))

    def __post_init__(self) -> None:
        for option, value in _options(self.tree):
            self.main = value if option in ("-f", "--cfgfile") else self.main
        read = blocks.read(self.tree, self.main)
        self.files, self.configuration = read.files, Configuration(read)

    def takes_from_journal(self) -> bool:
        """Whether it reads the journal itself, as system() does under systemd, and needs nothing forwarded."""
        kinds = {kind for kinds in self.configuration.sources.values() for kind in kinds}
        return bool(kinds & {"system", "systemd_journal"})

    def walk(self, probe: Probe) -> Walk:
        """Lead a line through the log paths."""
        return Walk(self.configuration, probe, self.sockets)

    def leaks(self, lines: Iterable[Probe]) -> list[Leak]:
        """Return where lines come out raw, each place once."""
        return self._leaks(outlet for probe in lines for outlet in self.walk(probe).outlets)

    def takes(self, lines: Iterable[Probe]) -> bool:
        """Whether lines come to postsink and to nothing else."""
        walks = [self.walk(probe) for probe in lines]
        return all(walk.ours for walk in walks) and not self._leaks(each for walk in walks for each in walk.outlets)

    def findings(self, *, is_bound: bool) -> Iterator[Finding]:
        """Yield what is wrong; `is_bound`: Postfix logs past syslog-ng."""
        walks = [self.walk(probe) for probe in probes()]
        if not is_bound and not all(walk.ours for walk in walks):
            yield self._not_handed(walks)
        yield from self._written(walks)
        drivers = {outlet.driver.place: outlet.driver for walk in walks for outlet in walk.outlets}
        for driver in drivers.values():
            if any(key(word) == "disk_buffer" for word, _ in calls(driver.given)):
                words = "a destination that gets lines of Postfix has a disk buffer"
                yield found("syslog-ng-disk-buffer", driver.place, words)
        yield from self._not_understood(walks)

    def _not_handed(self, walks: list[Walk]) -> Finding:
        if any(is_ours(outlet.driver, self.sockets) for walk in walks for outlet in walk.outlets):
            words = "doctor can't tell whether every line of Postfix comes to postsink"
            return found("syslog-ng-no-path", OURS, words, severity=LOW)
        if not self.tree.has(OURS) or OURS in self.files:
            where = OURS if OURS in self.files else self.main
            return found("syslog-ng-no-path", where, "syslog-ng hands no line of Postfix to postsink")
        remedy = f'add below @version: @include "{OURS}"'
        words = f"{OURS} is there, but syslog-ng does not read it"
        return found("syslog-ng-no-path", self.main, words, remedy=remedy)

    def _written(self, walks: list[Walk]) -> Iterator[Finding]:
        is_on = any(walk.ours for walk in walks)
        outlets = [outlet for walk in walks for outlet in walk.outlets]
        for leak in self._leaks(outlet for outlet in outlets if not outlet.behind):
            name = "syslog-ng-raw-file" if leak.is_file else "syslog-ng-raw-elsewhere"
            may = "are written" if leak.sure else "may be written"
            remedy = "move the log path behind the line that includes postsink.conf" if is_on else ""
            severity = "" if leak.sure else MEDIUM
            yield found(name, leak.place, f"lines of Postfix {may} to {leak.where}", remedy=remedy, severity=severity)
        behind = [outlet for outlet in outlets if outlet.behind]
        leaks = self._leaks(behind)
        if leaks and behind[0].behind:
            more = f", and {len(leaks) - 1} more" if len(leaks) > 1 else ""
            words = f"behind postsink lines go on to {leaks[0].where} ({leaks[0].place}){more}"
            yield found("syslog-ng-no-final", behind[0].behind, words)

    def _leaks(self, outlets: Iterable[Outlet]) -> list[Leak]:
        leaks: dict[tuple[Place, str], Leak] = {}
        for outlet in outlets:
            where = _where(outlet.driver)
            if where and not is_ours(outlet.driver, self.sockets):
                known = leaks.get((outlet.place, where))
                sure = outlet.sure or (known is not None and known.sure)
                leaks[outlet.place, where] = Leak(outlet.place, where, outlet.driver.name == "file", sure)
        return list(leaks.values())

    def _not_understood(self, walks: list[Walk]) -> Iterator[Finding]:
        lost = [each for walk in walks for each in walk.lost]
        yield from not_understood("syslog-ng-not-understood", [*self.configuration.not_understood, *lost])


def _options(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield the options that syslog-ng is started with."""
    for line in units.unit(tree, UNIT).listed("Service", "ExecStart"):
        words = line.value.replace("=", " ").split()
        yield from pairwise(words)


def _names(block: Block) -> list[str]:
    return [item.text for item in block.items if isinstance(item, Word)] if block.sign == "(" else []


def _parts(body: Block, wanted: str) -> Iterator[tuple[Word, Block]]:
    for each in statements(body.items):
        match each:
            case [Word() as word, Block() as block, *_] if key(word) == wanted:
                yield word, block


def _flags(body: Block) -> set[str]:
    return {item.text.lower() for _, block in _parts(body, "flags") for item in block.items if isinstance(item, Word)}


def _where(driver: Driver) -> str:
    """Return where a driver puts a line, or nothing where it keeps none."""
    if driver.name in _HARMLESS:
        return ""
    if driver.name in ("file", "pipe") and is_screen(driver.target):
        return ""
    if driver.name != "file":
        return _ELSEWHERE.get(driver.name) or f"the output {shown(driver.name, 30)}"
    return shown(driver.target)


def is_ours(driver: Driver, sockets: frozenset[str]) -> bool:
    """Whether a driver hands lines to postsink."""
    if driver.name in ("unix_stream", "unix_dgram"):
        return driver.target in sockets
    return driver.name == "program" and "postsink" in driver.target.partition(" ")[0].rpartition("/")[2]
