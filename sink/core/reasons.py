"""Classes a refusal or a failed delivery by code, DSN and wording; reply text itself is never kept.

The first class that fits wins: an operator's own wordings, then wordings (they say more than codes, since
many servers answer 550 5.7.1 to all), then the enhanced code, then the three-digit code.
"""

import re
from functools import lru_cache

from sink.core.rules import Rules

# Wordings in lower case, from Postfix's own texts [src/smtpd/smtpd_check.c, src/smtp/smtp_connect.c,
# src/global/pipe_command.c ...] and from what large providers and common policy servers answer.
_WORDINGS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    (
        "over_quota",
        (
            b"mailbox is full", b"mailbox full", b"over quota", b"overquota", b"quota exceeded",
            b"exceeded quota", b"exceeded storage", b"out of storage", b"insufficient system storage",
            b"quota exceed", b"storage quota", b"disk quota", b"mailfolder is full", b"inbox is full",
        ),
    ),
    ("greylisted", (b"greylist", b"graylist", b"grey list", b"gray list", b"grey-list")),
    ("relay_denied", (b"relay access denied", b"relaying denied", b"unable to relay", b"relay not permitted")),
    (
        "blocklist",
        (
            b"blocked using ", b"blacklist", b"blocklist", b"denylist", b"black listed", b"block list",
            b"spamhaus", b"spamcop", b"sorbs", b"barracudacentral", b"dnsbl", b"rbl",
        ),
    ),
    (
        "unknown_user",
        (
            b"user unknown", b"unknown user", b"no such user", b"no such recipient", b"user doesn't exist",
            b"does not exist", b"mailbox unavailable", b"mailbox not found", b"undeliverable address",
            b"unknown recipient", b"invalid recipient", b"no mailbox here", b"recipient not found",
            b"user not found", b"unknown address", b"account is disabled", b"nullmx", b"does not accept mail",
        ),
    ),
    (
        "rate",
        (
            b"rate limit", b"too many connections", b"too many emails", b"too many messages", b"too many errors",
            b"limit exceeded", b"throttl", b"all server ports busy", b"all screening ports busy", b"ratelimit",
        ),
    ),
    (
        "content",
        (b"spam", b"virus", b"infected", b"malware", b"content rejected", b"disallowed character", b"phish"),
    ),
    ("size", (b"message size exceeds", b"message too large", b"size limit", b"message file too big")),
    ("loop", (b"loops back to myself", b"mail forwarding loop", b"too many hops", b"mailer loop")),
    ("suspended", (b"delivery temporarily suspended",)),
    ("tls", (b"starttls", b"tls is required", b"cannot start tls", b"certificate")),
    (
        "dns",
        (
            b"host or domain name not found", b"name service error", b"domain not found", b"host not found",
            b"cannot find your", b"malformed dns", b"malformed or unexpected name server",
            b"no route to host", b"dns error",
        ),
    ),
    ("timeout", (b"timed out", b"timeout")),
    (
        "connection",
        (
            b"connection refused", b"lost connection", b"network is unreachable", b"connection reset",
            b"refused to talk to me", b"server dropped connection", b"connection lost",
        ),
    ),
    ("auth", (b"authentication", b"not owned by user", b"not logged in", b"dmarc", b"dkim", b"spf ", b"spf fail")),
    (
        "syntax",
        (b"need fully-qualified", b"bad recipient address syntax", b"bad sender address syntax", b"syntax error",
         b"command pipelining", b"protocol error", b"invalid name"),
    ),
    (
        "policy",
        (b"access denied", b"command rejected", b"policy", b"not welcome", b"refused", b"rejected", b"blocked",
         b"not allowed", b"unverified"),
    ),
    (
        "local",
        (b"command died", b"unable to", b"user lookup error", b"mailbox lock", b"server configuration",
         b"transport is unavailable"),
    ),
)  # fmt: skip

CATEGORIES = frozenset([name for name, _ in _WORDINGS] + ["temporary", "other"])

# RFC 3463 subjects and details, where the wording says nothing known
_BY_DSN = {
    b"1.1": "unknown_user", b"1.2": "dns", b"1.3": "syntax", b"1.6": "unknown_user", b"1.8": "dns",
    b"1.10": "unknown_user",
    b"2.0": "unknown_user", b"2.1": "unknown_user", b"2.2": "over_quota", b"2.3": "size",
    b"3.1": "over_quota", b"3.2": "temporary", b"3.4": "size",
    b"4.1": "connection", b"4.2": "connection", b"4.3": "dns", b"4.4": "dns", b"4.5": "rate", b"4.6": "loop",
    b"4.7": "timeout", b"5.1": "syntax", b"5.2": "syntax", b"5.3": "rate", b"5.4": "syntax", b"6.0": "content",
    b"7.0": "policy", b"7.1": "policy", b"7.4": "tls", b"7.7": "content", b"7.8": "auth", b"7.9": "auth",
    b"7.20": "auth", b"7.23": "auth", b"7.24": "auth", b"7.26": "auth", b"7.27": "policy",
}  # fmt: skip

# RFC 5321 4.2.3, where there is neither a known wording nor an enhanced code
_BY_CODE = {
    421: "connection", 452: "over_quota", 552: "over_quota", 500: "syntax", 501: "syntax", 502: "syntax", 503: "syntax",
    504: "syntax", 553: "syntax", 530: "auth", 534: "auth", 535: "auth",
}  # fmt: skip

# A wording for each class, which gives that class again whatever stands beside it; for texts that may not be shown.
WORDS = {
    "over_quota": b"mailbox is full", "greylisted": b"greylisted", "relay_denied": b"relay access denied",
    "blocklist": b"blocklist", "unknown_user": b"no such user", "rate": b"rate limit", "content": b"content rejected",
    "size": b"size limit", "loop": b"too many hops", "suspended": b"delivery temporarily suspended",
    "tls": b"tls is required", "dns": b"host not found", "timeout": b"timed out", "connection": b"lost connection",
    "auth": b"not logged in", "syntax": b"syntax error", "policy": b"rejected", "local": b"command died",
    "temporary": b"try again later", "other": b"no known reason",
}  # fmt: skip

MOST_TEXT = 2_000  # bytes looked at: Postfix cuts its own log lines at about this length
MOST_CACHED = 1_024  # texts, in RAM only
# Hosts and addresses in a text: they say nothing of the reason, and without them servers repeat themselves.
_NAMES = re.compile(rb"(?<=\(host )[^ ]++|(?<=connect to )[^ ]++|(?<=connection with )[^ ]++|<[^<>]*+>").sub

_STEM = 4  # letters by which a wording is found
_BEGINNINGS = re.compile(rb"(?<![a-z])[a-z]{1,%d}" % _STEM).findall
_STEMS: dict[bytes, list[tuple[int, bytes]]] = {}
for _rank, (_, _wordings) in enumerate(_WORDINGS):
    for _wording in _wordings:
        _STEMS.setdefault(_BEGINNINGS(_wording)[0], []).append((_rank, _wording))


class Classifier:
    """Classes wordings; an operator's own come first."""

    def __init__(self, rules: Rules) -> None:
        self._own = rules.reject_patterns
        self._known = lru_cache(MOST_CACHED)(self._classify)

    def classify(self, text: bytes, dsn: bytes, code: int | str) -> str:
        """Return the class of a refusal's or failure's wording: one of CATEGORIES, "other" where nothing fits."""
        text = text[:MOST_TEXT].lower()
        for part, category in self._own:
            if part in text:
                return category
        return self._known(_NAMES(b"", text), dsn, code)

    def _classify(self, low: bytes, dsn: bytes, code: int | str) -> str:
        # A hundred searches through the text would cost 30 us; most wordings' first words are not in it.
        best = len(_WORDINGS)
        for stem in _STEMS.keys() & set(_BEGINNINGS(low)):
            for rank, wording in _STEMS[stem]:
                if rank < best and wording in low:
                    best = rank
        if best < len(_WORDINGS):
            return _WORDINGS[best][0]
        found = _BY_DSN.get(dsn[2:])
        if found and not (found in ("policy", "unknown_user") and dsn[:1] == b"4"):  # "try again" more than why
            return found
        if not dsn and code in _BY_CODE:
            return _BY_CODE[int(code)]
        return "temporary" if dsn[:1] == b"4" or str(code)[:1] == "4" else "other"
