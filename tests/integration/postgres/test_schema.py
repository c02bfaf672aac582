"""The schema of the database: who is told what, what it is made of, months, and what leaves."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sink.fault import CONFIG, NOPERM, OK, UNAVAILABLE
from tests.integration.asking import ask, one_line
from tests.integration.live.service import eventually
from tests.integration.postgres.driving import ended, mail, started, written
from tests.integration.postgres.server import Database, Server
from tests.judges.program import Program

NOW = datetime.fromtimestamp(time.time(), UTC)
OURS = "c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')"


def ago(days: int) -> datetime:
    return (NOW - timedelta(days=days)).replace(microsecond=0)


def months(database: Database, table: str = "delivery") -> dict[str, int]:
    """Number of rows by partition, of those that have some."""
    return dict(database.ask(f"SELECT tableoid::regclass::text, count(*)::int FROM {table} GROUP BY 1"))


def test_all_is_said_what_it_is_for(served: Program, database: Database, tmp_path: Path) -> None:
    """Tables, columns and views have a comment, partitions that were made later, too."""
    log = written(tmp_path / "mail.log", mail(ago(400)))
    assert (ask(served, "import", log).status, ask(served, "db", "upgrade").status) == (OK, OK)
    silent = database.ask(
        f"SELECT c.relname, '' FROM pg_class c WHERE {OURS} AND obj_description(c.oid) IS NULL UNION ALL"
        f" SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        f" WHERE {OURS} AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL"
    )
    assert silent == []
    assert len(months(database)) == 1 and "delivery_default" not in months(database)


def test_time_has_its_index(filled: Database) -> None:
    found = filled.ask("SELECT tablename, indexdef FROM pg_indexes WHERE indexdef LIKE '%brin%' ORDER BY 1")
    assert {"delivery", "reject", "delivery_default", "reject_default"} <= {table for table, _ in found}
    assert all("(logged_at)" in made for _, made in found)


def test_done_twice_is_done_once(served: Program, database: Database) -> None:
    for action in ("init", "upgrade"):
        answer = ask(served, "db", action)
        assert (answer.status, answer.err) == (OK, "")
        assert "the database: the schema is up to date\npartitions made: none\n" in answer.out
    assert database.ask("SELECT version FROM schema_version ORDER BY 1") == [(1,), (2,)]


def test_months_are_made_ahead(served: Program, database: Database) -> None:
    """This one and three more, for deliveries and refusals; the daemon's rows of them need no upgrade."""
    database.run("DROP TABLE delivery_default, reject_default")  # so that a row without a partition is refused
    moments = [database.one(f"SELECT date_trunc('month', now()) + interval '{n} months'") for n in range(4)]
    for table in ("delivery", "reject"):
        there = {f"{table}_{moment:%Y_%m}" for moment in moments}
        assert there <= {name for (name,) in database.ask("SELECT relname FROM pg_class WHERE relispartition")}


def test_rows_of_other_months_find_their_place(served: Program, database: Database, tmp_path: Path) -> None:
    """They lie in the default partition until an upgrade; those of wrong clocks stay there."""
    log = written(
        tmp_path / "mail.log", mail(datetime(1980, 1, 1, tzinfo=UTC)), mail(ago(500), 2), mail(ago(500), 3),
        mail(ago(0), 4), mail(datetime(2099, 12, 31, tzinfo=UTC), 5),
    )  # fmt: skip
    assert ask(served, "import", log).status == OK
    assert months(database)["delivery_default"] == 4
    before = database.rows()
    answer = ask(served, "db", "upgrade")
    name = f"delivery_{ago(500):%Y_%m}"
    assert answer.status == OK and f"partitions made: {name}\n" in answer.out
    assert months(database) == {"delivery_default": 2, name: 2, f"delivery_{NOW:%Y_%m}": 1}
    assert database.rows() == before
    assert ask(served, "import", log).words[1].endswith("5 delivery lines: 0 new, 5 known already")


def test_a_row_that_comes_meanwhile_is_moved_too(served: Program, database: Database, tmp_path: Path) -> None:
    log = written(tmp_path / "mail.log", mail(ago(500)))
    assert ask(served, "import", log).status == OK
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
    with database.connected() as drain:
        with ExitStack() as stack:
            with drain.transaction():
                drain.execute(
                    "INSERT INTO delivery SELECT (made.row).* FROM (SELECT jsonb_populate_record(delivery,"
                    " jsonb_build_object('delivery_key', gen_random_uuid())) AS row FROM delivery) AS made"
                )
                upgrade = stack.enter_context(started(served, "", "db", "upgrade"))
                eventually(lambda: database.one(waiting))
            assert ended(upgrade).status == OK
    assert list(months(database).values()) == [2] and "delivery_default" not in months(database)


def test_a_default_partition_that_is_gone_comes_back(served: Program, database: Database, tmp_path: Path) -> None:
    """Without it rows of other months are refused: what to type is said, and after that they arrive."""
    log = written(tmp_path / "mail.log", mail(ago(500)))
    for harm in ("DROP TABLE delivery_default", "ALTER TABLE delivery DETACH PARTITION delivery_default"):
        database.run(harm)
        one_line(ask(served, "import", log), CONFIG, "SQLSTATE 23514", "type: postsink db upgrade")
        assert ask(served, "db", "upgrade").status == OK
    assert database.count() == 0
    assert ask(served, "import", log).status == OK
    assert database.count() == 1


def test_old_rows_leave_by_month_and_by_row(served: Program, database: Database, tmp_path: Path) -> None:
    """Whole months go with their partition; the rest row by row, in the default partition too."""
    days = (500, 300, 200, 40, 0)
    log = written(tmp_path / "mail.log", *(mail(ago(day), day) for day in days))
    assert ask(served, "import", log).status == OK
    assert ask(served, "db", "upgrade").status == OK
    log = written(tmp_path / "late.log", mail(ago(800), 801))
    assert ask(served, "import", log).status == OK
    answer = ask(served, "db", "prune", "--older-than", "250d", "--yes")
    assert (answer.status, answer.out.partition(" rows")[0]) == (OK, "deleted 3")
    assert database.count() == 3
    left = [name for (name,) in database.ask("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")]
    assert f"delivery_{ago(500):%Y_%m}" not in left and f"delivery_{ago(200):%Y_%m}" in left


def test_old_rows_that_wait_leave_too(served: Program, database: Database, tmp_path: Path) -> None:
    """Rows in the outbox, which a stopped database did not take."""
    log = written(tmp_path / "mail.log", mail(ago(500)))
    database.run("REVOKE INSERT ON delivery FROM postsink_writer")
    assert ask(served, "import", log).status == CONFIG
    assert len(served.rows()) == 1
    assert ask(served, "db", "prune", "--older-than", "250d", "--yes").out.startswith("deleted 1 rows")
    assert served.rows() == []


def test_a_partition_of_an_admins_own_is_left_alone(served: Program, database: Database, tmp_path: Path) -> None:
    database.run("CREATE TABLE delivery_of_old PARTITION OF delivery FOR VALUES FROM ('2001-01-01') TO ('2002-01-01')")
    log = written(tmp_path / "mail.log", mail(datetime(2001, 5, 5, tzinfo=UTC)))
    assert ask(served, "import", log).status == OK
    assert ask(served, "db", "status").status == OK
    assert ask(served, "db", "prune", "--older-than", "250d", "--yes").out.startswith("deleted 1 rows")
    assert database.one("SELECT count(*) FROM delivery_of_old") == 0


def test_a_reset_empties_both(served: Program, database: Database, some_log: Path) -> None:
    assert ask(served, "import", some_log).status == OK
    assert database.count()
    answer = ask(served, "db", "reset", "--yes")
    assert answer.status == OK and not answer.out.startswith("deleted 0 ")
    assert database.count() == 0


def test_status_and_indexes(served: Program, database: Database, some_log: Path) -> None:
    assert (ask(served, "import", some_log).status, ask(served, "db", "index").status) == (OK, OK)
    assert ask(served, "db", "upgrade").status == OK
    number = database.one("SELECT count(*) FROM delivery")
    said = ask(served, "db", "status").out
    assert f"there: deliveries {number}\n" in said and f"there: by epoch  1: {database.count()}\n" in said
    made = {name for (name,) in database.ask("SELECT indexname FROM pg_indexes WHERE tablename = 'delivery'")}
    assert {"delivery_by_recipient", "delivery_by_sender", "delivery_by_message_id", "delivery_by_queue_id"} <= made
    assert ask(served, "import", some_log).words[1].split(": ")[2].startswith("0 new")


def test_another_encoding_is_refused(served: Program, server: Server) -> None:
    server.run("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    Database(server, "latin").serve(served, admin="postgres")
    one_line(ask(served, "db", "init"), CONFIG, "the database is not in UTF-8")


def test_nobody_answers(served: Program) -> None:
    text = served.config.read_text()
    served.config.write_text(text.replace("host=", "host=/nonexistent"))
    for words in (["init"], ["status"], ["prune", "--yes", "--older-than", "9d"]):
        answer = ask(served, "db", *words)
        assert (answer.status, len(answer.words)) == (UNAVAILABLE, 1)
        assert "the database does not answer" in answer.err


def test_nothing_is_there_yet(program: Program, server: Server, template: Database) -> None:
    """A database without a schema: what to type is said."""
    empty = server.make_database()
    empty.serve(program)
    for words in (["init"], ["upgrade"]):
        one_line(ask(program, "db", *words), NOPERM, "type: psql")  # its role may make nothing in this one
    for words in (["status"], ["reset", "--yes"]):
        one_line(ask(program, "db", *words), CONFIG, "type: postsink db init")
    assert empty.ask("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []
