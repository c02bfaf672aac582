"""`postsink report`: one HTML page about the mail of a time, out of the store or the database.

It needs no key: there are pseudonyms in it of the largest domains alone. Root opens the file, then becomes the owner.
"""

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from sink import __version__, privileges, rootonly
from sink.config import Config
from sink.fault import OK, USAGE, Fault
from sink.stores import views
from sink.tools.report import figures
from sink.tools.report.page import page
from sink.tools.report.questions import LEAST, Answers, answers
from sink.tools.report.sections import FEW, sections

STDOUT: Final = "-"


class Wanted(NamedTuple):
    """What a report is of, and where it goes."""

    since: int | None
    until: int | None
    top: int
    output: str


def run(config: Config, wanted: Wanted) -> int:
    """Write the page; an empty store is told in it, and is no error."""
    opened = _source(config, wanted)
    with _opened(wanted.output) as file:
        if os.geteuid() == 0:
            figures.warm_up()
        privileges.become_owner(config)
        with opened as ask:
            told = answers(ask, wanted.top)
        made = _page(told, config, wanted).encode()
        if file is None:
            sys.stdout.write(made.decode())
            return OK
        try:
            _write(file, made)
        except OSError as error:
            raise rootonly.unwritable(Path(wanted.output), error) from None
    words = f"{told.outcomes:,} final outcomes, {told.refusals.total():,} refusals" if not told.is_empty else "no rows"
    print(f"postsink: {wanted.output}: {words}", file=sys.stderr)
    return OK


def _write(file: int, made: bytes) -> None:
    """Write all of a page, in the place of what was there; it may be a pipe."""
    is_file = stat.S_ISREG(os.fstat(file).st_mode)
    if is_file:
        os.ftruncate(file, 0)
    view = memoryview(made)
    while view:
        view = view[os.write(file, view) :]
    if is_file:
        os.fsync(file)


@contextmanager
def _opened(output: str) -> Iterator[int | None]:
    """Open the file, as who typed its name, and leave none where nothing was written; None is stdout."""
    if output == STDOUT:
        if sys.stdout.isatty():
            raise Fault(USAGE, "a terminal shows no page; say where it goes: --output FILE.html")
        yield None
        return
    path = Path(output)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o600)
    except OSError as error:
        raise rootonly.unwritable(path, error) from None
    try:
        yield file
    except BaseException:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and not status.st_size:
            with suppress(OSError):  # the folder may be root's alone, who this is no more
                path.unlink()
        raise
    finally:
        os.close(file)


def _source(config: Config, wanted: Wanted) -> AbstractContextManager[views.Ask]:
    """Return what is asked, not opened yet."""
    if config.database is None:
        return views.of_store(config.store, wanted.since, wanted.until)
    from sink.stores import postgres_views

    return postgres_views.of_database(config.database, wanted.since, wanted.until)


def _page(told: Answers, config: Config, wanted: Wanted) -> str:
    facts = [
        ("From", _shown(wanted.since, "the first row")), ("Until", _shown(wanted.until, "the last row")),
        ("Made", _shown(int(time.time()), "")), ("Source", "store" if config.database is None else "database"),
        ("By", f"postsink {__version__}"),
    ]  # fmt: skip
    notes = [
        "This page holds counts, and shortened pseudonyms of the largest domains: nobody's address, no pseudonym of a"
        f" person, no single mail. A domain needs {LEAST} outcomes to be named, and people fewer than {FEW} are not"
        " counted out; yet whoever knows your mail may recognise a large domain by its frequency.",
        "Not known and NULL mean that the log does not tell. Percentages are rounded.",
    ]
    return page("Mail report", facts, sections(told), notes)


def _shown(second: int | None, otherwise: str) -> str:
    return otherwise if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
