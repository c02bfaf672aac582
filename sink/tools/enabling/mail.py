"""Postfix: that it logs the headers of a row, and that postsink knows its tokens and domains.

syslog-conf/postfix/README.md tells what the tables are for, and how the same is done by hand; both take back what
the other did. main.cf is changed by postconf, in a copy that then takes its place.
"""

import re
import secrets
import shutil
import string
import tempfile
from pathlib import Path
from typing import Final

from sink import config
from sink.config import Config
from sink.fault import CONFIG, UNAVAILABLE, Fault
from sink.tools.enabling import domains, journal, relays, snippets
from sink.tools.enabling.change import Change, Edit, content, differing
from sink.tools.enabling.machine import Machine, plain

TABLES: Final = ("header_checks", "milter_header_checks")
# Both default to $header_checks: set to what that was, parts of a message are not logged as its headers.
PARAMETERS: Final = ("header_checks", "mime_header_checks", "nested_header_checks", "milter_header_checks")
_LETTERS: Final = string.ascii_letters + string.digits
_SUBJECT: Final = re.compile(r"^/\^\(Subject:.*\n", re.MULTILINE)
_TRIED: Final = {"header_checks": "From: x", "milter_header_checks": "X-Spam-Score: 1"}


def _folder(machine: Machine) -> Path:
    return machine.at("etc/postfix")


def _config(machine: Machine) -> Path:
    return machine.config or machine.at(str(config.DEFAULT_PATH)[1:])


def is_on(machine: Machine) -> bool:
    """Whether Postfix logs headers by our tables."""
    return content(_folder(machine) / "postsink_before") is not None


def closed_by(machine: Machine) -> list[str]:
    """Return the words that close the raw path here: lines of Postfix then reach postsink alone."""
    closed = {
        "rsyslog": relays.closed_by_rsyslog(machine),
        "syslog-ng": relays.closed_by_syslog_ng(machine),
        "journald": journal.is_bound(machine),
    }
    return [word for word, is_closed in closed.items() if is_closed]


def _check_raw_path(machine: Machine) -> None:
    closed = closed_by(machine)
    if not closed:
        raise Fault(
            CONFIG,
            "header lines would go to the log raw; type first: postsink enable rsyslog (or syslog-ng, or journald)",
        )
    if "rsyslog" in closed:
        relays.check_first(machine)
    journal.check_storage(machine)
    if _postconf(machine, "-h", "maillog_file"):
        raise Fault(CONFIG, "Postfix writes its log itself, raw; type: postconf -X maillog_file && postfix reload")


def _postconf(machine: Machine, *arguments: str, folder: Path | None = None) -> str:
    said = machine.run("postconf", "-c", str(folder or _folder(machine)), *arguments)
    if said.status:
        raise Fault(CONFIG, f"postconf refuses Postfix's configuration{said.place()}; put that right first")
    return said.output.strip()


def _check_postfix(machine: Machine) -> None:
    said = machine.run("postfix", "-c", str(_folder(machine)), "check")
    if said.status:
        raise Fault(CONFIG, f"postfix check refuses the configuration{said.place()}; {relays.REMEDY}")


def _kind(machine: Machine) -> str:
    """Return the type of our tables: that of the first time, or the better one that this Postfix has."""
    before = re.search(r"\b(pcre|regexp):\S*/postsink_header_checks", _postconf(machine, "-h", "header_checks"))
    if before and is_on(machine):
        return before[1]
    return "pcre" if "pcre" in _postconf(machine, "-m").split() else "regexp"


def _check_tables(machine: Machine, kind: str) -> None:
    """Stop unless Postfix itself finds our rules in the tables: a rule that it can't read it only leaves out."""
    folder = _folder(machine)
    for table in TABLES:
        path = folder / f"postsink_{table}"
        said = machine.run("postmap", "-c", str(folder), "-q", "-", f"{kind}:{path}", given=f"{_TRIED[table]}\n")
        if "INFO #" not in said.output or said.errors:
            raise Fault(CONFIG, f"Postfix can't read {path.name} as a {kind} table; install postfix-pcre anew")


def _tables(machine: Machine, kind: str, token: str, subject: str | None) -> list[Edit]:
    folder = _folder(machine)
    if subject is None:  # as it was
        old = (content(folder / "postsink_header_checks") or b"Subject:").decode(errors="replace")
        subject = "size" if "Subject:" in snippets.active(old.encode()) else "none"
    edits = []
    for table in TABLES:
        text = snippets.text(f"postfix/{table}.{kind}").replace("#TOKEN", f"#{token}")
        if subject == "none":
            text = _SUBJECT.sub("", text)
        edits.append(Edit(folder / f"postsink_{table}", text.encode(), mode=0o600))
    return edits


def _main_cf(machine: Machine, kind: str) -> list[Edit]:
    """Return main.cf with our tables, and what it said before; nothing where they are in it."""
    if is_on(machine):
        return []
    folder = _folder(machine)
    old = {name: _postconf(machine, "-xh", name) for name in PARAMETERS}
    ours = {table: f"{kind}:{plain(folder / f'postsink_{table}')}" for table in TABLES}
    new = {name: ", ".join(filter(None, (value, ours.get(name)))) for name, value in old.items()}
    before = _postconf(machine, "-n", *PARAMETERS)
    return [
        Edit(folder / "postsink_before", (before + "\n").encode() if before else b"", mode=0o600),
        _edited(machine, [f"{name}={value}" for name, value in new.items()], []),
    ]


def _edited(machine: Machine, settings: list[str], dropped: list[str]) -> Edit:
    main = _folder(machine) / "main.cf"
    with tempfile.TemporaryDirectory(prefix="postsink-") as name:
        copy = Path(name)
        shutil.copy(main, copy / "main.cf")
        if settings:
            _postconf(machine, "-e", *settings, folder=copy)
        if dropped:
            _postconf(machine, "-X", *dropped, folder=copy)
        return Edit(main, content(copy / "main.cf"))


def _settings(machine: Machine, settings: Config) -> tuple[str, list[Edit], list[str]]:
    """Return the token, the edits of the config and of the files that it names, and words."""
    path, notes = _config(machine), []
    text = (content(path) or b"").decode(errors="replace")
    edits = []
    if settings.header_tokens:
        token = settings.header_tokens[0].decode()
    else:
        token = "".join(secrets.choice(_LETTERS) for _ in range(16))
        secret = path.parent / "header-tokens"
        if (old := content(secret)) is not None:
            token = next(iter(re.findall(r"^[A-Za-z0-9]{16}\b", old.decode(errors="replace"), re.MULTILINE)), token)
        else:
            edits.append(Edit(secret, f"{token}\n".encode(), mode=0o600, owner=machine.account()))
        text = _with_key(text, "header_tokens", plain(secret.absolute()))
    listed = path.parent / "local-domains"
    ours = f"local_domains: {listed.absolute()}"
    if settings.local_domains and not re.search(rf"^{re.escape(ours)}\s*$", text, re.MULTILINE):
        notes.append("local_domains of the config is yours and stays; hold it against: postconf -x mydestination")
    else:
        names, unknown = domains.local(machine, _folder(machine))
        head = f"# Where mail ends here, by Postfix's {', '.join(domains.PARAMETERS)}; written by postsink enable.\n"
        edits.append(Edit(listed, (head + "".join(f"{name}\n" for name in names)).encode()))
        text = _with_key(text, "local_domains", plain(listed.absolute()))
        notes += [f"{name} can't be listed; write all domains into local_domains yourself" for name in unknown]
    return token, [*edits, Edit(path, text.encode())], notes


def _with_key(text: str, key: str, value: str) -> str:
    """Return the config with a key: for its line, else for the comment that shows its default, else at the end."""
    line = f"{key}: {value}"
    for pattern in (rf"^{key}:.*$(?:\n[ \t-].*$)*", rf"^#{key}:.*$"):
        if re.search(pattern, text, re.MULTILINE):
            return re.sub(pattern, lambda _: line, text, count=1, flags=re.MULTILINE)
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"


def _check_config(machine: Machine) -> None:
    settings = config.load(_config(machine))
    if not settings.header_tokens:
        raise Fault(CONFIG, "the config can't be changed line by line; write header_tokens and local_domains into it")


def _commands(machine: Machine) -> tuple[tuple[str, ...], ...]:
    # The daemon first: it must know the token when lines with it come.
    daemon = (("systemctl", "try-reload-or-restart", "postsink.service"),) if machine.unit("postsink.service") else ()
    return (*daemon, ("systemctl", "try-reload-or-restart", "postfix.service"))


def enable(machine: Machine, settings: Config, subject: str | None = None) -> Change:
    """Return the change that has Postfix log headers, and tells postsink its token and domains."""
    folder = _folder(machine)
    if content(folder / "main.cf") is None or not machine.finds("postconf"):
        raise Fault(UNAVAILABLE, f"there is no Postfix with a {folder}/main.cf; install and configure it")
    _check_raw_path(machine)
    kind = _kind(machine)
    token, edits, notes = _settings(machine, settings)
    edits += [*_tables(machine, kind, token, subject), *_main_cf(machine, kind)]
    return Change(
        edits=differing(*edits),
        checks=(
            lambda: _check_config(machine),
            lambda: _check_tables(machine, kind),
            lambda: _check_postfix(machine),
        ),
        commands=_commands(machine),
        by_hand="postfix reload (and before it: kill -HUP of postsink run)",
        notes=tuple(notes),
    )


def disable(machine: Machine) -> Change:
    """Return the change that has Postfix log no headers. Token and domains stay: older lines need them."""
    folder = _folder(machine)
    edits = [Edit(folder / f"postsink_{table}", None) for table in TABLES]
    before = content(folder / "postsink_before")
    if before is not None:
        lines = [line for line in before.decode().split("\n") if line.strip()]
        named = {line.partition("=")[0].strip() for line in lines}
        edits += [
            _edited(machine, lines, [name for name in PARAMETERS if name not in named]),
            Edit(folder / "postsink_before", None),
        ]
    is_there = machine.finds("postfix") is not None
    return Change(
        edits=differing(*edits),
        checks=(lambda: _check_postfix(machine),) if is_there else (),
        commands=(("systemctl", "try-reload-or-restart", "postfix.service"),) if is_there else (),
        by_hand="postfix reload" if is_there else "",
    )
