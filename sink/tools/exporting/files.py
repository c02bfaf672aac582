"""Writes and reads back the files of a data set: CSV, or Parquet by pyarrow, which only that loads.

In CSV a value that is not there is an empty field; the null sender is `<>` in both.
"""

import csv
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sink.fault import CANTCREATE, TEMPFAIL, UNAVAILABLE, Fault
from sink.tools.exporting.treatments import Treatment

FORMATS = ("csv", "parquet")
AT_ONCE = 20_000  # rows of a row group
Row = Sequence[Any]
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)

def ready(form: str) -> None:
    """Load what a form needs, and say early where it is missing. Fault 69."""
    if form == "parquet":
        _pyarrow()

def write(path: Path, form: str, columns: Mapping[str, Treatment], rows: Iterator[Row]) -> None:
    """Make a file of rows, and have it on the disk."""
    {"csv": _write_csv, "parquet": _write_parquet}[form](path, columns, rows)
    with open(path, "rb+") as file:
        os.fsync(file.fileno())

def write_text(path: Path, text: str) -> None:
    """Make a file of words, and have it on the disk."""
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, form: str) -> Iterator[dict[str, str]]:
    """Yield a file's rows, each value as CSV has it."""
    yield from {"csv": _read_csv, "parquet": _read_parquet}[form](path)

def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Fault(TEMPFAIL, f"the disk of {folder} is full or failing; free some space and start again") from None
        reason = os.strerror(error.errno or 0)
        raise Fault(CANTCREATE, f"{folder} can't be written ({reason}); name another folder by --output") from None

def _write_csv(path: Path, columns: Mapping[str, Treatment], rows: Iterable[Row]) -> None:
    with open(path, "x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)

def _read_csv(path: Path) -> Iterator[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)

def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        words = "--format parquet needs pyarrow; type: pip install 'postsink[parquet]', or take --format csv"
        raise Fault(UNAVAILABLE, words) from None
    return pyarrow

def _write_parquet(path: Path, columns: Mapping[str, Treatment], rows: Iterator[Row]) -> None:
    arrow = _pyarrow()
    types = {
        "text": arrow.string(), "integer": arrow.int64(), "number": arrow.float64(),
        "time": arrow.timestamp("ms", tz="UTC"),
    }  # fmt: skip
    schema = arrow.schema([(name, types[one.kind]) for name, one in columns.items()])
    made = [datetime.fromisoformat if one.kind == "time" else _as_is for one in columns.values()]
    with open(path, "xb") as file, arrow.parquet.ParquetWriter(file, schema) as writer:
        while page := list(islice(rows, AT_ONCE)):
            values = [
                arrow.array([None if value is None else make(value) for value in column], field.type)
                for make, column, field in zip(made, zip(*page, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(values, schema=schema))

def _as_is(value: Any) -> Any:
    return value

def _read_parquet(path: Path) -> Iterator[dict[str, str]]:
    with open(path, "rb") as file:
        for some in _pyarrow().parquet.ParquetFile(file).iter_batches(AT_ONCE):
            for row in some.to_pylist():
                yield {name: _text(value) for name, value in row.items()}

def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return "" if value is None else str(value)
