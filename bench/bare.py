"""Reads a log on stdin through the pipeline, as many open messages as there may be, without store or with a daemon's.

    python -m bench.bare < mail.log
    python -m bench.bare journal.sqlite < mail.log
"""

import gc
import os
import sys
from pathlib import Path

from bench import cost
from sink.core.pipeline import Pipeline
from sink.service.live import STREAM
from sink.sources.framer import Framer
from sink.stores.sqlite import SqliteStore

CHUNK = 1 << 16  # bytes, as an archive reads them


def pipeline(journal: bool) -> Pipeline:
    """As an operator of the generated hosts has it, but that no message is forgotten because there are too many."""
    return cost.pipeline(journal, most_messages=1 << 40)


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
