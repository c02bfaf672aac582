"""Reads a log through the pipeline, and keeps nothing: what an import costs beside its store.

    python -m bench.pipeline mail.log
"""

import gc
import sys

from bench.cost import pipeline
from sink.sources.framer import Framer

CHUNK = 1 << 16  # bytes, as an archive reads them


def main(path: str) -> None:
    """Feed all lines, and let all rows leave."""
    gc.disable()  # as an import
    framer, pipe, rows = Framer(), pipeline(), 0
    with open(path, "rb") as log:
        while data := log.read(CHUNK):
            batch = pipe.feed(framer.lines(data))
            rows += len(batch.rows) + len(batch.rejects)
    batch = pipe.flush()
    print(rows + len(batch.rows) + len(batch.rejects))


if __name__ == "__main__":
    main(sys.argv[1])
