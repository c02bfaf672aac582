"""Counts what a log holds, from its text alone, knowing nothing of the program that is judged.

Rules: nothing of `sink` is imported here, and nothing clever is done. One line is cut at the places
where syslogd and Postfix put a colon and a blank; what does not look like that is left out. It reads
the samples, which are honest: hostile lines are for the golden stories.
"""

import bz2
import gzip
import lzma
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
REFUSALS = ("reject", "milter-reject", "proxy-reject")
HEADER_LIMIT = 200  # bytes of name and value, cleanup_act_log() in cleanup_message.c
# smtpd_chat_reply() gets 501 5.1.3 in rcpt_cmd(), 501 5.1.7 in mail_cmd(); the log has this line alone.
BAD_SYNTAX = "warning: Illegal address syntax from "


class Entry(NamedTuple):
    """One log line: its second (UTC, since 1970), host, syslog tag, process and text."""

    second: int
    time: str
    host: str
    tag: str
    pid: str
    text: str

    @property
    def agent(self) -> str:
        """The daemon, which follows the last slash of the tag."""
        return self.tag.rpartition("/")[2]


class Delivery(NamedTuple):
    """One delivery line, or the line of an expired message (`to` is None then)."""

    entry: Entry
    queue_id: str
    to: str | None
    orig_to: str | None
    relay: str | None
    dsn: str | None
    status: str
    reply: str


class Header(NamedTuple):
    """One logged header; `cut` where the copy reached the limit, so that its end may be missing."""

    entry: Entry
    queue_id: str
    name: str
    value: str
    cut: bool


class Refusal(NamedTuple):
    """One refusal: `code` and `dsn` are None where the line has none."""

    entry: Entry
    queue_id: str | None
    kind: str
    stage: str
    code: str | None
    dsn: str | None
    sender: str | None
    to: str | None


def lines(path: Path) -> Iterator[str]:
    """The lines of a plain or compressed file; only a newline ends one."""
    opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "rb") as file:
        for line in file:
            yield line.decode("utf-8", "surrogateescape").rstrip("\n")


def entry(line: str, year: int) -> Entry | None:
    """One line of any of the three formats; times are UTC; None where it is no Postfix line."""
    if line[:1] == "<":  # <22>1 2026-11-23T00:31:07.329963+00:00 mx1 postfix/smtpd 15758 - -  text
        _, time, host, tag, pid, _, _, text = line.split(" ", 7)
        return Entry(iso_second(time), time, host, tag, pid, text.strip())
    if line[:3] in MONTHS:  # Nov 23 00:31:07 mx1 postfix/smtpd[15758]: text
        month, day, clock, host, rest = line.split(None, 4)
        hour, minute, second = (int(part) for part in clock.split(":"))
        when = datetime(year, 1 + MONTHS.index(month), int(day), hour, minute, second, tzinfo=UTC)
        second, time = int(when.timestamp()), line[:15]
    else:  # 2026-11-23T00:31:07.329963+00:00 mx1 postfix/smtpd[15758]: text
        time, host, rest = line.split(" ", 2)
        second = iso_second(time)
    head, colon, text = rest.partition(": ")
    tag, _, pid = head.rstrip("]").partition("[")
    return Entry(second, time, host, tag, pid, text.strip()) if colon else None


def iso_second(time: str) -> int:
    """The whole second of a time such as 2026-11-23T00:31:07.329963+00:00."""
    return int(datetime.fromisoformat(time).timestamp())


def entries(path: Path, year: int = 2026) -> Iterator[Entry]:
    """Every Postfix line of a file."""
    for line in lines(path):
        found = entry(line, year)
        if found and found.tag.startswith("postfix"):
            yield found


def field(text: str, name: str) -> str | None:
    """The value of `name=<…>` or of `name=…,` in a line; None where it is not there."""
    _, found, rest = text.partition(name + "=")
    if not found:
        return None
    if rest[:1] == "<":
        return rest[1:].partition(">")[0]
    return rest.partition(" ")[0].rstrip(",")


def delivery(found: Entry) -> Delivery | None:
    """The delivery that a line tells of, if it is `QID: to=<…>, … status=…` or an expiry."""
    queue_id, colon, rest = found.text.partition(": ")
    head, status, tail = rest.partition(", status=")
    if not colon or not status or " " in queue_id:
        return None
    word, _, reply = tail.partition(" ")
    if head.startswith("to=<"):
        return Delivery(
            found, queue_id, field(head, "to"), field(head, "orig_to"), field(head, "relay"),
            field(head, "dsn"), word.lower(), reply,
        )
    if head.startswith("from=<") and word.rstrip(",") in ("expired", "force-expired"):
        return Delivery(found, queue_id, None, None, None, None, word.rstrip(","), reply)
    return None


def deliveries(found: Iterable[Entry]) -> list[Delivery]:
    """Each distinct delivery line: same host, second, process and text are one line, seen twice."""
    distinct: dict[tuple[str, int, str, str], Delivery] = {}
    for one in found:
        made = delivery(one)
        if made:
            distinct.setdefault((one.host, one.second, one.pid, one.text), made)
    return list(distinct.values())


def refusal(found: Entry) -> Refusal | None:
    """The refusal that a line tells of; a `reject_warning` is none."""
    if found.text.startswith(BAD_SYNTAX):
        _, _, rest = found.text.partition(" in ")
        command, _, address = rest.partition(" command: ")
        to = address.strip("<>") if command == "RCPT" else None
        sender = address.strip("<>") if command == "MAIL" else None
        return Refusal(found, None, "syntax", command, "501", "5.1.3" if to else "5.1.7", sender, to)
    queue_id, _, rest = found.text.partition(": ")
    kind, colon, rest = rest.partition(": ")
    if kind not in REFUSALS or not colon or queue_id == "warning":  # an ETRN refusal is of no mail
        return None
    stage = rest.partition(" ")[0]
    # The trailer is the last of its kind: a reply may quote a `from=` or `to=` of its own.
    reply, _, trailer = rest.rpartition("; from=") if "; from=" in rest else rest.rpartition("; proto=")
    # Header and body checks put their reply behind the trailer.
    words = rest.rpartition(">: ")[2].split() if stage in ("header", "body") else code_words(reply)
    code = next((word for word in words[:1] if word.isdigit() and len(word) == 3), None)
    dsn = next((word for word in words[:2] if word.count(".") == 2), None)
    sender = field("from=" + trailer, "from") if "; from=" in rest else None
    return Refusal(
        found, None if queue_id == "NOQUEUE" else queue_id, kind, stage, code, dsn, sender,
        field(trailer, " to"),
    )


def header(found: Entry) -> Header | None:
    """The header that cleanup logged by an INFO rule, as in honest mail: without forged trailers."""
    queue_id, _, rest = found.text.partition(": ")
    action, _, rest = rest.partition(": header ")
    if action != "info":
        return None
    copy = rest.partition("; from=<")[0].rpartition(" from ")[0]
    name, _, value = copy.partition(":")
    return Header(found, queue_id, name.lower(), value.strip(), len(os.fsencode(copy)) >= HEADER_LIMIT)


def code_words(reply: str) -> list[str]:
    """The words behind `RCPT from host[ip]: `, which begin with the code and the DSN."""
    return reply.partition("]")[2].partition(": ")[2].split()


def refusals(found: Iterable[Entry]) -> list[Refusal]:
    """Each distinct refusal: same host, time as logged, process and text are one."""
    distinct: dict[tuple[str, str, str, str], Refusal] = {}
    for one in found:
        made = refusal(one)
        if made:
            distinct.setdefault((one.host, one.time, one.pid, one.text), made)
    return list(distinct.values())


def finals(found: Iterable[Delivery], handed_on: set[tuple[str, str]]) -> list[Delivery]:
    """Final outcomes: the last of each recipient, without what went to a queue of ours.

    `handed_on` holds (host of the queue, queue id) of every queue that counts as ours. Probes are left
    out; an expiry takes the place of its message's deferred rows.
    """
    last: dict[tuple[str, str, str | None, str | None], Delivery] = {}
    for one in found:
        if one.status in ("deliverable", "undeliverable") or internal(one, handed_on):
            continue
        if one.to is None:
            for key in [k for k, old in last.items() if k[:2] == (one.entry.host, one.queue_id)
                        and old.status == "deferred"]:
                del last[key]
        last[(one.entry.host, one.queue_id, one.to, one.orig_to)] = one
    return list(last.values())


def internal(one: Delivery, handed_on: set[tuple[str, str]]) -> bool:
    """Whether a delivery only handed the message to another queue of ours."""
    child = next_queue(one)
    if child is None:
        return False
    return "forwarded as " in one.reply or (one.entry.host, child) in handed_on


def next_queue(one: Delivery) -> str | None:
    """The queue id that a reply names, if it is a successful one."""
    for mark in ("queued as ", "forwarded as "):
        _, found, rest = one.reply.rpartition(mark)
        if found and one.status == "sent":
            return rest.rstrip(")").strip()
    return None
