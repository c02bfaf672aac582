"""Thirty mails through a real Postfix; rows say what clients sent, servers took or refused, and mailboxes hold.

Nothing here reads a log: rows are judged by the wire and by the files in which mail arrived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import yaml

from tests.integration.conftest import PROGRAMS
from tests.integration.live.canary import leaks
from tests.integration.live.kinds import (
    ALICE,
    ALL,
    ANSWERS,
    BOXES,
    CATEGORIES,
    ENDS,
    FIRST,
    LAST,
    LISTS,
    MAILS,
    PICKUP,
    REASONS,
    REPLIES,
    ROUTED,
    SUBJECTS,
    TABLES,
)
from tests.integration.live.postoffice import COLLEAGUE, STRANGER, TRUSTED, Delivered, Mail, Postoffice, Sent
from tests.integration.live.recording import Filter, Logins, Refused, Server, Taken, running
from tests.integration.live.rsyslogd import Rsyslogd
from tests.integration.live.service import Service, eventually, listening
from tests.judges.program import Ids, Program, Row, pseudonyms_of


def date_of(number: int) -> datetime:
    """Each mail has a Date of its own."""
    return datetime(2026, 11, 2, 9, 0, tzinfo=UTC) + timedelta(minutes=number)


@dataclass
class Day:
    """All that is known of the mails, and the rows."""

    program: Program
    folder: Path
    remote: Server
    filter: Filter
    sent: dict[str, Sent] = field(default_factory=dict)
    arrived: list[Delivered] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    final: list[Row] = field(default_factory=list)
    rejects: list[Row] = field(default_factory=list)
    written: str = ""
    of: dict[str, str] = field(default_factory=dict)
    ids: Ids = None  # type: ignore[assignment]

    def rows_of(self, name: str) -> list[Row]:
        """The rows of a mail, of its second pass and its forward too: its Message-ID goes along."""
        wanted = self.ids.message_id(f"{name}@example.org")
        return [row for row in self.rows if row["message_id"] == wanted]

    def read(self) -> None:
        """Take down what is in the store, and the pseudonyms of all that the truth names."""
        self.rows, self.final = self.program.rows(), self.program.rows("delivery_final")
        self.rejects = self.program.rows("reject_text")
        self.ids = pseudonyms_of(self.program)
        names = set(LISTS.values())
        for one in (*self.remote.taken, *self.filter.taken, *self.remote.refused):
            names |= {one.sender, one.recipient}
        for one in self.arrived:
            names |= {one.sender, one.recipient, one.original_recipient}
        for mail in ALL:
            names |= {mail.author, mail.sender, mail.login, *mail.recipients}
        self.of = self.program.addresses(names)
        self.of.update({written: self.of[sender] for written, sender in LISTS.items()})


def work(postoffice: Postoffice, day: Day) -> None:
    """Let all mails go their ways, and wait until each has come to its end."""

    def post(mail: Mail) -> None:
        day.sent[mail.name] = postoffice.post(mail, format_datetime(date_of(ALL.index(mail))))

    def deferred(*names: str) -> bool:
        return sorted(postoffice.queued()) == sorted(("deferred", day.sent[name].queue_id) for name in names)

    for mail in FIRST:
        post(mail)
    eventually(lambda: deferred("grey", "waiting"))
    postoffice.do("postqueue", "-f")
    eventually(lambda: len(day.remote.refused) == 3 and len(day.remote.taken) == 1)
    for mail in MAILS:
        post(mail)
    eventually(lambda: deferred("waiting", "mixed"))
    # It goes on under another queue id. Nobody wakes pickup(8) for it, but sendmail does.
    postoffice.do("postsuper", "-r", day.sent["waiting"].queue_id)
    post(PICKUP)
    eventually(lambda: {"waiting@example.org", "pickup@example.org"} <= {one.message_id for one in day.remote.taken})
    eventually(lambda: deferred("mixed"))
    postoffice.do("postsuper", "-e", day.sent["mixed"].queue_id)
    postoffice.do("postqueue", "-f")
    eventually(lambda: not postoffice.queued())
    post(LAST)
    wanted = pseudonyms_of(day.program).message_id(LAST.message_id)
    # Lines come in their order, so with the last mail's row all rows are there. No line follows: by the wall clock.
    eventually(lambda: any(row["message_id"] == wanted for row in day.program.rows()), 40)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    if os.geteuid() != 0 or not shutil.which("postfix", path=PROGRAMS):
        pytest.skip("Postfix is not installed, or may not be started")
    if subprocess.run(["unshare", "--mount", "mount", "--make-rprivate", "/"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    made = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def day(folder: Path, with_keys: Program) -> Iterator[Day]:
    """Everything is done once, and over when the first test begins."""
    for name in ("postfix", "sink"):  # what Postfix holds is its own; what we leave is looked through
        (folder / name).mkdir()
        (folder / name).chmod(0o755)
    remote, logins = Server(ANSWERS, ENDS), Logins()
    postoffice = Postoffice(folder / "postfix", remote.port, logins.port, **TABLES)
    filtering = Filter(postoffice.way_back)
    postoffice.configure(filtering.port)
    program = listening(with_keys.sibling(folder / "sink" / "live"))
    shutil.copy2(postoffice.secret, program.folder / "header-tokens")
    known = yaml.safe_load(program.config.read_text())
    known.update({"local_domains": ["example.com"], "trusted_networks": [TRUSTED], "header_tokens": "header-tokens"})
    program.config.write_text(yaml.safe_dump(known))
    rsyslogd = Rsyslogd(folder / "sink" / "rsyslog", program)
    made = Day(program, folder / "sink", remote, filtering)
    with running(remote, filtering, logins), Service(program) as service, rsyslogd:
        postoffice.start_with(rsyslogd.folder / "dev-log")
        try:
            work(postoffice, made)
        finally:
            postoffice.stop()
        rsyslogd.stop()
        assert service.stop() == 0
        made.written = rsyslogd.written()
    made.arrived = [one for name in BOXES for one in postoffice.delivered(name)]
    made.read()
    yield made


def same(found: Counter[tuple[object, ...]], wanted: Counter[tuple[object, ...]]) -> None:
    more, less = list((found - wanted).elements()), list((wanted - found).elements())
    assert not more and not less, f"more: {more}, less: {less}"


def seen(rows: Iterable[Row], *columns: str) -> Counter[tuple[object, ...]]:
    return Counter(tuple(row[column] for column in columns) for row in rows)


def test_what_a_server_took_is_a_sent_row(day: Day) -> None:
    def wanted(taken: list[Taken], internal: int) -> Counter[tuple[object, ...]]:
        return Counter(
            (day.ids.queue_id(one.queue_id), day.ids.queue_id(one.next_queue_id), day.of[one.sender],
             day.of[one.recipient], one.size, one.message_id and day.ids.message_id(one.message_id), internal,
             "sent", "2.0.0", 250, None, "loopback")
            for one in taken
        )  # fmt: skip

    rows = [row for row in day.rows if row["agent"] == "smtp" and row["status"] == "sent"]
    found = seen(rows, "queue_id", "next_queue_id", "sender", "recipient", "message_size", "message_id",
                 "is_internal", "status", "dsn", "reply_code", "reason", "relay_kind")  # fmt: skip
    same(found, wanted(day.remote.taken, 0) + wanted(day.filter.taken, 1))


def test_what_a_server_refused_is_a_row_with_its_code(day: Day) -> None:
    def row(one: Refused) -> tuple[object, ...]:
        status = "deferred" if one.reply_code < 500 else "bounced"
        return (day.of[one.sender], day.of[one.recipient], one.reply_code, one.dsn, status,
                REASONS[one.recipient])  # fmt: skip

    rows = [row for row in day.rows if row["agent"] == "smtp" and row["status"] != "sent"]
    found = seen(rows, "sender", "recipient", "reply_code", "dsn", "status", "reason")
    same(found, Counter(map(row, day.remote.refused)))


def test_what_is_in_a_mailbox_is_a_sent_row(day: Day) -> None:
    wanted = Counter(
        (day.ids.queue_id(one.queue_id), day.of[one.sender], day.of[one.recipient],
         day.of[one.original_recipient] if one.original_recipient != one.recipient else None,
         "virtual" if one.recipient.endswith("@box.example.com") else "local", "sent", "2.0.0", 0)
        for one in day.arrived
    )  # fmt: skip
    rows = [row for row in day.rows if row["agent"] in ("local", "virtual") and not row["is_internal"]]
    found = seen(rows, "queue_id", "sender", "recipient", "original_recipient", "agent", "status", "dsn", "is_outgoing")
    same(found, wanted)


def test_what_our_smtpd_refused_is_a_reject(day: Day) -> None:
    wanted = Counter(
        (stage, code if stage != "header" else None, dsn, day.of[sent.mail.sender], recipient and day.of[recipient],
         CATEGORIES[sent.mail.name, recipient])
        for sent in day.sent.values() for stage, recipient, code, dsn in sent.refused
    )  # fmt: skip
    assert len(wanted) == len(CATEGORIES)
    same(seen(day.rejects, "stage", "reply_code", "dsn", "sender", "recipient", "category"), wanted)


def test_no_other_row_is_there(day: Day) -> None:
    forwarded, expired = 1, 1
    attempts = len(day.remote.taken) + len(day.remote.refused) + len(day.filter.taken) + len(day.arrived)
    assert len(day.rows) == attempts + forwarded + expired


def test_each_outcome_counts_once(day: Day) -> None:
    """The last word on each recipient, whatever came before: an attempt, a filter, an alias, another queue id.

    No mail waits in the end, so what was only put off was taken later, or given up.
    """
    wanted: Counter[tuple[object, ...]] = Counter(
        (day.of[one.sender], day.of[one.recipient], "sent") for one in (*day.remote.taken, *day.arrived)
    )
    wanted += Counter(
        (day.of[one.sender], day.of[one.recipient], "bounced") for one in day.remote.refused if one.reply_code >= 500
    )
    wanted[day.of[ALICE], None, "force-expired"] = 1
    same(seen(day.final, "sender", "recipient", "status"), wanted)


@pytest.mark.parametrize(("number", "mail"), ROUTED, ids=[mail.name for _, mail in ROUTED])
def test_a_row_says_what_its_client_sent(day: Day, number: int, mail: Mail) -> None:
    """Sender, direction, origin, times and header columns; also of a second pass and of a forward."""
    rows, sent = [row for row in day.rows_of(mail.name) if row["recipient"]], day.sent[mail.name]
    assert rows
    ours = mail.client is not STRANGER
    date = date_of(number).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    for row in rows:
        outgoing = ours and row["recipient"] in {day.of[to] for to in mail.recipients if to.endswith("@example.net")}
        assert row["is_outgoing"] == outgoing
        origin = {STRANGER: "smtpd", COLLEAGUE: "trusted", None: "pickup"}.get(mail.client, "sasl")
        assert row["origin"] in ("forward", origin)
        # A forward is a message of its own, made a moment later; and sendmail does not wait.
        late = row["origin"] in ("forward", "pickup")
        assert moment(sent.began) <= row["first_seen_at"] <= (row["logged_at"] if late else moment(sent.ended))
        assert row["date"] == date
        assert row["sent_at"] == (row["first_seen_at"] if outgoing else date)
        arrived = row["logged_at"] if row["status"] == "sent" else None
        assert row["received_at"] == (arrived if outgoing else row["first_seen_at"])
        assert row["subject_size"] == SUBJECTS.get(mail.name, len(mail.subject))
        assert row["from"] == day.of[mail.author or mail.sender]
        assert row["to"].split(" ") == sorted(day.of[to] for to in mail.recipients)
        reply = REPLIES.get(mail.name)
        assert row["re_message_id"] == (reply and day.ids.message_id(reply))
        assert row["submitter"] == (day.of[mail.login] if mail.login else None)
        assert row["headers_cut"] == 0


def test_a_list_is_one_sender(day: Day) -> None:
    """A subscriber's address in the sender is taken out; XVERP writes it on the wire alone."""
    [coming] = day.rows_of("verp")
    assert coming["sender"] == day.of["team@example.org"]
    assert (coming["sender_kind"], coming["is_list"]) == ("verp", 1)
    assert coming["list_recipient"] == day.of["bob@example.com"]
    [listed] = day.rows_of("listed")
    assert (listed["sender_kind"], listed["is_list"], listed["list_recipient"]) == ("plain", 1, None)
    going = day.rows_of("xverp")
    wire = {one.sender for one in day.remote.taken if one.message_id == "xverp@example.org"}
    assert wire == {"club+erin=example.net@example.com", "club+frank=example.net@example.com"}
    assert {(row["sender"], row["recipients"], row["list_recipient"]) for row in going} == {
        (day.of["club@example.com"], 2, None)
    }
    others = [row for row in day.rows if row["list_recipient"] or row["is_list"]]
    assert {row["id"] for row in others} == {coming["id"], listed["id"]}


def test_a_null_sender_is_no_unknown_one(day: Day) -> None:
    null = [row for row in day.rows if row["sender_kind"] == "null"]
    assert {row["sender"] for row in null} == {""}
    assert {row["origin"] for row in null} == {"smtpd", "bounce"}
    assert not [row for row in day.rows if row["sender"] is None]


def test_a_notification_is_submitted_here(day: Day) -> None:
    """It names the message that it is about, as the notification itself does, and takes nothing else from it."""
    told = [*day.remote.taken, *day.arrived]
    wanted = Counter(
        (day.ids.queue_id(one.queue_id), day.ids.queue_id(one.parent), "", day.of[one.recipient],
         int(one.recipient != ALICE))
        for one in told if one.parent
    )  # fmt: skip
    abouts = Counter(one.parent for one in told if one.parent)
    assert abouts == {day.sent["bounced"].queue_id: 1, day.sent["content"].queue_id: 1, day.sent["mixed"].queue_id: 2}
    here = [one for one in day.rows if one["origin"] == "bounce"]
    same(seen(here, "queue_id", "parent_queue_id", "sender", "recipient", "is_outgoing"), wanted)
    assert all(row[name] is None for row in here for name in ("from", "to", "date", "subject_size", "re_message_id"))


def test_an_alias_that_leads_out_is_a_message_of_its_own(day: Day) -> None:
    """It came from outside, so it is not outgoing, and only its own delivery counts."""
    one, two = sorted(day.rows_of("forward"), key=lambda row: row["origin"] == "forward")
    [taken] = [one for one in day.remote.taken if one.message_id == "forward@example.org"]
    assert (one["agent"], one["status"], one["is_internal"], one["origin"]) == ("local", "sent", 1, "smtpd")
    assert one["queue_id"] == two["parent_queue_id"] == day.ids.queue_id(day.sent["forward"].queue_id)
    assert one["next_queue_id"] == two["queue_id"] == day.ids.queue_id(taken.queue_id)
    assert (two["recipient"], two["original_recipient"]) == (day.of[taken.recipient], day.of["forward@example.com"])
    assert (two["is_outgoing"], two["is_internal"], two["origin"]) == (0, 0, "forward")


@pytest.mark.parametrize("name", ["filtered-out", "filtered-in"])
def test_a_second_pass_keeps_what_the_first_one_knew(day: Day, name: str) -> None:
    rows, mail = day.rows_of(name), day.sent[name].mail
    first = [row for row in rows if row["queue_id"] == day.ids.queue_id(day.sent[name].queue_id)]
    second = [row for row in rows if row not in first]
    ours = {day.of[to] for to in mail.recipients}
    assert {row["recipient"] for row in first} == {row["recipient"] for row in second} == ours
    assert len(first) == len(second) == len(ours)
    assert {(row["is_internal"], row["parent_queue_id"], row["spam_score"]) for row in first} == {(1, None, None)}
    assert {(row["is_internal"], row["next_queue_id"] == first[0]["next_queue_id"]) for row in second} == {(0, False)}
    assert {row["queue_id"] for row in second} == {row["next_queue_id"] for row in first}
    assert {row["parent_queue_id"] for row in second} == {row["queue_id"] for row in first}
    assert {row["spam_score"] for row in second} == {5.1}
    assert {row["first_seen_at"] for row in rows} == {first[0]["first_seen_at"]}
    assert [row["id"] for row in day.final if row in second] and not [row for row in day.final if row in first]


def test_attempts_are_told_apart(day: Day) -> None:
    """One row for each attempt, and for a whole message that is given up; the last one counts."""
    grey = day.rows_of("grey")
    assert [row["status"] for row in sorted(grey, key=lambda row: row["logged_at"])] == ["deferred", "sent"]
    assert [row["status"] for row in day.final if row in grey] == ["sent"]
    mixed, busy = day.rows_of("mixed"), day.of["busy@example.net"]
    assert [row["recipients"] for row in mixed] == [5] * 6
    assert [row["status"] for row in mixed if row["recipient"] == busy] == ["deferred"]
    [expired] = [row for row in mixed if row["recipient"] is None]
    assert (expired["status"], expired["agent"], expired["is_outgoing"]) == ("force-expired", "qmgr", None)
    assert expired["queue_id"] == day.ids.queue_id(day.sent["mixed"].queue_id)


def test_a_requeued_mail_is_the_same_mail(day: Day) -> None:
    rows, old = day.rows_of("waiting"), day.ids.queue_id(day.sent["waiting"].queue_id)
    [taken] = [one for one in day.remote.taken if one.message_id == "waiting@example.org"]
    assert Counter((row["queue_id"], row["parent_queue_id"], row["status"]) for row in rows) == {
        (old, None, "deferred"): 2, (day.ids.queue_id(taken.queue_id), old, "sent"): 1
    }  # fmt: skip
    assert len({row["first_seen_at"] for row in rows}) == 1
    assert [row["status"] for row in day.final if row in rows] == ["sent"]


def test_an_address_is_remembered_as_it_was_asked_for(day: Day) -> None:
    def asked(name: str) -> Counter[tuple[object, ...]]:
        return seen(day.rows_of(name), "recipient", "original_recipient")

    alice, info = day.of[ALICE], day.of["info@example.com"]
    assert asked("virtual") == Counter([(alice, info)])
    assert asked("both") == Counter([(alice, info), (alice, None)])


def test_no_file_holds_an_address(day: Day) -> None:
    assert leaks(day.folder) == []
    assert "postfix" not in day.written
    assert leaks(day.folder.parent / "postfix" / "boxes"), "the canary is blind"


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
