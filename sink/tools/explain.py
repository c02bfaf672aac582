"""`postsink explain`: what becomes of each line, in the golden format.

Needs no keyring and writes nothing: pseudonyms are shown as P(what they stand for). It prints the lines it was
given, addresses and all; it is for the admin's own eyes, and its output makes a golden story.
"""

from sink import hardening
from sink.config import Config
from sink.core.batch import Batch
from sink.core.epochs import Epoch
from sink.core.pseudonym import Pseudonyms
from sink.fault import OK
from sink.installation import machine_zone, rules
from sink.sources.archive import Archive
from sink.stores.sqlite import SqliteStore
from sink.tools.story import NamedPseudonyms, render
from sink.tools.watched import Watched

KEY = b"a key for eyes only: nothing made with it is kept"


def run(config: Config, name: str, year: int | None) -> int:
    """Explain a file's lines."""
    archive = Archive(name)
    hardening.lock()
    choices = rules(config, config.timezone or machine_zone())
    names: dict[str, str] = {}

    def naming(secret: bytes, plain: bool) -> Pseudonyms:
        return NamedPseudonyms(secret, plain, names)

    reader = archive.date(choices.timezone, year)
    pipe = Watched(choices, [Epoch(1, None, None, KEY)], KEY, reader, naming=naming)
    with SqliteStore.memory() as store:
        for lines in archive.lines():
            for line in lines:
                _explain(line, pipe, store, names)
        _show(pipe.flush(), store, names)
    fault = archive.damage()
    if fault is not None:
        raise fault
    return OK


def _explain(line: bytes, pipe: Watched, store: SqliteStore, names: dict[str, str]) -> None:
    pipe.seen.clear()
    before = pipe.counts.copy()
    batch = pipe.feed([line])
    shown = line.decode("utf-8", "backslashreplace")
    change = pipe.counts - before
    if change["not_understood"]:
        print(f"? {shown}")
    else:
        print(shown)
    if change["ignored"]:
        print("#   ignored: known, and nothing of it is wanted")
    elif not change["postfix_lines"]:
        print("#   not a syslog line" if change["not_syslog"] else "#   not a line of Postfix")
    for words in pipe.seen:
        print(f"#   {words}")
    _show(batch, store, names)


def _show(batch: Batch, store: SqliteStore, names: dict[str, str]) -> None:
    if batch.rows or batch.rejects:
        store.commit(batch)
        for table in ("delivery", "reject"):
            for row in store.take(table + "_text"):
                print(render(table, row, names))

