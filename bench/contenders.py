"""Who takes part in `make bench`: postsink in each of its ways, reading alone, and other programs on the same log.

Another program takes part where it is installed; a line on stderr says who is left out.
"""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bench import jobs, live
from bench.measure import ROOT, Kind, Run, dated, made_installation, measured, packed, program
from tests.integration.postgres.server import Server, made_folder, programs

IMPORT, SCRUB, READING, BARE, PFLOGSUMM = (
    "postsink import", "postsink scrub", "for line in file", "... without store", "pflogsumm",
)  # fmt: skip
READ = "import sys\nfor line in open(sys.argv[1], 'rb'): pass"
CONFIRMED = 20_000  # lines at most: each waits for its answer
ONE_CORE = 0
LOGWATCH = "usr/share/logwatch/scripts/services/postfix"
PATH = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"


class Contender(NamedTuple):
    """Who reads so many lines, one run at a time."""

    name: str
    run: Callable[[], Run]
    lines: int


class Course:
    """A log, and an installation in a folder of its own."""

    def __init__(self, folder: Path, log: Path, lines: int) -> None:
        self.folder, self.log, self.lines = folder, log, lines
        folder.mkdir(exist_ok=True)
        made_installation(folder)

    def configure(self, line: str) -> None:
        with (self.folder / "postsink.yaml").open("a") as config:
            config.write(line + "\n")

    def empty(self) -> None:
        """Each import begins with no store."""
        for old in self.folder.glob("s.sqlite*"):
            old.unlink()

    def rows(self) -> int:
        with closing(sqlite3.connect(self.folder / "s.sqlite")) as store:
            asked = "SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM reject)"
            return int(store.execute(asked).fetchone()[0])

    def contender(self, name: str, *command: str) -> Contender:
        """A program that makes no rows."""
        return Contender(name, lambda: measured(command, self.folder), self.lines)

    def imported(self, *words: str | Path) -> Run:
        """An import into SQLite."""
        self.empty()
        run = measured([*program(self.folder), "import", *map(str, words)], self.folder)
        return run._replace(rows=self.rows())

    def bare(self) -> Run:
        """The pipeline without a store."""
        said = self.folder / "rows"
        run = measured([sys.executable, "-m", "bench.pipeline", str(self.log)], self.folder, said)
        return run._replace(rows=int(said.read_text()))


def few(course: Course) -> list[Contender]:
    """Those that a mix is told by."""
    return plain(course) + peers(course, [PFLOGSUMM])


def plain(course: Course) -> list[Contender]:
    """Reading, and what an import does with and without its store."""
    return [
        course.contender(READING, sys.executable, "-c", READ, str(course.log)),
        Contender(IMPORT, lambda: course.imported(course.log), course.lines),
        Contender(BARE, course.bare, course.lines),
    ]


def all_of_them(course: Course, stack: ExitStack, kind: Kind) -> list[Contender]:
    """All; the stack ends what they need meanwhile."""
    return [
        *plain(course), Contender("... of .gz", lambda: course.imported(packed(course.log)), course.lines),
        *database(course, stack), *of_hosts(course, kind), *confirmed(course),
        course.contender(SCRUB, *program(course.folder), "scrub", str(course.log)),
        course.contender("zcat", "/usr/bin/zcat", str(packed(course.log))),
        *peers(course, [PFLOGSUMM, "postfix-logsums", "logwatch"]),
    ]  # fmt: skip


def database(course: Course, stack: ExitStack) -> list[Contender]:
    """An import into a PostgreSQL of its own, until the last row is there; the server's CPU is left out."""
    if programs() is None:
        print("PostgreSQL is not installed: left out.", file=sys.stderr)
        return []
    from bench.postgres import SETTINGS

    top = made_folder()
    stack.callback(shutil.rmtree, top)
    server = Server(top).make()
    server.configure(**SETTINGS)
    stack.callback(server.stop)
    there = server.start().make_database()
    own = Course(course.folder / "postgres", course.log, course.lines)
    own.configure(f"database: {there.conninfo()}")
    measured([*program(own.folder), "db", "init"], own.folder)

    def run() -> Run:
        own.empty()
        there.run("TRUNCATE delivery, reject", "CHECKPOINT")
        found = measured([*program(own.folder), "import", str(own.log)], own.folder)
        return found._replace(rows=there.count())

    return [Contender("... into PostgreSQL", run, own.lines)]


def of_hosts(course: Course, kind: Kind) -> list[Contender]:
    """An import of several hosts' files, by one process and by two."""
    logs = jobs.files(course.lines, course.folder, kind)
    return [
        Contender(f"... of {len(logs)} hosts", lambda: course.imported(*logs), course.lines),
        Contender("... of these, --jobs 2", lambda: course.imported("--jobs", "2", *logs), course.lines),
    ]


def confirmed(course: Course) -> list[Contender]:
    """Live, on one core: each line is confirmed before the next is sent."""
    own = Course(course.folder / "live", course.log, min(course.lines, CONFIRMED))
    own.configure("listen: [{stream: stream}]")
    with own.log.open("rb") as log:
        lines = list(islice(log, own.lines))

    def run(mode: Callable[[Path, list[bytes]], Iterator[live.Figure]]) -> Run:
        own.empty()
        with on_one_core():
            speed, used, memory = (figure.value for figure in mode(own.folder, lines))
        return Run(used * own.lines / 1e6, memory, own.lines / speed)

    return [
        Contender("omprog --direct", partial(run, live.direct), own.lines),
        Contender("omprog and daemon", partial(run, live.relayed), own.lines),
    ]


@contextmanager
def on_one_core() -> Iterator[None]:
    """Pin this process, and those that it starts, to one core meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {ONE_CORE if ONE_CORE in before else min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def peers(course: Course, names: list[str]) -> list[Contender]:
    """Other programs, where they are installed."""
    found = []
    for name in names:
        command = report(name, course.log)
        if command:
            found.append(course.contender(name, *command))
        else:
            print(f"{name} is not installed: left out.", file=sys.stderr)
    return found


def report(name: str, log: Path) -> list[str]:
    """The command by which another program reports on a log; empty where it is not installed."""
    if name == "logwatch":
        # Of logwatch that is the part for Postfix, which does the work: what stands before it picks lines by date.
        # It reads no times but the old ones, and of queue ids either the short or the long ones.
        scripts = [top / LOGWATCH for top in (Path("/"), ROOT / "build/unpacked/logwatch") if (top / LOGWATCH).exists()]
        return ["/usr/bin/perl", str(scripts[0]), "--long_queue_ids", "--nodetail", str(dated(log))] if scripts else []
    tool = shutil.which(name, path=PATH)
    return [tool, *(["--detail", "0"] if name == PFLOGSUMM else []), str(log)] if tool else []
