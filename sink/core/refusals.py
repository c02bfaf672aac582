"""Reads refusals: "ACTION: STAGE from client[ip]: CODE DSN <address>: text; from=<s> to=<r> proto=P helo=<h>".

[Postfix src/smtpd/smtpd_check.c log_whatsup(), src/postscreen/postscreen_smtpd.c, src/smtpd/smtpd_milter.c,
src/cleanup/cleanup_milter.c, cleanup_message.c]. The text may quote an address that a client chose, so
what follows it is looked for behind the first <address>; where two readings of the trailer disagree,
neither counts and the addresses stay NULL (law 2).
"""

import re

from sink.core.addressbook import AddressBook, Party, SenderFact
from sink.core.headers import ADDRESS, split_trailer
from sink.core.reasons import Classifier

STAGES = frozenset(
    "CONNECT HELO EHLO MAIL RCPT DATA BDAT END-OF-MESSAGE VRFY ETRN AUTH STARTTLS XCLIENT NOOP RSET UNKNOWN".split()
)
CLEANUP_STAGES = {b"header ": "header", b"body ": "body", b"content ": "content", b"mime-header ": "header"}
MOST_TRAILERS = 8  # places tried as a trailer's beginning

# (stage, reply code, DSN, sender, recipient, category)
Refusal = tuple[str, int | None, str | None, SenderFact | None, Party | None, str]

STAGED = re.compile(rb"([A-Z][A-Z-]{1,19})(?: from ([^ ]*+))?:? (.*+)", re.DOTALL)
_REPLY = re.compile(rb"(?:([245]\d\d)(?:[ -]|\Z))?(?:([245]\.\d{1,3}\.\d{1,3})(?: |\Z))?")
_QUOTED = re.compile(ADDRESS + rb": ", re.DOTALL)
_TAIL = re.compile(
    rb"; ?+(?:from=" + ADDRESS + rb",? ?+)?(?:to=" + ADDRESS + rb",? ?+)?proto=([A-Z]++),?(?: helo=(?:<([^>]*+)>)?)?\Z",
    re.DOTALL,
)
_OLD_TAIL = re.compile(rb"; from=" + ADDRESS + rb"(?: to=" + ADDRESS + rb")?\Z", re.DOTALL)


class RefusalReader:
    """Reads refusals into a Refusal."""

    def __init__(self, book: AddressBook, reasons: Classifier) -> None:
        self._book = book
        self._reasons = reasons

    def read(self, text: bytes) -> Refusal | None:
        """Read the text after "reject: ", "milter-reject: " or "proxy-reject: "; None: not understood."""
        for word, stage in CLEANUP_STAGES.items():
            if text.startswith(word):
                return self._by_cleanup(stage, text[len(word) :])
        match = STAGED.fullmatch(text)
        if match is None:
            return None
        stage = match[1].decode("ascii")
        return self._refusal(stage if stage in STAGES else "UNKNOWN", match[3])

    def _by_cleanup(self, stage: str, text: bytes) -> Refusal:
        split = split_trailer(text)
        _, _, sender, recipient, said = split or (b"", b"", None, None, b"")
        code, dsn, wording = reply(said)
        category = self._reasons.classify(wording, dsn, code or "")
        return (
            stage,
            code,
            dsn.decode("ascii") or None,
            None if sender is None else self._book.sender(sender),
            None if recipient is None else self._book.party(recipient),
            "content" if category in ("other", "temporary", "policy") else category,
        )

    def _refusal(self, stage: str, said: bytes) -> Refusal:
        code, dsn, _, wording, tail = parts_of(said)
        sender = recipient = None
        if tail is not None:
            sender = None if tail[1] is None else self._book.sender(tail[1])
            recipient = None if tail[2] is None else self._book.party(tail[2])
        category = self._reasons.classify(wording, dsn, code or "")
        return stage, code, dsn.decode("ascii") or None, sender, recipient, category


# (reply code, DSN, what the text quotes first, wording, trailer); a trailer's groups: sender, recipient, protocol, HELO
Parts = tuple[int | None, bytes, bytes | None, bytes, re.Match[bytes] | None]


def parts_of(said: bytes) -> Parts:
    """Split what stands behind "STAGE from client[ip]: "."""
    code, dsn, rest = reply(said)
    quoted = _QUOTED.match(rest)
    wording = rest[quoted.end() :] if quoted else rest
    tail = _trailer(wording)
    return code, dsn, quoted[1] if quoted else None, wording[: tail.start()] if tail else wording, tail


def reply(said: bytes) -> tuple[int | None, bytes, bytes]:
    """Split a reply: (code, DSN or b"", text)."""
    match = _REPLY.match(said)
    assert match is not None  # every part of it is optional
    return int(match[1]) if match[1] else None, match[2] or b"", said[match.end() :]


def _trailer(text: bytes) -> re.Match[bytes] | None:
    """Find the one reading of the trailer that runs to the end of the line."""
    found: re.Match[bytes] | None = None
    pattern = _TAIL if b"proto=" in text else _OLD_TAIL
    at = -1
    for _ in range(MOST_TRAILERS):
        at = text.find(b";", at + 1)
        if at < 0:
            return found
        match = pattern.match(text, at)
        if match is None:
            continue
        if found is not None:
            return None
        found = match
    return found if text.find(b"; from=", at + 1) < 0 else None
