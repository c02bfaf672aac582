"""Header lists: the addresses and nothing else, whatever the names say, where the value is folded or cut."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sink.core.mailboxes import MOST_ADDRESSES, mailboxes

A, B, C = b"a@example.com", b"b@example.net", b"c@example.org"

# (value as logged, addresses)
CASES = [
    (b"", []),
    (A, [A]),
    (b"Ann <a@example.com>", [A]),
    (b"Ann<a@example.com>", [A]),
    (b'"Ann, B." <a@example.com>', [A]),  # a comma in quotes
    (b'"b@example.net" <a@example.com>', [A]),  # a name that looks like an address
    (b"b@example.net <a@example.com>", [A]),  # the same without quotes
    (b'"Ann \\"x, <b@example.net>" <a@example.com>, c@example.org', [A, C]),
    (b"'a@example.com'", [A]),  # Outlook's quotes
    (b"<a@example.com>", [A]),
    (b"a@example.com, b@example.net,c@example.org", [A, B, C]),
    (b"a@example.com,,, b@example.net,", [A, B]),
    (b"a@example.com; b@example.net", [A, B]),  # Outlook's separator
    (b"<a@example.com> <b@example.net>", [A, B]),  # a forgotten comma
    (b"a@example.com (Ann, the (very) first), b@example.net", [A, B]),
    (b"(b@example.net) a@example.com", [A]),
    (b"a (x) @ (y) example.com", [A]),  # obsolete blanks and comments around the "@"
    (b"Ann Other a@example.com", [A]),  # a name without <>
    (b"J. Other a@example.com", [A]),
    (b"x y@example.com", [b"y@example.com"]),
    (b"Team: a@example.com, Bob <b@example.net>;", [A, B]),
    (b"Team: a@example.com;, c@example.org", [A, C]),
    (b"undisclosed-recipients:;", []),
    (b"undisclosed-recipients", []),
    (b"<undisclosed-recipients:;>", []),
    (b"Undisclosed recipients:", []),
    (b"root", [b"root"]),  # as cron writes
    (b"root, <postmaster>", [b"root", b"postmaster"]),
    (b"Ann Other", []),  # a name alone
    (b"<>", []),
    (b"@example.com", []),
    (b"a@", []),
    (b"@", []),
    (b'"a@example.com"', []),  # a quoted string is no address
    (b'"a b"@example.com', [b'"a b"@example.com']),
    (b'"a,b"@example.com, b@example.net', [b'"a,b"@example.com', B]),
    (b'<"a>b"@example.com>', [b'"a>b"@example.com']),
    (
        b"<@example.net,@example.org:a@example.com>, b@example.net",
        [b"@example.net,@example.org:a@example.com", B],
    ),
    (b"a@[192.0.2.1], b@[IPv6:2001:db8::1]", [b"a@[192.0.2.1]", b"b@[IPv6:2001:db8::1]"]),
    (b"l-bounces+a=example.com@example.net", [b"l-bounces+a=example.com@example.net"]),
    # encoded-words are names, also where their text holds what would end an item
    (b"=?utf-8?q?Ann,_B=40x?= <a@example.com>", [A]),
    (b"=?utf-8?q?Ann@B,C?= <a@example.com>, b@example.net", [A, B]),
    (b"=?utf-8?B?QW5u/+==?=? =?utf-8?B?QW5u?= <a@example.com>", [A]),
    (b"=?utf-8?q?a@example.com?=", []),
    ("Änn <a@example.com>".encode(), [A]),
    ("änn@example.com".encode(), ["änn@example.com".encode()]),
    (b"\xff\xfe <a@example.com>", [A]),
    # folds
    (b"a@example.com,??b@example.net,? c@example.org", [A, B, C]),
    (b"a@example.com?,? b@example.net? ", [A, B]),
    (b"?? a@example.com", [A]),
    (b"Ann?? Other? <a@example.com>,? ? Bob <?b@example.net??>", [A, B]),
    (b"a@example.com? (Ann)", [A]),
    (b"?[31mred? ? end", []),  # an escape sequence
    # what never closes costs one item
    (b'"Ann <a@example.com>, b@example.net', [A, B]),
    (b"Ann <a@example.com, b@example.net", [A, B]),
    (b"Ann (x <a@example.com>, b@example.net", [A, B]),
    (b"a@[192.0.2.1, b@example.net", [b"a@[192.0.2.1", B]),
    (b"a@example.com\\", [A]),
    # a header that plays the line around it
    (
        b'"Ann; from=<z@example.org> to=<z@example.org>" <a@example.com>, "b\\" from=<" <b@example.net>',
        [A, B],
    ),
]


@pytest.mark.parametrize(("value", "found"), CASES)
def test_addresses(value: bytes, found: list[bytes]) -> None:
    """The table's addresses come out, in order; text that is no address is not missed."""
    assert mailboxes(value, False) == (found, False)


# (value, addresses of whole items, something was dropped)
CUT = [
    (b"", [], False),
    (b"a@example.com", [], True),  # may have been a@example.com.au
    (b"a@example.com,", [A], False),
    (b"a@example.com, ", [A], False),
    (b"a@example.com,?? ", [A], False),
    (b"a@example.com, b@exam", [A], True),
    (b"a@example.com, Bob <b@example.net>", [A], True),
    (b"a@example.com, <b@example.net> <c@example.org>", [A], True),
    (b"Team: a@example.com, b@example.net;", [A, B], False),
    (b"Team: a@example.com, b@example.net", [A], True),
    (b'a@example.com, "b@example.net, c@example.org', [A], True),  # all of it may be one name
    (b'a@example.com, "b <b@example.net>, c@example.org', [A], True),
    (b"a@example.com (b@example.net, c@example.org", [], True),  # the comment hides this item's end, too
    (b"a@example.com, <@example.net,@example.org", [A], True),
    (b"a@example.com, Bob", [A], True),
]


@pytest.mark.parametrize(("value", "found", "dropped"), CUT)
def test_cut(value: bytes, found: list[bytes], dropped: bool) -> None:
    """Of a cut value the last item counts only when a comma closes it."""
    assert mailboxes(value, True) == (found, dropped)


def test_cap() -> None:
    """A header holds at most MOST_ADDRESSES, however they are written."""
    for item in (b"a@example.com,", b"<a@example.com>", b"Ann <a@example.com>, "):
        whole, beyond = item * MOST_ADDRESSES, item * (MOST_ADDRESSES + 1)
        assert mailboxes(whole, False) == ([A] * MOST_ADDRESSES, False)
        assert mailboxes(beyond, False) == ([A] * MOST_ADDRESSES, True)


pieces = st.sampled_from(
    [
        A,
        B,
        b",",
        b", ",
        b",? ",
        b"<",
        b">",
        b'"',
        b"\\",
        b"(",
        b")",
        b":",
        b";",
        b"[",
        b"]",
        b"@",
        b"?",
        b" ",
        b"Ann",
        b"=?utf-8?q?x@y,?=",
        b"=?",
        b"=",
        b"\xff",
        "ä".encode(),
    ]
)
hostile = st.lists(st.one_of(pieces, st.binary(max_size=3)), max_size=20).map(b"".join)


@given(hostile, st.booleans())
def test_never_raises(value: bytes, cut: bool) -> None:
    """Any bytes give a list of non-empty parts of themselves."""
    found, dropped = mailboxes(value, cut)
    assert isinstance(dropped, bool)
    assert all(isinstance(address, bytes) and address for address in found)
    assert sum(map(len, found)) <= len(value)


@given(
    st.lists(
        st.sampled_from([A, b"Ann <a@example.com>", b'"x, y" <b@example.net>', b"(z) c@example.org"]),
        max_size=6,
    )
)
def test_cutting_only_takes_away(items: list[bytes]) -> None:
    """Wherever a value is cut, what is found is a beginning of what the whole holds."""
    value = b", ".join(items)
    whole, _ = mailboxes(value, False)
    for end in range(len(value)):
        found, _ = mailboxes(value[:end], True)
        assert found == whole[: len(found)]


def cpu(call: Callable[[], object]) -> float:
    """CPU seconds of a call, the best of three: other processes don't count."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    "unit",
    [
        b"(",
        b")",
        b'"',
        b"<",
        b">",
        b",",
        b"@",
        b"\\",
        b"a",
        b"[",
        b"]",
        b"=?",
        b"=",
        b"@ ",
        b'<"',
        b'("',
        b'"(',
        b'"\\',
        b"(\\",
        b"=?a?q?",
        b"a@b,",
        b"<a",
        b'<a"',
        b"? ",
        b"?",
        b"<>",
        b"a ",
        b"=?a?q?a ",
        b'"" "',
        b"a@b ",
        b'"@',
        b": ",
    ],
)
def test_linear(unit: bytes, cut: bool) -> None:
    """Four times the text takes about four times the time, not sixteen."""
    small = cpu(lambda: mailboxes(unit * (10_000 // len(unit)), cut))
    large = cpu(lambda: mailboxes(unit * (40_000 // len(unit)), cut))
    assert large < 10 * small + 0.02
