"""journald: that it writes no line to a disk; and Postfix's unit, so that it logs past journald."""

import re
from pathlib import Path
from typing import Final

from sink.config import Config
from sink.fault import CONFIG, Fault
from sink.tools.enabling import snippets
from sink.tools.enabling.change import Change, Edit, content
from sink.tools.enabling.machine import Machine, plain

SOCKET: Final = Path("/run/postsink/log/dev-log")  # as journald/postfix.service.conf has its folder
_DAEMON: Final = ("usr/lib/systemd/systemd-journald", "lib/systemd/systemd-journald")
# journald.conf(5), the main file first; of two files of one name the one of the earlier folder counts.
_MAIN: Final = ("etc/systemd/journald.conf", "run/systemd/journald.conf", "usr/lib/systemd/journald.conf")
_FOLDERS: Final = ("etc/systemd/journald.conf.d", "run/systemd/journald.conf.d", "usr/lib/systemd/journald.conf.d")
_STORAGE: Final = re.compile(r"^\s*Storage\s*=\s*(\w*)", re.MULTILINE)
_JOURNAL: Final = re.compile(r"^\s*\[Journal\]\s*$([^\[]*+)", re.MULTILINE)  # what stands in another section is nothing
_EMPTY: Final = re.compile(r"^ExecStart=(?:/usr)?/bin/true$", re.MULTILINE)
RESTART: Final = ("systemctl", "restart", "systemd-journald.service")


def is_there(machine: Machine) -> bool:
    """Whether lines pass through journald on this machine."""
    return any(machine.has(path) for path in _DAEMON)


def keeps_nothing(machine: Machine) -> bool:
    """Whether journald writes no file, by the last word on Storage."""
    files = [next((machine.at(name) for name in _MAIN if machine.has(name)), machine.at(_MAIN[0]))]
    names = {path.name for folder in _FOLDERS for path in machine.at(folder).glob("*.conf")}
    for name in sorted(names):
        files.append(next(path for folder in _FOLDERS if (path := machine.at(folder) / name).exists()))
    sections = [part for path in files for part in _JOURNAL.findall(snippets.active(content(path)))]
    found = [word for part in sections for word in _STORAGE.findall(part)]
    return bool(found) and found[-1] in ("none", "volatile")


def conf(machine: Machine, word: str) -> Path:
    """Return journald's file for a word; each has its own, so that one can go and the other stay."""
    return machine.at(f"etc/systemd/journald.conf.d/zz-postsink-{word}.conf")  # zz: the last word counts


def edits(machine: Machine, word: str) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """Return the edit that makes journald keep lines in memory, where there is a journald."""
    if not is_there(machine):
        return (), ()
    return snippets.installed(conf(machine, word), snippets.text("journald/journald.conf"))


def check_storage(machine: Machine) -> None:
    """Stop where another file has the last word."""
    if is_there(machine) and not keeps_nothing(machine):
        raise Fault(CONFIG, "another file of journald.conf.d has lines written to the disk; set Storage=volatile there")


def check_heart(ours: Path, is_closed: bool) -> None:
    """Stop where a piece lets lines through, whatever its own program says: syslog-ng -s only warns of a flag."""
    if not is_closed:
        raise Fault(CONFIG, f"with {ours} as it is, raw lines would reach the log; disable and enable to have it anew")


def _unit(machine: Machine) -> str:
    """Return the unit that starts Postfix's master: on Debian 12 postfix.service is an empty shell."""
    shell = machine.unit("postfix.service")
    if shell is None:
        raise Fault(CONFIG, "there is no postfix.service; install Postfix, or set its unit by hand as README.md tells")
    empty = _EMPTY.search(shell.read_text(encoding="utf-8", errors="replace"))
    return "postfix@-.service" if empty and machine.unit("postfix@.service") else "postfix.service"


def _drop_ins(machine: Machine) -> list[Path]:
    names = ("postfix@-.service", "postfix.service")
    return [machine.at(f"etc/systemd/system/{name}.d/postsink.conf") for name in names]


def is_bound(machine: Machine) -> bool:
    """Whether Postfix logs past journald."""
    try:
        drop_in = machine.at(f"etc/systemd/system/{_unit(machine)}.d/postsink.conf")
    except Fault:
        return False
    return f"BindPaths={SOCKET.parent}:/run/systemd/journal" in snippets.active(content(drop_in)).split("\n")


def _check_listen(settings: Config) -> None:
    for entry in settings.listen:
        if entry.kind == "datagram" and entry.path == SOCKET:
            return
    raise Fault(CONFIG, f"`listen` in the config must hold {{datagram: {SOCKET}, mode: 0666}}; add it")


def enable(machine: Machine, settings: Config) -> Change:
    """Return the change that has Postfix log to the daemon's datagram socket."""
    _check_listen(settings)
    unit = _unit(machine)
    drop_in = machine.at(f"etc/systemd/system/{unit}.d/postsink.conf")
    folder = machine.at("etc/tmpfiles.d/postsink.conf")
    made = [
        edits(machine, "journald"),
        snippets.installed(folder, snippets.text("journald/tmpfiles.conf").replace("USER", machine.account())),
        snippets.installed(drop_in, snippets.text("journald/postfix.service.conf")),
    ]

    def verify() -> None:
        if machine.finds("systemd-analyze") and machine.has_systemd():
            said = machine.run("systemd-analyze", "verify", unit)
            if str(drop_in) in said.errors:
                raise Fault(CONFIG, f"systemd-analyze verify refuses {drop_in}; systemd 233 or newer is needed")

    return Change(
        edits=tuple(edit for found, _ in made for edit in found),
        checks=(lambda: check_storage(machine), verify, lambda: check_heart(drop_in, is_bound(machine))),
        commands=(
            ("systemctl", "daemon-reload"),
            ("systemd-tmpfiles", "--create", plain(folder)),
            RESTART,
            ("systemctl", "try-restart", unit),
        ),
        by_hand=f"systemctl daemon-reload && systemd-tmpfiles --create && systemctl restart systemd-journald {unit}",
        notes=tuple(note for _, notes in made for note in notes),
    )


def disable(machine: Machine) -> Change:
    """Return the change that has Postfix log to journald again."""
    files = [conf(machine, "journald"), machine.at("etc/tmpfiles.d/postsink.conf"), *_drop_ins(machine)]
    return Change(
        edits=tuple(Edit(path, None) for path in files if path.exists()),
        commands=(
            ("systemctl", "daemon-reload"),
            RESTART,
            *(("systemctl", "try-restart", path.parent.name[:-2]) for path in _drop_ins(machine) if path.exists()),
        ),
        by_hand="systemctl daemon-reload && systemctl restart systemd-journald postfix",
    )
