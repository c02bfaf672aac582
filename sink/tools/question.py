"""Asks before something is done that can't be undone."""

import sys

from sink.fault import TEMPFAIL, USAGE, Fault


def confirm(what: str, *, sure: bool, command: str) -> None:
    """Return when somebody at the terminal, or --yes, agrees. Faults: 64 nobody is there to ask, 75 the answer is no.

    what: begins with the verb, such as "delete 3 rows"; command: whose --yes it is.
    """
    if sure:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise Fault(USAGE, f"{command} asks before it will {what}; nobody is there to ask, so say --yes")
    print(f"{what}? (yes/no) ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != "yes":
        raise Fault(TEMPFAIL, "nothing was done; answer yes to do it")
