"""`explain --redact`: a story that can be sent in, whose rows are those of the raw lines; nothing raw is in it."""

from __future__ import annotations

import gzip
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from sink.core.syslog import Reader
from sink.stores.sqlite import SqliteStore
from sink.tools.explain import Explainer, Page
from sink.tools.redaction import Redaction
from tests import golden_runner as golden
from tests.golden_runner import RULES, SECRET, Story
from tests.judges.program import DATA, ROOT, Program
from tests.judges.shapes import NEXT, QID, line, shapes
from tests.redacted import raw_rows, redactor, renamed

STORIES = golden.stories()
TIED = {"two-message-ids"}  # of one second: the lesser pseudonym stays, and stand-ins have others
stories = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)


def sent_in(story: Story, folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Story, Redaction]:
    """What --redact makes of a story's lines, read as a golden story."""
    zone = story.settings.get("timezone", "UTC")
    readers = [Reader(story.rules.timezone, story.year) for _ in range(3)]
    redaction = Redaction(story.rules, zone, (readers[0], readers[1]), SECRET)
    page = Page()
    with SqliteStore.memory() as store:
        explainer = Explainer(redaction.rules, readers[2], store, page, strict=True)
        for text in story.lines:
            redaction.told(explainer.explain(redaction.line(text)))
        explainer.end()
    for rule in redaction.settings():
        print(rule)
    path = folder / f"{story.name}.golden"
    path.write_text(redaction.begins + "\n" + capsys.readouterr().out)
    return golden.read(path), redaction


@stories
def test_it_is_a_golden_story(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It plays as it stands, each line is understood as the raw one was, and its rows are those of the raw lines."""
    made, redaction = sent_in(story, tmp_path, capsys)
    assert golden.difference(made, golden.as_written(made)) == []
    assert [kind for kind, _ in made.steps] == [kind for kind, _ in story.steps if kind != golden.PASS]
    assert "not taken as" not in redaction.ends()
    without = replace(story, steps=tuple(step for step in story.steps if step[0] != golden.PASS))
    have, want = sorted(made.rows), renamed(raw_rows(without), redaction.redactor)
    if story.name in TIED:
        have, want = ([re.sub(r"message_id=\S+ ", "", row) for row in rows] for rows in (have, want))
    assert have == want


@stories
def test_redacting_again_changes_nothing(story: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once, _ = sent_in(story, tmp_path, capsys)
    again, _ = sent_in(once, tmp_path, capsys)
    assert again.rows == once.rows


@pytest.mark.parametrize("name", ["postfix-3.10-sample.traditional.log.gz", "postfix-3.10-sample.iso8601.log.gz"])
def test_a_real_log_is_a_golden_story(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that come twice in it give one row, as in a store."""
    lines = gzip.decompress((DATA / name).read_bytes()).splitlines()
    story = Story(name, tuple(("line", text) for text in lines), (), RULES)
    made, redaction = sent_in(story, tmp_path, capsys)
    assert golden.difference(made, golden.as_written(made)) == []
    assert len(made.rows) > 60 and len(made.steps) == len(lines)
    assert "not taken as" not in redaction.ends()


# -- nothing of a raw line comes out

CANARY, HOST, USER, IP = b"qzvkjw", b"hostqzvkjw", b"userqzvkjw", b"100.64.77.88"
FILLED = (
    (QID.encode(), b"4FEDCBA9871"), (NEXT.encode(), b"4FEDCBA9872"), (b"alice", USER), (b"bob", USER + b"2"),
    (b"mail.example.com", HOST + b".qzvkjw.test"), (b"zen.example.org", HOST + b".org"),
    (b"example.com", b"qzvkjw.test"), (b"example.net", b"qzvkjw2.test"), (b"example.org", b"qzvkjw3.test"),
    (b"192.0.2.7", IP), (b"192.0.2.9", b"100.64.77.89"), (b"some words", b"some qzvkjw words-qzvkjw"),
    (b"some text", b"qzvkjw text"), (b"20261102.1", b"qzvkjw.20261102"), (b"mx1", HOST), (b"text", CANARY),
    (b"/etc/postfix/file", b"/srv/qzvkjw/file"), (b"try later", b"qzvkjw, try later"),
)  # fmt: skip
LEAKS = (CANARY, b"4FEDCBA987", b"100.64.77", b"20261102", b"QZVKJW")


def filled(text: bytes) -> bytes:
    """A shape's line with a canary in each field."""
    for there, canary in FILLED:
        text = text.replace(there, canary)
    return text


def test_no_canary_of_any_shape_comes_out() -> None:
    lines = [filled(line(shape).rstrip(b"\n")) for shape in shapes()]
    assert sum(CANARY in one or IP in one for one in lines) == len(lines)  # the host of each, at least
    tool = redactor(RULES)
    pairs = [(one, tool.line(one)) for one in lines]
    assert [pair for pair in pairs if any(leak in pair[1] for leak in LEAKS)] == []


def test_no_canary_of_a_line_that_is_not_understood_comes_out() -> None:
    """The same shapes with a word before them that no grammar knows, and as lines of another program."""
    tool = redactor(RULES)
    for shape in shapes():
        whole = filled(line(shape).rstrip(b"\n"))
        text = whole.partition(b"]: ")[2]
        for odd in (
            whole.replace(text, b"frobnicated: " + text), whole.replace(b"postfix", b"sqzvkjwd"), text,
            whole.replace(text, b"4FEDCBA9871: qzvkjw=" + text), b"[" + whole,
        ):  # fmt: skip
            found = tool.line(odd)
            assert not any(leak in found for leak in LEAKS), (odd, found)


def test_the_wild_logs_fields_do_not_come_out() -> None:
    """The lines that tests/leak plants, with a canary in each field."""
    path = Path(__file__).parent / "leak" / "fields.log"
    tool = redactor(replace(RULES, header_tokens=(b"TOKEN",)))
    for number, text in enumerate(path.read_text().splitlines()):
        shown = re.sub(r"\{(\w*queue_id)\}", "4FEDCBA9871", text.replace("{TOKEN}", "TOKEN"))
        shown = re.sub(r"\{\w+\}", lambda found: f"qzvkjw{len(found[0])}.test", shown)
        found = tool.line(f"Nov  2 10:00:{number % 60:02} mxqzvkjw postfix/{shown}".encode())
        assert not any(leak in found for leak in LEAKS), (shown, found)


# -- names

def names_of(texts: list[bytes], rules: golden.Rules = RULES) -> list[bytes]:
    """What texts that are not understood become."""
    tool = redactor(rules)
    return [tool.names.dropped(text) for text in texts]


def test_one_value_has_one_name_and_two_have_two() -> None:
    texts = [
        b"alice@corp.test", b"bob@corp.test", b"Alice@Corp.test", b"alice@sub.corp.test", b"example.com", b"alice",
        b"alice@example.net", b"mx1.example.net", b"203.0.113.1", b"2001:DB8::1", b"2001:db8:0::1", b"198.51.100.77",
        b"4A5A321A867", b"4A5A321A868", b"4F0AC000001", b"word1", b"word2", b"corp.test", b"1234567", b"1000001",
    ]  # fmt: skip
    shown = names_of(texts)
    assert shown[2] == b"alice+00000001@example.net" and shown[9] == shown[10] and shown[17] == b"example.net"
    apart = [one for at, one in enumerate(shown) if at not in (2, 5, 10, 17)]
    assert len(set(apart)) == len(apart)
    assert shown[5] == b"alice" and shown[0] == b"alice@example.net" and shown[1] == b"bob@example.net"
    assert names_of(texts) == shown


@pytest.mark.parametrize(("text", "shown"), [
    (b"to=<jim@corp.test>, why not", b"to=<alice@example.net>, word1 not"),
    (b"host mx.corp.test[198.51.100.7] said: 550 5.7.1 Nein",
     b"host mx1.example.net[203.0.113.1] said: 550 5.7.1 word1"),
    (b"10:00:00 2.5 1/2/3 size=12345", b"10:00:00 2.5 1/2/3 size=12345"),
    (b"TLSv1.3 with cipher", b"TLSv1.3 with cipher"),
    (b"tel. 0170123456, 4A5A321A867", b"word1. 1000000002, 4F0AC000001"),
    (b"3Pt2mN2VXxznjll and [IPv6:2001:db8::99]:25", None),
    ("Müller".encode(), b"word1"),
    (b'"john doe"@corp.test', b'"word1 word2"@mx1.example.net'),
    (b"a.", b"word1."), (b"...", b"..."), (b"", b""), (b"@", b"@"), (b"x@", b"word1@"),
    (b"=?utf-8?B?TcO8bGxlcg==?=", None),
])  # fmt: skip
def test_texts_that_nobody_knows_are_told_word_by_word(text: bytes, shown: bytes | None) -> None:
    found = names_of([text])[0]
    assert found == shown if shown is not None else found != text and not set(re.findall(rb"\w{7,}", text)) & set(
        re.findall(rb"\w{7,}", found)
    )


def test_a_long_queue_id_stays_one_and_loses_its_time() -> None:
    found = redactor(RULES).names.queue_id(b"3Pt2mN2VXxznjll")
    assert len(found) == 15 and found[10:11] == b"z" and found[:6] != b"3Pt2mN"


def test_local_trusted_and_internal_stay_so() -> None:
    domains = frozenset({b"corp.test", b"corp2.test"})
    rules = replace(RULES, local_domains=domains, internal_hosts=frozenset({b"in.test"}))
    tool = redactor(rules)
    assert [tool.names.address(b"x@" + name) for name in (b"else.test", b"corp2.test", b"corp.test")] == [
        b"alice@example.net", b"alice@example.com", b"alice@local1.example.com",
    ]  # fmt: skip
    assert tool.names.host(b"in.test") == b"relay1.example.com"
    assert tool.names.ip(b"192.0.2.9") == b"192.0.2.1"
    assert tool.names.settings() == {
        "local_domains": ["example.com", "local1.example.com"],
        "internal_relays": ["198.51.100.9/32", "relay1.example.com"],
    }  # fmt: skip


def test_many_domains_have_many_names() -> None:
    domains, hosts = (frozenset(b"%b%d.test" % (kind, one) for one in range(300)) for kind in (b"d", b"h"))
    tool = redactor(replace(RULES, local_domains=domains, internal_hosts=hosts))
    named = {tool.names.address(b"x@" + name) for name in domains}
    assert len(named) == 300 and len({tool.names.host(name) for name in hosts}) == 300
    assert all(name.endswith(b"example.com") for name in named)


def test_many_addresses_have_many_names() -> None:
    tool = redactor(RULES)
    four = {tool.names.ip(b"100.64.%d.%d" % (one, two)) for one in range(8) for two in range(256)}
    trusted = {tool.names.ip(b"192.0.2.%d" % one) for one in range(16)}
    ids = {tool.names.queue_id(b"4A5%04X" % one) for one in range(3_000)}
    assert len(four) == 2048 and len(trusted) == 16 and len(ids) == 3_000 and len(four | trusted) == 2064
    assert tool.names.settings() == {
        "trusted_networks": ["127.0.0.0/8", "::1/128", "192.0.2.0/28", "198.19.0.0/17"]
    }


# -- the command

@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """An installation without keys."""
    folder = tmp_path_factory.mktemp("redact")
    return Program(folder / "installed", timezone="UTC", local_domains=["corp.test"], trusted_networks=["10.0.0.0/8"])


LOG = b"""\
Nov  2 10:00:00 mail.corp.test postfix/smtpd[1]: 4A5A321A867: client=pc.corp.test[10.1.2.3]
Nov  2 10:00:00 mail.corp.test postfix/qmgr[2]: 4A5A321A867: from=<jim@corp.test>, size=300, nrcpt=1 (queue active)
Nov  2 10:00:01 mail.corp.test postfix/smtp[3]: 4A5A321A867: frobnicated jim@corp.test for Jane
Nov  2 10:00:01 mail.corp.test postfix/smtp[3]: 4A5A321A867: to=<jane@else.test>, relay=mx.else.test[8.8.4.4]:25, \
delay=1, delays=0/0/0.5/0.5, dsn=2.0.0, status=sent (250 ok jane)
"""
STORY = """\
# (why this case exists, and which Postfix version wrote it)
Nov  2 10:00:00 mx2.example.net postfix/smtpd[1]: 4F0AC000001: client=mx1.example.net[192.0.2.1]
#   facts: client
Nov  2 10:00:00 mx2.example.net postfix/qmgr[2]: 4F0AC000001: from=<alice@example.com>, size=300, nrcpt=1 (queue active)
#   facts: sender, active
? Nov  2 10:00:01 mx2.example.net postfix/smtp[3]: 4F0AC000001: word1 alice@example.com for word2
Nov  2 10:00:01 mx2.example.net postfix/smtp[3]: 4F0AC000001: to=<bob@example.net>, relay=mx3.example.net[203.0.113.1]:25, \
delay=1, delays=0/0/0.5/0.5, dsn=2.0.0, status=sent (250 Ok)
#   delivery attempt: sent, by relay remote; its row leaves 7 seconds later
"""  # noqa: E501 - as it is printed


def explained(program: Program, *options: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "sink", "--config", str(program.config), "explain", "--year", "2025", *options],
        input=LOG, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        cwd=program.folder,
    )  # fmt: skip


def test_the_command_prints_a_story_to_be_sent_in(program: Program) -> None:
    done = explained(program, "--redact")
    out = done.stdout.decode()
    assert out.startswith(STORY)
    rest = out.removeprefix(STORY).splitlines()
    assert rest[0].startswith("=> delivery ") and rest[1:] == ["#: year: 2025"]
    assert "is_outgoing=1" in rest[0] and "sender=P(alice@example.com)" in rest[0]
    assert done.stderr.decode().startswith("postsink: 4 lines redacted; read them before you send them")
    assert "; 1 not understood" in done.stderr.decode()


def test_some_lines_alone(program: Program) -> None:
    strange = b"? " + LOG.splitlines()[2]
    assert explained(program, "--only", "not-understood").stdout.splitlines() == [strange]
    rows = explained(program, "--only", "rows").stdout.splitlines()
    assert len(rows) == 1 and rows[0].startswith(b"=> delivery ")
    redacted = explained(program, "--only", "not-understood", "--redact").stdout.decode()
    assert redacted.splitlines() == [text for text in STORY.splitlines() if text.startswith("? ")]


def on_a_terminal(program: Program, **environment: str) -> str:
    """What `explain` shows on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sink", "--config", str(program.config), "explain", "--year", "2025"]
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=theirs, cwd=program.folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment},
    ) as running:  # fmt: skip
        os.close(theirs)
        assert running.stdin is not None
        running.stdin.write(LOG + b"\x1b]0;owned\x07\n")
        running.stdin.close()
        seen = b""
        with suppress(OSError):  # EIO: nobody has it open any more
            while data := os.read(ours, 1 << 16):
                seen += data
        os.close(ours)
    assert running.returncode == 0
    return seen.decode().replace("\r\n", "\n")


def test_colours_on_a_terminal_alone(program: Program) -> None:
    seen = on_a_terminal(program)
    assert "\x1b[1;31m? Nov  2 10:00:01" in seen and "\x1b[32m=> delivery" in seen and "\x1b[2m#   facts" in seen
    assert "\n\\x1b]0;owned\\x07\n" in seen
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        plain = on_a_terminal(program, **environment)
        assert "\x1b" not in plain and plain == re.sub(r"\x1b\[[\d;]*m", "", seen)
    assert "\x1b[1" in on_a_terminal(program, NO_COLOR="")  # [no-color.org]: when present and not empty
    assert b"\x1b" not in explained(program).stdout
