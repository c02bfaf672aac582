"""Dovecot's log-in and lmtp lines, as `scrub` tells them again: templates (see sink.core.wordings).

[dovecot 2.2 to 2.4: src/login-common/client-common.c client_get_log_str(), src/lmtp, src/lib-lda/mail-deliver.c,
src/imap/imap-client.c]. A session's id holds the client's address and port in base64, so it is masked, too. Of folders
only those come out that everybody has.
"""

from sink.core.forms import Forms

_REST = (
    "user=<{user}>[[, method={sasl}|]][[, rip={ip}|]][[, lip={ip}|]][[, mpid={number}|]]{tls}"
    "[[, session=<{session}>|]]"
)
_OF = "({user})[[<{number}><{session}>|]]: "

told = Forms(
    f"""
    {{login}}-login: Login: {_REST}
    {{login}}-login: {{ended}}{{attempts}}: {_REST}
    [[imap|pop3]]{_OF}{{closed}}{{traffic}}
    lmtp({{number}}): Connect from [[local|{{ip}}]]
    lmtp({{number}}): Disconnect from [[local|{{ip}}]]: {{quit}}[[ (state=READY)|]]
    [[lmtp|lda]]{_OF}[[sieve: |]]msgid={{msgid}}: saved mail to {{folder}}
    [[lmtp|lda]]{_OF}[[sieve: |]]msgid={{msgid}}: stored mail into mailbox '{{folder}}'
    [[lmtp|lda]]{_OF}[[sieve: |]]msgid={{msgid}}: save failed to {{folder}}: {{full}}
    [[lmtp|lda]]{_OF}[[sieve: |]]msgid={{msgid}}: rejected: {{full}}
    [[lmtp|lda]]{_OF}[[sieve: |]]msgid={{msgid}}: forwarded to <{{address}}>
    lmtp({{number}}, {{user}}): {{session}}: msgid={{msgid}}: saved mail to {{folder}}
    lmtp({{number}}, {{user}}): {{session}}: sieve: msgid={{msgid}}: stored mail into mailbox '{{folder}}'
    [[lmtp|lda]]{_OF}{{text}}
    auth: [[passwd-file|passwd|pam|sql|ldap]]({{user}},{{ip}}[[,<{{session}}>|]]): {{failed}}
    auth-worker({{number}}): [[passwd-file|passwd|pam|sql|ldap]]({{user}},{{ip}}[[,<{{session}}>|]]): {{failed}}
    """
).told
