"""Runs PostgreSQL servers of the tests' own: in one folder each, on a Unix socket, ended by the tests.

The server refuses to run as root, so it runs as nobody where the tests are root's. It logs all statements, as an
admin may have it do who does not know what he keeps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

try:
    import psycopg
    from psycopg import sql
    from psycopg.rows import dict_row
except ImportError:  # there is no libpq
    HAS_LIBPQ = False
else:
    HAS_LIBPQ = True

from tests.integration.live.service import eventually
from tests.judges.program import Program, Row

T = TypeVar("T")
PATIENCE = 60  # seconds
NOBODY = 65534
SUPERUSER = "postgres"
SETTINGS = {
    "listen_addresses": "", "fsync": "off", "log_statement": "all", "log_min_error_statement": "debug5",
    "log_min_messages": "info", "logging_collector": "off", "max_connections": "60", "shared_buffers": "32MB",
    "wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on", "autovacuum": "off",
    "timezone": "Asia/Kolkata",  # none that rows or tests are in
}  # fmt: skip


def programs() -> Path | None:
    """Where initdb is: Debian keeps it out of PATH. None where PostgreSQL, or its client library, is not installed."""
    if not HAS_LIBPQ:
        return None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    one = str(found[-1]) if found else shutil.which("initdb")
    return Path(one).parent if one else None


class Server:
    """One cluster."""

    def __init__(self, top: Path, name: str = "main", data: Path | None = None) -> None:
        self.top = top
        self.data = data or top / name / "data"
        self.socket = top / f"{name}.socket"  # its folder: a path of a socket has at most 107 bytes
        self.port = 5432  # of the socket's name, too
        self.log = top / f"{name}.log"
        self._bin = programs()
        assert self._bin is not None
        self._process: subprocess.Popen[bytes] | None = None
        self._user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._number = 0
        for path in (top, self.data.parent, self.socket):
            path.mkdir(exist_ok=True)
            self._own(path)

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def tool(self, name: str, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[bytes]:
        """Run one of PostgreSQL's programs as the server's user."""
        assert self._bin is not None
        return subprocess.run(
            [self._bin / name, *map(str, arguments)], check=True, cwd=self.top, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, **self._user, **more,
        )  # fmt: skip

    def make(self) -> Server:
        self.tool("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        self.configure(**SETTINGS)
        return self

    def configure(self, **settings: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self, wait: bool = True) -> Server:
        with self.log.open("ab") as log:
            assert self._bin is not None
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.data, "-k", self.socket, "-p", str(self.port)],
                cwd=self.top, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._user,
            )  # fmt: skip
        if wait:
            eventually(self.is_up, PATIENCE)
        return self

    def is_up(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log.read_text()[-2000:]
        try:
            psycopg.connect(self.conninfo(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, mode: str = "fast") -> None:
        """smart, fast or immediate, as pg_ctl has them."""
        if self._process is not None and self._process.poll() is None:
            self.tool("pg_ctl", "stop", "-D", self.data, "-m", mode, "-w", "-t", str(PATIENCE))
        if self._process is not None:
            self._process.wait(PATIENCE)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def conninfo(self, user: str = SUPERUSER, database: str = "postgres") -> str:
        return f"host={self.socket} port={self.port} user={user} dbname={database}"

    def run(self, *statements: str, database: str = "postgres", user: str = SUPERUSER) -> None:
        with psycopg.connect(self.conninfo(user, database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def follow(self, made: Server) -> None:
        """Make another server a standby of this one; it is not started yet."""
        made.tool("pg_basebackup", "-D", made.data, "-d", self.conninfo(), "-X", "stream", "-R", "-c", "fast")

    def make_database(self, template: str = "template0", owner: str = SUPERUSER) -> Database:
        self._number += 1
        name = f"mail_{self._number}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}")
        return Database(self, name)


def _patiently(answer: Callable[[], T]) -> T:
    """An answer of a server that may just come back: what a test does to it breaks the test's own connections, too."""
    until, pause = time.monotonic() + PATIENCE, threading.Event()
    while True:
        try:
            return answer()
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
        pause.wait(0.1)


class Database:
    """One database of a server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name

    def conninfo(self, user: str = SUPERUSER) -> str:
        return self.server.conninfo(user, self.name)

    def serve(self, program: Program, writer: str = "drain", admin: str | None = "keeper", **more: object) -> Program:
        """Have an installation send its rows here."""
        settings = yaml.safe_load(program.config.read_text())
        settings["database"] = self.conninfo(writer)
        if admin is not None:
            settings["database_admin"] = self.conninfo(admin)
        program.config.write_text(yaml.safe_dump({**settings, **more}))
        return program

    @contextmanager
    def connected(self, user: str = SUPERUSER) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.conninfo(user), autocommit=True) as connection:
            yield connection

    def run(self, *statements: str, user: str = SUPERUSER) -> None:
        self.server.run(*statements, database=self.name, user=user)

    def ask(
        self, question: str, user: str = SUPERUSER, values: Sequence[object] | None = None
    ) -> list[tuple[Any, ...]]:
        def answer() -> list[tuple[Any, ...]]:
            with self.connected(user) as connection:
                return connection.execute(question, values).fetchall()  # type: ignore[call-overload]

        return _patiently(answer)

    def one(self, question: str, user: str = SUPERUSER) -> Any:
        return self.ask(question, user)[0][0]

    def rows(self, view: str = "delivery_text", user: str = "analyst") -> list[Row]:
        """All rows of a view, as dicts, as a reader sees them."""
        def answer() -> list[Row]:
            with psycopg.connect(self.conninfo(user), row_factory=dict_row) as connection:
                found = connection.execute(sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(view)))
                return [dict(row) for row in found]

        return _patiently(answer)

    def both(self) -> list[Row]:
        """Deliveries and refusals, in the order of tests.integration.asking.rows()."""
        return sorted(self.rows() + self.rows("reject_text"), key=lambda row: str(row["id"]))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody is let in, and whoever is in is thrown out."""
        self.server.run(
            f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'",
        )
        yield
        self.server.run(f"ALTER DATABASE {self.name} ALLOW_CONNECTIONS true")

    def count(self) -> int:
        return int(self.one("SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM reject)"))


def made_folder() -> Path:
    """A folder that the server's user may enter, with a short path."""
    top = Path(tempfile.mkdtemp(prefix="postsink-pg-", dir="/var/tmp"))
    top.chmod(0o755)
    return top
