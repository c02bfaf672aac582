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
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from sink import arguments, config, hardening, hooks, privileges
from sink.config import Config
from sink.fault import OK, TEMPFAIL, Fault

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # the world's, not ours

Command = Callable[[Config, argparse.Namespace], int]


def _as_owner(settings: Config) -> Config:
    privileges.become_owner(settings)
    hardening.lock()  # what it can't have is told by those that run on
    return settings


def _import(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import importer

    options = importer.Options(
        given.files, given.json, given.year, given.stream, given.jobs, given.scheduler, given.config
    )
    return importer.run(settings, options)


def _keys(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import epochs, keycommands

    if given.action == "rotate":
        return epochs.rotate(_as_owner(settings), given.ahead)
    if given.action == "destroy":
        return epochs.destroy(_as_owner(settings), given.epoch, sure=given.yes)
    if given.action == "export":
        return keycommands.export(settings, given.to)
    if given.action == "import":
        return keycommands.take_in(settings, given.file)
    return {"init": keycommands.init, "list": keycommands.show, "reseal": keycommands.reseal}[given.action](settings)


def _pseudonym(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import pseudonyms

    return pseudonyms.run(_as_owner(settings))


def _lookup(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import person

    wanted = person.Wanted(given.since, given.until, given.sender, given.recipient)
    return person.lookup(_as_owner(settings), wanted, as_json=given.json)


def _forget(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import person

    return person.forget(_as_owner(settings), sure=given.yes, again=given.again)


def _export(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import export
    from sink.tools.exporting import files

    files.ready(given.format)  # the owner may have no right to load it
    where = (given.recipient, given.release, given.output.absolute(), given.format, given.since, given.until)
    wanted = export.Wanted(*where, given.time, given.size, given.k, given.asked)
    return export.run(_as_owner(settings), wanted)


def _report(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools.report import writing

    return writing.run(settings, writing.Wanted(given.since, given.until, given.top, str(given.output)))


def _explain(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import explain

    return explain.run(settings, explain.Options(given.file, given.year, given.only, given.redact))


def _scrub(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import scrub

    return scrub.run(settings, scrub.Options(given.files, given.digits, given.year))


def _db(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import database

    commands = {"status": database.status, "index": database.index}
    settings = _as_owner(settings)
    if given.action == "init":
        return database.init(settings, citus=given.citus)
    if given.action == "upgrade":
        return database.upgrade(settings, local=given.local)
    if given.action == "reset":
        return database.reset(settings, sure=given.yes)
    if given.action == "prune":
        return database.prune(settings, given.older_than, sure=given.yes)
    return commands[given.action](settings)


def _run(settings: Config, given: argparse.Namespace) -> int:
    from sink.service import run

    path = None if given.config is None else given.config.absolute()  # a detached daemon is elsewhere
    pid_file = None if given.pid_file is None else given.pid_file.absolute()
    return run.run(
        lambda: config.load(path), run.Way(path, given.stdin, given.daemonize, pid_file, given.again)
    )


def _omprog(settings: Config, given: argparse.Namespace) -> int:
    if given.direct:
        from sink.service import direct

        return direct.run(settings, None if given.config is None else given.config.absolute(), given.again)
    from sink.service import relay

    return relay.run(settings)


def _status(_: Config, given: argparse.Namespace) -> int:
    from sink.service import status, verdict

    options = status.Options(given.json, given.check, verdict.Limits(given.max_silence, given.max_wait))
    return status.run(lambda: _as_owner(config.load(given.config)), options)


def _enable(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import enable

    return enable.enable(settings, given.word, dry_run=given.dry_run, subject=given.subject, config=given.config)


def _disable(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools import enable

    return enable.disable(given.word, dry_run=given.dry_run, config=given.config)


def _doctor(settings: Config, given: argparse.Namespace) -> int:
    from sink.tools.doctor import examination

    return examination.run(given.config, as_json=given.json, root=given.root)


COMMANDS: dict[str, Command] = {
    "import": _import, "run": _run, "omprog": _omprog, "status": _status, "keys": _keys, "pseudonym": _pseudonym,
    "lookup": _lookup, "forget": _forget, "export": _export, "report": _report, "explain": _explain, "scrub": _scrub,
    "db": _db, "enable": _enable, "disable": _disable, "doctor": _doctor,
}  # fmt: skip


def main(typed: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    hardening.harden()
    hooks.install()
    _standard_files()
    try:
        given = arguments.parser().parse_args(typed)
        # doctor reads the config of another root, and opens no file that it names; what is enabled can be taken back
        # whatever the config says; status says in its own words that a config is wrong
        needs_none = given.command in ("doctor", "disable", "status")
        settings = Config() if needs_none else config.load(given.config)
        status = COMMANDS[given.command](settings, given)
    except SystemExit as end:  # of --help and --version
        status = int(end.code or OK)
    except Fault as fault:
        _say(str(fault))
        status = fault.status
    except KeyboardInterrupt:
        _say("stopped; start it again to do the rest")
        status = TEMPFAIL
    except OSError as error:
        status = _unwritten(error, OK)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        status = _unwritten(error, status)
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return status


def _say(words: str) -> None:
    with suppress(OSError):  # stderr may be what is full
        print(f"postsink: {words}", file=sys.stderr)


def _discard(stream: TextIO) -> None:
    """Have what a stream could not write go nowhere: Python would try again at its end, complain, and end with 120."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _unwritten(error: OSError, status: int) -> int:
    """Return how a command ends whose stdout takes no more; raise what is no such error."""
    if error.errno not in (errno.EPIPE, *_FULL):
        raise error
    _discard(sys.stdout)
    if error.errno == errno.EPIPE:
        return status  # whoever read stdout has left, as `| head` does; nothing is left to say to him
    _say("can't write any more; free some space and start again")
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
