"""The scenarios: truth, an import of one format, and an independent reading of the same log."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.judges import counter
from tests.judges.program import DATA, Ids, Program, Row, pseudonyms_of

FORMATS = ("traditional", "iso8601", "rfc5424-fulltag")
TRUTH = [json.loads(line) for line in (DATA / "scenarios" / "truth.jsonl").read_text().split("\n") if line]
# A list is one sender, not one for each subscriber; what names no subscriber stays itself.
LIST_SENDERS = {
    "explode-bounces+member1=ok.example@lab.example": "explode@lab.example",
    "explode-bounces+member2=ok.example@lab.example": "explode@lab.example",
    "explode-bounces+gone=rej.example@lab.example": "explode@lab.example",
}


Queue = tuple[str, str]  # host, queue id as logged


def truth(kind: str) -> list[dict[str, Any]]:
    """The records of one kind."""
    return [record for record in TRUTH if record["kind"] == kind]


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
