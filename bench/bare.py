"""Reads a log on stdin through the pipeline, as many open messages as there may be, without store or with a daemon's.

    python -m bench.bare < mail.log
    python -m bench.bare journal.sqlite < mail.log
"""

import gc
import os
import sys
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

from bench import generate
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.service.live import STREAM
from sink.sources.framer import Framer
from sink.stores.sqlite import SqliteStore

CHUNK = 1 << 16  # bytes, as an archive reads them


def pipeline(journal: bool) -> Pipeline:
    """As an operator of the generated hosts has it, but that no message is forgotten because there are too many."""
    rules = Rules(
        local_domains=frozenset({b"example.com"}), trusted_networks=(ip_network("192.0.2.0/28"),),
        header_tokens=(generate.TOKEN,),
    )  # fmt: skip
    return Pipeline(
        replace(rules, most_messages=1 << 40), [Epoch(1, None, None, bytes(32))], bytes(32), Reader(), journal
    )


def main(path: str | None) -> None:
    """Feed all lines; with a path, commit rows and open messages after each chunk, as the daemon does."""
    gc.disable()  # as import and daemon
    framer, pipe = Framer(), pipeline(path is not None)
    store = None if path is None else SqliteStore.create(Path(path))
    while data := os.read(0, CHUNK):
        batch = pipe.feed(framer.lines(data))
        if store is not None:
            store.commit(batch, STREAM)
    if store is not None:
        store.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
