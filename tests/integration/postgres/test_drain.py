"""Rows go on to the database: from import, from the daemon and from rsyslogd's child; what happens when they can't."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path

import pytest
import yaml

from sink.fault import CONFIG, OK, TEMPFAIL, UNAVAILABLE
from sink.stores.drain import Drain
from sink.stores.route import Route
from tests.integration.asking import PATIENCE, ask, one_line, rows, said
from tests.integration.live.confirming import deliver
from tests.integration.live.omprog import Child
from tests.integration.live.service import Service, eventually
from tests.integration.postgres.driving import IMPATIENT, RESTLESS, ended, started, told
from tests.integration.postgres.server import Database
from tests.judges.program import Program, Row

# A store of 700 kB: what `outbox:` says is far more.
SMALL = """
from sink.stores import sqlite
limit = sqlite.SqliteStore.limit
sqlite.SqliteStore.limit = lambda self, size: limit(self, size and 700_000)
"""
# Likewise, of an import, whose drain takes little at a time.
NARROW = """
from sink.stores import drain
from sink.tools import moving
drain.MOST = 100
begin = moving.Moving.__init__
def small(self, *given):
    begin(self, *given)
    self._most_bytes = 300_000
moving.Moving.__init__ = small
"""
# The drain looks, finds nothing, and goes on only when it is told to finish: meanwhile rows were stored.
SLOW = """
from sink.stores import drain
import threading
look = drain.Drain._batch
def slow(self, *given):
    found = look(self, *given)
    while not found and not self._finishing:
        threading.Event().wait(0.01)
    return found
drain.Drain._batch = slow
"""
BROKEN = "from sink.stores import drain; drain.Drain._batch = lambda self, *given: 1 / 0"


def waiting(program: Program) -> int:
    return sum(program.query(f"SELECT count(*) FROM {table}")[0][0] for table in ("delivery", "reject"))


def test_an_import(served: Program, database: Database, some_log: Path, wanted: list[Row]) -> None:
    """All rows are there, none waits, and nothing is there twice, also when half of it comes again."""
    for number in (len(wanted), 0):
        answer = ask(served, "import", "--json", some_log)
        assert answer.status == OK
        summary = json.loads(answer.out)
        assert summary["deliveries"] + summary["rejects"] == number
        assert (database.both(), waiting(served)) == (wanted, 0)


def test_the_daemon(live: Program, database: Database, some_lines: list[bytes], wanted: list[Row]) -> None:
    with Service(live) as service:
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        eventually(lambda: database.count() == len(wanted))
        assert database.both() == wanted
        eventually(lambda: service.status()["outbox"] == 0)
        status = service.status()
        assert (status["database"], status["outbox_since"]) == ("well", None)
        assert service.stop() == OK
    assert waiting(live) == 0


def test_rsyslogds_child(live: Program, database: Database, some_lines: list[bytes], wanted: list[Row]) -> None:
    with Child(live, "--direct") as child:
        assert child.reply()
        assert child.deliver(some_lines) == len(some_lines)
        eventually(lambda: database.count() == len(wanted))
        assert child.close() == OK
    assert database.both() == wanted


def test_a_store_that_had_rows_before(program: Program, database: Database, some_log: Path, wanted: list[Row]) -> None:
    """Who names a database later sends there what is in the store."""
    assert ask(program, "import", some_log).status == OK
    assert ask(database.serve(program), "import", "/dev/null").status == OK
    assert (database.both(), waiting(program)) == (wanted, 0)


def test_rows_that_are_stored_while_the_drain_looks(served: Program, database: Database, some_log: Path) -> None:
    """An import ends when all rows have left, not when the drain found none just before they came."""
    assert told(served, SLOW, "import", some_log).status == OK
    assert waiting(served) == 0 and database.count()


def test_a_daily_series(served: Program, database: Database, some_lines: list[bytes], wanted: list[Row],
                        tmp_path: Path) -> None:  # fmt: skip
    """No row is shown before it is settled: one that is there can't be changed."""
    path = tmp_path / "part.log"
    for part in (some_lines[:700], some_lines[700:1500], some_lines[1500:]):
        path.write_bytes(b"".join(line + b"\n" for line in part))
        assert ask(served, "import", "--stream", "daily", path).status == OK
    assert database.both() == wanted


# -- the database is away


def test_an_import_gives_up_after_a_while(
    served: Program, database: Database, some_log: Path, wanted: list[Row]
) -> None:
    """75 and one line more; rows wait, and the next import, of whatever, takes them along."""
    with database.away():
        answer = told(served, IMPATIENT, "import", some_log)
    assert answer.status == TEMPFAIL and len(answer.words) == 2, answer
    assert "the database is away or busy (connection); rows wait" in answer.words[0]
    said(answer, "the database does not take the rows; they wait in the store; start again later")
    assert rows(served) == wanted
    assert ask(served, "import", "/dev/null").status == OK
    assert (database.both(), waiting(served)) == (wanted, 0)


def test_an_import_waits_for_a_database_that_comes_back(
    served: Program, database: Database, some_log: Path, wanted: list[Row]
) -> None:
    with database.away():
        process = started(served, RESTLESS, "import", some_log)
        under_way = process.__enter__()
        eventually(lambda: served.store.exists() and rows(served) == wanted)
    answer = ended(under_way)
    process.__exit__(None, None, None)
    assert answer.status == OK
    assert [line.partition("(")[0] for line in answer.words[:2]] == [
        "postsink: the database is away or busy ", "postsink: the database is back; rows move on",
    ]  # fmt: skip
    assert (database.both(), waiting(served)) == (wanted, 0)


@pytest.mark.parametrize("most", [200_000, 20], ids=["at its end", "amid"])
def test_an_import_that_waits_can_be_stopped(
    served: Program, database: Database, some_log: Path, wanted: list[Row], most: int
) -> None:
    """By Ctrl-C, at its end and where too many rows wait."""
    bug = f"{RESTLESS}; from sink.tools import moving, importer; moving.MOST_WAITING = {most}; importer.BATCH = 10"
    with database.away():
        with started(served, bug, "import", some_log) as process:
            eventually(lambda: served.store.exists() and len(rows(served)) >= min(most, len(wanted)))
            # It may be just about to wait: then it sees that it was asked to end.
            process.send_signal(signal.SIGINT)
            answer = ended(process)
    assert answer.status == TEMPFAIL
    said(answer, "stopped; rows wait in the store, and move on with the next import, or the daemon")
    if most < len(wanted):
        assert most <= len(rows(served)) < len(wanted), "it went on although too many wait"
    assert ask(served, "import", some_log).status == OK
    assert database.both() == wanted


def test_one_that_hangs_does_not_have_the_last_word(served: Program, some_log: Path) -> None:
    """Whoever stops it and waits no longer says how it ended; what it learns then is no news."""
    assert ask(served, "import", some_log).status == OK
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        address = f"host=127.0.0.1 port={silent.getsockname()[1]} dbname=rows"
        drain = Drain(Route(served.store, address, "", {}), told.append)
        drain.start()
        under_way = silent.accept()[0]
        drain.stop(0.0)
        assert drain.is_alive()
        under_way.close()
    drain.join(PATIENCE)
    assert (drain.is_alive(), drain.trouble, told) == (False, "connection", [])


def test_an_outbox_that_is_full_holds_an_import_back(
    served: Program, database: Database, log: Path, undisturbed: Program
) -> None:
    """Rows that leave make room; nothing is lost, and the file does not grow."""
    assert told(served, RESTLESS + NARROW, "import", log).status == OK
    assert database.both() == rows(undisturbed)
    assert served.store.stat().st_size < 600_000 < undisturbed.store.stat().st_size


def test_the_daemon_holds_rows_back_and_goes_on(
    live: Program, database: Database, some_lines: list[bytes], wanted: list[Row]
) -> None:
    """What waits is told; it survives the daemon, and leaves when the database is back."""
    with database.away():
        with Service(live, bug=RESTLESS) as service:
            assert deliver(service.stream, some_lines, 100) == len(some_lines)
            assert service.said.ever("the database is away or busy (connection); rows wait in the store")
            status = service.status()
            assert (status["outbox"], status["database"], status["stuck"]) == (len(wanted), "connection", False)
            assert status["outbox_since"] == min(row[0] for row in live.query("SELECT logged_second FROM delivery"))
            assert service.stop() == OK
        assert rows(live) == wanted
        service = Service(live, bug=RESTLESS)
        assert service.said.ever("the database is away or busy")
    with service:
        assert service.said.until("the database is back; rows move on")
        eventually(lambda: database.count() == len(wanted))
        assert service.stop() == OK
        assert len([line for line in service.said.all if "the database" in line]) == 2, "it said so again and again"
    assert (database.both(), waiting(live)) == (wanted, 0)


def test_a_full_outbox_stops_the_reading(
    live: Program, database: Database, log: Path, some_lines: list[bytes], undisturbed: Program
) -> None:
    """As a full disk does: nothing more is confirmed; when rows leave, it goes on, and nothing is lost."""
    lines = log.read_bytes().split(b"\n")[:-1]
    confirmed: list[int] = []
    with database.away():
        service = Service(live, bug=RESTLESS + SMALL)
        sender = threading.Thread(target=lambda: confirmed.append(deliver(service.stream, lines, 100)))
        sender.start()
        assert service.said.until("the store can't take more")
        assert service.status()["stuck"] and not confirmed
        assert live.store.stat().st_size <= 700_000
    with service:
        assert service.said.until("the store takes rows again")
        sender.join(PATIENCE)
        assert confirmed == [len(lines)]
        assert service.stop() == OK
    assert ask(live, "import", log).status == OK  # what was open at the end is not settled
    assert database.both() == rows(undisturbed)


# -- the drain itself


def test_without_libpq(served: Program, some_log: Path) -> None:
    """psycopg is installed by itself, its library is not: what to type is said, not a page of psycopg's."""
    hidden = "import ctypes.util; ctypes.util.find_library = lambda name: None"
    for words in (["import", str(some_log)], ["run"], ["db", "status"]):
        one_line(told(served, hidden, *words), UNAVAILABLE, "client library is missing; type: apt-get install libpq5")


def test_a_conninfo_that_is_none(live: Program, some_log: Path, database: Database) -> None:
    """Stops the start; a reload refuses it, and goes on with the old one. It is never repeated."""
    text = live.config.read_text()
    with Service(live) as service:
        live.config.write_text(yaml.safe_dump({**yaml.safe_load(text), "database": "host canary-word"}))
        service.send(signal.SIGHUP)
        line = service.said.until("not reloaded")
        assert "database: is no conninfo or URI of PostgreSQL" in line and "canary" not in line
        assert service.status()["database"] == "well"
        assert service.stop() == OK
    for words in (["run"], ["import", str(some_log)]):
        one_line(ask(live, *words), CONFIG, "database: is no conninfo or URI of PostgreSQL; correct it in the config")


def test_another_database_by_reload(
    live: Program, database: Database, template: Database, some_lines: list[bytes], wanted: list[Row]
) -> None:
    """Rows then go there; and none, while there is none."""
    other = database.server.make_database(template.name)
    text = live.config.read_text()
    with Service(live, bug=RESTLESS) as service:
        live.config.write_text(text.replace(database.name, other.name))
        service.send(signal.SIGHUP)
        assert service.said.until("reloaded")
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        eventually(lambda: other.count() == len(wanted))
        known = yaml.safe_load(text)
        del known["database"]
        live.config.write_text(yaml.safe_dump(known))
        service.send(signal.SIGHUP)
        assert service.said.until("reloaded")
        assert "outbox" not in service.status()
        assert service.stop() == OK
    assert (other.both(), database.count()) == (wanted, 0)


def test_a_bug_in_the_drain_ends_an_import(served: Program, database: Database, some_log: Path) -> None:
    """Rows that did not leave are not taken for moved."""
    with started(served, BROKEN, "import", some_log) as process:
        err = process.communicate()[1].decode()
    assert process.returncode == 70
    assert err.startswith("postsink: a bug: ZeroDivisionError in a thread at ")


def test_a_bug_in_the_drain_does_not_end_the_daemon(
    live: Program, database: Database, some_lines: list[bytes], wanted: list[Row]
) -> None:
    """Lines are taken on, the status says so, and after a while there is another drain."""
    once = (
        "from sink.stores import drain\nreal = drain.Drain._batch\ndef batch(self, *given):\n"
        "    drain.Drain._batch = real\n    return 1 / 0\ndrain.Drain._batch = batch\n"
        "from sink.service import outbox; outbox.MINUTE = 0.1"
    )
    with Service(live, bug=once, may_crash=True) as service:
        assert service.said.until("a bug: ZeroDivisionError in a thread")
        assert deliver(service.stream, some_lines, 100) == len(some_lines)
        eventually(lambda: database.count() == len(wanted))
        assert service.status()["database"] == "well"
        assert service.stop() == OK
    assert database.both() == wanted
