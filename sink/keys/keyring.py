"""Keeps the epoch keys and the correlation key in one sealed file.

The file is JSON: {"header": {…}, "payload": hex, "checksum": hex}. The payload is sealed by ChaCha20-Poly1305
under a key that HKDF-SHA256 derives from the seal's secret and the header's random salt; a passphrase goes
through scrypt before. The header's canonical bytes are the cipher's associated data. The header holds a key
commitment, since the cipher alone would open under more than one key; it is compared before decrypting and
tells a wrong seal. The checksum is no protection: it tells a damaged file from a wrong seal.

Rules: whatever the file holds, reading it ends in a Keyring or a Fault, in bounded time and memory; the file
is replaced whole or not at all. Python can't promise that a secret leaves no copy in memory.
"""

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from sink import rootonly
from sink.config import PassphraseSeal, Seal
from sink.fault import CANTCREATE, CONFIG, TEMPFAIL, Fault
from sink.keys import keyfile
from sink.keys.epochs import RESTORE, WIDTH, Epoch, Keyring, describe
from sink.keys.keyfile import changing
from sink.keys.seal import Secret, candidates, none_opens, open_secret

__all__ = ["Epoch", "Keyring", "changing", "describe", "initialise", "load", "save", "unlock", "unwrap", "wrap"]

FORMAT: Final = "postsink keyring"
VERSION: Final = 1

_SALT: Final = 32
_NONCE: Final = 12  # RFC 8439
MOST_BYTES: Final = 1 << 20
# RFC 7914's parameters; N as OWASP asks (128 MiB). The bounds on reading stand before anything is proven.
_SCRYPT: Final = (1 << 17, 8, 1)
_SCRYPT_N: Final = (1 << 15, 1 << 16, 1 << 17, 1 << 18)
_SCRYPT_R: Final = (8,)
_SCRYPT_P: Final = (1, 2, 3, 4)


def load(path: Path, seals: Sequence[Seal]) -> Keyring:
    """Reads the keyring; see `unlock`."""
    return unlock(path, seals)[0]


def unlock(path: Path, seals: Sequence[Seal], known: Secret | None = None) -> tuple[Keyring, Secret]:
    """Reads the keyring and gives the secret that opened it too, with which a changed one is saved.

    A known secret is tried first: a daemon has no right to read some seals again. Else the first seal that fits is
    used. The states of the epochs are those of now. Faults: 66 missing, 77 no permission, 78 the rest.
    """
    box = _read(path)
    if known is not None:
        found = _fitting(path, box, known)
        if found is not None:
            return found, known
    refused: list[Fault] = []
    for seal, secret in candidates(seals, box.header.scrypt is not None, refused):
        found = _fitting(path, box, secret)
        if found is not None:
            return found, secret
        typed = isinstance(seal, PassphraseSeal)
        remedy = "type it again" if typed else "correct `seal` in the config"
        refused.append(Fault(CONFIG, f"{seal} is not the seal of this keyring; {remedy}"))
    if not refused:
        kind = "a passphrase" if box.header.scrypt else "a credential, file or fd"
        refused.append(Fault(CONFIG, f"it was sealed with {kind}; add that to `seal` in the config"))
    raise none_opens(f"{path} does not open", refused)


def _read(path: Path) -> "_Box":
    """Takes the file apart; reads it again where it was replaced meanwhile, since the old one is overwritten."""
    missing = "make one with: postsink keys init"
    data = b""
    while True:
        before, data = data, rootonly.read(path, MOST_BYTES, missing=missing, any_owner=True)
        try:
            return _parse(path, data)
        except Fault:
            if data == before:
                raise


def wrap(keyring: Keyring, secret: Secret) -> bytes:
    """Gives a keyring as the bytes of a file."""
    return _seal(keyring, secret)


def unwrap(path: Path, data: bytes, ask: Callable[[], Secret]) -> Keyring:
    """Gives the keyring that wrap() made bytes of, under what is typed; the path is for words. Fault 78."""
    box = _parse(path, data)
    if box.header.scrypt is None:
        raise Fault(CONFIG, f"{path} is a host's own keyring; type there: postsink keys export --to FILE")
    found = _fitting(path, box, ask())
    if found is None:
        raise Fault(CONFIG, f"{path} does not open: that is not what it was sealed with; type it again")
    return found


def _fitting(path: Path, box: "_Box", secret: Secret) -> Keyring | None:
    """Opens a box, or gives None where a secret is not what it was sealed with."""
    if secret.typed is not (box.header.scrypt is not None):
        return None
    key, commitment = _derive(box.header, secret)
    if not compare_digest(commitment, box.header.commitment):
        return None
    return _open(path, box, key).as_of(int(time.time()))


def save(keyring: Keyring, path: Path, secret: Secret) -> None:
    """Replaces the keyring file, mode 0600, sealed anew under a fresh salt; by who holds changing(). Faults: 73, 77.

    The old file is overwritten.
    """
    keyfile.replace(path, _seal(keyring, secret), 0o600, _owner(path))


def initialise(
    path: Path, seals: Sequence[Seal], become: Callable[[], None] = lambda: None, given: Keyring | None = None
) -> Keyring:
    """Makes the first keyring, its folder and its file seal where these are missing; never overwrites.

    become() makes root the owner of the keyring, once the seal is made; given: of another host, not a new one.
    """
    if os.path.lexists(path):
        with suppress(Fault), changing(path):  # what a killed one left
            pass
        raise Fault(CANTCREATE, f"{path} exists already; to make a new one, move it away and keep it safe")
    _, secret = open_secret(seals, new=True)
    become()
    rootonly.make_folder(path, 0o700)
    keyring = given or Keyring.create()
    with changing(path):
        keyfile.make(path, _seal(keyring, secret), 0o600, _owner(path))
    return keyring


@dataclass(frozen=True, slots=True)
class _Header:
    salt: bytes
    nonce: bytes
    scrypt: tuple[int, int, int] | None  # N, r, p
    commitment: bytes = b""

    def fields(self) -> dict[str, Any]:
        kdf: dict[str, Any] = {"name": "hkdf-sha256"}
        if self.scrypt:
            kdf = {"name": "scrypt", **dict(zip("nrp", self.scrypt, strict=True))}
        return {
            "format": FORMAT,
            "version": VERSION,
            "kdf": kdf,
            "salt": self.salt.hex(),
            "nonce": self.nonce.hex(),
            "commitment": self.commitment.hex(),
        }


@dataclass(frozen=True, slots=True)
class _Box:
    header: _Header
    associated: bytes  # the header as the file has it, in canonical form
    payload: bytes  # sealed


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def _checksum(associated: bytes, payload: bytes) -> str:
    return sha256(associated + payload).hexdigest()


def _derive(header: _Header, secret: Secret) -> tuple[bytes, bytes]:
    """Derives the key-encryption key and the commitment to it from a seal's secret."""
    value = secret.value
    if header.scrypt:
        n, r, p = header.scrypt
        try:
            value = Scrypt(salt=header.salt, length=32, n=n, r=r, p=p).derive(value)
        except MemoryError:
            need = f"{128 * n * r >> 20} MiB of memory"
            raise Fault(TEMPFAIL, f"a passphrase needs {need}; free some and try again") from None

    def expand(purpose: bytes) -> bytes:
        info = b"postsink keyring 1 " + purpose
        return HKDF(algorithm=SHA256(), length=32, salt=header.salt, info=info).derive(value)

    return expand(b"key-encryption"), expand(b"commitment")


def _seal(keyring: Keyring, secret: Secret) -> bytes:
    """Gives the bytes of the file."""
    scrypt = _SCRYPT if secret.typed else None
    header = _Header(secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE), scrypt)
    key, commitment = _derive(header, secret)
    header = replace(header, commitment=commitment)
    fields = header.fields()
    associated = _canonical(fields)
    payload = _aside(ChaCha20Poly1305(key).encrypt, header.nonce, _content(keyring), associated)
    file = {"header": fields, "payload": payload.hex(), "checksum": _checksum(associated, payload)}
    return json.dumps(file, indent=1).encode("ascii") + b"\n"


def _aside(work: Callable[[bytes, bytes, bytes], bytes], nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """Run a cipher in a thread of its own.

    OpenSSL's AVX-512 code for ChaCha20 leaves a thread's vector registers in a state in which all that this
    thread does later, importing above all, takes a seventh more time. It ends with the thread.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work, nonce, data, associated).result()


def _content(keyring: Keyring) -> bytes:
    epochs = [
        {
            "number": epoch.number,
            "since": epoch.since,
            "until": epoch.until,
            "state": epoch.state,
            "secret": None if epoch.secret is None else epoch.secret.hex(),
        }
        for epoch in keyring.epochs
    ]
    return _canonical({"correlation": keyring.correlation.hex(), "epochs": epochs})


def _owner(path: Path) -> tuple[int, int] | None:
    """Says to whom root hands the file: its owner so far, else its folder's, who runs the daemon."""
    if os.geteuid() != 0:
        return None
    try:
        status = os.stat(path if path.exists() else path.parent)
    except OSError as error:
        raise rootonly.unwritable(path, error) from None
    return status.st_uid, status.st_gid


def _parse(path: Path, data: bytes) -> _Box:
    """Takes the file apart, whatever it holds, and checks all but the seal."""
    try:
        file = _json(data)
        fields = file.get("header") if isinstance(file, dict) else None
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise ValueError
        # Before all else: another version may have other members.
        if fields.get("version") != VERSION:
            raise Fault(CONFIG, f"{path} is of a version this postsink does not know; install a newer one")
        members = _members(file, "header", "payload", "checksum")
        payload, associated = _hex(members["payload"]), _canonical(fields)
        if members["checksum"] != _checksum(associated, payload):
            raise ValueError
        return _Box(_header(fields), associated, payload)
    except (ValueError, RecursionError):
        raise _damaged(path) from None


def _damaged(path: Path) -> Fault:
    return Fault(CONFIG, f"{path} is damaged or no keyring; {RESTORE}")


def _open(path: Path, box: _Box, key: bytes) -> Keyring:
    try:
        content = _aside(ChaCha20Poly1305(key).decrypt, box.header.nonce, box.payload, box.associated)
        members = _members(_json(content), "correlation", "epochs")
        if not isinstance(members["epochs"], list):
            raise ValueError
        return Keyring(tuple(map(_epoch, members["epochs"])), _hex(members["correlation"], WIDTH))
    except (InvalidTag, ValueError, RecursionError):
        raise _damaged(path) from None


def _header(fields: dict[str, Any]) -> _Header:
    _members(fields, "format", "version", "kdf", "salt", "nonce", "commitment")
    kdf = fields["kdf"]
    scrypt = None
    if kdf != {"name": "hkdf-sha256"}:
        members = _members(kdf, "name", "n", "r", "p")
        scrypt = (_number(members["n"]), _number(members["r"]), _number(members["p"]))
        bounded = scrypt[0] in _SCRYPT_N and scrypt[1] in _SCRYPT_R and scrypt[2] in _SCRYPT_P
        if members["name"] != "scrypt" or not bounded:
            raise ValueError
    salt, nonce = _hex(fields["salt"], _SALT), _hex(fields["nonce"], _NONCE)
    return _Header(salt, nonce, scrypt, _hex(fields["commitment"], 32))


def _epoch(value: object) -> Epoch:
    members = _members(value, "number", "since", "until", "state", "secret")
    since, until, secret = members["since"], members["until"], members["secret"]
    return Epoch(
        _number(members["number"]),
        None if since is None else _number(since),
        None if until is None else _number(until),
        members["state"],
        None if secret is None else _hex(secret, WIDTH),
    )


def _json(data: bytes) -> object:
    """Parses JSON strictly; ValueError, which may quote its input, and RecursionError are the caller's."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError
        return members

    return json.loads(data.decode("ascii"), object_pairs_hook=once)


def _members(value: object, *names: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != set(names):
        raise ValueError
    return value


def _number(value: object) -> int:
    # A bool is an int to Python, not to this file.
    if type(value) is not int:
        raise ValueError
    return value


def _hex(value: object, length: int | None = None) -> bytes:
    if not isinstance(value, str) or not re.fullmatch("(?>(?:[0-9a-f]{2})*)", value):
        raise ValueError
    if length is not None and len(value) != 2 * length:
        raise ValueError
    return bytes.fromhex(value)
