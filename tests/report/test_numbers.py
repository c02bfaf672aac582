"""Each number of a page is what SQL over the views says, asked in another way than the program asks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from sink.stores import views
from tests.judges.program import LAB, Program, unpacked
from tests.report.reading import Read, Row, number

WAYS = {"incoming": "is_outgoing = 0", "outgoing": "is_outgoing = 1", "direction unknown": "is_outgoing IS NULL"}
BOUNDS = {"1 s": 1, "10 s": 10, "1 min": 60, "10 min": 600, "1 h": 3600, "6 h": 21600, "1 d": 86400, "5 d": 432000}
FAILED = "status NOT IN ('sent', 'deferred')"
GROUP = "host, queue_id, first_seen_at, recipient, coalesce(original_recipient, '')"
RANGES = {"all": ("", ""), "some": ("2026-11-05T06:00", "2026-11-14T18:30")}
SAMPLES = ("postfix-3.7-mixed.iso8601.log.gz", "postfix-3.10-sample.iso8601.log.gz", "scenarios/mail-iso8601.log.gz")


class Told:
    """A page, and the store to hold against it."""

    def __init__(self, program: Program, since: str, until: str) -> None:
        words = [*(("--since", since) if since else ()), *(("--until", until) if until else ())]
        self.page = Read(program.run("report", "--top", "7", *words).decode())
        self.store = sqlite3.connect(program.store)
        bounds = [f"logged_at >= '{since}'"] if since else []
        bounds += [f"logged_at < '{until}'"] if until else []
        where = f"WHERE {' AND '.join(bounds)}" if bounds else ""
        for name, view in (("final", "delivery_final"), ("attempt", "delivery_text"), ("refusal", "reject_text")):
            self.store.execute(f"CREATE TEMP TABLE {name} AS SELECT * FROM {view} {where}")
        self.store.execute(f"""CREATE TEMP TABLE waited AS SELECT {GROUP.replace("'')", "'') AS original")},
            count(*) AS times FROM delivery_text WHERE status = 'deferred' GROUP BY 1, 2, 3, 4, 5""")
        self.store.execute("""CREATE TEMP TABLE life AS SELECT final.*, coalesce(times, 0) AS times
            FROM final LEFT JOIN waited AS w ON (w.host, w.queue_id, w.first_seen_at, w.recipient, w.original)
            = (final.host, final.queue_id, final.first_seen_at, final.recipient, coalesce(original_recipient, ''))""")

    def one(self, question: str) -> Any:
        """A single value."""
        return self.store.execute(question).fetchone()[0]

    def all(self, question: str) -> list[tuple[Any, ...]]:
        return self.store.execute(question).fetchall()

    def count(self, table: str, condition: str = "1") -> int:
        return int(self.one(f"SELECT count(*) FROM {table} WHERE {condition}"))


@pytest.fixture(scope="module", params=RANGES)
def told(request: pytest.FixtureRequest, weeks: Program) -> Iterator[Told]:
    made = Told(weeks, *RANGES[request.param])
    with closing(made.store):
        yield made


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def by_way(row: Row, told: Told, condition: str, table: str = "final") -> None:
    for name, way in WAYS.items():
        assert number(row[name]) == told.count(table, f"{way} AND {condition}"), (name, condition)


def test_summary(told: Told) -> None:
    rows = {name: row["number"] for name, row in told.page.table("All of the report's time", "what").items()}
    assert number(rows.pop("Delivery attempts")) == told.count("attempt") > 500
    assert number(rows.pop("Final outcomes")) == told.count("final") > 500
    for name, way in WAYS.items():
        assert number(rows.pop(f"... {name}")) == told.count("final", way) > 0
    assert number(rows.pop("Refusals")) == told.count("refusal")
    assert number(rows.pop("Bytes of these outcomes' mail")) == told.one("SELECT sum(message_size) FROM final")
    assert number(rows.pop("Mail hosts")) == 2
    for name, least in (("First line", "min"), ("Last line", "max")):
        both = "SELECT logged_at FROM attempt UNION SELECT logged_at FROM refusal"
        moment = told.one(f"SELECT {least}(logged_at) FROM ({both})")
        assert rows.pop(name) == moment[:19].replace("T", " ")
    assert rows == {}


def test_volume(told: Told) -> None:
    days = told.page.table("Mail by day", "day")
    assert {day for day, row in days.items() if any(number(row[way]) for way in WAYS)} == {
        day for (day,) in told.all("SELECT DISTINCT substr(logged_at, 1, 10) FROM final")
    }
    assert sorted(days) == list(days) and len(days) >= 9
    for day, row in days.items():
        by_way(row, told, f"logged_at GLOB '{day}*'")
    hours = told.page.table("Mail by hour of the day, all days together", "hour of the day")
    assert list(hours) == [f"{hour:02}" for hour in range(24)]
    for hour, row in hours.items():
        by_way(row, told, f"substr(logged_at, 12, 2) = '{hour}'")


def test_outcomes(told: Told) -> None:
    rows = told.page.table("Final outcomes by status", "status")
    assert set(rows) == {status for (status,) in told.all("SELECT DISTINCT status FROM final")} > {"sent", "deferred"}
    for status, row in rows.items():
        by_way(row, told, f"status = '{status}'")
        total = told.count("final", f"status = '{status}'")
        assert (number(row["all"]), row["share"]) == (total, share(total, told.count("final")))


def test_delays(told: Told) -> None:
    rows = told.page.table("Delays in seconds", "mail")
    columns = {
        "total": "delay", "before the queue manager": "delay_before_queue", "in the queue manager": "delay_in_queue",
        "connection set-up": "delay_connect", "transmission": "delay_transmit",
    }  # fmt: skip
    seen = 0
    for name, way in {"all": "1", **WAYS}.items():
        for part, column in columns.items():
            where = f"FROM final WHERE status = 'sent' AND {way} AND {column} IS NOT NULL"
            total = told.one(f"SELECT count(*) {where}")
            row = rows.get(f"{name}, {part}")
            assert (row is None) == (total == 0)
            if row is None:
                continue
            seen += 1
            assert number(row["values"]) == total
            for place in (50, 90, 95, 99):
                value = told.one(f"SELECT {column} {where} ORDER BY 1 LIMIT 1 OFFSET {ceil(place * total / 100) - 1}")
                shown = float(row[f"{place} %"].replace(",", ""))
                assert shown == pytest.approx(value, abs=0.5 if value >= 100 else 0.005)
    assert seen == len(rows) >= 15


def test_times_to_the_outcome(told: Told) -> None:
    rows = told.page.table("Share of mail that has its outcome within a time", "mail")
    kinds = {
        "sent at once": "status = 'sent' AND times = 0", "sent after a deferral": "status = 'sent' AND times > 0",
        "failed at once": f"{FAILED} AND times = 0", "failed after a deferral": f"{FAILED} AND times > 0",
    }  # fmt: skip
    assert set(rows) == {name for name, one in kinds.items() if told.count("life", f"{one} AND delay IS NOT NULL")}
    assert len(rows) >= 2
    for name, row in rows.items():
        whole = told.count("life", f"{kinds[name]} AND delay IS NOT NULL")
        assert number(row["number"]) == whole
        for words, bound in BOUNDS.items():
            assert row[f"within {words}"] == share(told.count("life", f"{kinds[name]} AND delay <= {bound}"), whole)


def test_deferrals(told: Told) -> None:
    rows = told.page.table("Deferrals of a mail, and what became of it", "deferrals")
    bounds = {"5 to 9": (5, 9), "10 to 19": (10, 19), "20 and more": (20, 1 << 40)}
    assert list(rows) == ["1", "2", "3", "4", *bounds]
    for name, row in rows.items():
        low, high = bounds[name] if name in bounds else (int(name), int(name))
        for outcome in ("sent", "deferred", "failed"):
            condition = FAILED if outcome == "failed" else f"status = '{outcome}'"
            assert number(row[outcome]) == told.count("life", f"times BETWEEN {low} AND {high} AND {condition}")
    assert number(rows["1"]["sent"]) > 0


def test_reasons(told: Told) -> None:
    rows = told.page.table("Attempts without success, by reason", "reason")
    assert set(rows) == {one for (one,) in told.all("SELECT DISTINCT reason FROM attempt WHERE reason IS NOT NULL")}
    for reason, row in rows.items():
        assert number(row["deferred"]) == told.count("attempt", f"reason = '{reason}' AND status = 'deferred'")
        assert number(row["failed"]) == told.count("attempt", f"reason = '{reason}' AND status <> 'deferred'")


def test_refusals(told: Told) -> None:
    rows = told.page.tables.get("Refusals by category", [])
    found = dict(told.all("SELECT category, count(*) FROM refusal GROUP BY 1"))
    assert {row["category"]: number(row["refusals"]) for row in rows} == ({"over_quota": 0, **found} if found else {})
    assert all(row["share"] == share(number(row["refusals"]), sum(found.values())) for row in rows)


def test_domains(told: Told) -> None:
    to = "FROM final WHERE is_outgoing = 1 AND substr(recipient, 34)"
    of = "FROM final WHERE is_outgoing = 0 AND substr(sender, 34)"
    names = told.all(f"""SELECT domain, count(*) FROM (SELECT substr(recipient, 34) AS domain {to} <> '' UNION ALL
        SELECT substr(sender, 34) {of} <> '') GROUP BY 1 HAVING count(*) >= 10 ORDER BY 2 DESC, 1 LIMIT 7""")
    rows = told.page.table("Mail to and from the largest domains", "domain")
    assert list(rows) == [name[:12] for name, _ in names] and len(rows) == 7
    for name, _ in names:
        row = rows[name[:12]]
        sent, come = told.one(f"SELECT count(*) {to} = '{name}'"), told.one(f"SELECT count(*) {of} = '{name}'")
        assert (number(row["mail to it"]), number(row["mail from it"])) == (sent, come)
        assert row["failed"] == share(told.one(f"SELECT count(*) {to} = '{name}' AND {FAILED}"), sent)
        later = told.count("life", f"is_outgoing = 1 AND substr(recipient, 34) = '{name}' AND times > 0")
        assert row["deferred at least once"] == share(later, sent)
        for head, here, there in (("people there", "recipient", "sender"), ("people here", "sender", "recipient")):
            people = told.one(f"""SELECT count(*) FROM (
                SELECT substr({here}, 1, 32) {to} = '{name}' AND {here} IS NOT NULL
                UNION SELECT substr({there}, 1, 32) {of} = '{name}' AND {there} IS NOT NULL)""")
            assert row[head] == ("< 5" if 0 < people < 5 else f"{people:,}")


def test_lists(told: Told) -> None:
    rows = told.page.table("Final outcomes by list", "mail")
    kinds = {"from a list": "is_list = 1", "not from a list": "is_list = 0", "not known": "is_list IS NULL"}
    assert list(rows) == list(kinds)
    for name, row in rows.items():
        by_way(row, told, kinds[name])
        assert row["share"] == share(told.count("final", kinds[name]), told.count("final"))
    assert number(rows["from a list"]["incoming"]) > 0


def test_sizes(told: Told) -> None:
    rows = told.page.table("Mail by size", "size")
    sizes = {"B": 1, "KiB": 1024, "MiB": 1024**2}
    low = 0
    for name, row in rows.items():
        if name == "not known":
            by_way(row, told, "message_size IS NULL")
            continue
        amount, unit = name.removeprefix("under ").split()
        high = int(amount) * sizes[unit]
        by_way(row, told, f"message_size >= {low} AND message_size < {high}")
        low = high
    assert sum(number(row[way]) for row in rows.values() for way in WAYS) == told.count("final")


def test_replies(told: Told) -> None:
    table = told.page.table("Share of answers that came within a time", "what")
    rows = {name: row["number"] for name, row in table.items()}
    asked: dict[str, dict[str, str]] = {}
    dated = "WHERE date IS NOT NULL ORDER BY date DESC"
    for one, sender, date in told.all(f"SELECT message_id, sender, date FROM delivery_text {dated}"):
        if one is not None and sender is not None:
            asked.setdefault(one, {})[sender] = date
    answers: dict[tuple[str, ...], str] = {}
    for *key, date in told.all(f"SELECT message_id, sender, re_message_id, date FROM attempt {dated}"):
        if None not in key:
            answers[tuple(key)] = date
    seconds = [int(told.one(f"SELECT strftime('%s', '{date}') - strftime('%s', '{other}')"))
               for (_, _, of), date in answers.items() for other in asked.get(of, {}).values()]  # fmt: skip
    values = sorted(value for value in seconds if value >= 0)
    assert len(values) > 20
    assert number(rows.pop("answers")) == len(values)
    assert number(rows.pop("answers dated before what they answer")) == len(seconds) - len(values)
    for place in (50, 90, 95, 99):
        assert number(rows.pop(f"{place} % come within, in seconds")) == values[ceil(place * len(values) / 100) - 1]
    for words, bound in BOUNDS.items():
        assert rows.pop(f"within {words}") == share(sum(value <= bound for value in values), len(values))
    assert rows == {}


def test_columns(told: Told) -> None:
    rows = told.page.table("Header columns", "column")
    assert set(rows) >= {"message_id", "from", "to", "date", "re_message_id", "subject_size", "spam_score"}
    whole = told.count("attempt")
    for name, row in rows.items():
        found = told.count("attempt", f'"{name}" IS NOT NULL')
        assert (number(row["attempts"]), row["share"]) == (found, share(found, whole))
    lacking = told.page.table("Delivery attempts", "rows")
    for name, row in lacking.items():
        column = name.removeprefix("without ")
        found = told.count("attempt", "headers_cut = 1" if name == "headers cut" else f'"{column}" IS NULL')
        assert (number(row["number"]), row["share"]) == (found, share(found, whole))
    assert number(lacking["without is_outgoing"]["number"]) > 0


def test_epochs(told: Told) -> None:
    row = told.page.table("Rows by epoch of their key", "epoch")["1"]
    assert number(row["attempts"]) == told.count("attempt", "epoch = 1")
    assert number(row["refusals"]) == told.count("refusal", "epoch = 1")


def test_no_table_is_left_unchecked(told: Told) -> None:
    """A new one fails here until it is asked for above."""
    text = Path(__file__).read_text()
    assert [caption for caption in told.page.tables if f'"{caption}"' not in text] == []


def test_final_outcomes_are_those_of_the_view(tmp_path: Path) -> None:
    """The report's narrow table against delivery_final, on logs with filters, requeues, forwards and expiry."""
    program = Program(tmp_path / "lab", **LAB).make_keys()
    program.import_files(*(unpacked(name, tmp_path) for name in SAMPLES))
    want = program.query("""SELECT CAST(strftime('%s', logged_at) AS INTEGER), status, is_outgoing, is_list,
        message_size, delay, delays, substr(sender, 1, 32), nullif(substr(sender, 34), ''), substr(recipient, 1, 32),
        nullif(substr(recipient, 34), '') FROM delivery_final""")
    with views.of_store(program.store, None, None) as ask:
        have = list(ask("""SELECT second, status, is_outgoing, is_list, message_size, delay, delays, sender_user,
            sender_domain, recipient_user, recipient_domain FROM outcome"""))
    assert len(want) > 900
    assert sorted(have, key=repr) == sorted(want, key=repr)
