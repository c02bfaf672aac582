"""What a report says of the rows themselves: how many, which columns they have, what they lack, under which key."""

from typing import Final

from sink.tools.report.parts import WAYS, Figure, Rows, Section, Table, moment, number, share
from sink.tools.report.questions import HEADERS, LACKS, Answers, Direction

LACK: Final = {
    "sender": "the lines that told the sender are lost, came before the log begins, or their message was forgotten",
    "recipient": "a whole message expired: it is one row",
    "is_outgoing": "the submission was not seen, so nothing tells whether it is incoming or outgoing",
    "agent": "a syslog template cut the daemon's name off",
    "message_size": "the queue manager's line was not seen",
    "delays": "a line without delays, as of a whole message that expired",
}
_HEAD: Final = ("rows", "number", "share", "why")


def summary(told: Answers) -> Section:
    ways: dict[Direction, int] = {}
    for (_, way), value in told.volume.items():
        ways[way] = ways.get(way, 0) + value
    rows = [
        ("Delivery attempts", number(told.attempts)),
        ("Final outcomes", number(told.outcomes)),
        *[(f"... {words}", number(ways.get(way, 0))) for way, words in WAYS.items()],
        ("Refusals", number(told.refusals.total())),
        ("Bytes of these outcomes' mail", number(told.octets)),
        ("Mail hosts", number(len(told.hosts))),
        ("First line", moment(min((one.first for one in told.epochs.values() if one.first is not None), default=None))),
        ("Last line", moment(max((one.last for one in told.epochs.values() if one.last is not None), default=None))),
    ]
    words = (
        "A delivery attempt is one try to hand a mail to one recipient. A final outcome is what became of a mail for"
        " one recipient: the last attempt, retries and hand-overs to your own filters left out. Times are UTC."
    )
    return Section("summary", "Summary", words, [Table("All of the report's time", ("what", "number"), rows)])


def headers(told: Answers) -> Section:
    words = "Share of delivery attempts that have a column. All but message_id come with header lines, is_list in part."
    found = Section("headers", "Header columns", words)
    if told.attempts:
        rows = [[name, number(told.held[name]), share(told.held[name], told.attempts)] for name in HEADERS]
        series = {"attempts": [100 * told.held[name] / told.attempts for name in HEADERS]}
        plot = Rows(HEADERS, series, "% of attempts", whole=True)
        table = Table("Header columns", ("column", "attempts", "share"), rows)
        found.parts.append(Figure("header-coverage", "Attempts that have each header column", plot, table))
    return found


def missing(told: Answers) -> Section:
    words = (
        "What rows lack since lines were not understood, lost, or their message was forgotten too early. How many lines"
        " were not understood, and how many messages were evicted, no row tells: postsink status and the summary of an"
        " import do."
    )
    lacking = {f"without {name}": (told.attempts - told.held[name], LACK[name]) for name in LACKS}
    lacking["headers cut"] = (told.cut, "a logged header was longer than the limit")
    rows = [[name, number(value), share(value, told.attempts), why] for name, (value, why) in lacking.items()]
    return Section("missing", "What is missing", words, [Table("Delivery attempts", _HEAD, rows)])


def epochs(told: Answers) -> Section:
    words = "Rows of two epochs have pseudonyms under two keys, so nobody in one can be found in the other by them."
    rows = [
        [number(epoch), number(one.attempts), number(one.refusals), moment(one.first), moment(one.last)]
        for epoch, one in sorted(told.epochs.items())
    ]
    head = ("epoch", "attempts", "refusals", "first line", "last line")
    return Section("epochs", "Epochs", words, [Table("Rows by epoch of their key", head, rows)])
