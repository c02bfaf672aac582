"""Nothing is left out: no command, no option, no kind of line, no field, no form of a canary."""

from __future__ import annotations

import argparse
import base64
import bz2
import codecs
import gzip
import hashlib
import lzma
import quopri
import re
import string
import subprocess
import urllib.parse
import zlib
from collections import Counter
from collections.abc import Iterator
from shutil import which

import pytest

from sink.arguments import parser
from sink.core import notices
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.syslog import Reader
from tests import golden_runner as golden
from tests.judges.shapes import Shape, shapes
from tests.judges.shapes import line as line_of
from tests.leak import planted
from tests.leak.canaries import QUEUE, STEM, Searcher
from tests.leak.test_leak import CASES

STANDARD = {"--help", "-h", "--config", "--version"}

# -- commands


def leaves(one: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Give each command as it is typed, with the options that it knows, those that help does not show, too."""
    options = {word for action in one._actions for word in action.option_strings} - STANDARD
    subs = [action for action in one._actions if isinstance(action, argparse._SubParsersAction)]
    chosen = [action.choices for action in one._actions if not action.option_strings and action.choices]
    if subs:
        for name, sub in subs[0].choices.items():
            yield from leaves(sub, (*words, name))
    elif chosen:
        for name in chosen[0]:
            yield (*words, str(name)), options
    else:
        yield words, options


def test_each_command_has_a_case() -> None:
    played = [tuple(words.split()) for case in CASES for words in case.covers]
    commands = dict(leaves(parser()))
    assert len(commands) > 20
    missing = [words for words in commands if not any(one[: len(words)] == words for one in played)]
    assert missing == [], "add a line to tests/leak/cases.py for each"


def test_each_option_has_a_case() -> None:
    played = [tuple(words.split()) for case in CASES for words in case.covers]
    for words, options in leaves(parser()):
        known = {word for one in played if one[0] == words[0] for word in one}
        assert options <= known, f"{' '.join(words)}: add a line to tests/leak/cases.py for {options - known}"


def test_cases_have_names_of_their_own() -> None:
    assert [name for name, number in Counter(case.name for case in CASES).items() if number > 1] == []


# -- kinds of lines


def count(word: str, text: str) -> int:
    return len(re.findall(rf"\b{word}\b", text))


def lacks(shape: Shape, text: bytes) -> bool:
    """Whether a line holds fewer canaries than its shape has place-holders for a person or a host."""
    line, stems = text.decode(errors="replace"), text.count(STEM.encode())
    words = sum(count(word, shape.text) for word in ("ADDR", "HOST", "HELO", "TEXT", "STR", "REPLY", "MSGID"))
    return (
        stems < max(words, bool({"A", "H", "T"} & set(shape.personal)))
        or line.count("192.0.2.7") < max(count("IP", shape.text), "I" in shape.personal)
        or line.count(QUEUE) < count("QID", shape.text)
    )


def test_each_shape_has_a_line_with_a_canary_in_each_field() -> None:
    lines = planted.shaped()
    assert len(lines) == len(shapes()) > 800
    assert [(shape.text, text) for shape, text in zip(shapes(), lines, strict=True) if lacks(shape, text)] == []


PLAIN = rb"(?:localhost|unknown|local|MTA|private/[\w-]+|mx1|postfix|smtp|SMTP|in)"
# What in a line of a story names a person or a host, and may not be without a canary; what is left is no name.
FIELDS = (
    (rb"<([^<>\s\"]+@[^<>\s\"]+)>", rb"bob@mx1"),
    (rb"([\w.-]+)\[[\w.:]+\]", PLAIN + rb"|[\d.]+|[\da-f:]+|evil"),
    (rb"(?:sasl_username|sasl_sender|envelope-from)=([^, ]+)", rb""),
    (rb"message-id=<?([^>\s]+)", rb""),
    (rb"helo=<([^>\[]+)>", rb""),
    (rb"(?:to|from)=<([^<>\s\",]+)>", rb"[\w.]*@\[.*"),
    (rb"header Subject: (\S.*?) from ", rb"from .*"),
    (rb" said: (.*)\)$", rb""),
    (rb"(?:reject|discard): .*?: (.*)$", rb""),
    (rb"\b([0-9A-F]{10,12})\b: ", rb""),
)  # fmt: skip


@pytest.mark.parametrize("story", golden.stories(), ids=lambda story: story.name)
def test_each_line_of_a_story_has_a_canary_in_each_field(story: golden.Story) -> None:
    marks = (STEM[:8].encode(), QUEUE.encode())
    for line in map(planted.planted, story.lines):
        text = re.split(rb"\[\d+\]: |\d - -  ", line, maxsplit=1)[-1]
        for pattern, plain in FIELDS:
            for found in re.findall(pattern, text):
                assert any(mark in found for mark in marks) or re.fullmatch(plain, found, re.DOTALL), (found, text)
        addresses = re.findall(rb"(?<![\w.])\d+\.\d+\.\d+\.\d+(?![\w.])", text)
        assert [one for one in addresses if not one.startswith((b"127.", b"192.0.2.", b"198.51.100.", b"203."))] == []


def understood(line: bytes) -> object:
    """What the program makes of a line, but for its pseudonyms."""
    reader = Reader(golden.RULES.timezone, golden.YEAR)
    pipe = Pipeline(golden.RULES, [Epoch(1, None, None, golden.SECRET)], golden.CORRELATION, reader)
    batches = [pipe.feed([line]), pipe.flush()]
    rows = [row for batch in batches for row in (*batch.rows, *batch.rejects)]
    return pipe.counts, pipe.notices, [[value for value in row if not isinstance(value, bytes)] for row in rows]


def test_canaries_change_nothing_of_what_is_understood() -> None:
    lines = [line for story in golden.stories() for line in story.lines]
    lines += [line_of(shape).rstrip(b"\n") for shape in shapes()]
    assert [line for line in lines if understood(line) != understood(planted.planted(line))] == []


def test_fields_are_understood_and_each_has_a_word_of_its_own() -> None:
    text = b"\n".join(planted.fields())
    assert len(planted.field_names()) > 60
    assert {name for _, name, _, _ in string.Formatter().parse(planted.FIELDS) if name} > planted.field_names()
    for name in planted.field_names():
        assert planted.named(name).encode() in text
    reader = Reader(golden.RULES.timezone, golden.YEAR)
    pipe = Pipeline(golden.RULES, [Epoch(1, None, None, golden.SECRET)], golden.CORRELATION, reader)
    pipe.feed(planted.fields())
    assert (pipe.counts["delivery_lines"], pipe.counts["expired_lines"], pipe.counts["rejects"]) == (3, 1, 3)
    assert pipe.counts["not_understood"] == 3


def test_each_trouble_of_postfix_is_there() -> None:
    """What is passed on to the admin comes of lines with canaries."""
    reader = Reader(golden.RULES.timezone, golden.YEAR)
    pipe = Pipeline(golden.RULES, [Epoch(1, None, None, golden.SECRET)], golden.CORRELATION, reader)
    pipe.feed((*planted.current(), *planted.troubles(), *planted.fields()))
    said = {words.split(": ", 2)[2] for words in pipe.notices}
    assert said == {words for _, words in notices._NOTICES}


# -- forms of a canary

WORD = f"{STEM}sender@{STEM}.example.net".encode()
FORMS = {
    "plain": WORD,
    "upper case": WORD.upper(),
    "its first letters": WORD[:6] + b"***",
    "its last letters": b"***" + STEM[-6:].encode(),
    "backwards": WORD[::-1],
    "rot13": codecs.encode(WORD.decode(), "rot13").encode(),
    **{name: WORD.decode().encode(name) for name in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")},
    "utf-7": WORD.decode().encode("utf-7"),
    "hex": WORD.hex().encode(),
    "upper hex": WORD.hex().upper().encode(),
    "hex of upper case": WORD.upper().hex().encode(),
    "hex with colons": WORD.hex(":").encode(),
    "hex with blanks": WORD.hex(" ", 2).encode(),
    "repr of bytes": "".join(f"\\x{byte:02x}" for byte in WORD).encode(),
    **{f"base64 at {at}": base64.b64encode(b"." * at + WORD) for at in range(3)},
    **{f"base64 of upper case at {at}": base64.b64encode(b"." * at + WORD.upper()) for at in range(3)},
    **{f"urlsafe base64 at {at}": base64.urlsafe_b64encode(b"." * at + WORD) for at in range(3)},
    **{f"base64 in lines at {at}": base64.encodebytes(b"x" * (50 + at) + WORD) for at in range(3)},
    **{f"base32 at {at}": base64.b32encode(b"." * at + WORD) for at in range(5)},
    "percent": "".join(f"%{byte:02X}" for byte in WORD).encode(),
    "percent where needed": urllib.parse.quote_from_bytes(WORD).encode(),
    "quoted-printable": "".join(f"={byte:02X}" for byte in WORD).encode(),
    "quoted-printable where needed": quopri.encodestring(b"=" * 70 + WORD),
    "JSON": "".join(f"\\u{byte:04x}" for byte in WORD).encode(),
    "JSON, upper": "".join(f"\\u{byte:04X}" for byte in WORD).encode(),
    "HTML": "".join(f"&#{byte};" for byte in WORD).encode(),
    "HTML, hex": "".join(f"&#x{byte:x};" for byte in WORD).encode(),
    "octal": "".join(f"\\{byte:03o}" for byte in WORD).encode(),
    "rsyslog's octal": "".join(f"#{byte:03o}" for byte in WORD).encode(),
    "a list": repr(list(WORD)).encode(),
    "gzip": b"junk" + gzip.compress(WORD) + b"junk",
    "zlib": zlib.compress(WORD, 1),
    "bzip2": bz2.compress(WORD),
    "xz": lzma.compress(WORD),
    **({"zstd": subprocess.run(["zstd", "-qc"], input=WORD, stdout=-1, check=True).stdout} if which("zstd") else {}),
    "an IPv4 address": b"from unknown[203.0.113.9]",
    "its network": b"203.0.113.0/24",
    "an IPv6 address": b"2001:DB8::77",
    "reverse DNS": b"7.113.0.203.in-addr.arpa",
    "a queue id": f"{QUEUE}01A".encode(),
    "a queue id, lower": f"{QUEUE}01A".lower().encode(),
    "a field's name": planted.named("sasl_secret").encode(),
    **{f"unkeyed {name}": hashlib.new(name, WORD).hexdigest().encode() for name in ("md5", "sha1", "sha256")},
    "a cut digest": b"." + hashlib.sha256(WORD).hexdigest()[:32].encode(),
}
SEARCHER = Searcher(values=[WORD])


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_found_anywhere(form: str) -> None:
    around = bytes(range(256)) * 3
    assert SEARCHER.find(around) is None
    for before in (b"", b" ", around):
        assert SEARCHER.find(before + FORMS[form] + around) is not None


def test_what_stands_in_a_database_is_found() -> None:
    assert SEARCHER.find_values([1, "x", None, b"\0" * 40, 3.5]) is None
    for value in (3_405_803_783, 0xC6336409, hashlib.sha1(WORD).digest()[:16], b"\0\1" + hashlib.md5(WORD).digest()):
        assert SEARCHER.find_values([1, value, "x"]) is not None


def test_a_secret_is_found() -> None:
    secret = hashlib.sha256(b"key").digest()
    searcher = SEARCHER.also([secret])
    assert searcher.find(b"x" * 99) is None
    for data in (secret, secret.hex().upper().encode(), base64.b64encode(b".." + secret), secret.hex(" ").encode()):
        assert searcher.find(b"x" + data + b"x") is not None
