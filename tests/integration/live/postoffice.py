"""Runs a Postfix with much of what one can do: aliases, mailboxes, logins, a filter, access tables, header checks.

Clients say by XCLIENT whence they come, so the log names addresses of the documentation networks; what leaves goes to
one server of the test. Its mailboxes are files, which tell what arrived.
"""

from __future__ import annotations

import mailbox
import re
import shutil
import smtplib
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import NamedTuple

from tests.integration.conftest import PATIENCE, free_port
from tests.integration.live.recording import notified_of, queue_id_of
from tests.integration.live.test_postfix import Logging

TABLES = Path(__file__).parents[3] / "syslog-conf" / "postfix"
ON = re.findall(r"```sh\n(.*?)```", (TABLES / "README.md").read_text(), re.DOTALL)[0]
QUEUES = ("maildrop", "incoming", "active", "deferred")  # in the order that a message goes through them
TRUSTED = "192.0.2.0/28"

MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
myhostname = mx1.example.com
myorigin = example.com
mydestination = example.com
mynetworks = {trusted}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{remote}
alias_maps = texthash:{folder}/etc/aliases
alias_database =
local_recipient_maps = $alias_maps
virtual_alias_maps = texthash:{folder}/etc/virtual
virtual_mailbox_domains = box.example.com
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_mailbox_base = {folder}/boxes
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
message_size_limit = 100000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
header_checks = regexp:{folder}/etc/admin_checks
recipient_delimiter = +
smtpd_peername_lookup = no
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_authorized_verp_clients = {trusted}
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{logins}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/etc/access
"""
MASTER_CF = """\
127.0.0.1:{port}     inet n - n - - smtpd
127.0.0.1:{filtered} inet n - n - - smtpd
    -o syslog_name=postfix/filtered -o content_filter=smtp:[127.0.0.1]:{filter}
127.0.0.1:{submission} inet n - n - - smtpd
    -o syslog_name=postfix/submission -o smtpd_sasl_auth_enable=yes
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{way_back} inet n - n - - smtpd
    -o cleanup_service_name=cleanup-filtered -o smtpd_authorized_xclient_hosts=
    -o mynetworks=127.0.0.0/8 -o smtpd_recipient_restrictions=
cleanup          unix n - n - 0 cleanup
cleanup-filtered unix n - n - 0 cleanup
    -o header_checks=pcre:{folder}/etc/postsink_milter_header_checks
pickup    unix n - n 60 1 pickup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
smtp      unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
local     unix - n n - - local
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
proxymap  unix - - n - - proxymap
"""


class Client(NamedTuple):
    """Who speaks to our smtpd."""

    name: str
    address: str


STRANGER = Client("client.example.org", "198.51.100.7")
COLLEAGUE = Client("desk.example.com", "192.0.2.5")


@dataclass(frozen=True)
class Mail:
    """What a client wants to send."""

    name: str  # its Message-ID holds it
    sender: str
    recipients: tuple[str, ...]
    client: Client | None = STRANGER  # None: sendmail on this host
    filtered: bool = False
    subject: str = "Hello"
    headers: tuple[str, ...] = ()
    options: str = ""  # of MAIL FROM
    author: str = ""  # none: who sends it
    login: str = ""

    @property
    def message_id(self) -> str:
        return f"{self.name}@example.org"

    def text(self, date: str) -> bytes:
        lines = (
            f"From: Someone <{self.author or self.sender}>", f"To: {', '.join(self.recipients)}",
            f"Date: {date}", f"Subject: {self.subject}", f"Message-ID: <{self.message_id}>", *self.headers,
            "", "Hello", "",
        )  # fmt: skip
        return "\r\n".join(lines).encode()


class Delivered(NamedTuple):
    """A mail in a mailbox, as its topmost headers tell."""

    queue_id: str
    sender: str
    recipient: str
    original_recipient: str
    parent: str | None  # the message that it notifies of


@dataclass
class Sent:
    """What the client knows when it has hung up."""

    mail: Mail
    began: datetime
    ended: datetime
    queue_id: str = ""  # none: nothing was taken
    refused: list[tuple[str, str | None, int, str]] = field(default_factory=list)  # (verb, recipient, code, dsn)


class Postoffice(Logging):
    """One instance; `aliases` and the like are the text of its tables."""

    def __init__(self, folder: Path, remote: int, logins: int, **tables: str) -> None:
        super().__init__(folder, "pcre")
        self.filtered, self.submission = free_port(), free_port()
        self.boxes = folder / "boxes"
        self.boxes.mkdir()
        shutil.chown(self.boxes, "nobody", "nogroup")
        etc = folder / "etc"
        for name in ("aliases", "virtual", "mailboxes", "access", "admin_checks"):
            (etc / name).write_text(tables.get(name, "").replace("BOXES", str(self.boxes)))
        (etc / "main.cf").write_text(MAIN_CF.format(folder=folder, remote=remote, logins=logins, trusted=TRUSTED))

    def configure(self, filter_port: int) -> None:
        """Write master.cf, and switch our header checks on, by the very commands of the README."""
        (self.folder / "etc" / "master.cf").write_text(MASTER_CF.format(
            folder=self.folder, port=self.port, filtered=self.filtered, submission=self.submission,
            way_back=self.way_back, filter=filter_port,
        ))  # fmt: skip
        block = ON.replace("/etc/postsink/header-tokens", str(self.secret)).replace("postfix reload\n", "")
        subprocess.run(["bash", "-c", block], env=self.environment, cwd=TABLES, check=True, timeout=PATIENCE)

    def post(self, mail: Mail, date: str) -> Sent:
        """Send one mail and tell what became of it, as far as its client can know."""
        sent = Sent(mail, datetime.now(UTC), datetime.now(UTC))
        if mail.client is None:
            self._sendmail(mail, date)
        else:
            port = self.filtered if mail.filtered else self.submission if mail.login else self.port
            with smtplib.SMTP("127.0.0.1", port, local_hostname=mail.client.name, timeout=PATIENCE) as smtp:
                smtp.docmd("XCLIENT", f"NAME={mail.client.name} ADDR={mail.client.address}")
                smtp.ehlo()
                if mail.login:
                    smtp.login(mail.login, "any")
                self._speak(smtp, sent, date)
        sent.ended = datetime.now(UTC)
        return sent

    def _speak(self, smtp: smtplib.SMTP, sent: Sent, date: str) -> None:
        mail, recipients = sent.mail, 0
        code, reply = smtp.docmd(f"MAIL FROM:<{mail.sender}> {mail.options}".rstrip())
        if code != 250:
            sent.refused.append(("MAIL", None, code, reply.decode().split()[0]))
            return
        for recipient in mail.recipients:
            code, reply = smtp.docmd(f"RCPT TO:<{recipient}>")
            if code == 250:
                recipients += 1
            else:
                sent.refused.append(("RCPT", recipient, code, reply.decode().split()[0]))
        if recipients:
            code, reply = smtp.data(mail.text(date))
            if code == 250:
                sent.queue_id = reply.decode().split()[-1]
            else:
                sent.refused.append(("header", mail.recipients[-1], code, reply.decode().split()[0]))

    def _sendmail(self, mail: Mail, date: str) -> None:
        subprocess.run(
            ["sendmail", "-i", "-f", mail.sender, *mail.recipients], env=self.environment, check=True,
            input=mail.text(date).replace(b"\r\n", b"\n"), timeout=PATIENCE,
        )  # fmt: skip

    def do(self, *words: str) -> None:
        """Run one of Postfix's commands."""
        subprocess.run(words, env=self.environment, check=True, timeout=PATIENCE, capture_output=True)

    def queued(self) -> list[tuple[str, str]]:
        """Each message that is not finished, as (queue, queue id)."""
        return [
            (queue, path.name) for queue in QUEUES for path in (self.folder / "queue" / queue).rglob("*")
            if not path.is_dir()
        ]  # fmt: skip

    def delivered(self, name: str) -> list[Delivered]:
        """Each mail in a mailbox."""
        box = mailbox.mbox(self.boxes / name, create=False)
        try:
            return [
                Delivered(
                    queue_id_of(bytes(mail)), parseaddr(mail["Return-Path"])[1], mail["Delivered-To"],
                    mail["X-Original-To"], notified_of(bytes(mail)),
                )
                for mail in box
            ]  # fmt: skip
        finally:
            box.close()
