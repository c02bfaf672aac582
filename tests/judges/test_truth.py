"""The scenarios, judged by what clients sent and servers received, in all three formats.

`truth.jsonl` was never read from a log. Where a fact cannot come from the log (a code that Postfix does not
print, a message that was never delivered), the test counts what it leaves out and asserts the count, so
that nothing is left out in silence. What the log itself tells is read by `counter`, not by the program.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from tests.judges import counter
from tests.judges.conftest import Ids, pseudonyms_of
from tests.judges.program import DATA, LAB, LOCAL_DOMAINS, Program, Row, differences, second, unpacked

FORMATS = ("traditional", "iso8601", "rfc5424-fulltag")
TRUTH = [json.loads(line) for line in (DATA / "scenarios" / "truth.jsonl").read_text().split("\n") if line]
ORIGINS = {"remote": "smtpd", "mynetworks": "trusted", "sasl": "sasl", "local": "pickup"}
SUBMITTED = ("sasl", "pickup", "trusted", "bounce")
COPIES_OF_OTHERS = ("127.0.0.3", "127.0.0.4")  # out1 and relay3, as mx1 sees them
# An address that Postfix folded or copied: the log's nrcpt is not the number that the client gave.
REWRITTEN = {"0B29A218997": 2, "0C55B218998": 2}  # recipient_bcc_maps; one mailbox in three spellings

# A list is one sender: with VERP, without, and where an alias has an owner.
LIST_SENDERS = {
    "explode-bounces+member1=ok.example@lab.example": "explode@lab.example",
    "explode-bounces+member2=ok.example@lab.example": "explode@lab.example",
    "explode-bounces+gone=rej.example@lab.example": "explode@lab.example",
    "vlist-bounces@lab.example": "vlist@lab.example",
    "owner-crew@mx1.lab.example": "crew@mx1.lab.example",
}

Queue = tuple[str, str]  # host, queue id as logged


def truth(kind: str) -> list[dict[str, Any]]:
    """The records of one kind."""
    return [record for record in TRUTH if record["kind"] == kind]


def pure(message_id: str | None) -> str | None:
    """A message-id without its <>."""
    return message_id.strip("<>") if message_id else None


class Judged:
    """One import of the scenarios beside an independent reading of the same log."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.summary = program.import_files(log)
        self.rows = program.rows()
        self.finals = program.rows("delivery_final")
        self.rejects = program.rows("reject_text")
        self.entries = list(counter.entries(log))
        self.logged = counter.deliveries(self.entries)
        self.refused = counter.refusals(self.entries)

    @cached_property
    def ids(self) -> Ids:
        return pseudonyms_of(self.program)

    @cached_property
    def address(self) -> dict[str, str]:
        """Pseudonyms of every address that truth or log name."""
        known: set[str] = set()
        for record in TRUTH:
            for name in ("env_from", "to", "orig_to", "hdr_from", "hdr_to", "hdr_cc", "hdr_bcc"):
                known.update((record.get(name) or "").split(", "))
            known.update(record.get("rcpts") or ())
        for one in self.logged:
            known.update((one.to or "", one.orig_to or ""))
        known.update(one.sender or "" for one in self.refused)
        known.update(one.to or "" for one in self.refused)
        known.update(self.senders.values())
        return self.program.addresses({*known, *LIST_SENDERS.values()})

    @cached_property
    def senders(self) -> dict[Queue, str]:
        """Envelope senders, as qmgr logged them."""
        found = {}
        for one in self.entries:
            queue_id, _, rest = one.text.partition(": ")
            if one.agent == "qmgr" and rest.startswith("from=<"):
                found[one.host, queue_id] = counter.field(rest, "from") or ""
        return found

    @cached_property
    def recipients(self) -> dict[Queue, int]:
        """nrcpt, as qmgr logged it."""
        found = {}
        for one in self.entries:
            queue_id, _, rest = one.text.partition(": ")
            nrcpt = counter.field(rest, "nrcpt")
            if one.agent == "qmgr" and nrcpt:
                found[one.host, queue_id] = int(nrcpt)
        return found

    @cached_property
    def message_ids(self) -> dict[Queue, str]:
        """Message-ids, as cleanup logged them."""
        found = {}
        for one in self.entries:
            queue_id, _, rest = one.text.partition(": ")
            if one.agent == "cleanup" and rest.startswith("message-id=<"):
                found[one.host, queue_id] = counter.field(rest, "message-id") or ""
        return found

    @cached_property
    def queues(self) -> dict[tuple[str, str], Queue]:
        """The queue behind (host, pseudonym) of a row."""
        known = {(one.entry.host, one.queue_id) for one in self.logged}
        return {(host, self.ids.queue_id(queue_id)): (host, queue_id) for host, queue_id in known}

    def queue(self, row: Row) -> Queue:
        """The queue that a row is of."""
        return self.queues[row["host"], row["queue_id"]]

    def rows_of(self, host: str, queue_id: str) -> list[Row]:
        """The rows of one queue id."""
        wanted = self.ids.queue_id(queue_id)
        return [row for row in self.rows if row["host"] == host and row["queue_id"] == wanted]

    def pseudonym(self, clear: str | None) -> str | None:
        """The pseudonym of an address; NULL stays NULL."""
        return None if clear is None else self.address[clear]


Judge = Callable[..., Judged]


@pytest.fixture(scope="session")
def judge(installation: Callable[..., Program], unpack_folder: Path) -> Judge:
    """Imports the scenarios once for each format and config, under one keyring for each config."""
    first: dict[str, Program] = {}
    made: dict[tuple[str, str], Judged] = {}

    def judged(form: str, **config: Any) -> Judged:
        key = repr(config)
        if (form, key) not in made:
            if key in first:
                program = first[key].sibling(first[key].folder.with_name(f"{first[key].folder.name}-{form}"))
            else:
                program = first[key] = installation(**LAB, **config)
            made[form, key] = Judged(program, unpacked(f"scenarios/mail-{form}.log.gz", unpack_folder))
        return made[form, key]

    return judged


@pytest.fixture(params=FORMATS)
def judged(request: pytest.FixtureRequest, judge: Judge) -> Judged:
    return judge(request.param)


def matching(judged: Judged, record: dict[str, Any]) -> list[Row]:
    """The rows that are what a delivery record of truth says."""
    wanted = {"status": record["status"]}
    if record["dsn"] is not None:
        wanted["dsn"] = record["dsn"]
    if record["to"] is not None:
        wanted["recipient"] = judged.address[record["to"]]
    if "orig_to" in record:
        wanted["original_recipient"] = judged.pseudonym(record["orig_to"])
    found = judged.rows_of(record["host"], record["queue_id"])
    return [row for row in found if all(row[name] == value for name, value in wanted.items())]


def test_every_delivery_line_is_a_row_and_every_row_a_delivery_line(judged: Judged) -> None:
    """Host, second, queue id, recipient, original recipient, status, DSN and agent, one row a line."""

    def line(one: counter.Delivery) -> tuple[Any, ...]:
        entry = one.entry
        return (
            entry.host, entry.second, judged.ids.queue_id(one.queue_id), judged.pseudonym(one.to),
            judged.pseudonym(one.orig_to), one.status, one.dsn, entry.agent, entry.tag.partition("/")[0],
        )

    def row(one: Row) -> tuple[Any, ...]:
        return (
            one["host"], second(one["logged_at"]), one["queue_id"], one["recipient"],
            one["original_recipient"], one["status"], one["dsn"], one["agent"], one["instance"],
        )

    assert len(judged.logged) == 126
    assert Counter(map(row, judged.rows)) == Counter(map(line, judged.logged))


def test_every_delivery_of_truth_is_a_row(judged: Judged) -> None:
    """What arrived is there, with the message's sender; what truth calls optional is counted."""
    missing = [record for record in truth("delivery") if not matching(judged, record)]
    assert [record for record in missing if not record.get("optional")] == []
    # bob@lab.example in three spellings: the queue manager dropped one as a duplicate.
    assert [record["to"] for record in missing] in ([], ["bob@lab.example"])


def test_senders(judged: Judged) -> None:
    """A row's sender is what the client gave, a list behind its VERP; pickup's are read from the log."""
    given = {
        (record["host"], record["queue_id"]): record["env_from"]
        for record in truth("message")
        if record["env_from"] is not None
    }
    assert len(given) == 45
    verp = {
        (record["host"], record["queue_id"]): record["to"]
        for record in truth("delivery")
        if "env_from" in record
    }
    assert len(verp) == 2
    for row in judged.rows:
        queue = judged.queue(row)
        sender = given.get(queue, judged.senders[queue])
        assert row["sender"] == judged.address[LIST_SENDERS.get(sender, sender)], queue
        if "+" in sender:
            assert row["sender_kind"] == "verp"
            assert row["list_recipient"] == row["recipient"], queue
            assert queue not in verp or row["recipient"] == judged.address[verp[queue]]
        else:
            assert row["sender_kind"] == ("plain" if sender else "null")
            assert row["list_recipient"] is None


def messages(judged: Judged) -> Iterator[tuple[dict[str, Any], Row]]:
    """Each message of truth with each row that bears its message-id, on whatever host and queue."""
    known = {record["message_id"]: record for record in truth("message") if record["message_id"]}
    own = {(record["host"], record["queue_id"]): record for record in truth("message")}
    for row in judged.rows:
        queue = judged.queue(row)
        record = own.get(queue) or known.get(f"<{judged.message_ids[queue]}>")
        if record:
            yield record, row


def test_message_facts(judged: Judged) -> None:
    """message_id, Date, header addresses, Subject length, reply-to id: in every row of the message.

    Also in the rows of queues that log no headers of their own: forwards and a filter's second pass.
    No header of this run reached the length limit, so none of the facts is missing from the log.
    """
    assert not [one for one in map(counter.header, judged.entries) if one and one.cut]
    seen = Counter()
    for record, row in messages(judged):
        queue = judged.queue(row)
        seen[record["message_id"]] += 1
        # cleanup makes a message-id where the client gave none, and logs it.
        message_id = pure(record["message_id"]) or judged.message_ids[queue]
        assert row["message_id"] == judged.ids.message_id(message_id), queue
        sent = record["date"] and int(parsedate_to_datetime(record["date"]).timestamp())
        assert second(row["date"]) == sent, queue
        for column in ("from", "to", "cc", "bcc"):
            listed = (record[f"hdr_{column}"] or "").split(", ")
            hashed = " ".join(sorted(judged.address[one] for one in listed if one))
            assert (row[column] or "") == hashed, (queue, column)
        assert row["subject_size"] == len(record["subject"]), queue
        assert row["re_message_id"] is None and record["in_reply_to"] is None
        assert row["resent_message_id"] is None and record["resent_message_id"] is None
        assert row["headers_cut"] in (0, None), queue
    # Two messages left no delivery line: one discarded and one held by the milter.
    assert len(truth("message")) - len(seen) == 2
    assert sum(seen.values()) == sum(1 for _ in messages(judged)) >= 105


def test_lists(judged: Judged) -> None:
    """is_list is said of what the list sent, not of the mail that went to the list."""
    lists = {(record["host"], record["queue_id"]) for record in truth("delivery") if record.get("is_list")}
    lists |= {(record["host"], record["queue_id"]) for record in truth("message") if record["is_list"]}
    lists.add(("mx1", "8FE532189A6"))  # the member whose server refused
    lists.add(("mx1", "AD04121898E"))  # what an alias with an owner sends on is from a list by its sender
    assert len(lists) == 5
    for _, row in messages(judged):
        assert row["is_list"] == (judged.queue(row) in lists), judged.queue(row)


def test_sizes_of_recipient_lists(judged: Judged) -> None:
    """`recipients` is what the client gave, but where Postfix itself adds or folds recipients."""
    differing = {}
    for record in truth("message"):
        queue = record["host"], record["queue_id"]
        for row in judged.rows_of(*queue):
            assert row["recipients"] == judged.recipients[queue]
            if row["recipients"] != record["nrcpt"]:
                differing[record["queue_id"]] = row["recipients"]
    assert differing == REWRITTEN
    for row in judged.rows:
        assert row["recipients"] == judged.recipients[judged.queue(row)]


def origins(judged: Judged) -> dict[Queue, tuple[str, str]]:
    """(origin, origin at the root) of every queue: from truth, then along the links that the log names."""
    known: dict[Queue, tuple[str, str]] = {}
    for record in truth("message"):
        made = ORIGINS[record["origin"]]
        known[record["host"], record["queue_id"]] = (made, made)
    by_id = {record["message_id"]: ORIGINS[record["origin"]] for record in truth("message")}
    for record in truth("delivery"):
        if record.get("second_pass"):
            made = by_id[record["message_id"]]
            known[record["host"], record["queue_id"]] = (made, made)
    for one in judged.entries:
        queue_id, _, rest = one.text.partition(": ")
        if " notification: " in rest:
            known[one.host, rest.rpartition(" ")[2]] = ("bounce", "bounce")
        elif rest.startswith("client=") and rest.rpartition("[")[2].rstrip("]") in COPIES_OF_OTHERS:
            known[one.host, queue_id] = ("smtpd", "smtpd")
        elif rest.startswith("uid="):
            known.setdefault((one.host, queue_id), ("pickup", "pickup"))
    for made_by in judged.logged:
        child = counter.next_queue(made_by)
        if child and "forwarded as" in made_by.reply:
            known[made_by.entry.host, child] = ("forward", known[made_by.entry.host, made_by.queue_id][1])
    return known


def test_direction(judged: Judged) -> None:
    """origin, is_outgoing, sent_at and received_at of every row; an expired row has no recipient to judge."""
    known = origins(judged)
    unjudged = 0
    for row in judged.rows:
        queue = judged.queue(row)
        origin, root = known[queue]
        assert row["origin"] == origin, queue
        assert (row["submitter"] is not None) == (origin == "sasl"), queue
        if row["recipient"] is None:
            unjudged += 1
            continue
        to = next(one.to or "" for one in judged.logged
                  if (one.entry.host, one.queue_id) == queue and judged.pseudonym(one.to) == row["recipient"])
        local = to.rpartition("@")[2].lower() in LOCAL_DOMAINS or row["agent"] in ("local", "virtual")
        outgoing = root in SUBMITTED and not local
        assert row["is_outgoing"] == outgoing, (queue, row["agent"])
        first, logged = second(row["first_seen_at"]), second(row["logged_at"])
        assert second(row["sent_at"]) == (first if outgoing else second(row["date"])), queue
        arrived = (logged if row["status"] == "sent" else None) if outgoing else first
        assert second(row["received_at"]) == arrived, queue
    assert unjudged == 1
    outgoing = [record for record in truth("delivery") if record.get("outgoing")]
    assert len(outgoing) == 3
    assert all(row["is_outgoing"] == 1 for record in outgoing for row in matching(judged, record))


def test_a_filtered_or_forwarded_copy_keeps_the_time_of_its_root(judged: Judged) -> None:
    """first_seen_at lies within two seconds of the moment at which the client saw the message accepted."""
    for record in truth("message"):
        for row in judged.rows_of(record["host"], record["queue_id"]):
            first = second(row["first_seen_at"])
            assert first is not None and abs(first - record["t"]) <= 2, record["queue_id"]


def test_spam_scores(judged: Judged) -> None:
    """A score that our milter or our filter logged; none anywhere else."""
    scored = {(record["host"], record["queue_id"]): float(record["x_spam_score"])
              for record in truth("delivery") if "x_spam_score" in record}
    assert len(scored) == 2
    filtered = {(record["host"], record["queue_id"])
                for record in truth("delivery") if record.get("second_pass")}
    trusted = {one.entry.text.partition(": ")[0] for one in judged.refused} | {"E5DB52189A2", "E714B2189A2"}
    for row in judged.rows:
        queue = judged.queue(row)
        if queue in scored:
            assert row["spam_score"] == scored[queue]
        elif queue not in filtered and queue[1] not in trusted:
            assert row["spam_score"] is None, queue


def test_rejects(judged: Judged) -> None:
    """Every refusal of truth is there with stage, DSN, sender and recipient, and its code where logged.

    A milter's verdict at the end of a message is logged by cleanup without its three digits
    (`milter-reject: END-OF-MESSAGE from …: 5.7.1 text`), so two codes cannot be there and are NULL.
    A syntax error in RCPT is logged as a warning without code or DSN; both are constants of rcpt_cmd()
    in smtpd.c, so its row has them; its sender is not in that line.
    """
    def sender(one: dict[str, Any]) -> str | None:
        # Postfix's warning names the bad address alone.
        return None if " " in one.get("to", "") else judged.address[one["env_from"]]

    there = Counter(
        (row["host"], row["stage"], row["reply_code"], row["dsn"], row["sender"], row["recipient"])
        for row in judged.rejects
    )
    wanted: Counter[tuple[Any, ...]] = Counter()
    without_code = 0
    for record in truth("reject"):
        code, dsn = record["reply"].split()[:2]
        stage = record["stage"]
        to = record.get("to") or (record.get("rcpts") or [None])[0]
        unlogged = stage == "END-OF-MESSAGE"
        without_code += unlogged
        recipient = judged.program.addresses([to])[to] if to else None
        wanted[record["host"], stage, None if unlogged else int(code), dsn, sender(record), recipient] += 1
    assert without_code == 2
    missing = {key: number - there[key] for key, number in wanted.items() if there[key] < number}
    if judged.rejects and "." not in judged.entries[0].time:
        # Three alike in one second of a log without fractions are one line seen thrice, for all one can tell.
        full = judged.address["full@lab.example"]
        merged = {key: number for key, number in missing.items() if key[5] == full and key[2] == 552}
        missing = {key: number for key, number in missing.items() if key not in merged}
        assert sum(merged.values()) <= 2
    assert missing == {}


def test_every_refusal_line_is_a_reject(judged: Judged) -> None:
    """One reject a line, none invented: also those that truth has no record of."""
    assert len(judged.rejects) == len(judged.refused) == (27 if "." not in judged.entries[0].time else 30)
    assert judged.summary["rejects"] == len(judged.refused)


def test_categories_of_rejects(judged: Judged) -> None:
    """The reply that truth holds decides the category, over-quota first."""
    wordings = {
        "mailbox is full": "over_quota", "Relay access denied": "relay_denied", "Greylisted": "greylisted",
        "User unknown": "unknown_user", "blocked using": "blocklist", "exceeds fixed limit": "size",
        "address syntax": "syntax", "spam content": "content",
    }
    seen = Counter()
    for record in truth("reject"):
        category = next((word for text, word in wordings.items() if text in record["reply"]), None)
        to = record.get("to") or (record.get("rcpts") or [None])[0]
        if category is None:
            continue
        recipient = judged.program.addresses([to])[to] if to else None
        dsn = record["reply"].split()[1]
        rows = [row for row in judged.rejects if row["recipient"] == recipient and row["dsn"] == dsn
                and row["stage"] == record["stage"]]
        assert category in {row["category"] for row in rows}, record["reply"]
        seen[category] += 1
    assert seen == {
        "over_quota": 7, "relay_denied": 3, "greylisted": 2, "unknown_user": 4, "blocklist": 1, "size": 1,
        "syntax": 1, "content": 1,
    }


def final_keys(judged: Judged, ours: set[tuple[str, str]]) -> Counter[tuple[Any, ...]]:
    """Final outcomes by the independent reading, as (host, queue, recipient, original, status)."""
    last: dict[tuple[Any, ...], str] = {}
    for one in counter.finals(judged.logged, ours):
        # Two spellings of one mailbox are one recipient here.
        key = one.entry.host, one.queue_id, judged.pseudonym(one.to), judged.pseudonym(one.orig_to)
        last[key] = one.status
    return Counter((*key, status) for key, status in last.items())


@pytest.mark.parametrize("hosts", ["each host by itself", "relays within the house count as internal"])
@pytest.mark.parametrize("form", FORMATS)
def test_final_outcomes_are_neither_doubled_nor_missing(judge: Judge, form: str, hosts: str) -> None:
    """A filter's first pass and a forward are left out, its second pass counts, an expiry ends its message.

    With mx1 named as an internal relay, the hop from out1 or relay3 to mx1 is left out as well: then
    every recipient of every message has one outcome, wherever it ended. A delivery to a socket of mx1 is
    no relay.
    """
    whole_house = hosts != "each host by itself"
    judged = judge(form, internal_relays=["mx1.lab.example"]) if whole_house else judge(form)
    own = {(one.host, one.text.partition(": ")[0]) for one in judged.entries}
    if whole_house:
        own = {(host, queue_id) for host in ("mx1", "out1", "relay3") for _, queue_id in own}
    found = Counter(
        (*judged.queue(row), row["recipient"], row["original_recipient"], row["status"])
        for row in judged.finals
    )
    assert found == final_keys(judged, own)
    assert {row["id"] for row in judged.finals} <= {row["id"] for row in judged.rows}
    for row in judged.rows:
        assert row["is_internal"] in (0, 1)


@pytest.mark.parametrize("form", FORMATS)
def test_truth_knows_the_final_outcomes(judge: Judge, form: str) -> None:
    """By truth alone: first passes and forwards are no outcome, all else is one and only once."""
    judged = judge(form)
    final = Counter(
        (row["host"], row["queue_id"], row["recipient"], row["original_recipient"]) for row in judged.finals
    )
    assert set(final.values()) == {1}
    later = {(record["queue_id"], record["to"]) for record in truth("delivery") if "after" in record}
    expired = {record["queue_id"] for record in truth("event") if record["what"] == "expired"}
    final_ids = {row["id"] for row in judged.finals}
    counts = Counter()
    for record in truth("delivery"):
        there = [row for row in matching(judged, record) if row["id"] in final_ids]
        if record.get("first_pass") or record.get("forwarded"):
            assert there == [], record
            counts["handed on"] += 1
        elif (record["queue_id"], record["to"]) in later and "after" not in record:
            assert there == [], record
            counts["tried again"] += 1
        elif record["queue_id"] in expired:
            assert there == [], record
            counts["expired"] += 1
        elif record.get("optional"):
            counts["optional"] += 1
        elif record.get("note") == ".forward with a local copy":
            # Truth names the recipient; the log has a `to=` for the forward and one for the copy.
            copy = judged.address[record["to"]]
            there = [row for row in judged.rows_of(record["host"], record["queue_id"])
                     if row["original_recipient"] == copy and row["id"] in final_ids]
            assert [row["status"] for row in there] == ["sent"]
            counts["local copy"] += 1
        else:
            assert len(there) == 1, record
            counts["final"] += 1
    others = {"tried again": 1, "expired": 1, "optional": 2, "local copy": 1}
    assert counts == {"handed on": 11, "final": 76, **others}
    ends = [row for row in judged.finals if row["status"] == "expired"]
    assert [judged.queue(row)[1] for row in ends] == list(expired)
    assert ends[0]["recipient"] is None


def test_links(judged: Judged) -> None:
    """next_queue_id is the queue that the reply names; parent_queue_id leads back to it."""
    logged: dict[tuple[Any, ...], set[str | None]] = defaultdict(set)
    parents: dict[Queue, str] = {}
    for one in judged.logged:
        child = counter.next_queue(one)
        queue = one.entry.host, one.queue_id
        key = *queue, judged.pseudonym(one.to), judged.pseudonym(one.orig_to), one.status
        logged[key].add(child and judged.ids.queue_id(child))
        if child and counter.internal(one, {judged.queue(row) for row in judged.rows}):
            parents[one.entry.host, child] = judged.ids.queue_id(one.queue_id)
    for entry in judged.entries:
        queue_id, _, rest = entry.text.partition(": ")
        if " notification: " in rest:
            parents[entry.host, rest.rpartition(" ")[2]] = judged.ids.queue_id(queue_id)
    for row in judged.rows:
        key = *judged.queue(row), row["recipient"], row["original_recipient"], row["status"]
        assert row["next_queue_id"] in logged[key], key
        assert row["parent_queue_id"] == parents.get(judged.queue(row)), key


def test_formats_agree(judge: Judge) -> None:
    """One run logged in three formats gives the same rows but for fractions of seconds."""
    iso = judge("iso8601")
    for form in ("traditional", "rfc5424-fulltag"):
        other = judge(form)
        assert differences(iso.rows, other.rows) == {}, form
        assert differences(iso.finals, other.finals) == {}, form
    assert differences(iso.rejects, judge("rfc5424-fulltag").rejects) == {}
