"""Which hosts logged the Postfix lines of an archive: a quick look through all of it, before it is imported in earnest.

Law: no host is missed whose lines a Pipeline would take, for by the hosts it is told which files belong together. One
too many only makes fewer files independent. Lines of the usual forms are looked at by one expression at C speed, all
others by the Reader.
"""

import re
from collections.abc import Sequence
from typing import Final

from sink.core.syslog import Reader
from sink.core.tags import DAEMONS
from sink.sources.archive import Archive

# A time that ends where the Reader ends it, so that the next word is the host for it, too; RFC 5424 has the same order.
_STAMP: Final = (
    rb"(?>(?:<\d{1,3}>(?:1 )?)?)"
    rb"(?:\d{4}-\d\d-\d\dT[\d:]{8}(?>(?:[.,]\d{1,9}+)?)(?>(?:Z|[+-]\d\d:?\d\d)?)"
    rb"|[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d) "
)
# What read_tag() takes for Postfix's: a tag that begins with its name, or one that ends in a daemon's.
_TAG: Final = rb"(?:postfix|[^ \[\n]*/(?:%b)[:\[ ])" % b"|".join(sorted(name.encode() for name in DAEMONS))
# The host of each line of such a form; empty where another program logged. A line of another form is not found.
_HOSTS: Final = re.compile(rb"\n" + _STAMP + rb"(?=[^ \n])((?>(?:[^ \n]++(?= " + _TAG + rb"))?))")
_OTHERS: Final = re.compile(rb"\n(?!" + _STAMP + rb"[^ \n])([^\n]*+)")


def hosts_of(archive: Archive) -> set[bytes]:
    """Return the names of the hosts in whose name Postfix logged; the archive is dated, and can be read again."""
    found: set[bytes] = set()
    reader = archive.reader()
    for lines in archive.lines(again=True):
        found |= hosts_in(lines, reader)
    return found


def hosts_in(lines: Sequence[bytes], reader: Reader) -> set[bytes]:
    """Return the names of the hosts in whose name Postfix logged some lines."""
    block = b"\n" + b"\n".join(lines)
    names: list[bytes] = _HOSTS.findall(block)
    found = set(names) - {b""}
    if len(names) != len(lines):
        for record in reader.records(_OTHERS.findall(block)):
            if record is not None and record[3][0].postfix:
                found.add(record[2])  # it may be empty
    return found
