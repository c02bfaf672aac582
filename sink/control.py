"""Where a store's daemon can be asked, and how: the commands' end of the control socket.

One JSON object a line in, one a line out. The daemon's end is sink.service.control.
"""

import json
import socket
from pathlib import Path

from sink.fault import NOPERM, UNAVAILABLE, Fault

PATIENCE = 5.0  # seconds for a question, and for an answer


def place(store: Path) -> Path:
    """Return where the control socket of a store's daemon is."""
    return store.with_name(store.name + ".control")


def ask(store: Path, question: str) -> dict[str, object]:
    """Ask the daemon of a store; raises Fault 69 where none answers, 77 where only others may ask."""
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(PATIENCE)
            one.connect(str(place(store)))
            one.sendall(json.dumps({"ask": question}).encode() + b"\n")
            with one.makefile("rb") as file:
                found = json.loads(file.readline())
    except PermissionError:
        raise Fault(NOPERM, "only root, and who runs the daemon, may ask it; run this as one of them") from None
    except (OSError, ValueError):
        raise Fault(UNAVAILABLE, "no daemon answers; start it: systemctl start postsink, or postsink run") from None
    assert isinstance(found, dict)
    return found
