"""A scrubber that begins in the midst of messages, as a daemon does, goes on with the keys of their first lines."""

from __future__ import annotations

from datetime import UTC, datetime

from sink.core.epochs import Epoch
from sink.core.pipeline import Pipeline
from sink.core.scrub import Scrubber
from sink.core.syslog import Reader
from tests.golden_runner import CORRELATION, RULES, SECRET

CHANGE = int(datetime(2026, 11, 2, 9, 0, tzinfo=UTC).timestamp())
EPOCHS = (Epoch(1, None, CHANGE, SECRET), Epoch(2, CHANGE, None, bytes(32)))
BEFORE = (
    b"2026-11-02T08:59:58+00:00 mx1 postfix/smtpd[9]: 4A5A321A867: client=c.example.net[203.0.113.5]",
    b"2026-11-02T08:59:58+00:00 mx1 postfix/qmgr[9]: 4A5A321A867: from=<alice@example.net>, size=77, nrcpt=1"
    b" (queue active)",
    b"2026-11-02T08:59:58+00:00 mx1 postfix/smtpd[9]: 4A5A321A868: client=c.example.net[203.0.113.5]",
    b"2026-11-02T08:59:59+00:00 mx1 postfix/cleanup[9]: 4A5A321A868: message-id=<1@example.net>",
    b"2026-11-02T08:59:59+00:00 mx1 postfix/qmgr[9]: 4A5A321A868: removed",
)  # fmt: skip
AFTER = (
    b"2026-11-02T09:00:01+00:00 mx1 postfix/smtp[9]: 4A5A321A867: to=<bob@example.com>, relay=none, delay=1,"
    b" delays=1/0/0/0, dsn=4.4.1, status=deferred (connect to mx.example.com[198.51.100.9]:25: Connection refused)",
    b"2026-11-02T09:00:01+00:00 mx1 postfix/qmgr[9]: 4A5A321A868: removed",
    b"2026-11-02T09:00:02+00:00 mx1 postfix/smtpd[9]: 4A5A321A868: client=c.example.net[203.0.113.5]",  # used again
    b"2026-11-02T09:00:03+00:00 mx1 postfix/smtpd[9]: 4A5A321A869: client=c.example.net[203.0.113.5]",
)


def scrubber() -> Scrubber:
    return Scrubber(RULES, EPOCHS, Reader(RULES.timezone), CORRELATION)


def test_messages_that_are_open_keep_their_keys() -> None:
    whole = scrubber()
    whole.scrub(BEFORE)
    wanted = whole.scrub(AFTER)
    pipeline = Pipeline(RULES, EPOCHS, CORRELATION, Reader(RULES.timezone))
    pipeline.take(BEFORE)
    resumed, forgetful = scrubber(), scrubber()
    resumed.resume(pipeline.state())
    assert resumed.scrub(AFTER) == wanted
    late = forgetful.scrub(AFTER)
    assert [one == other for one, other in zip(late, wanted, strict=True)] == [False, False, True, True]


def test_with_one_epoch_there_is_nothing_to_know() -> None:
    tool = Scrubber(RULES, EPOCHS[:1], Reader(RULES.timezone), CORRELATION)
    tool.resume({b"token": b"damaged"})
    assert tool.line(BEFORE[0])
