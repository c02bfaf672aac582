"""The config file: strict in what it takes, and described whole by its sample."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sink import config, yamlfile
from sink.config import (
    CATEGORIES,
    Config,
    CredentialSeal,
    DescriptorSeal,
    FileSeal,
    Listen,
    PassphraseSeal,
    load,
)
from sink.core import reasons
from sink.core.addresses import NormalForm, normal
from sink.endpoint import Endpoint
from sink.fault import CONFIG, NOINPUT, NOPERM, Fault
from sink.outputs import ClearIps, LogTo

SAMPLE = Path(__file__).parents[2] / "packaging/postsink.yaml"
KEYS = [field.name for field in dataclasses.fields(Config)]
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_config(text: str) -> Path:
        path = tmp_path / "postsink.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_config


@contextmanager
def without_root() -> Iterator[None]:
    """Root reads files of mode 0 too, so such tests lay the power down for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def refusal(path: Path | None) -> Fault:
    with pytest.raises(Fault) as caught:
        load(path)
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value


def test_without_a_file_the_defaults_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none.yaml")
    assert load() == Config()
    assert Config().store == Path("/var/lib/postsink/postsink.sqlite")
    assert Config().seal == (FileSeal(Path("/etc/postsink/seal.key")),)
    assert Config().patience == 518_400


def test_the_default_file_is_read_when_it_is_there(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(config, "DEFAULT_PATH", write("queue_id: plain"))
    assert load().queue_id == "plain"


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n# nothing\n", "{}", "\ufeffpatience: 6d\n"])
def test_an_empty_file_gives_the_defaults(write: Write, text: str) -> None:
    assert load(write(text)) == Config()


def test_every_key_is_read(write: Write, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_bytes(b"# of mx1\nk7Qm2Zx9RtW4bN8s\n\n  AAAABBBBCCCC1111 # of mx2\nk7Qm2Zx9RtW4bN8s\n")
    tokens.chmod(0o400)
    text = """
store: rows/mail.sqlite
database: host=/run/postgresql dbname=postsink
keyring: /srv/keyring
seal: [{credential: postsink-seal}, {file: seal.key}, {fd: 3}, passphrase]
local_domains: [Example.COM., bücher.example, example.com, Straße.example]
trusted_networks: [127.0.0.0/8, "::1/128", "[2001:DB8::]/32", 192.0.2.7]
internal_relays: [198.51.100.9, "[2001:db8::0:1]", 203.0.113.0/24, MX2.Example.com]
header_tokens: tokens
timezone: Europe/Berlin
queue_id: plain
rejects: [over_quota, rate, over_quota]
reject_patterns:
- {pattern: Their Mailbox is FULL, category: over_quota}
- {pattern: Überfüllt, category: over_quota}
patience: 8d
fold_local_part: no
cut_detail: off
listen: [{stream: /run/s}, {datagram: d}]
when_full: block
metrics: "[::1]:9154"
log: {path: mail.log, group: adm}
clear_ips: {path: /run/postsink/fail2ban.log, keep: 5m}
"""
    assert load(write(text)) == Config(
        store=tmp_path / "rows/mail.sqlite",
        database="host=/run/postgresql dbname=postsink",
        keyring=Path("/srv/keyring"),
        seal=(
            CredentialSeal("postsink-seal"),
            FileSeal(tmp_path / "seal.key"),
            DescriptorSeal(3),
            PassphraseSeal(),
        ),
        local_domains=("example.com", "xn--bcher-kva.example", "xn--strae-oqa.example"),
        trusted_networks=("127.0.0.0/8", "::1/128", "2001:db8::/32", "192.0.2.7/32"),
        internal_relays=("198.51.100.9", "2001:db8::1", "203.0.113.0/24", "mx2.example.com"),
        header_tokens=(b"k7Qm2Zx9RtW4bN8s", b"AAAABBBBCCCC1111"),
        timezone="Europe/Berlin",
        queue_id="plain",
        rejects=("over_quota", "rate"),
        # Only ASCII letters are lowered: the core compares bytes.
        reject_patterns=(
            (b"their mailbox is full", "over_quota"),
            ("Überfüllt".encode().lower(), "over_quota"),
        ),
        patience=8 * 86_400,
        fold_local_part=False,
        cut_detail=False,
        listen=(Listen("stream", Path("/run/s")), Listen("datagram", tmp_path / "d")),
        when_full="block",
        metrics=Endpoint(None, "::1", 9154),
        log=LogTo(tmp_path / "mail.log", "adm"),
        clear_ips=ClearIps(Path("/run/postsink/fail2ban.log"), 300),
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("unix:/run/m", Endpoint(Path("/run/m"))), ("127.0.0.1:9154", Endpoint(None, "127.0.0.1", 9154)),
        ("127.0.0.2:1", Endpoint(None, "127.0.0.2", 1)), ("", None), ("null", None),
    ],
)  # fmt: skip
def test_where_metrics_are(text: str, place: Endpoint | None, write: Write) -> None:
    assert load(write(f"metrics: {text}")).metrics == place


def test_relative_paths_start_at_the_folder_of_the_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("store: a.sqlite")
    monkeypatch.chdir(tmp_path)
    assert load(Path("postsink.yaml")).store == tmp_path / "a.sqlite"


def test_local_domains_come_from_a_file_too(write: Write, tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("# ours\nexample.com\n\n Example.ORG. # the shop\r\n")
    assert load(write("local_domains: domains")).local_domains == ("example.com", "example.org")


def test_a_wrong_line_in_the_domain_file_is_named(write: Write, tmp_path: Path) -> None:
    (tmp_path / "domains").write_text("example.com\nexample.org OK\n")
    fault = refusal(write("local_domains: domains"))
    assert fault.status == CONFIG
    assert f"{tmp_path}/domains line 2: not a domain" in fault.message


def test_a_typo_is_answered_with_the_nearest_key(write: Write) -> None:
    path = write("# ours\nqueue_id: plain\nstor: x\n")
    fault = refusal(path)
    assert fault.status == CONFIG
    assert fault.message == f'{path} line 3: unknown key "stor"; did you mean "store"?'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("xyzzy: 1", 1, 'unknown key "xyzzy"; the keys here are: store'),
        ("'a b\\nc': 1", 1, "not a key"),
        ("? [a]\n: b", 1, "not a key"),
        ("<<: {store: x}", 1, "not a key"),
        ("store: a\nkeyring: b\nstore: c", 3, 'key "store" stands in line 1 already'),
        ("- store", 1, "must be made of keys and values"),
        ("store", 1, "must be made of keys and values"),
        ("\nstore: 5", 2, "store must be text"),
        ("store: [a]", 1, "store must be text"),
        ("store: yes", 1, "store must be text"),
        ("store:", 1, "store must be text"),
        ("store: ''", 1, "store must not be empty"),
        ('store: "a\\0b"', 1, "store must not be empty nor hold control"),
        ('store: "a\\uD800b"', 1, "store must not be empty nor hold control"),
        ("store: !!python/object/apply:os.system [x]", 1, "store must be text"),
        ("store: !!python/name:os.system x", 1, "store must be text"),
        ("database: 5", 1, "database must be text"),
        ("keyring: {}", 1, "keyring must be text"),
        ("seal: []", 1, "seal is an empty list"),
        ("seal: secret", 1, "seal must be {credential: NAME}"),
        ("seal: [{file: a, fd: 3}]", 1, "seal must name one thing"),
        ("seal: {}", 1, "seal must name one thing"),
        ("seal: {path: a}", 1, 'unknown key "path"; the keys here are: credential, file, fd'),
        ("seal: {passphrase: hunter2hunter2}", 1, 'unknown key "passphrase"'),
        ("seal: {fd: 0}", 1, "fd must be a number from 3"),
        ("seal: {fd: three}", 1, "fd must be a number from 3"),
        ("seal: {fd: 0x3}", 1, "fd must be a number from 3"),
        ("seal: {fd: 99999999999}", 1, "fd must be a number from 3"),
        ("seal: {credential: ../seal}", 1, "credential must be the name of a systemd credential"),
        ("local_domains: example.com", 1, "local_domains names a file that is missing"),
        (f"local_domains: {'x' * 5000}", 1, "local_domains names a file that is missing"),
        ("local_domains: {a: b}", 1, "local_domains must be text"),
        ("local_domains:\n- example.com\n- no", 3, "local_domains must be text"),
        ("local_domains: ['a@b']", 1, "no domain"),
        ("local_domains: ['-a.example']", 1, "no domain"),
        ("local_domains: ['a..example']", 1, "no domain"),
        (f"local_domains: ['{'a' * 64}.example']", 1, "no domain"),
        (f"local_domains: ['{'ü' * 70}.example']", 1, "no domain"),
        ("trusted_networks: 127.0.0.0/8", 1, "trusted_networks must be a list"),
        ("trusted_networks:\n- 127.0.0.0/8\n- 192.0.2.1/24", 3, "trusted_networks must hold networks like"),
        ("trusted_networks: [192.0.2.0/33]", 1, "trusted_networks must hold networks like"),
        ("trusted_networks: [localhost]", 1, "trusted_networks must hold networks like"),
        ("internal_relays: [198.51.100.300]", 1, "internal_relays must hold networks, IP addresses"),
        ("internal_relays: ['mx.example.com:25']", 1, "internal_relays must hold networks, IP addresses"),
        ("internal_relays: [192.0.2.1/24]", 1, "internal_relays must hold networks like"),
        ("header_tokens: [a]", 1, "header_tokens must be text"),
        ("timezone: Europe/Berln", 1, "timezone must be a time zone"),
        ("timezone: ../../etc/passwd", 1, "timezone must be a time zone"),
        ("timezone: /etc/localtime", 1, "timezone must be a time zone"),
        ("timezone: Europe", 1, "timezone must be a time zone"),
        ("timezone: zürich", 1, "timezone must be a time zone"),
        ("queue_id: raw", 1, "queue_id must be one of: hashed, plain"),
        ("queue_id: [plain]", 1, "queue_id must be one of: hashed, plain"),
        ("rejects: over_quota", 1, "rejects must be a list"),
        ("rejects: [over_quta]", 1, "rejects must be one of: over_quota"),
        ("reject_patterns: [mailbox is full]", 1, "reject_patterns must be made of keys and values"),
        ("reject_patterns: [{pattern: full}]", 1, "reject_patterns must be entries of two keys"),
        ("reject_patterns: [{pattern: ful, category: rate}]", 1, "pattern must have 4 to 200"),
        ("reject_patterns: [{pattern: full, category: quota}]", 1, "category must be one of: over_quota"),
        ("patience: 6 days", 1, "patience must be a time from 1h"),
        ("patience: 10", 1, "patience must be a time from 1h"),
        ("patience: -6d", 1, "patience must be a time from 1h"),
        ("patience: 9999w", 1, "patience must be a time from 1h"),
        ("patience: 1_000_000", 1, "patience must be a time from 1h"),
        ("patience: 6.5", 1, "patience must be a time from 1h"),
        ("fold_local_part: 1", 1, "fold_local_part must be yes or no"),
        ("cut_detail: maybe", 1, "cut_detail must be yes or no"),
        ("listen: /run/s", 1, "listen must be a list"),
        ("listen: [/run/s]", 1, "listen must be made of keys and values"),
        ("listen: [{tcp: 514}]", 1, 'unknown key "tcp"'),
        ("listen: [{}]", 1, "listen must name one socket"),
        *((f"metrics: {text}", 1, "metrics must be like unix:/run/postsink/metrics.sock or 127") for text in (
            "here", "localhost:9154", "192.0.2.1:9154", "0.0.0.0:9154", "'[::]:9154'", "127.0.0.1", "'unix:'",
            "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:99999", "::1:9154", "127.0.0.256:9154", "'[::1]:'",
            "127.0.0.1:9154/metrics", "/run/postsink/metrics.sock",
        )),
        ("metrics: [1]", 1, "metrics must be"),
        ("log: [mail.log]", 1, "log must be text"),
        ("log: {group: adm}", 1, "log must name a file; write {path: PATH}"),
        ("log: {path: mail.log, group: a b}", 1, "group must be the name of a user or group"),
        ("log: {path: mail.log, mode: 0644}", 1, 'unknown key "mode"'),
        ("clear_ips: /run/x.log", 1, "clear_ips must be made of keys and values; the keys are: path, keep"),
        ("clear_ips: {keep: 10m}", 1, "clear_ips must name a file; write {path: PATH}"),
        ("clear_ips: {path: /run/x.log, keep: 2h}", 1, "keep must be a time from 1m to 1h, like 10m"),
        ("clear_ips: {path: /run/x.log, keep: 30s}", 1, "keep must be a time from 1m to 1h, like 10m"),
        ("metrics: 9154", 1, "metrics must be"),
        ("when_full: wait", 1, "when_full must be one of: drop, block"),
        ("store: a\nkeyring: [b\nseal: c", 3, "not YAML"),
        ("store: a\n\tkeyring: b", 2, "not YAML"),
        ("store: 'a", 1, "not YAML"),
        ("store: a\n--- \nstore: b", 2, "not YAML"),
        ("store: *nowhere", 1, "not YAML"),
        ("\nstore: a\x07", 2, "not YAML"),
        ('\nstore: "\\U00110000"', 2, "not YAML"),
        ('\nstore: "\\UFFFFFFFF"', 2, "not YAML"),
        ("%YAML 1." + "1" * 5000 + "\n--- a", 1, "not YAML"),
        ("store: " + "[" * 5000, 1, "not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_line(write: Write, text: str, line: int, words: str) -> None:
    path = write(text)
    fault = refusal(path)
    assert fault.status == CONFIG
    assert fault.message.startswith(f"{path} line {line}: ")
    assert words in fault.message


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", ["hunter2!pw@x", "[hunter2!pw@x]", "{hunter2 x: hunter2}", "'hunter2"])
def test_no_message_quotes_a_value(write: Write, key: str, text: str) -> None:
    try:
        read = load(write(f"{key}: {text}"))
    except Fault as fault:
        # The one value that must be shown is the path of a file that can't be read.
        quoted = "hunter2" in fault.message.replace("/hunter2!pw@x is missing", "")
        assert not quoted
    else:
        assert "hunter2" not in repr(read) or key in ("store", "keyring", "log")


def test_a_password_and_the_tokens_are_not_in_the_repr() -> None:
    shown = repr(Config(database="password=hunter2", header_tokens=(b"k7Qm2Zx9RtW4bN8s",)))
    assert "hunter2" not in shown
    assert "k7Qm" not in shown


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    fault = refusal(tmp_path / "none.yaml")
    assert fault.status == NOINPUT
    assert f"{tmp_path}/none.yaml is missing" in fault.message


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    assert refusal(tmp_path).status == CONFIG


def test_no_permission_to_read_is_77(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("")
    monkeypatch.setattr(config, "DEFAULT_PATH", path)
    path.chmod(0)
    with without_root():
        assert refusal(path).status == NOPERM
        # A default file that can't be read is no missing one.
        assert refusal(None).status == NOPERM


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "postsink.yaml"
    path.write_bytes(b"store: a\nkeyring: \xff\n")
    assert refusal(path).message == f"{path} line 2: not UTF-8; write it in UTF-8"


def test_a_huge_file_is_refused(write: Write) -> None:
    assert "is larger than" in refusal(write("#" * (yamlfile.MOST_BYTES + 1))).message


def test_the_token_file_must_be_there_and_root_only(write: Write, tmp_path: Path) -> None:
    path = write("header_tokens: tokens")
    assert refusal(path).status == NOINPUT
    tokens = tmp_path / "tokens"
    tokens.write_text("k7Qm2Zx9RtW4bN8s\n")
    tokens.chmod(0o644)
    fault = refusal(path)
    assert (fault.status, fault.message) == (
        CONFIG,
        f"{tokens} is open to group or others; type: chmod go= {tokens}",
    )


@pytest.mark.parametrize("token", ["k7Qm2Zx9RtW4bN8", "k7Qm2Zx9RtW4bN8s0", "k7Qm2Zx9RtW4bN8_", "two tokens"])
def test_a_wrong_token_is_named_by_its_line_alone(write: Write, tmp_path: Path, token: str) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"k7Qm2Zx9RtW4bN8s\n{token}\n")
    tokens.chmod(0o600)
    fault = refusal(write("header_tokens: tokens"))
    assert fault.message == f"{tokens} line 2: not a token; write 16 letters and digits"


def test_a_control_character_in_a_path_does_not_break_the_line(tmp_path: Path) -> None:
    fault = refusal(tmp_path / "a\nb\udcff.yaml")
    assert "/a?b?.yaml is missing" in fault.message


# ---- any bytes

PIECES = st.sampled_from(
    [*"[]{}:,-?|>&*!%@`'\"#~<=\n\t \\"]
    + ["\n  ", "- ", ": ", "---\n", "!!str ", "!<%ff>", "&a ", "*a", "|2\n", "<<: ", "%YAML 1.1\n"]
    + ['"\\U00110000"', '"\\x"', "\u2028", "\x85", "\x00", "{file: x}", "[::1]/128", "fe80::", "6d"]
    + [f"{key}: " for key in KEYS]
)
ANY = st.binary(max_size=60) | st.lists(PIECES, max_size=20).map(lambda pieces: "".join(pieces).encode())


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_any_bytes_end_in_a_config_or_a_fault(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-{os.getpid()}.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(load(path), Config)
    except Fault as fault:
        assert fault.status in (CONFIG, NOINPUT)
        assert "\n" not in fault.message


# ---- the sample

SETTING = re.compile(r"^#([a-z_]+:.*)$", re.MULTILINE)


def test_the_sample_names_every_key_in_order() -> None:
    assert [line.partition(":")[0] for line in SETTING.findall(SAMPLE.read_text())] == KEYS


def test_the_sample_s_defaults_are_the_code_s(write: Write) -> None:
    text = SAMPLE.read_text()
    assert load(write(text)) == Config()
    for line in SETTING.findall(text):
        assert load(write(line)) == Config(), line
    assert load(write(SETTING.sub(r"\1", text))) == Config()


@pytest.mark.parametrize("key", KEYS)
def test_the_sample_tells_what_each_key_is_for(write: Write, key: str, tmp_path: Path) -> None:
    parts = SAMPLE.read_text().split("\n\n")
    blocks = [part for part in parts if re.search(f"^#{key}:", part, re.MULTILINE)]
    assert len(blocks) == 1
    block = blocks[0].strip()
    assert block.startswith(f"# {key}: ")
    assert "\n# Consequence: " in block
    default = re.findall(f"^#{key}:(.*)$", block, re.MULTILINE)
    assert default[0] or "\n# Default: none" in block
    example = re.findall(f"^# Example: ({key}: .*)$", block, re.MULTILINE)
    assert len(example) == 1
    tokens = tmp_path / "header-tokens"
    tokens.write_text("k7Qm2Zx9RtW4bN8s\n")
    tokens.chmod(0o400)
    assert load(write(example[0].replace("/etc/postsink", str(tmp_path)))) != Config()


def test_the_categories_are_those_that_the_core_gives() -> None:
    assert set(CATEGORIES) == set(reasons.CATEGORIES)


def test_local_domains_are_in_the_normal_form_of_addresses(write: Write) -> None:
    names = ["Example.COM.", "bücher.example", "BÜCHER.example", "straße.example", "xn--bcher-kva.example"]
    for name in names:
        (domain,) = load(write(f"local_domains: ['{name}']")).local_domains
        assert normal(f"user@{name}".encode(), NormalForm()) == (b"user", domain.encode())


def test_every_category_but_blocklist_is_stored_by_default() -> None:
    assert set(CATEGORIES) - set(Config().rejects) == {"blocklist"}
