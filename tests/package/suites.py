"""Debian releases in folders under build/: a base each, and layers of packages over it, made once and kept.

A layer is what overlayfs calls an upper folder. Whatever runs in a suite runs in namespaces of its own (unshare,
systemd-nspawn), so that no mount and no process is left behind. Packages come from the mirror that this machine's own
apt uses, and through its proxy.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from tests.judges.program import ROOT

Made = TypeVar("Made")
TOP = ROOT / "build" / "suites"
NAMES = ("bookworm", "trixie")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # a version manager's python3 breaks Debian's tools
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/"}
PATIENCE = 900  # seconds
STALE = 7 * 86_400  # seconds until a base is made anew: a mirror forgets old packages
BASE = ("systemd", "systemd-sysv", "dbus", "python3", "apt-utils", "ca-certificates")
BUILD = (
    "build-essential", "debhelper", "dh-python", "git", "lintian", "man-db", "po-debconf", "python3-cryptography",
    "python3-daemon", "python3-hypothesis", "python3-lockfile", "python3-psycopg", "python3-pytest", "python3-yaml",
    "tzdata", "zsh", "bzip2", "locales", "xz-utils", "zstd",
)  # fmt: skip
MAIL = ("postfix", "postfix-pcre")
# What the package needs, and rsyslog or syslog-ng: a booted machine has no network, so they are fetched before.
NEEDED = ("procps", "python3-cryptography", "python3-daemon", "python3-psycopg", "python3-yaml", "tzdata")
LATER = ("rsyslog", *NEEDED)
TOOLS = ("autopkgtest", "piuparts", "dpkg-dev", "openssh-client", "openssh-server")
OVERLAY = """\
set -e
mkdir -p /run/systemd/nspawn  # must be in memory, which /run is not in every container
mount -t tmpfs tmpfs /run/systemd/nspawn
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$MERGED"
exec "$@"
"""


def reason_to_skip() -> str | None:
    """Why this machine can't run a suite, if so."""
    if os.geteuid() != 0:
        return "only root may make Debian's suites; run it so"
    for program in ("mmdebstrap", "systemd-nspawn", "unshare"):
        if shutil.which(program, path=PATH) is None:
            return f"{program} is missing: packaging/prepare debian"
    with Overlay(TOP, [Path(__file__).parent]) as overlay:
        environment = {**ENVIRONMENT, **overlay.variables}
        tried = subprocess.run([*overlay.command, "true"], env=environment, capture_output=True, check=False)
    if tried.returncode:
        return f"this machine may not mount an overlay over {TOP}, so it can't boot containers"
    if mirror() is None:
        return "this machine's apt has no mirror of Debian"
    return None


@cache
def mirror() -> str | None:
    """Where this machine's apt gets Debian from."""
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SUITE) $(REPO_URI)", "Created-By: Packages"],
        env={**os.environ, "PATH": PATH}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.findall(r"^Debian (?!\S*security)(?:\S*) (\S+)$", done.stdout, re.M)
    urls = [url for url in found if "security" not in url]
    return urls[0] if urls else None


@cache
def proxy() -> str:
    """What this machine's apt is told of the way out."""
    done = subprocess.run(
        ["apt-config", "dump", "Acquire::http", "Acquire::https"], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": PATH},
    )  # fmt: skip
    return done.stdout


def run(words: Sequence[str], variables: Mapping[str, str] | None = None, **given: Any) -> str:
    """Run a program; return what it printed, and fail with all of that."""
    done = subprocess.run(
        list(words), env={**_outward(), **ENVIRONMENT, **(variables or {})}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=PATIENCE, text=True, errors="replace", check=False,
        **given,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)[:300]} ended with {done.returncode}\n{done.stdout[-8000:]}"
    return str(done.stdout)


def _outward() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


def once(make: Callable[[Suite], Made]) -> property:
    """A property that is made once, by whichever thread comes first, while the suite's others may be made, too."""

    def get(suite: Suite) -> Made:
        with suite.locks[make.__name__]:
            if make.__name__ not in suite.made:
                suite.made[make.__name__] = make(suite)
        return cast(Made, suite.made[make.__name__])

    return property(get)


class Suite:
    """One release."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = TOP / name
        self.made: dict[str, object] = {}
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __str__(self) -> str:
        return self.name

    @once
    def base(self) -> Path:
        """A small Debian that boots."""
        path = self.folder / f"base-{_mark(BASE)}"
        if path.exists() and path.stat().st_mtime < time.time() - STALE:
            shutil.rmtree(self.folder)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            run([
                "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "mmdebstrap",
                "--variant=minbase", "--dpkgopt=force-unsafe-io", '--aptopt=Acquire::Languages "none"',
                "--skip=cleanup/apt/lists", f"--include={','.join(BASE)}", self.name, str(new), mirror() or "",
            ])  # fmt: skip
            (new / "etc/apt/apt.conf.d/99host").write_text(proxy())
            (new / "etc/hostname").write_text("mx1\n")
            (new / "etc/hosts").write_text("127.0.0.1 mx1.example.com mx1 localhost\n")
            shutil.copy("/etc/ssl/certs/ca-certificates.crt", new / "etc/ssl/certs/ca-certificates.crt")
            os.utime(new)
            new.rename(path)
        return path

    def layer(self, name: str, below: Sequence[Path], script: str) -> Path:
        """What a script leaves over other layers, the lowest last."""
        path = self.folder / f"{name}-{_mark([*map(str, below), script])}"
        if not path.exists():
            new = path.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            self.inside(below, script, new)
            new.rename(path)
        return path

    def inside(self, below: Sequence[Path], script: str, upper: Path | None = None, *options: str) -> str:
        """Run a script over layers, with the network of this machine; what it writes goes to a folder, or nowhere."""
        with Overlay(self.folder, below, upper) as overlay:
            words = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--pipe", *options]
            words += [f"--setenv={name}={value}" for name, value in _outward().items()]
            words += ["--setenv=DEBIAN_FRONTEND=noninteractive", "--directory", str(overlay.merged)]
            return run([*overlay.command, *words, "bash", "-euxc", script], variables=overlay.variables)

    @once
    def building(self) -> list[Path]:
        """The layers in which the package is built and looked at."""
        more = "localedef -i tr_TR -f UTF-8 tr_TR.UTF-8\nuseradd --create-home builder\napt-get clean"
        return [self.layer("build", [self.base], f"{install(*BUILD)}\n{more}"), self.base]

    @once
    def proving(self) -> list[Path]:
        """The layers in which the project's own tests find Debian's PostgreSQL."""
        return [self.layer("prove", self.building, f"{install('postgresql', 'procps')}\napt-get clean"), *self.building]

    @once
    def mailing(self) -> list[Path]:
        """The layers of a mail host without rsyslog, where the rest lies in apt's cache."""
        fetch = "\n".join(
            f"apt-get -qq -y --no-install-recommends --download-only install {' '.join(packages)}"
            for packages in (LATER, ("syslog-ng-core",))  # which exclude each other
        )
        kind = "echo postfix postfix/main_mailer_type select 'Internet Site' | debconf-set-selections"
        return [self.layer("mail", [self.base], f"{kind}\n{install(*MAIL)}\n{fetch}"), self.base]

    @once
    def testing(self) -> list[Path]:
        """The layers of a mail host with Debian's own tools of testing packages."""
        return [self.layer("test", self.mailing, install(*TOOLS, *LATER)), *self.mailing]

    @once
    def storing(self) -> list[Path]:
        """The layers of a mail host with PostgreSQL."""
        return [self.layer("postgres", self.mailing, install("postgresql")), *self.mailing]

    @once
    def package(self) -> Path:
        """The folder of the package of the last commit, as `make deb` leaves it."""
        path = self.folder / f"package-{commit()[:12]}"
        if not path.exists():
            new = path.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            self.inside(self.building, "cd /src\nmake deb OUT=/out", None, *sources(), f"--bind={new}:/out")
            new.rename(path)
        return path

    @property
    def deb(self) -> str:
        """The package's name, as a machine sees it."""
        return f"/shared/{self.package.name}/{next(self.package.glob('*.deb')).name}"


@cache
def commit() -> str:
    """What is tested: the last commit as it was at the start."""
    return run(["git", "rev-parse", "HEAD"], cwd=ROOT).strip()


def sources() -> list[str]:
    """The options that show a container this repository."""
    known = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    known["COMMIT"] = commit()
    return [f"--bind-ro={ROOT}:/src", *(f"--setenv={name}={value}" for name, value in known.items())]


def install(*packages: str) -> str:
    """The script that installs packages."""
    return (
        "apt-get -qq -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io install "
        f"{' '.join(packages)} </dev/null"
    )


def _mark(words: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


class Overlay:
    """The words that run a command where layers are one tree; the mount ends with that command."""

    def __init__(self, folder: Path, below: Sequence[Path], upper: Path | None = None) -> None:
        self._made: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder / f"mounted-{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        self.merged = self.folder / "root"
        self.upper = upper or self.folder / "upper"
        for path in (self.merged, self.folder / "work", self.upper):
            path.mkdir(parents=True, exist_ok=True)
        self.command = ["unshare", "--mount", "sh", "-c", OVERLAY, "sh"]
        self.variables = {
            "LOWER": ":".join(map(str, below)), "UPPER": str(self.upper), "WORK": str(self.folder / "work"),
            "MERGED": str(self.merged),
        }  # fmt: skip

    def __enter__(self) -> Overlay:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Delete what was written, but for an upper folder of somebody else."""
        shutil.rmtree(self.folder, ignore_errors=True)
