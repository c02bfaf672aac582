"""The vectors of docs/pseudonyms.md, computed by code that shares nothing with postsink, and by postsink itself."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import pytest

from sink.core.addressbook import AddressBook
from sink.core.addresses import NormalForm, normal
from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.pseudonym import NONE, Pseudonyms
from sink.core.rules import Rules
from sink.core.syslog import Reader
from sink.keys.epochs import Epoch as KeyEpoch
from sink.tools.exporting.tokens import Tokens

TEXT = (Path(__file__).parents[2] / "docs/pseudonyms.md").read_text()
KEY = bytes.fromhex(re.findall(r"Epoch key: `([0-9a-f]{64})`", TEXT)[0])
VECTORS = re.findall(r"^\| ([a-z-]+) \| `(.*)` \| `([0-9a-f]+)` \|$", TEXT, re.M)
ADDRESSES = re.findall(r"^\| `(.*)` \| `(.*)` \| (?:`(.*)`)? ?\|$", TEXT, re.M)
SECOND = 1_793_606_412  # 2026-11-02T08:00:12Z


def hkdf(key: bytes, info: bytes) -> bytes:
    """RFC 5869 with an empty salt, for one block."""
    extracted = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_the_tables_are_there() -> None:
    assert {purpose for purpose, _, _ in VECTORS} == {
        "user", "domain", "message-id", "queue-id", "relay", "delivery", "reject", "check", "ip", "spelling",
    }  # fmt: skip
    assert len(ADDRESSES) > 6


@pytest.mark.parametrize(("purpose", "text", "pseudonym"), VECTORS)
def test_an_independent_hmac_agrees(purpose: str, text: str, pseudonym: str) -> None:
    found = hmac.new(hkdf(KEY, f"postsink 1 {purpose}".encode()), text.encode(), hashlib.sha256).hexdigest()
    assert found[: len(pseudonym)] == pseudonym
    assert len(pseudonym) == (16 if purpose == "check" else 32)


@pytest.mark.parametrize(("purpose", "text", "pseudonym"), [vector for vector in VECTORS if vector[0] != "check"])
def test_ours_agree(purpose: str, text: str, pseudonym: str) -> None:
    assert getattr(Pseudonyms(KEY), purpose.replace("-", "_"))(text.encode()).hex() == pseudonym


def test_the_check_value_agrees() -> None:
    epoch = KeyEpoch(1, None, None, "active", KEY)
    assert [epoch.check] == [pseudonym for purpose, _, pseudonym in VECTORS if purpose == "check"]


@pytest.mark.parametrize(("address", "user", "domain"), ADDRESSES)
def test_normal_forms_agree(address: str, user: str, domain: str) -> None:
    assert normal(address.encode(), NormalForm()) == (user.encode(), domain.encode() or None)
    party = AddressBook(Pseudonyms(KEY), Rules()).party(address.encode())[0]
    names = Pseudonyms(KEY)
    assert party == names.user(user.encode()) + (names.domain(domain.encode()) if domain else NONE)


def test_lines_are_named_as_the_vectors_say() -> None:
    """The whole way, from syslog's header on."""
    (delivery,), (reject,) = ([one for one in VECTORS if one[0] == kind] for kind in ("delivery", "reject"))
    sent = delivery[1].partition("9137:")[2].encode()
    refused = reject[1].partition("7162:")[2].encode()
    pipeline = Pipeline(Rules(), [Epoch(1, None, None, KEY)], bytes(range(32)), Reader())
    found = pipeline.feed([
        b"2026-11-02T08:00:12.391936+00:00 mx1 postfix/smtp[9]: " + sent,
        b"2026-11-02T08:00:12.391936+00:00 mx1 postfix/smtpd[7]: " + refused,
    ])  # fmt: skip
    rows = pipeline.flush().rows
    assert [row[0] for row in rows] == [SECOND]
    assert rows[0][1][:16].hex() == delivery[2]
    assert found.rejects[0][1][:16].hex() == reject[2]


# Tokens of an export

TOKENS = re.findall(r"^\| ([\w ]+) \| ([\w-]+) \| ([a-z-]+) \| `(.*)` \| `([0-9a-f]{32})` \|$", TEXT, re.M)


def hashed(purpose: str, text: str) -> bytes:
    return hmac.new(hkdf(KEY, f"postsink 1 {purpose}".encode()), text.encode(), hashlib.sha256).digest()[:16]


def test_the_table_of_tokens_is_there() -> None:
    assert {purpose for _, _, purpose, _, _ in TOKENS} == {
        "user", "domain", "message-id", "queue-id", "relay", "host",
    }  # fmt: skip


@pytest.mark.parametrize(("recipient", "release", "purpose", "text", "token"), TOKENS)
def test_an_independent_token_agrees(recipient: str, release: str, purpose: str, text: str, token: str) -> None:
    user, _, domain = text.partition("@")
    domain_half = hashed("domain", domain) if domain else bytes(16)
    made_of = {
        "user": domain_half + hashed("user", user), "domain": domain_half, "host": text.encode(),
    }.get(purpose) or hashed(purpose, text).hex().encode()  # fmt: skip
    info = f"postsink 1 export {len(recipient)}:{recipient}{len(release)}:{release}{purpose}"
    assert hmac.new(hkdf(KEY, info.encode()), made_of, hashlib.sha256).hexdigest()[:32] == token


@pytest.mark.parametrize(("recipient", "release", "purpose", "text", "token"), TOKENS)
def test_our_tokens_agree(recipient: str, release: str, purpose: str, text: str, token: str) -> None:
    names, tokens = Pseudonyms(KEY), Tokens(KEY, recipient, release)
    if purpose in ("user", "domain"):
        user, _, domain = text.partition("@")
        half = names.domain(domain.encode()).hex() if domain else ""
        made = tokens.address(names.user(user.encode()).hex() + (f"@{half}" if half else ""))
        assert made.split("@")[purpose == "domain"] == token
    else:
        shown = text if purpose == "host" else getattr(names, purpose.replace("-", "_"))(text.encode()).hex()
        assert tokens.other(purpose, shown) == token
