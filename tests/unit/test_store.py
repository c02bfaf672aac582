"""The embedded store takes each row once, shows it as the contract says, and forgets what it is told to forget."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sink.core.batch import Batch
from sink.fault import CANTCREATE, CONFIG, DATA, NOPERM, TEMPFAIL, Fault
from sink.stores import faults, schema
from sink.stores.opening import PAGE_SIZE
from sink.stores.sqlite import SqliteStore
from tests.golden_runner import RULES
from tests.property.hostile import pipeline

SETTINGS = {"queue_id": "hashed", "timezone": "UTC"}
CHECKS = {1: "0123456789abcdef"}
STAMP = b"2026-11-02T10:00:%02d.%06d+00:00 mx1 postfix/%b[17]: %b"

# DESIGN "The rows": first the inherited columns, then ours; people and tools rely on these names and this order.
DELIVERY = """id message_id queue_id first_seen_at date sent_at received_at sender recipient from to cc bcc message_size
    spam_score subject_size is_list is_outgoing re_message_id status delay delays host instance agent logged_at epoch
    original_recipient list_recipient sender_kind submitter resent_message_id dsn reply_code reason relay relay_kind
    recipients delay_before_queue delay_in_queue delay_connect delay_transmit origin next_queue_id parent_queue_id
    is_internal headers_cut""".split()
REJECT = "logged_at host instance agent stage reply_code dsn sender recipient category epoch id".split()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with SqliteStore.create(tmp_path / "s.sqlite") as made:
        yield made


def batch(*texts: tuple[bytes, bytes], plain: bool = False) -> Batch:
    """What the lines of (daemon, text) leave, a second each."""
    pipe = pipeline(rules=replace(RULES, plain_queue_id=plain))
    lines = [STAMP % (second, 0, daemon, text) for second, (daemon, text) in enumerate(texts)]
    first, last = pipe.feed(lines), pipe.flush()
    return Batch(first.rows + last.rows, first.rejects + last.rejects, {}, [], [])


ACTIVE = b"from=<alice@example.com>, size=10, nrcpt=1 (queue active)"
TO = (
    b"4A5A321A867: to=<bob@example.net>, relay=mx.example.net[198.51.100.77]:25, delay=3, delays=1/0.5/1/0.25,"
    b" dsn=2.0.0, status=sent (250 ok)"
)
REJECTED = (
    b"NOQUEUE: reject: RCPT from x[198.51.100.7]: 550 5.1.1 <x@example.com>: Recipient address rejected:"
    b" User unknown; from=<> to=<x@example.com> proto=ESMTP helo=<x>"
)
REFUSED = ((b"smtpd", REJECTED),)


def sent(sender: bytes = ACTIVE) -> tuple[tuple[bytes, bytes], ...]:
    client = b"4A5A321A867: client=mail.example.net[198.51.100.7]"
    return ((b"smtpd", client), (b"qmgr", b"4A5A321A867: " + sender), (b"smtp", TO))


def view(store: SqliteStore, name: str = "delivery_text") -> list[dict[str, object]]:
    connection = sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]
    finally:
        connection.close()


# -- the file


def test_the_file_is_its_owners_alone(store: SqliteStore) -> None:
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_how_the_file_is_kept(store: SqliteStore) -> None:
    connection = sqlite3.connect(store.path)
    asked = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "page_size", "user_version")
    ]
    connection.close()
    assert asked == ["wal", PAGE_SIZE, schema.version("sqlite")]


def test_no_index_is_made_unasked(store: SqliteStore) -> None:
    """Random keys make an import slower and slower."""
    connection = sqlite3.connect(store.path)
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    connection.close()
    assert found == []
    assert not store.has_indexes()
    store.make_indexes()
    store.make_indexes()
    assert store.has_indexes()


def test_a_store_is_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        with SqliteStore.create(tmp_path / "s.sqlite") as store:
            store.bind(SETTINGS, CHECKS)
            store.commit(batch(*sent()))
    with SqliteStore.open(tmp_path / "s.sqlite") as store:
        assert store.counts() == {"delivery": 1, "reject": 0, "open_message": 0}
        assert store.settings() == SETTINGS


def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path) -> None:
    folder = tmp_path / "a?mode=memory#%41 b"
    folder.mkdir()
    with SqliteStore.create(folder / "s%20.sqlite") as store:
        store.commit(batch(*sent()))
    assert sorted(path.name for path in folder.iterdir()) == ["s%20.sqlite"]


# -- what it depends on


@pytest.mark.parametrize(
    ("settings", "checks", "words"),
    [
        ({**SETTINGS, "queue_id": "plain"}, CHECKS, "was made with queue_id hashed, the config says plain"),
        ({**SETTINGS, "timezone": "Asia/Tokyo"}, CHECKS, "was made with timezone UTC"),
        (SETTINGS, {1: "another"}, "was made with another key for epoch 1"),
        (SETTINGS, {1: CHECKS[1], 2: "x", 3: "y"}, ""),
        ({**SETTINGS, "new": "setting"}, CHECKS, ""),
        (SETTINGS, {}, ""),
    ],
)
def test_a_mismatch_stops(
    settings: dict[str, str], checks: dict[int, str], words: str, store: SqliteStore
) -> None:
    store.bind(SETTINGS, CHECKS)
    if words:
        with pytest.raises(Fault, match=words) as caught:
            store.bind(settings, checks)
        assert caught.value.status == CONFIG
        assert store.settings() == SETTINGS
    else:
        store.bind(settings, checks)
        assert store.settings() == {**SETTINGS, **settings}


def test_a_store_of_nothing_takes_other_settings(store: SqliteStore) -> None:
    """Until the first row, or the first open message, and while no daemon has it; another key never."""
    store.bind(SETTINGS, CHECKS)
    other = {**SETTINGS, "queue_id": "plain"}
    with pytest.raises(Fault, match="another key"):
        store.bind(other, {1: "another"}, anew=True)
    store.bind(other, CHECKS, anew=True)
    assert store.settings() == other
    daemon = SqliteStore.open(store.path)
    daemon.claim("live")
    with pytest.raises(Fault, match="was made with queue_id plain"):
        store.bind(SETTINGS, CHECKS, anew=True)
    daemon.close()
    store.commit(batch(*sent()))
    with pytest.raises(Fault, match="was made with queue_id plain"):
        store.bind(SETTINGS, CHECKS, anew=True)


# -- rows


def test_a_row_is_kept_once(store: SqliteStore) -> None:
    rows = batch(*sent(), *REFUSED)
    assert store.commit(rows) == (1, 1)
    assert store.commit(rows) == (0, 0)
    assert store.counts() == {"delivery": 1, "reject": 1, "open_message": 0}


def test_of_rows_alike_the_least_stays(store: SqliteStore) -> None:
    """A line that comes twice within a second has one key; microseconds do not decide which is first."""
    (row,) = batch(*sent()).rows
    later = (*row[:2], row[2] + 5, *row[3:])
    for rows in ([row, later], [later, row]):
        assert store.commit(Batch(rows, [], {}, [], [])) == (1, 0)
        assert [found["logged_at"] for found in store.take("delivery_text")] == ["2026-11-02T10:00:02.000000Z"]
    store.commit(Batch([later], [], {}, [], []))
    store.commit(Batch([], [], {}, [], [row, later]))
    assert [found["logged_at"] for found in view(store)] == ["2026-11-02T10:00:02.000000Z"]


def test_a_row_that_was_shown_early_is_replaced(store: SqliteStore) -> None:
    """And does not count as new."""
    early, late = batch(sent()[-1]), batch(*sent())
    late = late._replace(rows=[(late.rows[0][0] - 2, *late.rows[0][1:])])
    early = early._replace(
        rows=[(late.rows[0][0], late.rows[0][1][:16] + early.rows[0][1][16:], *early.rows[0][2:])]
    )
    assert store.commit(early) == (1, 0)
    assert [row["message_size"] for row in view(store)] == [None]
    assert store.commit(Batch([], [], {}, [], late.rows)) == (0, 0)
    assert [row["message_size"] for row in view(store)] == [10]


def test_a_batch_is_kept_whole_or_not_at_all(store: SqliteStore) -> None:
    good = batch(*sent(), *REFUSED)
    bad = good._replace(rejects=[*good.rejects, good.rejects[0][:5]])
    with pytest.raises(Fault):
        store.commit(bad, "live")
    assert store.counts() == {"delivery": 0, "reject": 0, "open_message": 0}
    assert store.commit(good) == (1, 1)


def test_the_views_have_the_columns_of_the_contract(store: SqliteStore) -> None:
    store.commit(batch(*sent(), *REFUSED))
    assert [list(row) for row in view(store)] == [DELIVERY]
    assert [list(row) for row in view(store, "delivery_final")] == [DELIVERY]
    assert [list(row) for row in view(store, "reject_text")] == [REJECT]


def test_how_a_row_is_shown(store: SqliteStore) -> None:
    store.commit(batch(*sent()))
    (row,) = view(store)
    user, _, domain = str(row["sender"]).partition("@")
    assert (len(user), len(domain), len(str(row["queue_id"])), len(str(row["id"]))) == (32, 32, 32, 32)
    assert row["first_seen_at"] == "2026-11-02T10:00:00.000000Z"
    assert row["logged_at"] == "2026-11-02T10:00:02.000000Z"
    assert [row[f"delay_{part}"] for part in ("before_queue", "in_queue", "connect", "transmit")] == [
        1,
        0.5,
        1,
        0.25,
    ]
    assert (row["delay"], row["delays"], row["message_size"], row["recipients"]) == (3, "1/0.5/1/0.25", 10, 1)
    assert (row["sender_kind"], row["status"], row["dsn"], row["reply_code"]) == ("plain", "sent", "2.0.0", 250)
    absent = [name for name, value in row.items() if value is None]
    assert set(absent) == {
        "message_id", "date", "from", "to", "cc", "bcc", "spam_score", "subject_size", "is_list", "re_message_id",
        "original_recipient", "list_recipient", "submitter", "resent_message_id", "reason", "next_queue_id",
        "parent_queue_id", "headers_cut", "sent_at",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sender", "shown", "kind"),
    [
        (b"from=<>, size=10, nrcpt=1 (queue active)", "", "null"),
        (b"from=<root>, size=10, nrcpt=1 (queue active)", "32", "bare"),
        (b"removed", None, None),
    ],
)
def test_senders_that_are_none(sender: bytes, shown: str | None, kind: str | None, store: SqliteStore) -> None:
    store.commit(batch(*sent(sender)))
    (row,) = view(store)
    assert row["sender_kind"] == kind
    found = row["sender"]
    assert (str(len(found)) if shown == "32" and isinstance(found, str) else found) == shown


@pytest.mark.parametrize(
    ("client", "columns"),
    [
        (b"client=x[198.51.100.7]", ("0", None, "2026-11-02T10:00:00.000000Z")),
        (b"client=x[192.0.2.1]", ("1", "2026-11-02T10:00:00.000000Z", "2026-11-02T10:00:02.000000Z")),
    ],
)
def test_when_it_was_sent_and_received(client: bytes, columns: tuple[object, ...], store: SqliteStore) -> None:
    """An incoming mail was sent at its Date, which is not known here; an outgoing one was received when sent."""
    first, *others = sent()
    store.commit(batch((first[0], b"4A5A321A867: " + client), *others))
    (row,) = view(store)
    assert (str(row["is_outgoing"]), row["sent_at"], row["received_at"]) == columns


def test_plain_queue_ids_are_shown_as_they_are(store: SqliteStore) -> None:
    line = sent()[-1][1].replace(b"250 ok", b"250 2.0.0 Ok: queued as 1F00D5EED01")
    store.commit(batch((b"smtp", line), plain=True))
    (row,) = view(store)
    assert (row["queue_id"], row["next_queue_id"], row["parent_queue_id"]) == (
        "4A5A321A867",
        "1F00D5EED01",
        None,
    )


def test_rows_may_be_taken_out(store: SqliteStore) -> None:
    store.commit(batch(*sent(), *REFUSED))
    assert [row["status"] for row in store.take("delivery_text")] == ["sent"]
    assert store.take("delivery_text") == []
    assert [row["category"] for row in store.take("reject_text")] == ["unknown_user"]
    assert store.span() == (None, None)


def test_what_is_emptied_is_gone_from_the_disk(store: SqliteStore) -> None:
    """Also from the write-ahead log; settings and check values stay."""
    store.bind(SETTINGS, CHECKS)
    rows = batch(*sent(), *REFUSED)
    store.commit(Batch(rows.rows, rows.rejects, {b"token": b"a state to be forgotten"}, [], []), "live")
    marks = [rows.rows[0][1][:16], rows.rejects[0][1][:16], b"a state to be forgotten"]

    def on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in store.path.parent.iterdir())

    assert [mark for mark in marks if mark not in on_disk()] == []
    store.empty()
    assert [mark for mark in marks if mark in on_disk()] == []
    assert store.settings() == SETTINGS


# -- open messages


def test_streams_keep_their_open_messages_apart(store: SqliteStore) -> None:
    store.commit(Batch([], [], {b"a": b"1", b"b": b"2"}, [], []), "live")
    store.commit(Batch([], [], {b"a": b"3"}, [], []), "import:daily")
    store.commit(Batch([], [], {b"c": b"4"}, [b"a"], []), "live")
    store.commit(Batch([], [], {b"x": b"5"}, [], []))  # an import without a name keeps none
    assert store.state("live") == {b"b": b"2", b"c": b"4"}
    assert store.state("import:daily") == {b"a": b"3"}
    assert store.counts()["open_message"] == 3


def test_a_token_that_is_dropped_and_put_is_there(store: SqliteStore) -> None:
    """A queue id that comes back at once."""
    store.commit(Batch([], [], {b"a": b"1"}, [], []), "live")
    store.commit(Batch([], [], {b"a": b"2"}, [b"a"], []), "live")
    assert store.state("live") == {b"a": b"2"}


def test_a_stream_has_one_writer(store: SqliteStore) -> None:
    with SqliteStore.create(store.path) as other:
        store.claim("live")
        other.claim("import:daily")
        with pytest.raises(Fault, match="another postsink writes stream live") as caught:
            other.claim("live")
        assert caught.value.status == TEMPFAIL
    with SqliteStore.create(store.path) as other:
        other.claim("import:daily")


# -- errors


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (sqlite3.SQLITE_FULL, TEMPFAIL),
        (sqlite3.SQLITE_IOERR, TEMPFAIL),
        (sqlite3.SQLITE_BUSY, TEMPFAIL),
        (sqlite3.SQLITE_READONLY, NOPERM),
        (sqlite3.SQLITE_CANTOPEN, CANTCREATE),
        (sqlite3.SQLITE_CORRUPT, DATA),
        (sqlite3.SQLITE_NOTADB, DATA),
        (sqlite3.SQLITE_MISUSE, TEMPFAIL),
    ],
)
def test_each_error_of_sqlite_is_one_line_with_a_remedy(code: int, status: int) -> None:
    extended = code | 5 << 8
    with pytest.raises(Fault) as caught, faults.explained(Path("s.sqlite")):
        error = sqlite3.OperationalError("a value: canary@example.com")
        error.sqlite_errorcode = extended
        raise error
    assert caught.value.status == status
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__
    assert "; " in str(caught.value)


def test_the_schema_is_found_inside_of_a_package_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sink" / "sql" / "sqlite").mkdir(parents=True)
    monkeypatch.setattr(schema, "__file__", str(tmp_path / "sink" / "stores" / "schema.py"))
    schema.folder.cache_clear()
    try:
        assert schema.folder() == tmp_path / "sink" / "sql"
    finally:
        schema.folder.cache_clear()
