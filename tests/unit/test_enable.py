"""enable and disable, on a machine of their own: a folder for root, and small programs in place of the real ones."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sink import arguments, cli, fault
from sink.config import Config, Listen
from sink.fault import Fault
from sink.tools import enable
from sink.tools.enabling import change, domains, journal, mail, relays, snippets
from sink.tools.enabling.change import Change, Edit
from sink.tools.enabling.machine import Machine, Said

TOP = Path(__file__).parents[2]
CONF = TOP / "syslog-conf"
SETTINGS = Config(listen=(Listen("stream", Path("/run/postsink/stream")), Listen("datagram", journal.SOCKET)))

# Each program writes down how it was called, and fails where a file "refuse-NAME" says so.
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >>{top}/calls
if [ -e {top}/refuse-$(basename "$0") ]; then
    echo "canary {top}/host/etc/broken.conf:7:1" >&2
    exit 1
fi
"""
# It includes our file where Debian does, before the rules, and shows the whole, as -o does.
RSYSLOGD = FAKE + """
while [ $# -gt 1 ]; do
    if [ "$1" = -o ]; then out=$2; fi
    shift
done
conf={top}/host/etc/rsyslog.conf
ours={top}/host/etc/rsyslog.d/10-postsink.conf
{{
    sed '/^#include/,$d' $conf
    if [ -e $ours ] && grep -q '^#include' $conf; then
        echo "##### BEGIN CONFIG: $ours (put on stack)"
        cat $ours
        echo "##### END   CONFIG: $ours"
    fi
    sed '0,/^#include/d' $conf
}} >$out
"""
RULES = "#include\nmail.*  -/var/log/mail.log\n"
SYSLOG_NG = "@version: 3.38\nsource s_src { internal(); };\nlog { source(s_src); };\n"
SHELL = "[Service]\nType=oneshot\nExecStart=/bin/true\n"


@dataclass
class Host:
    top: Path

    @property
    def root(self) -> Path:
        return self.top / "host"

    def write(self, name: str, text: str = "") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def program(self, name: str, text: str = FAKE) -> None:
        path = self.top / "bin" / name
        path.write_text(text.format(top=self.top))
        path.chmod(0o755)

    def refuse(self, name: str, yes: bool = True) -> None:
        path = self.top / f"refuse-{name}"
        path.touch() if yes else path.unlink()

    def calls(self) -> list[str]:
        """What was called since the last time."""
        path = self.top / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Everything under root; folders, too."""
        return {
            str(path.relative_to(self.root)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in sorted(self.root.rglob("*"))
        }

    def enable(self, word: str, settings: Config = SETTINGS, *, dry_run: bool = False) -> int:
        return enable.enable(settings, word, dry_run=dry_run, root=self.root)

    def disable(self, word: str, *, dry_run: bool = False) -> int:
        return enable.disable(word, dry_run=dry_run, root=self.root)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host of Debian 12, with rsyslog and syslog-ng both, where systemd runs."""
    made = Host(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for name in ("systemctl", "systemd-tmpfiles", "systemd-analyze", "syslog-ng", "postfix"):
        made.program(name)
    made.program("rsyslogd", RSYSLOGD)
    made.write("usr/bin/postsink")
    made.write("etc/rsyslog.conf", RULES)
    made.write("etc/rsyslog.d/50-other.conf", "# the admin's\n")
    made.write("etc/syslog-ng/syslog-ng.conf", SYSLOG_NG)
    made.write("usr/lib/systemd/systemd-journald")
    made.write("usr/lib/systemd/system/postfix.service", SHELL)
    made.write("usr/lib/systemd/system/postfix@.service", "[Service]\nExecStart=postmulti\n")
    (made.root / "run/systemd/system").mkdir(parents=True)
    return made


WORDS = ("rsyslog", "syslog-ng", "journald")
RESTARTS = {
    "rsyslog": ["systemctl restart systemd-journald.service", "systemctl restart rsyslog.service"],
    "syslog-ng": ["systemctl restart systemd-journald.service", "systemctl restart syslog-ng.service"],
    "journald": ["systemctl daemon-reload", "systemd-tmpfiles --create {root}/etc/tmpfiles.d/postsink.conf",
                 "systemctl restart systemd-journald.service", "systemctl try-restart postfix@-.service"],
}  # fmt: skip
FILES = {
    "rsyslog": ["etc/rsyslog.d/10-postsink.conf", "etc/systemd/journald.conf.d/zz-postsink-rsyslog.conf"],
    "syslog-ng": ["etc/syslog-ng/postsink.conf", "etc/systemd/journald.conf.d/zz-postsink-syslog-ng.conf"],
    "journald": ["etc/systemd/journald.conf.d/zz-postsink-journald.conf",
                 "etc/systemd/system/postfix@-.service.d/postsink.conf", "etc/tmpfiles.d/postsink.conf"],
}  # fmt: skip
VALIDATOR = {"rsyslog": "rsyslogd", "syslog-ng": "syslog-ng"}


def started(host: Host) -> list[str]:
    return [call for call in host.calls() if call.startswith(("systemctl", "systemd-tmpfiles"))]


# -- one word


@pytest.mark.parametrize("word", WORDS)
def test_a_word_puts_its_files_and_starts_its_service(host: Host, word: str) -> None:
    before = set(host.files())
    assert host.enable(word) == fault.OK
    new = {name for name in set(host.files()) - before if (host.root / name).is_file()}
    assert sorted(new) == sorted(FILES[word])
    assert started(host) == [call.format(root=host.root) for call in RESTARTS[word]]
    for name in new:
        assert stat.S_IMODE((host.root / name).stat().st_mode) == 0o644
        for folder in (host.root / name).parent.relative_to(host.root).parents:
            assert stat.S_IMODE((host.root / folder).stat().st_mode) & 0o005 == 0o005, "a service must get there"


@pytest.mark.parametrize("word", WORDS)
def test_twice_changes_nothing_and_starts_nothing(host: Host, word: str) -> None:
    host.enable(word)
    once = host.files()
    host.calls()
    assert host.enable(word) == fault.OK
    assert host.files() == once
    assert started(host) == []


@pytest.mark.parametrize("word", WORDS)
def test_disable_takes_all_back(host: Host, word: str) -> None:
    before = {name: file for name, file in host.files().items() if (host.root / name).is_file()}
    host.enable(word)
    host.calls()
    assert host.disable(word) == fault.OK
    assert {name: file for name, file in host.files().items() if (host.root / name).is_file()} == before
    assert [call for call in RESTARTS[word][-2:] if call in started(host)]
    assert host.disable(word) == fault.OK
    assert started(host) == [], "twice starts nothing"


@pytest.mark.parametrize("word", WORDS)
def test_a_dry_run_shows_and_does_nothing(host: Host, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = host.files()
    assert host.enable(word, dry_run=True) == fault.OK
    assert host.files() == before
    assert started(host) == []
    shown = capsys.readouterr().out
    for name in FILES[word]:
        assert f"make {host.root / name}\n" in shown
    for call in RESTARTS[word]:
        assert f"run {call.format(root=host.root)}\n" in shown
    host.enable(word)
    host.calls()
    assert host.disable(word, dry_run=True) == fault.OK
    assert started(host) == []
    shown = capsys.readouterr().out
    assert [f"remove {host.root / name}\n" in shown for name in FILES[word]] == [True] * len(FILES[word])


@pytest.mark.parametrize("word", WORDS)
def test_without_systemd_it_says_the_line_to_type(host: Host, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    (host.root / "run/systemd/system").rmdir()
    assert host.enable(word) == fault.OK
    assert started(host) == []
    words = capsys.readouterr().err
    assert len(re.findall(r"^postsink: systemd does not run here; type: \S.*$", words, re.M)) == 1


# -- what goes wrong


@pytest.mark.parametrize("word", VALIDATOR)
def test_what_a_program_refuses_is_put_back(host: Host, word: str) -> None:
    host.refuse(VALIDATOR[word])
    before = host.files()
    with pytest.raises(Fault) as raised:
        host.enable(word)
    assert raised.value.status == fault.CONFIG
    assert "etc/broken.conf line 7)" in raised.value.message, "the place helps"
    assert "canary" not in raised.value.message, "what a program says may quote anything"
    assert host.files() == before
    assert started(host) == []


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("way", ["enable", "disable"])
def test_a_service_that_does_not_start_puts_all_back(host: Host, word: str, way: str) -> None:
    if way == "disable":
        host.enable(word)
        host.calls()
    before = host.files()
    host.refuse("systemctl")
    with pytest.raises(Fault) as raised:
        getattr(host, way)(word)
    assert raised.value.status == fault.TEMPFAIL
    assert host.files() == before
    calls = started(host)
    assert len(calls) > 1, "what was started with the new files is started with the old ones"
    assert calls[-1] == RESTARTS[word][-1].format(root=host.root)


def test_an_interrupt_puts_all_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Machine) -> None:
        assert (host.root / FILES["rsyslog"][0]).exists()
        raise KeyboardInterrupt

    before = host.files()
    monkeypatch.setattr(relays, "check_first", interrupted)
    with pytest.raises(KeyboardInterrupt):
        host.enable("rsyslog")
    assert host.files() == before


def test_a_file_that_is_put_back_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)

    def refuse() -> None:
        assert path.read_bytes() == b"new"
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        raise Fault(fault.CONFIG, "no")

    made = tmp_path / "a/b/new"
    with pytest.raises(Fault):
        change.carry_out(Change((Edit(path, b"new"), Edit(made, b"x")), checks=(refuse,)), Machine(tmp_path))
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"old", 0o640)
    assert sorted(tmp_path.iterdir()) == [path], "no folder of ours stays, nor a half file"


@pytest.mark.parametrize("word", VALIDATOR)
def test_a_program_that_is_missing_is_named(host: Host, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.top / "bin" / VALIDATOR[word]).unlink()
    monkeypatch.setattr(Machine, "finds", lambda _, name: None)
    with pytest.raises(Fault) as raised:
        host.enable(word)
    assert raised.value.status == fault.UNAVAILABLE


@pytest.mark.parametrize(
    "words", ["enable rsyslog --dry-run", "enable postfix --subject none", "disable all --dry-run"]
)
def test_the_command_line_hands_its_words_on(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, bool, Path | None, str | None]] = []

    def enabled(_: Config, word: str, *, dry_run: bool, subject: str | None, config: Path | None) -> int:
        called.append((word, dry_run, config, subject))
        return fault.OK

    def disabled(word: str, *, dry_run: bool, config: Path | None) -> int:
        called.append((word, dry_run, config, None))
        return fault.OK

    monkeypatch.setattr(enable, "enable", enabled)
    monkeypatch.setattr(enable, "disable", disabled)
    path = tmp_path / "postsink.yaml"
    path.touch()
    given = arguments.parser().parse_args(["--config", str(path), *words.split()])
    assert cli.COMMANDS[given.command](Config(), given) == fault.OK
    subject = "none" if "--subject" in words else None
    assert called == [(words.split()[1], "--dry-run" in words, path, subject)]


# -- rsyslog: read, and read first


@pytest.mark.parametrize(
    "rule", ["mail.*", "*.*;auth,authpriv.none", "auth,mail.info", "*.info;mail.none;mail.err", "*.=debug"]
)
def test_a_rule_for_mail_before_ours_is_refused(host: Host, rule: str) -> None:
    host.write("etc/rsyslog.conf", f"{rule}  -/var/log/some.log\n{RULES}")
    before = host.files()
    with pytest.raises(Fault, match="a rule for mail stands before"):
        host.enable("rsyslog")
    assert host.files() == before


@pytest.mark.parametrize("rule", ["auth,authpriv.*", "*.*;mail.none", "kern.*", "$Umask 0022", "#mail.*"])
def test_other_rules_may_stand_before_ours(host: Host, rule: str) -> None:
    host.write("etc/rsyslog.conf", f"{rule}  -/var/log/some.log\n{RULES}")
    assert host.enable("rsyslog") == fault.OK


def test_a_file_that_rsyslogd_does_not_read_is_refused(host: Host) -> None:
    host.write("etc/rsyslog.conf", "mail.*  -/var/log/mail.log\n")
    before = host.files()
    with pytest.raises(Fault, match="does not read our file"):
        host.enable("rsyslog")
    assert host.files() == before


@pytest.mark.parametrize(
    "load", ['module(load="impstats" interval="60")', "$ModLoad impstats", ' module( load="impstats")']
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_no_module_is_loaded_twice(host: Host, load: str, place: str) -> None:
    host.write("etc/rsyslog.conf", f"{load}\n{RULES}" if place == "before" else f"{RULES}{load}\n")
    host.enable("rsyslog")
    written = snippets.active((host.root / FILES["rsyslog"][0]).read_bytes())
    assert 'load="impstats"' not in written
    assert 'load="omprog"' in written
    once = host.files()
    host.enable("rsyslog")
    assert host.files() == once


def test_what_is_full_drops_or_blocks_as_the_config_says(host: Host) -> None:
    def waits() -> list[str]:
        return re.findall(r'^ *queue\.timeoutEnqueue="(\d+)"', (host.root / FILES["rsyslog"][0]).read_text(), re.M)

    host.enable("rsyslog")
    assert waits() == ["0"]
    host.enable("rsyslog", replace(SETTINGS, when_full="block"))
    assert waits() == ["2000000000"]
    host.enable("syslog-ng", replace(SETTINGS, when_full="block"))
    assert "flags(catchall, final, flow-control);" in snippets.active((host.root / FILES["syslog-ng"][0]).read_bytes())


def test_the_child_is_the_program_with_its_config(host: Host) -> None:
    config = host.write("srv/postsink.yaml")
    enable.enable(SETTINGS, "rsyslog", config=config, root=host.root)
    text = (host.root / FILES["rsyslog"][0]).read_text()
    assert f'binary="{host.root}/usr/bin/postsink --config {config} omprog"' in text


def test_a_path_that_would_break_out_of_the_file_is_refused(host: Host) -> None:
    with pytest.raises(Fault) as raised:
        enable.enable(SETTINGS, "rsyslog", config=Path('/etc/a" b'), root=host.root)
    assert raised.value.status == fault.CONFIG


# -- syslog-ng


def test_the_line_comes_before_any_log_path_and_goes_again(host: Host) -> None:
    main = host.root / "etc/syslog-ng/syslog-ng.conf"
    host.enable("syslog-ng", replace(SETTINGS, listen=(Listen("stream", Path("/srv/here/stream")),)))
    text = main.read_text()
    assert text.index("postsink.conf") < text.index("log {")
    assert text.count("@include") == 1
    assert 'unix-stream("/srv/here/stream"' in (host.root / FILES["syslog-ng"][0]).read_text()
    # Moved to where it does no good, it is brought back.
    lines = text.splitlines(keepends=True)
    main.write_text("".join([lines[0], *lines[2:], lines[1]]))
    assert not relays.closed_by_syslog_ng(Machine(host.root))
    host.enable("syslog-ng")
    assert main.read_text() == text
    host.disable("syslog-ng")
    assert main.read_text() == SYSLOG_NG


def test_without_a_socket_there_is_nowhere_to_write_to(host: Host) -> None:
    for word in ("syslog-ng", "journald"):
        with pytest.raises(Fault, match="`listen` in the config must hold"):
            host.enable(word, replace(SETTINGS, listen=()))


# -- journald


def test_postfix_of_debian_13_has_its_own_unit(host: Host) -> None:
    unit = "[Service]\nType=forking\nExecStart=postfix debian-systemd-start\n"
    host.write("usr/lib/systemd/system/postfix.service", unit)
    host.enable("journald")
    assert (host.root / "etc/systemd/system/postfix.service.d/postsink.conf").exists()
    assert "systemctl try-restart postfix.service" in host.calls()


@pytest.mark.parametrize("account", ["root", "_postsink"])
def test_the_folder_belongs_to_who_runs_the_daemon(host: Host, account: str) -> None:
    host.write("etc/passwd", f"root:x:0:0:::\n{account}:x:999:999:::\n")
    host.enable("journald")
    lines = snippets.active((host.root / "etc/tmpfiles.d/postsink.conf").read_bytes())
    assert re.findall(r"^d \S+ 0755 (\S+) ", lines, re.M) == [account, account]


@pytest.mark.parametrize("word", WORDS)
def test_another_file_with_the_last_word_on_storage_is_refused(host: Host, word: str) -> None:
    host.write("etc/systemd/journald.conf.d/zzz.conf", "[Journal]\nStorage=persistent\n")
    before = host.files()
    with pytest.raises(Fault, match="Storage=volatile"):
        host.enable(word)
    assert host.files() == before


def test_the_last_word_on_storage_is_found(host: Host) -> None:
    machine = Machine(host.root)
    assert not journal.keeps_nothing(machine), "journald's own default writes"
    host.write("etc/systemd/journald.conf", "[Journal]\n#Storage=auto\nStorage=none\n")
    assert journal.keeps_nothing(machine)
    host.write("usr/lib/systemd/journald.conf.d/50.conf", "[Journal]\nStorage=persistent\n")
    assert not journal.keeps_nothing(machine)
    host.write("etc/systemd/journald.conf.d/50.conf", "[Journal]\n")  # hides the one of the same name
    assert journal.keeps_nothing(machine)


@pytest.mark.parametrize("text", ["Storage=none\n", "[Upload]\nStorage=none\n", "[Journal]\nStorage=Volatile\n"])
def test_words_that_systemd_does_not_take(host: Host, text: str) -> None:
    host.write("etc/systemd/journald.conf", text)
    assert not journal.keeps_nothing(Machine(host.root))


def test_a_drop_in_that_systemd_does_not_know_is_refused(host: Host) -> None:
    drop_in = host.root / FILES["journald"][1]
    host.program("systemd-analyze", f"#!/bin/sh\necho '{drop_in}:3: Unknown key' >&2\n")
    before = host.files()
    with pytest.raises(Fault, match="systemd-analyze verify refuses"):
        host.enable("journald")
    assert host.files() == before


def test_without_journald_nothing_is_told_to_it(host: Host) -> None:
    (host.root / "usr/lib/systemd/systemd-journald").unlink()
    host.enable("rsyslog")
    assert not (host.root / "etc/systemd/journald.conf.d").exists()
    assert started(host) == ["systemctl restart rsyslog.service"]


# -- header lines only while no raw log is written


def test_postfix_is_refused_while_the_raw_path_is_open(host: Host) -> None:
    host.write("etc/postfix/main.cf")
    host.program("postconf")
    before = host.files()
    with pytest.raises(Fault, match="type first: postsink enable rsyslog") as raised:
        host.enable("postfix")
    assert raised.value.status == fault.CONFIG
    assert host.files() == before


@pytest.mark.parametrize("word", WORDS)
def test_each_of_the_three_closes_the_raw_path(host: Host, word: str) -> None:
    machine = Machine(host.root)
    assert mail.closed_by(machine) == []
    host.enable(word)
    assert mail.closed_by(machine) == [word]


@pytest.mark.parametrize(
    ("word", "place", "old", "new"),
    [
        ("rsyslog", 0, "\n    stop\n", "\n    #stop\n"),
        ("rsyslog", 0, 'type="omprog"', '#type="omprog"'),
        ("syslog-ng", 0, "    flags(catchall, final);", "    flags(catchall);"),
        ("journald", 1, "\nBindPaths=", "\n#BindPaths="),
    ],
)
def test_a_piece_without_its_heart_closes_nothing(host: Host, word: str, place: int, old: str, new: str) -> None:
    host.enable(word)
    path = host.root / FILES[word][place]
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert mail.closed_by(Machine(host.root)) == []


def test_the_raw_path_stays_closed_while_headers_are_logged(host: Host) -> None:
    host.enable("rsyslog")
    host.write("etc/postfix/postsink_before")
    closed = host.files()
    with pytest.raises(Fault, match="type first: postsink disable postfix"):
        host.disable("rsyslog")
    assert host.files() == closed
    host.enable("syslog-ng")
    assert host.disable("rsyslog") == fault.OK, "the other one still closes it"


def test_all_goes_postfix_first(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    for word in WORDS:
        host.enable(word)
    capsys.readouterr()
    assert host.disable("all") == fault.OK
    said = re.findall(r"^postsink: (\S+) is disabled", capsys.readouterr().err, re.M)
    assert said == ["postfix", "rsyslog", "syslog-ng", "journald"]
    assert [name for name in host.files() if "postsink" in name] == ["usr/bin/postsink"]


# -- domains


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("example.com, localhost.example.com localhost", ["example.com", "localhost", "localhost.example.com"]),
        ("Example.ORG.", ["example.org"]),
        ("[192.0.2.1] !example.net mx1", []),
        ("", []),
        ("mysql:/etc/postfix/domains.cf", None),
        ("example.com, proxy:pgsql:/etc/postfix/domains.cf", None),
        ("hash:{table}", ["example.net", "example.org"]),
        ("{file}", ["example.com"]),
        ("texthash:{file}", ["example.com"]),
        ("texthash:{file}.missing", None),
    ],
)
def test_the_domains_of_a_parameter(
    value: str, names: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("# example.net\nexample.com anything\nalice@example.org bob@example.net\n")
    value = value.replace("{file}", str(file)).replace("{table}", str(tmp_path / "table"))
    table = "example.org\tx\nalice@example.com\tbob@example.com\nexample.net\t-\n@example.com\tx\n"

    def run(_: Machine, *command: str) -> Said:
        return Said(0, table if command[0] == "postmap" else value if command[-1] == "mydestination" else "", "")

    monkeypatch.setattr(Machine, "run", run)
    found, unknown = domains.local(Machine(), Path("/etc/postfix"))
    assert unknown == ([] if names is not None else ["mydestination"])
    assert found == (names if names is not None else ["example.com"] if "example.com" in value else [])


# -- the config


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", "local_domains: /x\n"),
        ("store: a", "store: a\nlocal_domains: /x\n"),
        ("a: 1\n#local_domains: []\nb: 2\n", "a: 1\nlocal_domains: /x\nb: 2\n"),
        ("local_domains: []\nb: 2\n", "local_domains: /x\nb: 2\n"),
        ("local_domains:\n  - example.com\n- example.net\nb: 2\n", "local_domains: /x\nb: 2\n"),
    ],
)
def test_a_key_takes_its_place_in_the_config(text: str, changed: str) -> None:
    assert mail._with_key(text, "local_domains", "/x") == changed
    assert mail._with_key(changed, "local_domains", "/x") == changed


# -- the pieces


def test_a_piece_that_was_changed_by_hand_stays(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    path = host.root / FILES["rsyslog"][0]
    host.enable("rsyslog")
    path.write_text(path.read_text().replace("100000", "200000"))
    mine = path.read_bytes()
    host.enable("rsyslog")
    assert path.read_bytes() == mine
    assert "changed by hand and stays" in capsys.readouterr().err
    host.disable("rsyslog")
    assert not path.exists()


def test_an_older_piece_of_ours_is_renewed(host: Host) -> None:
    path = host.root / FILES["rsyslog"][0]
    path.write_bytes(snippets.marked("# an older version\n"))
    host.enable("rsyslog")
    assert b"omprog" in path.read_bytes()


PIECES = sorted(path for folder in ("rsyslog", "syslog-ng", "journald") for path in (CONF / folder).glob("*.conf"))


def test_the_pieces_are_there() -> None:
    assert snippets.folder() == CONF
    assert [path.relative_to(CONF).as_posix() for path in PIECES] == [
        "journald/journald.conf", "journald/postfix.service.conf", "journald/tmpfiles.conf", "rsyslog/10-postsink.conf",
        "rsyslog/20-postsink-log.conf", "syslog-ng/postsink-log.conf", "syslog-ng/postsink.conf",
    ]  # fmt: skip
    assert f'"syslog-conf" = "sink/{CONF.name}"' in (TOP / "pyproject.toml").read_text(), "a wheel has them"


def options(path: Path, text: str) -> set[str]:
    """The names that a piece sets."""
    if path.parent.name == "rsyslog":
        inside = re.findall(r"^(?:action\(|module\(load=|input\(type=|    action\()(.*?)\)$", text, re.M | re.S)
        return {name for part in inside for name in re.findall(r'([\w.]+)="', part)}
    if path.parent.name == "syslog-ng":
        return set(re.findall(r"\b([a-z-]+)\(", text)) & {
            "unix-stream", "template", "frac-digits", "flags", "log-fifo-size", "time-reopen",
            "program-override", "follow-freq", "persist-name",
        } | set(re.findall(r"flags\(([\w, -]+)\)", text)[-1].split(", "))  # fmt: skip
    if path.name == "tmpfiles.conf":
        return set(re.findall(r"^(\S+) ", text, re.M))
    return set(re.findall(r"^(\w+)=", text, re.M))


@pytest.mark.parametrize("path", PIECES, ids=lambda path: path.name)
def test_each_option_of_a_piece_is_explained(path: Path) -> None:
    whole = path.read_text()
    comments = "\n".join(line for line in whole.split("\n") if line.lstrip().startswith("#"))
    found = options(path, snippets.active(whole.encode()))
    assert len(found) >= 2
    assert [name for name in found if not re.search(rf"(?:^|[ ,#]){re.escape(name)}(?:, \w+)*:", comments, re.M)] == []
    assert "What it costs:" in comments
    assert "What would leak:" in comments


def test_nothing_in_the_pieces_writes_a_line_to_a_file() -> None:
    """FACTS: each of these was seen to leak."""
    text = snippets.active((CONF / "rsyslog/10-postsink.conf").read_bytes())
    for name in ("queue.filename", "action.errorfile", "output=", "omfile", "omuxsock"):
        assert name not in text
    assert 'reportFailures="off"' in text
    assert "disk-buffer" not in snippets.active((CONF / "syslog-ng/postsink.conf").read_bytes())
