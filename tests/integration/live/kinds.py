"""The mails of test_kinds_of_mail: what is sent, what is answered, and what is known of it beforehand."""

from __future__ import annotations

from tests.integration.live.postoffice import COLLEAGUE, Client, Mail

TABLES = {
    "aliases": "alice BOXES/alice\nbob BOXES/bob\nforward grace@example.net\n",
    "virtual": "info@example.com alice@example.com\n",
    "mailboxes": "dora@box.example.com dora\n",
    "access": "full@example.com 552 5.2.2 Sorry, mailbox is full\n"
              "over@example.com 450 4.7.1 Sorry, your message cannot be delivered to that person because their "
              "mailbox is full\n",
    "admin_checks": "/^X-Evil:/ REJECT evil header\n",
}  # fmt: skip
ANSWERS = {
    "grey@example.net": ["450 4.7.1 Greylisted, try again later", "250 2.1.5 Ok"],
    "waiting@example.net": ["452 4.2.2 Mailbox full", "452 4.2.2 Mailbox full", "250 2.1.5 Ok"],
    "nobody@example.net": ["550 5.1.1 User unknown"],
    "gone@example.net": ["550 5.1.1 No such user here"],
    "quota@example.net": ["552 5.2.2 Mailbox full"],
    "busy@example.net": ["451 4.3.2 Try again later"],
}
ENDS = {"picky@example.net": "554 5.7.1 Message content rejected"}
REASONS = {  # of a server's refusal
    "grey@example.net": "greylisted", "waiting@example.net": "over_quota", "nobody@example.net": "unknown_user",
    "gone@example.net": "unknown_user", "quota@example.net": "over_quota", "busy@example.net": "temporary",
    "picky@example.net": "content",
}  # fmt: skip
CATEGORIES = {  # of a refusal of ours, by the mail's name and its recipient
    ("quota", "full@example.com"): "over_quota", ("quota", "over@example.com"): "over_quota",
    ("partly", "full@example.com"): "over_quota", ("unknown", "nobody@example.com"): "unknown_user",
    ("relay", "erin@example.net"): "relay_denied", ("evil", "bob@example.com"): "content", ("big", None): "size",
}  # fmt: skip

ALICE = "alice@example.com"
FIRST = (  # these wait for another attempt
    Mail("grey", "dave@example.com", ("grey@example.net",), COLLEAGUE),
    Mail("waiting", "ivan@example.com", ("waiting@example.net",), COLLEAGUE),
)
MAILS = (
    Mail("sent", "carol@example.com", ("erin@example.net",), COLLEAGUE),
    Mail("bounced", "sam@example.org", ("nobody@example.net",), COLLEAGUE),
    Mail("quota", "quincy@example.org", ("full@example.com", "over@example.com")),
    Mail("partly", "peter@example.org", ("bob@example.com", "full@example.com")),
    Mail("mixed", ALICE, ("one@example.net", "two@example.net", "gone@example.net", "quota@example.net",
                          "busy@example.net"), COLLEAGUE),
    Mail("forward", "ann@example.org", ("forward@example.com",)),
    Mail("virtual", "viktor@example.org", ("info@example.com",)),
    Mail("both", "wim@example.org", (ALICE, "info@example.com")),
    Mail("verp", "team-bounces+bob=example.com@example.org", ("bob@example.com",), author="kim@example.org"),
    Mail("listed", "news@example.org", (ALICE,), headers=("List-Id: News <news.example.org>",)),
    Mail("xverp", "club@example.com", ("erin@example.net", "frank@example.net"), COLLEAGUE, options="XVERP=+="),
    Mail("login", ALICE, ("erin@example.net", "bob@example.com"), Client("phone.example.net", "203.0.113.9"),
         login="alice.login@example.com"),
    Mail("content", "sam@example.org", ("picky@example.net",), COLLEAGUE),
    Mail("colleague", "carol@example.com", ("bob@example.com",), COLLEAGUE),
    Mail("thread-1", ALICE, ("trent@example.net",), COLLEAGUE, subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
    Mail("thread-2", "trent@example.net", (ALICE,), headers=("In-Reply-To: <thread-1@example.org>",)),
    Mail("thread-3", ALICE, ("trent@example.net",), COLLEAGUE,
         headers=("References: <thread-1@example.org>", " <thread-2@example.org>")),
    Mail("filtered-out", ALICE, ("erin@example.net", "frank@example.net"), COLLEAGUE, filtered=True),
    Mail("filtered-in", "mike@example.org", ("bob@example.com",), filtered=True),
    Mail("null", "", (ALICE,), author="robot@example.org"),
    Mail("unknown", "oscar@example.org", ("nobody@example.com",)),
    Mail("relay", "eve@example.org", ("erin@example.net",)),
    Mail("evil", "mallory@example.org", ("bob@example.com",), headers=("X-Evil: yes",)),
    Mail("big", "trudy@example.org", ("bob@example.com",), options="SIZE=200000"),
    Mail("box", "zoe@example.org", ("dora@box.example.com",)),
)  # fmt: skip
PICKUP = Mail("pickup", "root@example.com", ("heidi@example.net",), None)
LAST = Mail("last", "carol@example.com", ("last@example.net",), COLLEAGUE)
# What a list writes for each subscriber, and what it is called.
LISTS = {
    "team-bounces+bob=example.com@example.org": "team@example.org",
    "club+erin=example.net@example.com": "club@example.com",
    "club+frank=example.net@example.com": "club@example.com",
}
SUBJECTS = {"thread-1": 5}
REPLIES = {"thread-2": "thread-1@example.org", "thread-3": "thread-2@example.org"}
BOXES = ("alice", "bob", "dora")

ALL = (*FIRST, *MAILS, PICKUP, LAST)
ROUTED = [
    (number, mail) for number, mail in enumerate(ALL)
    if mail.name not in ("quota", "unknown", "relay", "evil", "big")
]  # fmt: skip
