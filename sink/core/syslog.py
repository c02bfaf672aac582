"""Reads the syslog header of a line: line -> record.

Rules: bytes, never text, since a queue may log any byte and str.splitlines would break at U+2028. All time
formats may be mixed in one file. The time of a line without a year or a zone depends on the rules and on the
file, never on a clock (law 6). Nothing here looks into what Postfix said.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from sink.core.queueid import birth, second_of
from sink.core.tags import Named, read_tag

# (UTC second, microseconds as six digits, host, (program, pid), text)
Record = tuple[int, bytes, bytes, Named, bytes]
# A line cut at C speed: (stamp, fraction, zone and host, tag, queue id or b"", first word, text behind the queue id).
# Where the stamp is b"" the last holds a whole line, to be read alone.
Entry = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes]
Moment = tuple[int, bytes]  # (UTC second, host)
Parts = tuple[int, bytes, bytes, bytes, bytes]  # (second, microseconds, host, tag, text)

MOST_LINE = 65_536  # bytes; rsyslog's maxMessageSize is 8k by default, Postfix cuts at about 2k
MOST_CACHED = 1024  # seconds, tags: a log of one host repeats few of them at a time
MOST_TEXT = 60_000  # bytes of a text that is cut at C speed; a longer one is measured first
MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
LATEST = 4_102_444_800  # the year 2100: a later time is no time
HALF_A_YEAR = 183 * 86_400
A_DAY = 86_400
NO_MICROS = b"000000"
SECONDS = {b"%02d" % second: second for second in range(60)}  # a leap second is read in full

# Behind the time, a line that nothing wraps: host, tag, and a text that may begin with a queue id.
_SHOWN = rb"[!-\xff]"  # no blank, no control byte; the engine reads a range fastest
_TEXT = rb"(?>(?:([0-9A-Za-z]{5,20}+): )?)(?=([!-<>-\xff]*+))"
_USUAL = rb" (%b++) (?!message repeated |\[ID |[ \n])%b(.{0,%d}+)(?!.)" % (_SHOWN, _TEXT, MOST_TEXT)
# One findall() over a chunk is quick because each begins with "\n" and none goes back (possessive).
_FORMS = (
    re.compile(rb"\n(\d{4}-\d\d-\d\dT.{8})(?>(?:\.(\d{6}))?)([Z+-][\d:]*+ " + _SHOWN + rb"++)" + _USUAL),
    re.compile(rb"\n([A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d)() (" + _SHOWN + rb"++)" + _USUAL),
)
_SPLIT = re.compile(_TEXT + rb"(.*+)", re.DOTALL)

ISO = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)
YEARED = re.compile(rb"(\d{4}) ([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? ", re.ASCII)
PLAIN = re.compile(rb"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? ", re.ASCII)
PRI = re.compile(rb"<\d{1,3}>(1 )?", re.ASCII)
REPEATED = re.compile(rb"message repeated (\d{1,9}) times: \[ (.*)\]\Z", re.DOTALL)
SOLARIS = re.compile(rb"\[ID \d{1,10} [a-z0-9]+\.[a-z]+\] ")  # syslogd of Solaris
DATA = re.compile(rb'(?:-|(?>(?:\[(?>(?:[^\]"]++|"(?>(?:[^"\\]++|\\.)*)")*)\])+)) ?', re.DOTALL)  # RFC 5424 6.3


class Tags(dict[bytes, Named]):
    """(program, process id) by tag; reads one that is missing."""

    def __missing__(self, tag: bytes) -> Named:
        if len(self) >= MOST_CACHED:
            self.clear()
        found = self[tag] = read_tag(tag)
        return found


class Reader:
    """Reads the headers of one source's lines.

    year: of the first line without a year; near: UTC second of a line close to the first; fallback: UTC second
    that no line is later than (a file's modification time); host: whose lines are those that name none, as programs
    write them to /dev/log. Without a year, near or fallback a long queue id tells the year;
    lines before the first that does are not read, and `undecided` counts them.
    """

    def __init__(
        self, zone: tzinfo = UTC, year: int | None = None, near: int | None = None, fallback: int | None = None,
        host: bytes = b"",
    ) -> None:  # fmt: skip
        self.repeats = 0  # lines that a "message repeated" stood for, beyond the one it shows
        self.undecided = 0
        self.years: set[int] = set()  # that lines without a year were given
        self._zone = zone
        self._year = year
        self._host = host
        self.has_host = bool(host)
        self._fallback = fallback
        self._near = near  # UTC second of the last line whose year is known
        self._minutes: dict[bytes, int] = {}  # by stamp and zone
        self._plain: dict[bytes, int] = {}
        self._form = _FORMS[0]  # that of the last lines
        self.tags = Tags()

    def read(self, line: bytes) -> Record | None:
        """Return the record of a line (without its newline), None where it has no syslog header."""
        return self.records((line,))[0]

    def records(self, lines: Sequence[bytes]) -> list[Record | None]:
        """Return the record of each line, None for one that has no syslog header or is over the limit."""
        found: list[Record | None] = []
        for entry in self.entries(lines):
            stamp, micros, place, tag, queue_id, _, text = entry
            if stamp:
                moment = self.moment(stamp, place, queue_id)
            else:
                moment, (micros, tag, queue_id, _, text) = self.alone(text)
            whole = queue_id + b": " + text if queue_id else text
            found.append(moment and (moment[0], micros or NO_MICROS, moment[1], self.tags[tag], whole))
        return found

    def entries(self, lines: Sequence[bytes]) -> list[Entry]:
        """Cut lines up, several times as fast as one by one; what they say of time is read by moment()."""
        found = self._form.findall(b"\n" + b"\n".join(lines))
        return found if len(found) == len(lines) else self._mixed(lines)

    def _mixed(self, lines: Sequence[bytes]) -> list[Entry]:
        """Cut up lines of which some are of another form: in halves, until each half is of one."""
        if len(lines) <= 1:
            return [(b"", b"", b"", b"", b"", b"", line) for line in lines]
        block = b"\n" + b"\n".join(lines)
        for form in _FORMS:
            found: list[Entry] = form.findall(block)
            if len(found) == len(lines):
                self._form = form
                return found
            if found:
                break
        else:
            return [(b"", b"", b"", b"", b"", b"", line) for line in lines]
        middle = len(lines) // 2
        return self.entries(lines[:middle]) + self.entries(lines[middle:])

    def moment(self, stamp: bytes, place: bytes, queue_id: bytes) -> Moment | None:
        """Return (UTC second, host) of an entry's stamp and place, None where the stamp is no time."""
        if stamp.endswith(b" ", 0, 4):
            second = self._known(stamp + b" ")
            if second is None:
                match = PLAIN.fullmatch(stamp + b" ")
                second = self._yearless(match, birth(queue_id)) if match else None
            if second is None:
                return None
            self._near = second
            return second, place
        zone, _, host = place.partition(b" ")
        minute = self._minutes.get(stamp[:17] + zone)
        within = SECONDS.get(stamp[17:])
        if minute is None or within is None:
            iso = ISO.fullmatch(stamp + zone)
            found = self._iso(iso) if iso else None
            if found is None:
                return None
            if within is None:
                self._near = found[0]
                return found[0], host
            if len(self._minutes) >= MOST_CACHED:
                self._minutes.clear()
            minute = self._minutes[stamp[:17] + zone] = found[0] - within
        self._near = minute + within
        return minute + within, host

    def alone(self, line: bytes) -> tuple[Moment | None, tuple[bytes, bytes, bytes, bytes, bytes]]:
        """Read a line by itself: (UTC second, host) or None, and (fraction, tag, queue id, first word, text)."""
        read = None if len(line) > MOST_LINE else self._read_any(line)
        if read is None:
            return None, (b"", b"", b"", b"", b"")
        second, micros, host, tag, text = read
        match = _SPLIT.fullmatch(text)
        assert match is not None  # every part of it is optional
        return (second, host), (micros, tag, match[1] or b"", match[2], match[3])

    def _unwrapped(self, text: bytes) -> bytes:
        solaris = SOLARIS.match(text)
        if solaris:
            text = text[solaris.end() :]
        repeated = REPEATED.match(text)
        if repeated:
            self.repeats += int(repeated[1]) - 1
            text = repeated[2]
        return text

    def _read_any(self, line: bytes) -> Parts | None:
        priority = PRI.match(line)
        if priority:
            line = line[priority.end() :]
            if priority[1]:
                return self._read_5424(line)
        stamp = ISO.match(line)
        if stamp:
            found = self._iso(stamp)
            return None if found is None else self._rest(*found, line[stamp.end() :].lstrip(b" "))
        stamp = PLAIN.match(line)
        if stamp:
            rest = line[stamp.end() :]
            second = self._known(stamp[0]) or self._yearless(stamp, second_of(rest))
            return None if second is None else self._rest(second, _micros(stamp[6]), rest)
        stamp = YEARED.match(line)
        if stamp:
            second = self._local(int(stamp[1]), stamp[2], stamp[3], stamp[4], stamp[5], stamp[6])
            return None if second is None else self._rest(second, _micros(stamp[7]), line[stamp.end() :])
        return None

    def _known(self, stamp: bytes) -> int | None:
        """Return the second of a stamp that was read lately; after a year it comes again and means another."""
        second = self._plain.get(stamp)
        near = second is not None and self._near is not None and abs(second - self._near) < HALF_A_YEAR
        return second if near else None

    def _rest(self, second: int, micros: bytes, rest: bytes) -> Parts | None:
        parts = rest.split(b" ", 2)
        if self._host and parts[0].endswith(b"]:"):  # a tag: syslog(3) writes no host
            parts = [self._host, *rest.split(b" ", 1)]
        if len(parts) != 3:
            return None
        host, tag, text = parts
        self._near = second
        return second, micros, host, tag, self._unwrapped(text.lstrip(b" "))

    def _read_5424(self, line: bytes) -> Parts | None:
        """Read RFC 5424: stamp, host, app name, process id, message id, structured data, message."""
        try:
            stamp, host, app, pid, _, rest = line.split(b" ", 5)
        except ValueError:
            return None
        match = ISO.fullmatch(stamp)
        data = DATA.match(rest)
        found = self._iso(match) if match else None
        if found is None or data is None:
            return None
        text = rest[data.end() :].removeprefix(b"\xef\xbb\xbf").lstrip(b" ")
        tag = app + b"[" + (b"" if pid == b"-" else pid) + b"]"
        self._near = found[0]
        return found[0], found[1], host, tag, self._unwrapped(text)

    def _iso(self, match: re.Match[bytes]) -> tuple[int, bytes] | None:
        zone_name = match[8] or b""
        zone = self._zone if not zone_name else _offset(zone_name)
        second = _second(zone, *(int(part) for part in match.group(1, 2, 3, 4, 5, 6)))
        if second is None:
            return None
        return second, _micros(match[7])

    def _local(
        self, year: int, month: bytes, day: bytes, hour: bytes, minute: bytes, second: bytes
    ) -> int | None:
        number = MONTHS.get(month)
        if number is None:
            return None
        return _second(self._zone, year, number, int(day), int(hour), int(minute), int(second))

    def _yearless(self, match: re.Match[bytes], born: int | None) -> int | None:
        """Give a line without a year the one that brings it nearest to what is known (law 6)."""
        if match[1] not in MONTHS:
            return None
        if self._near is None:
            second = self._anchored(match, born)
        else:
            around = datetime.fromtimestamp(self._near, UTC).year
            second = self._nearest(match, self._near, (around - 1, around, around + 1))
        if second is None:
            return None
        self.years.add(datetime.fromtimestamp(second, self._zone).year)
        if len(self._plain) >= MOST_CACHED:
            self._plain.clear()
        self._plain[match[0]] = second
        return second

    def _in_year(self, match: re.Match[bytes], year: int) -> int | None:
        return self._local(year, match[1], match[2], match[3], match[4], match[5])

    def _nearest(self, match: re.Match[bytes], to: int, years: tuple[int, ...]) -> int | None:
        seconds = [s for s in (self._in_year(match, year) for year in years) if s is not None]
        return min(seconds, key=lambda second: abs(second - to)) if seconds else None

    def _anchored(self, match: re.Match[bytes], born: int | None) -> int | None:
        """Find the year of a first line: told by the operator, by a long queue id, by the file's age."""
        if self._year is not None:
            return self._in_year(match, self._year)
        if born is not None:
            # A message is logged after its birth, up to some weeks later when it is deferred.
            year = datetime.fromtimestamp(born, UTC).year
            for candidate in (year, year + 1):
                second = self._in_year(match, candidate)
                if second is not None and born - A_DAY <= second < born + HALF_A_YEAR:
                    return second
        if self._fallback is None:
            self.undecided += 1
            return None
        year = datetime.fromtimestamp(self._fallback, UTC).year
        for candidate in (year + 1, year, year - 1):
            second = self._in_year(match, candidate)
            if second is not None and second <= self._fallback + A_DAY:
                return second
        return None


def _micros(fraction: bytes | None) -> bytes:
    return fraction[:6].ljust(6, b"0") if fraction else b"000000"


def _offset(zone: bytes) -> tzinfo:
    if zone == b"Z":
        return UTC
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return timezone(timedelta(minutes=-minutes if zone[:1] == b"-" else minutes)) if minutes < 1440 else UTC


def _second(zone: tzinfo, year: int, month: int, day: int, hour: int, minute: int, second: int) -> int | None:
    """Return the UTC second; of an hour that comes twice the first (the key depends on the line alone)."""
    try:
        leap = second == 60
        found = int(datetime(year, month, day, hour, minute, second - leap, tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        return None
    return found if 0 < found < LATEST else None
