"""Sorts log lines into classes, so that a generated log can be held against logs of the wild.

`python bench/classes.py` derives histogram.json from tests/data/shapes.txt: the share of each class in
171,640 public lines. Classes too rare to matter share the name `other`.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
SHAPES = HERE.parent / "tests" / "data" / "shapes.txt"
HISTOGRAM = HERE / "histogram.json"
LEAST_SHARE = 0.001  # a class of fewer than one line in a thousand is not modelled

_QID = r"(?:QID|[0-9A-Za-z]{6,20}): "
# In this order; the first that matches names the class. (class, daemons, pattern from the text's start)
_CLASSES: tuple[tuple[str, str, str], ...] = (
    ("smtpd connect", "smtpd", r"connect from "),
    ("smtpd disconnect", "smtpd", r"disconnect from "),
    ("smtpd lost connection", "smtpd", r"(?:lost connection|timeout) after "),
    ("smtpd client", "smtpd", _QID + r"client="),
    ("smtpd TLS", "smtpd", r"\w+ TLS connection established from"),
    ("smtpd SASL failure", "smtpd", r"warning: .*SASL .* authentication failed"),
    ("reject", "", r"NOQUEUE: reject: "),
    ("cleanup message-id", "cleanup", _QID + r"message-id="),
    ("cleanup header", "cleanup", _QID + r"\w+: header "),
    ("qmgr active", "qmgr", _QID + r"from=<.+>, size="),
    ("qmgr active, null sender", "qmgr", _QID + r"from=<>, size="),
    ("qmgr removed", "qmgr", _QID + r"removed"),
    ("sent", "", _QID + r"to=.* status=sent "),
    ("deferred, peer said", "", _QID + r"to=.* status=deferred \(host .* said: "),
    ("deferred, peer refused to talk", "", _QID + r"to=.* status=deferred \(host .* refused to talk"),
    ("deferred, no connection", "", _QID + r"to=.* status=deferred \(connect to "),
    ("deferred, other", "", _QID + r"to=.* status=deferred "),
    ("bounced, peer said", "", _QID + r"to=.* status=bounced \(host .* said: "),
    ("bounced, other", "", _QID + r"to=.* status=bounced "),
    ("smtp peer said", "smtp", _QID + r"host .* said: "),
    ("smtp peer refused to talk", "smtp", _QID + r"host .* refused to talk"),
    ("smtp connect to", "smtp", r"connect to "),
    ("bounce notification", "bounce", _QID + r"sender "),
    ("postscreen CONNECT", "postscreen", "CONNECT from"),
    ("postscreen DISCONNECT", "postscreen", "DISCONNECT"),
    ("postscreen DNSBL", "postscreen", "DNSBL rank"),
    ("postscreen HANGUP", "postscreen", "HANGUP after"),
    ("postscreen PASS", "postscreen", "PASS "),
    ("postscreen PREGREET", "postscreen", "PREGREET"),
    ("dnsblog", "dnsblog", "addr "),
    ("tlsproxy", "tlsproxy", ""),
    ("anvil", "anvil", "statistics: "),
    ("scache", "scache", "statistics: "),
    ("pipe, lmtp, local and virtual", "pipe lmtp local virtual", ""),
)  # fmt: skip
_TABLE = tuple((name, frozenset(daemons.split()), re.compile(pattern)) for name, daemons, pattern in _CLASSES)


def class_of(daemon: str, text: str) -> str:
    """The class of a text that a daemon logged."""
    for name, daemons, pattern in _TABLE:
        if (not daemons or daemon in daemons) and pattern.match(text):
            return name
    return "other"


def class_of_line(line: str) -> str:
    """The class of a whole log line with an ISO 8601 time."""
    head, _, text = line.partition("]: ")
    return class_of(head.rpartition("[")[0].rpartition("/")[2], text)


def shares(counted: Counter[str], least: float = LEAST_SHARE) -> dict[str, float]:
    """The share of each class, the greatest first, `other` last."""
    total = counted.total()
    listed = {
        name: round(number / total, 5)
        for name, number in counted.most_common()
        if number / total >= least and name != "other"
    }
    return {**listed, "other": round(1 - sum(listed.values()), 5)}


def of_shapes() -> dict[str, float]:
    """The histogram of the wild."""
    counted: Counter[str] = Counter()
    for line in SHAPES.read_text("utf-8", "surrogateescape").split("\n")[1:]:
        if line:
            weight, _, _, shape = line.split("\t", 3)
            daemon, _, text = shape.partition(": ")
            counted[class_of(daemon, text)] += int(weight)
    return shares(counted)


def of_lines(lines: Iterable[str]) -> dict[str, float]:
    """The histogram of a log."""
    return shares(Counter(map(class_of_line, lines)), 0)


if __name__ == "__main__":
    json.dump(of_shapes(), sys.stdout, indent=1)
    sys.stdout.write("\n")
