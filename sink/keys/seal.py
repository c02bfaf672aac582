"""Opens seals: the secrets that lock the keyring, each kept apart from it.

Rules: a secret comes from a systemd credential, a root-only file, an inherited descriptor or a person at
the terminal, never from argv or an environment variable; weak ones and placeholders are refused, whatever
their kind; the first seal that opens is used, and when none does, one line says why of each.
"""

import getpass
import os
import re
import secrets
import stat
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from sink import rootonly
from sink.config import CredentialSeal, DescriptorSeal, FileSeal, PassphraseSeal, Seal
from sink.fault import CONFIG, NOPERM, Fault
from sink.keys import keyfile

LEAST: Final = 32  # bytes of a machine's secret: 16 random bytes in hex, or 32 raw ones
LEAST_TYPED: Final = 12  # characters of a passphrase; ours, scrypt makes up for some of the rest
LEAST_DISTINCT: Final = 8  # of 32 random hex digits, fewer are distinct once in a million
LEAST_DISTINCT_TYPED: Final = 6
_LEAST_STEPS: Final = 4  # "0123…", "abc…" and counted bytes climb by one or two steps only
_MOST_BYTES: Final = 4096
_TTY: Final = "/dev/tty"

# Ours: what samples and installers put where a secret should be.
_PLACEHOLDERS: Final = re.compile(
    rb"change[ _-]?(?:me|it|this)|password|passphrase|passw0rd|secret|default|example|sample|placeholder"
    rb"|replace|insert|your|here|postsink|qwerty|letmein|admin|test|todo|none|null|key|x{3,}+|12345+6?7?8?9?0?"
)
_OPENSSL: Final = "make one with: openssl rand -hex 32"
_RESTORE: Final = "restore it from its backup or correct `seal` in the config"


@dataclass(frozen=True, slots=True)
class Secret:
    """What a seal holds; a typed one is stretched by scrypt, since people choose few bits."""

    value: bytes = field(repr=False)
    typed: bool = False


def open_secret(seals: Sequence[Seal], *, new: bool = False) -> tuple[Seal, Secret]:
    """Gives the first seal that opens.

    `new` is for making a keyring: a file seal that is missing is made, a passphrase asked for twice.
    """
    refused: list[Fault] = []
    for seal in seals:
        try:
            if new and isinstance(seal, FileSeal):
                ensure_file_seal(seal.path)
            return seal, _open(seal, new)
        except Fault as fault:
            refused.append(fault)
    raise none_opens("no seal opens", refused)


def candidates(seals: Sequence[Seal], typed: bool, refused: list[Fault]) -> Iterator[tuple[Seal, Secret]]:
    """Gives each seal that opens and is, or is not, a typed one; what does not open goes into `refused`.

    A keyring says which of both kinds it needs, so nobody is asked for a passphrase that can't fit.
    """
    for seal in seals:
        if isinstance(seal, PassphraseSeal) is not typed:
            continue
        try:
            yield seal, _open(seal, new=False)
        except Fault as fault:
            refused.append(fault)


def none_opens(what: str, refused: Sequence[Fault]) -> Fault:
    """Joins the Faults of all seals into one: 77 when permission is all they lack, else 78."""
    denied = bool(refused) and all(fault.status == NOPERM for fault in refused)
    reasons = "; or ".join(fault.message for fault in refused)
    return Fault(NOPERM if denied else CONFIG, f"{what}: {reasons or 'name one in the config as `seal`'}")


def create_file_seal(path: Path) -> None:
    """Makes a seal file of mode 0400: 32 random bytes in hex. Never overwrites, never follows a link."""
    rootonly.make_folder(path, 0o755)
    with keyfile.changing(path):
        keyfile.make(path, secrets.token_hex(32).encode() + b"\n", 0o400)


def ensure_file_seal(path: Path) -> None:
    """Makes a seal file where it is missing; takes away what a killed command left beside it."""
    if not rootonly.is_there(path):
        create_file_seal(path)
    else:
        with suppress(Fault), keyfile.changing(path):  # one that is held lies where only root may look
            pass


def weakness(value: bytes, least: int = LEAST, distinct: int = LEAST_DISTINCT) -> str | None:
    """Says why a secret is weak, or gives None: an estimate by form, blind to how it was made."""
    if len(value) < least:
        return f"is shorter than {least} characters"
    # Half: random base64 holds a short word once in a thousand.
    if len(_PLACEHOLDERS.sub(b"", value.lower())) < least // 2:
        return "is a placeholder"
    if len(set(value)) < distinct:
        return "repeats a few characters"
    if (value + value).find(value, 1) < len(value):
        return "repeats itself"
    if len({after - before for before, after in pairwise(value)}) < _LEAST_STEPS:
        return "is a mere sequence"
    return None


def _open(seal: Seal, new: bool) -> Secret:
    match seal:
        case CredentialSeal(name):
            data = _credential(name)
        case FileSeal(path):
            data = rootonly.read(path, _MOST_BYTES, missing=_RESTORE)
        case DescriptorSeal(fd):
            data = _descriptor(fd)
        case PassphraseSeal():
            return typed("New passphrase of the keyring: " if new else "Passphrase of the keyring: ", new=new)
    # Editors and echo end a line; a raw key may end in the same byte by chance.
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    value = line if line.isascii() and line.decode("ascii").isprintable() else data
    weak = weakness(value)
    if weak:
        raise Fault(CONFIG, f"{seal} {weak}; {_OPENSSL}")
    return Secret(value)


def _credential(name: str) -> bytes:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    remedy = f"add to the unit: LoadCredential={name}:PATH"
    if not folder:
        raise Fault(CONFIG, f"credential {name} needs systemd, which gave none; {remedy}")
    # systemd gives the service's user access by an ACL, whose mask shows as the group's bits.
    return rootonly.read(Path(folder, name), _MOST_BYTES, missing=remedy, bits=stat.S_IRWXO)


def _descriptor(fd: int) -> bytes:
    try:
        # Only what was inherited: a file that this process opened itself (PEP 446) is no seal.
        if not os.get_inheritable(fd):
            raise Fault(CONFIG, f"fd {fd} was not handed down; start the command with {fd}<FILE")
        with open(fd, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError:
        raise Fault(CONFIG, f"fd {fd} is not open for reading; start the command with {fd}<FILE") from None
    if len(data) > _MOST_BYTES:
        raise Fault(CONFIG, f"fd {fd} gives more than {_MOST_BYTES} bytes; check that it is the right file")
    return data


def typed(prompt: str, *, new: bool) -> Secret:
    """Asks for a passphrase at the terminal; a new one twice, and it must not be weak. Fault 78."""
    first = _ask(prompt)
    if not new:
        return Secret(first, typed=True)
    weak = weakness(first, LEAST_TYPED, LEAST_DISTINCT_TYPED)
    if weak:
        raise Fault(CONFIG, f"the passphrase {weak}; take four or more random words")
    if not secrets.compare_digest(first, _ask("Again: ")):
        raise Fault(CONFIG, "the passphrases differ; type the same one twice")
    return Secret(first, typed=True)


def _ask(prompt: str) -> bytes:
    """Asks at the terminal of the person, never on stdin, which may be the log."""
    try:
        # getpass falls back to stdin where there is no terminal, with a warning only.
        os.close(os.open(_TTY, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            text = getpass.getpass(prompt)
        # The same passphrase typed on another keyboard may come decomposed.
        return unicodedata.normalize("NFC", text).encode()
    except (OSError, EOFError, getpass.GetPassWarning):
        raise Fault(CONFIG, "a passphrase needs a terminal; run this by hand or name another seal") from None
    except ValueError:
        raise Fault(CONFIG, "the passphrase is not UTF-8; check the terminal's locale") from None
