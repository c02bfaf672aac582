"""What must be in the store after lines were sent: the rows of an import, and what an independent counter counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.integration.asking import rows
from tests.judges import counter
from tests.judges.program import Program, Row, second


def same_rows(program: Program, other: Program) -> None:
    """Both stores hold the same rows, in all columns."""
    mine, wanted = rows(program), rows(other)
    missing = {row["id"] for row in wanted} - {row["id"] for row in mine}
    more = {row["id"] for row in mine} - {row["id"] for row in wanted}
    assert (len(missing), len(more)) == (0, 0), f"{len(missing)} rows are missing, {len(more)} are too many"
    assert len(mine) == len(wanted), "a row is there twice"
    differ = [(a, b) for a, b in zip(mine, wanted, strict=True) if a != b]
    assert not differ, f"{len(differ)} rows differ, the first in {_columns(*differ[0])}"


def _columns(one: Row, other: Row) -> dict[str, tuple[object, object]]:
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def counted(program: Program, lines: Sequence[bytes], folder: Path) -> None:
    """The deliveries and refusals are those that the counter finds in the text."""
    path = folder / "sent.log"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    entries = list(counter.entries(path))
    logged = counter.deliveries(entries)
    address = program.addresses(one.to for one in logged if one.to)
    wanted = Counter(
        (one.entry.host, one.entry.second, one.entry.agent, one.status, one.dsn, address[one.to] if one.to else None)
        for one in logged
    )
    found = Counter(
        (row["host"], second(row["logged_at"]), row["agent"], row["status"], row["dsn"], row["recipient"])
        for row in program.rows()
    )
    assert found == wanted
    # Refusals by a DNS list are not kept by default.
    refused = [one for one in counter.refusals(entries) if "blocked using" not in one.entry.text]
    assert len(program.rows("reject_text")) == len(refused)
