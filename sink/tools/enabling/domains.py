"""Asks Postfix which domains end here, for `local_domains`.

Only names of domains are taken out of its tables: a line with an address is read and dropped.
"""

import re
from pathlib import Path
from typing import Final

from sink.core.addresses import NormalForm, normal
from sink.tools.enabling.change import content
from sink.tools.enabling.machine import Machine

# postconf(5). Mail of relay_domains goes on to another host, so it does not end here.
PARAMETERS: Final = ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains")
_LISTED: Final = ("hash", "btree", "lmdb", "cdb", "dbm", "sdbm")  # tables whose keys postmap -s shows
_TEXT: Final = "texthash"
# In A-labels or before. A name without a dot is none that other hosts can write to; localhost is kept.
_NAME: Final = re.compile(r"localhost|[\w-]+(?:\.[\w-]+)+\.?")
_WORD: Final = re.compile(r"(?:\{[^}]*\}|[^\s,{])+")


def local(machine: Machine, folder: Path) -> tuple[list[str], list[str]]:
    """Return the domains in order, and the names of parameters that can't be listed, as those of a database can't."""
    found: set[str] = set()
    unknown = []
    for parameter in PARAMETERS:
        value = machine.run("postconf", "-c", str(folder), "-xh", parameter).output.strip()
        whole = True
        for word in _WORD.findall(value):
            names = _names(machine, folder, word)
            whole = whole and names is not None
            found.update(name for name in names or () if name)
        if not whole:
            unknown.append(parameter)
    return sorted(found), unknown


def _names(machine: Machine, folder: Path, word: str) -> list[str] | None:
    """Return the domains that one word of a parameter stands for; None where it can't be listed."""
    word = word.removeprefix("proxy:")
    kind, colon, place = word.partition(":")
    if word.startswith("/"):
        kind, colon, place = "lines", ":", word
    if not colon:
        return [] if word.startswith("!") else [_name(word)]
    if kind in _LISTED:
        said = machine.run("postmap", "-c", str(folder), "-s", word)
        return None if said.status else [_name(line.partition("\t")[0]) for line in said.output.split("\n")]
    if kind in (_TEXT, "lines"):
        data = content(Path(place))
        if data is None:
            return None
        lines = data.decode(errors="replace").split("\n")
        return [_name(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]
    return None


def _name(word: str) -> str:
    """Return a domain in its normal form, or nothing for what is no domain, such as an address."""
    if not _NAME.fullmatch(word):
        return ""
    _, domain = normal(b"x@" + word.encode(), NormalForm())
    return (domain or b"").decode()
