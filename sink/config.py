"""Reads the config file into a frozen `Config`; packaging/postsink.yaml says what each key is for.

Rules: every value is checked here, so that the rest of the program asks nothing; whatever is wrong is one
Fault with its line number (`sink.yamlfile`); relative paths start at the folder of the config file.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from sink import rootonly
from sink.core.addresses import NormalForm, normal
from sink.endpoint import Endpoint, endpoint
from sink.fault import CONFIG, NOINPUT, Fault
from sink.outputs import ClearIps, LogTo, account, clear_ips, duration, log, path_of
from sink.yamlfile import Value, compose, text_of

DEFAULT_PATH: Final = Path("/etc/postsink/postsink.yaml")
CATEGORIES: Final = (  # DESIGN's closed list of reject categories
    "over_quota", "greylisted", "unknown_user", "relay_denied", "blocklist", "rate", "policy", "content",
    "size", "syntax", "auth", "dns", "connection", "timeout", "tls", "loop", "suspended", "temporary",
    "local", "other",
)  # fmt: skip
TOKEN: Final = re.compile(rb"[A-Za-z0-9]{16}")  # DESIGN "Header lines without forgery"

_DAY: Final = 86_400
_POWERS: Final = {"K": 10, "M": 20, "G": 30, "T": 40}
_SIZE: Final = re.compile(r"([1-9][0-9]{0,5})([KMGT])")
_LEAST_PATIENCE: Final = 3600  # ours: retries of one message are up to 4000 s apart by default
_MOST_PATIENCE: Final = 366 * _DAY
MOST_KEEP: Final = 36_500 * _DAY
# RFC 1035 lengths; with the underscore, which DNS has and host names have not.
_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}+(?>(?:\.[a-z0-9_][a-z0-9_-]{0,62}+)*)")
_DOMAIN_TEXT: Final = re.compile(r"[A-Za-z0-9_.\u0080-\U0010ffff-]+")  # before it is put into A-labels
_MODE: Final = re.compile(r"0?[0-7]{3}")
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")  # a file name; systemd.exec(5)
_MOST_DOMAIN_BYTES: Final = 1 << 26  # ours: about three million domains
_MOST_ENTRIES: Final = 10_000
_MOST_PATTERNS: Final = 100  # ours: each is searched for in every refusal
_LEAST_PATTERN, _MOST_PATTERN = 4, 200  # ours: shorter ones match by accident
_MOST_TOKEN_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class CredentialSeal:
    """A systemd credential: the file of that name in $CREDENTIALS_DIRECTORY."""

    name: str

    def __str__(self) -> str:
        return f"credential {self.name}"


@dataclass(frozen=True, slots=True)
class FileSeal:
    """A file that only root, or whoever runs postsink, can read."""

    path: Path

    def __str__(self) -> str:
        return f"file {self.path}"


@dataclass(frozen=True, slots=True)
class DescriptorSeal:
    """An open file that the parent process hands down."""

    fd: int

    def __str__(self) -> str:
        return f"fd {self.fd}"


@dataclass(frozen=True, slots=True)
class PassphraseSeal:
    """Something that a person types at the terminal."""

    def __str__(self) -> str:
        return "passphrase"


Seal = CredentialSeal | FileSeal | DescriptorSeal | PassphraseSeal


@dataclass(frozen=True, slots=True)
class Listen:
    """A Unix socket on which the daemon takes log lines."""

    kind: Literal["stream", "datagram"]
    path: Path
    mode: int = 0o600
    owner: str = ""  # a user's name; "": who runs the daemon
    group: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    """What the operator chose; each field is a key of the config file and has its default here."""

    store: Path = Path("/var/lib/postsink/postsink.sqlite")
    database: str | None = field(default=None, repr=False)  # may hold a password
    database_admin: str | None = field(default=None, repr=False)
    outbox: int = 2 << 30  # bytes of the store while rows wait for the database
    keyring: Path = Path("/var/lib/postsink/keyring")
    seal: tuple[Seal, ...] = (FileSeal(Path("/etc/postsink/seal.key")),)
    local_domains: tuple[str, ...] = ()  # lower case, A-labels, no trailing dot
    trusted_networks: tuple[str, ...] = ()  # CIDR
    internal_relays: tuple[str, ...] = ()  # CIDR, IP address or lower-case host name
    header_tokens: tuple[bytes, ...] = field(default=(), repr=False)  # the file's content, not its path
    timezone: str | None = None  # None: the machine's when the store is made, then the store's
    queue_id: Literal["hashed", "plain"] = "hashed"
    rejects: tuple[str, ...] = tuple(word for word in CATEGORIES if word != "blocklist")
    reject_patterns: tuple[tuple[bytes, str], ...] = ()  # (lower-case substring, category)
    fold_local_part: bool = True
    cut_detail: bool = True
    patience: int = 6 * _DAY  # Postfix's maximal_queue_lifetime and one day more (DESIGN law 4)
    listen: tuple[Listen, ...] = (Listen("stream", Path("/run/postsink/stream")),)
    when_full: Literal["drop", "block"] = "drop"
    metrics: Endpoint | None = None
    log: LogTo | None = None
    clear_ips: ClearIps | None = None
    rotate: Literal["never", "weekly", "monthly", "quarterly", "yearly"] = "never"
    keep: int | None = None  # seconds that a row is kept; None: for ever


def load(path: Path | None = None) -> Config:
    """Reads the config file at `path`; without one the default file when it is there, else the defaults."""
    try:
        text = text_of(path or DEFAULT_PATH)
    except Fault as fault:
        if path is None and fault.status == NOINPUT:
            return Config()
        raise
    fields = _fields(path or DEFAULT_PATH, text, _READERS)
    tokens = fields.pop("header_tokens", None)
    found = Config(**fields)
    return found if tokens is None else replace(found, header_tokens=_tokens(tokens, found))


def survey(path: Path, text: str) -> tuple[Config, Path | None]:
    """Reads a config's text for doctor, and opens no file that it names: those may be of another root, or open to
    others. Gives the config without the tokens, and the path of their file.
    """
    fields = _fields(path, text, {**_READERS, "local_domains": _local_domains_unopened})
    tokens = fields.pop("header_tokens", None)
    return Config(**fields), tokens


def _fields(path: Path, text: str, readers: Mapping[str, Callable[[Value], Any]]) -> dict[str, Any]:
    node = compose(path, text)
    if node is None or Value(path, "", node).is_null():
        return {}
    fields = Value(path, "the file", node).fields(readers)
    return {key: value for key, value in fields.items() if value is not None}


def _database(value: Value) -> str | None:
    return None if value.is_null() else value.text()


def _seals(value: Value) -> tuple[Seal, ...]:
    if not value.is_list():
        return (_seal(value),)
    seals = tuple(_seal(item) for item in value.items(8))
    if not seals:
        raise value.fault("is an empty list; name a credential, a file, an fd or passphrase")
    return seals


def _seal(value: Value) -> Seal:
    if value.is_text() and value.node.value == "passphrase":
        return PassphraseSeal()
    if not value.is_mapping():
        raise value.fault("must be {credential: NAME}, {file: PATH}, {fd: N} or passphrase")
    kinds = value.fields(_SEALS)
    if len(kinds) != 1:
        raise value.fault("must name one thing an entry; write several as a list")
    return next(iter(kinds.values()))


def _credential(value: Value) -> Seal:
    if not _CREDENTIAL.fullmatch(value.text()):
        raise value.fault("must be the name of a systemd credential, without a path")
    return CredentialSeal(value.text())


def _descriptor(value: Value) -> Seal:
    number = int(value.digits() or 0)
    if not 3 <= number < 1 << 16:
        raise value.fault("must be a number from 3: below are stdin, stdout and stderr")
    return DescriptorSeal(number)


_SEALS: Final[Mapping[str, Callable[[Value], Seal]]] = {
    "credential": _credential, "file": lambda value: FileSeal(path_of(value)), "fd": _descriptor,
}  # fmt: skip


def _domain(text: str) -> str | None:
    """Gives a domain in the normal form that addresses are compared in, or None when it is not a domain."""
    if not _DOMAIN_TEXT.fullmatch(text):
        return None
    _, domain = normal(b"x@" + text.encode(), NormalForm())
    name = (domain or b"").decode()
    return name if _DOMAIN.fullmatch(name) else None


def _local_domains(value: Value) -> tuple[str, ...]:
    if not value.is_list():
        path = path_of(value)
        if not os.path.exists(path):
            raise value.fault("names a file that is missing; make it, or write a list like [example.com]")
        return _domain_file(path)
    domains = []
    for item in value.items(_MOST_ENTRIES):
        domain = _domain(item.text())
        if domain is None:
            raise item.fault("holds something that is no domain; write names like example.com")
        domains.append(domain)
    return tuple(dict.fromkeys(domains))


def _local_domains_unopened(value: Value) -> tuple[str, ...] | None:
    return _local_domains(value) if value.is_list() else None


def _domain_file(path: Path) -> tuple[str, ...]:
    domains = []
    for number, line in enumerate(text_of(path, _MOST_DOMAIN_BYTES).split("\n"), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        domain = _domain(text)
        if domain is None:
            raise Fault(CONFIG, f"{path} line {number}: not a domain; write one a line, like example.com")
        domains.append(domain)
    return tuple(dict.fromkeys(domains))


def _network(value: Value) -> str:
    """Gives a network in canonical form; Postfix writes IPv6 ones in brackets, so these are taken too."""
    text = value.text()
    try:
        return str(ip_network(re.sub(r"\A\[([0-9A-Fa-f:.]+)\](/[0-9]{1,3})?\Z", r"\1\2", text)))
    except ValueError:
        raise value.fault("must hold networks like 192.0.2.0/28, without bits of a host") from None


def _relay(value: Value) -> str:
    text = value.text()
    if "/" in text:
        return _network(value)
    try:
        return str(ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        domain = _domain(text)
    # A name of digits and dots alone is a mistyped address.
    if domain is None or not re.search("[a-z]", domain):
        raise value.fault("must hold networks, IP addresses or host names, without a port")
    return domain


def _timezone(value: Value) -> str | None:
    if value.is_null():
        return None
    name = value.text()
    try:
        if name != "UTC":  # needs no tzdata
            ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise value.fault("must be a time zone like Europe/Berlin; see timedatectl list-timezones") from None
    return name


def _tokens(path: Path, config: Config) -> tuple[bytes, ...]:
    # Root reads it for the owner of the installation, too, whom it is about to become (sink.privileges).
    folder = rootonly.folder_of(config.store, config.keyring)
    owner = folder.st_uid if folder is not None and os.geteuid() == 0 else 0
    missing = "make it (a token of 16 letters and digits a line) or take header_tokens out of the config"
    tokens = []
    for number, line in enumerate(rootonly.read(path, _MOST_TOKEN_BYTES, missing=missing, owner=owner).split(b"\n"), 1):
        token = line.partition(b"#")[0].strip()
        if not token:
            continue
        if not TOKEN.fullmatch(token):
            raise Fault(CONFIG, f"{path} line {number}: not a token; write 16 letters and digits")
        tokens.append(token)
    return tuple(dict.fromkeys(tokens))


def _categories(value: Value) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.word(CATEGORIES) for item in value.items(len(CATEGORIES))))


def _pattern_text(value: Value) -> str:
    text = value.text()
    if not _LEAST_PATTERN <= len(text) <= _MOST_PATTERN:
        raise value.fault(f"must have {_LEAST_PATTERN} to {_MOST_PATTERN} characters")
    return text


_PATTERN: Final[Mapping[str, Callable[[Value], str]]] = {
    "pattern": _pattern_text, "category": lambda value: value.word(CATEGORIES),
}  # fmt: skip


def _patterns(value: Value) -> tuple[tuple[bytes, str], ...]:
    pairs = []
    for item in value.items(_MOST_PATTERNS):
        pair = item.fields(_PATTERN)
        if len(pair) != len(_PATTERN):
            raise item.fault("must be entries of two keys; write {pattern: TEXT, category: WORD}")
        pairs.append((pair["pattern"].encode().lower(), pair["category"]))
    return tuple(pairs)


def _size(value: Value, least: int, most: int, like: str) -> int:
    found = _SIZE.fullmatch(value.node.value) if value.is_text() else None
    size = int(found[1]) << _POWERS[found[2]] if found else int(value.digits() or 0)
    if not least <= size <= most:
        raise value.fault(f"must be a size from {like}, or a number of bytes")
    return size


def _listen(value: Value) -> tuple[Listen, ...]:
    sockets: list[Listen] = []
    for item in value.items(16):
        found = item.fields(_SOCKET)
        kinds = [kind for kind in ("stream", "datagram") if kind in found]
        if len(kinds) != 1:
            raise item.fault("must name one socket an entry; write {stream: PATH} or {datagram: PATH}")
        path = found.pop(kinds[0])
        sockets.append(Listen("stream" if kinds == ["stream"] else "datagram", path, **found))
    return tuple(sockets)


def _mode(value: Value) -> int:
    text = "" if value.is_list() or value.is_mapping() else str(value.node.value)
    if not _MODE.fullmatch(text):
        raise value.fault("must be an octal mode, like 0660")
    return int(text, 8)


_SOCKET: Final[Mapping[str, Callable[[Value], Any]]] = {
    "stream": path_of, "datagram": path_of, "mode": _mode, "owner": account, "group": account,
}  # fmt: skip

# A reader that gives None leaves the default.
_READERS: Final[Mapping[str, Callable[[Value], Any]]] = {
    "store": path_of,
    "database": _database,
    "database_admin": _database,
    "outbox": lambda value: _size(value, 1 << 28, 1 << 44, "256M to 16T, like 2G"),  # open messages need 100M of it
    "keyring": path_of,
    "seal": _seals,
    "local_domains": _local_domains,
    "trusted_networks": lambda value: tuple(map(_network, value.items(_MOST_ENTRIES))),
    "internal_relays": lambda value: tuple(map(_relay, value.items(_MOST_ENTRIES))),
    "header_tokens": lambda value: None if value.is_null() else path_of(value),
    "timezone": _timezone,
    "queue_id": lambda value: value.word(("hashed", "plain")),
    "rejects": _categories,
    "reject_patterns": _patterns,
    "fold_local_part": Value.truth,
    "cut_detail": Value.truth,
    "patience": lambda value: duration(value, _LEAST_PATIENCE, _MOST_PATIENCE, "1h to 366d, like 6d"),
    "listen": _listen,
    "metrics": endpoint,
    "log": log,
    "clear_ips": clear_ips,
    "when_full": lambda value: value.word(("drop", "block")),
    "rotate": lambda value: value.word(("never", "weekly", "monthly", "quarterly", "yearly")),
    "keep": lambda value: None if value.is_null() else duration(value, _DAY, MOST_KEEP, "1d to 36500d, like 90d"),
}
