"""rsyslog and syslog-ng: that they hand Postfix's lines to postsink, before any rule of theirs sees them."""

import re
import tempfile
from pathlib import Path
from typing import Final

from sink.config import Config
from sink.fault import CONFIG, UNAVAILABLE, Fault
from sink.tools.enabling import journal, snippets
from sink.tools.enabling.change import Change, Edit, content
from sink.tools.enabling.machine import Machine, plain

REMEDY: Final = "nothing is changed, so put that right first"
_MODULE: Final = re.compile(r"""^\s*(?:module\(\s*load="|\$ModLoad\s+)(omprog|impstats)\b""", re.MULTILINE)
# A traditional rule: selector, blanks, and where it goes; rsyslog.conf(5).
_RULE: Final = re.compile(r"^\s*([a-z0-9*,]+\.[!=*a-z0-9,;.]+)\s+\S", re.MULTILINE)
# Whatever else may do something with a line.
_SCRIPT: Final = re.compile(r"^\s*(?:if\b|action\(|call\b|:\w+)", re.MULTILINE)
_LOG_PATH: Final = re.compile(r"^\s*log\b", re.MULTILINE)
_VERSION: Final = re.compile(r"^@version:.*\n", re.MULTILINE)
_INCLUDE: Final = re.compile(r'^@include "[^"]*/postsink\.conf".*\n', re.MULTILINE)


# -- rsyslog


def _rsyslog(machine: Machine) -> tuple[Path, Path]:
    return machine.at("etc/rsyslog.conf"), machine.at("etc/rsyslog.d/10-postsink.conf")


def _whole(machine: Machine) -> str:
    """Return rsyslog's configuration with all that it includes, as rsyslogd reads it; 78 where it refuses it."""
    main, _ = _rsyslog(machine)
    # It may hold a password of another output: hence a folder that is ours alone.
    with tempfile.TemporaryDirectory(prefix="postsink-") as folder:
        out = Path(folder) / "rsyslog.conf"
        said = machine.run("rsyslogd", "-N1", "-f", str(main), "-o", str(out))
        if said.status:
            raise Fault(CONFIG, f"rsyslogd -N1 refuses the configuration{said.place()}; {REMEDY}")
        return (content(out) or b"").decode(errors="replace")


def _check_rsyslog(machine: Machine) -> None:
    _whole(machine)


def _takes_mail(selector: str) -> bool:
    """Whether a selector like *.*;auth,mail.none lets lines of the facility mail pass."""
    takes = False
    for part in selector.split(";"):
        facilities, _, priority = part.rpartition(".")
        if {"*", "mail"} & set(facilities.split(",")):
            takes = priority not in ("none", "!*")
    return takes


def _up_to_ours(machine: Machine) -> str:
    """Return what rsyslogd reads up to the end of our file; 78 where it does not read it.

    Its words on where files begin come in the order it opens them, which is not that of the rules; those on where
    they end are in order.
    """
    _, ours = _rsyslog(machine)
    before, found, _ = _whole(machine).partition(f"##### END   CONFIG: {ours}\n")
    if not found:
        raise Fault(CONFIG, f"rsyslog.conf does not read our file; add: $IncludeConfig {ours.parent}/*.conf")
    return before


def check_first(machine: Machine) -> None:
    """Stop where rsyslogd does not read our file, or a rule for mail stands before it."""
    if any(_takes_mail(selector) for selector in _RULE.findall(_up_to_ours(machine))):
        raise Fault(CONFIG, "a rule for mail stands before 10-postsink.conf and would write raw lines; move it behind")


def _for_rsyslog(machine: Machine, settings: Config) -> str:
    """Return our file with this machine's paths, the choice of `when_full`, and no module loaded twice."""
    body = snippets.text("rsyslog/10-postsink.conf").replace("/usr/bin/postsink omprog", f"{machine.postsink()} omprog")
    if settings.when_full == "block":
        body = re.sub(r'^( *)(queue\.timeoutEnqueue="0")', r"\1#\2", body, flags=re.MULTILINE)
        body = re.sub(r'^( *)#(queue\.timeoutEnqueue="[1-9]\d*")', r"\1\2", body, flags=re.MULTILINE)
    _, ours = _rsyslog(machine)
    others = _whole(machine)
    for line in (content(ours) or b"").decode(errors="replace").split("\n"):
        if _MODULE.match(line):
            others = others.replace(f"{line}\n", "", 1)
    for name in set(_MODULE.findall(others)):
        body = re.sub(rf'^(module\(load="{name}")', r"# Loaded elsewhere: \1", body, flags=re.MULTILINE)
    return body


def enable_rsyslog(machine: Machine, settings: Config) -> Change:
    """Return the change that puts our file among rsyslog's."""
    main, ours = _rsyslog(machine)
    if not main.is_file() or not machine.finds("rsyslogd"):
        raise Fault(UNAVAILABLE, "rsyslog is not here; install it, or take another of rsyslog, syslog-ng, journald")
    own, notes = snippets.installed(ours, _for_rsyslog(machine, settings))
    others, more = journal.edits(machine, "rsyslog")
    return Change(
        edits=own + others,
        checks=(
            lambda: check_first(machine),
            lambda: journal.check_heart(ours, closed_by_rsyslog(machine)),
            lambda: journal.check_storage(machine),
        ),
        commands=(*((journal.RESTART,) if others else ()), ("systemctl", "restart", "rsyslog.service")),
        by_hand="service rsyslog restart",
        notes=notes + more,
    )


def disable_rsyslog(machine: Machine) -> Change:
    """Return the change that takes our file away."""
    main, ours = _rsyslog(machine)
    files = [path for path in (ours, journal.conf(machine, "rsyslog")) if path.exists()]
    is_there = main.is_file() and machine.finds("rsyslogd") is not None
    return Change(
        edits=tuple(Edit(path, None) for path in files),
        checks=(lambda: _check_rsyslog(machine),) if is_there else (),
        commands=(
            *((journal.RESTART,) if journal.conf(machine, "rsyslog") in files else ()),
            *((("systemctl", "restart", "rsyslog.service"),) if is_there else ()),
        ),
        by_hand="service rsyslog restart" if is_there else "",
    )


def closed_by_rsyslog(machine: Machine) -> bool:
    """Whether rsyslog hands lines of Postfix to nothing but us."""
    _, ours = _rsyslog(machine)
    lines = [line.strip() for line in snippets.active(content(ours)).split("\n")]
    return 'type="omprog"' in lines and "stop" in lines


# -- syslog-ng


def _syslog_ng(machine: Machine) -> tuple[Path, Path]:
    return machine.at("etc/syslog-ng/syslog-ng.conf"), machine.at("etc/syslog-ng/postsink.conf")


def _check_syslog_ng(machine: Machine) -> None:
    main, _ = _syslog_ng(machine)
    said = machine.run("syslog-ng", "-s", "-f", str(main), "--no-caps")
    if said.status:
        raise Fault(CONFIG, f"syslog-ng -s refuses the configuration{said.place()}; {REMEDY}")


def _for_syslog_ng(settings: Config) -> str:
    stream = next((entry.path for entry in settings.listen if entry.kind == "stream"), None)
    if stream is None:
        raise Fault(CONFIG, "`listen` in the config must hold {stream: /run/postsink/stream}; add it")
    body = snippets.text("syslog-ng/postsink.conf").replace('"/run/postsink/stream"', f'"{plain(stream)}"')
    if settings.when_full == "block":
        body = re.sub(r"^( *)(flags\(catchall, final\);)", r"\1#\2", body, flags=re.MULTILINE)
        body = re.sub(r"^( *)#(flags\(catchall, final, flow-control\);)", r"\1\2", body, flags=re.MULTILINE)
    return body


def _including(text: str, ours: Path) -> str:
    """Return syslog-ng.conf with our line at its top, where it comes before any log path."""
    version = _VERSION.search(text)
    if version is None:
        raise Fault(CONFIG, "syslog-ng.conf has no line @version; add it, as syslog-ng asks for")
    line = f'@include "{plain(ours)}"  # written by postsink enable; before any log path, or mail.log gets raw lines\n'
    rest = _INCLUDE.sub("", text[version.end() :])
    return text[: version.end()] + line + rest


def enable_syslog_ng(machine: Machine, settings: Config) -> Change:
    """Return the change that puts our file before syslog-ng's log paths."""
    main, ours = _syslog_ng(machine)
    if not main.is_file() or not machine.finds("syslog-ng"):
        raise Fault(UNAVAILABLE, "syslog-ng is not here; install it, or take another of rsyslog, syslog-ng, journald")
    own, notes = snippets.installed(ours, _for_syslog_ng(settings))
    others, more = journal.edits(machine, "syslog-ng")
    text = (content(main) or b"").decode(errors="surrogateescape")
    line = Edit(main, _including(text, ours).encode(errors="surrogateescape"))
    includes = () if closed_by_syslog_ng(machine) else (line,)
    return Change(
        edits=own + includes + others,
        checks=(
            lambda: _check_syslog_ng(machine),
            lambda: journal.check_heart(ours, closed_by_syslog_ng(machine)),
            lambda: journal.check_storage(machine),
        ),
        commands=(*((journal.RESTART,) if others else ()), ("systemctl", "restart", "syslog-ng.service")),
        by_hand="service syslog-ng restart",
        notes=notes + more,
    )


def disable_syslog_ng(machine: Machine) -> Change:
    """Return the change that takes our file and its line away."""
    main, ours = _syslog_ng(machine)
    text = (content(main) or b"").decode(errors="surrogateescape")
    without = _INCLUDE.sub("", text)
    edits = [Edit(main, without.encode(errors="surrogateescape"))] if without != text else []
    files = [path for path in (ours, journal.conf(machine, "syslog-ng")) if path.exists()]
    is_there = main.is_file() and machine.finds("syslog-ng") is not None
    return Change(
        edits=(*edits, *(Edit(path, None) for path in files)),
        checks=(lambda: _check_syslog_ng(machine),) if is_there else (),
        commands=(
            *((journal.RESTART,) if journal.conf(machine, "syslog-ng") in files else ()),
            *((("systemctl", "restart", "syslog-ng.service"),) if is_there else ()),
        ),
        by_hand="service syslog-ng restart" if is_there else "",
    )


def closed_by_syslog_ng(machine: Machine) -> bool:
    """Whether syslog-ng hands lines of Postfix to nothing but us."""
    main, ours = _syslog_ng(machine)
    body = snippets.active(content(ours))
    text = (content(main) or b"").decode(errors="replace")
    include, path = _INCLUDE.search(text), _LOG_PATH.search(text)
    early = include is not None and (path is None or include.start() < path.start())
    return early and re.search(r"flags\(catchall, *final\b", body) is not None
