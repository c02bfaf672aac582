"""The database fails in each way that it can, amid the moving: at the end the rows are those of an undisturbed run.

The daemon goes on taking lines all the while, and never ends by itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from sink.fault import OK
from tests.integration.asking import PATIENCE, ask, rows
from tests.integration.live.confirming import Confirming, deliver
from tests.integration.live.conftest import ends, import_of
from tests.integration.live.service import KILLED, Service, eventually, listening
from tests.integration.postgres.conftest import USERS
from tests.integration.postgres.driving import RESTLESS, started, written
from tests.integration.postgres.server import Database, Server, made_folder
from tests.judges.program import Program, Row

# Few rows a transaction, so that there are many of them; what waits for a lock does not wait long.
NARROW = f"""{RESTLESS}
drain.MOST = drain.SOON = 20
from sink.stores import postgres
postgres.SESSION = postgres.SESSION.replace("'10s'", "'100ms'")
"""


@pytest.fixture(scope="module")
def harmed(folder: Path) -> Iterator[Server]:
    """A server that is stopped and killed."""
    made = Server(folder, "harmed").make().start()
    try:
        yield made
    finally:
        made.stop("immediate")


@pytest.fixture(scope="module")
def model(harmed: Server, with_keys: Program, tmp_path_factory: pytest.TempPathFactory) -> Database:
    return initialised(harmed, with_keys.sibling(tmp_path_factory.mktemp("pg") / "init"))


def initialised(server: Server, program: Program) -> Database:
    """A database with the schema, and the users of its roles."""
    made = server.make_database()
    made.serve(program, admin="postgres")
    assert ask(program, "db", "init").status == OK
    server.run(*(f"CREATE USER {user} IN ROLE {role}" for user, role in USERS.items()))
    return made


@pytest.fixture(scope="module")
def lines(log: Path) -> list[bytes]:
    found = log.read_bytes().split(b"\n")[:6000]
    return [*found, *ends(found[-1])]


@pytest.fixture(scope="module")
def whole_log(lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("lines") / "mail.log", lines)


@pytest.fixture(scope="module")
def expected(with_keys: Program, lines: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return rows(import_of(with_keys, lines, tmp_path_factory.mktemp("expected")))


class Flow:
    """Lines on their way through a daemon into a database, which a test disturbs between them."""

    def __init__(self, program: Program, database: Database, lines: list[bytes], expected: list[Row]) -> None:
        self.program, self.database, self.expected = program, database, expected
        self.service = Service(program, bug=NARROW)
        self._lines = lines
        self._client = Confirming(self.service.stream)

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__()
        self.service.__exit__()

    def feed(self, number: int) -> None:
        """Send so many lines more; the daemon confirms them, whatever the database does."""
        sent = self._client.confirmed
        more = self._lines[sent : sent + number]
        for at in range(0, len(more), 50):
            self._client.send(*more[at : at + 50])
            self._client.until(sent + min(at + 50, len(more)))

    def until(self, number: int) -> None:
        """Wait until so many rows have arrived."""
        eventually(lambda: self.database.count() >= number, PATIENCE)

    def backend(self) -> int:
        """The process that serves the drain."""
        found: list[int] = []
        question = "SELECT pid FROM pg_stat_activity WHERE usename = 'drain'"
        eventually(lambda: found.extend(pid for (pid,) in self.database.ask(question)) or found)
        return found[0]

    def throw_out(self) -> None:
        """End the drain's connection."""
        self.database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drain'")

    def until_trouble(self, *kinds: str) -> None:
        """Send lines until the drain has noticed something."""
        self.feed(300)
        eventually(lambda: self.service.status()["database"] in kinds, PATIENCE)

    def end(self) -> None:
        """All lines were confirmed, all rows have arrived, alike and once, and the daemon lives."""
        self.feed(len(self._lines))
        self.until(len(self.expected))
        assert self.database.both() == self.expected
        eventually(lambda: self.service.status()["outbox"] == 0)
        assert self.service.status()["database"] == "well"
        assert self.service.stop() == OK
        said = " ".join(self.service.said.all)
        assert not [word for word in ("ERROR", "FATAL", "delivery", "failed") if word in said], said


@pytest.fixture
def flow(
    model: Database, harmed: Server, with_keys: Program, home: Path, lines: list[bytes], expected: list[Row]
) -> Iterator[Flow]:
    database = harmed.make_database(model.name)
    program = database.serve(listening(with_keys.sibling(home / "live")))
    with Flow(program, database, lines, expected) as flowing:
        yield flowing
    harmed.run(f"DROP DATABASE {database.name} WITH (FORCE)")


def stopped(flow: Flow) -> None:
    """Immediately, as where the power fails, and away for a while."""
    flow.database.server.stop("immediate")
    flow.until_trouble("connection")
    flow.database.server.start()


def stopped_in_order(flow: Flow) -> None:
    flow.database.server.stop("fast")
    flow.until_trouble("connection")
    flow.database.server.start()


def backend_killed(flow: Flow) -> None:
    """The server then throws everybody out, and begins anew."""
    os.kill(flow.backend(), signal.SIGKILL)
    eventually(flow.database.server.is_up)


def thrown_out(flow: Flow) -> None:
    """Again and again."""
    for _ in range(10):
        flow.throw_out()
        flow.feed(100)


def cancelled(flow: Flow) -> None:
    """By an admin, and by a time limit below what a transaction takes."""
    flow.database.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'drain'")
    flow.database.run(f"ALTER ROLE drain IN DATABASE {flow.database.name} SET statement_timeout = '1ms'")
    flow.throw_out()
    flow.until_trouble("57014", "57P01", "connection")
    flow.database.run(f"ALTER ROLE drain IN DATABASE {flow.database.name} RESET statement_timeout")


def frozen(flow: Flow) -> None:
    """It takes connections and does nothing."""
    pid = flow.backend()
    os.kill(pid, signal.SIGSTOP)
    try:
        before = rows(flow.program)
        flow.feed(500)
        eventually(lambda: len(rows(flow.program)) > len(before))
    finally:
        os.kill(pid, signal.SIGCONT)


def locked(flow: Flow) -> None:
    """Somebody changes the table, for longer than we wait."""
    with flow.database.connected() as connection, connection.transaction():
        connection.execute("LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE")
        flow.until_trouble("55P03")


def forbidden(flow: Flow) -> None:
    """Each right that is needed is taken away, and given again."""
    name = flow.database.name
    for right, others in (
        ("INSERT ON delivery", ""), ("SELECT ON epoch", ""), (f"TEMPORARY ON DATABASE {name}", "PUBLIC, "),
        (f"CONNECT ON DATABASE {name}", "PUBLIC, "),
    ):  # fmt: skip
        flow.database.run(f"REVOKE {right} FROM {others}postsink_writer")
        flow.throw_out()
        flow.until_trouble("refused")
        flow.database.run(f"GRANT {right} TO {others}postsink_writer")


def partitions_dropped(flow: Flow) -> None:
    """With the rows that were there: those come no more, the others do."""
    flow.database.run("CREATE TABLE kept AS SELECT * FROM delivery WHERE false")
    with flow.database.connected() as connection, connection.transaction():
        connection.execute("LOCK TABLE delivery IN ACCESS EXCLUSIVE MODE")
        for (name,) in connection.execute("SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class c ON c.oid ="
                                          " inhrelid WHERE inhparent = 'delivery'::regclass").fetchall():  # fmt: skip
            connection.execute(f"INSERT INTO kept SELECT * FROM {name}")  # type: ignore[call-overload]
            connection.execute(f"DROP TABLE {name}")  # type: ignore[call-overload]
    flow.until_trouble("refused")
    assert ask(flow.program, "db", "upgrade").status == OK
    flow.database.run("INSERT INTO delivery SELECT * FROM kept", "DROP TABLE kept")


def everything(flow: Flow) -> None:
    for harm in (thrown_out, stopped, locked, backend_killed):
        harm(flow)


HARMS = (stopped, stopped_in_order, backend_killed, thrown_out, cancelled, frozen, locked, forbidden,
         partitions_dropped, everything)  # fmt: skip


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.__name__)
def test_the_rows_are_the_same(flow: Flow, harm: Callable[[Flow], None]) -> None:
    flow.feed(2_000)
    flow.until(60)
    harm(flow)
    flow.end()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = made_folder()
    options = "size=120k,mode=777"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        folder.rmdir()
        pytest.skip("a small disk can't be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk(
    small_disk: Path, make_server: Callable[[], Server], with_keys: Program, home: Path, lines: list[bytes],
    expected: list[Row],
) -> None:  # fmt: skip
    """Of the tables: a tablespace that is full, and has room later."""
    server = make_server().make().start()
    model = initialised(server, with_keys.sibling(home / "init"))
    place = small_disk / "space"
    place.mkdir()
    shutil.chown(place, server.data.stat().st_uid, server.data.stat().st_gid)
    server.run(f"CREATE TABLESPACE small LOCATION '{place}'")
    for (name,) in model.ask("SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
                             " WHERE inhparent = 'delivery'::regclass AND c.relkind = 'r'"):  # fmt: skip
        model.run(f"ALTER TABLE {name} SET TABLESPACE small")
    with Flow(model.serve(listening(with_keys.sibling(home / "live"))), model, lines, expected) as flow:
        flow.feed(4_000)
        flow.until_trouble("53100")
        assert 0 < model.count() < len(expected)
        subprocess.run(["mount", "-o", "remount,size=60m", small_disk], check=True)
        flow.end()
        assert len([line for line in flow.service.said.all if "53100" in line]) == 1, "it was said again and again"
    server.stop("fast")


def test_another_server_takes_over(
    make_server: Callable[[], Server], with_keys: Program, home: Path, lines: list[bytes], expected: list[Row]
) -> None:
    """A standby, named second, that is promoted: what was committed is there, since it was waited for."""
    first, second = make_server().make().start(), make_server()
    model = initialised(first, with_keys.sibling(home / "init"))
    first.follow(second)
    second.start()
    first.run("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    program = model.serve(listening(with_keys.sibling(home / "live")))
    known = yaml.safe_load(program.config.read_text())
    known["database"] = (
        f"host={first.socket},{second.socket} dbname={model.name} user=drain target_session_attrs=read-write"
    )
    program.config.write_text(yaml.safe_dump(known))
    with Flow(program, model, lines, expected) as flow:
        flow.feed(2_000)
        flow.until(60)
        first.stop("immediate")
        flow.until_trouble("connection")
        second.run("SELECT pg_promote()")
        flow.database = Database(second, model.name)
        flow.end()


@pytest.mark.parametrize("place", ["before", "after"])
def test_killed_between_both_stores(
    served: Program, database: Database, some_log: Path, wanted: list[Row], place: str
) -> None:
    """Rows that are there, and were not deleted here, come again and change nothing; and the other way round."""
    deadly = (
        "from sink.stores import postgres, sqlite\nimport os, signal\n"
        "def die(*given): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"{'postgres.PostgresStore.take' if place == 'before' else 'sqlite.SqliteStore.unload'} = die\n"
    )
    with started(served, NARROW + deadly, "import", some_log) as process:
        process.communicate()
    assert process.returncode == KILLED
    assert (database.count() > 0) == (place == "after")
    assert ask(served, "import", some_log).status == OK
    assert database.both() == wanted


def test_what_an_interrupted_commit_did_is_asked_again(
    served: Program, database: Database, some_log: Path, wanted: list[Row]
) -> None:
    """The connection breaks when the server has committed, and before we know."""
    cut = """
import psycopg
from sink.stores import postgres
real = postgres.PostgresStore.take
times = [0]
def take(self, loads):
    found = real(self, loads)
    times[0] += 1
    if times[0] % 2:
        self.close()
        raise postgres.Interrupted("connection")
    return found
postgres.PostgresStore.take = take
"""
    with started(served, NARROW + cut, "import", some_log) as process:
        process.communicate()
    assert process.returncode == OK
    assert database.both() == wanted


def test_many_at_once(
    database: Database, with_keys: Program, whole_log: Path, expected: list[Row], tmp_path: Path
) -> None:
    """Four drains with batches that overlap: no deadlock, and exact counts."""
    hosts = [database.serve(with_keys.sibling(tmp_path / str(number))) for number in range(4)]
    with ExitStack() as stack:
        processes = [stack.enter_context(started(host, NARROW, "import", "--json", whole_log)) for host in hosts]
        said = [process.communicate() for process in processes]
    assert [(process.returncode, err) for process, (_, err) in zip(processes, said, strict=True)] == [(OK, b"")] * 4
    new = [yaml.safe_load(out.decode()) for out, _ in said]
    found = sum(summary["deliveries"] + summary["rejects"] for summary in new)
    assert found == len(expected) == database.count()
    assert database.both() == expected
    assert "deadlock detected" not in database.server.log.read_text()


def test_two_drains_of_one_store(
    live: Program, database: Database, lines: list[bytes], whole_log: Path, expected: list[Row]
) -> None:
    """The daemon's and an import's: no row is deleted that neither has moved."""
    with Service(live, bug=NARROW) as service:
        sender = threading.Thread(target=lambda: deliver(service.stream, lines, 50))
        sender.start()
        for _ in range(2):
            assert ask(live, "import", whole_log).status == OK
        sender.join(PATIENCE)
        assert service.stop() == OK
    assert ask(live, "import", "/dev/null").status == OK
    assert database.both() == expected


def test_psycopg_says_nothing(served: Program, database: Database, some_log: Path) -> None:
    """A row that the server refuses by quoting it: our line has its SQLSTATE and the constraint's name, no value."""
    database.run("ALTER TABLE delivery ADD CONSTRAINT no_hosts CHECK (host = 'canary')")
    answer = ask(served, "import", some_log)
    assert answer.err == (
        "postsink: the database refuses: SQLSTATE 23514, constraint no_hosts; type: postsink db upgrade\n"
    )
    assert "Failing row contains" in database.server.log.read_text()
