"""The command line: which command, and what its end means.

stdout is data, stderr is words, the exit status is of sysexits. A Fault ends a command with one line. What
nobody foresaw ends it with the class and the place of the error, never its values (sink.hooks). Root becomes the owner
of the installation before a command opens keyring or store (sink.privileges), and after it has loaded what it needs:
_as_owner() does so, where a command does not do it itself since it opens files before.
"""

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sink import __version__, config, hardening, hooks, privileges
from sink.config import Config
from sink.fault import OK, TEMPFAIL, USAGE, Fault

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # the world's, not ours

Command = Callable[[Config, argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    """An argument parser that ends with 64 and one line, and does not repeat what was typed."""

    def error(self, message: str) -> "None":  # type: ignore[override]
        raise Fault(USAGE, f"{_without_values(message)}; see: {self.prog} --help")


# What argparse says that holds no word of the command line: that may be an address, typed in the wrong place.
_SAFE = re.compile(
    r"the following arguments are required: [A-Z]+"
    r"|argument (?:--[a-z]+|-h/--help|[A-Z]+): (?:expected one argument|invalid choice|takes no value|must be [^']*)"
)


def _without_values(message: str) -> str:
    """Keep what argparse says of options and commands, and nothing of what was typed."""
    message = message.replace("ignored explicit argument", "takes no value")
    found = _SAFE.match(message)
    return found[0] if found else "an argument is not known here, or is too much"


def _as_owner(settings: Config) -> Config:
    privileges.become_owner(settings)
    hardening.lock()  # what it can't have is told by those that run on
    return settings


def _import(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import importer

    options = importer.Options(given.files, given.json, given.year, given.stream)
    return importer.run(settings, options)


def _keys(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import keycommands

    return keycommands.init(settings) if given.action == "init" else keycommands.show(_as_owner(settings))


def _pseudonym(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import pseudonyms

    return pseudonyms.run(_as_owner(settings))


def _explain(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import explain

    return explain.run(settings, given.file, given.year)


def _db(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import database

    commands = {"init": database.init, "status": database.status, "index": database.index}
    settings = _as_owner(settings)
    if given.action == "reset":
        return database.reset(settings, sure=given.yes)
    return commands[given.action](settings)


def _run(settings: Config, given: argparse.Namespace) -> int:
    from sink.service import run

    path = None if given.config is None else given.config.absolute()  # a detached daemon is elsewhere
    return run.run(
        lambda: config.load(path), stdin=given.stdin, daemonize=given.daemonize, pid_file=given.pid_file
    )


def _omprog(settings: Config, given: argparse.Namespace) -> int:
    if given.direct:
        from sink.service import direct

        return direct.run(settings)
    from sink.service import relay

    return relay.run(settings)


def _status(settings: Config, given: argparse.Namespace) -> int:
    from sink.service import status

    return status.run(_as_owner(settings), as_json=given.json)


def _enable(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import enable

    return enable.enable(settings, given.word, dry_run=given.dry_run, subject=given.subject, config=given.config)


def _disable(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import enable

    return enable.disable(given.word, dry_run=given.dry_run, config=given.config)


def _year(text: str) -> int:
    # Postfix is of 1998; a typo is more likely than a later century.
    if not (text.isascii() and text.isdecimal() and len(text) == 4 and 1990 <= int(text) <= 2100):
        raise argparse.ArgumentTypeError("must be a year of four digits, 1990 to 2100")
    return int(text)


def _stream(text: str) -> str:
    if not (0 < len(text) <= 64 and text.replace("-", "").replace("_", "").isalnum() and text.isascii()):
        raise argparse.ArgumentTypeError("must be a name of letters, digits, - and _")
    return text


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = _Parser(
        prog="postsink",
        description="Keeps knowledge of a mail host's mail without keeping its users' addresses.",
        allow_abbrev=False,
    )
    _config_option(top)
    top.add_argument("--version", action="version", version=f"postsink {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, words: str, run: Command) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False)
        made.set_defaults(run=run)
        _config_option(made, default=argparse.SUPPRESS)  # after the command, too; here it must not undo the first
        return made

    one = command("import", "read archived Postfix logs into the store", _import)
    one.add_argument("files", nargs="*", metavar="FILE", help="plain, .gz, .bz2, .xz, .zst; none or - is stdin")
    one.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout")
    one.add_argument("--year", type=_year, help="year of a file's first line without one")
    one.add_argument("--stream", type=_stream, metavar="NAME", help="keep open messages for the next import of NAME")

    one = command("run", "take lines as they are logged: the daemon", _run)
    one.add_argument("--stdin", action="store_true", help="read lines on standard input, too; its end ends the daemon")
    one.add_argument("--daemonize", action="store_true", help="detach; words go to syslog")
    one.add_argument("--pid-file", type=Path, metavar="FILE", help="of a detached daemon")

    one = command("omprog", "hand lines of rsyslog's omprog to the daemon, and confirm them", _omprog)
    one.add_argument("--direct", action="store_true", help="without a daemon: keep what comes of them itself")

    one = command("status", "show what the daemon has done", _status)
    one.add_argument("--json", action="store_true", help="as one JSON object")

    one = command("keys", "make and list the keys", _keys)
    one.add_argument("action", choices=("init", "list"), metavar="ACTION", help="init or list")

    command("pseudonym", "turn addresses on stdin, a line each, into pseudonyms", _pseudonym)

    one = command("explain", "show what becomes of each line, with addresses", _explain)
    one.add_argument("file", nargs="?", default="-", metavar="FILE", help="none or - is stdin")
    one.add_argument("--year", type=_year, help="year of the first line without one")

    one = command("db", "make, look at, index and empty the store", _db)
    one.add_argument(
        "action", choices=("init", "status", "index", "reset"), metavar="ACTION", help="init, status, index or reset"
    )
    one.add_argument("--yes", action="store_true", help="do not ask before reset")

    words = ("rsyslog", "syslog-ng", "journald", "postfix")
    one = command("enable", "tell syslog or Postfix of postsink", _enable)
    one.add_argument("word", choices=words, metavar="PROGRAM", help="rsyslog, syslog-ng, journald or postfix")
    one.add_argument("--subject", choices=("size", "none"), metavar="WHAT", help="of postfix: size or none")
    one.add_argument("--dry-run", action="store_true", help="show what would be done")

    one = command("disable", "take back what enable did", _disable)
    one.add_argument("word", choices=(*words, "all"), metavar="PROGRAM", help="one of those, or all")
    one.add_argument("--dry-run", action="store_true", help="show what would be done")
    return top


def _config_option(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    words = "config file (/etc/postsink/postsink.yaml)"
    parser.add_argument("--config", type=Path, metavar="FILE", default=default, help=words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    hardening.harden()
    hooks.install()
    _standard_files()
    try:
        given = parser().parse_args(arguments)
        status = int(given.run(config.load(given.config), given))
    except SystemExit as end:  # of --help and --version
        status = int(end.code or OK)
    except Fault as fault:
        print(f"postsink: {fault}", file=sys.stderr)
        status = fault.status
    except KeyboardInterrupt:
        print("postsink: stopped; start it again to do the rest", file=sys.stderr)
        status = TEMPFAIL
    except OSError as error:
        status = _unwritten(error, OK)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        status = _unwritten(error, status)
    return status


def _unwritten(error: OSError, status: int) -> int:
    """Return how a command ends whose stdout takes no more; raise what is no such error."""
    if error.errno not in (errno.EPIPE, *_FULL):
        raise error
    # Else Python would try again at its end, and complain.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    if error.errno == errno.EPIPE:
        return status  # whoever read stdout has left, as `| head` does; nothing is left to say to him
    with suppress(OSError):  # stderr may be what is full
        print("postsink: can't write any more; free some space and start again", file=sys.stderr)
    return status or TEMPFAIL


def _standard_files() -> None:
    """Put /dev/null where a standard file is closed: else the store could get its number, and words be written there.

    Python has no sys.stdin, stdout or stderr then; what is printed to a stderr of None would go to stdout.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another charset is no bug
