"""`enable` and `disable`: the mail host's syslog and Postfix are told of postsink, and no longer.

Laws: header lines are logged only while the raw path is closed; nothing is half done; done twice is done once.
"""

import sys
from pathlib import Path

from sink.config import Config
from sink.fault import CONFIG, OK, Fault
from sink.tools.enabling import journal, mail, relays
from sink.tools.enabling.change import Change, carry_out
from sink.tools.enabling.machine import Machine, shown

ROOT = Path("/")
ALL = ("postfix", "rsyslog", "syslog-ng", "journald")  # the order of taking back: Postfix first


def enable(
    settings: Config, word: str, *, dry_run: bool = False, subject: str | None = None, config: Path | None = None,
    root: Path = ROOT,
) -> int:  # fmt: skip
    """Install one piece; 78 and everything as before where a program refuses it."""
    machine = Machine(root, config=config)
    if word == "rsyslog":
        change = relays.enable_rsyslog(machine, settings)
    elif word == "syslog-ng":
        change = relays.enable_syslog_ng(machine, settings)
    elif word == "journald":
        change = journal.enable(machine, settings)
    else:
        change = mail.enable(machine, settings, subject)
    return _finish(word, "enabled", change, machine, dry_run)


def disable(word: str, *, dry_run: bool = False, config: Path | None = None, root: Path = ROOT) -> int:
    """Take one piece back, or all."""
    machine = Machine(root, config=config)
    if word == "all":
        for each in ALL:
            _finish(each, "disabled", _back(machine, each), machine, dry_run)
        return OK
    _check_headers(machine, word)
    return _finish(word, "disabled", _back(machine, word), machine, dry_run)


def _back(machine: Machine, word: str) -> Change:
    commands = {
        "postfix": mail.disable,
        "rsyslog": relays.disable_rsyslog,
        "syslog-ng": relays.disable_syslog_ng,
        "journald": journal.disable,
    }
    return commands[word](machine)


def _check_headers(machine: Machine, word: str) -> None:
    closed = mail.closed_by(machine)
    if word in closed and len(closed) == 1 and mail.is_on(machine):
        raise Fault(CONFIG, "Postfix's header lines would go to the log raw; type first: postsink disable postfix")


def _finish(word: str, state: str, change: Change, machine: Machine, dry_run: bool) -> int:
    for note in change.notes:
        _say(note)
    if not change.edits:
        _say(f"{word} is {state}; nothing to do")
        return OK
    if dry_run:
        _show(change, machine)
        return OK
    carry_out(change, machine)
    _say(f"{word} is {state}")
    if not machine.has_systemd() and change.by_hand:
        _say(f"systemd does not run here; type: {change.by_hand}")
    return OK


def _show(change: Change, machine: Machine) -> None:
    """Print what would be done: paths and commands, no contents, since a table holds the token."""
    for edit in change.edits:
        print(f"{'remove' if edit.data is None else _verb(edit.path)} {edit.path}")
    for command in change.commands if machine.has_systemd() else ():
        print(f"run {shown(command)}")


def _verb(path: Path) -> str:
    return "change" if path.exists() else "make"


def _say(words: str) -> None:
    print(f"postsink: {words}", file=sys.stderr)
