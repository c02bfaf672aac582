"""The package lives on booted mail hosts: set up as its README tells, mailed through, stopped, upgraded, taken away.

Each story has a machine of its own. What must come of the mails is judged by tests.package.mailhost; what must never
lie on the disk is searched for in all that the machine wrote, when it is down.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.package.machine import Machine, eventually
from tests.package.mailhost import Mailhost, leaks
from tests.package.suites import Suite

MOST_EXPOSED = 1.5  # of systemd-analyze security, of ten
UNITS = "postsink.service postsink.socket postsink-log.socket"
INSTALL = (
    "apt-get -qq -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -o Dpkg::Options::=--force-confold "
    "install"
)
CONFIG = "/etc/postsink/postsink.yaml"
OTHERS = "find /var/lib/postsink ! -user _postsink"  # must find nothing


@contextmanager
def installed(
    suite: Suite, layers: Sequence[Path], *more: str, shared: Path | None = None
) -> Iterator[tuple[Machine, Mailhost]]:
    """A machine with a Postfix that works, and the package as it starts by itself."""
    with Machine(suite, layers, suite.package, *([shared] if shared else ())) as machine:
        machine.run(f"{INSTALL} {' '.join(more)} {suite.deb}")
        host = Mailhost(machine)
        host.set_up()
        check_first_start(machine)
        # What is an admin's to say, and must survive an upgrade.
        change(machine, "trusted_networks", "[192.0.2.0/28]")
        machine.run("systemctl reload postsink")
        yield machine, host
        check_calm(machine)
        machine.power_off()
        assert leaks(machine.upper) == []


def check_first_start(machine: Machine) -> None:
    """Nothing is configured, and all is there: the daemon, its sockets, keys that are nobody's else."""
    machine.run(f"systemctl is-active {UNITS}; postsink status; postsink keys list; postsink db status")
    found = machine.run("stat -c '%U %a' /etc/postsink/seal.key /var/lib/postsink /var/lib/postsink/keyring")
    assert found.split("\n")[:3] == ["root 400", "_postsink 750", "_postsink 600"]
    sockets = machine.run("stat -c '%U %a %F' /run/postsink/stream /run/postsink/log/dev-log").split("\n")
    assert sockets[:2] == ["_postsink 600 socket", "_postsink 666 socket"]
    assert machine.run(OTHERS) == ""
    machine.run(f"systemd-analyze verify --man=no {UNITS} 2>&1 | grep postsink && exit 1 || true")
    check_exposure(machine)
    said = machine.ask("journalctl --no-pager --boot --unit postsink.service")
    assert "postsink: ready" in said
    # Whoever has logcheck hears nothing of a service that works.
    assert machine.ask("grep -Evf /etc/logcheck/ignore.d.server/postsink", given=said) == ""


def check_exposure(machine: Machine) -> None:
    said = machine.run(f"systemd-analyze security --no-pager --threshold={MOST_EXPOSED * 10:.0f} postsink.service")
    assert "Overall exposure level" in said


def check_calm(machine: Machine) -> None:
    """Nothing failed, nothing of root's lies among the daemon's files, and the daemon sleeps."""
    assert machine.run("systemctl --failed --no-legend") == ""
    assert machine.run(OTHERS) == ""
    said = machine.run("journalctl --no-pager --boot --unit postsink.service")
    assert "Traceback" not in said and "a bug" not in said, said[-3000:]


def change(machine: Machine, key: str, value: str) -> None:
    """Set a key of the config, as its comments tell."""
    machine.run(f"sed -i 's|^#{key}:.*|{key}: {value}|' {CONFIG}; grep -q '^{key}: ' {CONFIG}")


def enable(machine: Machine, word: str) -> None:
    """Type what README.Debian tells, and delete what lies there from before, as doctor tells."""
    machine.run(f"postsink enable {word}")
    machine.run("rm -f /var/log/mail.* /var/log/daemon.log /var/log/syslog /var/log/journal/*/*.journal")
    if word != "journald":
        machine.run(f"systemctl restart {word}")
    machine.run("postsink enable postfix")
    said = machine.ask("postsink doctor --json")
    assert json.loads(said)["findings"] == []


# -- stories


def with_rsyslog_nothing_is_lost_and_nothing_twice(suite: Suite) -> None:
    """Whatever is restarted while mails come: rsyslog, postsink, the machine."""
    with installed(suite, suite.mailing, "rsyslog") as (machine, host):
        enable(machine, "rsyslog")
        host.post(20)
        host.check()
        with host.posting():
            machine.run("systemctl restart rsyslog")
            machine.run("systemctl restart postsink")
            machine.run("systemctl kill --signal=KILL --kill-whom=main postsink")
            machine.run("systemctl kill --signal=HUP rsyslog")
        host.check()
        host.begin()
        machine.reboot()
        host.after_a_stop()
        host.post(10)
        host.check()
        assert json.loads(machine.ask("postsink doctor --json"))["findings"] == []
        assert machine.run("cat /var/log/mail.log || true").count("postfix") == 0
        machine.run(f"{INSTALL} --reinstall {suite.deb}")  # a package that is installed again changes nothing
        host.post(5)
        host.check()


def with_journald_alone_a_key_is_destroyed_and_no_row_missed(suite: Suite) -> None:
    """Postfix logs to the datagram socket, which systemd keeps open while the daemon begins anew."""
    with installed(suite, suite.mailing) as (machine, host):
        machine.run("postsink keys rotate")
        enable(machine, "journald")
        eventually(lambda: " active " in machine.run("postsink keys list").split("\n2 ")[1], "epoch 2")
        machine.run("postsink keys destroy 1 --yes")
        assert " destroyed " in machine.run("postsink keys list").split("\n1 ")[1].split("\n")[0]
        command = machine.run("tr '\\0' ' ' </proc/$(systemctl show --value -p MainPID postsink)/cmdline")
        assert "--again" in command
        machine.run(f"systemctl is-active {UNITS}")
        host.post(20)
        host.check()
        with host.posting():
            machine.run("systemctl restart postsink")
            machine.run("systemctl restart systemd-journald")
        host.check()
        host.begin()
        machine.reboot()
        host.after_a_stop()
        host.post(10)
        host.check()


def with_syslog_ng_lines_wait_while_the_daemon_is_away(suite: Suite) -> None:
    """It hears of no confirmation, but keeps what comes while nobody listens."""
    with installed(suite, suite.mailing, "syslog-ng-core") as (machine, host):
        enable(machine, "syslog-ng")
        host.post(10)
        host.check()
        machine.run(f"systemctl stop {UNITS}")
        host.post(10)
        machine.run(f"systemctl start {UNITS}")
        host.check()
        machine.run("systemctl restart syslog-ng")
        host.post(5)
        host.check()


def rows_go_on_to_postgresql(suite: Suite) -> None:
    """By peer authentication; rows wait while it is away, and what TCP needs is a drop-in."""
    with installed(suite, suite.storing, "rsyslog") as (machine, _):
        read_me = machine.run("cat /usr/share/doc/postsink/README.Debian")
        for line in re.findall(r"^    (su postgres .*)$", read_me, re.M):
            machine.run(f"cd /; {line}")
        change(machine, "database", "host=/run/postgresql dbname=postsink")
        machine.run("postsink db init; systemctl restart postsink")
        enable(machine, "rsyslog")
        there = Mailhost(machine, "postsink")
        there.post(20)
        there.check()
        machine.run("systemctl stop postgresql")
        there.post(10)
        machine.run("systemctl restart rsyslog postsink; systemctl is-active postsink; systemctl start postgresql")
        there.check()
        go_over_tcp(machine)
        check_exposure(machine)
        there.begin()
        machine.reboot()
        there.after_a_stop()
        there.post(10)
        there.check()
        machine.run("rm /etc/postsink/pgpass; apt-get -qq -y purge postsink")
        kept = "cd /; runuser -u postgres -- psql -qAtX -d postsink -c 'SELECT count(*) FROM delivery_text'"
        assert int(machine.run(kept)) > 0
        assert not machine.ask("ls -d /var/lib/postsink /etc/postsink")
        machine.run(f"{INSTALL} {suite.deb}")


def go_over_tcp(machine: Machine) -> None:
    """Have the daemon connect by a password, with the drop-in that the package brings."""
    drop_in = "/etc/systemd/system/postsink.service.d/postgresql-tcp.conf"
    machine.run(f"install -D /usr/share/doc/postsink/examples/postgresql-tcp.conf {drop_in}")
    password = "only on the loopback of a container"
    machine.run("cd /; runuser -u postgres -- psql -q", given=f"ALTER USER _postsink PASSWORD '{password}';")
    there = "host=127.0.0.1 dbname=postsink user=_postsink passfile=/etc/postsink/pgpass"
    machine.run(
        "install -m 0600 -o _postsink /dev/stdin /etc/postsink/pgpass",
        given=f"127.0.0.1:*:postsink:_postsink:{password}\n",
    )
    machine.run(f"sed -i 's|^database: .*|database: {there}|' {CONFIG}")
    machine.run("systemctl daemon-reload; systemctl restart postsink")


def newer(suite: Suite) -> Path:
    """The folder of a package of a later version: a column more in the store, a comment more in the config."""
    folder = suite.folder / f"newer-{suite.package.name}"
    if not folder.exists():
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        suite.inside(
            suite.building,
            """
            dpkg-deb -R /out/*.deb /tree
            sed -i 's/^Version: .*/Version: 9.0-1/' /tree/DEBIAN/control
            echo 'ALTER TABLE reject ADD COLUMN more TEXT;' >/tree/usr/share/postsink/sink/sql/sqlite/999-more.sql
            echo '# A new comment.' >>/tree/etc/postsink/postsink.yaml
            dpkg-deb --root-owner-group -b /tree /newer/postsink_9.0-1_all.deb
            """,
            None, f"--bind-ro={suite.package}:/out", f"--bind={new}:/newer",
        )  # fmt: skip
        new.rename(folder)
    return folder


def an_upgrade_keeps_all_and_a_removal_tells_everybody(suite: Suite) -> None:
    """Keys, config, rows and open messages stay through an upgrade; header lines end with the package."""
    later = newer(suite)
    with installed(suite, suite.mailing, "rsyslog", shared=later) as (machine, host):
        enable(machine, "rsyslog")
        host.post(10)
        host.check()
        machine.run("systemctl stop next-hop")
        host.post(10)  # some of them wait in the queue, and as open messages in the store
        eventually(lambda: "deferred" in str(host.judged().deliveries), "a mail that waits")
        files = "/etc/postsink/*"
        keys, before = machine.run("postsink keys list").split()[-5:-1], machine.run(f"sha256sum {files}")
        machine.run(f"{INSTALL} /shared/{later.name}/postsink_9.0-1_all.deb")
        machine.run(f"systemctl is-active {UNITS}")
        assert machine.run(f"rm -f {CONFIG}.dpkg-*; sha256sum {files}") == before
        assert machine.run("postsink keys list").split()[-5:-1] == keys
        assert "before-upgrade" not in machine.run("ls /var/lib/postsink")
        assert "the store: schema steps 999" in machine.run("journalctl --no-pager --unit postsink.service")
        machine.run("systemctl start next-hop")
        host.check()
        again = f"{INSTALL} /shared/{later.name}/postsink_9.0-1_all.deb; systemctl is-active {UNITS}"
        check_removal(machine, host, again)
        check_purge(machine, again)


def check_removal(machine: Machine, host: Mailhost, again: str) -> None:
    """Whoever called the program calls it no more, and what it kept is there for whoever installs it again."""
    rows = machine.run("postsink db status")
    # A removal that can't tell everybody does not happen.
    machine.run("echo 'module(load=\"no such module\")' >/etc/rsyslog.d/99-wrong.conf")
    machine.run("apt-get -qq -y remove postsink", status=100)
    machine.run("rm /etc/rsyslog.d/99-wrong.conf; test -e /etc/rsyslog.d/10-postsink.conf")
    machine.run(f"systemctl is-active {UNITS}")
    machine.run("apt-get -qq -y remove postsink")
    assert "postsink" not in machine.run("postconf -n header_checks mime_header_checks milter_header_checks")
    assert not machine.ask("ls /etc/rsyslog.d/10-postsink.conf /etc/postfix/postsink_header_checks")
    assert not machine.ask("pgrep -a -u _postsink; pgrep -a -f '[/]usr/bin/postsink'")
    assert machine.run("systemctl is-active rsyslog postfix").split() == ["active", "active"]
    machine.run(again)
    assert machine.run("postsink db status") == rows


def check_purge(machine: Machine, again: str) -> None:
    """It keeps what the admin wants to be kept, and deletes all of it by default."""
    keys = machine.run("postsink keys list")
    machine.run("echo postsink postsink/purge boolean false | debconf-set-selections; apt-get -qq -y purge postsink")
    assert machine.run("ls /etc/postsink").split() == ["header-tokens", "local-domains", "seal.key"]
    machine.run(again)
    assert machine.run("postsink keys list") == keys
    machine.run("apt-get -qq -y purge postsink")
    assert not machine.ask("ls -d /etc/postsink /var/lib/postsink /run/postsink")
    assert machine.run("id -u _postsink")
    machine.run(again)
    assert machine.run("postsink keys list") != keys
