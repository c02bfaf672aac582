"""What kinds of mail hosts a generated log can be of: rates and shares, each beside what it means.

`public` has those of public logs (histogram.json; tests/unit/test_bench.py holds them there). The others are not
measured anywhere: they take one trait of a host to its end, to show what speed depends on. Headers are a choice of
their own, since each host may log its mail's or not.
"""

from typing import NamedTuple


class Mix(NamedTuple):
    """How often something happens; the defaults are those of public logs."""

    messages: float = 2.0  # a second, that clients bring
    # For each of these messages:
    bots: float = 0.59  # that postscreen turns away
    empty: float = 0.6  # connections that bring no message
    statistics: float = 0.086  # anvil's three lines
    standing: float = 3_500  # dead messages in the queue, for each message a second
    # Shares of messages:
    host: bytes = b""  # that logs everything; else mx1 and out1 both do
    inbound: float = 0.6  # that come to mx1
    submitted: float = 0.5  # with a login, of those to out1
    writer: str = "people"  # of mail that leaves: people, a newsletter, or lists
    client: bytes = b""  # the only one that brings messages
    single: float = 0.985  # that have one recipient
    crowd: int = 4  # one less than the others have at most
    tls: float = 0.55
    lists: float = 0.08  # with a VERP sender, of what comes in
    headers: float = 0.13  # whose headers are logged, at eight lines; where all are, at nine
    dead: float = 0.008  # that no peer will ever take
    # Shares of recipients:
    mailboxes: float = 0.4  # whose mail ends on mx1
    refused: float = 0.13  # that the peer refuses for good
    greylisted: float = 0.02
    # Shares of empty connections, and of bots:
    guessed: float = 0.04  # that guess a password
    rejected: float = 0.04  # whose recipient is rejected
    blocked: float = 0.015  # bots that come as far as to a recipient


PROGRAM = b"app.example.com[192.0.2.5]"  # of a trusted network
MIXES = {
    "public": Mix(),
    # An MX: mail for mailboxes, bots, refusals.
    "inbound": Mix(
        host=b"mx1", mailboxes=0.95, refused=0.01, lists=0.2, empty=0.9, rejected=0.2, blocked=0.05, standing=100,
    ),
    # A mass mailer: one sender, one client with a login, a message for each recipient, and nothing but deliveries.
    "outbound": Mix(
        host=b"out1", messages=20, bots=0, empty=0.02, statistics=0.01, writer="newsletter", client=PROGRAM,
        submitted=1, single=1, refused=0.03, greylisted=0.04, dead=0.004, standing=300,
    ),
    # A host of lists: a message for each subscriber (VERP), or one for up to eighty.
    "list": Mix(
        host=b"out1", messages=4, bots=0, empty=0.1, statistics=0.02, writer="lists", client=PROGRAM,
        submitted=0, single=0.7, crowd=79, refused=0.02, greylisted=0.03, dead=0.002, standing=300,
    ),
    # Bots, guessed passwords and refused recipients; hardly a message.
    "attack": Mix(
        messages=0.2, bots=12, empty=15, statistics=0.3, guessed=0.5, rejected=0.3, blocked=0.25, standing=500,
    ),
}  # fmt: skip
HEADERS = {"none": 0.0, "some": Mix().headers, "all": 1.0}


def mixed(name: str = "public", headers: str = "some") -> Mix:
    """The mix of a name, with so many of its messages' headers logged."""
    return MIXES[name]._replace(headers=HEADERS[headers])
