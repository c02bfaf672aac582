"""Header columns, held against the headers that cleanup logged, as Python's own email package reads them."""

from collections import Counter, defaultdict
from collections.abc import Callable
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path

from tests.judges import counter
from tests.judges.program import LAB, MIXED, NEWER, SCENARIOS, TOKEN, Program, Row, pseudonyms_of, second

Sample = Callable[[str], Path]
Reference = Callable[[str], Program]
Facts = dict[str, list[counter.Header]]


def own_headers(log: Path) -> dict[tuple[str, str], Facts]:
    """The headers that each queue logged itself."""
    found: dict[tuple[str, str], Facts] = defaultdict(lambda: defaultdict(list))
    for entry in counter.entries(log):
        one = counter.header(entry)
        if one:
            found[entry.host, one.queue_id][one.name].append(one)
    return found


def mailboxes(value: str) -> list[str]:
    """The addresses of a header as Python's own parser reads them; `?` stands for a line break."""
    return [address for _, address in getaddresses([value.replace("?", " ")]) if address]


def text_of(value: str) -> str:
    """A header's text with its encoded-words decoded, as Python's own parser reads it."""
    return "".join(
        part.decode(code or "ascii", "replace") if isinstance(part, bytes) else part
        for part, code in decode_header(value)
    )


def test_header_columns_of_the_mixed_sample(installation: Callable[..., Program], sample: Sample) -> None:
    """Header columns are what cleanup logged of that queue, read by Python's own email package.

    No token is configured, so that header lines without one count. 68 References reached the limit of 200
    bytes: those rows say headers_cut, and nothing else is cut.
    """
    log = sample(MIXED.format("iso8601"))
    program = installation(**LAB)
    program.import_files(log)
    ids = pseudonyms_of(program)
    facts = own_headers(log)
    clear = {box for own in facts.values() for name in ("from", "to", "cc", "bcc")
             for one in own.get(name, ()) for box in mailboxes(one.value)}
    address = program.addresses(clear)
    queues = {(host, ids.queue_id(queue_id)): own for (host, queue_id), own in facts.items()}
    compared: Counter[str] = Counter()
    for row in program.rows():
        own = queues.get((row["host"], row["queue_id"]))
        if own:
            compare(row, own, address, ids.message_id, compared)
    assert compared["rows"] == sum(
        1 for one in counter.deliveries(counter.entries(log)) if (one.entry.host, one.queue_id) in facts
    )
    assert compared["cut"] > 60 and compared["in-reply-to"] > 130 and compared["cc"] > 65


def compare(
    row: Row, own: Facts, address: dict[str, str], message_id: Callable[[str], str], compared: Counter[str]
) -> None:
    """Hold one row against the headers of its queue."""
    compared["rows"] += 1
    # VERP in a header is decoded as in the envelope; such a From is the list's, told by the truth judge.
    for name in ("from", "to", "cc", "bcc"):
        boxes = {box for one in own.get(name, ()) for box in mailboxes(one.value)}
        if any(box.startswith("bounce-") for box in boxes):
            compared["verp"] += 1
            continue
        compared[name] += bool(boxes)
        assert (row[name] or "") == " ".join(sorted({address[box] for box in boxes})), name
    for one in own.get("subject", ())[:1]:
        assert row["subject_size"] == len(text_of(one.value))
    for one in own.get("date", ())[:1]:
        assert second(row["date"]) == int(parsedate_to_datetime(one.value).timestamp())
    for one in own.get("in-reply-to", ())[:1]:
        compared["in-reply-to"] += 1
        assert row["re_message_id"] == message_id(one.value.strip("<>"))
    is_list = "list-id" in own or any(one.value.lower() == "list" for one in own.get("precedence", ()))
    assert row["is_list"] == is_list
    cut = any(one.cut for values in own.values() for one in values)
    compared["cut"] += cut
    assert row["headers_cut"] == cut


# `To: x y@lab.example` and `To: #guess To: forged@x #guess`: no grammar says what their addresses are.
NO_ADDRESSES = {("C7CD2258368", "to"), ("C859C258359", "to")}


def token_headers(log: Path) -> dict[str, list[tuple[str, str, bool]]]:
    """(name, value, cut) of the headers with a token, by queue id: between the first mark and the last."""
    found: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    for entry in counter.entries(log):
        queue_id, _, rest = entry.text.partition(": info: header ")
        copy, opened, marked = rest.partition(f": #{TOKEN} ")
        if opened and entry.agent == "cleanup":
            cut = marked.endswith("+")
            whole, closed, _ = marked.rpartition(f" #{TOKEN}")
            name, _, value = (whole if closed else marked).partition(":")
            # A forged mark in the header itself comes earlier, in Postfix's own copy: it opens first.
            if f"#{TOKEN}" not in copy and f" #{TOKEN} " not in marked:
                found[queue_id].append((name.lower(), value.strip(), cut))
    return found


def test_headers_between_tokens(reference: Reference, sample: Sample) -> None:
    """Real mails with hostile headers, logged with a token: nothing of Postfix's own copies is a fact.

    Left out are the mail whose sender knew the token (no table can help then), and one with five Subjects.
    """
    log = sample(NEWER.format("iso8601"))
    program = reference(NEWER.format("iso8601"))
    ids = pseudonyms_of(program)
    rows = {row["queue_id"]: row for row in program.rows()}
    read: Counter[str] = Counter()
    for queue_id, headers in token_headers(log).items():
        row = rows.get(ids.queue_id(queue_id))
        if row is None:
            read["without a row"] += 1
            continue
        assert row["headers_cut"] == any(cut for _, _, cut in headers), queue_id
        subjects = [value for name, value, cut in headers if name == "subject" and not cut]
        if len(subjects) == 1:
            assert row["subject_size"] == len(text_of(subjects[0])), queue_id
            read["subject"] += 1
        for column in ("from", "to", "cc", "bcc"):
            # The last address of a cut list is not whole.
            boxes = [
                box for name, value, cut in headers if name == column
                for box in mailboxes(value.rpartition(",")[0] if cut else value) if "@" in box
            ]
            if boxes and (queue_id, column) not in NO_ADDRESSES:
                address = program.addresses(boxes)
                assert set((row[column] or "").split()) == set(address.values()) - {""}, (queue_id, column)
                read[column] += 1
                read["cut"] += any(cut for name, _, cut in headers if name == column)
    assert read == {"from": 25, "to": 7, "cc": 1, "bcc": 1, "cut": 3, "subject": 15, "without a row": 1}


def test_header_lines_without_the_token_are_no_facts(reference: Reference, sample: Sample) -> None:
    """Where a token is configured, a line without it may be forged: the scenarios have none."""
    program = reference(SCENARIOS.format("iso8601"))
    columns = "from", "to", "cc", "bcc", "subject_size", "date", "re_message_id"
    assert {row[name] for row in program.rows() for name in columns} <= {None, ""}
