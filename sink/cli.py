"""The command line: which command, and what its end means.

stdout is data, stderr is words, the exit status is of sysexits. A Fault ends a command with one line. What
nobody foresaw ends it with the class and the place of the error, never its values: they may be raw text.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from sink import __version__, config
from sink.config import Config
from sink.fault import OK, USAGE, Fault

SOFTWARE = 70  # sysexits EX_SOFTWARE: a bug of ours

Command = Callable[[Config, argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    """An argument parser that ends with 64 and one line, and does not repeat what was typed."""

    def error(self, message: str) -> "None":  # type: ignore[override]
        raise Fault(USAGE, f"{_without_values(message)}; see: {self.prog} --help")


def _without_values(message: str) -> str:
    """Keep what argparse says of options; a wrong word may be an address, typed in the wrong place."""
    for begin in ("unrecognized arguments", "argument COMMAND: invalid choice", "argument ACTION: invalid choice"):
        if message.startswith(begin):
            return begin
    return message.partition(": invalid")[0] + (": not valid" if ": invalid" in message else "")


def _import(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import importer

    options = importer.Options(given.files, given.json, given.year, given.stream)
    return importer.run(settings, options)


def _keys(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import keycommands

    return keycommands.init(settings) if given.action == "init" else keycommands.show(settings)


def _pseudonym(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import pseudonyms

    return pseudonyms.run(settings)


def _explain(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import explain

    return explain.run(settings, given.file, given.year)


def _db(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import database

    commands = {"init": database.init, "status": database.status, "index": database.index}
    if given.action == "reset":
        return database.reset(settings, sure=given.yes)
    return commands[given.action](settings)


def _year(text: str) -> int:
    year = int(text)
    if not 1990 <= year <= 2100:  # noqa: PLR2004 - Postfix is of 1998; a typo is more likely than a later century
        raise ValueError
    return year


def _stream(text: str) -> str:
    if not (0 < len(text) <= 64 and text.replace("-", "").replace("_", "").isalnum() and text.isascii()):  # noqa: PLR2004
        raise ValueError
    return text


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="postsink",
        description="Keeps knowledge of a mail host's mail without keeping its users' addresses.",
        allow_abbrev=False,
    )
    top.add_argument("--config", type=Path, metavar="FILE", help="config file (/etc/postsink/postsink.yaml)")
    top.add_argument("--version", action="version", version=f"postsink {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    one = commands.add_parser("import", help="read archived Postfix logs into the store", allow_abbrev=False)
    one.add_argument("files", nargs="*", metavar="FILE", help="plain, .gz, .bz2, .xz, .zst; none or - is stdin")
    one.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout")
    one.add_argument("--year", type=_year, help="year of the first line without one")
    one.add_argument("--stream", type=_stream, metavar="NAME", help="keep open messages for the next import of NAME")
    one.set_defaults(run=_import)

    one = commands.add_parser("keys", help="make and list the keys", allow_abbrev=False)
    one.add_argument("action", choices=("init", "list"), metavar="ACTION", help="init or list")
    one.set_defaults(run=_keys)

    one = commands.add_parser("pseudonym", help="addresses on stdin to pseudonyms on stdout", allow_abbrev=False)
    one.set_defaults(run=_pseudonym)

    one = commands.add_parser("explain", help="show what becomes of each line, with addresses", allow_abbrev=False)
    one.add_argument("file", nargs="?", default="-", metavar="FILE", help="none or - is stdin")
    one.add_argument("--year", type=_year, help="year of the first line without one")
    one.set_defaults(run=_explain)

    one = commands.add_parser("db", help="make, look at, index and empty the store", allow_abbrev=False)
    one.add_argument(
        "action", choices=("init", "status", "index", "reset"), metavar="ACTION", help="init, status, index or reset"
    )
    one.add_argument("--yes", action="store_true", help="do not ask before reset")
    one.set_defaults(run=_db)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    sys.excepthook = _crash
    os.umask(0o077)
    try:
        given = parser().parse_args(arguments)
        status = int(given.run(config.load(given.config), given))
        sys.stdout.flush()
        return status
    except Fault as fault:
        print(f"postsink: {fault}", file=sys.stderr)
        return fault.status
    except BrokenPipeError:
        # Whoever read stdout has left, as `| head` does; nothing is left to say to him.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        print("postsink: stopped", file=sys.stderr)
        return 130


def _crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the class and the places of an error, no values (they may be raw text)."""
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(trace)]
    print(f"postsink: a bug: {kind.__name__} at {' > '.join(places)}; please report this line", file=sys.stderr)
    sys.stderr.flush()
    os._exit(SOFTWARE)
