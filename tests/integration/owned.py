"""An installation as the package lays it out: config and seal are root's, store and keyring a service user's."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.integration.asking import PATIENCE, Answer, environment
from tests.judges.program import Program

NOBODY = 65534  # has an account
STRANGER = 61_234  # has none
# Runs a command and tells who it was when it ended.
TELLING = """\
import json, os, sys
from pathlib import Path
from sink import cli
status = cli.main(sys.argv[1:])
known = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
try:
    os.setresuid(0, 0, 0)
except PermissionError:
    pass
who = {"users": os.getresuid(), "groups": os.getresgid(), "others": os.getgroups(), "mask": os.umask(0),
       "rights": int(known["CapPrm"], 16) | int(known["CapEff"], 16), "home": os.environ.get("HOME")}
print(json.dumps(who), file=sys.stderr)
sys.exit(status)
"""


@dataclass
class Who:
    """Whom a process was at its end, after it tried to be root again."""

    users: list[int]
    groups: list[int]
    others: list[int]
    mask: int
    rights: int
    home: str

    @property
    def is_root(self) -> bool:
        return self.users == [0, 0, 0]

    def is_only(self, user: int) -> bool:
        """Whether nothing is left of root."""
        left = {*self.users, *self.groups, *self.others, self.rights}
        return self.users == [user] * 3 and left <= {user, 0} and self.rights == 0 and 0 not in self.groups


def owned(folder: Path, user: int, **config: object) -> Program:
    """An installation in a folder that everybody may enter: etc is root's, lib the user's."""
    lib = folder / "lib"
    lib.mkdir()
    os.chown(lib, user, user)
    lib.chmod(0o750)
    settings = {
        "store": str(lib / "s.sqlite"), "keyring": str(lib / "keyring"), "timezone": "UTC",
        "listen": [{"stream": str(lib / "stream")}], **config,
    }  # fmt: skip
    program = Program(folder / "etc", **settings)
    program.store = lib / "s.sqlite"
    program.folder.chmod(0o755)
    program.config.chmod(0o644)
    return program


def ask_who(
    program: Program, *arguments: str | Path, stdin: bytes = b"", typed: tuple[str, ...] = (), bug: str = "",
    **more: str,
) -> tuple[Answer, Who]:  # fmt: skip
    """Run a command, at a terminal where something is typed; tell what it said, and whom it was at its end.

    bug: lines of Python that its process runs first.
    """
    ours, theirs = pty.openpty()
    # A session's first open of a terminal makes it the controlling one, see credentials(7).
    code = f"import os; os.close(os.open({os.ttyname(theirs)!r}, os.O_RDWR))\n{bug}\n{TELLING}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--config", str(program.config), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=program.folder,
        env={**environment(), **more}, start_new_session=True,
    )  # fmt: skip
    try:
        for text in typed:
            assert select.select([ours], [], [], PATIENCE)[0], "nothing is asked for"
            while not os.read(ours, 4096).endswith(b": "):
                pass
            os.write(ours, text.encode() + b"\n")
        out, err = process.communicate(stdin, PATIENCE)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)
    *words, last = err.decode().splitlines()
    assert last.startswith("{"), err
    answer = Answer(process.returncode, out.decode(), "".join(f"{word}\n" for word in words))
    assert "Traceback" not in answer.err and "a bug" not in answer.err, answer.err
    return answer, Who(**json.loads(last))
