"""The texts of Postfix that rows want nothing of, as `scrub` tells them again: templates, a line each.

A template is a text with {places} for what is somebody's or a number (sink.core.forms), and [[alternatives|of constant
words]]. A text that fits none keeps its first word at most. To add one, paste the text and put a place for each name,
address and number; tests/unit/test_forms.py shows that nothing else can come out.
"""

from sink.core.forms import Forms

# Texts without a queue id, by daemon and source file; fail2ban and pflogsumm read many of them.
ALONE = Forms(
    """
    connect from {peer}
    disconnect from {peer}{counters}
    lost connection after {stage}{bytes} from {peer}
    timeout after {stage}{bytes} from {peer}
    too many errors after {stage}{bytes} from {peer}
    improper command pipelining after {stage} from {peer}: {text}
    improper command pipelining after {stage} from {peer}
    bare <LF> received after {stage}{bytes} from {peer}
    {trust}TLS connection established [[from|to]] {peer}: {cipher}
    TLS connection established [[from|to]] {peer}: {cipher}
    TLS connection established [[from|to]] {host}: {cipher}
    {trust}TLS connection reused to {peer}: {cipher}
    SSL_accept error from {peer}: {error}
    SSL_accept error from {peer}: {text}
    SSL_accept error from {peer}
    SSL_connect error to {peer}: {error}
    SSL_connect error to {peer}: {text}
    TLS handshake failed for service=smtpd peer=[{ip}]:{port}
    setting up TLS connection [[from|to]] {peer}
    discarding EHLO keywords:{keywords}
    connect to {peer}: {error}
    connect to {peer}: {error} (port {port})
    connect to {peer}: {text}
    addr {ip} listed by domain {host} as {ip}
    CONNECT from [{ip}]:{port} to [{ip}]:{port}
    CONNECT from [{ip}]:{port}
    DISCONNECT [{ip}]:{port}
    PASS [[OLD|NEW]] [{ip}]:{port}
    DNSBL rank {number} for [{ip}]:{port}
    HANGUP after {number} from [{ip}]:{port} in tests [[before|after]] SMTP handshake
    PREGREET {number} after {number} from [{ip}]:{port}: {text}
    COMMAND [[TIME|COUNT|LENGTH]] LIMIT from [{ip}]:{port} after {stage}
    COMMAND PIPELINING from [{ip}]:{port} after {stage}: {text}
    NON-SMTP COMMAND from [{ip}]:{port} after {stage}: {text}
    BARE NEWLINE from [{ip}]:{port} after {stage}
    [[WHITELISTED|BLACKLISTED|ALLOWLISTED|DENYLISTED]] [{ip}]:{port}
    [[WHITELIST|ALLOWLIST]] VETO [{ip}]:{port}
    statistics: max connection [[count|rate]] {number}[[/60s|/30s|/1s|/3600s|]] for ({service}:{ip}) at {time}
    statistics: max [[message|recipient|newtls|auth]] rate {number}/60s for ({service}:{ip}) at {time}
    statistics: max cache size {number} at {time}
    statistics: start interval {time}
    statistics: [[domain|address]] lookup hits={number} miss={number} success={number}%
    statistics: max simultaneous domains={number} addresses={number} connection={number}
    cache btree:/var/lib/postfix/[[postscreen|verify]]_cache full cleanup: retained={number} dropped={number} entries
    starting the Postfix mail system
    stopping the Postfix mail system
    refreshing the Postfix mail system
    waiting for the Postfix mail system to terminate
    the Postfix mail system is running: PID: {number}
    the Postfix mail system is not running
    daemon started -- version {version}, configuration /etc/postfix
    reload -- version {version}, configuration /etc/postfix
    reload configuration /etc/postfix
    terminating on signal {number}
    Placed on hold: {number} [[message|messages]]
    Released from hold: {number} [[message|messages]]
    Requeued: {number} [[message|messages]]
    Deleted: {number} [[message|messages]]
    Expired: {number} [[message|messages]]
    Force-expired: {number} [[message|messages]]
    TLSRPT: status={text}
    warning: {peer}: SASL {sasl} authentication failed: {said}
    warning: {peer}: SASL {sasl} authentication failed: {said}, sasl_username={rest}
    warning: {peer}: SASL {sasl} authentication failed: {text}
    warning: {peer}: SASL {sasl} authentication aborted
    warning: SASL authentication failure: Password verification failed
    warning: SASL authentication failure: [[no user in db|no secret in database]]
    warning: SASL authentication failure: cannot connect to saslauthd server: {error}
    warning: hostname {host} does not resolve to address {ip}
    warning: hostname {host} does not resolve to address {ip}: {dns}
    warning: {ip}: hostname {host} verification failed: {dns}
    warning: {ip}: address not listed for hostname {host}
    warning: numeric domain name in resource data of MX record for {host}: {ip}
    warning: malformed domain name in resource data of MX record for {host}: {host}
    warning: no MX host for {host} has a valid address record
    warning: non-SMTP command from {peer}: {text}
    warning: Connection [[rate|concurrency]] limit exceeded: {number} from {peer} for service {service}
    warning: Message delivery request rate limit exceeded: {number} from {peer} for service {service}
    warning: Recipient address rate limit exceeded: {number} from {peer} for service {service}
    warning: [[New TLS session|AUTH]] rate limit exceeded: {number} from {peer} for service {service}
    warning: dnsblog reply timeout {number}s for {host}
    warning: {host}: RBL lookup error: {nameserver}
    warning: do not list domain {host} in BOTH mydestination and virtual_mailbox_domains
    warning: do not list domain {host} in BOTH mydestination and virtual_alias_domains
    warning: valid_hostname: empty hostname
    warning: host {peer} greeted me with my own hostname {host}
    warning: host {peer} replied to HELO/EHLO with my own hostname {host}
    warning: mailer loop: best MX host for {host} is local
    warning: ciphertext read/write timeout for [{ip}]:{port}
    warning: TLS library problem: {text}
    fatal: watchdog timeout
    """
)

# What stands behind "QID: ", beyond what gives facts [src/smtp/smtp_proto.c, src/smtpd/smtpd.c, src/postsuper].
PRESENT = Forms(
    """
    lost connection after {stage}{bytes} from {peer}
    timeout after {stage}{bytes} from {peer}
    too many errors after {stage}{bytes} from {peer}
    lost connection with {peer} while {phase}
    conversation with {peer} timed out while {phase}
    enabling PIX workarounds: disable_esmtp delay_dotcrlf for {peer}
    enabling PIX <CRLF>.<CRLF> workaround for {peer}
    Cannot start TLS: handshake failure
    SASL authentication failed; cannot authenticate to server {peer}: no mechanism available
    SASL authentication failed; server {peer} said: {text}
    skipped, still being delivered
    placed on hold
    released from hold
    expired
    """
)

# What stands in the parentheses of a delivery line that no peer said [src/local, src/virtual, src/pipe, src/smtp].
SAID = Forms(
    """
    delivered to [[maildir|mailbox|command|file]]
    delivered to command: {text}
    delivered via {service} service
    connect to {peer}: {error}
    delivery temporarily suspended: connect to {peer}: {error}
    delivery temporarily suspended: lost connection with {peer} while {phase}
    delivery temporarily suspended: conversation with {peer} timed out while {phase}
    {nameserver}
    unable to look up host {host}: {dns}
    lost connection with {peer} while {phase}
    conversation with {peer} timed out while {phase}
    mail for {host} loops back to myself
    unknown user: "{person}"
    User unknown in virtual alias table
    bounce or trace service failure
    mail forwarding loop for {person}
    mail transport unavailable
    """
)

# The text of a refusal [src/smtpd/smtpd_check.c, src/postscreen]; see told_wording().
REFUSED = Forms(
    """
    Relay access denied
    Access denied
    User unknown
    User unknown in [[local recipient|virtual alias|virtual mailbox|relay recipient]] table
    Domain not found
    Host not found
    need fully-qualified [[hostname|address|domain]]
    Malformed DNS server reply
    invalid ip address
    Invalid name
    Temporary lookup failure
    Greylisted
    Mailbox full
    Sorry, mailbox is full
    Multi-recipient bounce
    Improper use of SMTP command pipelining
    cannot find your [[hostname|reverse hostname]], [{ip}]
    Service [[unavailable|currently unavailable]]
    Service [[unavailable|denied]]; client [{ip}] blocked using {host}
    Service [[unavailable|denied]]; Client host [{ip}] blocked using {host}
    too many connections
    all [[server|screening]] ports busy
    Message size exceeds fixed limit
    Insufficient system storage
    Server configuration [[error|problem]]
    Protocol error
    triggers [[HOLD|DISCARD]] action
    """
)

# What stands before the text of a refusal [smtpd_check.c, reply_class of check_table_result() and others].
REJECTED = frozenset(
    word + b" rejected: "
    for word in (
        b"Recipient address", b"Sender address", b"Helo command", b"Client host", b"Unverified Client host",
        b"Data command", b"Etrn command", b"End-of-data", b"Sasl login name",
    )
)  # fmt: skip
