"""`postsink db`, `lookup` and `forget` where rows go on to PostgreSQL: its schema, partitions, indexes, rows."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from sink.config import Config
from sink.installation import route
from sink.keys.epochs import Keyring
from sink.stores import postgres
from sink.stores import postgres_admin as admin
from sink.stores import postgres_person as person
from sink.stores import postgres_reading as reading
from sink.stores.person import Whom


def conninfo(config: Config) -> str:
    """Return whom admin commands connect as."""
    found = config.database_admin or config.database
    assert found is not None
    return found


def upgrade(config: Config) -> list[str]:
    """Bring the schema up to date, and make partitions; return what was done in words."""
    steps = admin.upgrade(conninfo(config))
    with admin.opened(conninfo(config)) as connection:
        made = admin.make_partitions(connection, datetime.fromtimestamp(time.time(), UTC))
    words = f"schema steps {', '.join(map(str, steps))}" if steps else "the schema is up to date"
    return [f"the database: {words}", f"partitions made: {', '.join(made) or 'none'}"]


def distribute(config: Config) -> str:
    """Have the rows lie on the workers of Citus; return what was done in words."""
    admin.distribute(conninfo(config))
    return "the database: rows lie on the workers of Citus"


def bind(config: Config, keys: Keyring) -> None:
    """Hold the keys against those of the database."""
    way = route(config, keys)
    with admin.opened(conninfo(config)) as connection, connection.transaction():
        postgres.bind(connection, way.settings, way.checks)


def status(config: Config) -> list[tuple[str, str]]:
    """Return what the database holds, as names and values."""
    with admin.opened(conninfo(config)) as connection:
        counts = admin.counts(connection)
        epochs = admin.rows_by_epoch(connection)
        parts = admin.months(connection, "delivery").values()
    return [
        ("there: deliveries", str(counts["delivery"])), ("there: refusals", str(counts["reject"])),
        ("there: by epoch", ", ".join(f"{epoch}: {number}" for epoch, number in sorted(epochs.items())) or "none"),
        ("there: months", ", ".join(f"{month:%Y-%m}" for month in parts) or "none"),
    ]  # fmt: skip


def prune(config: Config, before: int) -> int:
    """Delete rows logged before a second; return how many."""
    with admin.opened(conninfo(config)) as connection:
        return admin.prune(connection, before)


def make_indexes(config: Config) -> None:
    """Make the optional indexes."""
    with admin.opened(conninfo(config)) as connection:
        admin.make_indexes(connection)


def empty(config: Config) -> dict[str, int]:
    """Delete all rows; return how many there were."""
    with admin.opened(conninfo(config)) as connection:
        counts = admin.counts(connection)
        admin.empty(connection)
    return counts


def rows_by_epoch(config: Config) -> dict[int, int]:
    """Return the number of rows of each epoch."""
    with admin.opened(conninfo(config)) as connection:
        return admin.rows_by_epoch(connection)


def read(
    config: Config, table: str, columns: Sequence[str], since: int | None, until: int | None
) -> Iterator[tuple[Any, ...]]:
    """Yield columns of a table's view, of rows logged in a range of seconds."""
    with admin.opened(conninfo(config)) as connection:
        yield from reading.read(connection, table, columns, since, until)


# -- a person's rows


def find(config: Config, whom: Sequence[Whom], since: int | None, until: int | None) -> Iterator[person.Row]:
    """Yield (table, row of its view) for the rows in which each of whom stands, oldest first."""
    with admin.opened(conninfo(config)) as connection:
        yield from person.find(connection, whom, since, until)


def count(config: Config, whom: Whom) -> int:
    """Return the number of rows in which one of whom stands."""
    with admin.opened(conninfo(config)) as connection:
        return person.count(connection, whom)


def forget(config: Config, whom: Whom, key: bytes) -> dict[str, int]:
    """Put others in the place of addresses; return numbers of rows by table."""
    with admin.opened(conninfo(config)) as connection:
        return person.forget(connection, whom, key)
