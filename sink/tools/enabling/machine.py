"""The machine that is to be changed: where its files are, and which programs it has.

Everything is found from one root folder, so that a test has a machine of its own. Programs come from PATH and from
the folders of root's programs. What they print is never shown, since it may quote anything: only where it points to.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sink.fault import CONFIG, UNAVAILABLE, Fault

ACCOUNT: Final = "_postsink"  # DESIGN: the system user of the daemon
_PATIENCE: Final = 120  # seconds; systemctl restart waits for a service's end, 90 s by default
_PLAIN: Final = re.compile(r"/[\w/.+@-]*", re.ASCII)  # stands in any config file without quotes
_UNIT_FOLDERS: Final = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
# "/x.conf, on or before line 3" and "/x.conf' around line 3" of rsyslogd, "/x.conf:3:1" of syslog-ng,
# "/main.cf, line 3" of Postfix
_PLACE: Final = re.compile(r"(/[\w/.+@-]+)(?:', around|' around|, on or before|,)? ?(?:line |:)(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Said:
    """How a program ended; `errors` is for us alone."""

    status: int
    output: str = field(repr=False)
    errors: str = field(repr=False)

    def place(self) -> str:
        """Return the file and line that an error points to, as words, or nothing."""
        found = _PLACE.search(self.errors) or _PLACE.search(self.output)
        return f" ({found[1]} line {found[2]})" if found else ""


@dataclass(frozen=True, slots=True)
class Machine:
    """A root folder, the environment that programs are found in, and the config file that postsink runs with."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    config: Path | None = None  # as the command line names it

    def at(self, path: str) -> Path:
        """Return where a path, without its first slash, is on this machine."""
        return self.root / path

    def has(self, path: str) -> bool:
        """Whether something is there."""
        return self.at(path).exists()

    def has_systemd(self) -> bool:
        """Whether systemd runs, as sd_booted(3) finds out."""
        return self.at("run/systemd/system").is_dir()

    def unit(self, name: str) -> Path | None:
        """Return the file of a unit."""
        return next((path for folder in _UNIT_FOLDERS if (path := self.at(folder) / name).is_file()), None)

    def account(self) -> str:
        """Return the user that the daemon runs as."""
        try:
            accounts = self.at("etc/passwd").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "root"
        return ACCOUNT if re.search(rf"^{ACCOUNT}:", accounts, re.MULTILINE) else "root"

    def finds(self, program: str) -> str | None:
        """Return the path of a program."""
        return shutil.which(program, path=self._path())

    def run(self, *command: str, given: str = "") -> Said:
        """Run a program, with `given` on its stdin; 69 where it is missing or does not end."""
        program = self.finds(command[0])
        if program is None:
            raise Fault(UNAVAILABLE, f"the program {command[0]} is missing; install it")
        try:
            done = subprocess.run(
                [program, *command[1:]], input=given, capture_output=True, timeout=_PATIENCE, check=False,
                text=True, errors="replace", env={**self.environment, "PATH": self._path(), "LC_ALL": "C"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            raise Fault(UNAVAILABLE, f"the program {command[0]} does not run, or not end; try it by hand") from None
        return Said(done.returncode, done.stdout, done.stderr)

    def postsink(self) -> str:
        """Return the command line that starts postsink, as far as a command's name."""
        program = self.at("usr/bin/postsink")
        if not program.exists():
            name = sys.argv[0] if Path(sys.argv[0]).name == "postsink" else "postsink"
            found = self.finds(name)
            if found is None:
                raise Fault(UNAVAILABLE, "the program postsink is not in PATH; install it")
            program = Path(found).absolute()
        words = [plain(program)]
        if self.config is not None:
            words += ["--config", plain(self.config.absolute())]
        return " ".join(words)

    def _path(self) -> str:
        return self.environment.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def plain(path: Path) -> str:
    """Return a path as it can stand in a config file; 78 where it holds what would need quotes there."""
    text = str(path)
    if not _PLAIN.fullmatch(text):
        raise Fault(CONFIG, "a path holds blanks or other signs; give one of letters, digits and /.-_")
    return text


def shown(command: Sequence[str]) -> str:
    """Return a command as one types it."""
    return " ".join(command)
