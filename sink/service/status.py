"""`postsink status`: asks the daemon what it has done."""

import json

from sink.config import Config
from sink.control import ask
from sink.fault import FINDINGS, OK


def run(config: Config, *, as_json: bool) -> int:
    """Print the daemon's counts; 1 where its store can't take more, 69 where none answers."""
    found = ask(config.store, "status")
    stuck = bool(found.pop("stuck", False))
    found.pop("ok", None)
    if as_json:
        print(json.dumps({**found, "stuck": stuck}))
    else:
        for name, value in found.items():
            print(f"{name.replace('_', ' ')}: {value}")
        if stuck:
            print("the store can't take more; nothing is read until it can")
    return FINDINGS if stuck else OK
