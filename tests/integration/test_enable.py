"""enable and disable, held against the real programs: rsyslogd -N1, syslog-ng -s, postfix check and Postfix's tables.

Each test has a root folder of its own, laid out as Debian does. rsyslog and syslog-ng are those that packaging/prepare
unpacked; no service is started, and systemd is said not to run.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from sink import config, fault
from sink.config import Config, Listen
from sink.fault import Fault
from sink.tools import enable
from sink.tools.doctor import examination
from sink.tools.enabling import journal, mail, relays, snippets
from sink.tools.enabling.machine import Machine
from tests.judges.program import ROOT

UNPACKED = ROOT / "build" / "unpacked"
SNIPPETS = ROOT / "syslog-conf"
SETTINGS = Config(listen=(Listen("stream", Path("/run/postsink/stream")), Listen("datagram", journal.SOCKET)))
PATIENCE = 30
Files = dict[str, tuple[int, bytes]]


def wrapper(folder: Path, package: str, name: str, options: str) -> None:
    """Make a program of an unpacked package one that can be typed."""
    top = UNPACKED / package
    if not top.is_dir():
        pytest.skip(f"{package} is not unpacked: packaging/prepare debian")
    libraries = ":".join(sorted({str(path.parent) for path in top.rglob("*.so.*")}))
    program = folder / name
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {top}/usr/sbin/{name} {options} "$@"\n')
    program.chmod(0o755)


def files(root: Path) -> Files:
    """Each file under root; a mail host's spool left out, where `postfix check` makes folders."""
    return {
        str(path.relative_to(root)): (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
        for path in sorted(root.rglob("*")) if path.is_file() and "spool" not in path.parts
    }  # fmt: skip


def doctor(root: Path) -> set[str]:
    """What doctor finds under root. The programs' own files name it whole, so there it leads back to itself."""
    inside = root / str(root)[1:]
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.symlink_to("/")
    said = io.StringIO()
    with redirect_stdout(said):
        status = examination.run(None, as_json=True, root=root)
    inside.unlink()
    found = {each["id"] for each in json.loads(said.getvalue())["findings"]}
    assert status == (fault.FINDINGS if found else fault.OK)
    return found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root, programs = tmp_path / "root", tmp_path / "bin"
    for folder in (root / "etc", root / "usr/bin", root / "usr/lib/systemd", programs):
        folder.mkdir(parents=True)
    (root / "usr/bin/postsink").touch()
    (root / "usr/lib/systemd/systemd-journald").touch()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return root


@pytest.fixture
def programs(root: Path) -> Path:
    return root.parent / "bin"


@pytest.fixture
def pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of syslog-conf, to be broken."""
    copy = tmp_path / "syslog-conf"
    shutil.copytree(SNIPPETS, copy)
    monkeypatch.setattr(snippets, "folder", lambda: copy)
    return copy


def refused(root: Path, word: str, settings: Config = SETTINGS) -> Fault:
    before = files(root)
    with pytest.raises(Fault) as raised:
        enable.enable(settings, word, root=root)
    assert files(root) == before, "all is as it was"
    return raised.value


# -- rsyslog


@pytest.fixture
def rsyslog(root: Path, programs: Path) -> Path:
    """Debian's own configuration; its includes lead into our root. Gives our file's place."""
    modules = next((UNPACKED / "rsyslog").rglob("omprog.so"), Path("none")).parent
    wrapper(programs, "rsyslog", "rsyslogd", f"-M {modules}")
    text = (UNPACKED / "rsyslog/etc/rsyslog.conf").read_text()
    assert "$IncludeConfig /etc/rsyslog.d/*.conf" in text
    for folder in ("/etc/rsyslog.d", "/var/spool/rsyslog"):
        text = text.replace(folder, f"{root}{folder}")
        (root / folder[1:]).mkdir(parents=True)
    (root / "etc/rsyslog.conf").write_text(text)
    # As Debian's Postfix brings it.
    (root / "etc/rsyslog.d/postfix.conf").write_text("$AddUnixListenSocket /var/spool/postfix/dev/log\n")
    return root / "etc/rsyslog.d/10-postsink.conf"


@pytest.mark.parametrize("full", ["drop", "block"])
def test_rsyslogd_takes_our_file_beside_debians(root: Path, rsyslog: Path, full: str) -> None:
    before = files(root)
    settings = Config(when_full="drop" if full == "drop" else "block")
    assert enable.enable(settings, "rsyslog", root=root) == fault.OK
    assert rsyslog.is_file()
    enabled = files(root)
    assert enable.enable(settings, "rsyslog", root=root) == fault.OK
    assert files(root) == enabled
    assert enable.disable("rsyslog", root=root) == fault.OK
    assert files(root) == before


def test_doctor_finds_the_rules_of_debian_and_nothing_behind_ours(root: Path, rsyslog: Path) -> None:
    before = {"rsyslog-no-drop-in", "rsyslog-raw-file", "journald-rate-limit", "journald-not-forwarded"}
    assert doctor(root) == before
    enable.enable(SETTINGS, "rsyslog", root=root)
    assert doctor(root) == set()
    enable.disable("rsyslog", root=root)
    assert doctor(root) == before


BROKEN = [
    ('type="omprog"', 'type="omprg"'),
    ("queue.workerThreads=", "queue.workerThread="),
    ('template="postsink_line"', 'template="postsink_lines"'),
    ("    stop\n}", "    stopp\n}"),
    ('queue.timeoutEnqueue="0"', 'queue.timeoutEnqueue="0" queue.timeoutEnqueue="1"'),
]


@pytest.mark.parametrize(("good", "bad"), BROKEN, ids=range(len(BROKEN)))
def test_rsyslogd_refuses_a_broken_piece_and_all_is_undone(
    root: Path, rsyslog: Path, pieces: Path, good: str, bad: str
) -> None:
    piece = pieces / "rsyslog/10-postsink.conf"
    assert good in piece.read_text()
    piece.write_text(piece.read_text().replace(good, bad, 1))
    raised = refused(root, "rsyslog")
    assert raised.status == fault.CONFIG
    assert re.match(r"rsyslogd -N1 refuses the configuration \(\S+/10-postsink\.conf line \d+\)", raised.message)
    piece.write_text(piece.read_text().replace(bad, good, 1))
    assert enable.enable(SETTINGS, "rsyslog", root=root) == fault.OK, "it was the piece, nothing else"


def test_the_line_of_the_error_is_told(root: Path, rsyslog: Path) -> None:
    (root / "etc/rsyslog.d/50-mine.conf").write_text("\nif canary then\n")
    message = refused(root, "rsyslog").message
    assert re.search(r"\(\S+/50-mine\.conf line [23]\)", message)
    assert "canary" not in message


def test_rsyslogd_is_seen_to_read_our_file(root: Path, rsyslog: Path) -> None:
    """Where another folder is included, -N1 is content, and our file would do nothing."""
    main = root / "etc/rsyslog.conf"
    main.write_text(main.read_text().replace("rsyslog.d/*.conf", "rsyslog.d/*.rules"))
    assert "does not read our file" in refused(root, "rsyslog").message
    main.write_text(main.read_text().replace("$IncludeConfig", f'include(file="{root}/etc/rsyslog.d/*.conf")\n#'))
    assert enable.enable(SETTINGS, "rsyslog", root=root) == fault.OK, "the other way to include is one, too"


def test_rsyslogd_is_seen_to_read_it_before_the_rules(root: Path, rsyslog: Path) -> None:
    main = root / "etc/rsyslog.conf"
    lines = main.read_text().splitlines(keepends=True)
    include = next(line for line in lines if line.startswith("$IncludeConfig"))
    main.write_text("".join([*(line for line in lines if line != include), include]))
    assert "a rule for mail stands before" in refused(root, "rsyslog").message
    main.write_text("".join(lines))
    (root / "etc/rsyslog.d/05-mine.conf").write_text("mail.err  /var/log/mail.err\n")
    assert "a rule for mail stands before" in refused(root, "rsyslog").message


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("05-mine.conf", 'module(load="omprog")'),
        ("05-mine.conf", 'module(load="impstats" interval="300")'),
        ("50-mine.conf", 'module(load="impstats" interval="300")'),
    ],
)
def test_a_module_that_another_file_loads(root: Path, rsyslog: Path, name: str, load: str) -> None:
    (root / "etc/rsyslog.d" / name).write_text(f"{load}\n")
    assert enable.enable(SETTINGS, "rsyslog", root=root) == fault.OK
    once = files(root)
    assert enable.enable(SETTINGS, "rsyslog", root=root) == fault.OK
    assert files(root) == once


def test_rsyslogd_indeed_takes_no_module_and_no_global_twice(root: Path, rsyslog: Path) -> None:
    """Why our file sets no global, and gives up a module that is loaded elsewhere."""
    globals_ = ('global(parser.permitSlashInProgramname="on")', 'global(maxMessageSize="64k")')
    for line in ('module(load="omprog")', *globals_):
        (root / "etc/rsyslog.d/05-mine.conf").write_text(f"{line}\n")
        relays._check_rsyslog(Machine(root))
        (root / "etc/rsyslog.d/06-mine.conf").write_text(f"{line}\n")
        with pytest.raises(Fault):
            relays._check_rsyslog(Machine(root))
        (root / "etc/rsyslog.d/06-mine.conf").unlink()


# -- syslog-ng


@pytest.fixture
def syslog_ng(root: Path, programs: Path) -> Path:
    """Debian's own configuration; its includes lead into our root and the unpacked package."""
    top = UNPACKED / "syslog-ng-core"
    modules = next(top.rglob("libaffile.so"), Path("none")).parent
    wrapper(programs, "syslog-ng-core", "syslog-ng", f"--module-path={modules}")
    text = (top / "etc/syslog-ng/syslog-ng.conf").read_text()
    for old, new in (
        ('"scl.conf"', f'"{root}/etc/syslog-ng/scl.conf"'),
        ('"/etc/syslog-ng/conf.d/', f'"{root}/etc/syslog-ng/conf.d/'),
    ):
        assert old in text
        text = text.replace(old, new)
    folder = root / "etc/syslog-ng"
    (folder / "conf.d").mkdir(parents=True)
    (folder / "syslog-ng.conf").write_text(text)
    scl = next(top.rglob("scl.conf")).read_text()  # in etc on Debian 12, among the libraries on 13
    library = next(top.rglob("scl/getvirtconsole")).parent
    assert "'scl/*/*.conf'" in scl
    (folder / "scl.conf").write_text(f'@define scl-root "{library}"\n' + scl.replace("'scl/", f"'{library}/"))
    return folder / "postsink.conf"


@pytest.mark.parametrize("full", ["drop", "block"])
def test_syslog_ng_takes_our_file_beside_debians(root: Path, syslog_ng: Path, full: str) -> None:
    before = files(root)
    settings = Config(when_full="drop" if full == "drop" else "block")
    assert enable.enable(settings, "syslog-ng", root=root) == fault.OK
    assert syslog_ng.is_file()
    enabled = files(root)
    assert enable.enable(settings, "syslog-ng", root=root) == fault.OK
    assert files(root) == enabled
    assert enable.disable("syslog-ng", root=root) == fault.OK
    assert files(root) == before


def test_doctor_finds_the_log_paths_of_debian_and_nothing_behind_ours(root: Path, syslog_ng: Path) -> None:
    assert doctor(root) == {"syslog-ng-no-path", "syslog-ng-raw-file", "journald-rate-limit"}
    enable.enable(SETTINGS, "syslog-ng", root=root)
    assert doctor(root) == set()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("unix-stream(", "unix-streams("), ("catchall, final", "catchall, finally"),
        ("frac-digits(6)", "frac-digits(six)"),
    ],
)
def test_syslog_ng_refuses_a_broken_piece_and_all_is_undone(
    root: Path, syslog_ng: Path, pieces: Path, good: str, bad: str
) -> None:
    piece = pieces / "syslog-ng/postsink.conf"
    assert good in piece.read_text()
    piece.write_text(piece.read_text().replace(good, bad))
    raised = refused(root, "syslog-ng")
    assert raised.status == fault.CONFIG
    # Of a flag it only warns: then it is us who refuse.
    assert re.match(
        r"with \S+/postsink\.conf as it is, raw lines would reach the log" if "finally" in bad
        else r"syslog-ng -s refuses the configuration \(\S+/postsink\.conf line \d+\)", raised.message
    )
    piece.write_text(piece.read_text().replace(bad, good))
    assert enable.enable(SETTINGS, "syslog-ng", root=root) == fault.OK, "it was the piece, nothing else"


def test_the_choice_of_program_is_one(root: Path, syslog_ng: Path, pieces: Path) -> None:
    """The commented way of the piece, with its # taken away, is understood."""
    piece = pieces / "syslog-ng/postsink.conf"
    text = piece.read_text()
    socket = text[text.index("    unix-stream(") : text.index("    # Or without a daemon")]
    chosen = re.sub(r"^    #(program\(|    |\);)", r"    \1", text.replace(socket, ""), flags=re.M)
    assert "\n    program(" in chosen
    piece.write_text(chosen)
    assert enable.enable(SETTINGS, "syslog-ng", root=root) == fault.OK


# -- journald


def test_systemd_knows_each_word_of_the_drop_in(root: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    system = root / "usr/lib/systemd/system"
    system.mkdir(parents=True)
    for name in ("postfix.service", "postfix@.service"):
        (system / name).write_text("[Unit]\nDescription=x\n[Service]\nType=oneshot\nExecStart=/bin/true\n")
    enable.enable(SETTINGS, "journald", root=root)
    monkeypatch.setenv("SYSTEMD_UNIT_PATH", f"{root}/etc/systemd/system:{system}:/lib/systemd/system")
    drop_in = root / "etc/systemd/system/postfix@-.service.d/postsink.conf"
    verify = ["systemd-analyze", "verify", "postfix@-.service"]

    def said() -> str:
        return subprocess.run(verify, capture_output=True, text=True, timeout=PATIENCE, check=False).stderr

    assert "postsink.conf" not in said()
    drop_in.write_text(drop_in.read_text().replace("BindPaths=", "BindPath="))
    assert str(drop_in) in said()


def test_the_folder_of_the_socket_is_made(root: Path, tmp_path: Path) -> None:
    if not shutil.which("systemd-tmpfiles"):
        pytest.skip("systemd-tmpfiles is not installed")
    if os.geteuid() != 0:
        pytest.skip("the folder is made as root's")
    other = tmp_path / "other"
    other.mkdir()
    piece = tmp_path / "postsink.conf"
    piece.write_text(snippets.text("journald/tmpfiles.conf").replace("USER", "root"))
    subprocess.run(["systemd-tmpfiles", f"--root={other}", "--create", str(piece)], check=True, timeout=PATIENCE)
    folder = other / str(journal.SOCKET.parent)[1:]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert os.readlink(folder / "log") == journal.SOCKET.name


# In a mount namespace of its own, with Postfix's folders; its arguments are SOURCE:TARGET of BindPaths, and tmpfiles'
# link is made. It logs as a process of Postfix does, before and after chroot and a restart of the daemon.
BOUND = """
import os, socket, subprocess, sys

subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
folder = sys.argv[1].partition(":")[0]
os.makedirs(folder)
os.symlink("dev-log", folder + "/log")
for pair in sys.argv[1:]:
    source, _, target = pair.partition(":")
    os.makedirs(target, exist_ok=True)
    subprocess.run(["mount", "--bind", source, target], check=True)

def daemon():
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(folder + "/dev-log")
    made.settimeout(10)
    return made

def log(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.connect(path)
        client.send(path.encode())

inside = os.open("/var/spool/postfix", os.O_RDONLY)
outside = os.open("/", os.O_RDONLY)
for _ in range(2):
    listener = daemon()
    log("/run/systemd/journal/dev-log")
    os.fchdir(inside)
    os.chroot(".")
    log("/dev/log")
    os.fchdir(outside)
    os.chroot(".")
    print(listener.recv(100).decode(), listener.recv(100).decode())
    listener.close()
    os.unlink(folder + "/dev-log")
"""


def test_postfix_reaches_the_daemon_past_journald_also_from_its_chroot() -> None:
    if os.geteuid() != 0 or not Path("/var/spool/postfix").is_dir():
        pytest.skip("root alone can make a namespace, and Postfix is not installed")
    active = snippets.active((SNIPPETS / "journald/postfix.service.conf").read_bytes())
    pairs = re.findall(r"^BindPaths=(\S+)$", active, re.M)
    assert len(pairs) == 2
    assert all(pair.startswith(f"{journal.SOCKET.parent}:") for pair in pairs)
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(["unshare", "--mount", sys.executable, "-c", BOUND, *pairs],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)  # fmt: skip
    assert done.stdout == "/run/systemd/journal/dev-log /dev/log\n" * 2, done.stderr


# -- Postfix

MAIN_CF = """\
# The admin's own words stay where they are.
compatibility_level = 3.6
queue_directory = {root}/var/spool/postfix
data_directory = {root}/var/lib/postfix
myhostname = mx1.example.com
mydomain = example.com
mydestination = $myhostname, localhost.$mydomain, localhost, $mydomain
virtual_alias_maps = texthash:{root}/etc/postfix/virtual
virtual_alias_domains = $virtual_alias_maps
virtual_mailbox_domains = {root}/etc/postfix/vhosts
relay_domains = relay.example.net
"""
DOMAINS = ["example.com", "example.net", "lists.example.org", "localhost", "localhost.example.com", "mx1.example.com"]


@pytest.fixture
def postfix(root: Path, rsyslog: Path) -> Path:
    """A Postfix under our root, whose raw path is closed; gives its folder."""
    if os.geteuid() != 0:
        pytest.skip("postfix check needs root")
    if not shutil.which("postfix", path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip("postfix is not installed")
    etc = root / "etc/postfix"
    for folder in (etc, root / "var/spool/postfix", root / "var/lib/postfix", root / "etc/postsink"):
        folder.mkdir(parents=True)
    shutil.chown(root / "var/lib/postfix", "postfix")
    for folder in (root, *root.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    (etc / "main.cf").write_text(MAIN_CF.format(root=root))
    for name in ("master.cf", "postfix-files"):
        shutil.copy(Path("/etc/postfix") / name, etc / name)
    (etc / "virtual").write_text("lists.example.org anything\nalice@example.org bob@example.com\n")
    (etc / "vhosts").write_text("# ours\nexample.net\n")
    (root / "etc/postsink/postsink.yaml").write_text(
        "# What the admin wrote.\nstore: mail.sqlite\n#local_domains: []\nqueue_id: plain  # his choice\n"
    )
    enable.enable(SETTINGS, "rsyslog", root=root)
    return etc


def settings_of(root: Path) -> Config:
    return config.load(root / "etc/postsink/postsink.yaml")


def enable_postfix(root: Path, subject: str | None = None) -> int:
    """As the command does: with the config as it is now."""
    return enable.enable(settings_of(root), "postfix", root=root, subject=subject)


def value(folder: Path, name: str) -> str:
    return subprocess.run(["postconf", "-c", str(folder), "-h", name], capture_output=True, text=True, check=True,
                          env={"PATH": os.environ["PATH"] + ":/usr/sbin"}, timeout=PATIENCE).stdout.strip()  # fmt: skip


def test_postfix_is_told_and_tells_its_domains(root: Path, postfix: Path) -> None:
    assert enable_postfix(root) == fault.OK
    settings = settings_of(root)
    assert list(settings.local_domains) == DOMAINS
    (token,) = settings.header_tokens
    assert stat.S_IMODE((root / "etc/postsink/header-tokens").stat().st_mode) == 0o600
    for table in mail.TABLES:
        path = postfix / f"postsink_{table}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert value(postfix, table) == f"pcre:{path}"
        assert b"TOKEN" not in snippets.active(path.read_bytes()).encode()
        assert token in path.read_bytes()
    assert value(postfix, "mime_header_checks") == value(postfix, "nested_header_checks") == ""
    text = (root / "etc/postsink/postsink.yaml").read_text()
    assert text.startswith("# What the admin wrote.\nstore: mail.sqlite\nlocal_domains: ")
    assert "queue_id: plain  # his choice\n" in text


def test_postfix_twice_changes_nothing(root: Path, postfix: Path) -> None:
    enable_postfix(root)
    once = files(root)
    assert enable_postfix(root) == fault.OK
    assert files(root) == once
    enable.disable("postfix", root=root)
    once = files(root)
    assert enable.disable("postfix", root=root) == fault.OK
    assert files(root) == once


def test_postfix_is_as_before_after_disable(root: Path, postfix: Path) -> None:
    (postfix / "admin").write_text("/^X-Evil:/ REJECT\n")
    main = postfix / "main.cf"
    main.write_text(main.read_text() + f"header_checks = regexp:{postfix}/admin\nnested_header_checks =\n")
    before = files(postfix)
    enable_postfix(root)
    assert value(postfix, "header_checks") == f"regexp:{postfix}/admin, pcre:{postfix}/postsink_header_checks"
    assert value(postfix, "mime_header_checks") == f"regexp:{postfix}/admin", "his attachment checks go on"
    enable.disable("all", root=root)
    after = files(postfix)
    # postconf writes a blank behind the sign of an empty value.
    mode, text = after["main.cf"]
    after["main.cf"] = mode, text.replace(b"nested_header_checks = \n", b"nested_header_checks =\n")
    assert after == before
    assert settings_of(root).header_tokens, "older lines need them"


def test_doctor_finds_nothing_then_and_header_lines_in_a_raw_log_otherwise(root: Path, postfix: Path) -> None:
    enable_postfix(root)
    assert doctor(root) == set()
    (root / "etc/rsyslog.d/05-mine.conf").write_text("mail.err  /var/log/mail.err\n")
    assert doctor(root) == {"rsyslog-raw-file", "postfix-headers-raw"}
    (root / "etc/rsyslog.d/05-mine.conf").unlink()
    (postfix / "postsink_header_checks").chmod(0o640)
    assert doctor(root) == {"table-open"}


def test_subjects_may_be_left_out_and_stay_so(root: Path, postfix: Path) -> None:
    table = postfix / "postsink_header_checks"
    enable_postfix(root)
    assert "Subject" in snippets.active(table.read_bytes())
    enable_postfix(root, "none")
    enable_postfix(root)
    assert "Subject" not in snippets.active(table.read_bytes())
    enable_postfix(root, "size")
    assert "Subject" in snippets.active(table.read_bytes())


def test_domains_of_the_admins_own_stay(root: Path, postfix: Path) -> None:
    path = root / "etc/postsink/postsink.yaml"
    path.write_text(yaml.safe_dump({"local_domains": ["example.org"]}))
    enable_postfix(root)
    assert settings_of(root).local_domains == ("example.org",)


def break_table(root: Path, postfix: Path, pieces: Path) -> None:
    table = pieces / "postfix/header_checks.pcre"
    table.write_text(table.read_text().replace("/^((?:From|", "/^((?:From|(", 1))


def break_milter_table(root: Path, postfix: Path, pieces: Path) -> None:
    table = pieces / "postfix/milter_header_checks.pcre"
    table.write_text(table.read_text().replace("INFO", "INFORM"))


def break_config(root: Path, postfix: Path, pieces: Path) -> None:
    (root / "etc/postsink/postsink.yaml").write_text("{store: a, queue_id: plain}\n")


def break_postfix(root: Path, postfix: Path, pieces: Path) -> None:
    (postfix / "main.cf").write_text((postfix / "main.cf").read_text() + f"daemon_directory = {root}/none\n")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (break_table, "Postfix can't read postsink_header_checks as a pcre table"),
        (break_milter_table, "Postfix can't read postsink_milter_header_checks as a pcre table"),
        (break_config, ""),
        (break_postfix, "postfix check refuses the configuration"),
    ],
)
def test_what_postfix_or_postsink_refuses_is_undone(
    root: Path, postfix: Path, pieces: Path, break_it: Callable[[Path, Path, Path], None], words: str
) -> None:
    break_it(root, postfix, pieces)
    raised = refused(root, "postfix", settings_of(root))
    assert raised.status == fault.CONFIG
    assert raised.message.startswith(words)


def test_header_lines_are_refused_while_postfix_writes_its_own_log(root: Path, postfix: Path) -> None:
    (postfix / "main.cf").write_text((postfix / "main.cf").read_text() + "maillog_file = /var/log/mail.log\n")
    assert "maillog_file" in refused(root, "postfix", settings_of(root)).message


def test_header_lines_are_refused_when_a_rule_came_before_ours(root: Path, postfix: Path) -> None:
    (root / "etc/rsyslog.d/05-mine.conf").write_text("mail.*  /var/log/mine.log\n")
    assert "a rule for mail" in refused(root, "postfix", settings_of(root)).message


def test_the_token_is_on_no_command_line_and_in_no_words(
    root: Path, postfix: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed: list[str] = []
    run = Machine.run

    def watched(machine: Machine, *command: str, given: str = "") -> object:
        typed.extend(command)
        return run(machine, *command, given=given)

    monkeypatch.setattr(Machine, "run", watched)
    enable_postfix(root)
    (token,) = settings_of(root).header_tokens
    assert typed
    assert not [word for word in typed if token.decode() in word]
    said = capsys.readouterr()
    assert token.decode() not in said.out + said.err


def test_what_the_readme_did_by_hand_is_taken_back(root: Path, postfix: Path) -> None:
    block, _ = re.findall(r"```sh\n(.*?)```", (SNIPPETS / "postfix/README.md").read_text(), re.DOTALL)
    before = (postfix / "main.cf").read_bytes()
    block = block.replace("/etc/postsink/header-tokens", f"{root}/etc/postsink/header-tokens")
    block = block.replace("postfix reload", "true")
    subprocess.run(["bash", "-c", block], cwd=SNIPPETS / "postfix", check=True, timeout=PATIENCE,
                   env={"PATH": os.environ["PATH"] + ":/usr/sbin", "MAIL_CONFIG": str(postfix)})  # fmt: skip
    by_hand = (postfix / "main.cf").read_bytes()
    assert by_hand != before
    enable_postfix(root)
    assert (postfix / "main.cf").read_bytes() == by_hand
    enable.disable("postfix", root=root)
    assert (postfix / "main.cf").read_bytes() == before
