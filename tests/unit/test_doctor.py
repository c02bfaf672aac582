"""doctor's readers, one construct at a time, and what somebody could put in its way."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sink import fault
from sink.config import Config
from sink.tools.doctor import examination, leftovers, memory, postfix, postfixconf, rainerscript, report, units
from sink.tools.doctor.examination import Host
from sink.tools.doctor.finding import Finding, found
from sink.tools.doctor.modes import Modes
from sink.tools.doctor.probe import matches, plain_probes, probes
from sink.tools.doctor.rsyslog import Rsyslog
from sink.tools.doctor.syslogng import SyslogNg
from sink.tools.doctor.tree import MOST_BYTES, Place, Tree
from tests import golden_runner, hosts
from tests.judges.program import ROOT
from tests.scrubbed import scrubbed


def write(root: Path, **files: str) -> None:
    """Names have __ for a slash and _dot_ for a dot."""
    for name, text in files.items():
        put(root, name.replace("__", "/").replace("_dot_", "."), text)


def put(root: Path, name: str, text: str | bytes = "") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# -- rsyslog

OURS = 'action(type="omprog" binary="/usr/bin/postsink omprog")'
RSYSLOG = [  # a configuration; the places where lines of Postfix come out: line, target, a ? where it is not sure
    ("mail.*\t/var/log/x\r\n", ["1 /var/log/x"]),
    ("mail.* \\\n   /var/log/x\nmail.err \\\n\\\n -/y\n", ["1 /var/log/x", "3 /y"]),
    ("# mail.* /x\n/* mail.* /x\n*/ mail.* /y # no comment here\n", ["3 /y"]),
    ("/* mail.* /x\n", []),
    (':msg, contains, "# /* { \\" }" /x\n', ["1 /x?"]),
    ("mail.* /x\n& stop\n*.* /y\n", ["1 /x"]),
    ("mail.* ~\n*.* /y\n", []),
    ("mail.* stop;\n*.* /y\n", ["2 /y"]),  # "stop;" is the name of a user, as rsyslogd reads it
    ("mail.info stop\n*.* /y\n", []),
    ("mail.=info stop\n*.* /y\n", ["2 /y"]),
    ('if $programname == "postfix" then { if $msg contains "x" then { stop } else { /x\n } }\n*.* /y\n',
     ["1 /x?", "3 /y?"]),
    ('if $syslogtag startswith "dovecot" then stop else { action(type="omfile" file="/x") }\n', ["1 /x"]),
    ("mail.*;mail.!=info /x\nmail.none;*.!* /y\nnews,mail.=debug /z\n", ["1 /x"]),
    ("*.* @loghost\nmail.* |/run/x\nmail.* :ommysql:h,d,u,secret\nmail.* ^/bin/x;t\n",
     ["1 another host", "2 a pipe", "3 a database", "4 a program"]),
    ("mail.* /dev/shm/x\nmail.* /dev/../x\n", ["1 /dev/shm/x", "2 /dev/../x"]),
    ("mail.* :omusrmsg:*\nmail.* root,joe\nmail.* *\nmail.* /dev/console\nmail.* |/dev/xconsole\n", []),
    ('*.* ?Remote\naction(type="omfile" dynaFile="Remote")\n',
     ["1 files that a template names", "2 files that a template names"]),
    ("!postfix\nmail.* /x\n!*\n", ["2 /x"]),  # such blocks count no more
    ("+host\nmail.* /x\n+*\n", ["2 /x"]),
    ("$RuleSet other\n*.* /x\n$RuleSet RSYSLOG_DefaultRuleset\nmail.* /y\n", ["4 /y"]),
    ("$RuleSet other\n*.* /x\n$DefaultRuleset other\n", ["2 /x"]),
    ('ruleset(name="a") { mail.* /x\n stop }\ncall a\n*.* /y\n', ["1 /x"]),
    ('ruleset(name="a" queue.type="LinkedList") { mail.* /x\n stop }\ncall a\n*.* /y\n', ["1 /x", "4 /y"]),
    ('ruleset(name="a") { call b }\nruleset(name="b") { call a\n mail.* /x\n }\ncall a\n', ["3 /x"]),
    ("call nowhere\nmail.* /x\n", ["2 /x?"]),
    ('action(type="omfile" file="/x" config.enabled="off")\naction(type="omfile" file="/y" config.enabled="on")\n',
     ["2 /y"]),
    ('action(type="omfile" file="/x" config.enabled=`echo $A`)\n', []),
    ("mail.* /x\0 stop\n", ["1 /x"]),
    ('foreach ($.x in $!y) do { stop }\nset $.a = "mail.* /x";\nmail.* /y\n', ["3 /y?"]),
    ('template(name="t" type="list") { constant(value="mail.* /x") property(name="msg") }\n', []),
    ('action(type="mmjsonparse")\naction(type="omelasticsearch")\n', ["2 the output omelasticsearch"]),
    ('action(type=`echo $A`)\n', ["1 the output ?"]),
    ('global(x="y")\nmodule(load="imuxsock")\ninput(type="imtcp" port="1")\nmail.* /x', ["4 /x"]),
]  # fmt: skip


def rsyslog(root: Path, text: str) -> Rsyslog:
    put(root, "etc/rsyslog.conf", text)
    return Rsyslog(Tree(root))


@pytest.mark.parametrize(("text", "leaks"), RSYSLOG, ids=range(len(RSYSLOG)))
def test_rules_of_rsyslog(text: str, leaks: list[str], tmp_path: Path) -> None:
    read = rsyslog(tmp_path, text)
    said = [f"{leak.place.line} {leak.where}{'' if leak.sure else '?'}" for leak in read.leaks(probes())]
    assert sorted(said) == sorted(leaks)


NOT_UNDERSTOOD = [
    "include(text=`echo $A`)\n", "{\n", "if $a then\n", "mail.*\n", ":msg, contains\n", "action(type=omfile)\n",
    "if $a == then stop\n", "if " + "(" * 500 + "1" + ")" * 500 + " then stop\n", 'action(type="omfile"\n', "call\n",
    "if 1 == 1 then {\n" * 300, "/* never closed\n", "mail.* /x\n&\n", "}\n", 'set $.a = "x"\n', "%\n",
    "call nowhere\n", "call_indirect $.a;\n", "$IncludeConfig /etc/none.conf\n", 'include(file="/etc/none.conf")\n',
    "stop\n" * (rainerscript.MOST_STATEMENTS + 1),
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_UNDERSTOOD, ids=range(len(NOT_UNDERSTOOD)))
def test_what_is_not_understood_of_rsyslog_is_a_finding(text: str, tmp_path: Path) -> None:
    assert "rsyslog-not-understood" in {each.id for each in rsyslog(tmp_path, text).findings(is_bound=False)}


def test_includes_of_rsyslog_are_read_in_place_and_once_in_a_loop(tmp_path: Path) -> None:
    put(tmp_path, "etc/rsyslog.d/20.conf", "mail.* /20\n$IncludeConfig /etc/rsyslog.d/*.conf\n")
    first = 'include(file="/etc/rsyslog.conf")\ninclude(file="/etc/more/")\nmail.* /10\n'
    put(tmp_path, "etc/rsyslog.d/10.conf", first)
    put(tmp_path, "etc/more/b", "mail.* /b\n")
    put(tmp_path, "etc/more/a.conf", "if $msg contains 'x' then { include(file=\"/etc/in.conf\") }\n")
    put(tmp_path, "etc/in.conf", "mail.* /in\n& stop\n")
    put(tmp_path, "etc/more/.hidden", "mail.* /hidden\n")
    put(tmp_path, "etc/rsyslog.d/30.yaml", "rulesets:\n")
    read = rsyslog(tmp_path, "$IncludeConfig /etc/rsyslog.d/\nmail.* /last\n")
    said = [leak.where for leak in read.leaks(probes()[:1])]
    assert said == ["/in", "/b", "/10", "/20", "/last"]
    assert [str(place) for place, _ in read.script.not_understood] == ["/etc/rsyslog.d/30.yaml"]


def test_files_of_rsyslog_that_all_include_each_other_come_to_an_end(tmp_path: Path) -> None:
    for number in range(20):
        put(tmp_path, f"etc/rsyslog.d/{number}.conf", "mail.* /x\n$IncludeConfig /etc/rsyslog.d/*.conf\n")
    read = rsyslog(tmp_path, "$IncludeConfig /etc/rsyslog.d/*.conf\n")
    assert read.script.not_understood
    assert len(read.script.files) <= rainerscript.MOST_FILES


def test_what_rsyslogd_is_started_with_counts(tmp_path: Path) -> None:
    unit = "[Service]\nExecStart=/usr/sbin/rsyslogd -n -f /etc/r/other.conf -d\n"
    put(tmp_path, "usr/lib/systemd/system/rsyslog.service", unit)
    put(tmp_path, "etc/default/rsyslog", 'RSYSLOGD_OPTIONS="-f /etc/no.conf"\n')
    put(tmp_path, "etc/r/other.conf", "mail.* /x\n")
    found = {(each.id, str(each.place)) for each in rsyslog(tmp_path, "mail.* /y\n").findings(is_bound=False)}
    assert ("rsyslog-raw-file", "/etc/r/other.conf:1") in found
    assert ("rsyslog-debug", "/usr/lib/systemd/system/rsyslog.service:2") in found
    assert len({place for kind, place in found if kind == "rsyslog-raw-file"}) == 1


def test_a_rule_that_may_hold_is_less_than_one_that_does(tmp_path: Path) -> None:
    text = f"if $msg contains 'x' then /x\n{OURS}\nstop\n"
    (one,) = rsyslog(tmp_path, text).findings(is_bound=False)
    assert (one.id, one.severity, one.place.line) == ("rsyslog-raw-file", "medium", 1)
    (one,) = rsyslog(tmp_path, f"if $msg contains 'x' then {{ {OURS}\nstop\n}}\n").findings(is_bound=False)
    assert (one.id, one.severity) == ("rsyslog-no-drop-in", "low")


def test_inputs_with_a_ruleset_of_their_own_are_followed(tmp_path: Path) -> None:
    text = f"""input(type="imuxsock" Socket="/var/spool/postfix/dev/log" ruleset="mine")
input(type="imtcp" port="514" ruleset="theirs")
ruleset(name="mine") {{ mail.* /mine
}}
ruleset(name="theirs" queue.type="LinkedList" queue.filename="theirs") {{ *.* /theirs
}}
ruleset(name="unused" queue.filename="unused") {{ *.* /unused
}}
{OURS}
stop
"""
    found = {(each.id, each.place.line): each.severity for each in rsyslog(tmp_path, text).findings(is_bound=False)}
    assert found == {
        ("rsyslog-raw-file", 3): "high", ("rsyslog-raw-file", 5): "medium", ("rsyslog-queue-on-disk", 5): "high",
    }  # fmt: skip


OPTIONS = [
    ("", set()), ("$MainMsgQueueFileName main\n", {"rsyslog-main-queue-on-disk"}),
    ('main_queue(queue.type="LinkedList")\n', set()), ('global(debug.logFile="/x")\n', {"rsyslog-debug"}),
    ("$DebugLevel 0\n", set()), ('global(oversizemsg.errorfile="/x")\n', {"rsyslog-error-file"}),
    ("$SystemLogRateLimitInterval 0\n", set()), ("$SystemLogRateLimitInterval 5\n", {"rsyslog-rate-limit"}),
    ("$SystemLogRateLimitInterval 5\n$SystemLogRateLimitInterval 0\n", set()),
    ("$ModLoad imjournal\n", {"rsyslog-rate-limit"}), ("$ModLoad imjournal\n$imjournalRatelimitInterval 0\n", set()),
    ('module(load="imjournal" Ratelimit.Interval="0")\n', set()),
    ('input(type="imuxsock" Socket="/x" RateLimit.Interval=`echo $A`)\n', {"rsyslog-rate-limit"}),
    ("*.* :omusrmsg:*\n", set()), ("$ActionQueueFileName q\n*.emerg :omusrmsg:*\n", set()),
    ("$ActionQueueFileName q\n*.* :omusrmsg:*\n", {"rsyslog-queue-on-disk"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), OPTIONS, ids=range(len(OPTIONS)))
def test_options_of_rsyslog(text: str, found: set[str], tmp_path: Path) -> None:
    assert {each.id for each in rsyslog(tmp_path, f"{text}{OURS}\nstop\n").findings(is_bound=False)} == found


# -- syslog-ng

SYSLOG_NG = [
    ("log { source(s); destination { file(/var/log/x); }; };", ["2 /var/log/x"]),
    ("log { source(s); filter { facility(mail) and not program('^postfix'); }; destination { file('/x'); }; };", []),
    ('filter f { filter(f); };\nlog { source(s); filter(f); destination { file("/x"); }; };', ["3 /x?"]),
    ('log { source(s); filter { message("x"); }; destination { file("/x"); }; flags(final); };\n'
     'log { source(s); destination { file("/y"); }; };', ["2 /x?", "3 /y?"]),
    ('source n { network(port(514)); };\nlog { source(n); destination { file("/x"); }; };', ["3 /x?"]),
    ('source k { file("/proc/kmsg"); internal(); };\nlog { source(k); destination { file("/x"); }; };', []),
    ('log { destination { file("/x"); }; };', []),  # it has no source
    ('log { destination { file("/x"); }; flags(catchall); };', ["2 /x"]),
    ('log { source(s); rewrite { set("x" value("PROGRAM")); }; filter { program("x"); };\n'
     'destination { file("/x"); }; };', ["2 /x?"]),
    ('log { source(s); destination { usertty("*"); file("/dev/tty12"); pipe("/dev/xconsole"); }; };', []),
    ('log{source(s);destination{udp("h");program("/bin/x");sql(password("secret"));unix-dgram("/x");elastic-x();};};',
     ["2 another host", "2 a program", "2 a database", "2 a socket", "2 the output elastic_x"]),
    ('destination d { file("/x # { \\" }"); };\r\nlog { source(s); destination(d); };\r\n', ['3 /x # { " }']),
    ("@define place \"/x\"\nlog { source(s); destination { file('`place`/`unknown`'); }; };", ["3 /x/`unknown`"]),
    ("# log { source(s); destination { file(/x); }; };\n", []),
    ('block destination mine(a()) { file("/x"); };\nlog { source(s); destination { mine(); }; };',
     ["3 the output mine"]),
    ('source c { channel { source { system(); }; }; };\nlog { source(c); destination { file("/x"); }; };', ["3 /x?"]),
    ('log { source(s); destination { channel { destination { file("/x"); }; }; }; };',
     ["2 what is nested in a destination"]),
    ('log named { source(s); destination { file("/x"); }; };', ["2 /x"]),
    ('log { source(s); log { filter { facility(news); }; }; flags(final); };\n'
     'log { source(s); destination { file("/x"); }; };', ["3 /x"]),
]  # fmt: skip


def syslog_ng(root: Path, text: str) -> SyslogNg:
    put(root, "etc/syslog-ng/syslog-ng.conf", f"source s {{ system(); }};\n{text}")
    return SyslogNg(Tree(root), frozenset({"/run/postsink/stream"}))


@pytest.mark.parametrize(("text", "leaks"), SYSLOG_NG, ids=range(len(SYSLOG_NG)))
def test_log_paths_of_syslog_ng(text: str, leaks: list[str], tmp_path: Path) -> None:
    read = syslog_ng(tmp_path, text)
    said = [f"{leak.place.line} {leak.where}{'' if leak.sure else '?'}" for leak in read.leaks(probes())]
    assert sorted(said) == sorted(leaks)


@pytest.mark.parametrize(
    "text",
    ["odd { };", "log { source(s); oddity(x); };", "log { source(s); destination(nowhere); };", 'log { "x', "log { (",
     "}", "log {" * 500, '@include "`x`"', '@include "none.conf"'],
)  # fmt: skip
def test_what_is_not_understood_of_syslog_ng_is_a_finding(text: str, tmp_path: Path) -> None:
    found = {each.id for each in syslog_ng(tmp_path, text).findings(is_bound=False)}
    assert "syslog-ng-not-understood" in found


def test_includes_of_syslog_ng_are_read_in_place_and_once_in_a_loop(tmp_path: Path) -> None:
    first = 'log { source(s); destination { file("/a"); }; };\n@include "conf.d/*.conf"\n'
    put(tmp_path, "etc/syslog-ng/conf.d/a.conf", first)
    put(tmp_path, "etc/syslog-ng/conf.d/b.conf", 'log { source(s); destination { file("/b"); }; };\n')
    put(tmp_path, "usr/share/syslog-ng/include/x.conf", 'log { source(s); destination { file("/x"); }; };\n')
    read = syslog_ng(tmp_path, "@include \"conf.d/\"\n@include 'x.conf'\n@include \"scl.conf\"\n@include \"none/*\"\n")
    assert sorted({leak.where for leak in read.leaks(probes()[:1])}) == ["/a", "/b", "/x"]


# -- what rules ask for

@pytest.mark.parametrize(
    ("pattern", "truth"),
    [("^postfix/", True), ("smtp$", False), ("^(postfix|mx-in)", True), ("fix\\/s", True), ("(a+)+$", None),
     ("(", None), ("(|)(|)(|)(|)x", None), ("a*b*c*d*e*", None), ("\\d", None), ("x" * 300, None), ("POST", False)],
)  # fmt: skip
def test_a_pattern_is_tried_only_where_it_is_easy(pattern: str, truth: bool | None) -> None:
    assert matches("postfix/smtpd", pattern) is truth
    assert matches(None, pattern) is None


# -- systemd

def test_of_files_of_one_name_the_nearer_one_counts_and_the_last_name_has_the_last_word(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/systemd/journald.conf", "[Journal]\nStorage=none\n")
    elsewhere = "Storage=volatile\n[Other]\nStorage=volatile\n[Journal]\n#Storage=volatile\n"
    put(tmp_path, "etc/systemd/journald.conf", elsewhere)
    put(tmp_path, "usr/lib/systemd/journald.conf.d/b.conf", "[Journal]\nStorage=persistent\n")
    put(tmp_path, "run/systemd/journald.conf.d/b.conf", "[Journal]\nStorage=auto\n")
    put(tmp_path, "etc/systemd/journald.conf.d/a.conf", "[Journal]\nStorage=\\\n# a comment between\n  volatile\n")
    put(tmp_path, "etc/systemd/journald.conf.d/z", "[Journal]\nStorage=none\n")
    settings = units.configuration(Tree(tmp_path), "journald.conf")
    assert settings.files == (
        "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d/a.conf", "/run/systemd/journald.conf.d/b.conf",
    )  # fmt: skip
    assert [line.value for line in settings.lines if line.section == "Journal"] == ["volatile", "auto"]
    (tmp_path / "etc/systemd/journald.conf.d/b.conf").symlink_to("/dev/null")
    tree = Tree(tmp_path)
    assert units.configuration(tree, "journald.conf").last("Journal", "Storage") == units.Setting(
        "Journal", "Storage", "volatile", Place("/etc/systemd/journald.conf.d/a.conf", 2)
    )
    assert tree.refused == {}


def test_a_unit_has_the_drop_ins_of_its_template_too_and_may_be_masked(tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/systemd/system/postfix@.service", "[Service]\nBindPaths=/a:/b\n")
    put(tmp_path, "etc/systemd/system/postfix@.service.d/1.conf", "[Service]\nBindPaths=/c:/d /e:/f\n")
    put(tmp_path, "etc/systemd/system/postfix@-.service.d/2.conf", "[Service]\nBindPaths=\nBindPaths=/g:/h\n")
    unit = units.unit(Tree(tmp_path), "postfix@-.service")
    assert [line.value for line in unit.listed("Service", "BindPaths")] == ["/g:/h"]
    assert [line.value for line in units.unit(Tree(tmp_path), "postfix@x.service").listed("Service", "BindPaths")] == [
        "/a:/b", "/c:/d /e:/f",
    ]  # fmt: skip
    put(tmp_path, "usr/lib/systemd/system/rsyslog.service")
    assert not units.unit(Tree(tmp_path), "rsyslog.service").masked
    (tmp_path / "etc/systemd/system/rsyslog.service").symlink_to("/dev/null")
    assert units.unit(Tree(tmp_path), "rsyslog.service").masked
    put(tmp_path, "etc/rsyslog.conf", "mail.* /x\n")
    assert Host(Tree(tmp_path), Config(), "", None).rsyslog is None


def test_each_instance_must_log_past_journald(tmp_path: Path) -> None:
    root = tmp_path / "root"
    hosts.make("journald", root)
    put(root, "etc/postfix-out/main.cf", "multi_instance_name = postfix-out\n")
    assert "journald-not-bound" in ids(root)
    piece = (root / "etc/systemd/system/postfix.service.d/postsink.conf").read_bytes()
    put(root, "etc/systemd/system/postfix@postfix\\x2dout.service.d/postsink.conf", piece)
    assert ids(root) == set()
    put(root, "etc/systemd/system/postfix@.service.d/z.conf", "[Service]\nBindPaths=\n")
    assert "journald-not-bound" in ids(root)


# -- Postfix

MAIN_CF = """\
# a comment
a = 1
  # a comment between
\t2

  3\r
empty =
name = ${empty?{yes}:{no}} ${a?set} $(a) ${missing:unset} $$x
instance = ${multi_instance_name?{$multi_instance_name}:{postfix}}/$service_name
loop = $loop
odd = ${a
a_second = old
a_second = new
"""


def test_main_cf_is_read_as_postfix_reads_it(tmp_path: Path) -> None:
    put(tmp_path, "etc/postfix/main.cf", MAIN_CF)
    read = postfixconf.read(Tree(tmp_path), "/etc/postfix")
    assert read.not_understood == []
    assert read.value("a") == "1\t2  3"
    assert read.value("name") == "no set 1\t2  3 unset $x"
    assert read.value("instance") == "postfix/"
    assert (read.value("loop"), read.value("odd"), read.value("a_second")) == (None, None, "new")
    assert read.raw("a_second").place == Place("/etc/postfix/main.cf", 13)


MASTER_CF = """\
# service
smtp      inet  n       -       y       -       -       smtpd
127.0.0.1:10025 inet n - y - - smtpd -v -o { syslog_name = in  side }
  -o smtpd_x=1
    # between
  -osyslog_facility=local1 -Dv
maildrop unix - n n - - pipe
  flags=DRXhu user=vmail argv=/usr/bin/maildrop -v -d ${recipient}
cut off
"""


def test_master_cf_is_read_as_postfix_reads_it(tmp_path: Path) -> None:
    put(tmp_path, "etc/postfix/master.cf", MASTER_CF)
    read = postfixconf.read(Tree(tmp_path), "/etc/postfix")
    first, second, third = read.services
    assert (first.options, first.given) == ("", {})
    assert second.options == "voooDv"
    assert {name: (each.value, each.place.line) for name, each in second.given.items()} == {
        "syslog_name": ("in side", 3), "smtpd_x": ("1", 4), "syslog_facility": ("local1", 6),
    }  # fmt: skip
    assert third.options == ""  # -v is the program's own
    assert [place.line for place, _ in read.not_understood] == [9]


def test_each_instance_of_postfix_is_looked_at(tmp_path: Path) -> None:
    put(tmp_path, "etc/postfix/main.cf", "multi_instance_directories = /srv/postfix-a, /srv/postfix-b\n")
    put(tmp_path, "etc/postfix-out/main.cf", "maillog_file = /x\n")
    assert postfix.folders(Tree(tmp_path)) == ["/etc/postfix", "/srv/postfix-a", "/srv/postfix-b", "/etc/postfix-out"]
    findings = Host(Tree(tmp_path), Config(), "", None).findings()
    places = [str(each.place) for each in findings if each.id == "postfix-log-file"]
    assert places == ["/etc/postfix-out/main.cf:1"]


def test_a_name_that_our_rule_was_taught_is_none_to_tell_of(tmp_path: Path) -> None:
    hosts.make("bookworm-rsyslog", tmp_path / "root")
    put(tmp_path / "root", "etc/postfix/master.cf", "smtp inet n - y - - smtpd -o syslog_name=mx-in\n")
    piece = tmp_path / "root/etc/rsyslog.d/10-postsink.conf"
    assert ids(tmp_path / "root") == {"postfix-name-missed", "postfix-headers-raw"}
    taught = '($programname startswith "postfix" or $programname startswith "mx-in")'
    piece.write_text(piece.read_text().replace('and $programname startswith "postfix" then', f"and {taught} then"))
    assert ids(tmp_path / "root") == set()


def ids(root: Path) -> set[str]:
    return {each.id for each in Host(Tree(root), *settings(root)).findings()}


def settings(root: Path) -> tuple[Config, str, Path | None]:
    return examination._settings(Tree(root), None)


# -- files under another root

def test_a_link_leads_nowhere_but_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(tmp_path, "secret", "outside")
    put(root, "etc/inside", "inside")
    put(root, "secret", "inside, too")
    for name, target in {
        "absolute": "/secret", "relative": "../../../../../../../secret", "chain": "absolute", "folder": "/etc",
        "loop": "loop", "other": "loop2", "loop2": "other", "real": str(tmp_path / "secret"),
    }.items():  # fmt: skip
        (root / "etc" / name).symlink_to(target)
    tree = Tree(root)
    assert [tree.text(f"/etc/{name}") for name in ("absolute", "relative", "chain")] == ["inside, too"] * 3
    assert tree.text("/etc/folder/folder/inside") == tree.text("/../../etc/./inside") == "inside"
    assert tree.text("/etc/real") is None
    assert tree.refused == {}
    assert tree.text("/etc/loop") is None and tree.text("/etc/other") is None
    assert set(tree.refused) == {"/etc/loop", "/etc/other"}
    assert tree.glob("/etc/f*/in*") == ["/etc/folder/inside"]


def test_what_is_no_text_file_does_not_hang_and_is_told(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc/fifo")
    (tmp_path / "etc/folder").mkdir()
    put(tmp_path, "etc/large", b"x" * (MOST_BYTES + 1))
    put(tmp_path, "etc/binary", b"mail.*\0")
    (tmp_path / "etc/null").symlink_to("/dev/null")
    tree = Tree(tmp_path)
    assert tree.text("/etc/binary") == "mail.*\0"
    assert [tree.text(f"/etc/{name}") for name in ("fifo", "folder", "large", "null", "missing", "a\0b")] == [None] * 6
    assert set(tree.refused) == {"/etc/binary", "/etc/fifo", "/etc/folder", "/etc/large"}


def test_what_may_not_be_read_is_told() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        put(root, "etc/rsyslog.conf", "mail.* /x\n").chmod(0)
        put(root, "etc/syslog-ng/syslog-ng.conf").parent.chmod(0)
        put(root, "var/log/mail.log").chmod(0)
        user = os.geteuid()
        os.seteuid(user or 65534)  # root may read anything
        try:
            found = {(each.id, str(each.place)) for each in Host(Tree(root), Config(), "", None).findings()}
        finally:
            os.seteuid(user)
            (root / "etc/syslog-ng").chmod(0o755)
    unread = {place for kind, place in found if kind == "unreadable"}
    assert unread >= {"/etc/rsyslog.conf", "/etc/syslog-ng/syslog-ng.conf", "/var/log/mail.log"}


# -- memory

@pytest.mark.parametrize(
    ("pattern", "coredump", "count"),
    [("core", "", 0), ("|/bin/false", "", 0), ("/dev/null", "", 0), ("", "", 0), ("/var/crash/%e", "", 1),
     ("|/usr/share/apport/apport %p", "", 1), ("|/lib/systemd/systemd-coredump %P", "", 1),
     ("|/lib/systemd/systemd-coredump %P", "[Coredump]\nStorage=none\n", 0),
     ("|/lib/systemd/systemd-coredump %P", "[Coredump]\nStorage=external\n", 1)],
)  # fmt: skip
def test_core_files(pattern: str, coredump: str, count: int, tmp_path: Path) -> None:
    put(tmp_path, "usr/lib/sysctl.d/50-x.conf", "kernel.core_pattern=/overridden\n")
    put(tmp_path, "etc/sysctl.d/50-x.conf", "# nothing\n")
    put(tmp_path, "etc/sysctl.d/60-x.conf", f"kernel/core_pattern = {pattern}\n")
    put(tmp_path, "etc/systemd/coredump.conf.d/x.conf", coredump)
    assert [each.id for each in memory.findings(Tree(tmp_path), is_here=False)] == ["core-files"] * count


@pytest.mark.parametrize(
    ("fstab", "crypttab", "severities"),
    [("/dev/sda2 none swap sw 0 0", "", ["medium"]), ("/swapfile swap swap defaults", "", ["medium"]),
     ("/dev/mapper/x none swap sw", "x /dev/sda2 /dev/urandom swap", []),
     ("UUID=1 none swap sw", "y UUID=2 none luks", ["low"]),
     ("/dev/sda2 none swap noauto", "", []), ("#/dev/sda2 none swap sw", "", []), ("/dev/zram0 none swap sw", "", [])],
)  # fmt: skip
def test_swap(fstab: str, crypttab: str, severities: list[str], tmp_path: Path) -> None:
    write(tmp_path, etc__fstab=f"{fstab}\n", etc__crypttab=f"{crypttab}\n")
    assert [each.severity for each in memory.findings(Tree(tmp_path), is_here=False)] == severities


def test_this_machine_is_asked_itself() -> None:
    """Whatever it answers, it is read without an error."""
    assert {each.id for each in memory.findings(Tree(Path("/")), is_here=True)} <= {"swap-open", "core-files"}


# -- secrets

def test_whose_files_are_whose(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    hosts.make("bookworm-rsyslog", tmp_path / "root")
    os.chown(tmp_path / "root/var/lib/postsink", 4711, 4711)
    os.chown(tmp_path / "root/var/lib/postsink/postsink.sqlite", 4711, 4711)  # as the owner of that folder
    assert ids(tmp_path / "root") == set()
    os.chown(tmp_path / "root/etc/postsink/seal.key", 4712, 4712)
    os.chown(tmp_path / "root/usr/bin/postsink", 4712, 4712)
    assert ids(tmp_path / "root") == {"seal-open", "program-open"}


def test_a_folder_of_the_group_root_and_a_sticky_one_are_none_to_tell_of(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    write(tmp_path, var__lib__postsink__keyring="x", etc__postsink__x="x", run__postsink__x="x")
    (tmp_path / "var/lib/postsink/keyring").chmod(0o600)
    for folder, mode in (("etc/postsink", 0o1777), ("var/lib/postsink", 0o755), ("run/postsink", 0o775)):
        (tmp_path / folder).chmod(mode)
    found = [str(each.place) for each in Modes(tree, Config(), "", None).findings([], [])]
    assert found == ([] if os.stat(tmp_path / "run/postsink").st_gid == 0 else ["/run/postsink"])


def test_a_copy_of_a_secret_is_one(tmp_path: Path) -> None:
    hosts.make("bookworm-rsyslog", tmp_path / "root")
    for name in ("etc/postsink/seal.key~", "etc/postfix/postsink_header_checks.dpkg-old", "etc/postsink/seal.key2"):
        put(tmp_path / "root", name, "x").chmod(0o644)
    assert ids(tmp_path / "root") == {"seal-open", "table-open"}


def test_a_credential_of_the_unit_is_a_seal_too(tmp_path: Path) -> None:
    put(tmp_path, "etc/systemd/system/postsink.service", "[Service]\nLoadCredential=seal:/srv/seal\n")
    put(tmp_path, "srv/seal", "x").chmod(0o440)
    (one,) = Modes(Tree(tmp_path), Config(), "", None).findings([], [])
    assert (one.id, one.remedy) == ("seal-open", "type: chmod 0400 /srv/seal")


# -- what is left

RAW = b"Nov  2 08:00:12 mx1 postfix/smtp[9]: 4A5A321A867: to=<bob@example.net>, status=sent (250 ok)\n"


@pytest.mark.parametrize(
    ("data", "is_raw"),
    [(RAW, True), (gzip.compress(RAW), True), (bz2.compress(RAW), True), (lzma.compress(RAW), True),
     (b"x" * (1 << 20) + RAW, True), (b"x" * ((1 << 20) - 30) + RAW, True),
     (b"Nov  2 08:00:12 mx1 mx-in/smtpd[9]: connect\n", True),
     (b"<22>1 2026-11-02T08:00:12Z mx1 postfix/qmgr 9 - - x\n", True),
     (b"Nov  2 08:00:12 mx1 postfix[9]: postfix/postlog: refreshing the Postfix mail system\n", False),
     (b"Nov  2 08:00:12 mx1 postfix[9]: 4A5A321A867: to=<bob@example.net>, status=sent (250 ok)\n", True),
     (b"Nov  2 08:00:12 mx1 dovecot: imap\n", False), (b"install postfix:amd64 3.7.11\n", False), (b"", False)],
)  # fmt: skip
def test_raw_lines_are_found_in_logs(data: bytes, is_raw: bool, tmp_path: Path) -> None:
    put(tmp_path, "var/log/mail.log", data)
    assert [each.id for each in leftovers.findings(Tree(tmp_path))] == ["raw-log-left"] * is_raw


@pytest.mark.parametrize("raw", [
    RAW, b"Nov  2 08:00:12 mx1 postfix/smtpd[9]: connect from unknown[203.0.113.5]\n",
    b"Nov  2 08:00:12 mx1 postfix/smtpd[9]: connect from unknown[2001:db8::5]\n",
    RAW.replace(b"bob@example.net", b"bob@" + b"a" * 32 + b".example.net"), RAW[:-1], b"",
])  # fmt: skip
def test_raw_lines_are_told_from_scrubbed_ones(raw: bytes, tmp_path: Path) -> None:
    """Those of the daemon's log may come back into mail.log."""
    stories = map(scrubbed, golden_runner.stories())
    shown = [line for story in stories for kind, line in story.steps if kind == golden_runner.LINE]
    assert len(shown) > 500
    lines = b"".join(line + b"\n" for line in shown)
    put(tmp_path, "var/log/mail.log", lines * 12 + raw + lines)
    found = [each.id for each in leftovers.findings(Tree(tmp_path), scrubs=True)]
    assert found == ["raw-log-left"] * bool(raw)
    assert [each.id for each in leftovers.findings(Tree(tmp_path))] == ["raw-log-left"]


def test_rotated_logs_are_one_finding_and_what_is_damaged_another(tmp_path: Path) -> None:
    for name in ("mail.log", "mail.log.1", "mail.log.2.gz", "mail.log-20261102.xz", "syslog", "mail/out.log"):
        put(tmp_path, f"var/log/{name}", RAW)
    put(tmp_path, "var/log/mail.err.1.gz", gzip.compress(RAW)[:20])
    put(tmp_path, "var/spool/rsyslog/queue.00000001", b"+pszRawMsg:1:90:<22>" + RAW)
    found = [(each.id, str(each.place)) for each in leftovers.findings(Tree(tmp_path))]
    assert sorted(found) == [
        ("raw-log-left", "/var/log/mail.log"), ("raw-log-left", "/var/log/mail/out.log"),
        ("raw-log-left", "/var/log/syslog"), ("raw-log-left", "/var/spool/rsyslog/queue.00000001"),
        ("raw-log-unread", "/var/log/mail.err.1.gz"),
    ]  # fmt: skip


# -- what is said

def test_a_finding_is_what_where_why_and_what_to_do() -> None:
    one = found("rsyslog-raw-file", Place("/etc/rsyslog.d/05 a\nb.conf", 3), "lines of Postfix are written to /x")
    assert report.as_text([one]) == """\
HIGH    /etc/rsyslog.d/05 a?b.conf:3  [rsyslog-raw-file]
        lines of Postfix are written to /x
        why: rsyslog goes through its rules in order, and each of these lines names a sender, a
             recipient or a client
        do:  type: postsink enable rsyslog
"""
    assert json.loads(report.as_json([one])) == {"findings": [{
        "id": "rsyslog-raw-file", "severity": "high", "file": "/etc/rsyslog.d/05 a?b.conf", "line": 3,
        "words": "lines of Postfix are written to /x", "remedy": "type: postsink enable rsyslog",
    }]}  # fmt: skip
    assert report.counted([]) == "nothing found"
    assert report.counted([one, Finding("unreadable", Place("/x"), "w", "r", "low")]) == "2 findings: 1 high, 1 low"


def test_no_password_and_no_peer_is_said(tmp_path: Path) -> None:
    secret = "correct-horse"
    rules = f'mail.* :ommysql:db,d,u,{secret}\naction(type="ompgsql" pass="{secret}" file="{secret}")\n'
    put(tmp_path, "etc/rsyslog.conf", rules)
    paths = f'log {{ destination {{ sql(password("{secret}")); }}; flags(catchall); }};\n'
    put(tmp_path, "etc/syslog-ng/syslog-ng.conf", paths)
    put(tmp_path, "etc/postfix/main.cf", f"debug_peer_list = {secret}\nrelayhost {secret}\n")
    put(tmp_path, "etc/postsink/postsink.yaml", f"database: postgresql://u:{secret}@db/x\n").chmod(0o644)
    host = Host(Tree(tmp_path), *settings(tmp_path))
    findings = list(host.findings())
    assert {"rsyslog-raw-elsewhere", "syslog-ng-raw-elsewhere", "postfix-debug-peer", "config-open"} <= {
        each.id for each in findings
    }
    assert secret not in report.as_text(findings) + report.as_json(findings) + repr(findings) + repr(host)


def doctor(*words: str) -> subprocess.CompletedProcess[str]:
    typed = [sys.executable, "-m", "sink", "doctor", *words]
    return subprocess.run(typed, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_ends_as_the_manual_says(tmp_path: Path) -> None:
    hosts.make("bookworm-rsyslog", tmp_path / "root")
    root = str(tmp_path / "root")
    done = doctor("--root", root)
    assert (done.returncode, done.stdout) == (fault.OK, "")
    assert done.stderr.startswith("postsink: nothing found; looked at rsyslog, journald, Postfix, files and memory")
    (tmp_path / "root/etc/postsink/header-tokens").chmod(0o644)
    done = doctor("--root", root)
    assert done.returncode == fault.FINDINGS
    assert done.stdout.startswith("HIGH    /etc/postsink/header-tokens  [tokens-open]\n")
    assert "1 finding: 1 high" in done.stderr
    put(tmp_path / "root", "srv/other.yaml", "header_tokens: nothing\n")
    assert doctor("--root", root, "--config", "/srv/other.yaml").returncode == fault.OK
    assert doctor("--root", root, "--config", "/srv/missing.yaml").returncode == fault.NOINPUT
    put(tmp_path / "root", "srv/other.yaml", "header_token: nothing\n")
    assert doctor("--root", root, "--config", "srv/other.yaml").returncode == fault.CONFIG
    assert doctor("--root", str(tmp_path / "none")).returncode == fault.NOINPUT
    done = doctor("--root", root, "--json")
    assert (done.returncode, [each["id"] for each in json.loads(done.stdout)["findings"]]) == (1, ["tokens-open"])


def test_other_programs_are_asked_for_by_their_own_name(tmp_path: Path) -> None:
    read = rsyslog(tmp_path, ':programname, isequal, "dovecot" stop\nmail.* /x\n')
    assert read.leaks(plain_probes("dovecot")) == []
    assert [leak.where for leak in read.leaks(plain_probes("opendkim"))] == ["/x"]
