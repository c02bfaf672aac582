"""What a command costs, and what benchmarks run on: a generated log, kept from run to run, and an installation."""

import gzip
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / "build" / "bench"
TOKEN = "k7Qm2Zx9RtW4bN8s"  # that of generate.py's header lines
CONFIG = """\
store: s.sqlite
keyring: keyring
seal: {file: seal.key}
timezone: UTC
local_domains: [example.com]
trusted_networks: [192.0.2.0/28]
header_tokens: tokens
"""
# A process's peak of memory begins with that of whoever starts it: here one that holds nothing.
WITNESS = """import os, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
start = time.monotonic()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
_, status, used = os.wait4(pid, 0)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, time.monotonic() - start)
sys.exit(os.waitstatus_to_exitcode(status))"""
SOURCES = ("generate.py", "lines.py", "mixes.py", "pools.py")  # of a log


class Run(NamedTuple):
    """What one run cost, and the rows it made, where it makes rows."""

    cpu: float  # seconds, of the process and its children
    memory: float  # MB of resident set, at its peak; with children, the largest of them
    wall: float = 0.0  # seconds
    rows: int | None = None


class Kind(NamedTuple):
    """The kind of a log: whose, and of which messages it has the headers."""

    mix: str = "public"
    headers: str = "some"

    def __str__(self) -> str:
        return self.mix if self.headers == "some" else f"{self.mix}, headers of {self.headers}"


PUBLIC = Kind()


def measured(command: Sequence[str], folder: Path, output: str | Path = os.devnull) -> Run:
    """Run a command; return what it and its children used. output: where its stdout goes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.run(
        [sys.executable, "-c", WITNESS, str(output), *command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
    if child.returncode:
        said = child.stderr.decode("utf-8", "replace").strip()[-1000:]
        sys.exit(f"bench: {command[0]} ended with {child.returncode}: {said}")
    cpu, memory, wall = map(float, child.stdout.split())
    return Run(cpu, memory, wall)


def _is_newer(made: Path, *sources: Path) -> bool:
    return made.exists() and made.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def made_log(lines: int, seed: int, kind: Kind = PUBLIC) -> Path:
    """The generated log, made when it is missing or when the generator changed since."""
    name = "mail" if kind == PUBLIC else f"{kind.mix}-{kind.headers}"
    log = CACHE / f"{name}-{lines}-{seed}.log"
    if not _is_newer(log, *(ROOT / "bench" / source for source in SOURCES)):
        CACHE.mkdir(parents=True, exist_ok=True)
        print(f"Making a log of {lines} lines in {log} ...", file=sys.stderr)
        part = log.with_suffix(".partial")
        words = ["--lines", str(lines), "--seed", str(seed), "--mix", kind.mix, "--headers", kind.headers]
        with part.open("wb") as out:
            subprocess.run([sys.executable, "-m", "bench.generate", *words], stdout=out, check=True, cwd=ROOT)
        part.rename(log)
    return log


def packed(log: Path) -> Path:
    """The same log as logrotate packs it, made once."""
    made = log.with_suffix(".log.gz")
    if not _is_newer(made, log):
        with log.open("rb") as plain, gzip.open(made, "wb", 6) as out:
            shutil.copyfileobj(plain, out, 1 << 20)
    return made


def dated(log: Path) -> Path:
    """The same log with times of whole seconds, as syslogs wrote them once, made once."""
    made = log.with_suffix(".dated.log")
    if not _is_newer(made, log):
        with log.open("rb") as file, made.open("wb") as out:
            for line in file:
                time, _, rest = line.partition(b" ")
                out.write(datetime.fromisoformat(time.decode()).strftime("%b %e %H:%M:%S ").encode() + rest)
    return made


def made_installation(folder: Path) -> None:
    """A config, a keyring and header tokens, as an operator has them."""
    (folder / "postsink.yaml").write_text(CONFIG)
    (folder / "tokens").write_text(TOKEN + "\n")
    for path in folder.iterdir():
        path.chmod(0o600)
    subprocess.run(
        [*program(folder), "keys", "init"], check=True, cwd=folder, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def program(folder: Path) -> list[str]:
    """The command of the checkout."""
    return [sys.executable, "-m", "sink", "--config", str(folder / "postsink.yaml")]
