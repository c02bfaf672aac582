"""Makes log lines that Postfix could print, of what hostile correspondents put into every field.

A template is a line's text with fields in braces. Any field may hold quotes, brackets, forged ends of the line,
tokens, control bytes, invalid UTF-8, or a canary word, which must never be seen again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from sink.core.batch import Batch
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.rows import HALVES, SCALARS, Row
from sink.core.rules import Rules
from sink.core.syslog import Reader
from tests.golden_runner import CORRELATION, RULES, SECRET, stamp_iso

TOKEN = RULES.header_tokens[0]
START = 1_793_606_400  # 2026-11-02T08:00:00Z
CANARY = b"canary"
QUEUE_IDS = (b"4A5A321A867", b"1F00D5EED01", b"ABCDE", b"4jJ3DJ0q9Hz179QR")
SHAPES = Path(__file__).parents[1] / "data" / "shapes.txt"

# What stands in the fields of an honest line, by the field's name.
HONEST: dict[str, tuple[bytes, ...]] = {
    "q": QUEUE_IDS,
    "other": QUEUE_IDS,
    "addr": (
        b"alice@example.com",
        b"bob@example.net",
        b"",
        b"root",
        b"list+bounces=bob=example.net@example.org",
    ),
    "host": (b"mail.example.net", b"unknown", b"localhost"),
    "ip": (b"198.51.100.7", b"127.0.0.1", b"IPv6:2001:db8::7"),
    "text": (
        b"250 2.0.0 Ok: queued as 4A5A321A867",
        b"host mx.example.net[198.51.100.9] said: 450 4.2.2 try later",
    ),
    "id": (b"<1.2026@example.com>", b"", b"<>", b"<a b@example.net", b"x@example.org"),
    "value": (
        b"Alice <alice@example.com>, bob@example.net",
        b"Mon, 2 Nov 2026 10:00:00 +0100",
        b"Re: lunch?",
    ),
    "name": (
        b"From",
        b"To",
        b"Cc",
        b"Subject",
        b"Date",
        b"References",
        b"In-Reply-To",
        b"List-Id",
        b"X-Spam-Score",
    ),
    "helo": (b"mail.example.net",),
    "status": (b"sent", b"deferred", b"bounced", b"expired", b"deliverable", b"SOFTBOUNCE"),
    "number": (b"0", b"1", b"0.02", b"963.11", b"25"),
    "count": (b"1", b"250", b"10240"),
    "dsn": (b"2.0.0", b"4.7.1", b"5.1.1"),
}
NAMED = {"q", "other", "status", "number", "count", "dsn"}  # not a correspondent's to choose
# What stands there when a log is damaged or no longer Postfix's own.
ODD = (
    b"",
    b"-1",
    b"1e9",
    b"1_0",
    b"nan",
    b"inf",
    b"0x1",
    b".",
    b"1.",
    b".5",
    b"1.2.3",
    b"9" * 400,
    b"9" * 5000,
    b"99999999999",
    b"\xd9\xa3",
    b"4.7",
    b"4.7.",
    b"9.9.9",
    b"4.9999.1",
    b"SENT",
    b"sent-canary",
    b"A" * 20,
    b"A" * 21,
    b"AAAA",
    b"NOQUEUE",
)

# daemon, text; as Postfix's sources print them, see sink.core.parse
_TEMPLATES = """\
smtpd|{q}: client={host}[{ip}]
smtpd|{q}: client={host}[{ip}]:{count}
smtpd|{q}: client={host}[{ip}], sasl_method={text}, sasl_username={addr}
smtpd|{q}: client={host}[{ip}], sasl_method=PLAIN, sasl_username={addr}, sasl_sender={addr}
smtpd|{q}: client={host}[{ip}], orig_queue_id={other}, orig_client={host}[{ip}]
smtpd|NOQUEUE: client={host}[{ip}]
smtpd|{q}: lost connection after DATA from {host}[{ip}]
cleanup|{q}: message-id={id}
cleanup|{q}: resent-message-id={id}
cleanup|{q}: info: header {name}: {value} from {host}[{ip}]; from=<{addr}> to=<{addr}> proto=ESMTP helo=<{helo}>
cleanup|{q}: info: header {name}: {value} from {host}[{ip}]; from=<{addr}> proto=SMTP helo=<{helo}>: \
#TOKEN {name}: {value} #TOKEN
cleanup|{q}: info: header {name}: {value} from local; from=<{addr}>: #TOKEN {name}: {value} #TOKEN+
cleanup|{q}: milter-header-info: header {name}: {value} from {host}[{ip}]; from=<{addr}> to=<{addr}>: \
#TOKEN {name}: {value} #TOKEN
cleanup|{q}: reject: header {name}: {value} from {host}[{ip}]; from=<{addr}> to=<{addr}> proto=ESMTP helo=<{helo}>: \
5.7.1 {text}
cleanup|{q}: milter-reject: END-OF-MESSAGE from {host}[{ip}]: {dsn} {text}; from=<{addr}> to=<{addr}> proto=ESMTP \
helo=<{helo}>
cleanup|{q}: discard: header {name}: {value} from {host}[{ip}]; from=<{addr}> to=<{addr}>: {text}
cleanup|{q}: warning: header {name}: {value} from {host}[{ip}]; from=<{addr}> to=<{addr}>: {text}
cleanup|{q}: hold: header {name}: {value} from {host}[{ip}]; from=<{addr}>: {text}
cleanup|{q}: to=<{addr}>, relay=none, delay={number}, delays=0/0/0/0, dsn={dsn}, status=bounced ({text})
pickup|{q}: uid=1000 from=<{addr}>
pickup|{q}: uid=0 from=<{addr}> orig_id={other}
qmgr|{q}: from=<{addr}>, size={count}, nrcpt=1 (queue active)
qmgr|{q}: from=<{addr}>, status=expired, returned to sender
qmgr|{q}: removed
smtp|{q}: to=<{addr}>, relay={host}[{ip}]:25, delay={number}, delays=0.1/0.02/3/0, dsn={dsn}, status={status} ({text})
smtp|{q}: to=<{addr}>, orig_to=<{addr}>, relay={host}[{ip}]:25, conn_use=2, delay={number}, delays=0/0/0/0, \
tls={text}, dsn={dsn}, status={status} ({text})
smtp|{q}: to=<{addr}>, orig_to={addr}, relay=none, delay={number}, status={status} ({text})
smtp|{q}: to={addr}, delay={number}, relay={host}, status={status} ({text} queued as {other})
lmtp|{q}: to=<{addr}>, relay={host}[{text}], delay={number}, delays=0/0/0/0, dsn={dsn}, status={status} ({text})
local|{q}: to=<{addr}>, relay=local, delay={number}, delays=0/0/0/0, dsn={dsn}, status=sent (forwarded as {other})
pipe|{q}: to=<{addr}>, relay={host}, delay={number}, delays=0/0/0/0, dsn={dsn}, status={status} ({text})
smtp|{q}: to=<{addr}>, relay=127.0.0.1[127.0.0.1]:10025, delay={number}, delays=0/0/0/0, dsn={dsn}, status=sent \
(250 2.0.0 Ok: queued as {other})
smtp|{q}: host {host}[{ip}] said: {text} (in reply to RCPT TO command)
smtp|{q}: to=<{addr}>, relay=none, delay={text}, delays={text}, dsn={text}, status={text} ({text})
smtp|{q}: to=<{addr}>, relay=none, delay={number}, delays={number}/{number}/0/0, dsn={dsn}, status={status}
smtp|{q}: to=<{addr}>, {text}={text}, delays={text}, dsn={text}, delay={text}, status={status} ({text})
qmgr|{q}: from=<{addr}>, size={text}, nrcpt={text} (queue active)
smtpd|NOQUEUE: reject: {text} from {host}[{ip}]: {text} {text} <{addr}>: {text}; from=<{addr}> to=<{addr}> proto={text}
bounce|{q}: sender non-delivery notification: {other}
bounce|{q}: postmaster delay notification: {other}
postsuper|{q}: requeued
smtpd|NOQUEUE: reject: RCPT from {host}[{ip}]: 550 5.1.1 <{addr}>: Recipient address rejected: {text}; \
from=<{addr}> to=<{addr}> proto=ESMTP helo=<{helo}>
smtpd|{q}: reject: DATA from {host}[{ip}]: {dsn} <{addr}>: {text}; from=<{addr}> to=<{addr}> proto=ESMTP helo=<{helo}>
smtpd|NOQUEUE: milter-reject: CONNECT from {host}[{ip}]: 451 {text}; proto=ESMTP helo=<{helo}>
postscreen|NOQUEUE: reject: RCPT from [{ip}]:{count}: 550 5.7.1 {text}; from=<{addr}>, to=<{addr}>, proto=ESMTP, \
helo=<{helo}>
smtpd|NOQUEUE: reject: {text}
smtpd|proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as {other}; from=<{addr}> to=<{addr}> proto=ESMTP helo=<{helo}>
smtpd|NOQUEUE: proxy-reject: END-OF-MESSAGE: 554 5.7.1 {text}; from=<{addr}> to=<{addr}> proto=ESMTP helo=<{helo}>
smtpd|warning: {host}[{ip}]: SASL LOGIN authentication failed: {text}
smtpd|connect from {host}[{ip}]
smtpd|disconnect from {host}[{ip}] ehlo=1 mail=1
anvil|statistics: max connection count 2 for (smtpd:{ip}) at Nov  2 10:00:00
smtpd|{text}
canary|{text}
smtp|message repeated 3 times: [ {q}: to=<{addr}>, relay=none, delay={number}, status={status} ({text})]
"""
TEMPLATES = [
    (daemon.encode(), text.encode().replace(b"#TOKEN", b"#" + TOKEN))
    for daemon, _, text in (line.partition("|") for line in _TEMPLATES.splitlines())
]

# What shapes.txt writes for a field, and our name for it.
_SHAPE_FIELDS = {
    "ADDR": "addr", "HOST": "host", "IP": "ip", "TEXT": "text", "REPLY": "text", "MSGID": "id", "RAW": "id",
    "HELO": "helo", "SOCKET": "text", "DOMAIN": "host", "DATA": "text", "QID": "q", "USER": "addr",
}  # fmt: skip
_SHAPE_FIELD = re.compile(r"\b(" + "|".join(_SHAPE_FIELDS) + r")\b")


def shapes() -> list[tuple[bytes, bytes]]:
    """The shapes of real lines as templates."""
    found = []
    for line in SHAPES.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or line.count("\t") < 3:
            continue
        daemon, _, text = line.split("\t", 3)[3].partition(": ")
        text = text.replace("{", "(").replace("}", ")")
        named = _SHAPE_FIELD.sub(lambda match: "{" + _SHAPE_FIELDS[match[1]] + "}", text)
        found.append((daemon.encode(), re.sub(r"\bN\b", "7", named).encode()))
    return found


# What a correspondent may put into a field to be taken for something else.
FRAGMENTS = [
    b'"', b"'", b"<", b">", b"<>", b"\\", b'\\"', b"(", b")", b"[", b"]", b",", b";", b":", b"@", b"=",
    b"+", b"%", b"{", b" ", b"  ", b"\t", b"\r", b"\0", b"\x1b[2J", b"\x7f", b"\xff", b"\xc3",
    b"\xe2\x80\xa8", b"\xc2\x85", b"?", b"??", b"? ", b"; from=<", b"> to=<", b" from x[192.0.2.66]; ",
    b"from=<x@example.org>, size=1, nrcpt=9 (queue active)",
    b">, relay=none, delay=1, delays=0/0/0/1, dsn=2.0.0, status=sent (", b" status=sent (",
    b", status=bounced (", b": #" + TOKEN + b" ", b" #" + TOKEN, b" #" + TOKEN + b"+", b": #" + TOKEN[:7],
    b" #", b"message repeated 3 times: [ ", b"]", b"queued as 1F00D5EED01)", b"forwarded as ABCDE)",
    b"1F00D5EED01: to=<x@example.org>, relay=none, delay=0, status=sent (x)", b"proto=ESMTP helo=<x>",
    b"NOQUEUE: reject: ", b"=?utf-8?Q?=41?=", b"=?utf-8?B?w", b"=?x?q?", b"prvs=0123456789=",
    b"SRS0=aa=bb=example.org=", b"-return-1-", b"+caf_=", b"bounce-", b"550 5.7.1 ", b"5.1.1 ", b"xn--",
    b"\xe2\x84\xab\xe3\x80\x82example", b"[IPv6:::1]", b"@example.com", b"a@b",
]  # fmt: skip
CANARIES = [CANARY, b"CaNaRy@canary.example", b'"canary canary"@canary.example', b"canary.example"]


def hostile(dice: random.Random) -> bytes:
    """What a correspondent may choose to be taken for something else."""
    parts = []
    for _ in range(dice.randrange(8)):
        kind = dice.randrange(4)
        parts.append(
            dice.choice(CANARIES)
            if kind == 0
            else dice.randbytes(dice.randrange(6))
            if kind == 1
            else dice.choice(FRAGMENTS)
        )
    return b"".join(parts).replace(b"\n", b"?")


def field(name: str, dice: random.Random) -> bytes:
    """What may stand in a field: an honest value, a canary, or anything a correspondent can choose."""
    if name in NAMED and not dice.randrange(12):
        return dice.choice(ODD)
    kind = 0 if name in NAMED else dice.randrange(4)
    return dice.choice(HONEST[name]) if kind < 2 else dice.choice(CANARIES) if kind == 2 else hostile(dice)


def filled(template: bytes, value: Callable[[str], bytes]) -> bytes:
    """A template's text with its fields filled."""
    return re.sub(rb"\{([a-z]+)\}", lambda match: value(match[1].decode()), template)


# One number for all fields of a line: a draw for each would take most of a test's time.
FIELDS = st.integers(0, 1 << 30)
STEPS = (0, 0, 0, 1, 1, 2, 4, 6, 8, 61, 700, 4000, -1, -30, -90)


def text(number: int, seed: int) -> tuple[bytes, bytes]:
    """(daemon, text) of a template's number, its fields after a seed."""
    daemon, template = TEMPLATES[number]
    dice = random.Random(seed)
    return daemon, filled(template, lambda name: field(name, dice))


def logs(most: int = 40, steps: tuple[int, ...] = STEPS) -> st.SearchStrategy[list[bytes]]:
    """Lines of a log: few queue ids, so that they meet; time goes on, mostly."""
    line = st.tuples(st.integers(0, len(TEMPLATES) - 1), st.integers(0, len(steps) - 1), FIELDS)

    def made(drawn: list[tuple[int, int, int]]) -> list[bytes]:
        lines, second = [], START
        for micros, (number, step, seed) in enumerate(drawn):
            second += steps[step]
            daemon, words = text(number, seed)
            host, pid = (b"mx1", b"mx1", b"mx2")[seed % 3], (b"17", b"18")[seed % 2]
            lines.append(b"%b %b postfix/%b[%b]: %b" % (stamp_iso(second, micros), host, daemon, pid, words))
        return lines

    return st.lists(line, min_size=1, max_size=most).map(made)


STAMPS = (
    b"2026-11-02T10:00:00.123456+01:00", b"2026-11-02T10:00:00.12x456+01:00",
    b"2026-11-02T10:00:00.1_3456+01:00", b"2026-11-02T10:00:00.-12345+01:00", b"2026-11-02T10:00:00Z",
    b"2026-11-02T10:00:00,5", b"2026-11-02 10:00:00", b"2026-11-02T10:00:00.CANARY+01:00",
    b"0001-01-01T00:00:00.000000+14:00", b"9999-12-31T23:59:59.999999-14:00", b"1970-01-01T00:00:00Z",
    b"1970 Jan  1 00:00:00", b"2026 Nov 2 10:00:00.123", b"Nov  2 10:00:00", b"Feb 29 10:00:00",
    b"Jan  1 00:00:60", b"Dec 31 23:59:59", b"Xxx 99 99:99:99", b"<22>Nov  2 10:00:00",
    b"<22>1 2026-11-02T10:00:00Z", b"2026-11-02T10:00:00.123456+99:99", b"2026-13-02T10:00:00.123456Z", b"",
)  # fmt: skip
TAGS = (
    b"postfix/smtp[1]:", b"postfix/smtp[canary]:", b"postfix/canary[1]:", b"postfix[1]:", b"postfix/smtp",
    b"postfix/smtp[x", b"sshd[1]:", b"/:", b"[",
)  # fmt: skip


def wild_lines() -> st.SearchStrategy[list[bytes]]:
    """Lines of all forms, and bytes that are none."""

    def made(drawn: tuple[int, int]) -> bytes:
        number, seed = drawn
        dice = random.Random(seed)
        stamp = dice.choice(STAMPS) if dice.randrange(9) else dice.randbytes(20)
        words = text(number, seed)[1] if dice.randrange(4) else hostile(dice)
        host, tag = (
            dice.choice((b"mx1", b"mx1", b"mx1", b"\xff", b"")),
            dice.choice(TAGS if dice.randrange(4) else TAGS[:1]),
        )
        return b" ".join((stamp, host, tag, words)).replace(b"\n", b"?")

    line = st.tuples(st.integers(0, len(TEMPLATES) - 1), FIELDS).map(made)
    return st.lists(st.one_of(line, line, line, st.binary(max_size=60)), max_size=30)


def pipeline(journal: bool = False, rules: Rules = RULES, reader: Reader | None = None) -> Pipeline:
    """A pipeline as the golden stories have it."""
    return Pipeline(rules, [Epoch(1, None, None, SECRET)], CORRELATION, reader or Reader(), journal)


Rows = tuple[list[Row], list[Row]]


def together(*batches: Batch) -> Rows:
    """The rows and refusals of batches, as a store would hold them: each key once, in an order of its own."""
    deliveries: dict[bytes, Row] = {}
    rejects: dict[bytes, Row] = {}
    for batch in batches:
        for row in sorted(batch.rows):
            deliveries.setdefault(row[1][:16], row)
        for row in batch.again:
            deliveries[row[1][:16]] = row
        for row in sorted(batch.rejects):
            rejects.setdefault(row[1][:16], row)
    return sorted(deliveries.values()), sorted(rejects.values())


def named(row: Row) -> dict[str, object]:
    """A delivery row by its columns, for a test's message."""
    halves = {name: row[1][16 * place : 16 * place + 16].hex() for place, name in enumerate(HALVES)}
    return {"second": row[0], **halves, **dict(zip(SCALARS, row[2:], strict=False))}
