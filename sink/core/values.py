"""Reads header values other than address lists, as Postfix logged them: ids, Subject, Date, spam scores.

Rules: bytes in, a number, a normal form or None out; never an exception, nothing remembered, linear. Postfix
prints line breaks, tabs and other control bytes as "?" [src/util/printable.c, printable()]; a line break
before a tab is "??", one before a blank "? ". Each reader says what it takes for such a fold.
"""

import binascii
import email.utils
import re
from datetime import date

_EDGES = b"? \t"

# The first <...>, whatever stands before it; "<<id>>" is common. An id that never closes ends with the text.
_BRACKETED = re.compile(rb"<[< \t?]*+([^<>]*+)").search
_CLOSED = re.compile(rb"<([^<>]++)>").findall
# Blanks within an id, and folds before them; the look-behind keeps it linear.
_FOLDED_BLANK = re.compile(rb"(?<![? \t])[? \t]*[ \t]").sub


def message_id(value: bytes) -> bytes | None:
    """Return the normal form of a Message-ID or Resent-Message-ID: what the first <...> holds, case kept.

    Without "<" it is the whole value, without ">" all behind the "<"; blanks within go. None where nothing
    is left.
    """
    match = _BRACKETED(value)
    found = (match[1] if match else value.partition(b">")[0]).strip(_EDGES)
    if b" " in found or b"\t" in found:
        found = _FOLDED_BLANK(b"", found)
    return found or None


def reply_id(value: bytes | None) -> bytes | None:
    """Return the id that an In-Reply-To names: its first <...>, or its only word.

    Old programs write `Your message of "Mon, 2 Nov" <id>`, and text without an id at all.
    """
    if not value:
        return None
    if b"<" in value or b" " not in value.strip(_EDGES):
        return message_id(value)
    return None


def last_reference(value: bytes, cut: bool) -> bytes | None:
    """Return the last id of a References header that is whole; with cut only those that their ">" closes."""
    for found in reversed(_CLOSED(value)):
        one = message_id(found)
        if one:
            return one
    if cut:
        return None
    words = value.split()
    return message_id(words[-1]) if words else None


# --- Subject

_LONGEST_LINE = 76  # where programs fold: RFC 2047 2 and RFC 5322 2.1.1 (78, less the break) agree on it
_FIELD_NAME = len("Subject: ")

_WORD = rb"=\?([0-9A-Za-z_.:+-]++)(?>(?:\*[0-9A-Za-z-]*+)?)\?([BbQq])\?([^?]*+)\?="  # RFC 2047, RFC 2231 5
_ENCODED = re.compile(_WORD)
_FOLD = re.compile(_WORD + rb"|(?P<fold>\?(?=[ \t])|\?\?(?=[^? \t]))")

# The charsets that are decoded, by Python's name or as name=Python's name. A closed list: Python's look-up
# of codecs remembers every name it is asked for, and some codecs are neither charsets nor linear.
_NAMES = """
    utf-8 utf8=utf-8 us-ascii ascii utf-7 unicode-1-1-utf-7=utf-7 utf-16 utf-16le utf-16be
    iso-8859-1 latin1=iso-8859-1 latin-1=iso-8859-1 iso-8859-2 iso-8859-3 iso-8859-4 iso-8859-5 iso-8859-6
    iso-8859-7 iso-8859-8 iso-8859-8-i=iso-8859-8 iso-8859-9 iso-8859-10 iso-8859-11 iso-8859-13 iso-8859-14
    iso-8859-15 latin9=iso-8859-15 iso-8859-16 iso8859-1=iso-8859-1 iso8859-15=iso-8859-15
    windows-874=cp874 windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 windows-1255
    windows-1256 windows-1257 windows-1258 cp1250 cp1251 cp1252 cp437 cp850 cp852 cp855 cp866 ibm850=cp850
    ibm852=cp852 ibm866=cp866 koi8-r koi8-u macintosh=mac-roman tis-620
    gb2312=gb18030 gbk=gb18030 gb18030 cp936=gb18030 hz-gb-2312=hz big5=cp950 big5-hkscs cp950
    shift_jis=cp932 shift-jis=cp932 sjis=cp932 x-sjis=cp932 windows-31j=cp932 cp932
    euc-jp iso-2022-jp iso-2022-jp-2 euc-kr=cp949 ks_c_5601-1987=cp949 cp949 iso-2022-kr johab
"""
_CHARSETS = {
    name.encode("ascii"): codec or name
    for name, _, codec in (entry.partition("=") for entry in _NAMES.split())
}


def subject_size(value: bytes) -> int:
    """Return the number of characters of the decoded Subject.

    Encoded-words are decoded and joined; what cannot be decoded counts as it stands. UTF-8 counts in
    characters, a byte that is none counts one. A question mark before a blank counts, unless the line was
    long enough there to be folded (see _unfolded()).
    """
    value = value.strip(b" \t")
    if b"?" not in value:
        return len(value) if value.isascii() else _raw_size(value)
    value = _unfolded(value)
    if b"=?" not in value:
        return _raw_size(value)
    return _decoded_size(value)


def _raw_size(text: bytes) -> int:
    return len(text.decode("utf-8", "surrogateescape"))


def _unfolded(value: bytes) -> bytes:
    """Take out the "?" of line breaks; the blank behind one stays, as RFC 5322 2.2.3 says.

    A real question mark before a blank looks the same, and is commoner in a short subject. Programs break a
    line where the next word would not fit, so a "?" is a break only where the word behind it would pass
    the 76th column. Wrong by one where a question ends just there, and for those who fold early.
    """
    pieces: list[bytes] = []
    start, column = 0, _FIELD_NAME
    for match in _FOLD.finditer(value):
        at, after = match.span("fold")
        if at < 0:
            continue  # an encoded-word, whose own "?" are no folds
        here = column + at - start
        if here > _LONGEST_LINE + 2:
            break  # a line this long was written by a program that does not fold
        blank = value.find(b" ", after + 1, after + _LONGEST_LINE)
        word = (blank if blank >= 0 else min(len(value), after + _LONGEST_LINE)) - after
        if here + word > _LONGEST_LINE:
            pieces.append(value[start:at])
            # "??" is a break and a tab; one of the two stands for the tab that stays.
            start, column = (after if after - at == 1 else after - 1), 0
    pieces.append(value[start:])
    return b"".join(pieces)


def _decoded_size(value: bytes) -> int:
    """Count the characters of a text with encoded-words."""
    size, end = 0, 0
    waiting: list[bytes] = []  # words of one charset side by side: some programs cut a character in two
    codec = ""
    for match in _ENCODED.finditer(value):
        between = value[end : match.start()]
        apart = end == 0 or not codec or between.strip(_EDGES) != b""
        charset = _CHARSETS.get(match[1].lower(), "")
        data = _transferred(match[2], match[3]) if charset else None
        if waiting and (apart or charset != codec or data is None):
            size += _charset_size(waiting, codec)
            waiting = []
        if apart or data is None:
            size += _raw_size(between)
        if data is None:
            size += _raw_size(match[0])
        else:
            waiting.append(data)
        codec = charset if data is not None else ""
        end = match.end()
    if waiting:
        size += _charset_size(waiting, codec)
    return size + _raw_size(value[end:])


def _transferred(encoding: bytes, text: bytes) -> bytes | None:
    """Undo base64 or Q; None where it is no base64."""
    if encoding in b"Qq":
        return binascii.a2b_qp(text, header=True)
    try:
        return binascii.a2b_base64(text + b"===")
    except binascii.Error:
        return None


def _charset_size(parts: list[bytes], codec: str) -> int:
    errors = "surrogateescape" if codec in ("utf-8", "us-ascii", "ascii") else "replace"
    return len(b"".join(parts).decode(codec, errors))


# --- Date

_DATE = re.compile(
    rb"(?:[A-Z][a-z]{2}, ?)? ?([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2})"
    rb" ([+-])([0-9]{2})([0-9]{2})(?: \([A-Za-z]*+\))?"
).fullmatch
_MONTHS = {name: 1 + i for i, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())}
_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400
_YEARS = range(1970, 2101)  # any other is a broken clock or a joke
_LONGEST_DATE = 200  # bytes looked at; RFC 5322 dates have 31


def header_date(value: bytes) -> int | None:
    """Return a Date header as seconds since 1970 UTC, None where it is no date of 1970 to 2100.

    Obsolete forms are read (RFC 5322 4.3: zones by name, two-digit years, no seconds); without a zone it
    is UTC. 1.7 us in the usual form.
    """
    match = _DATE(value)
    if match is not None:
        day, month, year, hour, minute, second, sign, hours, minutes = match.groups()
        offset = int(hours) * 3600 + int(minutes) * 60
        if sign == b"-":
            offset = -offset
        clock = (int(hour), int(minute), int(second))
        return _seconds((int(year), _MONTHS.get(month, 0), int(day)), clock, offset)
    text = value[:_LONGEST_DATE].replace(b"?", b" ").decode("ascii", "replace").strip()
    try:
        parsed = email.utils.parsedate_tz(text) if text else None
    except (ValueError, IndexError, OverflowError):
        return None  # email.utils has raised each of these on odd dates, and still may
    if parsed is None:
        return None
    return _seconds(parsed[:3], parsed[3:6], parsed[9] or 0)


def _seconds(day: tuple[int, ...], clock: tuple[int, ...], offset: int) -> int | None:
    hour, minute, second = clock
    if day[0] not in _YEARS or hour > 23 or minute > 59 or second > 60 or not -_DAY < offset < _DAY:
        return None
    try:
        days = date(day[0], day[1], day[2]).toordinal() - _EPOCH
    except (ValueError, OverflowError):
        return None
    found = days * _DAY + hour * 3600 + minute * 60 + second - offset
    return found if found >= 0 else None


# --- what a filter or a list added

_NUMBER = rb"([+-]?[0-9]{1,5}(?:\.[0-9]{0,9})?)(?![0-9.])"
_SCORES = {
    # SpamAssassin, Exim, amavis and rspamd: "5.1", "5.1 (+++++)"
    b"x-spam-score": re.compile(rb"[? \t]*+" + _NUMBER).match,
    # SpamAssassin and amavis: "Yes, score=5.1 required=5.0"; before version 3 "hits="
    b"x-spam-status": re.compile(
        rb"[? \t]*+(?:yes|no)[, ?\t]++(?:score|hits)=" + _NUMBER, re.IGNORECASE
    ).match,
    # rspamd: "default: False [3.40 / 15.00]; SYMBOL(1.00)[]"
    b"x-spamd-result": re.compile(
        rb"[? \t]*+[0-9A-Za-z_-]++: *+(?:true|false) *+\[" + _NUMBER + rb" */", re.IGNORECASE
    ).match,
}


def spam_score(name: bytes, value: bytes) -> float | None:
    """Return the score in an X-Spam-Score, X-Spam-Status or X-Spamd-Result header, None where it has none."""
    pattern = _SCORES.get(name.lower())
    match = pattern(value) if pattern else None
    return float(match[1]) + 0.0 if match else None  # + 0.0: -0.0 and 0.0 are one score


def is_list_header(name: bytes, value: bytes) -> bool:
    """Tell whether a header says that a list sent the message: List-Id, List-Post, `Precedence: list`.

    List-Unsubscribe alone is a newsletter's.
    """
    name, value = name.lower(), value.strip(_EDGES)
    if name in (b"list-id", b"list-post"):
        return bool(value)
    return name == b"precedence" and value.lower() == b"list"
