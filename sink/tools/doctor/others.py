"""Other programs: those that log addresses of their own, and those that read logs and take lines elsewhere."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from sink.tools.doctor.finding import Finding, found
from sink.tools.doctor.probe import Leak, Probe, plain_probes
from sink.tools.doctor.tree import Place, Tree, shown

Leaks = Callable[[list[Probe]], list[Leak]]


@dataclass(frozen=True, slots=True)
class Writer:
    """A program of the mail that logs: what it is called, where it is, and its name in the log."""

    name: str
    programs: tuple[str, ...]
    tag: str
    # Files that say whether it writes a log of its own, the last line counts; and what such a line looks like.
    settings: tuple[str, ...] = ()
    own: str = r"(?!)"
    not_own: str = r"(?!)"


_WRITERS: Final = (
    Writer("Dovecot", ("/usr/sbin/dovecot",), "dovecot", ("/etc/dovecot/dovecot.conf", "/etc/dovecot/conf.d/*.conf"),
           own=r"(?:info_|debug_)?log_path\s*=\s*/.*", not_own=r"log_path\s*=.*"),
    Writer("Rspamd", ("/usr/bin/rspamd", "/usr/sbin/rspamd"), "rspamd",
           ("/etc/rspamd/logging.inc", "/etc/rspamd/local.d/logging.inc", "/etc/rspamd/override.d/logging.inc"),
           own=r"type\s*=\s*\"?file\b.*", not_own=r"type\s*=.*"),
    Writer("ClamAV's milter", ("/usr/sbin/clamav-milter",), "clamav-milter", ("/etc/clamav/clamav-milter.conf",),
           own=r"LogFile\s+/.*"),
    Writer("Exim", ("/usr/sbin/exim4", "/usr/sbin/exim"), "exim", ("/usr/sbin/exim4", "/usr/sbin/exim")),
    Writer("amavis", ("/usr/sbin/amavisd-new", "/usr/sbin/amavisd", "/usr/sbin/amavis"), "amavis"),
    Writer("OpenDKIM", ("/usr/sbin/opendkim",), "opendkim"),
    Writer("OpenDMARC", ("/usr/sbin/opendmarc",), "opendmarc"),
    Writer("SpamAssassin", ("/usr/sbin/spamd", "/usr/bin/spamd"), "spamd"),
    Writer("spamass-milter", ("/usr/sbin/spamass-milter",), "spamass-milter"),
    Writer("Postgrey", ("/usr/sbin/postgrey",), "postgrey"),
    Writer("SQLgrey", ("/usr/sbin/sqlgrey",), "sqlgrey"),
    Writer("milter-greylist", ("/usr/sbin/milter-greylist",), "milter-greylist"),
    Writer("policyd-spf", ("/usr/bin/policyd-spf", "/usr/sbin/postfix-policyd-spf-perl"), "policyd-spf"),
    Writer("PostSRSd", ("/usr/sbin/postsrsd",), "postsrsd"),
    Writer("MIMEDefang", ("/usr/bin/mimedefang", "/usr/sbin/mimedefang"), "mimedefang"),
    Writer("Cyrus", ("/usr/lib/cyrus/bin/master", "/usr/sbin/cyrmaster"), "cyrus/imap"),
    Writer("Courier", ("/usr/sbin/courierd", "/usr/lib/courier/courier-authlib"), "courierd"),
    Writer("Sendmail", ("/usr/sbin/sendmail.sendmail", "/usr/lib/sm.bin/sendmail"), "sm-mta"),
    Writer("Sympa", ("/usr/lib/sympa/bin/sympa_msg.pl",), "sympa_msg"),
    Writer("fetchmail", ("/usr/bin/fetchmail",), "fetchmail"),
)  # fmt: skip

# What is there where such a program is set up.
_READERS: Final = {
    "Promtail": ("/etc/promtail/*.y*ml",),
    "Grafana Alloy": ("/etc/alloy/*.alloy",),
    "Filebeat": ("/etc/filebeat/filebeat.yml",),
    "Journalbeat": ("/etc/journalbeat/journalbeat.yml",),
    "Fluent Bit": ("/etc/fluent-bit/*.conf", "/etc/fluent-bit/*.y*ml"),
    "Fluentd": ("/etc/td-agent/*.conf", "/etc/fluent/*.conf"),
    "Vector": ("/etc/vector/vector.*",),
    "Datadog's agent": ("/etc/datadog-agent/datadog.yaml",),
    "the OpenTelemetry collector": ("/etc/otelcol*/config.yaml",),
    "Splunk's forwarder": ("/opt/splunkforwarder/etc/*",),
    "NXLog": ("/etc/nxlog/*.conf", "/opt/nxlog/etc/*.conf"),
    "Logcheck": ("/usr/sbin/logcheck",),
}
_JAILS: Final = ("/etc/fail2ban/jail.conf", "/etc/fail2ban/jail.d/*.conf", "/etc/fail2ban/jail.local",
                 "/etc/fail2ban/jail.d/*.local")  # fmt: skip
_DATABASES: Final = ("/etc/fail2ban/fail2ban.conf", "/etc/fail2ban/fail2ban.d/*.conf", "/etc/fail2ban/fail2ban.local",
                     "/etc/fail2ban/fail2ban.d/*.local")  # fmt: skip
_IN_MEMORY: Final = re.compile(r"dbfile\s*=\s*(?::memory:|None)")
_JAIL: Final = re.compile(r"\[(?:postfix|sasl)[\w-]*\]")
_ENABLED: Final = re.compile(r"(?i)enabled\s*=\s*(?:true|yes|on|1)")
_SYSLOGD: Final = ("/usr/sbin/syslogd", "/sbin/syslogd", "/usr/sbin/metalog", "/usr/bin/socklog")


def findings(tree: Tree, leaks: Leaks, journal: Place | None) -> Iterator[Finding]:
    """Yield what other programs do; `leaks` tells where a line would come out, `journal` where it says it is kept."""
    for writer in _WRITERS:
        program = next((path for path in writer.programs if tree.has(path)), "")
        if program:
            yield from _writer(tree, writer, program, leaks(plain_probes(writer.tag)), journal)
    for name, patterns in _READERS.items():
        paths = [path for pattern in patterns for path in tree.glob(pattern)]
        if paths:
            yield found("log-reader", paths[0], f"{name} is set up here")
    yield from _jails(tree)


def others(tree: Tree) -> Iterator[Finding]:
    """Yield syslog daemons that doctor does not know."""
    seen = set()
    for path in _SYSLOGD:
        target = tree.link(path)
        real = str(tree.real(path))
        if tree.has(path) and real not in seen and "syslog-ng" not in target and "rsyslog" not in target:
            seen.add(real)
            yield found("other-syslogd", path, "a syslog daemon that doctor does not know is here")


def _writer(tree: Tree, writer: Writer, program: str, leaks: list[Leak], journal: Place | None) -> Iterator[Finding]:
    own = _own_log(tree, writer)
    if own:
        yield found("other-writer", own, f"{writer.name} writes a log of its own, with addresses")
    elif leaks:
        words = f"{writer.name} ({program}) logs addresses of its own, and syslog writes them to {leaks[0].where}"
        yield found("other-writer", leaks[0].place, words)
    elif journal:
        words = f"{writer.name} ({program}) logs addresses of its own, and journald keeps them on the disk"
        yield found("other-writer", journal, words)


def _own_log(tree: Tree, writer: Writer) -> Place | None:
    place = None
    for path in [path for pattern in writer.settings for path in tree.glob(pattern)]:
        if path in writer.programs:
            return Place(path)  # it has no other log
        for number, line in enumerate((tree.text(path) or "").split("\n"), 1):
            if re.fullmatch(writer.own, line.strip()):
                place = Place(path, number)
            elif re.fullmatch(writer.not_own, line.strip()):
                place = None
    return place


def _jails(tree: Tree) -> Iterator[Finding]:
    """Find jails of Fail2ban that look at Postfix: its database keeps the lines that led to a ban."""
    database = [
        line for pattern in _DATABASES for path in tree.glob(pattern)
        for line in (tree.text(path) or "").split("\n") if line.startswith("dbfile")
    ]  # fmt: skip
    if database and _IN_MEMORY.fullmatch(database[-1].strip()):
        return
    for path in [path for pattern in _JAILS for path in tree.glob(pattern)]:
        jail = ""
        for number, line in enumerate((tree.text(path) or "").split("\n"), 1):
            if line.startswith("["):
                jail = line.strip() if _JAIL.fullmatch(line.strip()) else ""
            elif jail and _ENABLED.match(line):
                words = f"Fail2ban's jail {shown(jail, 40)} looks at Postfix's lines, and its database keeps some"
                remedy = "write `dbfile = :memory:` under [Definition] in /etc/fail2ban/fail2ban.local"
                yield found("log-reader", Place(path, number), words, remedy=remedy)
