"""A real Postfix logs to a real rsyslogd, and that to the daemon: a row for each recipient, whatever is killed."""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import PATIENCE, PROGRAMS, Postfix
from tests.integration.live.rsyslogd import Rsyslogd
from tests.integration.live.service import Service, eventually
from tests.judges.program import Program, pseudonyms_of

MAILS = 30
# A /dev with another log in it, which only the processes behind see.
OTHER_DEV = """\
mount --make-rprivate / &&
mount -t tmpfs -o mode=755 tmpfs "$2" &&
for name in null zero full random urandom; do touch "$2/$name"; mount --bind "/dev/$name" "$2/$name"; done &&
touch "$2/log" && mount --bind "$1" "$2/log" &&
mount --rbind "$2" /dev &&
exec postfix start-fg
"""


class Logging(Postfix):
    """A Postfix whose /dev/log is a socket of ours."""

    def start_with(self, log: Path) -> None:
        dev = self.folder / "dev"
        dev.mkdir()
        self._process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", OTHER_DEV, "sh", str(log), str(dev)], env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, umask=0o022,
        )  # fmt: skip
        eventually(lambda: self._process.poll() is not None or self._listens())
        assert self._process.poll() is None, self._process.stderr and self._process.stderr.read()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        subprocess.run(["postfix", "abort"], env=self.environment, check=False, timeout=PATIENCE,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        self._process.wait(PATIENCE)
        if self._process.stderr is not None:
            self._process.stderr.close()


@pytest.fixture
def postfix() -> Iterator[Logging]:
    if os.geteuid() != 0 or not shutil.which("postfix", path=PROGRAMS):
        pytest.skip("Postfix is not installed, or may not be started")
    if subprocess.run(["unshare", "--mount", "mount", "--make-rprivate", "/"], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    folder = Path(tempfile.mkdtemp(prefix="postsink-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Logging(folder, "pcre", "maillog_file =\n")
    try:
        yield made
    finally:
        shutil.rmtree(folder)


def mail(postfix: Postfix, number: int) -> tuple[str, str, list[str]]:
    """Send one to two recipients; return its queue id, sender and recipients."""
    sender, recipients = f"user{number}@example.org", [f"a{number}@example.com", f"b{number}@example.net"]
    with smtplib.SMTP("127.0.0.1", postfix.port, local_hostname="client.example.org", timeout=PATIENCE) as smtp:
        smtp.ehlo()
        assert smtp.docmd(f"MAIL FROM:<{sender}>")[0] == 250
        for recipient in recipients:
            assert smtp.docmd(f"RCPT TO:<{recipient}>")[0] == 250
        code, reply = smtp.data(b"Message-ID: <%d@example.org>\r\nSubject: Hello\r\n\r\nHello\r\n" % number)
        assert code == 250
    return reply.decode().split()[-1], sender, recipients


def test_a_row_for_each_recipient(live: Program, postfix: Logging) -> None:
    """Child and daemon are killed meanwhile; no mail is slower for it, and no file holds a line."""
    rsyslogd = Rsyslogd(live.folder.parent / "rsyslog", live)
    sent = []
    service = Service(live)
    try:
        with rsyslogd:
            postfix.start_with(rsyslogd.folder / "dev-log")
            try:
                for number in range(MAILS):
                    sent.append(mail(postfix, number))
                    if number % 10 == 3:
                        service.kill()
                        sent.append(mail(postfix, MAILS + number))
                        service = Service(live)
                    if number % 10 == 7:
                        rsyslogd.kill_child()
                eventually(lambda: len(live.rows()) == 2 * len(sent), 40)  # by the wall clock: no line follows
            finally:
                postfix.stop()
            rsyslogd.stop()
        assert service.stop() == 0
    finally:
        service.process.kill()
        service.process.wait()
    of = live.addresses(address for _, sender, recipients in sent for address in (sender, *recipients))
    ids = pseudonyms_of(live)
    wanted = Counter(
        (ids.queue_id(queue_id), of[sender], of[to], "sent", "discard") for queue_id, sender, to_all in sent
        for to in to_all
    )
    found = live.rows()
    assert wanted == Counter(
        (row["queue_id"], row["sender"], row["recipient"], row["status"], row["agent"]) for row in found
    )
    assert all(row["message_size"] and row["message_id"] and row["origin"] for row in found)
    assert "postfix" not in rsyslogd.written()
