"""Reads a log through the pipeline, and keeps nothing: what an import costs beside its store.

    python -m bench.pipeline mail.log
"""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.cost import pipeline
from sink.sources.framer import Framer

CHUNK = 1 << 16  # bytes, as an archive reads them


def chunks(path: Path) -> Iterator[list[bytes]]:
    """The lines of a file as an import gets them."""
    framer = Framer()
    with path.open("rb") as log:
        while data := log.read(CHUNK):
            yield framer.lines(data)


def fed(path: Path) -> int:
    """Feed all lines, and let all rows leave; return how many they are."""
    pipe, rows = pipeline(), 0
    for lines in chunks(path):
        batch = pipe.feed(lines)
        rows += len(batch.rows) + len(batch.rejects)
    batch = pipe.flush()
    return rows + len(batch.rows) + len(batch.rejects)


if __name__ == "__main__":
    gc.disable()  # as an import
    print(fed(Path(sys.argv[1])))
