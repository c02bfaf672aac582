"""Debian's own tools install the package, use it, and take it away."""

from __future__ import annotations

import re

from tests.package.machine import Machine
from tests.package.suites import Suite, mirror

# What others leave behind when they go is not ours: accounts stay, and what was installed with us.
IGNORED = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-")


def piuparts_finds_nothing_left(suite: Suite) -> None:
    """Installed, upgraded, removed and purged in a bare Debian, there is nothing left, and nothing of others is gone.

    The upgrade is from the same package with a lower number: it is the first one.
    """
    ignored = " ".join(f"--ignore={path}" for path in IGNORED)
    said = suite.inside(
        suite.testing,
        f"""
        mkdir /work /before
        dpkg-deb -R /out/*.deb /tree
        sed -i 's/^Version: .*/Version: 0.0-1/' /tree/DEBIAN/control
        dpkg-deb --root-owner-group -b /tree /before
        (cd /before; dpkg-scanpackages . >Packages)
        TMPDIR=/work piuparts --existing-chroot=/bare --distribution={suite.name} --mirror='{mirror()} main' \\
            --bindmount=/var/cache/apt/archives --bindmount=/before \\
            --extra-repo='deb [trusted=yes] file:/before ./' {ignored} \\
            --warn-on-leftovers-after-purge --no-eatmydata /out/*.deb
        """,
        None, f"--bind-ro={suite.package}:/out", f"--bind-ro={suite.base}:/bare",
    )  # fmt: skip
    assert {"Installation and purging test", "Installation, upgrade and purging tests"} <= set(
        re.findall(r"PASS: ([^.\n]+)", said)
    ), said[-3000:]


def autopkgtest_passes(suite: Suite) -> None:
    """The package's own tests, on a booted machine."""
    with Machine(suite, suite.testing, suite.package) as machine:
        # It comes by ssh, since that way alone it believes on both suites that this machine is there to be changed.
        machine.run("ssh-keygen -q -t ed25519 -N '' -f /key; install -D -m 0600 /key.pub ~root/.ssh/authorized_keys")
        said = machine.run(
            f"cd /var/tmp; autopkgtest /shared/{suite.package.name}/*.deb /shared/{suite.package.name}/*.dsc"
            " -- ssh --hostname localhost --login root --identity /key --capability isolation-machine"
        )
    assert set(re.findall(r"^(\S+) +PASS$", said, re.M)) == {"import", "first-start"}, said[-3000:]
    assert "SKIP" not in said
