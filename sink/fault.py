"""A command's end that the operator or the world caused, and the exit statuses of sysexits.h.

A `Fault` is shown as it stands, without a traceback, so its message obeys two rules: it is one line that
ends in what to do, and it holds no text of a log. A mistake of our own is no Fault: it crashes.
"""

from typing import Final

# The numbers of sysexits.h (BSD), which systemd, rsyslog and Postfix's pipe(8) know too; 1 is ours.
OK: Final = 0
FINDINGS: Final = 1
USAGE: Final = 64
DATA: Final = 65
NOINPUT: Final = 66
UNAVAILABLE: Final = 69
CANTCREATE: Final = 73
TEMPFAIL: Final = 75
NOPERM: Final = 77
CONFIG: Final = 78


class Fault(Exception):
    """Ends the command with `status`; `message` is the one line on stderr.

    Raise it `from None` inside an except block: the chained exception may quote what it choked on.
    A file name may hold a newline or bytes that are no text: what does not print is shown as `?`.
    """

    def __init__(self, status: int, message: str) -> None:
        message = "".join(char if char.isprintable() else "?" for char in message)
        super().__init__(status, message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return self.message
