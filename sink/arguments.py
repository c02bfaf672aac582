"""The words of the command line: commands, options, and what may follow them.

What was typed is never repeated: it may be an address, typed in the wrong place.
"""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sink import __version__, config
from sink.fault import USAGE, Fault
from sink.outputs import seconds_of

MOST_JOBS = 64  # ours: one process writes what they read, and five keep it busy
# What --with of export brings, and how coarse it may be; sink.tools.exporting does it.
ASKED = ("address", "message-id", "queue-id", "relay", "host")
TIMES, SIZES, FORMATS = ("second", "minute", "hour", "day"), ("exact", "log2"), ("csv", "parquet")
_IN_NAMES = str.maketrans("", "", " .-_")
Adder = Callable[[str, str], argparse.ArgumentParser]


class _Parser(argparse.ArgumentParser):
    """An argument parser that ends with 64 and one line, and does not repeat what was typed."""

    def error(self, message: str) -> "None":  # type: ignore[override]
        said = _without_values(message)
        if said == _UNKNOWN and self.get_default("asks"):
            said += "; addresses come on standard input, a line each"
        raise Fault(USAGE, f"{said}; see: {self.prog} --help")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Leave nothing unknown to the parser above, which would name its own help."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error("")
        return found, rest


_UNKNOWN = "an argument is not known here, or is too much"
# What argparse says that holds no word of the command line: that may be an address, typed in the wrong place.
_SAFE = re.compile(
    r"the following arguments are required: (?:[A-Z]+|--[a-z-]+)"
    r"|argument (?:--[a-z-]+|-h/--help|[A-Z]+): (?:expected one argument|invalid choice|takes no value|must be [^']*)"
)


def _without_values(message: str) -> str:
    """Keep what argparse says of options and commands, and nothing of what was typed."""
    message = message.replace("ignored explicit argument", "takes no value")
    found = _SAFE.match(message)
    return found[0] if found else _UNKNOWN


def _year(text: str) -> int:
    # Postfix is of 1998; a typo is more likely than a later century.
    if not (text.isascii() and text.isdecimal() and len(text) == 4 and 1990 <= int(text) <= 2100):
        raise argparse.ArgumentTypeError("must be a year of four digits, 1990 to 2100")
    return int(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        raise argparse.ArgumentTypeError("must be a number")
    return int(text)


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and 1 <= int(text) <= MOST_JOBS):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MOST_JOBS}")
    return int(text)


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and 4 <= int(text) <= 32):
        raise argparse.ArgumentTypeError("must be a number from 4 to 32")
    return int(text)


def _top(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) <= 100):
        raise argparse.ArgumentTypeError("must be a number from 0 to 100")
    return int(text)


def _moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("must be a time like 2026-11-02 or 2026-11-02T08:00, in UTC") from None


def _ahead(text: str) -> int:
    seconds = seconds_of(text)
    if seconds is None or not 60 <= seconds <= 366 * 86_400:
        raise argparse.ArgumentTypeError("must be a time from 60s to 366d, like 2h")
    return seconds


def _age(text: str) -> int:
    seconds = seconds_of(text)
    if seconds is None or seconds > config.MOST_KEEP:
        raise argparse.ArgumentTypeError("must be a time like 90d, at most 36500d")
    return seconds


def _limit(text: str) -> int:
    seconds = seconds_of(text)
    if seconds is None or seconds > 366 * 86_400:
        raise argparse.ArgumentTypeError("must be a time like 10m, at most 366d")
    return seconds


def _stream(text: str) -> str:
    if not (0 < len(text) <= 64 and text.replace("-", "").replace("_", "").isalnum() and text.isascii()):
        raise argparse.ArgumentTypeError("must be a name of letters, digits, - and _")
    return text


def _name(text: str) -> str:
    if not (0 < len(text) <= 64 and text.isascii() and text.translate(_IN_NAMES).isalnum()):
        raise argparse.ArgumentTypeError("must be a name of letters, digits, blanks, . - and _")
    return text


def _k(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) >= 2):
        raise argparse.ArgumentTypeError("must be a number from 2 to 9999")
    return int(text)


def _asked(text: str) -> frozenset[str]:
    found = frozenset(text.split(","))
    if not found <= set(ASKED):
        raise argparse.ArgumentTypeError(f"must be of {' '.join(ASKED)}, with a comma between them")
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; `command` is the command's name."""
    top = _Parser(
        prog="postsink",
        description="Keeps knowledge of a mail host's mail without keeping its users' addresses.",
        allow_abbrev=False,
    )
    _config_option(top)
    top.add_argument("--version", action="version", version=f"postsink {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def command(name: str, words: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False)
        _config_option(made, default=argparse.SUPPRESS)  # after the command, too; here it must not undo the first
        return made

    one = command("import", "read archived Postfix logs into the store")
    one.add_argument("files", nargs="*", metavar="FILE", help="plain, .gz, .bz2, .xz, .zst; none or - is stdin")
    one.add_argument("--json", action="store_true", help="the summary as one JSON object on stdout")
    one.add_argument("--year", type=_year, help="year of a file's first line without one")
    one.add_argument("--stream", type=_stream, metavar="NAME", help="keep open messages for the next import of NAME")
    one.add_argument("--jobs", type=_jobs, default=1, metavar="N", help="processes; files of different hosts go apart")
    words = "address or file of a Dask scheduler, whose workers read the files"
    one.add_argument("--scheduler", metavar="PLACE", help=words)

    one = command("run", "take lines as they are logged: the daemon")
    one.add_argument("--stdin", action="store_true", help="read lines on standard input, too; its end ends the daemon")
    one.add_argument("--daemonize", action="store_true", help="detach; words go to syslog")
    one.add_argument("--pid-file", type=Path, metavar="FILE", help="of a detached daemon")
    one.add_argument("--again", type=int, help=argparse.SUPPRESS)  # see sink.service.anew

    one = command("omprog", "hand lines of rsyslog's omprog to the daemon, and confirm them")
    one.add_argument("--direct", action="store_true", help="without a daemon: keep what comes of them itself")
    one.add_argument("--again", type=int, help=argparse.SUPPRESS)

    one = command("status", "show what the daemon has done, and what is wrong with it")
    shown = one.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="as one JSON object")
    shown.add_argument("--check", action="store_true", help="one line, and the exit status, for Nagios or Icinga")
    words = "how long a host may log nothing, like 10m; default: for ever"
    one.add_argument("--max-silence", type=_limit, metavar="TIME", help=words)
    words = "how old a row may be that waits for the database; default 1h"
    one.add_argument("--max-wait", type=_limit, default=3600, metavar="TIME", help=words)

    _keys_and_rows(command)
    _mail_host(command)
    return top

def _keys_and_rows(command: Adder) -> None:
    _keys_actions(command("keys", "make, list, rotate, destroy and hand on the keys"))

    command("pseudonym", "turn addresses on stdin, a line each, into pseudonyms")

    one = command("lookup", "find the rows of addresses on stdin, a line each")
    one.set_defaults(asks=True)
    one.add_argument("--since", type=_moment, metavar="TIME", help="logged then or later, like 2026-11-02T08:00")
    one.add_argument("--until", type=_moment, metavar="TIME", help="logged before")
    one.add_argument("--sender", action="store_true", help="only where it sent")
    one.add_argument("--recipient", action="store_true", help="only where it received; with --sender: the second line")
    one.add_argument("--json", action="store_true", help="as JSON objects, one a line, with all columns")

    one = command("forget", "forget the addresses on stdin, a line each, in all rows")
    one.set_defaults(asks=True)
    one.add_argument("--again", action="store_true", help="forget all that were forgotten: after a restore")
    one.add_argument("--yes", action="store_true", help="do not ask")

    one = command("report", "make a page of figures and numbers about the mail of a time")
    one.add_argument("--since", type=_moment, metavar="TIME", help="logged then or later, like 2026-11-02T08:00")
    one.add_argument("--until", type=_moment, metavar="TIME", help="logged before")
    one.add_argument("--top", type=_top, default=10, metavar="N", help="how many of the largest domains; default 10")
    one.add_argument("--output", type=Path, default=Path("-"), metavar="FILE", help="the HTML file; - is stdout")

    _export_options(command("export", "write a data set for others, coarse and with tokens of its own"))

    one = command("explain", "show what becomes of each line, with addresses")
    one.add_argument("file", nargs="?", default="-", metavar="FILE", help="none or - is stdin")
    one.add_argument("--year", type=_year, help="year of the first line without one")
    words = "print these alone: not-understood or rows"
    one.add_argument("--only", choices=("not-understood", "rows"), metavar="WHAT", help=words)
    one.add_argument("--redact", action="store_true", help="with names of example.com, to be sent in")

    one = command("scrub", "write log lines again, with pseudonyms")
    one.add_argument("files", nargs="*", metavar="FILE", help="as of import; none or - is stdin")
    one.add_argument("--digits", type=_digits, default=32, metavar="N", help="of each half of an address, 4 to 32")
    one.add_argument("--year", type=_year, help="year of a file's first line without one")

    one = command("db", "make, upgrade, look at, index, prune and empty the store")
    actions = ("init", "upgrade", "status", "index", "prune", "reset")
    one.add_argument("action", choices=actions, metavar="ACTION", help=", ".join(actions))
    one.add_argument("--citus", action="store_true", help="of init: have the rows lie on the workers of Citus")
    one.add_argument("--older-than", type=_age, metavar="TIME", help="of prune: like 90d; default: keep of the config")
    one.add_argument("--local", action="store_true", help="of upgrade: the store alone, before the daemon's start")
    one.add_argument("--yes", action="store_true", help="do not ask before prune and reset")


def _export_options(one: argparse.ArgumentParser) -> None:
    one.add_argument("--recipient", type=_name, required=True, metavar="NAME", help="who gets it; part of its key")
    one.add_argument("--release", type=_name, required=True, metavar="ID", help="which data set; part of its key")
    one.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="a new folder")
    one.add_argument("--format", choices=FORMATS, default="csv", metavar="FORMAT", help="csv (default) or parquet")
    one.add_argument("--since", type=_moment, metavar="TIME", help="logged then or later, like 2026-11-02T08:00")
    one.add_argument("--until", type=_moment, metavar="TIME", help="logged before")
    one.add_argument("--time", choices=TIMES, default="hour", metavar="WIDTH", help="second, minute, hour or day")
    one.add_argument("--size", choices=SIZES, default="log2", metavar="WIDTH", help="log2 (default) or exact")
    one.add_argument("--k", type=_k, default=5, metavar="NUMBER", help="rows that must be alike; default 5")
    words = f"what is left out by default, by commas: {', '.join(ASKED)}"
    one.add_argument("--with", dest="asked", type=_asked, default=frozenset(), metavar="WORDS", help=words)


def _mail_host(command: Adder) -> None:
    words = ("rsyslog", "syslog-ng", "journald", "postfix")
    one = command("enable", "tell syslog or Postfix of postsink")
    one.add_argument("word", choices=words, metavar="PROGRAM", help="rsyslog, syslog-ng, journald or postfix")
    one.add_argument("--subject", choices=("size", "none"), metavar="WHAT", help="of postfix: size or none")
    one.add_argument("--dry-run", action="store_true", help="show what would be done")

    one = command("disable", "take back what enable did")
    one.add_argument("word", choices=(*words, "all"), metavar="PROGRAM", help="one of those, or all")
    one.add_argument("--dry-run", action="store_true", help="show what would be done")

    one = command("doctor", "find where raw lines still reach a disk, or secrets are open")
    words_of_root = "look at the host under this folder, such as a mounted image"
    one.add_argument("--root", type=Path, metavar="FOLDER", default=Path("/"), help=words_of_root)
    one.add_argument("--json", action="store_true", help="as one JSON object")


def _keys_actions(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)

    def action(name: str, words: str) -> argparse.ArgumentParser:
        made = actions.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False)
        _config_option(made, default=argparse.SUPPRESS)
        return made

    action("init", "make the keyring")
    action("list", "show epochs, check values and numbers of rows")
    one = action("rotate", "begin a new epoch, with a new key")
    one.add_argument("--in", dest="ahead", type=_ahead, metavar="TIME", help="how far ahead, like 2h; default 60s")
    one = action("destroy", "destroy the key of a past epoch, for good")
    one.add_argument("epoch", type=_number, metavar="EPOCH", help="its number")
    one.add_argument("--yes", action="store_true", help="do not ask")
    action("reseal", "seal the keyring by the first seal of the config")
    one = action("export", "write the keyring for another host, sealed by a passphrase")
    one.add_argument("--to", type=Path, required=True, metavar="FILE", help="a new file")
    one = action("import", "take over a keyring that another host exported")
    one.add_argument("file", type=Path, metavar="FILE", help="what keys export wrote")


def _config_option(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    words = "config file (/etc/postsink/postsink.yaml)"
    parser.add_argument("--config", type=Path, metavar="FILE", default=default, help=words)
