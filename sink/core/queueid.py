"""Queue ids by form [Postfix src/global/mail_queue.h].

Short ids are hexadecimal (time of day and inode) and come back; long ids are base 52 and hold their birth. Ids are
matched strictly by place and loosely by form (5 to 20 letters and digits), since archives mask them.
"""

import re

LEAST, MOST = 5, 20  # bytes of an id: MQID_SH and MQID_LG forms, and what archives make of them
NOT_IDS = frozenset(  # words that stand before ": " at the same place
    b"""warning fatal panic error NOQUEUE statistics reject client connect Deleted Requeued Released connection
    starting stopping refreshing discarding""".split()
)
SAFE = b"0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz"  # safe_ultostr's digits, base 52
_DIGIT = {digit: value for value, digit in enumerate(SAFE)}
_LONG = re.compile(rb"[^ ]*+ (?:[^ ]*+ )??([0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}z[0-9A-Za-z]+): ")
LONG = re.compile(rb"[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}z[0-9A-Za-z]+").fullmatch
A_MONTH = 30 * 86_400
EARLIEST, LATEST = 1_293_840_000, 4_102_444_800  # 2011 (Postfix 2.9 brought long ids) to 2100


def is_queue_id(text: bytes) -> bool:
    """Tell whether text has the form of a queue id."""
    return LEAST <= len(text) <= MOST and text.isalnum() and text not in NOT_IDS


def birth(queue_id: bytes) -> int | None:
    """Return the UTC second in which a long queue id was made; None for any other text."""
    if len(queue_id) < 12 or b"z" not in queue_id[10:]:  # 6 digits, 4 of microseconds, z, inode
        return None
    second = 0
    for digit in queue_id[:6]:
        value = _DIGIT.get(digit)
        if value is None:
            return None
        second = second * 52 + value
    return second if EARLIEST <= second <= LATEST else None


def second_of(rest: bytes) -> int | None:
    """Return the birth of the long queue id in b"host tag[pid]: ID: ...", None where there is none."""
    parts = rest.split(b" ", 3)
    if len(parts) < 3 or not parts[2].endswith(b":"):  # host, tag, queue id
        return None
    return birth(parts[2][:-1])


def coarse(second: int | None) -> bytes:
    """Return the six digits of a long queue id that say no more than the month of its birth.

    A log without years is dated by them (law 6). Its lines say the time to the second, so nothing is told. None: no
    time there is.
    """
    number = 52**6 - 1 if second is None else second // A_MONTH * A_MONTH
    digits = b""
    for _ in range(6):
        number, digit = divmod(number, 52)
        digits = SAFE[digit : digit + 1] + digits
    return digits
