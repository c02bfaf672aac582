"""A mail host in a booted container: Postfix with mailboxes and a next hop, mails, and the rows that must come of them.

Every name in the mails holds one canary, so that one search tells whether anything raw was left.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.leak.canaries import STEM, Searcher
from tests.package.machine import Machine, eventually

INSIDE = Path(__file__).parent / "inside"
STRANGER = b"198.51.100.173"  # of post.py
# Postfix's own queue and mailboxes, and our notes of what was sent, are where addresses belong.
RAW_MAY_LIE_IN = ("var/spool/postfix/", "var/mail/")
NOTED = "/var/mail/noted"
SETUP = """
install -d -o nobody -g nogroup /var/mail/boxes /var/mail/noted
newaliases
echo '/^[a-z]+[0-9]+\\.to@example\\.com$/ all' >/etc/postfix/boxes
postconf -e myhostname=mx1.example.com mydestination=localhost virtual_mailbox_domains=example.com \\
    virtual_mailbox_maps=regexp:/etc/postfix/boxes virtual_mailbox_base=/var/mail/boxes virtual_uid_maps=static:65534 \\
    virtual_gid_maps=static:65534 inet_interfaces=127.0.0.1 inet_protocols=ipv4 \\
    'mynetworks=127.0.0.0/8 192.0.2.0/28' smtpd_peername_lookup=no \\
    smtpd_authorized_xclient_hosts=127.0.0.1 'transport_maps=inline:{{example.net=smtp:[127.0.0.1]:2525}}' \\
    smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination smtpd_tls_security_level=none \\
    smtp_tls_security_level=none
install -D -m 0755 /dev/stdin /etc/systemd/system/next-hop.service <<'END'
[Service]
ExecStart=/usr/sbin/smtp-sink -u nobody 127.0.0.1:2525 100
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now next-hop
systemctl restart postfix
"""


@dataclass(frozen=True)
class Judgement:
    """What was sent, and what is stored of it."""

    mails: list[dict[str, Any]]  # that were taken
    unsure: set[str]  # recipients of mails whose sender was killed before he knew
    pseudonyms: dict[str, str]
    deliveries: list[dict[str, Any]]
    refusals: list[dict[str, Any]]

    def expected(self) -> Counter[tuple[str, str]]:
        """One delivery for each recipient that was taken."""
        return Counter(
            (self.pseudonyms[recipient], "sent")
            for mail in self.mails if mail["kind"] != "refused" for recipient in mail["recipients"]
        )  # fmt: skip

    def stored(self) -> Counter[tuple[str, str]]:
        """The same as it is stored; a next hop that has just been stopped puts mail off."""
        unsure = {self.pseudonyms[recipient] for recipient in self.unsure}
        return Counter(
            (row["recipient"], row["status"]) for row in self.deliveries
            if row["status"] != "deferred" and row["recipient"] not in unsure
        )  # fmt: skip

    def is_whole(self) -> bool:
        """Whether all has come; what is too much is for check()."""
        refused = sum(mail["kind"] == "refused" for mail in self.mails)
        return not self.expected() - self.stored() and len(self.refusals) >= refused

    def check(self, *, headers: bool = True) -> None:
        """Each recipient has one row, and that tells what is so."""
        assert self.stored() == self.expected(), (self.expected() - self.stored(), self.stored() - self.expected())
        rows = {row["recipient"]: row for row in self.deliveries if row["status"] == "sent"}
        for mail in self.mails:
            if mail["kind"] == "refused":
                continue
            for recipient in mail["recipients"]:
                self._check_row(mail, recipient, rows[self.pseudonyms[recipient]], headers)
        wanted = Counter(
            self.pseudonyms[mail["recipients"][0]]
            for mail in self.mails if mail["kind"] == "refused" for _ in range(mail["tries"])
        )  # fmt: skip
        unsure = {self.pseudonyms[recipient] for recipient in self.unsure}
        assert Counter(row["recipient"] for row in self.refusals if row["recipient"] not in unsure) == wanted
        assert {row["category"] for row in self.refusals} <= {"unknown_user"}

    def _check_row(self, mail: dict[str, Any], recipient: str, row: dict[str, Any], headers: bool) -> None:
        is_remote = recipient.endswith("@example.net")
        origin = {"in": "smtpd", "out": "trusted", "local": "pickup", "two": "trusted"}[mail["kind"]]
        found = (row["sender"], row["origin"], bool(row["is_outgoing"]), row["agent"], row["host"])
        told = (self.pseudonyms[mail["sender"]], origin, is_remote, "smtp" if is_remote else "virtual", "mx1")
        assert found == told, (mail, found, told)
        assert row["message_id"], mail
        if headers:
            to = " ".join(sorted(self.pseudonyms[one] for one in mail["recipients"]))
            found_headers = (row["from"], row["to"], row["subject_size"])
            assert found_headers == (self.pseudonyms[mail["sender"]], to, len(mail["subject"])), mail


class Mailhost:
    """Postfix in a machine."""

    def __init__(self, machine: Machine, database: str = "") -> None:
        self.machine = machine
        self._database = database
        self._next = 0

    def set_up(self) -> None:
        """Configure Postfix; nothing is enabled yet."""
        self.machine.run(SETUP)
        for name in ("post.py", "rows.py"):
            self.machine.put(f"{NOTED}/{name}", (INSIDE / name).read_text())
        self.machine.put(f"{NOTED}/canary", STEM)

    def post(self, number: int) -> None:
        """Send mails, five kinds in turn."""
        self.machine.run(f"python3 {NOTED}/post.py {self._next} {number} 0")
        self._next += number

    @contextmanager
    def posting(self, pause: float = 0.05) -> Iterator[None]:
        """Send mails all the time, one after the other."""
        self.begin(pause)
        yield
        so_far = self._noted()
        eventually(lambda: self._noted() > so_far + 5, "mails are sent after that, too")
        self.machine.run(f"touch {NOTED}/stop")
        eventually(lambda: not self.is_posting(), "the last mail")
        self.machine.run(f"rm {NOTED}/stop")
        self._next = self._noted()

    def begin(self, pause: float = 0.05) -> None:
        """Begin to send mails, until the machine stops."""
        words = f"/usr/bin/python3 {NOTED}/post.py {self._next} 1000000 {pause}"
        self.machine.run(f"systemd-run --quiet --unit=posting --collect {words}")
        begun = self._next
        eventually(lambda: self._noted() > begun + 5, "mails are sent")

    def is_posting(self) -> bool:
        return self.machine.ask("systemctl is-active posting").strip() == "active"

    def after_a_stop(self) -> None:
        """Go on where a killed sender ended."""
        self._next = self._noted()

    def _notes(self) -> dict[int, dict[str, Any]]:
        lines = self.machine.run(f"cat {NOTED}/notes").splitlines()
        return {mail["number"]: mail for mail in map(json.loads, lines)}

    def _noted(self) -> int:
        return max(self._notes(), default=-1) + 1

    def judged(self) -> Judgement:
        """What was sent and what is stored by now."""
        mails = self._notes().values()
        taken = [mail for mail in mails if mail["tries"]]
        unsure = {recipient for mail in mails if not mail["tries"] for recipient in mail["recipients"]}
        return Judgement(taken, unsure, **json.loads(self.machine.run(f"python3 {NOTED}/rows.py {self._database}")))

    def settled(self) -> Judgement:
        """The same once Postfix has nothing left to do, and every row that is to come has come."""
        eventually(lambda: "is empty" in self.machine.ask("postqueue -f; postqueue -p"), "an empty queue")
        eventually(lambda: self.judged().is_whole(), "all rows", 60)
        return self.judged()

    def check(self) -> None:
        """Rows and mailboxes, which Postfix's own headers tell of, hold what was sent, once."""
        judged = self.settled()
        judged.check()
        local = Counter(
            recipient for mail in judged.mails if mail["kind"] != "refused" for recipient in mail["recipients"]
            if recipient.endswith("@example.com")
        )  # fmt: skip
        boxed = re.findall(r"^X-Original-To: (\S+)", self.machine.run("cat /var/mail/boxes/all"), re.M)
        assert Counter(recipient for recipient in boxed if recipient not in judged.unsure) == local


def leaks(folder: Path) -> list[str]:
    """Files under a folder in which a name of the mails stands, in whatever form."""
    searcher = Searcher([STEM.encode()])
    assert searcher.find((folder / "var/mail/boxes/all").read_bytes()), "what is there is found"
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or path.is_symlink() or name.startswith(RAW_MAY_LIE_IN):
            continue
        data = path.read_bytes()
        said = searcher.find(name.encode()) or searcher.find(data) or (STRANGER in data and "a client's address")
        if said:
            found.append(f"{name}: {said}")
    return found
