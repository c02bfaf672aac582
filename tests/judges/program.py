"""Drives the program from outside: the command line, and the views of its store."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import yaml

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data"
MIXED = "postfix-3.7-mixed.{}.log.gz"
NEWER = "postfix-3.10-sample.{}.log.gz"
SCENARIOS = "scenarios/mail-{}.log.gz"
SAMPLES = (MIXED, NEWER, SCENARIOS)  # by format: iso8601, traditional
TOKEN = "k7Qm2Zx9RtW4bN8s"  # of the 3.10 samples
CATEGORIES = (
    "over_quota", "greylisted", "unknown_user", "relay_denied", "blocklist", "rate", "policy", "content",
    "size", "syntax", "auth", "dns", "connection", "timeout", "tls", "loop", "suspended", "temporary",
    "local", "other",
)
# The lab's own domains, as its main.cf had them.
LOCAL_DOMAINS = (
    "lab.example", "mx1.lab.example", "out1.lab.example", "relay3.lab.example", "lmtp.lab.example",
    "lmtptcp.lab.example", "pipe.lab.example", "pipefail.lab.example", "virt.example", "vmail.example",
)
LAB: dict[str, Any] = {
    "timezone": "UTC",
    "trusted_networks": ["127.0.2.0/24"],
    "local_domains": list(LOCAL_DOMAINS),
    "rejects": list(CATEGORIES),  # blocklist too: the judges count every refusal
}
TIMES = ("first_seen_at", "date", "sent_at", "received_at", "logged_at")
AUTUMN_2026 = datetime(2026, 11, 24, tzinfo=UTC).timestamp()

Row = dict[str, Any]


class Program:
    """One installation: a config file, a keyring, a seal and a store in a folder of its own."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = folder / "postsink.yaml"
        self.store = folder / "s.sqlite"
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"store": "s.sqlite", "keyring": "keyring", "seal": {"file": "seal.key"}, **config}
        self.config.write_text(yaml.safe_dump(settings, sort_keys=False))
        self.config.chmod(0o600)

    def run(self, *arguments: str, stdin: bytes = b"", expect: int | None = 0) -> bytes:
        """Run a command and return its stdout; `expect` is the exit status it must end with."""
        command = [sys.executable, "-m", "sink", "--config", str(self.config), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, input=stdin, capture_output=True, check=False, env=environment, cwd=self.folder
        )
        if expect is not None and done.returncode != expect:
            words = done.stderr.decode("utf-8", "replace")[-2000:]
            said = f"{' '.join(arguments)}: exit status {done.returncode}, not {expect}: {words}"
            raise AssertionError(said)
        return done.stdout

    def make_keys(self) -> "Program":
        """Make the keyring and its seal."""
        self.run("keys", "init")
        return self

    def import_files(self, *files: Path, options: Sequence[str] = (), stdin: bytes = b"") -> dict[str, Any]:
        """Import files (or stdin, without any) and return the summary."""
        out = self.run("import", "--json", *options, *(str(file) for file in files), stdin=stdin)
        summary: dict[str, Any] = json.loads(out)
        return summary

    def sibling(self, folder: Path) -> "Program":
        """Another installation with the same config and keys, and an empty store."""
        made = Program(folder)
        for name in ("postsink.yaml", "keyring", "seal.key"):
            shutil.copy2(self.folder / name, folder / name)
        return made

    def rows(self, view: str = "delivery_text") -> list[Row]:
        """All rows of a view, as dicts."""
        store = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        try:
            store.row_factory = sqlite3.Row
            return [dict(row) for row in store.execute(f"SELECT * FROM {view}")]
        finally:
            store.close()

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer to one SQL query on the store."""
        store = sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)
        try:
            return store.execute(sql).fetchall()
        finally:
            store.close()

    def addresses(self, clear: Iterable[str]) -> dict[str, str]:
        """Pseudonyms of addresses, as the `pseudonym` command gives them; the null sender is ''."""
        wanted = sorted({address for address in clear if address})
        text = "".join(address + "\n" for address in wanted).encode()
        given = self.run("pseudonym", stdin=text).decode().split("\n")
        assert given[-1] == "" and len(given) == len(wanted) + 1
        made = dict(zip(wanted, given, strict=False))
        assert all(re.fullmatch(r"[0-9a-f]{32}(@[0-9a-f]{32})?", value) for value in made.values())
        return {"": "", **made}


def unpacked(name: str, folder: Path) -> Path:
    """A sample of tests/data, unpacked, with a modification time in the autumn that it was logged in.

    The time is set by hand: that of a checkout says nothing, and years are guessed from it.
    """
    import gzip

    target = folder / Path(name).with_suffix("").name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress((DATA / name).read_bytes()))
    dated(target)
    return target


def dated(path: Path) -> Path:
    """Set a file's modification time into the samples' year."""
    os.utime(path, (AUTUMN_2026, AUTUMN_2026))
    return path


def second(value: Any) -> int | None:
    """The whole second of a time in a view: ISO 8601 UTC, with or without a fraction."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return int(value // 1)
    when = datetime.fromisoformat(str(value).replace(" ", "T").replace("Z", "+00:00"))
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() // 1)


def whole(row: Row) -> Row:
    """A row with its times cut to whole seconds, which is all that two formats of one log share."""
    return {name: second(value) if name in TIMES else value for name, value in row.items()}


def as_set(rows: Iterable[Row], cut: Callable[[Row], Row] = whole) -> list[tuple[tuple[str, Any], ...]]:
    """Rows in an order of their own, to compare two stores by."""
    return sorted((tuple(cut(row).items()) for row in rows), key=repr)


def differences(one: Iterable[Row], other: Iterable[Row]) -> dict[str, int]:
    """Which columns differ between rows of the same id, and in how many rows."""
    left = {row["id"]: whole(row) for row in one}
    right = {row["id"]: whole(row) for row in other}
    found: dict[str, int] = {}
    missing = len(left.keys() ^ right.keys())
    if missing:
        found["(rows in one store only)"] = missing
    for key in left.keys() & right.keys():
        for name, value in left[key].items():
            if value != right[key].get(name):
                found[name] = found.get(name, 0) + 1
    return found


class Ids(Protocol):
    """Pseudonyms in hex of what the command line gives none of."""

    def queue_id(self, clear: str) -> str: ...
    def message_id(self, clear: str) -> str: ...
    def relay(self, clear: str) -> str: ...


class _Ids:
    def __init__(self, secret: bytes) -> None:
        from sink.core.pseudonym import Pseudonyms

        self._keyed = Pseudonyms(secret)

    def queue_id(self, clear: str) -> str:
        return self._keyed.queue_id(clear.encode()).hex()

    def message_id(self, clear: str) -> str:
        return self._keyed.message_id(clear.encode()).hex()

    def relay(self, clear: str) -> str:
        return self._keyed.relay(clear.encode()).hex()


def pseudonyms_of(program: Program) -> Ids:
    """The pseudonyms of an installation's active epoch: the one place that reads a keyring."""
    from sink import config
    from sink.installation import open_keyring

    secret = open_keyring(config.load(program.config)).active.secret
    assert secret is not None
    return _Ids(secret)
