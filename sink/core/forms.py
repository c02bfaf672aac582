"""Tells a text again with masks in the place of what is somebody's: the engine of `scrub`.

A Form is a pattern and what its groups are. Law: what a pattern matches outside of its groups is constant words and
numbers, so all else of a text that fits goes through a mask, and of a text that fits no form nothing comes out.
Patterns of the parser are forms as they are; texts that the parser only ignores have templates (form()).
"""

import re
from collections.abc import Callable, Iterable

from sink.core.masks import Masks

Fit = Callable[[bytes], re.Match[bytes] | None]

# What a template's {name} stands for: (pattern, mask or "" where the pattern lets nothing through that is somebody's).
_IP = rb"[0-9A-Fa-f.:]{2,45}"
_SUITE = (
    rb"(?:TLS|ECDHE|DHE|EDH|ADH|AECDH|RSA|ECDSA|DSS|PSK|SRP|AES|AES128|AES256|128|256|GCM|CCM|CCM8|CBC|CBC3|CHACHA20"
    rb"|POLY1305|SHA|SHA1|SHA256|SHA384|MD5|DES|3DES|EDE|RC4|CAMELLIA|CAMELLIA128|CAMELLIA256|ARIA|ARIA128|ARIA256|SEED"
    rb"|IDEA|anon|WITH)"
)
_CIPHER = _SUITE + rb"(?:[_-]" + _SUITE + rb"){0,9}"
_CURVE = (
    rb"(?:ECDHE|DHE|ECDH|DH|RSA|[Xx]25519|[Xx]448|X25519MLKEM768|SecP256r1MLKEM768|ffdhe\d{4}|secp\d{3}[rk]1"
    rb"|prime256v1|P-\d{3}|\d{3,5} bits)"
)
_PARTS: dict[str, tuple[bytes, str]] = {
    "peer": (rb"[^\[\]\s<>]*+\[[^\]\s]++\](?::\d{1,5})?", "peer"),
    "ip": (_IP, "ip"),
    "host": (rb"[^\[\]\s<>,;:()]++", "host"),
    "person": (rb'[^\s"]++', "address"),
    "rest": (rb".*+", "address"),  # what it names, whatever it holds: the last place of a template
    "text": (rb".*+", "dropped"),  # words that we do not know, likewise
    "address": (rb"[^<>\s]*+", "thing"),
    "id": (rb"[0-9A-Za-z]{5,20}", "queue_id"),
    "number": (rb"\d{1,15}(?:\.\d{1,6})?", ""),
    "port": (rb"\d{1,5}", ""),
    "time": (rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d", ""),
    "code": (rb"[245]\d\d", ""),
    "dsn": (rb"[245]\.\d{1,3}\.\d{1,3}", ""),
    # verbs of SMTP [RFC 5321, src/smtpd/smtpd.c]
    "stage": (
        rb"(?:CONNECT|HELO|EHLO|STARTTLS|AUTH|XCLIENT|XFORWARD|MAIL|RCPT|DATA|BDAT|END-OF-MESSAGE|RSET|NOOP|VRFY|ETRN"
        rb"|QUIT|UNKNOWN)",
        "",
    ),
    "bytes": (rb"(?: \((?:approximately )?\d{1,15} bytes\))?", ""),
    # smtpd's and tlsproxy's counters of a session [src/smtpd/smtpd.c, smtpd_counts]
    "counters": (
        rb"(?>(?: (?:helo|ehlo|starttls|auth|mail|rcpt|data|bdat|rset|noop|vrfy|etrn|quit|xclient|xforward|expn|help"
        rb"|unknown|commands)=\d{1,9}(?:/\d{1,9})?)*)",
        "",
    ),
    # strerror(3) and dns_strerror() [src/dns/dns_strerror.c], and what smtp_connect.c says in their place
    "error": (
        rb"(?:Connection (?:refused|timed out|reset by peer)|No route to host|Network is unreachable"
        rb"|Operation timed out|Permission denied|No such file or directory|Broken pipe|read timeout|Success"
        rb"|Host is down|Address family not supported by protocol|lost connection"
        rb"|server dropped connection without sending the initial SMTP greeting|Connection timed out)",
        "",
    ),
    "dns": (
        rb"(?:Host not found(?:, try again)?|Host found but no data record of requested type|Malformed or unexpected "
        rb"name server reply|Domain not found|Name service error|Name or service not known"
        rb"|No address associated with hostname|Temporary failure in name resolution|Unknown host)",
        "",
    ),
    "record": (rb"(?:A|AAAA|MX|PTR|CNAME|TXT|NS|TLSA|SRV)", ""),
    "phase": (
        rb"(?:receiving the initial (?:server|SMTP) greeting|performing the (?:EHLO|HELO|LHLO|STARTTLS|TLS) handshake"
        rb"|performing the initial protocol handshake"
        rb"|sending (?:MAIL FROM|RCPT TO|DATA command|message body|QUIT|RSET|end of data -- message may be sent more "
        rb"than once|XFORWARD command))",
        "",
    ),
    "command": (
        rb"(?:(?:MAIL FROM|RCPT TO|DATA|EHLO|HELO|LHLO|STARTTLS|AUTH|XFORWARD|QUIT|RSET) command|end of DATA command"
        rb"|end of data)",
        "",
    ),
    "keywords": (
        rb"(?: (?:8BITMIME|AUTH|BINARYMIME|CHUNKING|DSN|ENHANCEDSTATUSCODES|ETRN|PIPELINING|REQUIRETLS|SIZE|SMTPUTF8"
        rb"|STARTTLS|VRFY|XCLIENT|XFORWARD)){1,16}",
        "",
    ),
    "trust": (rb"(?:Anonymous|Untrusted|Trusted|Verified|Unverified) ", ""),
    # tls_log_summary() [src/tls/tls_misc.c]: names out of OpenSSL's own tables
    "cipher": (
        rb"(?:TLSv1(?:\.[0-3])?|SSLv[23]) with cipher " + _CIPHER + rb" \(\d{1,4}/\d{1,4} bits\)"
        rb"(?: key-exchange " + _CURVE + rb"(?: \(" + _CURVE + rb"\))?)?"
        rb"(?: (?:server|client)-(?:signature (?:RSA-PSS|RSA|ECDSA|DSA|ED25519|ED448|Ed25519|Ed448)"
        rb"(?: \((?:\d{1,5} bits|" + _CURVE + rb")\))?|digest (?:SHA-?\d{1,3}|MD5))){0,4}",
        "",
    ),
    "sasl": (
        rb"(?:PLAIN|LOGIN|CRAM-MD5|DIGEST-MD5|NTLM|GSSAPI|GSS-SPNEGO|EXTERNAL|ANONYMOUS|OAUTHBEARER|XOAUTH2"
        rb"|SCRAM-SHA-(?:1|224|256|384|512)(?:-PLUS)?)",
        "",
    ),
    # what xsasl_server_next() gives [src/xsasl]: a library's own words, and its prompts in base64
    "said": (
        rb"(?:authentication failure|generic failure|Invalid authentication mechanism|no mechanism available"
        rb"|Connection lost to authentication server|\(reason unavailable\)|UGFzc3dvcmQ6|VXNlcm5hbWU6"
        rb"|bad protocol / cancel|another step is needed in authentication|)",
        "",
    ),
    "version": (rb"[23]\.\d{1,2}(?:\.\d{1,2})?(?:-(?:\d{8}|RC\d))?", ""),
    # services of master.cf as Postfix is shipped
    "service": (
        rb"(?:smtps?|submissions?|smtpd|smtp-amavis|postscreen|lmtp|relay|local|virtual|pipe|dovecot|maildrop|procmail"
        rb"|cyrus|uucp|mailman|rewrite|bounce|defer|anvil|proxymap|tlsmgr|verify|cleanup|qmgr|flush|scache|dnsblog"
        rb"|tlsproxy|policy-?spf|policy|retry|error|discard)",
        "",
    ),
    # dovecot's [see sink.core.dovecot]
    "login": (rb"(?:imap|pop3|managesieve|submission)", ""),
    "user": (rb"[^()<>]*+", "address"),
    "account": (rb"[^()<>,\s]++", "address"),
    "session": (rb"[0-9A-Za-z+/=_:.-]{1,64}", "session"),
    "msgid": (rb"(?:<[^<>]*+>|unspecified)", "msgid"),
    "ended": (
        rb"(?:Disconnected|Aborted login|Login aborted)"
        rb"(?:: (?:Connection closed|Inactivity|Too many (?:invalid|bad) commands|Logged out"
        rb"|Connection reset by peer))?"
        rb"(?: during authentication)?",
        "",
    ),
    "attempts": (
        rb"(?: \((?:auth failed, \d{1,9} attempts(?: in \d{1,9} secs)?|no auth attempts(?: in \d{1,9} secs)?"
        rb"|tried to use (?:disallowed|disabled) plaintext auth"
        rb"|(?:disconnected before auth was ready|client didn't finish SASL auth), waited \d{1,9} secs)\))?"
        rb"(?: \((?:auth_failed|no_auth_attempts|cleartext_auth_disabled)\))?",
        "",
    ),
    "tls": (
        rb"(?:, (?:TLS(?:v1\.[0-3])?(?: handshaking)?(?:: (?:Connection closed|Disconnected"
        rb"|Connection reset by peer))?|secured))?",
        "",
    ),
    "closed": (
        rb"(?:Logged out|Connection closed|Disconnected|Disconnected: (?:Logged out|Inactivity|Connection closed)"
        rb"|Disconnected for inactivity)",
        "",
    ),
    "traffic": (
        rb"(?: in=\d{1,15} out=\d{1,15})?"
        rb"(?>(?: (?:top|retr|del|size|deleted|expunged|trashed|hdr_count|hdr_bytes|body_count|body_bytes)"
        rb"=\d{1,15}(?:/\d{1,15})?,?)*)",
        "",
    ),
    "quit": (
        rb"(?:Client has quit the connection|Successful quit|Logged out|Connection closed"
        rb"|Remote closed connection)",
        "",
    ),
    "folder": (rb"'?(?:INBOX|(?:INBOX[./])?(?:Junk|Spam|Trash|Sent|Drafts|Archive))'?", ""),
    "full": (rb"Quota exceeded(?: \((?:mailbox for user is full|disk quota exceeded)\))?", ""),
    "failed": (
        rb"(?:unknown user|Password mismatch|password mismatch|Unknown user|user not found)", "",
    ),
    # rspamd's [see sink.core.rspamd]
    "hex": (rb"[0-9a-f]{4,64}", "session"),
    "verdict": (
        rb"(?:no action|greylist|add header|rewrite subject|soft reject|reject|discard|quarantine|accept)", "",
    ),
    "score": (rb"-?\d{1,6}(?:\.\d{1,4})?", ""),
    "symbols": (rb".*", "symbols"),
    "addresses": (rb"[^<>]*+", "addresses"),
}  # fmt: skip
# smtp_addr.c and others
_NAME_SERVER = "Host or domain name not found. Name service error for name={host} type={record}: {dns}"
_PLACE = re.compile(r"\{([a-z]+)\}")


class Form:
    """A pattern whose groups are masked."""

    __slots__ = ("_fit", "_masks")

    def __init__(self, fit: Fit, masks: Iterable[str]) -> None:
        self._fit = fit
        self._masks = tuple(masks)  # by group; "" keeps what the group holds

    def told(self, masks: Masks, text: bytes) -> bytes | None:
        """Return the text with its groups masked, None where it does not fit."""
        match = self._fit(text)
        return None if match is None else masked(masks, match, self._masks)


def masked(masks: Masks, match: re.Match[bytes], names: tuple[str, ...]) -> bytes:
    """Return what a pattern matched with its groups masked, each by the mask of that name."""
    text, at = match.string, match.start()
    parts: list[bytes] = []
    for number, name in enumerate(names, 1):
        start, end = match.span(number)
        if name and start >= 0:
            parts += text[at:start], getattr(masks, name)(text[start:end])
            at = end
    parts.append(text[at : match.end()])
    return b"".join(parts)


def form(template: str) -> Form:
    """Return the form of a template: constant words, {places} of _PARTS, and (optional|alternative) parts."""
    pieces: list[bytes] = []
    names: list[str] = []
    at = 0
    template = template.replace("{nameserver}", _NAME_SERVER)
    for place in _PLACE.finditer(template):
        pattern, name = _PARTS[place[1]]
        pieces += _constant(template[at : place.start()]), b"(%b)" % pattern if name else pattern
        names += [name] if name else []
        at = place.end()
    pieces.append(_constant(template[at:]))
    return Form(re.compile(b"".join(pieces), re.DOTALL).fullmatch, names)


def _constant(words: str) -> bytes:
    """Escape constant words; "[[a|b]]" are alternatives, an empty one makes it optional."""
    found = re.escape(words)
    found = found.replace(r"\[\[", "(?:").replace(r"\]\]", ")").replace(r"\|", "|")
    return found.encode("ascii")


class Forms:
    """Forms by the word that a text begins with."""

    def __init__(self, templates: str) -> None:
        self._forms: dict[bytes, list[Form]] = {}
        for template in templates.split("\n"):
            words = template.strip()
            if words:
                first = words.partition(" ")[0]
                key = b"" if "{" in first or "[[" in first else first.encode("ascii")
                self._forms.setdefault(key, []).append(form(words))

    def told(self, masks: Masks, text: bytes) -> bytes | None:
        """Return the text told again by the first form that it fits, None where it fits none."""
        for key in (text.partition(b" ")[0], b""):
            for one in self._forms.get(key, ()):
                found = one.told(masks, text)
                if found is not None:
                    return found
        return None
