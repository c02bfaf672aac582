"""Writes a line's header again, part by part; for `scrub`, and lines of which not all of the header may come out.

Rules: the patterns are the reader's (sink.core.syslog); what comes out is the priority, the time as logged, host and
tag as told, and the wrappings of syslogds in constant words. RFC 5424's message id and structured data are left out.
"""

import re
from typing import NamedTuple

from sink.core.syslog import DATA, ISO, PLAIN, PRI, REPEATED, SOLARIS, YEARED

_FACILITY = re.compile(rb"\[ID \d{1,10} mail\.(?:emerg|alert|crit|err|error|warning|notice|info|debug)\] ").fullmatch


class Head(NamedTuple):
    """What a line has before its text: written() puts it together."""

    begin: bytes  # priority and time, with a blank behind
    rfc5424: bool
    opens: bytes  # of wrappings
    closes: bytes

    def written(self, host: bytes, tag: bytes, text: bytes) -> bytes:
        """Return the line of a host, a tag and a text."""
        if self.rfc5424:
            app, _, pid = tag.rstrip(b":").partition(b"[")
            tag = b"%b %b - -" % (app, pid.rstrip(b"]") or b"-")
        return b"%b%b %b %b%b%b" % (self.begin, host, tag, self.opens, text, self.closes)


def head_of(line: bytes, has_host: bool) -> Head:
    """Read the header of a line that the reader has read; has_host: lines may name no host, as in /dev/log."""
    priority = PRI.match(line)
    rest = line[priority.end() :] if priority else line
    before = priority[0] if priority else b""
    if priority and priority[1]:
        stamp, _, _, _, _, behind = rest.split(b" ", 5)
        data = DATA.match(behind)
        assert data is not None  # else the reader had not read it
        text = behind[data.end() :].removeprefix(b"\xef\xbb\xbf").lstrip(b" ")
        return Head(before + stamp + b" ", True, *_wrapping(text))
    time = ISO.match(rest)
    behind = rest[time.end() :].lstrip(b" ") if time else b""
    if time is None:
        time = PLAIN.match(rest) or YEARED.match(rest)
        assert time is not None
        behind = rest[time.end() :]
    words = behind.split(b" ", 2)
    if has_host and words[0].endswith(b"]:"):
        words = [b"", *behind.split(b" ", 1)]
    return Head(before + time[0].rstrip(b" ") + b" ", False, *_wrapping(words[2].lstrip(b" ")))


def _wrapping(text: bytes) -> tuple[bytes, bytes]:
    solaris = SOLARIS.match(text)
    opens = solaris[0] if solaris and _FACILITY(solaris[0]) else b""
    repeated = REPEATED.match(text[solaris.end() :] if solaris else text)
    if repeated:
        return b"%bmessage repeated %b times: [ " % (opens, repeated[1]), b"]"
    return opens, b""
