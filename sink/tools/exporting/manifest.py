"""What a data set says of itself, in the spirit of RFC 6235: of each column the treatment, and what was suppressed."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from sink import __version__
from sink.tools.exporting.dataset import Names, Table, Written
from sink.tools.exporting.treatments import left_out

FORMAT = "postsink export 1"
RULE = (
    "each row is alike with k - 1 others, of k senders to k recipients, in all known columns. Where fewer were alike,"
    " values gave way: they are NULL. Rows that were alone even so are suppressed"
)
STABILITY = {
    "always": "equal in all data sets",
    "epoch of this release": "within one epoch of this release; unlike in any other epoch, release or recipient's copy",
}


def written(
    options: Mapping[str, Any], asked: Collection[str], tables: Mapping[str, tuple[Table, Written, str, str]],
    names: Names,
) -> str:  # fmt: skip
    """Return the manifest; of each table what it was made of, what became of it, its file's name and SHA-256."""
    epochs = sorted({epoch for _, done, _, _ in tables.values() for epoch in done.epochs})
    told = {
        "format": FORMAT,
        "program": f"postsink {__version__}",
        **options,
        "anonymity": RULE,
        "stability": STABILITY,
        "epochs": {
            epoch: "tokens under a key of the sender's"
            if names.come_from_a_key(epoch) else "tokens by chance: the key is destroyed"
            for epoch in epochs
        },
        "files": {name: _file(table, done, digest, asked) for table, done, name, digest in tables.values()},
    }  # fmt: skip
    return json.dumps(told, indent=1) + "\n"


def _file(table: Table, done: Written, digest: str, asked: Collection[str]) -> dict[str, Any]:
    return {
        "sha256": digest,
        "rows": done.rows,
        "suppressed": {"too few rows alike": done.suppressed},
        "smallest_class": done.smallest,
        "rows_by_epoch": dict(sorted(done.epochs.items())),
        "columns": {
            name: {
                "type": one.kind,
                "treatment": one.how,
                "stability": one.stable,
                "known": one.known,
                "gave_way": done.given_way.get(name, 0),
            }
            for name, one in table.columns.items()
        },
        "left_out": left_out(table.name, asked),
    }
