"""What the admin must go on seeing of Postfix's own troubles, in constant words.

Of lines of level warning, error, fatal and panic only those are passed on that are about the service and not a
person, by an allow-list: the words are ours, never the line's. What is not named here is counted by level alone.
"""

import re

LEVELS = frozenset({b"warning", b"error", b"fatal", b"panic"})  # msg_warn() and its kin [src/util/msg.c]
MOST_TEXT = 2_000  # bytes looked at

# (pattern, words); the first that is found counts
_NOTICES: tuple[tuple[bytes, str], ...] = (
    (rb"No space left on device|Disk quota exceeded", "no space left on a disk"),
    (rb"not enough free space in mail queue", "not enough free space in the mail queue"),  # smtpd_check.c
    (rb"queue file write error|mail_queue_enter: ", "queue file write error"),  # cleanup_out.c, mail_queue.c
    (rb"corrupt(?:ed)? (?:queue )?file", "a queue file is corrupt"),  # qmgr_active.c
    (rb"\Abind (?:\S+ )?port |Address already in use", "a port can't be bound"),  # inet_listen.c
    (rb"Too many open files", "too many open files"),
    (rb"Out of memory|Cannot allocate memory", "out of memory"),
    (rb"bad command startup -- throttling", "a program can't start and is throttled"),  # master_spawn.c
    (rb"killed by signal \d", "a program was killed by a signal"),  # master_spawn.c
    (rb"pid \d+ exit status \d", "a program ended with an error"),  # master_spawn.c
    (rb"has reached its process limit", "a service has reached its process limit"),  # master_avail.c
    (rb"problem talking to (?:server|service)|premature end-of-input on private/", "a service doesn't answer"),
    (rb"connect to transport \S+: |connect #\d+ to subsystem", "a transport doesn't answer"),  # qmgr_transport.c
    (rb"connect to Milter service|milter \S+: can't read", "a milter doesn't answer"),  # milter8.c
    (rb"(?:lookup|table lookup) (?:error|problem|failed)|: table lookup problem", "a table look-up failed"),
    (rb"open database \S+: |unsupported dictionary type|dict_open: ", "a table can't be opened"),  # dict_open.c
    (rb"connect to (?:mysql|pgsql|memcache|ldap) server|dict_(?:mysql|pgsql|ldap)", "a table's server doesn't answer"),
    (rb"TLS library problem", "TLS library problem"),  # tls_misc.c
    (rb"cannot (?:get|load) \S+ (?:private key|certificate)|No server certs", "a TLS key or certificate fails"),
    (rb"SASL: Connect to \S+ failed|SASL per-process initialization failed", "the SASL service doesn't answer"),
    (rb"unable to set exclusive lock|open lock file", "a lock can't be had"),  # master.c
    (rb"Permission denied", "permission denied"),
    (rb"unused parameter|undefined parameter|bad (?:string|numerical|boolean) configuration", "a setting is wrong"),
)  # fmt: skip
_SEARCHES = tuple((re.compile(pattern).search, words) for pattern, words in _NOTICES)
_SASL_FAILURE = re.compile(rb"SASL [A-Z0-9-]{1,20} authentication (?:failed|aborted)").search  # smtpd_sasl_glue.c
# first word of a connection that went wrong -> the counter it is counted under
CONNECTIONS = {
    b"lost": "connections_lost", b"timeout": "connections_timed_out", b"too": "connections_of_errors",
}  # fmt: skip


def notice(text: bytes) -> str | None:
    """Return our words for a text behind its level, None where it is not on the list."""
    text = text[:MOST_TEXT]
    return next((words for search, words in _SEARCHES if search(text)), None)


def is_sasl_failure(text: bytes) -> bool:
    """Tell whether a warning says that a log-in failed."""
    return _SASL_FAILURE(text[:MOST_TEXT]) is not None
