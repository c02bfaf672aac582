"""Seals: where a secret may come from, and what is refused."""

import getpass
import os
import pty
import secrets
import select
import stat
import string
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink.config import CredentialSeal, DescriptorSeal, FileSeal, PassphraseSeal
from sink.fault import CANTCREATE, CONFIG, NOPERM, Fault
from sink.keys import seal
from sink.keys.seal import Secret, create_file_seal, open_secret, weakness

GOOD = "5b0e8a1f64c7d2930fe1b68ac24d7953"
TYPED = "winter kettle drum ninety"
ROOT = Path(__file__).parents[2]
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
def key(tmp_path: Path) -> Path:
    path = tmp_path / "seal.key"
    path.write_text(GOOD + "\n")
    path.chmod(0o400)
    return path


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Stands for a person at a terminal; gives the list of what was asked."""

    def person(*lines: str) -> list[str]:
        asked: list[str] = []
        left = iter(lines)

        def ask(prompt: str) -> str:
            asked.append(prompt)
            return next(left)

        monkeypatch.setattr(seal, "_TTY", "/dev/null")
        monkeypatch.setattr(getpass, "getpass", ask)
        return asked

    return person


def refusal(*seals: seal.Seal, new: bool = False) -> Fault:
    with pytest.raises(Fault) as caught:
        open_secret(seals, new=new)
    assert "\n" not in caught.value.message
    assert GOOD not in caught.value.message
    return caught.value


def handed_down(data: bytes) -> int:
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    os.set_inheritable(read, True)
    return read


# ---- files


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_root_only_file_opens(key: Path, mode: int) -> None:
    key.chmod(mode)
    assert open_secret([FileSeal(key)]) == (FileSeal(key), Secret(GOOD.encode()))


@pytest.mark.parametrize("mode", [0o404, 0o440, 0o420, 0o402, 0o410, 0o401, 0o644, 0o777])
def test_a_file_open_to_others_is_refused_with_the_chmod_to_type(key: Path, mode: int) -> None:
    key.chmod(mode)
    fault = refusal(FileSeal(key))
    assert fault.status == CONFIG
    assert f"type: chmod go= {key}" in fault.message


def test_the_chmod_to_type_is_quoted_for_the_shell(tmp_path: Path) -> None:
    path = tmp_path / "my seal"
    path.write_text(GOOD)
    path.chmod(0o644)
    assert f"chmod go= '{path}'" in refusal(FileSeal(path)).message


@as_root
def test_a_file_of_another_user_is_refused(key: Path) -> None:
    os.chown(key, NOBODY, -1)
    fault = refusal(FileSeal(key))
    assert fault.status == CONFIG
    assert "belongs to another user" in fault.message


def test_no_permission_is_77(key: Path) -> None:
    key.chmod(0)
    with without_root():
        fault = refusal(FileSeal(key))
    assert fault.status == NOPERM
    assert f"no permission to read {key}" in fault.message


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    fault = refusal(FileSeal(tmp_path / "none"))
    assert fault.status == CONFIG
    assert f"{tmp_path}/none is missing; restore it" in fault.message


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    assert "not a regular file" in refusal(FileSeal(fifo)).message
    assert refusal(FileSeal(tmp_path)).status == CONFIG


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"x" * 5000)
    path.chmod(0o400)
    assert "is larger than" in refusal(FileSeal(path)).message


def test_a_link_into_a_safe_folder_is_followed(key: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key)
    assert open_secret([FileSeal(link)])[1] == Secret(GOOD.encode())


def test_a_link_into_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "key").write_text(GOOD)
    (folder / "key").chmod(0o400)
    link = tmp_path / "link"
    link.symlink_to(folder / "key")
    assert f"type: chmod go-w {folder}" in refusal(FileSeal(link)).message


@as_root
def test_a_link_of_another_user_is_refused(key: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key)
    os.lchown(link, NOBODY, -1)
    assert "belongs to another user" in refusal(FileSeal(link)).message


def test_links_that_lead_nowhere_or_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("none")
    assert refusal(FileSeal(tmp_path / "a")).status == CONFIG
    assert refusal(FileSeal(tmp_path / "c")).status == CONFIG


def test_the_line_end_is_no_part_of_the_secret_unless_the_secret_is_raw(tmp_path: Path) -> None:
    raw = bytes([*range(0, 256, 9), 200, 3]) + b"\n\n"
    for data, secret in [
        (GOOD.encode(), GOOD.encode()),
        (GOOD.encode() + b"\n", GOOD.encode()),
        (GOOD.encode() + b"\r\n", GOOD.encode()),
        (raw, raw),
    ]:
        path = tmp_path / "key"
        path.write_bytes(data)
        path.chmod(0o600)
        assert open_secret([FileSeal(path)])[1].value == secret


# ---- making a file


def test_a_missing_file_seal_is_made_for_a_new_keyring(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "seal.key"
    _, secret = open_secret([FileSeal(path)], new=True)
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o400
    assert path.read_bytes() == secret.value + b"\n"
    assert len(bytes.fromhex(secret.value.decode())) == 32
    assert open_secret([FileSeal(path)], new=True)[1] == secret


def test_a_seal_is_never_overwritten(key: Path) -> None:
    with pytest.raises(Fault) as caught:
        create_file_seal(key)
    assert caught.value.status == CANTCREATE
    assert key.read_text() == GOOD + "\n"


def test_a_seal_is_not_made_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fault):
        create_file_seal(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_half_a_seal_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Fault) as caught:
        create_file_seal(tmp_path / "seal.key")
    assert caught.value.status == CANTCREATE
    assert list(tmp_path.iterdir()) == []


def test_no_permission_to_make_a_seal_is_77(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(0o500)
    with without_root():
        with pytest.raises(Fault) as caught:
            create_file_seal(folder / "seal.key")
    assert caught.value.status == NOPERM


# ---- credentials


def test_a_credential_is_a_file_of_systemd_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = tmp_path / "seal"
    path.write_text(GOOD)
    # As systemd.exec(5) leaves it for a unit with User=: the group's bit is the mask of an ACL.
    path.chmod(0o440)
    assert open_secret([CredentialSeal("seal")]) == (CredentialSeal("seal"), Secret(GOOD.encode()))
    path.chmod(0o444)
    assert refusal(CredentialSeal("seal")).status == CONFIG


def test_a_credential_that_systemd_did_not_give_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "add to the unit: LoadCredential=seal:PATH" in refusal(CredentialSeal("seal")).message
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    assert "add to the unit: LoadCredential=seal:PATH" in refusal(CredentialSeal("seal")).message


# ---- descriptors


def test_a_descriptor_is_read_to_its_end_and_closed() -> None:
    fd = handed_down(GOOD.encode() + b"\n")
    assert open_secret([DescriptorSeal(fd)]) == (DescriptorSeal(fd), Secret(GOOD.encode()))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert f"fd {fd} is not open" in refusal(DescriptorSeal(fd)).message


def test_a_file_that_the_program_opened_itself_is_no_seal(key: Path) -> None:
    with key.open("rb") as file:
        fault = refusal(DescriptorSeal(file.fileno()))
        assert "was not handed down" in fault.message
        assert file.read().decode() == GOOD + "\n"


def test_a_descriptor_without_end_is_refused() -> None:
    fd = os.open("/dev/zero", os.O_RDONLY)
    os.set_inheritable(fd, True)
    assert "gives more than" in refusal(DescriptorSeal(fd)).message


# ---- passphrases


def test_a_passphrase_is_asked_once_to_open(answers: Callable[..., list[str]]) -> None:
    asked = answers("any")
    assert open_secret([PassphraseSeal()]) == (PassphraseSeal(), Secret(b"any", typed=True))
    assert len(asked) == 1


def test_a_new_passphrase_is_asked_twice(answers: Callable[..., list[str]]) -> None:
    asked = answers(TYPED, TYPED)
    assert open_secret([PassphraseSeal()], new=True)[1] == Secret(TYPED.encode(), typed=True)
    assert len(asked) == 2


def test_two_unlike_new_passphrases_are_refused(answers: Callable[..., list[str]]) -> None:
    answers(TYPED, TYPED + "!")
    assert "the passphrases differ" in refusal(PassphraseSeal(), new=True).message


@pytest.mark.parametrize("word", ["", "kettle", "aaaaaaaaaaaaaaaaaa", "password12345", "changeme-changeme"])
def test_a_weak_new_passphrase_is_refused(answers: Callable[..., list[str]], word: str) -> None:
    answers(word, word)
    assert "take four or more random words" in refusal(PassphraseSeal(), new=True).message


def test_composed_and_decomposed_letters_are_one_passphrase(answers: Callable[..., list[str]]) -> None:
    answers("Gru\u0308n", "Gr\u00fcn")
    assert open_secret([PassphraseSeal()]) == open_secret([PassphraseSeal()])


def test_a_passphrase_that_is_no_text_is_refused(answers: Callable[..., list[str]]) -> None:
    answers("\udcff" * 20)
    assert "not UTF-8" in refusal(PassphraseSeal()).message


def test_a_passphrase_is_never_read_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    def fallback(prompt: str) -> str:
        warnings.warn("Can not control echo on the terminal.", getpass.GetPassWarning, stacklevel=2)
        return TYPED

    monkeypatch.setattr(getpass, "getpass", fallback)
    monkeypatch.setattr(seal, "_TTY", "/nowhere/tty")
    assert "needs a terminal" in refusal(PassphraseSeal()).message
    monkeypatch.setattr(seal, "_TTY", "/dev/null")
    assert "needs a terminal" in refusal(PassphraseSeal()).message


ASK = """
import sys
from sink.config import PassphraseSeal
from sink.keys.seal import open_secret
print(open_secret([PassphraseSeal()], new=True)[1].value.hex())
"""


def test_without_a_terminal_a_piped_passphrase_is_not_taken() -> None:
    run = subprocess.run(
        [sys.executable, "-c", ASK],
        input=f"{TYPED}\n{TYPED}\n",
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
        cwd=ROOT,
    )
    assert "a passphrase needs a terminal" in run.stderr
    assert run.stdout == ""


def test_at_a_real_terminal_the_passphrase_is_not_echoed() -> None:
    terminal, end = pty.openpty()
    # A session's first open of a terminal makes it the controlling one, see credentials(7).
    opens = f"import os; os.open({os.ttyname(end)!r}, os.O_RDWR)"
    child = subprocess.Popen(
        [sys.executable, "-c", opens + ASK],
        stdin=subprocess.DEVNULL,
        stdout=end,
        stderr=end,
        start_new_session=True,
        cwd=ROOT,
    )
    seen = b""
    for prompt in (b"New passphrase of the keyring: ", b"Again: "):
        seen = read_until(terminal, prompt, seen)
        os.write(terminal, TYPED.encode() + b"\n")
    seen = read_until(terminal, TYPED.encode().hex().encode(), seen)
    assert TYPED.encode() not in seen
    assert child.wait(30) == 0
    os.close(terminal)
    os.close(end)


def read_until(terminal: int, words: bytes, seen: bytes) -> bytes:
    while words not in seen:
        assert select.select([terminal], [], [], 30)[0], seen
        seen += os.read(terminal, 4096)
    return seen


# ---- several


def test_the_first_seal_that_opens_is_used(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    seals = [CredentialSeal("seal"), FileSeal(tmp_path / "none"), FileSeal(key), PassphraseSeal()]
    assert open_secret(seals)[0] == FileSeal(key)


def test_when_none_opens_each_is_named(key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr(seal, "_TTY", "/nowhere/tty")
    key.chmod(0o644)
    fault = refusal(
        CredentialSeal("seal"),
        FileSeal(tmp_path / "none"),
        FileSeal(key),
        DescriptorSeal(9999),
        PassphraseSeal(),
    )
    assert fault.status == CONFIG
    for part in ("credential seal ", f"{tmp_path}/none ", f"{key} ", "fd 9999 ", "a passphrase "):
        assert part in fault.message


def test_one_seal_without_permission_does_not_hide_the_other_s_fault(key: Path, tmp_path: Path) -> None:
    key.chmod(0)
    with without_root():
        assert refusal(FileSeal(key)).status == NOPERM
        assert refusal(FileSeal(key), DescriptorSeal(9999)).status == CONFIG


def test_no_seal_at_all_is_a_fault() -> None:
    assert refusal().status == CONFIG


# ---- weak secrets

WEAK = [
    (b"", "is shorter than"),
    (b"changeme", "is shorter than"),
    (GOOD[:-1].encode(), "is shorter than"),
    (b"changeme" * 4, "is a placeholder"),
    (b"CHANGE-ME-change_me-Change Me-changeit", "is a placeholder"),
    (b"password" * 5, "is a placeholder"),
    (b"your-secret-key-here-please-replace", "is a placeholder"),
    (b"0" * 64, "repeats a few characters"),
    (b"\0" * 32, "repeats a few characters"),
    (b"deadbeef" * 8, "repeats a few characters"),
    (b"deadbeefcafe1234" * 2, "repeats itself"),
    (b"0123456789abcdef" * 2, "is a placeholder"),
    (string.ascii_lowercase.encode() * 2 + b"a", "is a mere sequence"),
    (string.ascii_letters.encode(), "is a mere sequence"),
    (bytes(range(32)), "is a mere sequence"),
    (bytes(range(255, 160, -3)), "is a mere sequence"),
]


@pytest.mark.parametrize(("value", "why"), WEAK)
def test_a_weak_secret_is_refused_whatever_its_kind(
    value: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why in str(weakness(value))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = tmp_path / "seal"
    path.write_bytes(value)
    path.chmod(0o400)
    for one in (FileSeal(path), CredentialSeal("seal"), DescriptorSeal(handed_down(value))):
        fault = refusal(one)
        assert fault.status == CONFIG
        assert why in fault.message
        assert fault.message.endswith("make one with: openssl rand -hex 32")


def test_random_secrets_are_not_weak() -> None:
    for _ in range(2000):
        assert weakness(secrets.token_bytes(32)) is None
        assert weakness(secrets.token_hex(16).encode()) is None
        assert weakness(secrets.token_urlsafe(24).encode()) is None


@given(st.binary(max_size=100))
def test_weakness_takes_any_bytes(value: bytes) -> None:
    assert weakness(value) is None or len(str(weakness(value))) < 40


def test_a_secret_is_not_in_its_repr() -> None:
    assert GOOD not in repr(Secret(GOOD.encode()))
