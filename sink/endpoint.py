"""Where metrics may be scraped: a Unix socket, or a port that this host alone can reach."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from sink.yamlfile import Value

_PORT: Final = re.compile(r"([0-9.]{7,15}|\[[0-9A-Fa-f:]{2,39}\]):([1-9][0-9]{0,4})")
UNIX: Final = "unix:"
LIKE: Final = "must be like unix:/run/postsink/metrics.sock or 127.0.0.1:9154; other hosts may not reach it"


class Endpoint(NamedTuple):
    """A Unix socket's path, or a loopback address and a port."""

    path: Path | None
    address: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"{UNIX}{self.path}" if self.path else f"{self.address}:{self.port}"


def endpoint(value: Value) -> Endpoint | None:
    """Read one; None where it is empty. A name is refused: what it means is another's to say."""
    if value.is_null():
        return None
    text = value.text()
    if text.startswith(UNIX) and len(text) > len(UNIX):
        return Endpoint(value.path.parent.absolute() / text.removeprefix(UNIX))
    found = _PORT.fullmatch(text)
    try:
        address = ip_address(found[1].strip("[]")) if found else None
    except ValueError:
        address = None
    if found is None or address is None or not address.is_loopback or int(found[2]) >= 1 << 16:
        raise value.fault(LIKE)
    return Endpoint(None, str(address), int(found[2]))
