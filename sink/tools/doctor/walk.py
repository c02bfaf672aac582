"""Leads a line through rsyslog's rules, as rsyslogd does [runtime/ruleset.c, scriptExec()].

A condition that depends on what nobody knows sends the line both ways. Then what it comes to is not sure, and neither
is whether it lives on behind.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sink.tools.doctor.probe import Truth
from sink.tools.doctor.script import Action, Branch, Call, Script, Statement, Stop
from sink.tools.doctor.tree import Place

_MOST_CALLS: Final = 30  # ours, of rulesets that call each other
_MOST_STEPS: Final = 20_000  # ours: rulesets that call each other twice double the way at each


@dataclass(frozen=True, slots=True)
class Outlet:
    """An action that a line comes to."""

    action: Action
    sure: bool
    behind: Place | None  # our action, where that has had the line already


@dataclass(slots=True)
class Walk:
    """One line's way."""

    script: Script
    known: dict[str, str]
    outlets: list[Outlet] = field(default_factory=list)
    lost: list[Place] = field(default_factory=list)  # where doctor can't follow it
    entered: set[str] = field(default_factory=set)  # rulesets
    ours: Place | None = None
    _asked: list[str] = field(default_factory=list)
    _steps: int = 0

    def enter(self, ruleset: str, *, sure: bool = True) -> None:
        """Go through a ruleset."""
        self.entered.add(ruleset)
        self._run(self.script.rulesets.get(ruleset, ()), sure=sure)

    def _run(self, statements: Iterable[Statement], *, sure: bool) -> Truth:
        """Return whether the line lives on behind the statements."""
        lives: Truth = True
        for each in statements:
            after = self._step(each, sure=sure and lives is True)
            if after is False:
                return False
            lives = lives if after else None
        return lives

    def _step(self, each: Statement, *, sure: bool) -> Truth:
        self._steps += 1
        match each:
            case Stop():
                return False
            case Action():
                return self._act(each, sure=sure)
            case Call():
                return self._call(each, sure=sure)
            case Branch():
                return self._branch(each, sure=sure)

    def _act(self, action: Action, *, sure: bool) -> Truth:
        self.outlets.append(Outlet(action, sure, self.ours))
        if sure and self.ours is None and is_ours(action):
            self.ours = action.place
        return action.kind != "omdiscard"

    def _branch(self, branch: Branch, *, sure: bool) -> Truth:
        holds = branch.condition(self.known)
        if holds is not None:
            return self._run(branch.then if holds else branch.other, sure=sure)
        one = self._run(branch.then, sure=False)
        other = self._run(branch.other, sure=False)
        return one if one == other else None

    def _call(self, call: Call, *, sure: bool) -> Truth:
        body = self.script.rulesets.get(call.name or "")
        if call.name is None or body is None or len(self._asked) > _MOST_CALLS or self._steps > _MOST_STEPS:
            self.lost.append(call.place)
            return None
        if call.name in self._asked:
            return True
        self.entered.add(call.name)
        self._asked.append(call.name)
        lives = self._run(body, sure=sure)
        self._asked.pop()
        return True if _has_queue(self.script, call.name) else lives  # such a ruleset has a copy of the line


def _has_queue(script: Script, ruleset: str) -> bool:
    for each in script.objects:
        if each.kind == "ruleset" and each.given.get("name") == ruleset:
            return (each.given.get("queue.type", "direct") or "").lower() != "direct"
    return False


def is_ours(action: Action) -> bool:
    """Whether an action hands lines to postsink."""
    words = (action.given.get("binary") or "").split()
    return action.kind == "omprog" and "omprog" in words[1:] and "postsink" in words[0].rpartition("/")[2]
