"""Encoded senders: the form of every scheme, neighbours that are none, and hostile ones."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink.core.addresses import NormalForm, normal
from sink.core.senders import Sender, decode

FORM = NormalForm()

# (envelope sender, kind, sender, list recipient, is_list)
CASES = [
    # nothing encoded
    (b"john@example.com", "plain", b"john@example.com", None, False),
    (b"jean-luc@example.com", "plain", b"jean-luc@example.com", None, False),
    (b"john+shop@example.com", "plain", b"john+shop@example.com", None, False),
    (b"john+a=b@example.com", "plain", b"john+a=b@example.com", None, False),  # b is no host
    (b"a=example.org@example.com", "plain", b"a=example.org@example.com", None, False),
    (b"tax-return-1040@example.com", "plain", b"tax-return-1040@example.com", None, False),
    (b"list-request@example.com", "plain", b"list-request@example.com", None, False),  # a desk, more often
    (
        b"pm_bounces@pm.example.com",
        "plain",
        b"pm_bounces@pm.example.com",
        None,
        False,
    ),  # Postmark: one for all
    (b"bounces@example.com", "plain", b"bounces@example.com", None, False),
    (b"owner@example.com", "plain", b"owner@example.com", None, False),
    (b"owner-@example.com", "plain", b"owner-@example.com", None, False),
    (b"-bounces@example.com", "plain", b"-bounces@example.com", None, False),
    (
        b'"a-bounces+b=example.org"@example.com',
        "plain",
        b'"a-bounces+b=example.org"@example.com',
        None,
        False,
    ),
    (b"", "null", b"", None, False),
    (b"<>", "null", b"", None, False),
    (b"root", "bare", b"root", None, False),
    (b"list-bounces", "bare", b"list-bounces", None, False),
    (b'"a@b"', "bare", b'"a@b"', None, False),
    (b"john@", "bare", b"john@", None, False),
    # list software without a subscriber's name
    (b"list-bounces@example.com", "plain", b"list-bounces@example.com", None, False),  # nothing is encoded
    (b"List-Bounces@example.com", "plain", b"List-Bounces@example.com", None, False),
    (b"owner-list@example.com", "plain", b"owner-list@example.com", None, False),  # Majordomo, aliases(5)
    (b"list-owner@example.com", "plain", b"list-owner@example.com", None, False),  # Sympa, qmail
    # Mailman
    (b"list-bounces+john=example.org@example.com", "verp", b"list@example.com", b"john@example.org", True),
    (b"list-bounces+j+x=example.org@example.com", "verp", b"list@example.com", b"j+x@example.org", True),
    (b"list-bounces+a=b=example.org@example.com", "verp", b"list@example.com", b"a=b@example.org", True),
    (b"list-bounces+0f3c9a@example.com", "verp", b"list@example.com", None, True),  # a probe
    (b"list-bounces+john=@example.com", "verp", b"list@example.com", None, True),
    # Postfix
    (b"owner-list+john=example.org@example.com", "verp", b"list@example.com", b"john@example.org", True),
    (b"news+john=example.org@example.com", "verp", b"news@example.com", b"john@example.org", True),
    (b"bounce+john=example.org@example.com", "verp", b"bounce@example.com", b"john@example.org", False),
    # mlmmj
    (b"list+bounces-1201-j+x=example.org@example.com", "verp", b"list@example.com", b"j+x@example.org", True),
    (b"list+bounces-probe-j=example.org@example.com", "verp", b"list@example.com", b"j@example.org", True),
    (b"list+bounces-help@example.com", "verp", b"list@example.com", None, True),
    # ezmlm and qmail
    (b"list-return-123-john=example.org@example.com", "verp", b"list@example.com", b"john@example.org", True),
    (b"a-list-return-1-j-d=example.org@example.com", "verp", b"a-list@example.com", b"j-d@example.org", True),
    (
        b"l-return-warn-abcdef-john=example.org@example.com",
        "verp",
        b"l@example.com",
        b"john@example.org",
        True,
    ),
    (b"l-return-7.202601.abc-j=example.org@example.com", "verp", b"l@example.com", b"j@example.org", True),
    (b"list-return-123-@example.com", "verp", b"list@example.com", None, True),
    (b"list-owner-john=example.org@example.com", "verp", b"list@example.com", b"john@example.org", True),
    (b"list-return-123-john=@example.com", "plain", b"list-return-123-john=@example.com", None, False),
    # Sympa
    (
        b"bounce+john==a==example.org==list@example.com",
        "verp",
        b"list@example.com",
        b"john@example.org",
        True,
    ),
    (b"bounce+j==a==example.org==list==w@example.com", "verp", b"list@example.com", b"j@example.org", True),
    (b"bounce+j==a==example.org==list==42@example.com", "verp", b"list@example.com", b"j@example.org", True),
    (b"bounce+j==a==example.org@example.com", "plain", b"bounce+j==a==example.org@example.com", None, False),
    # Debian
    (
        b"bounce-debian-devel=john=example.org@lists.example.com",
        "verp",
        b"debian-devel@lists.example.com",
        b"john@example.org",
        True,
    ),
    (
        b"bounce-nbd=lists+nbd=example.org@example.com",
        "verp",
        b"nbd@example.com",
        b"lists+nbd@example.org",
        True,
    ),
    (b"bounce-nbd=john=@example.com", "plain", b"bounce-nbd=john=@example.com", None, False),
    # Google Groups, groups.io
    (b"list+bncBCVPTHE7K4IIDLH3VEDBUBCH3GNR4@example.com", "verp", b"list@example.com", None, True),
    (b"list+bnc@example.com", "plain", b"list+bnc@example.com", None, False),
    (b"bounce+64575+143059+4520527+8129362@example.com", "verp", b"bounce-64575@example.com", None, True),
    # mass mailers
    (
        b"bounces+4532-6cd3-john.d=example.org@em1.example.com",
        "verp",
        b"bounces-4532@em1.example.com",
        b"john.d@example.org",
        False,
    ),
    (
        b"bounce+585af8.1a95e6-john=example.org@mg.example.com",
        "verp",
        b"bounce@mg.example.com",
        b"john@example.org",
        False,
    ),
    (
        b"bounce-mc.us11_46973437.796437-john=example.org@mail148.suw18.rsgsv.net",
        "verp",
        b"bounce-mc.us11_46973437@mcsv.net",
        b"john@example.org",
        False,
    ),
    (
        b"bounce-mc.us11_46973437.8-e3616ba718@mail1.atl1.mcdlv.net",
        "verp",
        b"bounce-mc.us11_46973437@mcsv.net",
        None,
        False,
    ),
    (
        b"bounce-mc.us11_46973437.8-e3616ba718@mail.example.com",
        "verp",
        b"bounce-mc.us11_46973437@mail.example.com",
        None,
        False,
    ),
    (
        b"bounce-md_30504962.69c3af7f.v1-d93a7567d71940c3@mail2.suw61.mandrillapp.com",
        "verp",
        b"bounce-md_30504962@mandrillapp.com",
        None,
        False,
    ),
    (
        b"bounce-6_HTML-8064667-17538-536006699-585226@bounce.example.com",
        "verp",
        b"bounce-536006699@bounce.example.com",
        None,
        False,
    ),
    (
        b"0100017fcf817777-481efc68-4a9a-4c11-ba2c-40ff0357e7b1-000000@send.example.com",
        "verp",
        b"@send.example.com",
        None,
        False,
    ),
    (
        b"msprvs1=20676xgzi92p-=bounces-1898-1322@example.com",
        "verp",
        b"bounces-1898-1322@example.com",
        None,
        False,
    ),
    (
        b"bounce-123-456-john=example.org@example.com",
        "verp",
        b"bounce@example.com",
        b"john@example.org",
        False,
    ),
    (b"bounces-john=example.org@example.com", "verp", b"bounces@example.com", b"john@example.org", False),
    # SRS
    (b"SRS0=HHHH=TT=example.org=john@example.com", "srs", b"john@example.org", None, False),
    (b"srs0+HHHH=TT=example.org=john@example.com", "srs", b"john@example.org", None, False),
    (b"SRS0-H+H/=TT=example.org=john=doe@example.com", "srs", b"john=doe@example.org", None, False),
    (b"SRS1=HHHH=example.net==HHHH=TT=example.org=john@example.com", "srs", b"john@example.org", None, False),
    (b"SRS1=HHHH=example.net=-HHHH=TT=example.org=john@example.com", "srs", b"john@example.org", None, False),
    (b"SRS0=HHHH=TT=1=0A1B2C@example.com", "srs", b"0A1B2C@example.com", None, False),  # postsrsd's database
    (
        b"SRS0=HHHH=TT=example.org=@example.com",
        "plain",
        b"SRS0=HHHH=TT=example.org=@example.com",
        None,
        False,
    ),
    (b"SRS0=HHHH=TT==john@example.com", "plain", b"SRS0=HHHH=TT==john@example.com", None, False),
    (
        b"SRS0=HHHH=example.org=john@example.com",
        "plain",
        b"SRS0=HHHH=example.org=john@example.com",
        None,
        False,
    ),
    (b"SRS0+HHHH=TT=example.org@example.com", "plain", b"SRS0+HHHH=TT=example.org@example.com", None, False),
    (b"fwd+SRS=HHHH=example.org@example.com", "plain", b"fwd+SRS=HHHH=example.org@example.com", None, False),
    (b"SRS0@example.com", "plain", b"SRS0@example.com", None, False),
    (b"fwd+SRS=HHHH=TT=example.org=john@example.com", "srs", b"john@example.org", None, False),  # Exchange
    (b"bounces+SRS=HHHH=TT@example.com", "plain", b"bounces+SRS=HHHH=TT@example.com", None, False),
    # BATV
    (b"prvs=81176a5d5=john@example.com", "batv", b"john@example.com", None, False),
    (b"PRVS=16481E4B5D=john@example.com", "batv", b"john@example.com", None, False),
    (b"prvs=john/0123abcdef@example.com", "batv", b"john@example.com", None, False),
    (b"prvs=john=0123abcdef@example.com", "batv", b"john@example.com", None, False),
    (b"prvs=john@example.com", "plain", b"prvs=john@example.com", None, False),
    (b"prvs=81176a5d5=@example.com", "plain", b"prvs=81176a5d5=@example.com", None, False),
    (b"btv1==34826e458e2==John.Doe@example.com", "batv", b"John.Doe@example.com", None, False),
    # Gmail
    (b"john+caf_=me=example.org@example.com", "verp", b"john@example.com", b"me@example.org", False),
    (b"john+caf_=me+x=example.org@example.com", "verp", b"john@example.com", b"me+x@example.org", False),
    (b"john+caf_=me@example.com", "plain", b"john+caf_=me@example.com", None, False),
    # a wrapping around a list
    (
        b"SRS0=HHHH=TT=lists.example.org=l-bounces+john=example.net@example.com",
        "srs",
        b"l@lists.example.org",
        b"john@example.net",
        True,
    ),
    (b"SRS0=HHHH=TT=example.org=owner-l@example.com", "srs", b"owner-l@example.org", None, False),
    (
        b"prvs=81176a5d5=l-bounces+john=example.net@example.com",
        "batv",
        b"l@example.com",
        b"john@example.net",
        True,
    ),
    (
        b"SRS0=H=TT=example.net=SRS0=H=TT=example.org=john@example.com",
        "srs",
        b"john@example.org",
        None,
        False,
    ),
    # two and no more
    (
        b"SRS0=H=TT=example.net=SRS0=H=TT=example.org=prvs=81176a5d5=john@example.com",
        "srs",
        b"prvs=81176a5d5=john@example.org",
        None,
        False,
    ),
]


@pytest.mark.parametrize(("address", "kind", "sender", "member", "is_list"), CASES)
def test_schemes(address: bytes, kind: str, sender: bytes, member: bytes | None, is_list: bool) -> None:
    """Each scheme comes apart; what lacks a field stays as it is."""
    assert decode(address, FORM) == Sender(kind, sender, member, is_list)


@pytest.mark.parametrize("address", [case[0] for case in CASES if case[1] in ("verp", "srs", "batv")])
def test_tags_in_any_case(address: bytes) -> None:
    """A relay that folds the local part changes nobody's pseudonym."""
    as_is, folded = decode(address, FORM), decode(address.lower(), FORM)
    assert folded.kind == as_is.kind
    assert normal(folded.sender, FORM) == normal(as_is.sender, FORM)
    assert normal(folded.list_recipient or b"", FORM) == normal(as_is.list_recipient or b"", FORM)


MEMBERS = (b"john=example.org", b"mary=example.net")


@pytest.mark.parametrize(
    "address",
    [
        b"list-bounces+%b@example.com",
        b"owner-list+%b@example.com",
        b"list-return-7-%b@example.com",
        b"bounce-list=%b@example.com",
        b"bounces+4532-6cd3-%b@example.com",
        b"bounce-mc.us1_5.6-%b@example.com",
        b"bounce+585af8.1a95e6-%b@example.com",
        b"bounce-17-%b@example.com",
    ],
)
def test_one_list_one_sender(address: bytes) -> None:
    """Two subscribers of one list see the same sender, also once normal() cut the details."""
    one, other = (decode(address % member, FORM) for member in MEMBERS)
    assert one.sender == other.sender
    assert one.list_recipient != other.list_recipient
    assert normal(one.sender, FORM) == normal(one.sender, NormalForm(cut_detail=False))


tokens = st.sampled_from(
    [
        b"=",
        b"==",
        b"+",
        b"-",
        b"@",
        b'"',
        b".",
        b"SRS0",
        b"SRS1",
        b"+SRS=",
        b"prvs=",
        b"btv1==",
        b"+caf_=",
        b"==a==",
        b"-bounces",
        b"owner-",
        b"-owner",
        b"-return-",
        b"bounce-",
        b"bounces+",
        b"msprvs1=",
        b"example.com",
        b"a",
        b"7",
    ]
)
hostile = st.lists(st.one_of(tokens, st.binary(max_size=3)), max_size=14).map(b"".join)


@given(hostile)
def test_never_raises(address: bytes) -> None:
    """Any bytes have a sender, and only the null sender has none."""
    found = decode(address, FORM)
    assert found.kind in ("plain", "null", "bare", "verp", "srs", "batv")
    assert isinstance(found.sender, bytes)
    assert (found.kind == "null") == (found.sender == b"")
    assert found.list_recipient is None or b"@" in found.list_recipient


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of a call, the best of three: other processes don't count."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize(
    "unit",
    [
        b"=",
        b"+",
        b"-",
        b"@",
        b'"',
        b"a=",
        b"a.",
        b"-return-1",
        b"-owner-",
        b"==a==",
        b"1-",
        b"+srs=",
        b"+caf_=",
        b"SRS0=",
        b"-bounces",
        b"0",
        b"a-",
        b"+1",
    ],
)
def test_linear(unit: bytes) -> None:
    """Four times the text takes about four times the time, not sixteen."""
    frames = (
        b"%b@example.com",
        b"SRS0=%b@a.b",
        b"prvs=%b@a.b",
        b"bounce-%b@a.b",
        b"bounces+%b@a.b",
        b"l-return-%b@a.b",
        b"l+bnc%b@a.b",
        b"btv1==%b@a.b",
        b"bounce-mc.us1_%b@a.b",
        b"a+b=%b",
        b"l-bounces+a=%b.c@b",
    )
    for frame in frames:

        def run(size: int, frame: bytes = frame) -> object:
            return decode(frame % (unit * (size // len(unit))), FORM)

        small, large = cpu(lambda: run(10_000)), cpu(lambda: run(40_000))
        assert large < 10 * small + 0.02
