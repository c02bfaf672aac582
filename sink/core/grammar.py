"""What Postfix says that we know and want little of: the ignore lists, a reason for each entry.

Fail closed (law 2): what neither the parser nor these lists name is not understood, counted and dropped. No line
that says who wrote to whom may stand here: a test holds these lists against the shapes of real logs.
"""

from functools import lru_cache

_CONNECTION = "opens or ends a connection; says nothing of a message"
_TLS = "TLS session details"
_WARNING = "an operator's warning; may quote anything"
_STATISTICS = "counters of the daemon itself"
_TEST = "postscreen's tests of a client before any message"
_LIFE = "the program's own life"
_POLICY = "a policy service's own words; its verdict comes in smtpd's line"

# first word of a text without a queue id -> reason, for every daemon
ANYWHERE: dict[bytes, str] = {
    b"warning:": _WARNING, b"error:": _WARNING, b"fatal:": _LIFE, b"panic:": _LIFE,
    b"statistics:": _STATISTICS, b"connect": _CONNECTION, b"disconnect": _CONNECTION, b"lost": _CONNECTION,
    b"timeout": _CONNECTION, b"too": _CONNECTION, b"improper": _CONNECTION, b"bare": _CONNECTION,
    b"Anonymous": _TLS, b"Untrusted": _TLS, b"Trusted": _TLS, b"Verified": _TLS, b"TLS": _TLS, b"SSL_accept": _TLS,
    b"SSL_connect": _TLS, b"certificate": _TLS, b"Host": _TLS, b"cannot": _TLS, b"setting": _TLS,
    b"initializing": _TLS, b"Certificate": _TLS, b"Unverified": _TLS,
    b"discarding": "EHLO keywords left out for a peer", b"table": _LIFE, b"refreshing": _LIFE, b"starting": _LIFE,
    b"stopping": _LIFE, b"waiting": _LIFE, b"reload": _LIFE, b"terminating": _LIFE, b"daemon": _LIFE, b"looking": _LIFE,
    b"cache": _LIFE, b"the": _LIFE, b"Deleted:": _LIFE, b"Requeued:": _LIFE, b"Placed": _LIFE, b"Released": _LIFE,
    b"Expired:": _LIFE, b"Force-expired:": _LIFE, b"private/anvil": _LIFE, b"using": _LIFE, b"name_mask:": _LIFE,
    b"TLSRPT:": "TLS report status without a queue id (3.10)",
}  # fmt: skip

BY_DAEMON: dict[str, dict[bytes, str]] = {
    "postscreen": dict.fromkeys(
        (
            b"CONNECT", b"DISCONNECT", b"PASS", b"DNSBL", b"HANGUP", b"PREGREET", b"COMMAND", b"WHITELISTED",
            b"BLACKLISTED", b"WHITELIST", b"ALLOWLISTED", b"DENYLISTED", b"ALLOWLIST", b"NON-SMTP", b"BARE",
            b"DATA", b"BDAT", b"BARE_NEWLINE", b"ALLOW", b"DENY",
        ),
        _TEST,
    ),
    "dnsblog": dict.fromkeys((b"addr",), _TEST),
    "tlsproxy": dict.fromkeys((b"CONNECT", b"DISCONNECT", b"BARE"), _CONNECTION),
}  # fmt: skip

# what follows "QID: " and is understood, but says nothing more than that the message is there -> reason, by first word
PRESENCE: dict[bytes, str] = {
    b"host": "one attempt's trouble; the status line follows",
    b"lost": "one attempt's trouble; the status line follows",
    b"conversation": "one attempt's trouble; the status line follows",
    b"timeout": _CONNECTION, b"too": _CONNECTION,
    b"enabling": "workarounds for a peer", b"breaking": "workarounds for a peer",
    b"Cannot": _TLS, b"TLS": _TLS, b"Used": _TLS, b"Server": _TLS, b"subject_CN=": _TLS, b"Untrusted": _TLS,
    b"TLSRPT:": _TLS, b"certificate": _TLS,
    b"SASL": "our own log-in at a peer", b"skipped,": "still being delivered", b"placed": "postsuper -h",
    b"released": "postsuper -H", b"hold:": "an access rule held it", b"milter-hold:": "a milter held it",
    b"milter-header-hold:": "a header held it",
    b"filter:": "an access rule chose a transport",
    b"redirect:": "an access rule added a recipient: its own line follows",
    b"bcc:": "an access rule added a recipient: its own line follows",
    b"warn:": "an access rule only warns",
    b"warning:": "a header rule only warns", b"prepend:": "a header rule only adds",
    b"replace:": "a header rule changed a header",
    b"strip:": "a header rule removed a header", b"pass:": "a rule let it through",
    b"ignore:": "a header rule left one out",
    b"milter-header-warning:": _POLICY, b"milter-header-redirect:": _POLICY, b"milter-header-filter:": _POLICY,
    b"milter-header-prepend:": _POLICY, b"milter-header-replace:": _POLICY, b"milter-header-ignore:": _POLICY,
    b"milter-add-header:": _POLICY, b"quarantine:": _POLICY,
    b"reject_warning:": "a refusal that was not made", b"milter-warning:": _POLICY,
    b"expired": "postsuper -e; the row comes from qmgr's line",
    b"action=": _POLICY,
}  # fmt: skip


@lru_cache(maxsize=100)  # one for each daemon there is
def ignored_words(daemon: str | None) -> dict[bytes, str]:
    """Return {first word: reason} of the texts without a queue id that a daemon's lines may begin with."""
    return ANYWHERE | BY_DAEMON.get(daemon or "", {})
