"""Logs with a canary in every field of every kind of line.

The kinds are the lines of all golden stories and one line of each shape of tests/data/shapes.txt; `planted()` puts a
canary into each field that a person or a host is known by. fields.log is small: one message's life and some refusals,
with a word of its own in each field, so that a finding says which one came out.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path

from tests import golden_runner as golden
from tests.golden_runner import stamp_iso
from tests.judges.shapes import NEXT, QID, Shape, line, shapes
from tests.leak.canaries import QUEUE, STEM

TOKEN = golden.RULES.header_tokens[0].decode()
LOCAL = f"{STEM}.example.com"  # the local domain: an operator's word, that stands in the config alone
NOON = 1_793_620_800  # 2026-11-02T12:00:00Z
HOSTS = 40  # that the lines of shapes are spread over
_STEM = STEM.encode()
_ids: dict[bytes, bytes] = {}


def _queue_id(found: re.Match[bytes]) -> bytes:
    if found[0].startswith(QUEUE.encode()):
        return found[0]
    return _ids.setdefault(found[0], _made_id(len(_ids)))


def _made_id(number: int) -> bytes:
    return b"%b%03X" % (QUEUE.encode(), number)


def _names(found: re.Match[bytes]) -> bytes:
    """Mark each name among the addresses of a header line."""
    return re.sub(rb"(?<![\w@.<=?:-])([A-Z][a-z\x80-\xff]+)(?=[ ,\"?)])", _STEM + rb"\1", found[0])


_LOCAL_PART = rb"[\w.+\x80-\xff-]+@"
_MARKED = rb"Date|X-Spam\S*|Precedence|List-\S+|Subject|From|To|Cc|Bcc|Reply-To|In-Reply-To|References|Message-I[dD]"
_ENVELOPE = rb"; (?:from|proto)="
# In this order. What follows `header` is planted before the addresses in it are.
_PLANTING: tuple[tuple[bytes, bytes | Callable[[re.Match[bytes]], bytes]], ...] = (
    (rb"(?<=Subject: )(?=\S)(?!from |#)", _STEM + b" "),
    (rb"(?:header |%b )(?:From|To|Cc|Bcc|Reply-To|Sender|List-Id): .*" % TOKEN.encode(), _names),
    (rb"header (?!%b)[\w-]+: (?=\w)(?!from )" % _MARKED, rb"\g<0>" + _STEM),
    (rb"(?<=message-id=<)|(?<=message-id=)(?=\w)|(?<=In-Reply-To: <)|(?<=References: <)", _STEM),
    # A local part; not that of an encoded sender, whose form must stay: there the domains are enough.
    (rb"(?i)(?<![\w.+=/!#$%&*^`{|}~\x80-\xff-])(?=" + _LOCAL_PART + rb"(?:[^ ]*example|\[))", _STEM),
    (rb"(?<=sasl_username=)(?=\w)|(?<=sasl_sender=)(?=\w)|(?<=envelope-from=)(?=\w)", _STEM),
    (rb"(?<=from=<)(?=[\w-]+>)|(?<=to=<)(?=[\w-]+>)", _STEM),  # without a domain
    (rb"(?i)(?<![\w-])example(?=\.(?:com|net|org)\b)", _STEM + b".example"),
    (rb"(?<=helo=<)(?!\[)(?=[\w.-]+>)(?![^>]*%b)" % _STEM, _STEM + b"-"),
    (rb"\b[0-9A-F]{10,12}\b", _queue_id),
    (rb"(?<=\b[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10}z)[0-9A-Za-z]+\b", _STEM[:8]),  # a long queue id's inode
    # Texts of a peer, a table or a milter.
    (rb"\bsome (?:words|text)\b|\btry later\b", rb"\g<0> " + _STEM),
    (rb"( status=\w+ \((?!forwarded as |delivered )\S.*?)((?: \(in reply to [\w -]+\))?\))$", rb"\1 %b\2" % _STEM),
    (rb": (?:\d{3} )?\d\.\d\.\d (?!<\")(?=.*" + _ENVELOPE + rb")|: \d{3} (?!\d\.)(?=.*" + _ENVELOPE + rb")",
     rb"\g<0>%b " % _STEM),
    (rb": (?:reject|discard): header .*", rb"\g<0> " + _STEM),
)  # fmt: skip
_PATTERNS = [(re.compile(pattern), there) for pattern, there in _PLANTING]
_TROUBLE = re.compile(rb": (?:warning|error|fatal|panic): ")


def planted(text: bytes) -> bytes:
    """Put canaries into a line."""
    for pattern, there in _PATTERNS:
        text = pattern.sub(there, text)
    return text


# -- a word of its own in each field

FIELDS = (Path(__file__).parent / "fields.log").read_text()
_QUEUE_IDS = (
    "queue_id", "parent_queue_id", "next_queue_id", "notification_queue_id", "local_queue_id", "refused_queue_id",
    "full_queue_id",
)  # fmt: skip
_NAMES = ("host", "domain", "client", "helo", "blocklist")  # what a field that holds a host's name ends in


def named(field: str) -> str:
    """The canary of a field: a word that tells its name, or for a queue id the form of one."""
    if field in _QUEUE_IDS:
        return _made_id(0xF00 + _QUEUE_IDS.index(field)).decode()
    word = STEM + field.replace("_", "")
    return f"{word}.example.net" if field.endswith(_NAMES) else word


def field_names() -> set[str]:
    """All fields of FIELDS."""
    return {name for _, name, _, _ in string.Formatter().parse(FIELDS) if name} - {"about", "TOKEN"}


@cache
def fields() -> tuple[bytes, ...]:
    """The lines of FIELDS, one a second, and one that moves the clock until their rows leave."""
    known = {name: named(name) for name in field_names()}
    about = "from {client_host}[203.0.113.7]; from=<{sender}@{sender_domain}> to=<{recipient}@{recipient_domain}> " \
            "proto=ESMTP helo=<{helo}>"  # fmt: skip
    text = FIELDS.format(**known, TOKEN=TOKEN, about=about.format(**known))
    lines = [
        b"%b mx1 postfix/%b" % (stamp_iso(NOON + number, number), line.encode())
        for number, line in enumerate(text.strip().split("\n"))
    ]
    return (*lines, _end(b"mx1", NOON + len(lines)))


def _end(host: bytes, second: int) -> bytes:
    """A line that moves a host's clock past all that waits."""
    return b"%b %b postfix/anvil[1]: statistics: max cache size 1 at Nov  2 08:00:00" % (stamp_iso(second + 8, 0), host)


# -- all kinds of lines


@cache
def archived() -> tuple[bytes, ...]:
    """All stories' lines as they were logged, each story on a host of its own, then all shapes."""
    found: list[bytes] = []
    for number, story in enumerate(golden.stories()):
        hosts = re.compile(rb"(?<= )mx(?=\d )")
        found += [hosts.sub(b"s%d-mx" % number, planted(text)) for text in story.lines]
    return (*found, *shaped())


@cache
def current() -> tuple[bytes, ...]:
    """All stories' lines in one format and of one day, then all shapes, and what lets their rows leave."""
    found: list[bytes] = []
    for number, story in enumerate(golden.stories()):
        found += _with_end(b"s%d" % number, map(planted, golden.shifted(story, NOON, b"s%d" % number)))
    return (*found, *shaped(), *(_end(b"h%d" % number, NOON + len(shapes())) for number in range(HOSTS)))


def _with_end(host: bytes, lines: Iterable[bytes]) -> list[bytes]:
    found = list(lines)
    latest = max(found, default=stamp_iso(NOON, 0)).split(b" ")[0].decode()
    return [*found, _end(host, int(datetime.fromisoformat(latest).timestamp()))]


@cache
def shaped() -> tuple[bytes, ...]:
    """A line of each shape, one a second."""
    return tuple(of_shape(number, shape) for number, shape in enumerate(shapes()))


def of_shape(number: int, shape: Shape) -> bytes:
    """A line of a shape, under a queue id of its own."""
    text = line(shape).rstrip(b"\n").split(b" mx1 ", 1)[1]
    text = text.replace(QID.encode(), _made_id(0x400 + number)).replace(NEXT.encode(), _made_id(0x800 + number))
    found = planted(b"%b h%d %b" % (stamp_iso(NOON + number, number), number % HOSTS, text))
    if set(shape.personal) & set("AHT") and _STEM not in found:
        return found + b" " + _STEM  # what may hold text of a peer's holds it at its end
    return found


@cache
def troubles() -> tuple[bytes, ...]:
    """Each line of a level that may be passed on to the admin, with one more canary at its end."""
    return tuple(text + b" " + _STEM for text in (*archived(), *fields()) if _TROUBLE.search(text))
