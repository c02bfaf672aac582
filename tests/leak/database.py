"""Drives with a PostgreSQL behind the store: rows go there by a socket, whose every byte is searched.

Its own log is searched as well: it logs each statement, and each error with the row that it is about.
"""

from __future__ import annotations

import os

import yaml

from sink.fault import CONFIG, FINDINGS, OK, TEMPFAIL, UNAVAILABLE
from tests.integration.live.confirming import deliver
from tests.integration.live.service import eventually
from tests.integration.postgres.server import SUPERUSER, Database
from tests.leak.canaries import STEM
from tests.leak.cases import PERSON, Case
from tests.leak.ground import Drive
from tests.leak.live import FEW, all_lines
from tests.leak.watch import to_a_database_elsewhere

PASSWORD = f"{STEM}password"
# Patient programs make slow tests.
HURRIED = """
from sink.stores import drain
from sink.tools import moving
drain.PAUSE = drain.FIRST = drain.LONGEST = drain.REFUSED = 0.05
moving.PATIENCE = 1.0
"""
REFUSED = (OK, FINDINGS, UNAVAILABLE, TEMPFAIL, CONFIG)


def served(drive: Drive) -> Database:
    """A database of its own, with a schema; what the server logs is searched with the drive."""
    made = drive.ground.server.make_database()
    made.serve(drive.program, writer=SUPERUSER, admin=SUPERUSER)
    log = made.server.log
    begun = log.stat().st_size

    def look() -> None:
        with log.open("rb") as file:
            file.seek(begun)
            drive.watch.search(file.read(), "PostgreSQL's log")

    drive.stack.callback(look)
    drive.bug = HURRIED
    drive.run("db", "init")
    return made


def imported(drive: Drive) -> None:
    database = served(drive)
    drive.run("import", drive.log("log"))
    assert database.count() > FEW
    drive.run("db", "status")
    drive.run("lookup", input=PERSON.encode(), status=(OK, FINDINGS))
    drive.run("forget", "--yes", input=PERSON.encode())
    drive.run("db", "prune", "--older-than", "1d", "--yes")


def drained(drive: Drive) -> None:
    database = served(drive)
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    eventually(lambda: database.count() > FEW)
    drive.run("status")
    drive.watch.look_at(service.process.pid)
    assert service.stop() == OK


def refused(drive: Drive) -> None:
    """A row that breaks a rule of somebody else's: the server quotes it."""
    database = served(drive)
    database.run("ALTER TABLE delivery ADD CONSTRAINT ours CHECK (delay < 0.001)")
    drive.run("import", drive.log("log"), status=REFUSED)
    service = drive.serve()
    lines = all_lines()
    assert deliver(service.stream, lines, 100) == len(lines)
    drive.run("status", status=REFUSED)
    assert service.stop() in REFUSED


def away(drive: Drive) -> None:
    """Nobody is there, or nobody lets us in; the password of the config is not told."""
    drive.bug = HURRIED
    known = yaml.safe_load(drive.program.config.read_text())
    nowhere = f"host={drive.watch.root / 'nowhere'} user=postsink password={PASSWORD} dbname=mail connect_timeout=2"
    places = (nowhere, f"postgresql://postsink:{PASSWORD}@127.0.0.1:1/mail", f"postgresql://x:{PASSWORD}@[/mail")
    for place in places:
        drive.program.config.write_text(yaml.safe_dump({**known, "database": place}))
        os.chmod(drive.program.config, 0o600)
        drive.run("import", drive.log("fields"), status=REFUSED)
        drive.run("db", "status", status=REFUSED)


DATABASE = (
    Case("database: import, look-up, prune", imported),
    Case("database: run", drained),
    Case("database: rows are refused", refused),
    Case("database: away", away, allowed=(to_a_database_elsewhere,)),
)
