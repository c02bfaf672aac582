"""Every time format is read, mixed in one file; years and zones come from rules and file, never from a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest

from sink.core.syslog import MOST_LINE, Reader

TEXT = b"4A5A321A867: removed"
TAIL = b" mx1 postfix/qmgr[17]: " + TEXT
LONG_ID = b"4jJ3DJ0q9Hz179QR"  # born 2026-11-02T07:26:40Z
BERLIN, TOKYO, NEW_YORK = map(ZoneInfo, ("Europe/Berlin", "Asia/Tokyo", "America/New_York"))
AT_TEN = 1_793_613_600  # 2026-11-02T10:00:00Z


def second(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


def read(
    line: bytes, reader: Reader | None = None
) -> tuple[int, int, bytes, str, str | None, bytes, bytes] | None:
    """second, microseconds, host, instance, daemon, process id, text"""
    record = (reader or Reader(UTC, 2026)).read(line)
    if record is None:
        return None
    at, micros, host, (program, pid), text = record
    return at, int(micros), host, program.instance, program.daemon, pid, text


def years(lines: list[bytes], reader: Reader) -> list[int | None]:
    """The year of each line."""
    return [
        None if record is None else datetime.fromtimestamp(record[0], UTC).year
        for record in reader.records(lines)
    ]


def stamps(*words: bytes) -> list[bytes]:
    return [word + TAIL for word in words]


# -- formats


@pytest.mark.parametrize(
    ("stamp", "micros"),
    [
        (b"2026-11-02T10:00:00.123456+00:00", 123_456),
        (b"2026-11-02T11:00:00.123456+01:00", 123_456),
        (b"2026-11-02T05:30:00.000001-04:30", 1),
        (b"2026-11-02T10:00:00Z", 0),
        (b"2026-11-02T10:00:00.5Z", 500_000),
        (b"2026-11-02T10:00:00.123456789Z", 123_456),
        (b"2026-11-02T11:00:00+0100", 0),
        (b"2026-11-02T10:00:00", 0),
        (b"2026-11-02T10:00:00.250", 250_000),
        (b"2026-11-02T10:00:00,250", 250_000),
        (b"2026-11-02 10:00:00.250", 250_000),
        (b"2026-11-02 10:00:00,250+00:00", 250_000),
        (b"Nov  2 10:00:00", 0),
        (b"Nov 2 10:00:00", 0),
        (b"Nov 02 10:00:00", 0),
        (b"Nov  2 10:00:00.250", 250_000),
        (b"2026 Nov  2 10:00:00", 0),
        (b"2026 Nov 2 10:00:00.123", 123_000),
    ],
)
@pytest.mark.parametrize("priority", [b"", b"<22>", b"<165>"])
def test_each_format_is_read(stamp: bytes, micros: int, priority: bytes) -> None:
    assert read(priority + stamp + TAIL) == (AT_TEN, micros, b"mx1", "postfix", "qmgr", b"17", TEXT)


@pytest.mark.parametrize("data", [b"-", b'[a b="c"]', b'[a b="c \\" ] d"][e f="g"]', b"[a]"])
@pytest.mark.parametrize("message", [TEXT, b" " + TEXT, b"\xef\xbb\xbf" + TEXT])
def test_rfc_5424(data: bytes, message: bytes) -> None:
    line = b"<22>1 2026-11-02T10:00:00.123456Z mx1 postfix/qmgr 17 - " + data + b" " + message
    assert read(line) == (AT_TEN, 123_456, b"mx1", "postfix", "qmgr", b"17", TEXT)


def test_rfc_5424_without_a_process_id() -> None:
    assert read(b"<22>1 2026-11-02T10:00:00Z mx1 postfix/qmgr - - - " + TEXT) == (
        AT_TEN, 0, b"mx1", "postfix", "qmgr", b"", TEXT,
    )  # fmt: skip


def test_formats_may_be_mixed() -> None:
    reader = Reader(UTC, 2026)
    lines = stamps(b"Nov  2 10:00:00", b"2026-11-02T10:00:00Z", b"<22>2026 Nov  2 10:00:00", b"Nov  2 10:00:00")
    assert [record and record[0] for record in reader.records(lines)] == [AT_TEN] * 4


@pytest.mark.parametrize(
    "line",
    [
        b"", b" ", b"   ", b"Nov", b"Nov  2", b"Nov  2 10:00:00", b"Nov  2 10:00:00 ", b"Nov  2 10:00:00 mx1",
        b"Xxx  2 10:00:00" + TAIL,
        b"Nov 31 10:00:00" + TAIL, b"Nov  2 25:00:00" + TAIL, b"Nov  2 10:60:00" + TAIL, b"Nov  2 10:00:61" + TAIL,
        b"2026-13-02T10:00:00Z" + TAIL, b"2026-11-31T10:00:00Z" + TAIL, b"2026-11-02T24:00:00Z" + TAIL, TAIL, TAIL[1:],
        b"<22>1 x mx1 postfix/qmgr 17 - - " + TEXT, b"<22>1 2026-11-02T10:00:00Z mx1 postfix/qmgr 17 - [a " + TEXT,
        b"<22>1 2026-11-02T10:00:00Z mx1", b"<22>", b"\0" * 100, b"\xff" * 100, b"nov  2 10:00:00" + TAIL,
        "Nov \u0662 10:00:00".encode() + TAIL, "\u0662026-11-02T10:00:00Z".encode() + TAIL,
    ],
)  # fmt: skip
def test_what_is_no_syslog_line(line: bytes) -> None:
    assert read(line) is None


@pytest.mark.parametrize(
    "stamp", [b"12x456", b"1_3456", b"-12345", b"+12345", b"      ", b"canary", b"", b"1.3456"]
)
@pytest.mark.parametrize("known", [True, False], ids=["second known", "second new"])
def test_a_fraction_that_is_none(stamp: bytes, known: bool) -> None:
    """Whether or not a line of that second was read before, nothing of Postfix is in it, and nothing raises."""
    reader = Reader(UTC, 2026)
    if known:
        reader.read(b"2026-11-02T10:00:00.000000+00:00" + TAIL)
    found = read(b"2026-11-02T10:00:00." + stamp + b"+00:00" + TAIL, reader)
    assert found is None or found[4] is None


def test_a_second_read_before_is_read_alike() -> None:
    """The common format has a short way; it gives what the long one gives."""
    lines = stamps(
        b"2026-11-02T10:00:00.123456+00:00", b"2026-11-02T10:00:00.654321+00:00", b"2026-11-02T10:00:00.654321+01:00",
        b"2026-11-02T10:00:00.654321", b"2026-11-02T10:00:00.654321+00:00",
    )  # fmt: skip
    reader = Reader(UTC)
    assert reader.records(lines) == [Reader(UTC).read(line) for line in lines]
    assert reader.records(lines) == [Reader(UTC).read(line) for line in lines]


def test_a_line_over_the_limit() -> None:
    line = b"2026-11-02T10:00:00.123456+00:00" + TAIL
    reader = Reader(UTC)
    for length, is_read in ((MOST_LINE, True), (MOST_LINE + 1, False)):
        longer = line + b"x" * (length - len(line))
        assert (reader.read(longer) is not None) == is_read
        assert (Reader(UTC).read(longer) is not None) == is_read


def test_a_leap_second_is_the_one_before() -> None:
    assert read(b"2016-12-31T23:59:60Z" + TAIL) == read(b"2016-12-31T23:59:59Z" + TAIL)


def test_what_a_syslogd_wraps_around_a_text() -> None:
    reader = Reader(UTC)
    stamp = b"2026-11-02T10:00:00.000000+00:00 mx1 postfix/qmgr[17]: "
    for text in (TEXT, b"message repeated 3 times: [ " + TEXT + b"]", b"[ID 197553 mail.info] " + TEXT):
        found = read(stamp + text, reader)
        assert found is not None and found[-1] == TEXT
    assert reader.repeats == 2
    other = read(stamp + b"message repeated 2 times: [ " + TEXT, reader)
    assert other is not None and other[-1] != TEXT


# -- tags


@pytest.mark.parametrize(
    ("tag", "instance", "daemon", "pid"),
    [
        (b"postfix/smtpd[17]:", "postfix", "smtpd", b"17"),
        (b"postfix/submission/smtpd[17]:", "postfix", "smtpd", b"17"),
        (b"postfix-out/cleanup[17]:", "postfix-out", "cleanup", b"17"),
        (b"mail/relay/smtp[17]:", "mail", "smtp", b"17"),
        (b"postfix/smtpd:", "postfix", "smtpd", b""),
        (b"postfix/smtpd", "postfix", "smtpd", b""),
        (b"postfix/smtpd[x]:", "postfix", "smtpd", b""),
        (b"postfix[17]:", "postfix", None, b"17"),
        (b"postfix/unheard-of[17]:", "postfix", None, b"17"),
    ],
)
def test_who_speaks(tag: bytes, instance: str, daemon: str | None, pid: bytes) -> None:
    found = read(b"2026-11-02T10:00:00Z mx1 " + tag + b" " + TEXT)
    assert found is not None
    assert found[3:6] == (instance, daemon, pid)


@pytest.mark.parametrize(
    "tag", [b"sshd[1]:", b"/smtpd[1]:", b"dovecot/lmtp-x:", b":", b"x" * 70 + b"/smtpd:", b"\xff/smtpd:"]
)
def test_others_speak_too(tag: bytes) -> None:
    record = Reader(UTC).read(b"2026-11-02T10:00:00Z mx1 " + tag + b" " + TEXT)
    assert record is not None
    assert not record[3][0].postfix


# -- zones


@pytest.mark.parametrize(("zone", "hours"), [(UTC, 0), (BERLIN, -1), (TOKYO, -9), (NEW_YORK, 5)])
@pytest.mark.parametrize(
    "stamp",
    [b"Nov  2 10:00:00", b"2026 Nov  2 10:00:00", b"2026-11-02T10:00:00", b"2026-11-02 10:00:00.000000"],
)
def test_a_time_without_a_zone_is_of_the_rules(zone: tzinfo, hours: int, stamp: bytes) -> None:
    found = read(stamp + TAIL, Reader(zone, 2026))
    assert found is not None and found[0] == AT_TEN + hours * 3600


def test_a_time_with_a_zone_is_not() -> None:
    for stamp in (b"2026-11-02T10:00:00.000000+00:00", b"2026-11-02T19:00:00+0900", b"2026-11-02T10:00:00Z"):
        found = read(stamp + TAIL, Reader(TOKYO))
        assert found is not None and found[0] == AT_TEN


def test_an_hour_that_comes_twice_is_the_first() -> None:
    """The key depends on the line alone (law 6), so that the two can't be told apart."""
    found = read(b"Oct 25 02:30:00" + TAIL, Reader(BERLIN, 2026))
    assert found is not None and found[0] == second(2026, 10, 25, 0, 30)


def test_an_hour_that_never_was_is_read_all_the_same() -> None:
    found = read(b"Mar 29 02:30:00" + TAIL, Reader(BERLIN, 2026))
    assert found is not None and found[0] == second(2026, 3, 29, 1, 30)


def test_odd_zones() -> None:
    for zone, minutes in ((b"+14:00", 840), (b"-12:00", -720), (b"+05:45", 345)):
        found = read(b"2026-11-02T10:00:00.000000" + zone + TAIL)
        assert found is not None and found[0] == AT_TEN - minutes * 60


# -- years


def test_the_first_line_has_the_given_year() -> None:
    assert years(stamps(b"Nov  2 10:00:00"), Reader(UTC, 2019)) == [2019]
    assert Reader(UTC, 2019, near=second(2026, 1, 1)).read(stamps(b"Nov  2 10:00:00")[0]) is not None


def test_the_year_turns() -> None:
    """And back again, for lines that come late."""
    words = (b"Dec 31 23:59:59", b"Jan  1 00:00:00", b"Dec 31 23:59:59", b"Jan  1 00:00:01", b"Mar  3 10:00:00")
    reader = Reader(UTC, 2026)
    assert years(stamps(*words), reader) == [2026, 2027, 2026, 2027, 2027]
    assert reader.years == {2026, 2027}


def test_the_year_turns_where_the_zone_says() -> None:
    reader = Reader(TOKYO, 2026)
    records = reader.records(stamps(b"Dec 31 23:59:59", b"Jan  1 00:00:00"))
    assert [record and record[0] for record in records] == [
        second(2026, 12, 31, 14, 59, 59),
        second(2026, 12, 31, 15),
    ]
    assert reader.years == {2026, 2027}


def test_a_log_of_many_years() -> None:
    """Two lines a month for five years: each is nearest to the one before."""
    start = datetime(2019, 1, 5, 10, tzinfo=UTC)
    times = [start + timedelta(days=15) * number for number in range(120)]
    lines = stamps(*(f"{at:%b} {at.day:2} {at:%H:%M:%S}".encode() for at in times))
    records = Reader(UTC, 2019).records(lines)
    assert [record and record[0] for record in records] == [int(at.timestamp()) for at in times]


def test_a_log_of_the_same_hour_every_day() -> None:
    """The same stamp comes again after a year, and means another second."""
    start = datetime(2021, 1, 1, 6, 25, 1, tzinfo=UTC)
    times = [start + timedelta(days=number) for number in range(3 * 365)]
    lines = stamps(*(f"{at:%b} {at.day:2} {at:%H:%M:%S}".encode() for at in times))
    for fraction in (b"", b".5"):
        reader = Reader(UTC, 2021)
        records = reader.records([line[:15] + fraction + line[15:] for line in lines])
        assert [record and record[0] for record in records] == [int(at.timestamp()) for at in times]


def test_a_line_with_a_year_tells_that_of_those_after_it() -> None:
    reader = Reader(UTC)
    words = (b"2014-06-01T10:00:00Z", b"Jun  1 10:00:01", b"2015 Jan  3 10:00:00", b"Jan  2 10:00:00")
    assert years(stamps(*words), reader) == [2014, 2014, 2015, 2015]


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_years_do_not_depend_on_how_lines_come(pieces: int) -> None:
    lines = stamps(
        b"2026-06-01T10:00:00.000000+00:00", b"2026-06-01T10:00:00.000001+00:00", b"2014 Jun 1 10:00:00",
        b"2026-06-01T10:00:00.000002+00:00", b"Jun  2 10:00:00",
    )  # fmt: skip
    reader = Reader(UTC)
    found = [year for at in range(0, 5, pieces) for year in years(lines[at : at + pieces], reader)]
    assert found == [2026, 2026, 2014, 2026, 2026]


def test_a_long_queue_id_tells_the_year() -> None:
    line = b"Nov  2 10:00:00 mx1 postfix/qmgr[17]: " + LONG_ID + b": removed"
    assert years([line], Reader(UTC)) == [2026]
    deferred = b"Jan  2 10:00:00 mx1 postfix/qmgr[17]: " + LONG_ID + b": removed"
    assert years([deferred], Reader(UTC)) == [2027]


def test_lines_before_a_year_is_known_are_counted() -> None:
    reader = Reader(UTC)
    lines = [
        *stamps(b"Nov  2 10:00:00", b"Nov  2 10:00:00"),
        b"Nov  2 10:00:01 mx1 postfix/qmgr[17]: " + LONG_ID + b": removed",
    ]
    assert years(lines, reader) == [None, None, 2026]
    assert reader.undecided == 2


@pytest.mark.parametrize(
    ("stamp", "year"),
    [
        (b"Nov  1 10:00:00", 2026),
        (b"Nov  3 09:00:00", 2026),
        (b"Nov  4 10:00:00", 2025),
        (b"Jan  1 10:00:00", 2026),
    ],
)
def test_a_files_age_tells_the_year(stamp: bytes, year: int) -> None:
    """No line is more than a day later than the file's last change."""
    assert years(stamps(stamp), Reader(UTC, fallback=AT_TEN)) == [year]


def test_the_29th_of_february() -> None:
    assert years(stamps(b"Feb 29 10:00:00"), Reader(UTC, 2024)) == [2024]
    assert years(stamps(b"Feb 29 10:00:00"), Reader(UTC, 2025)) == [None]
    assert years(stamps(b"Feb 28 10:00:00", b"Feb 29 10:00:00"), Reader(UTC, 2024)) == [2024, 2024]


@pytest.mark.parametrize(
    "odd",
    [
        b"0001-01-01T00:00:00.000000+14:00", b"9999-12-31T23:59:59.999999-12:00", b"1970-01-01T00:00:00Z",
        b"1970 Jan  1 00:00:00", b"1969-12-31T23:59:59Z", b"0000-01-01T00:00:00Z", b"9999-12-31T23:59:59Z",
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", [UTC, TOKYO, NEW_YORK])
def test_years_at_the_ends_of_time(odd: bytes, zone: tzinfo) -> None:
    """A clock that was never set, or a forger, does not stop the lines that follow."""
    reader = Reader(zone)
    lines = stamps(
        odd, b"Nov  2 10:00:00", b"Jan  1 00:00:00", b"2026-11-02T10:00:00.000000+00:00", b"Nov  2 10:00:00"
    )
    records = reader.records(lines)
    assert records[3] is not None and records[3][0] == AT_TEN
    assert records[4] is not None and datetime.fromtimestamp(records[4][0], UTC).year == 2026
