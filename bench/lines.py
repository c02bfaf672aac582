"""The longer lines of a generated log, each after the Postfix source that prints it."""

CIPHER = b"TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)"
REFUSALS = (
    b"550 5.1.1 <%b>: Recipient address rejected: User unknown in virtual mailbox table",
    b"554 5.7.1 <%b>: Relay access denied",
    b"450 4.2.0 <%b>: Recipient address rejected: Greylisted, see http://example.org/greylisting",
    b"552 5.2.2 <%b>: Recipient address rejected: Sorry, mailbox is full",
)

VERP = b"%b-bounces+%b=%b@lists.example.org"
LIST = b"%b-bounces@lists.example.org"

# log_adhoc() in global/log_adhoc.c: host, pid, queue id, recipient, ...
SENT_BY_LMTP = (
    b"%b postfix/lmtp[%d]: %b: to=<%b>, relay=mx1.example.com[private/dovecot-lmtp], delay=%b, "
    b"delays=0.02/0.01/0.01/0.05, dsn=2.0.0, status=sent (250 2.0.0 <%b> %x Saved)\n"
)
SENT_BY_SMTP = (
    b"%b postfix/smtp[%d]: %b: to=<%b>, relay=%b:25, %bdelay=%b, delays=0.03/0.01/0.2/0.1, dsn=2.0.0, "
    b"status=sent (250 2.0.0 %b)\n"
)
BOUNCED = (
    b"%b postfix/smtp[%d]: %b: to=<%b>, relay=%b:25, delay=0.9, delays=0.03/0.01/0.5/0.3, dsn=5.1.1, "
    b"status=bounced (host %b said: 550 5.1.1 <%b>: Recipient address rejected: User unknown in virtual "
    b"mailbox table (in reply to RCPT TO command))\n"
)
TRY_LATER = (
    b"host %b said: 450 4.2.0 <%b>: Recipient address rejected: try again later (in reply to RCPT TO command)"
)
NO_SUCH_HOST = (
    b"relay=none, %b(Host or domain name not found. Name service error for name=%b type=MX: Host not found, "
    b"try again)"
)
# cleanup_act_log() in cleanup/cleanup_message.c, with header_checks of ours
HEADER = b"%binfo: header %b %b: #%b %b #%b\n"
# smtpd_proto() in smtpd/smtpd.c
DISCONNECTED = b"%b postfix/%b[%d]: disconnect from %b ehlo=1 mail=1 rcpt=%d data=1 quit=1 commands=%d\n"
TLS = b"%b postfix/%b[%d]: Anonymous TLS connection established from %b: %b\n"
# dnsblog_query() in dnsblog/dnsblog.c
LISTED = b"mx1 postfix/dnsblog[%d]: addr %b listed by domain list%d.example.org as 127.0.0.%d\n"
# psc_smtpd_time_event() and psc_rcpt_cmd() in postscreen/postscreen_smtpd.c
BLOCKED = (
    b"%bNOQUEUE: reject: RCPT from %b: 550 5.7.1 Service unavailable; client [%b] blocked using "
    b"list0.example.org; from=<%b>, to=<%b>, proto=ESMTP, helo=<ylmf-pc>\n"
)
