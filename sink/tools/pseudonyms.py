"""`postsink pseudonym`: addresses on stdin, a line each, to pseudonyms of the active epoch on stdout."""

import sys

from sink.config import Config
from sink.core.addressbook import AddressBook
from sink.core.pseudonym import Pseudonyms
from sink.core.rows import shown
from sink.fault import NOINPUT, NOPERM, OK, Fault
from sink.installation import open_keyring, rules


def run(config: Config) -> int:
    """Answer each line with a line; an empty one, and the null sender, with an empty one."""
    secret = open_keyring(config).active.secret
    if secret is None:
        raise Fault(NOPERM, "the active epoch has no key; restore the keyring from its backup")
    if sys.stdin is None:
        raise Fault(NOINPUT, "standard input is closed; hand addresses over by a pipe, a line each")
    if sys.stdin.isatty():
        print("postsink: type addresses, a line each; Ctrl-D ends them", file=sys.stderr)
    book = AddressBook(Pseudonyms(secret), rules(config, config.timezone or "UTC"))
    for line in sys.stdin.buffer:
        print(shown(book.party(line.strip())[0]))
    return OK
