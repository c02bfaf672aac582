"""The keyring: laws of its epochs, its sealed file, and what becomes of a file that is not as it was."""

import copy
import hmac
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sink.config import FileSeal, PassphraseSeal
from sink.fault import CANTCREATE, CONFIG, NOINPUT, NOPERM, TEMPFAIL, Fault
from sink.keys import epochs, keyring, seal
from sink.keys.keyring import Epoch, Keyring, describe, initialise, load, save, unlock
from sink.keys.seal import Secret, create_file_seal, open_secret

NOBODY = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@contextmanager
def without_root() -> Iterator[None]:
    """Root reads files of mode 0 too, so such tests lay the power down for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def lock(tmp_path: Path) -> FileSeal:
    create_file_seal(tmp_path / "etc/seal.key")
    return FileSeal(tmp_path / "etc/seal.key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lib/keyring"


@pytest.fixture
def passphrase(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def typed(text: str) -> None:
        monkeypatch.setattr(seal, "_ask", lambda prompt: text.encode())

    return typed


def refusal(path: Path, *seals: seal.Seal) -> Fault:
    with pytest.raises(Fault) as caught:
        load(path, seals)
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def key() -> bytes:
    return secrets.token_bytes(32)


def story() -> Keyring:
    """A keyring with an epoch in each state."""
    return Keyring(
        (
            Epoch(1, None, 1_000_000, "destroyed", None),
            Epoch(2, 1_000_000, 2_000_000, "retired", key()),
            Epoch(3, 2_000_000, 3_000_000, "active", key()),
            Epoch(5, 3_000_000, None, "coming", key()),
        ),
        key(),
    )


# ---- epochs


def test_a_new_keyring_has_one_active_epoch_open_on_both_sides() -> None:
    made = Keyring.create()
    (epoch,) = made.epochs
    assert (epoch.number, epoch.since, epoch.until, epoch.state) == (1, None, None, "active")
    assert epoch.secret is not None
    assert len(epoch.secret) == len(made.correlation) == 32
    assert made.active == epoch
    assert Keyring.create() != made


def test_each_second_has_its_epoch() -> None:
    made = story()
    numbers = [made.at(second).number for second in (0, 999_999, 1_000_000, 2_999_999, 3_000_000, 1 << 40)]
    assert numbers == [1, 1, 2, 3, 5, 5]
    assert made.active.number == 3


def test_the_check_value_of_a_key_never_changes() -> None:
    """A store made with a key is opened with it for years, so its check value is fixed here."""
    secret = bytes.fromhex("5b0e8a1f64c7d2930fe1b68ac24d7953" * 2)
    extracted = hmac.digest(bytes(32), secret, "sha256")  # RFC 5869 with no salt
    subkey = hmac.digest(extracted, b"postsink 1 check\x01", "sha256")
    check = Epoch(1, None, None, "active", secret).check
    assert check == hmac.digest(subkey, b"postsink", "sha256")[:8].hex() == "e8e4290c01c5cb5b"


def test_the_check_value_tells_keys_apart() -> None:
    assert Keyring.create().active.check != Keyring.create().active.check
    assert Epoch(1, None, None, "destroyed", None).check is None


def test_no_secret_is_in_a_repr_or_a_description() -> None:
    made = story()
    shown = repr(made) + str(made) + repr(made.active) + repr(describe(made))
    for secret in [made.correlation, *(epoch.secret for epoch in made.epochs)]:
        assert secret is None or (secret.hex() not in shown and repr(secret) not in shown)


def test_a_description_has_a_row_an_epoch() -> None:
    made = story()
    rows = describe(made)
    assert all(len(row) == len(epochs.COLUMNS) for row in rows)
    assert rows[0] == ("1", "destroyed", "-", "1970-01-12T13:46:40Z", "-")
    assert rows[2] == ("3", "active", "1970-01-24T03:33:20Z", "1970-02-04T17:20:00Z", made.active.check)


def changed(which: int, /, **fields: Any) -> Callable[[Keyring], Keyring]:
    def change(made: Keyring) -> Keyring:
        each = [replace(one, **fields) if one.number == which else one for one in made.epochs]
        return Keyring(tuple(each), made.correlation)

    return change


def ended(epoch: Epoch, second: int) -> Epoch:
    return replace(epoch, since=None, until=second)


def begun(epoch: Epoch, second: int) -> Epoch:
    return replace(epoch, since=second)


def cut_at(made: Keyring, second: int) -> Keyring:
    """Moves the bound between the active and the coming epoch."""
    active, coming = made.epochs[2:]
    return Keyring((*made.epochs[:2], replace(active, until=second), begun(coming, second)), made.correlation)


BROKEN: dict[str, Callable[[Keyring], Keyring]] = {
    "no epoch": lambda made: Keyring((), made.correlation),
    "too many": lambda made: Keyring((made.active,) * 1001, made.correlation),
    "none active": changed(3, state="retired"),
    "two active": changed(5, state="active"),
    "a gap": changed(3, since=2_000_001),
    "an overlap": changed(3, since=1_999_999),
    "a beginning": changed(1, since=5),
    "an end": changed(5, until=4_000_000),
    "open in the middle": changed(3, until=None),
    "out of order": lambda made: Keyring(made.epochs[::-1], made.correlation),
    "numbers out of order": changed(3, number=7),
    "a number twice": changed(3, number=2),
    "number zero": changed(1, number=0),
    "a huge number": changed(5, number=40_000),
    "an empty range": lambda made: cut_at(made, 2_000_000),
    "a range backwards": lambda made: cut_at(made, 1_500_000),
    "a bound before 1970": lambda made: Keyring((ended(made.active, -1), begun(made.epochs[3], -1)), key()),
    "a bound no calendar has": lambda made: Keyring(
        (ended(made.active, 1 << 50), begun(made.epochs[3], 1 << 50)), key()
    ),
    "an unknown state": changed(2, state="lost"),
    "coming before active": changed(2, state="coming"),
    "retired after active": changed(5, state="retired"),
    "destroyed with a key": changed(1, secret=key()),
    "retired without a key": changed(2, secret=None),
    "a short key": changed(2, secret=b"short"),
    "a long key": changed(2, secret=key() + b"x"),
    "a key of zeros": changed(2, secret=bytes(32)),
    "a key that counts": changed(2, secret=bytes(range(32))),
    "a key of placeholders": changed(2, secret=b"changeme" * 4),
    "a weak correlation key": lambda made: Keyring(made.epochs, bytes(32)),
    "a key twice": lambda made: changed(2, secret=made.active.secret)(made),
    "a key of both kinds": lambda made: Keyring(made.epochs, made.active.secret or b""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_keyring_that_breaks_a_law_cannot_be_made(name: str) -> None:
    with pytest.raises(Fault) as caught:
        BROKEN[name](story())
    assert caught.value.status == CONFIG
    assert "the keyring is not valid: " in caught.value.message


# ---- the file


def test_what_is_saved_is_loaded(path: Path, lock: FileSeal) -> None:
    made = initialise(path, [lock])
    assert load(path, [lock]) == made
    old, secret = unlock(path, [lock])
    new = story()
    save(new, path, secret)
    assert load(path, [lock]) == new.as_of(int(time.time())) != old


def test_nothing_secret_is_in_the_file(path: Path, lock: FileSeal) -> None:
    made = initialise(path, [lock])
    data = path.read_bytes()
    for secret in (made.correlation, made.active.secret, lock.path.read_bytes().strip()):
        assert secret is not None
        assert secret not in data
        assert secret.hex().encode() not in data
    assert b"active" not in data


def test_every_save_has_a_salt_and_a_nonce_of_its_own(path: Path, lock: FileSeal) -> None:
    made = initialise(path, [lock])
    _, secret = unlock(path, [lock])
    seen = set()
    for _ in range(3):
        save(made, path, secret)
        header = json.loads(path.read_text())["header"]
        seen |= {header["salt"], header["nonce"], header["commitment"]}
    assert len(seen) == 9


def test_the_file_has_mode_0600_and_nothing_is_left_beside_it(path: Path, lock: FileSeal) -> None:
    umask = os.umask(0)
    try:
        made = initialise(path, [lock])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        save(made, path, unlock(path, [lock])[1])
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_init_makes_the_folder_and_the_seal(tmp_path: Path) -> None:
    lock, path = FileSeal(tmp_path / "a/b/seal.key"), tmp_path / "c/d/keyring"
    made = initialise(path, [lock])
    assert load(path, [lock]) == made
    assert stat.S_IMODE(lock.path.stat().st_mode) == 0o400


def test_init_never_overwrites(path: Path, lock: FileSeal) -> None:
    made = initialise(path, [lock])
    with pytest.raises(Fault) as caught:
        initialise(path, [lock])
    assert caught.value.status == CANTCREATE
    assert load(path, [lock]) == made


def test_init_never_overwrites_what_another_init_made_meanwhile(
    path: Path, lock: FileSeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(seals: list[seal.Seal], *, new: bool) -> tuple[seal.Seal, Secret]:
        path.parent.mkdir()
        path.write_text("the other's")
        return open_secret(seals, new=new)

    monkeypatch.setattr(keyring, "open_secret", slow)
    with pytest.raises(Fault) as caught:
        initialise(path, [lock])
    assert caught.value.status == CANTCREATE
    assert path.read_text() == "the other's"
    assert list(path.parent.iterdir()) == [path]


def test_init_does_not_follow_a_link_that_leads_nowhere(path: Path, lock: FileSeal) -> None:
    path.parent.mkdir()
    path.symlink_to("elsewhere")
    with pytest.raises(Fault):
        initialise(path, [lock])
    assert [one.name for one in path.parent.iterdir()] == ["keyring"]


def test_a_link_to_the_keyring_stays_a_link(path: Path, lock: FileSeal, tmp_path: Path) -> None:
    made = initialise(path, [lock])
    link = tmp_path / "link"
    link.symlink_to(path)
    save(made, link, unlock(link, [lock])[1])
    assert link.is_symlink()
    assert load(path, [lock]) == made


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_failed_save_keeps_the_old_file(
    path: Path, lock: FileSeal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    made = initialise(path, [lock])
    before = path.read_bytes()
    _, secret = unlock(path, [lock])

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(Fault) as caught:
            save(story(), path, secret)
    assert caught.value.status == CANTCREATE
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    assert load(path, [lock]) == made


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(
    path: Path, lock: FileSeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = initialise(path, [lock])
    _, secret = unlock(path, [lock])
    steps: list[str] = []
    fsync, place = os.fsync, os.replace

    def sync(fd: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def rename(source: Path, target: Path) -> None:
        steps.append("rename")
        assert stat.S_IMODE(source.stat().st_mode) == 0o600
        assert source.parent == target.parent
        place(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    save(made, path, secret)
    assert steps.index("file") < steps.index("rename")
    assert steps[steps.index("rename") + 1] == "folder"


@as_root
def test_what_root_writes_belongs_to_who_runs_the_daemon(path: Path, lock: FileSeal) -> None:
    path.parent.mkdir(mode=0o700)
    os.chown(path.parent, NOBODY, NOBODY)
    made = initialise(path, [lock])
    assert path.stat().st_uid == NOBODY
    os.chown(path, 65_533, -1)
    save(made, path, unlock(path, [lock])[1])
    assert path.stat().st_uid == 65_533


def test_no_permission_to_make_it_is_77(path: Path, lock: FileSeal) -> None:
    path.parent.mkdir(mode=0o500)
    lock.path.parent.chmod(0o755)
    with without_root():
        with pytest.raises(Fault) as caught:
            save(story(), path, Secret(key()))
    assert caught.value.status == NOPERM


# ---- who may read it


def test_a_missing_keyring_is_named_with_the_command_that_makes_it(path: Path, lock: FileSeal) -> None:
    fault = refusal(path, lock)
    assert fault.status == NOINPUT
    assert fault.message == f"{path} is missing; make one with: postsink keys init"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o777])
def test_a_keyring_open_to_others_is_refused_with_the_chmod_to_type(
    path: Path, lock: FileSeal, mode: int
) -> None:
    initialise(path, [lock])
    path.chmod(mode)
    fault = refusal(path, lock)
    assert fault.status == CONFIG
    assert fault.message.endswith(f"type: chmod go= {path}")


def test_a_keyring_that_cannot_be_read_is_77(path: Path, lock: FileSeal, tmp_path: Path) -> None:
    initialise(path, [lock])
    path.chmod(0)
    with without_root():
        assert refusal(path, lock).status == NOPERM


@as_root
def test_root_reads_the_daemon_s_keyring(path: Path, lock: FileSeal, tmp_path: Path) -> None:
    made = initialise(path, [lock])
    os.chown(path, NOBODY, NOBODY)
    assert load(path, [lock]) == made


def test_a_folder_is_no_keyring(tmp_path: Path, lock: FileSeal) -> None:
    assert refusal(tmp_path, lock).status == CONFIG


# ---- seals


def test_a_wrong_seal_is_told_as_such(path: Path, lock: FileSeal, tmp_path: Path) -> None:
    initialise(path, [lock])
    create_file_seal(tmp_path / "other.key")
    fault = refusal(path, FileSeal(tmp_path / "other.key"))
    assert fault.status == CONFIG
    assert f"{tmp_path}/other.key is not the seal of this keyring" in fault.message


def test_the_first_seal_that_fits_opens_the_keyring(path: Path, lock: FileSeal, tmp_path: Path) -> None:
    made = initialise(path, [lock])
    create_file_seal(tmp_path / "other.key")
    seals = [FileSeal(tmp_path / "none"), FileSeal(tmp_path / "other.key"), lock]
    assert load(path, seals) == made


def test_when_no_seal_fits_each_is_named(path: Path, lock: FileSeal, tmp_path: Path) -> None:
    initialise(path, [lock])
    create_file_seal(tmp_path / "other.key")
    lock.path.unlink()
    message = refusal(path, FileSeal(tmp_path / "other.key"), lock).message
    assert "other.key is not the seal of this keyring" in message
    assert "seal.key is missing" in message


def test_a_passphrase_is_stretched_by_scrypt(
    path: Path, lock: FileSeal, passphrase: Callable[[str], None]
) -> None:
    passphrase("winter kettle drum ninety")
    made = initialise(path, [PassphraseSeal()])
    header = json.loads(path.read_text())["header"]
    assert header["kdf"] == {"name": "scrypt", "n": 1 << 17, "r": 8, "p": 1}
    # The file seal can't fit, so it is not even tried.
    assert load(path, [lock, PassphraseSeal()]) == made
    passphrase("winter kettle drum eighty")
    assert refusal(path, PassphraseSeal()).message.endswith(
        "passphrase is not the seal of this keyring; type it again"
    )
    assert "it was sealed with a passphrase" in refusal(path, lock).message


def test_nobody_is_asked_for_a_passphrase_that_cannot_fit(
    path: Path, lock: FileSeal, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = initialise(path, [lock])
    monkeypatch.setattr(seal, "_ask", None)
    assert load(path, [PassphraseSeal(), lock]) == made
    assert "it was sealed with a credential, file or fd" in refusal(path, PassphraseSeal()).message


def test_a_passphrase_without_the_memory_for_it_is_75(
    path: Path, passphrase: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(self: Scrypt, value: bytes) -> bytes:
        raise MemoryError

    passphrase("winter kettle drum ninety")
    # The class of newer releases takes no new attributes.
    monkeypatch.setattr(
        keyring, "Scrypt", type("Starved", (), {"__init__": lambda *a, **k: None, "derive": starved})
    )
    with pytest.raises(Fault) as caught:
        initialise(path, [PassphraseSeal()])
    assert caught.value.status == TEMPFAIL
    assert "128 MiB" in caught.value.message


# ---- a file that is not as it was


def rewrite(path: Path, file: dict[str, Any], checksum: bool = True) -> None:
    """Writes a changed file, with the checksum that an attacker would not forget."""
    if checksum:
        header = json.dumps(file["header"], sort_keys=True, separators=(",", ":")).encode()
        file["checksum"] = sha256(header + bytes.fromhex(file["payload"])).hexdigest()
    path.write_text(json.dumps(file))


def flipped(text: str) -> str:
    return ("1" if text[0] == "0" else "0") + text[1:]


TAMPERED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "format": (lambda file: file["header"].update(format="other"), "damaged"),
    "newer version": (lambda file: file["header"].update(version=2), "of a version"),
    "older version": (lambda file: file["header"].update(version=0), "of a version"),
    "version as text": (lambda file: file["header"].update(version="1"), "of a version"),
    "version as truth": (lambda file: file["header"].update(version=True), "damaged"),
    "version as float": (lambda file: file["header"].update(version=1.0), "damaged"),
    "no version": (lambda file: file["header"].pop("version"), "of a version"),
    "salt": (lambda file: file["header"].update(salt=flipped(file["header"]["salt"])), "not the seal"),
    "short salt": (lambda file: file["header"].update(salt=file["header"]["salt"][2:]), "damaged"),
    "salt in capitals": (lambda file: file["header"].update(salt="AB" * 32), "damaged"),
    "nonce": (lambda file: file["header"].update(nonce=flipped(file["header"]["nonce"])), "damaged"),
    "short nonce": (lambda file: file["header"].update(nonce=""), "damaged"),
    "commitment": (
        lambda file: file["header"].update(commitment=flipped(file["header"]["commitment"])),
        "not the seal",
    ),
    "no commitment": (lambda file: file["header"].pop("commitment"), "damaged"),
    "kdf": (lambda file: file["header"].update(kdf={"name": "none"}), "damaged"),
    "kdf as text": (lambda file: file["header"].update(kdf="hkdf-sha256"), "damaged"),
    "scrypt for hkdf": (
        lambda file: file["header"].update(kdf={"name": "scrypt", "n": 1 << 17, "r": 8, "p": 1}),
        "sealed with a passphrase",
    ),
    "scrypt that takes all memory": (
        lambda file: file["header"].update(kdf={"name": "scrypt", "n": 1 << 30, "r": 8, "p": 1}),
        "damaged",
    ),
    "scrypt that takes all day": (
        lambda file: file["header"].update(kdf={"name": "scrypt", "n": 1 << 17, "r": 8, "p": 10**9}),
        "damaged",
    ),
    "scrypt in floats": (
        lambda file: file["header"].update(kdf={"name": "scrypt", "n": 131072.0, "r": 8, "p": 1}),
        "damaged",
    ),
    "one more header field": (lambda file: file["header"].update(more=1), "damaged"),
    "header": (lambda file: file.update(header={"format": keyring.FORMAT, "version": 1}), "damaged"),
    "payload": (lambda file: file.update(payload=flipped(file["payload"])), "damaged"),
    "end of the payload": (lambda file: file.update(payload=file["payload"][:-2]), "damaged"),
    "empty payload": (lambda file: file.update(payload=""), "damaged"),
    "one more member": (lambda file: file.update(more=1), "damaged"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_change_of_any_part_is_detected(path: Path, lock: FileSeal, name: str) -> None:
    change, words = TAMPERED[name]
    initialise(path, [lock])
    file = json.loads(path.read_text())
    change(file)
    rewrite(path, file)
    fault = refusal(path, lock)
    assert fault.status == CONFIG
    assert words in fault.message


def test_every_header_field_is_among_the_tampered_ones(path: Path, lock: FileSeal) -> None:
    initialise(path, [lock])
    for field in json.loads(path.read_text())["header"]:
        assert any(name.split()[-1] == field or name.startswith(field) for name in TAMPERED), field


@pytest.mark.parametrize("part", ["salt", "commitment", "nonce"])
def test_a_decayed_file_is_not_taken_for_a_wrong_seal(path: Path, lock: FileSeal, part: str) -> None:
    initialise(path, [lock])
    file = json.loads(path.read_text())
    file["header"][part] = flipped(file["header"][part])
    rewrite(path, file, checksum=False)
    assert "is damaged or no keyring; restore it from its backup" in refusal(path, lock).message


def test_a_header_in_another_file_s_place_is_detected(path: Path, lock: FileSeal) -> None:
    made = initialise(path, [lock])
    one = json.loads(path.read_text())
    save(made, path, unlock(path, [lock])[1])
    two = json.loads(path.read_text())
    rewrite(path, {**one, "payload": two["payload"]})
    assert "damaged" in refusal(path, lock).message


def test_every_byte_of_the_file_counts(path: Path, lock: FileSeal) -> None:
    made = initialise(path, [lock])
    data = path.read_bytes()
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 0x04
        path.write_bytes(broken)
        try:
            # White space between the parts says nothing.
            assert load(path, [lock]) == made
            assert data[place : place + 1].isspace()
        except Fault as fault:
            assert fault.status == CONFIG
        path.write_bytes(data[:place])
        if data[place:].strip():
            assert refusal(path, lock).status == CONFIG


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"\xff\xfe{\x00}\x00",
        b"[" * 500_000,
        b'{"header":' * 100_000,
        b'{"header": {"format": "postsink keyring", "version": 1, "kdf": ' + b"[" * 100_000,
        b"9" * 100_000,
        b'{"header": {"format": "postsink keyring", "version": 1' + b"0" * 5000 + b"}}",
        b'{"header": {"format": "postsink keyring", "version": NaN}}',
        b'{"header": {"format": "postsink keyring", "version": 1, "a": 1e999, "b": "\\ud800"}}',
        b'{"header": {"format": "postsink keyring", "version": []}}',
        b'{"header": 1, "header": 2}',
        b"x" * (1 << 20),
        b"x" * ((1 << 20) + 1),
    ],
    ids=lambda data: data[:24].decode("latin-1") or "nothing",
)
def test_a_hostile_file_ends_in_a_fault(path: Path, lock: FileSeal, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    path.chmod(0o600)
    assert refusal(path, lock).status == CONFIG


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)
FIELDS = st.sampled_from(["format", "version", "kdf", "salt", "nonce", "commitment", "n"])


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FileSeal, Keyring]:
    folder = tmp_path_factory.mktemp("sealed")
    lock = FileSeal(folder / "seal.key")
    return folder / "keyring", lock, initialise(folder / "keyring", [lock])


MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(data=st.binary(max_size=200))
def test_any_bytes_end_in_a_fault(sealed: tuple[Path, FileSeal, Keyring], data: bytes) -> None:
    path = sealed[0].with_name("bytes")
    path.write_bytes(data)
    path.chmod(0o600)
    assert refusal(path, sealed[1]).status == CONFIG


@MANY
@given(field=FIELDS, value=VALUES, top=st.booleans())
def test_any_value_in_any_place_ends_in_a_fault(
    sealed: tuple[Path, FileSeal, Keyring], field: str, value: object, top: bool
) -> None:
    good, lock, made = sealed
    file = json.loads(good.read_text())
    before = copy.deepcopy(file)
    (file if top else file["header"])[field] = value
    path = good.with_name("values")
    rewrite(path, file)
    path.chmod(0o600)
    if file == before and type(file["header"]["version"]) is int:
        assert load(path, [lock]) == made
    else:
        assert refusal(path, lock).status == CONFIG


@MANY
@given(
    value=VALUES,
    place=st.sampled_from(["correlation", "epochs", "epoch", "number", "since", "state", "secret"]),
)
def test_any_content_under_the_right_seal_ends_in_a_keyring_or_a_fault(
    sealed: tuple[Path, FileSeal, Keyring], value: object, place: str
) -> None:
    """Somebody with the seal may write nonsense too; nobody gets a traceback from it."""
    good, lock, made = sealed
    content = json.loads(keyring._content(made))
    if place in content:
        content[place] = value
    elif place == "epoch":
        content["epochs"][0] = value
    else:
        content["epochs"][0][place] = value
    path = good.with_name("content")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyring, "_content", lambda _: json.dumps(content).encode())
        save(made, path, unlock(good, [lock])[1])
    try:
        assert isinstance(load(path, [lock]), Keyring)
    except Fault as fault:
        assert fault.status == CONFIG
