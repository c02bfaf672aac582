"""What doctor can find: the closed list of kinds, each with its reason and its remedy, and a finding of one of them.

docs/doctor.md holds the same list; a test holds both against each other. Words and remedies name files, programs and
options, never a secret, an address or a line of a log.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sink.tools.doctor.tree import Place

HIGH: Final = "high"  # raw lines reach a disk or another host, or a secret is open to others, as things stand
MEDIUM: Final = "medium"  # they would in some circumstances; or lines are lost
LOW: Final = "low"  # doctor can't tell: look there yourself
SEVERITIES: Final = (HIGH, MEDIUM, LOW)


@dataclass(frozen=True, slots=True)
class Kind:
    """How much it matters, why, and what to do where the finding itself does not say it better."""

    severity: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, at one place."""

    id: str
    place: Place
    words: str
    remedy: str
    severity: str

    @property
    def why(self) -> str:
        """Why it matters."""
        return KINDS[self.id].why


def found(name: str, place: Place | str, words: str, *, remedy: str = "", severity: str = "") -> Finding:
    """Return a finding; what is not said is as its kind has it."""
    kind = KINDS[name]
    where = Place(place) if isinstance(place, str) else place
    return Finding(name, where, words, remedy or kind.remedy, severity or kind.severity)


def not_understood(name: str, places: Sequence[tuple[Place, str]]) -> Iterator[Finding]:
    """Yield one finding for each file: what comes behind a first confusion is mostly its consequence."""
    by_file: dict[str, list[tuple[Place, str]]] = {}
    for place, words in dict.fromkeys(places):
        by_file.setdefault(place.file, []).append((place, words))
    for (place, words), *more in by_file.values():
        rest = f" (and {len(more)} more in this file)" if more else ""
        yield found(name, place, words + rest)


_RAW: Final = "each of these lines names a sender, a recipient or a client"
_RSYSLOG: Final = "postsink enable rsyslog"
_SYSLOG_NG: Final = "postsink enable syslog-ng"

RSYSLOG: Final[Mapping[str, Kind]] = {
    "rsyslog-no-drop-in": Kind(
        HIGH, "Postfix's lines then go wherever rsyslog puts the rest, and none comes to postsink",
        f"type: {_RSYSLOG}",
    ),
    "rsyslog-raw-file": Kind(
        HIGH, f"rsyslog goes through its rules in order, and {_RAW}",
        f"type: {_RSYSLOG}",
    ),
    "rsyslog-raw-elsewhere": Kind(
        HIGH, f"whoever gets them may keep them: {_RAW}",
        "take the rule out, or move it behind 10-postsink.conf",
    ),
    "rsyslog-no-stop": Kind(
        HIGH, "a line that postsink has taken goes on to all rules behind, and those write it",
        "put `stop` behind action(...) in that block, or take the file away and type: postsink enable rsyslog",
    ),
    "rsyslog-queue-on-disk": Kind(
        HIGH, "a queue with a file name writes lines to the disk when it is long, or at rsyslog's stop",
        "take the queue's file name out; a queue in memory holds 100,000 lines",
    ),
    "rsyslog-main-queue-on-disk": Kind(
        HIGH, "all lines pass the main queue before any rule, and with a file name it writes them to the disk",
        "take the main queue's file name out",
    ),
    "rsyslog-error-file": Kind(
        MEDIUM, "what could not be handed over is written into that file, whole",
        "take the error file out",
    ),
    "rsyslog-child-output": Kind(
        MEDIUM, "what the program says is written into a file, and a program that fails may quote its lines",
        "take output= out of the action",
    ),
    "rsyslog-report-failures": Kind(
        MEDIUM, "rsyslog then logs what the child says of a line it could not take, and that may quote it",
        'write reportFailures="off"',
    ),
    "rsyslog-debug": Kind(
        HIGH, "rsyslog's debug log holds every line it gets",
        "take the debug options out, and delete the debug log",
    ),
    "rsyslog-rate-limit": Kind(
        MEDIUM, "lines beyond the limit are dropped, and a delivery without its line has no row",
        "write 0 for the interval: no limit",
    ),
    "rsyslog-not-understood": Kind(
        LOW, "a rule that doctor can't read could write lines",
        "look there yourself, and type: rsyslogd -N1",
    ),
}  # fmt: skip

SYSLOG_NG: Final[Mapping[str, Kind]] = {
    "syslog-ng-no-path": Kind(
        HIGH, "Postfix's lines then go wherever syslog-ng puts the rest, and none comes to postsink",
        f"type: {_SYSLOG_NG}",
    ),
    "syslog-ng-raw-file": Kind(
        HIGH, f"syslog-ng goes through its log paths in order, and {_RAW}",
        f"type: {_SYSLOG_NG}",
    ),
    "syslog-ng-raw-elsewhere": Kind(
        HIGH, f"whoever gets them may keep them: {_RAW}",
        "take the log path out, or move it behind the line that includes postsink.conf",
    ),
    "syslog-ng-no-final": Kind(
        HIGH, "a line that postsink has taken goes on to all log paths behind, and those write it",
        "write flags(catchall, final) in that log path, or take the file away and type: postsink enable syslog-ng",
    ),
    "syslog-ng-disk-buffer": Kind(
        HIGH, "a disk buffer writes the lines that wait to a file",
        "take disk-buffer() out; in memory 100,000 lines wait",
    ),
    "syslog-ng-not-understood": Kind(
        LOW, "a log path that doctor can't read could write lines",
        "look there yourself, and type: syslog-ng -s",
    ),
}  # fmt: skip

JOURNALD: Final[Mapping[str, Kind]] = {
    "journald-storage": Kind(
        HIGH, "under systemd journald sees each line before any syslog daemon does, and writes it to /var/log/journal",
        "take other lines with Storage= out: `postsink enable` writes Storage=volatile, and the last one counts; then "
        "type: systemctl restart systemd-journald",
    ),
    "journald-not-forwarded": Kind(
        MEDIUM, "lines that pass journald then never come to the syslog daemon, nor to postsink",
        "write ForwardToSyslog=yes under [Journal] in a file of /etc/systemd/journald.conf.d",
    ),
    "journald-forwards-elsewhere": Kind(
        HIGH, f"who takes them from there may keep them: {_RAW}",
        "take that line out",
    ),
    "journald-rate-limit": Kind(
        MEDIUM, "journald drops lines of a service that logs more, and a delivery without its line has no row",
        "write RateLimitBurst=0 under [Journal] in a file of /etc/systemd/journald.conf.d, as `postsink enable` does",
    ),
    "journald-upload": Kind(
        HIGH, f"it sends the journal to another host, also the part in memory: {_RAW}",
        "type: systemctl disable --now systemd-journal-upload",
    ),
    "journald-not-bound": Kind(
        HIGH, "there is neither rsyslog nor syslog-ng here, so Postfix's lines stay with journald and none comes to "
        "postsink",
        "type: postsink enable journald",
    ),
    "journald-namespace": Kind(
        LOW, "such a journal has settings and files of its own, which doctor does not follow",
        "take LogNamespace= out of Postfix's unit",
    ),
}  # fmt: skip

POSTFIX: Final[Mapping[str, Kind]] = {
    "postfix-log-file": Kind(
        HIGH, f"postlogd writes them itself, past every syslog daemon; {_RAW}",
        "type: postconf -X maillog_file && postfix reload",
    ),
    "postfix-name-missed": Kind(
        HIGH, "postsink's rule takes lines of programs whose names begin with postfix; others go on to the log, raw",
        "take syslog_name out, let it begin with postfix, or add the name to the rule as its comment tells",
    ),
    "postfix-facility-missed": Kind(
        HIGH, "postsink's rule takes lines of the facility mail; others go on to the log, raw",
        "type: postconf -X syslog_facility && postfix reload",
    ),
    "postfix-headers-raw": Kind(
        HIGH, "From, To, Cc, Subject and more of each message are logged too, and the log is raw",
        "type: postsink disable postfix, until the other findings are gone",
    ),
    "postfix-headers-first": Kind(
        MEDIUM, "the first rule that matches ends the search, so the tables behind it no longer reject anything",
        "put postsink's table last in that line",
    ),
    "postfix-headers-of-parts": Kind(
        MEDIUM, "headers of attachments and forwarded messages are then logged as if they were the message's own",
        "set mime_header_checks and nested_header_checks to what header_checks was before",
    ),
    "postfix-debug-peer": Kind(
        MEDIUM, "whole SMTP dialogues with these peers are logged, with addresses and logins",
        "type: postconf -X debug_peer_list && postfix reload",
    ),
    "postfix-verbose": Kind(
        MEDIUM, "whole SMTP dialogues are logged, with addresses and logins",
        "take -v out of that service, and type: postfix reload",
    ),
    "postfix-debugger": Kind(
        MEDIUM, "the debugger writes what the service has in memory into files",
        "take -D out of that service, and type: postfix reload",
    ),
    "postfix-tls-dump": Kind(
        MEDIUM, "from level 3 on what goes over TLS is dumped into the log",
        "set it to 1, and type: postfix reload",
    ),
    "postfix-not-understood": Kind(
        LOW, "Postfix may read it otherwise than doctor",
        "look there yourself, and type: postfix check",
    ),
}  # fmt: skip

OTHERS: Final[Mapping[str, Kind]] = {
    "other-syslogd": Kind(
        LOW, "doctor knows rsyslog and syslog-ng, not what this program writes",
        "use rsyslog or syslog-ng",
    ),
    "no-syslog": Kind(
        LOW, "doctor finds neither rsyslog nor syslog-ng nor journald, so it can't tell where Postfix's lines go",
        "install rsyslog, and type: postsink enable rsyslog",
    ),
    "other-writer": Kind(
        MEDIUM, "postsink takes Postfix's lines alone; what other programs of the mail log stays as it is, raw",
        "have it log less, or keep its lines from that file by a rule of their own",
    ),
    "log-reader": Kind(
        MEDIUM, "it reads logs or the journal, and keeps or sends what it reads",
        "have it leave Postfix's lines out, or remove it",
    ),
}  # fmt: skip

MACHINE: Final[Mapping[str, Kind]] = {
    "swap-open": Kind(
        MEDIUM, "postsink locks its own memory where it may, but syslog, journald and Postfix hold raw lines, too",
        "encrypt it with a random key (crypttab(5), option swap), or do without",
    ),
    "core-files": Kind(
        MEDIUM, "postsink writes none, but the memory of syslog, journald and Postfix holds raw lines, too",
        "write kernel.core_pattern = |/bin/false into a file of /etc/sysctl.d",
    ),
}  # fmt: skip

SECRETS: Final[Mapping[str, Kind]] = {
    "seal-open": Kind(
        HIGH, "who has the seal and a copy of the keyring can undo every pseudonym",
        "set mode 0400, and make a new seal if others may have read it",
    ),
    "seal-beside-keyring": Kind(
        LOW, "one copy of that folder then holds both, and nothing is locked",
        "move one of them, and correct the config",
    ),
    "keyring-open": Kind(
        HIGH, "who has the keyring needs only its seal to undo every pseudonym",
        "set mode 0600",
    ),
    "store-open": Kind(
        HIGH, "the rows are personal data still, and open messages are in there too",
        "set mode 0600",
    ),
    "tokens-open": Kind(
        HIGH, "who knows the token can forge the header columns of any message he sends",
        "set mode 0600, and write a new token on top",
    ),
    "table-open": Kind(
        HIGH, "it holds the token, and who knows that can forge the header columns of any message he sends",
        "set mode 0600, and make a new token",
    ),
    "config-open": Kind(
        HIGH, "the config holds the password of the database",
        "set mode 0600, or use peer authentication",
    ),
    "folder-open": Kind(
        HIGH, "who can write there can put a file or socket of his own in that place, and so read lines or rows",
        "take the right to write from group and others",
    ),
    "program-open": Kind(
        HIGH, "who can change the program gets every raw line, as rsyslog's user: root",
        "give it to root, and take the right to write from group and others",
    ),
    "socket-open": Kind(
        MEDIUM, "everybody on this machine can add rows",
        "set a narrower mode in `listen`",
    ),
    "clear-ips": Kind(
        MEDIUM, "who reads that file has addresses of clients, and with the log or the rows beside it their pseudonyms",
        "take clear_ips out of the config, unless fail2ban needs it; keep it short",
    ),
}  # fmt: skip

LEFTOVERS: Final[Mapping[str, Kind]] = {
    "raw-log-left": Kind(
        HIGH, f"what was logged before postsink still lies there: {_RAW}",
        "import it if you want its rows (postsink import), then delete it",
    ),
    "raw-log-unread": Kind(
        LOW, "a log that doctor can't look through could hold lines of Postfix",
        "look there yourself",
    ),
    "raw-journal-left": Kind(
        HIGH, f"what journald wrote before postsink still lies there: {_RAW}",
        "type: rm /var/log/journal/*/*.journal; journald itself no longer looks after these files",
    ),
    "unreadable": Kind(
        LOW, "doctor can't vouch for what it can't read",
        "run doctor as root, or look there yourself",
    ),
}  # fmt: skip

AREAS: Final[Mapping[str, Mapping[str, Kind]]] = {
    "rsyslog": RSYSLOG,
    "syslog-ng": SYSLOG_NG,
    "journald": JOURNALD,
    "Postfix": POSTFIX,
    "Other programs": OTHERS,
    "Memory": MACHINE,
    "Secrets": SECRETS,
    "What is left": LEFTOVERS,
}
KINDS: Final[Mapping[str, Kind]] = {name: kind for area in AREAS.values() for name, kind in area.items()}
