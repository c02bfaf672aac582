"""doctor reads whatever stands in a host's files: it never fails, never hangs, and says no secret."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sink.fault import CONFIG, FINDINGS, OK, Fault
from sink.tools.doctor import examination
from sink.tools.doctor.finding import KINDS, SEVERITIES
from tests import hosts

FILES = {
    "bookworm-rsyslog": ["etc/rsyslog.conf", "etc/rsyslog.d/10-postsink.conf", "etc/postfix/main.cf",
                         "etc/postfix/master.cf", "etc/systemd/journald.conf.d/zz-postsink-rsyslog.conf", "etc/fstab",
                         "etc/crypttab", "etc/postsink/postsink.yaml", "usr/lib/systemd/system/rsyslog.service"],
    "syslog-ng": ["etc/syslog-ng/syslog-ng.conf", "etc/syslog-ng/postsink.conf"],
    "journald": ["etc/systemd/system/postfix.service.d/postsink.conf"],
}  # fmt: skip
PLACES = [(name, path) for name, paths in FILES.items() for path in paths]
PIECES = st.sampled_from([
    "{", "}", "(", ")", '"', "'", "`", ";", "\\", "\n", "\r\n", "\\\n", "#", "/*", "*/", "&", "\0", "$", "${", "@", "=",
    ":", "if ", "then ", "else ", "not ", "stop", "~", "mail.*", "mail.* /x\n", "*.* @@x\n", "call x ",
    'ruleset(name="x") {', 'include(file="/etc/rsyslog.conf")', "$IncludeConfig /etc/*.conf\n", "\n  ", "-o ", "-v ",
    "[Journal]\n", "log {", "flags(final);", '@include "*.conf"\n', "filter(", "destination(", "if {", "\udcff",
    "\u2028", "x" * 300, "é",
])  # fmt: skip
FEW = settings(max_examples=max(settings.default.max_examples // 4, 10)) if settings.default else settings()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp("hosts") / name for name in FILES}
    for name, root in roots.items():
        hosts.make(name, root)
    return roots


def looked_at(root: Path) -> str:
    """Everything that doctor says."""
    said, words = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(words):
        try:
            status = examination.run(None, as_json=True, root=root)
        except Fault as fault:
            assert fault.status == CONFIG and "postsink.yaml" in fault.message
            return fault.message
    findings = json.loads(said.getvalue())["findings"]
    assert status == (FINDINGS if findings else OK)
    for each in findings:
        assert each["id"] in KINDS and each["severity"] in SEVERITIES
        assert each["words"] and each["remedy"] and each["file"].startswith("/")
        assert (each["words"] + each["remedy"] + each["file"]).isprintable()
    return said.getvalue() + words.getvalue()


@pytest.mark.parametrize(("name", "path"), PLACES, ids=[path for _, path in PLACES])
@FEW
@given(changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 60), PIECES), max_size=6))
def test_a_file_may_hold_anything(
    name: str, path: str, changes: list[tuple[float, int, str]], made: dict[str, Path]
) -> None:
    before = (made[name] / path).read_bytes()
    text = before.decode()
    for share, length, piece in changes:
        at = int(share * len(text))
        text = text[:at] + piece + text[at + length :]
    try:
        (made[name] / path).write_text(text, errors="surrogateescape")
        assert hosts.TOKEN not in looked_at(made[name])
    finally:
        (made[name] / path).write_bytes(before)


JUNK = (b"", b"\0" * 5000, bytes(range(256)) * 20, "mail.* /x\n".encode("utf-16"), b"\x1f\x8b" + bytes(99))


@pytest.mark.parametrize(("name", "path"), PLACES, ids=[path for _, path in PLACES])
def test_a_file_may_be_junk(name: str, path: str, tmp_path: Path) -> None:
    hosts.make(name, tmp_path / "root")
    for junk in (os.urandom(5000), *JUNK):
        (tmp_path / "root" / path).write_bytes(junk)
        looked_at(tmp_path / "root")


@FEW
@given(text=st.lists(PIECES, max_size=40).map("".join))
def test_a_file_may_be_made_of_pieces(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("pieces")
    for path in ("etc/rsyslog.conf", "etc/syslog-ng/syslog-ng.conf", "etc/postfix/main.cf", "etc/postfix/master.cf",
                 "etc/systemd/journald.conf", "etc/fstab", "etc/fail2ban/jail.local"):  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, errors="surrogateescape")
    looked_at(root)
