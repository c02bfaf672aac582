"""An archive is read in the form its first bytes tell, from its beginning, and dated by what is in it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sink.fault import DATA, NOINPUT, UNAVAILABLE, Fault
from sink.sources import archive
from sink.sources.archive import Archive

LINES = [
    b"2026-11-02T10:00:%02d.000000+00:00 mx1 postfix/qmgr[1]: 4A5A321A867: removed" % second
    for second in range(60)
]
DATA_BYTES = b"\n".join(LINES) + b"\n"
PLAIN = b"%b mx1 postfix/qmgr[1]: 4A5A321A867: removed\n"
LONG_ID = b"4jJ3DJ0q9Hz179QR"  # born 2026-11-02T07:26:40Z

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gz": gzip.compress,
    "two members": lambda data: gzip.compress(data[:300]) + gzip.compress(data[300:]),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True).stdout,
}


def read(one: Archive) -> list[bytes]:
    return [line for lines in one.lines() for line in lines]


Make = Callable[..., Archive]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Make]:
    """Makes a file and opens it."""
    opened = []

    def make(data: bytes, modified: datetime | None = None) -> Archive:
        path = tmp_path / "mail.log"
        path.write_bytes(data)
        if modified is not None:
            os.utime(path, (modified.timestamp(),) * 2)
        opened.append(Archive(str(path)))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def second(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Archive]]:
    """Hands bytes over on standard input, by a pipe."""
    files = []

    def handed(data: bytes) -> Archive:
        reader, writer = os.pipe()
        os.write(writer, data)  # less than a pipe holds
        os.close(writer)
        files.append(os.fdopen(reader))
        monkeypatch.setattr("sys.stdin", files[-1])
        return Archive("-")

    yield handed
    for file in files:
        file.close()


@pytest.mark.parametrize("form", PACKED)
def test_each_form_is_told_by_its_first_bytes(form: str, made: Make) -> None:
    if form == "zst" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    one = made(PACKED[form](DATA_BYTES))
    one.date(UTC, None)
    assert one.first == (second(2026, 11, 2, 10), 0)
    assert read(one) == LINES
    assert one.damage() is None
    assert not one.is_empty


@pytest.mark.parametrize("form", [form for form in PACKED if form != "zst"])
def test_standard_input_may_be_packed(form: str, piped: Callable[[bytes], Archive]) -> None:
    one = piped(PACKED[form](DATA_BYTES))
    one.date(UTC, None)
    assert read(one) == LINES
    assert one.name == "standard input"


def test_standard_input_may_be_read_from_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `read` in a shell: what was taken before is not ours."""
    path = tmp_path / "mail.log"
    path.write_bytes(DATA_BYTES)
    with path.open("rb", buffering=0) as file:
        file.seek(len(LINES[0]) + 1)
        monkeypatch.setattr("sys.stdin", file)
        one = Archive("-")
        one.date(UTC, None)
        assert one.first == (second(2026, 11, 2, 10, 0, 1), 0)
        assert read(one) == LINES[1:]


def test_a_file_is_not_changed_under_our_hands(made: Make, tmp_path: Path) -> None:
    """A rotation while other files are read puts a new file in its place."""
    one = made(DATA_BYTES)
    one.date(UTC, None)
    (tmp_path / "mail.log").rename(tmp_path / "mail.log.1")
    (tmp_path / "mail.log").write_bytes(b"a new one\n")
    assert read(one) == LINES


def test_what_is_read_is_told(made: Make) -> None:
    one = made(DATA_BYTES)
    one.date(UTC, None)
    assert one.position() == 0
    chunks = one.chunks()
    next(chunks)
    assert one.position() == one.size == len(DATA_BYTES)
    chunks.close()  # type: ignore[attr-defined]
    assert one.position() == 0


@pytest.mark.parametrize("data", [b"", gzip.compress(b"")])
def test_nothing_in_it(data: bytes, made: Make) -> None:
    one = made(data)
    one.date(UTC, None)
    assert one.is_empty
    assert read(one) == []
    assert one.damage() is None


@pytest.mark.parametrize("form", [form for form in PACKED if form not in ("plain", "two members")])
def test_what_stands_before_damage_is_read(form: str, made: Make) -> None:
    if form == "zst" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    packed = PACKED[form](
        b"".join(b"%d " % (number * number) + line for number, line in enumerate(LINES * 1000))
    )
    one = made(packed[: len(packed) // 2])
    one.date(UTC, None)
    assert not one.is_empty
    found = b"".join(one.chunks())
    assert len(found) > 1 << 20
    fault = one.damage()
    assert fault is not None and fault.status == DATA


def test_half_a_line_before_damage_is_none(made: Make) -> None:
    """Half a delivery line would be stored under another key than the whole one."""
    one = made(gzip.compress(DATA_BYTES[:-10])[:-9])
    one.date(UTC, None)
    found = read(one)
    assert one.damage() is not None
    assert found == LINES[: len(found)]


def test_a_file_that_is_not_ended_is_whole(made: Make) -> None:
    one = made(DATA_BYTES[:-1])
    assert read(one) == LINES


def test_no_zstd(made: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    one = made(archive.ZSTD + b"x")
    with pytest.raises(Fault, match="apt install zstd") as caught:
        one.date(UTC, None)
    assert caught.value.status == UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "words"),
    [("nothing", "there is no file .*nothing"), ("a@example.com", "of that name"), (".", "is a folder")],
)
def test_no_file(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Fault, match=words) as caught:
        Archive(str(tmp_path / name))
    assert caught.value.status == NOINPUT


# -- years (law 6)


def test_the_year_that_is_given(made: Make) -> None:
    one = made(PLAIN % b"Nov  2 10:00:00", datetime(2026, 12, 1, tzinfo=UTC))
    reader = one.date(UTC, 2019)
    assert one.first == (second(2019, 11, 2, 10), 0)
    reader.records(read(one))
    assert reader.years == {2019}


def test_the_year_that_a_long_queue_id_tells(made: Make) -> None:
    """Even where it stands in a later line, and although the file was touched years after."""
    data = PLAIN % b"Nov  2 10:00:00" + (PLAIN % b"Nov  2 10:00:01").replace(b"4A5A321A867", LONG_ID)
    one = made(data, datetime(2031, 1, 1, tzinfo=UTC))
    reader = one.date(UTC, None)
    records = reader.records(read(one))
    assert [record and record[0] for record in records] == [second(2026, 11, 2, 10, 0, at) for at in (0, 1)]


@pytest.mark.parametrize(
    ("stamp", "modified", "year"),
    [
        (b"Nov  2 10:00:00", (2026, 11, 2, 23), 2026),
        (b"Dec 31 23:59:00", (2027, 1, 1, 6), 2026),
        (b"Jan  1 00:00:10", (2027, 1, 1, 6), 2027),
        (b"Nov  3 10:00:00", (2026, 11, 2, 23), 2026),  # a clock that is some hours ahead
        (b"Feb 29 10:00:00", (2026, 3, 1, 0), None),
        (b"Feb 29 10:00:00", (2024, 3, 1, 0), 2024),
    ],
)
def test_the_year_that_the_files_age_tells(
    stamp: bytes, modified: tuple[int, ...], year: int | None, made: Make
) -> None:
    one = made(PLAIN % stamp, datetime(*modified, tzinfo=UTC))  # type: ignore[arg-type,misc]
    reader = one.date(UTC, None)
    (record,) = reader.records(read(one))
    assert (None if record is None else datetime.fromtimestamp(record[0], UTC).year) == year


def test_a_year_that_nothing_tells(piped: Callable[[bytes], Archive]) -> None:
    with pytest.raises(Fault, match="--year YYYY") as caught:
        piped(PLAIN % b"Nov  2 10:00:00").date(UTC, None)
    assert caught.value.status == DATA
    one = piped(PLAIN % b"Nov  2 10:00:00")
    one.date(UTC, 2026)
    assert one.first == (second(2026, 11, 2, 10), 0)


def test_a_zone_moves_the_first_time(made: Make) -> None:
    one = made(PLAIN % b"Nov  2 10:00:00")
    one.date(ZoneInfo("Asia/Tokyo"), 2026)
    assert one.first == (second(2026, 11, 2, 1), 0)
