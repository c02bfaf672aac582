"""The scenarios, judged by what clients sent and servers received, in all three formats.

`truth.jsonl` was never read from a log. Where a fact cannot come from the log (a code that Postfix does not
print, a message that was never delivered), the test counts what it leaves out and asserts the count, so
that nothing is left out in silence. What the log itself tells is read by `counter`, not by the program.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from tests.judges import counter
from tests.judges.judged import LIST_SENDERS, Judged, Queue, matching, truth
from tests.judges.program import LOCAL_DOMAINS, Row, differences, second

Judge = Callable[..., Judged]
ORIGINS = {"remote": "smtpd", "mynetworks": "trusted", "sasl": "sasl", "local": "pickup"}
SUBMITTED = ("sasl", "pickup", "trusted", "bounce")
COPIES_OF_OTHERS = ("127.0.0.3", "127.0.0.4")  # out1 and relay3, as mx1 sees them
# An address that Postfix folded or copied: the log's nrcpt is not the number that the client gave.
REWRITTEN = {"0B29A218997": 2, "0C55B218998": 2}  # recipient_bcc_maps; one mailbox in three spellings

def pure(message_id: str | None) -> str | None:
    """A message-id without its <>."""
    return message_id.strip("<>") if message_id else None


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
    assert len(lists) == 4
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
        "over_quota": 6, "relay_denied": 3, "greylisted": 2, "unknown_user": 4, "blocklist": 1, "size": 1,
        "syntax": 1, "content": 1,
    }


def test_formats_agree(judge: Judge) -> None:
    """One run logged in three formats gives the same rows but for fractions of seconds."""
    iso = judge("iso8601")
    for form in ("traditional", "rfc5424-fulltag"):
        other = judge(form)
        assert differences(iso.rows, other.rows) == {}, form
        assert differences(iso.finals, other.finals) == {}, form
    assert differences(iso.rejects, judge("rfc5424-fulltag").rejects) == {}
