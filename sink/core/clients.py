"""Which lines say that a client was turned away, and such a line with the client's IP address; for `clear_ips`.

Postfix's own words alone count, and where Postfix itself writes the address: behind the tag of smtpd or postscreen,
before anything that a client can choose. The scrubbed line must say the same at the same place; it is what comes out,
with the address as it is in the place of its pseudonym. A line that is not of this form never comes out.
"""

import re
from ipaddress import ip_address

_NAME = rb"[^\[\] ]{0,255}"
# [src/smtpd/smtpd_sasl_glue.c, smtpd_check.c log_whatsup(), smtpd.c, src/postscreen/postscreen_smtpd.c, _early.c]
_TURNED_AWAY = re.compile(
    rb"(?:<\d{1,3}>)?[^\[\]]{1,300}?(?:smtpd|postscreen)\[\d{1,10}\]: (?:"
    rb"warning: " + _NAME + rb"(?=\[[^\]]*\](?::\d{1,5})?: SASL [A-Z0-9-]{1,20} authentication (?:failed|aborted))"
    rb"|(?:NOQUEUE|[0-9A-Za-z]{5,20}): (?:milter-|proxy-)?reject: [A-Z][A-Z-]{1,19} from " + _NAME +
    rb"|(?:too many errors|improper command pipelining|lost connection(?= after AUTH )) after [A-Z-]{1,20}"
    rb"(?: \([^()]{1,60}\))? from " + _NAME +
    rb"|disconnect from " + _NAME + rb"(?=\[[^\]]*\](?::\d{1,5})?(?: [a-z_]{1,20}=[\d/]{1,20}){0,20} auth=0/[1-9])"
    rb"|PREGREET \d{1,5} after [\d.]{1,20} from "
    rb"|COMMAND (?:TIME|COUNT|LENGTH) LIMIT from "
    rb")\[([0-9A-Fa-f.:]{2,45})\]"
)  # fmt: skip


def turned_away(line: bytes) -> bytes | None:
    """Return the address of the client that a raw line says was turned away; None of any other line."""
    found = _TURNED_AWAY.match(line)
    return None if found is None else found[1]


def with_address(scrubbed: bytes, address: bytes) -> bytes | None:
    """Return a scrubbed line with a client's address wherever its pseudonym stands; None where that is not there."""
    found = _TURNED_AWAY.match(scrubbed)
    if found is None:
        return None
    try:
        shown = str(ip_address(address.decode("ascii"))).encode("ascii")
    except ValueError:
        return None
    return scrubbed.replace(b"[%b]" % found[1], b"[%b]" % shown)
