"""Six thousand lines of heavy mixed traffic: no delivery line is lost, and none is counted twice.

The same log, however it comes (format, compression, pieces, order of files, twice), gives the same rows.
"""

import bz2
import gzip
import json
import lzma
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench import generate
from tests.judges import counter
from tests.judges.program import MIXED, SAMPLES, Program, as_set, dated, differences, second

FORMATS = ("iso8601", "traditional")

Sample = Callable[[str], Path]
Make = Callable[[], Program]


Reference = Callable[[str], Program]


def same_rows(one: Program, other: Program) -> None:
    """Every view of two stores is the same, times to the microsecond."""
    assert differences(one.rows(), other.rows()) == {}
    for view in ("delivery_text", "delivery_final", "reject_text"):
        assert as_set(one.rows(view), dict) == as_set(other.rows(view), dict), view


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_rows_are_the_distinct_delivery_lines(keyed: Make, sample: Sample, name: str, form: str) -> None:
    """Counted by a reader that shares nothing with the program; the summary says the same."""
    log = sample(name.format(form))
    program = keyed()
    summary = program.import_files(log)
    logged = counter.deliveries(counter.entries(log))
    rows = program.rows()
    assert Counter(row["status"] for row in rows) == Counter(one.status for one in logged)
    assert Counter((row["host"], second(row["logged_at"]), row["agent"]) for row in rows) == Counter(
        (one.entry.host, one.entry.second, one.entry.agent) for one in logged
    )
    assert len(rows) == len({row["id"] for row in rows}) == summary["deliveries"] == len(logged)
    expired = sum(1 for one in logged if one.to is None)
    assert expired == sum(1 for row in rows if row["recipient"] is None)
    assert summary["lines"] == sum(1 for _ in counter.lines(log))
    assert summary["delivery_lines"] in (len(logged), len(logged) - expired)
    assert summary["duplicates"] == 0
    assert len(program.rows("reject_text")) == len(counter.refusals(counter.entries(log)))


def test_the_mixed_sample_holds_what_it_held_when_this_was_written(sample: Sample) -> None:
    """The counter itself: 778 delivery lines in 6,001."""
    log = sample(MIXED.format("iso8601"))
    assert sum(1 for _ in counter.lines(log)) == 6001
    assert len(counter.deliveries(counter.entries(log))) == 778


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_the_other_format_adds_nothing(keyed: Make, sample: Sample, name: str, first: str) -> None:
    """The second format of a log that is stored already gives no row; nor does the same file again."""
    program = keyed()
    program.import_files(sample(name.format(first)))
    before = as_set(program.rows(), dict)
    for form in (*reversed(FORMATS), *FORMATS):
        summary = program.import_files(sample(name.format(form)))
        assert summary["deliveries"] == 0
        assert summary["duplicates"] == len(before)
        assert as_set(program.rows(), dict) == before


@pytest.mark.parametrize("name", SAMPLES)
def test_two_formats_agree_but_for_fractions_of_seconds(reference: Reference, name: str) -> None:
    """Column by column, row by row."""
    iso, traditional = (reference(name.format(form)) for form in FORMATS)
    assert differences(iso.rows(), traditional.rows()) == {}
    assert differences(iso.rows("delivery_final"), traditional.rows("delivery_final")) == {}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_refusal_seen_twice_is_one(keyed: Make, sample: Sample, name: str, form: str) -> None:
    """Within one time format; across formats a reject's fraction keeps them apart."""
    log = sample(name.format(form))
    program = keyed()
    program.import_files(log)
    before = as_set(program.rows("reject_text"), dict)
    assert program.import_files(log)["rejects"] == 0
    assert as_set(program.rows("reject_text"), dict) == before


def cut_up(log: Path, folder: Path, pieces: int = 4) -> list[Path]:
    """A log in pieces, cut between lines."""
    folder.mkdir(exist_ok=True)
    whole = log.read_bytes().split(b"\n")[:-1]
    size = -(-len(whole) // pieces)
    made = []
    for number in range(pieces):
        part = folder / f"{log.stem}.part{number + 1}.log"
        part.write_bytes(b"".join(line + b"\n" for line in whole[number * size : (number + 1) * size]))
        made.append(dated(part))
    return made


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_in_pieces_with_a_stream(
    *, keyed: Make, sample: Sample, reference: Reference, tmp_path: Path, name: str, form: str
) -> None:
    """A daily series: what one file leaves open, the next import of the stream goes on with."""
    program = keyed()
    for part in cut_up(sample(name.format(form)), tmp_path):
        program.import_files(part, options=("--stream", "daily"))
    same_rows(reference(name.format(form)), program)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", SAMPLES)
def test_files_in_wrong_order(
    *, keyed: Make, sample: Sample, reference: Reference, tmp_path: Path,
    name: str, form: str, order: tuple[int, ...],
) -> None:
    """Files of one import are taken in order of their first second, however they are given."""
    parts = cut_up(sample(name.format(form)), tmp_path, 3)
    program = keyed()
    program.import_files(*(parts[number] for number in order))
    same_rows(reference(name.format(form)), program)


def zst(data: bytes) -> bytes:
    """Zstandard, by the command line tool."""
    tool = shutil.which("zstd")
    if not tool:
        pytest.skip("zstd is not installed: apt-get install zstd")
    return subprocess.run([tool, "-q", "-c"], input=data, capture_output=True, check=True).stdout


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zst,
}


@pytest.mark.parametrize("kind", PACKED)
def test_compressed(keyed: Make, sample: Sample, reference: Reference, tmp_path: Path, kind: str) -> None:
    """A compressed archive gives the rows of the plain file."""
    for form in FORMATS:
        name = MIXED.format(form)
        packed = tmp_path / f"mail-{form}.log.1.{kind}"
        packed.write_bytes(PACKED[kind](sample(name).read_bytes()))
        program = keyed()
        program.import_files(dated(packed))
        same_rows(reference(name), program)


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_stdin(keyed: Make, sample: Sample, reference: Reference, arguments: tuple[str, ...]) -> None:
    """Standard input has no modification time: long queue ids tell the year."""
    for form in FORMATS:
        name = MIXED.format(form)
        program = keyed()
        summary = program.import_files(
            *(Path(one) for one in arguments), stdin=sample(name).read_bytes()
        )
        # Lines in ISO 8601 have their year.
        assert "2026" in json.dumps(summary["years"]) or form == "iso8601"
        same_rows(reference(name), program)


def short_ids_only(log: Path, target: Path) -> Path:
    """The lines of mx1, whose queue ids do not tell the time."""
    target.write_bytes(b"".join(
        line + b"\n" for line in log.read_bytes().split(b"\n") if b" mx1 " in line
    ))
    return target


def years(program: Program) -> set[int]:
    """Years of the rows."""
    return {datetime.fromtimestamp(second(row["logged_at"]) or 0, UTC).year for row in program.rows()}


def test_the_year_is_told(keyed: Make, sample: Sample, reference: Reference) -> None:
    """`--year` comes first; with the right one, the rows are the same as without."""
    name = MIXED.format("traditional")
    program = keyed()
    summary = program.import_files(sample(name), options=("--year", "2026"))
    assert "2026" in json.dumps(summary["years"])
    same_rows(reference(name), program)
    wrong = keyed()
    summary = wrong.import_files(sample(name), options=("--year", "2025"))
    assert "2025" in json.dumps(summary["years"])
    assert years(wrong) == {2025}


def test_the_year_is_that_of_a_long_queue_id(keyed: Make, sample: Sample, tmp_path: Path) -> None:
    """The file's time may be that of a restored backup."""
    log = tmp_path / "mail.log"
    shutil.copy(sample(MIXED.format("traditional")), log)
    restored = datetime(2029, 6, 1, tzinfo=UTC).timestamp()
    os.utime(log, (restored, restored))
    program = keyed()
    program.import_files(log)
    assert years(program) == {2026}


def test_the_year_is_that_of_the_file(keyed: Make, sample: Sample, tmp_path: Path) -> None:
    """Without --year and long queue ids the modification time decides, never the clock."""
    log = short_ids_only(sample(MIXED.format("traditional")), tmp_path / "mail.log")
    written = datetime(2024, 12, 1, tzinfo=UTC).timestamp()
    os.utime(log, (written, written))
    program = keyed()
    summary = program.import_files(log)
    assert years(program) == {2024}
    assert "2024" in json.dumps(summary["years"])
    # A file written in January holds November lines of the year before.
    written = datetime(2025, 1, 3, tzinfo=UTC).timestamp()
    os.utime(log, (written, written))
    later = keyed()
    later.import_files(log)
    assert years(later) == {2024}


@pytest.fixture(scope="session")
def invented(unpack_folder: Path) -> Path:
    """Half an hour of an invented server: retries, bounces, queue ids that come back, ids born before."""
    log = unpack_folder / "invented.log"
    with log.open("wb") as out:
        generate.write(out, 60_000, 7)
    return dated(log)


def test_half_an_hour(keyed: Make, invented: Path, tmp_path: Path) -> None:
    """Longer than any window of the correlation: no line lost, and pieces and order change nothing.

    Cuts fall amid messages, and short queue ids are used again, so open state must go from file to file.
    """
    whole = keyed()
    summary = whole.import_files(invented)
    logged = counter.deliveries(counter.entries(invented))
    assert summary["deliveries"] == len(whole.rows()) == len(logged) > 6_000
    assert Counter(row["status"] for row in whole.rows()) == Counter(one.status for one in logged)
    parts = cut_up(invented, tmp_path)
    series = keyed()
    for part in parts:
        series.import_files(part, options=("--stream", "daily"))
    same_rows(whole, series)
    shuffled = keyed()
    shuffled.import_files(*(parts[number] for number in (2, 0, 3, 1)))
    same_rows(whole, shuffled)


def test_nothing_of_a_sample_is_not_understood(reference: Reference, keyed: Make, sample: Sample) -> None:
    """What Postfix itself logged in the lab is understood, or ignored knowingly, to the last line."""
    for name in SAMPLES:
        summary: dict[str, Any] = keyed().import_files(sample(name.format("iso8601")))
        assert summary["not_understood"] == 0, name
