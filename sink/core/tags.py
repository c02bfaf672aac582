"""Reads a syslog tag: which Postfix instance and daemon speaks.

`postfix/submission/smtpd[12]:` -> instance postfix, daemon smtpd, pid 12. The instance (Postfix's syslog_name)
stands before the first slash, the daemon after the last. Where a relay's template cut the tag at the slash the
daemon is lost (None), which the summary tells.
"""

from dataclasses import dataclass
from functools import lru_cache

from sink.core.grammar import ignored_words
from sink.core.notices import CONNECTIONS

# Postfix's daemons and commands that log [conf/master.cf, conf/postfix-files]; a name that is not
# listed is no daemon of Postfix and is never stored.
DAEMONS = frozenset(
    """anvil bounce cleanup defer discard dnsblog error flush lmtp local master nqmgr oqmgr pickup pipe postalias
    postcat postconf postdrop postfix postfix-script post-install postfix-tlsmgr postlock postlog postlogd postkick
    postmap postmulti postqueue postscreen postsuper posttls-finger proxymap proxywrite qmgr qmqpd relay retry scache
    sendmail set-permissions showq smtp smtpd smtps spawn submission submissions tlsmgr tlsproxy trace
    trivial-rewrite verify virtual script""".split()
)
MOST_NAME = 64  # bytes of an instance name; syslog_name is an operator's short word


@dataclass(frozen=True, slots=True)
class Program:
    """Who logs: an instance and a daemon of Postfix, or (postfix false) somebody else."""

    instance: str
    daemon: str | None
    postfix: bool
    ignored: dict[bytes, str]  # first words of its texts of which nothing at all is wanted
    whole: bool  # of Postfix, daemon and all

    def __hash__(self) -> int:
        return hash((self.instance, self.daemon, self.postfix))


Named = tuple[Program, bytes]  # with the process id
OTHER = Program("", None, False, {}, False)


@lru_cache(maxsize=100)  # one for each daemon there is
def _unwanted(daemon: str | None) -> dict[bytes, str]:
    return {word: why for word, why in ignored_words(daemon).items() if word not in CONNECTIONS}


def read_tag(tag: bytes) -> Named:
    """Return (program, process id) of a tag such as b"postfix/smtpd[12]:"; OTHER where Postfix did not log."""
    name, _, rest = tag.rstrip(b":").partition(b"[")
    pid = rest.partition(b"]")[0]
    if not pid.isdigit():
        pid = b""
    if len(name) > MOST_NAME or not name.isascii() or not name.decode("ascii").isprintable():
        return OTHER, pid
    instance, slash, path = name.decode("ascii").partition("/")
    daemon = path.rpartition("/")[2]
    if slash and daemon in DAEMONS and instance:
        return Program(instance, daemon, True, _unwanted(daemon), True), pid
    if instance.startswith("postfix"):
        return Program(instance, None, True, _unwanted(None), False), pid
    return OTHER, pid
