"""What a report says: its sections, out of the numbers."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sink.tools.report import worth
from sink.tools.report.parts import (
    WAYS,
    Columns,
    Curves,
    Dots,
    Figure,
    Rows,
    Section,
    Table,
    number,
    seconds,
    share,
)
from sink.tools.report.questions import (
    LARGEST,
    LEAST,
    PARTS,
    TOTAL,
    Answers,
    Direction,
    Values,
    outcome_of,
    percentiles,
    together,
    within,
)

OUTCOMES: Final = ("sent", "deferred", "failed")
PLACES: Final = (50, 90, 95, 99)  # percentiles
FEW: Final = 5  # people fewer than these are not counted out
BOUNDS: Final = {
    1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 21_600: "6 h", 86_400: "1 d", 432_000: "5 d",
}  # fmt: skip
NAMED: Final = 12  # hex digits of a domain's pseudonym: enough to tell it from others

def _few(people: int) -> str:
    return number(people) if people >= FEW or not people else f"< {FEW}"


def _by_way(cells: Mapping[Direction, int]) -> list[str]:
    return [number(cells.get(way, 0)) for way in WAYS]


def sections(told: Answers) -> list[Section]:
    """Return all sections, in their order."""
    if told.is_empty:
        return []
    return [
        tell(told) for tell in (
            worth.summary, _volume, _outcomes, _delays, _retries, _reasons, _refusals, _domains, _lists, _sizes,
            _replies, worth.headers, worth.missing, worth.epochs,
        )
    ]  # fmt: skip


# -- volume


def _volume(told: Answers) -> Section:
    first, last = min((hour for hour, _ in told.volume), default=""), max((hour for hour, _ in told.volume), default="")
    found = Section("volume", "Volume", "Final outcomes by the hour of their last line, in UTC.")
    if not first:
        found.words = "No final outcome."
        return found
    labels, width, unit = _calendar(first, last)
    found.parts += [
        _over_time(told, "by-time", f"Mail by {unit}", unit, labels, 0, width),
        _over_time(told, "by-hour", "Mail by hour of the day, all days together", "hour of the day",
                   [f"{hour:02}" for hour in range(24)], 11, 13),
    ]  # fmt: skip
    return found


def _calendar(first: str, last: str) -> tuple[list[str], int, str]:
    """Return labels from the first to the last hour, how much of an hour they are, and what they are called."""
    begin, end = (datetime.fromisoformat(f"{hour}:00") for hour in (first, last))
    if end - begin <= timedelta(days=3):
        step, width, unit = timedelta(hours=1), 13, "hour"
    elif end - begin <= timedelta(days=400):
        step, width, unit = timedelta(days=1), 10, "day"
    else:
        step, width, unit = timedelta(days=1), 7, "month"
    labels = []
    while begin.isoformat()[:width] <= last[:width]:
        labels.append(begin.isoformat()[:width])
        begin += step
    return list(dict.fromkeys(labels)), width, unit


def _over_time(told: Answers, name: str, title: str, unit: str, labels: list[str], start: int, end: int) -> Figure:
    cells: dict[str, dict[Direction, int]] = {label: {} for label in labels}
    for (hour, way), value in told.volume.items():
        cell = cells[hour[start:end]]
        cell[way] = cell.get(way, 0) + value
    rows = [[label.replace("T", " "), *_by_way(cell)] for label, cell in cells.items()]
    series = {words: [cell.get(way, 0) for cell in cells.values()] for way, words in WAYS.items()}
    shown = [label[5:].replace("T", " ") if unit in ("hour", "day") else label for label in labels]
    plot = Columns(shown, series, f"{unit}, UTC", "final outcomes")
    return Figure(name, title, plot, Table(title, (unit, *WAYS.values()), rows))


# -- outcomes


def _outcomes(told: Answers) -> Section:
    statuses = sorted({status for status, _ in told.status}, key=lambda one: (outcome_of(one) == "failed", one))
    rows = []
    for status in statuses:
        cells = {way: told.status[status, way] for way in WAYS}
        total = sum(cells.values())
        rows.append([status, *_by_way(cells), number(total), share(total, told.outcomes)])
    whole = {way: sum(value for (_, one), value in told.status.items() if one == way) for way in WAYS}
    ways = [way for way in WAYS if whole[way]]
    series = {
        one: [100 * sum(value for (status, at), value in told.status.items() if at == way and outcome_of(status) == one)
              / whole[way] for way in ways]
        for one in OUTCOMES
    }  # fmt: skip
    words = "Deferred: it waited for its next attempt when the log ended. Failed: any status but sent and deferred."
    found = Section("outcomes", "Outcomes", words)
    table = Table("Final outcomes by status", ("status", *WAYS.values(), "all", "share"), rows)
    title = "Outcomes by direction"
    plot = Rows([WAYS[way] for way in ways], series, "% of final outcomes", whole=True)
    found.parts.append(Figure("outcomes-by-way", title, plot, table) if ways else table)
    return found


# -- delays


def _delays(told: Answers) -> Section:
    words = (
        "Of mail that was sent, from its arrival to the end of its last attempt; Postfix splits this time in four. A"
        " percentile is the least value that so many in a hundred do not exceed. Below 0.01 s Postfix logs 0."
    )
    found = Section("delays", "Delivery delay", words)
    rows, seen = [], []
    for name, ways in (("all", tuple(WAYS)), *((words, (way,)) for way, words in WAYS.items())):
        for part, title in enumerate(("total", *PARTS), TOTAL):
            values = together(told.parts.get((way, part), Values()) for way in ways)
            found_here = percentiles(values, PLACES)
            if found_here:
                rows.append([f"{name}, {title}", number(values.total()), *map(seconds, found_here)])
            if found_here and name == "all":
                seen.append((title, found_here))
    table = Table("Delays in seconds", ("mail", "values", *(f"{place} %" for place in PLACES)), rows)
    if not seen:
        found.words = "No mail was sent."
        return found
    series = {f"{place} % take at most": [values[at] for _, values in seen] for at, place in enumerate(PLACES)}
    plot = Dots([_broken(title) for title, _ in seen], series, "time")
    found.parts.append(Figure("delay-percentiles", "Where the time goes: percentiles of each part", plot, table))
    return found


def _broken(title: str) -> str:
    return {"before the queue manager": "before queue", "in the queue manager": "in queue"}.get(title, title)


_CURVES: Final = {
    "sent at once": ("sent", False), "sent after a deferral": ("sent", True), "failed at once": ("failed", False),
    "failed after a deferral": ("failed", True),
}  # fmt: skip


def _retries(told: Answers) -> Section:
    words = (
        "How long it took until a mail had its final outcome. The curves leave out mail that still"
        " waits, and mail that expired as a whole, of which the log tells no delay."
    )
    found = Section("retries", "Retries, and the time to the outcome", words)
    values = {name: told.times[key] for name, key in _CURVES.items() if key in told.times}
    rows = [
        [name, number(one.total()), *(share(within(one, bound), one.total()) for bound in BOUNDS)]
        for name, one in values.items()
    ]
    if values:
        title = "Share of mail that has its outcome within a time"
        plot = Curves({name: _curve(one) for name, one in values.items()}, "time since arrival", "% of mail")
        head = ("mail", "number", *(f"within {words}" for words in BOUNDS.values()))
        found.parts.append(Figure("time-to-outcome", title, plot, Table(title, head, rows)))
    classes = {str(times): (times, times) for times in range(1, 5)}
    classes |= {"5 to 9": (5, 9), "10 to 19": (10, 19), "20 and more": (20, 1 << 62)}
    cells = {
        label: [sum(value for (times, one), value in told.retries.items() if low <= times <= high and one == outcome)
                for outcome in OUTCOMES]
        for label, (low, high) in classes.items()
    }  # fmt: skip
    if any(map(any, cells.values())):
        title = "Deferrals of a mail, and what became of it"
        table = Table(title, ("deferrals", *OUTCOMES), [[label, *map(number, cell)] for label, cell in cells.items()])
        series = {one: [cell[at] for cell in cells.values()] for at, one in enumerate(OUTCOMES)}
        found.parts.append(Figure("deferrals", title, Rows(list(cells), series, "final outcomes"), table))
    return found


def _curve(values: Values) -> tuple[list[float], list[float]]:
    """Return (seconds, share) of a curve, with no more points than can be seen."""
    total, reached = values.total(), 0
    xs, ys = [0.01], [0.0]
    for value, more in sorted(values.items()):
        reached += more
        at = max(value, 0.1)
        if at < 1.01 * xs[-1]:
            ys[-1] = 100 * reached / total
        else:
            xs.append(at)
            ys.append(100 * reached / total)
    return xs, ys


# -- why


def _reasons(told: Answers) -> Section:
    all_of: dict[str, int] = {}
    for (reason, _), value in told.reasons.items():
        all_of[reason] = all_of.get(reason, 0) + value
    found = Section("reasons", "Why attempts did not succeed", "Of all attempts: a mail counts once for each.")
    if not all_of:
        found.words = "Every attempt succeeded."
        return found
    reasons = _largest(all_of)
    later = [told.reasons[reason, "deferred"] for reason in reasons]
    failed = [all_of[reason] - told.reasons[reason, "deferred"] for reason in reasons]
    rows = [[one, number(more), number(less)] for one, more, less in zip(reasons, later, failed, strict=True)]
    title = "Attempts without success, by reason"
    plot = Rows(reasons, {"deferred": later, "failed": failed}, "attempts")
    found.parts.append(Figure("why", title, plot, Table(title, ("reason", "deferred", "failed"), rows)))
    return found


def _largest(cells: Mapping[str, int]) -> list[str]:
    return sorted(cells, key=lambda one: (-cells[one], one))


def _refusals(told: Answers) -> Section:
    words = (
        "Mail that was refused before or without a delivery, as far as the config's rejects says that a category is"
        " stored. Mail to a full mailbox is over_quota, here and among the reasons above."
    )
    cells = {"over_quota": 0, **told.refusals}
    total = told.refusals.total()
    rows = [[one, number(cells[one]), share(cells[one], total)] for one in _largest(cells)]
    table = Table("Refusals by category", ("category", "refusals", "share"), rows)
    found = Section("refusals", "Refusals", words if total else "No refusal is stored.")
    if total:
        plot = Rows([row[0] for row in rows], {"refusals": [cells[row[0]] for row in rows]}, "refusals")
        found.parts.append(Figure("refusals-by-category", "Refusals by category", plot, table))
    return found


def _domains(told: Answers) -> Section:
    words = (
        f"The first {NAMED} digits of the pseudonyms of the largest domains that mail goes to or comes from. One with"
        f" fewer than {LEAST} outcomes is not shown; people fewer than {FEW} are not counted out."
        " Failed and deferred: of the mail that went there."
    )
    found = Section("domains", "Largest domains", words)
    rows = [
        [one.name[:NAMED], number(one.outgoing), number(one.incoming), share(one.failed, one.outgoing),
         share(one.deferred, one.outgoing), _few(one.there), _few(one.here)]
        for one in told.domains
    ]  # fmt: skip
    if not rows:
        found.words = f"No domain has {LEAST} outcomes, or none was asked for."
        return found
    head = ("domain", "mail to it", "mail from it", "failed", "deferred at least once", "people there", "people here")
    title = "Mail to and from the largest domains"
    series = {
        "mail from it": [one.incoming for one in told.domains], "mail to it": [one.outgoing for one in told.domains],
    }  # fmt: skip
    plot = Rows([one.name[:NAMED] for one in told.domains], series, "final outcomes")
    found.parts.append(Figure("domains-by-mail", title, plot, Table(title, head, rows)))
    return found


def _lists(told: Answers) -> Section:
    kinds = {1: "from a list", 0: "not from a list", None: "not known"}
    ways = [way for way in WAYS if any(at == way for _, at in told.lists)]
    found = Section("lists", "Mailing lists", "A list is told by its headers, or by the form of its sender's address.")
    rows = [
        [words, *_by_way({way: told.lists[kind, way] for way in WAYS}),
         share(sum(told.lists[kind, way] for way in WAYS), told.outcomes)]
        for kind, words in kinds.items()
    ]  # fmt: skip
    table = Table("Final outcomes by list", ("mail", *WAYS.values(), "share"), rows)
    whole = {way: sum(told.lists[kind, way] for kind in kinds) for way in ways}
    series = {words: [100 * told.lists[kind, way] / whole[way] for way in ways] for kind, words in kinds.items()}
    plot = Rows([WAYS[way] for way in ways], series, "% of final outcomes", whole=True)
    found.parts.append(Figure("list-share", "Share of mail from lists", plot, table) if ways else table)
    return found


def _size(power: int) -> str:
    names = ("B", "KiB", "MiB", "GiB")
    return f"{1 << power % 10} {names[power // 10]}"


def _sizes(told: Answers) -> Section:
    found = Section("sizes", "Size of mail", "Of each final outcome's mail. Each class ends at twice the one before.")
    seen = [kind for kind, _ in told.sizes if kind >= 0]
    if not seen:
        found.words = "No size is known."
        return found
    classes = range(min(seen), max(seen) + 1)
    cells = {kind: {way: told.sizes[kind, way] for way in WAYS} for kind in classes}
    names = {kind: f"under {_size(kind)}" if kind <= LARGEST else f"{_size(LARGEST)} and more" for kind in classes}
    rows = [[names[kind], *_by_way(cell)] for kind, cell in cells.items()]
    unknown = {way: told.sizes[-1, way] for way in WAYS}
    rows += [["not known", *_by_way(unknown)]] if any(unknown.values()) else []
    series = {words: [cell[way] for cell in cells.values()] for way, words in WAYS.items()}
    labels = [_size(kind) if kind <= LARGEST else "more" for kind in classes]
    plot = Columns(labels, series, "size: less than this", "final outcomes")
    title = "Mail by size"
    found.parts.append(Figure("size-classes", title, plot, Table(title, ("size", *WAYS.values()), rows)))
    return found


def _replies(told: Answers) -> Section:
    words = (
        "Between the Date header of a mail and that of its answer, where both are known; their writers' clocks made"
        " them, so an answer may seem to come before."
    )
    found = Section("replies", "Time to reply", words)
    values: Values = Values({value: count for value, count in told.replies.items() if value >= 0})
    early = told.replies.total() - values.total()
    if not told.replies:
        found.words = "No mail and its answer are both known with their dates: that takes header lines."
        return found
    rows = [
        ["answers", number(values.total())], ["answers dated before what they answer", number(early)],
        *[[f"{place} % come within, in seconds", number(int(value))]
          for place, value in zip(PLACES, percentiles(values, PLACES), strict=False)],
        *[[f"within {words}", share(within(values, bound), values.total())] for bound, words in BOUNDS.items()],
    ]  # fmt: skip
    title = "Share of answers that came within a time"
    table = Table(title, ("what", "number"), rows)
    plot = Curves({"answers": _curve(values)}, "time since the mail's date", "% of answers") if values else None
    found.parts.append(Figure("reply-latency", title, plot, table) if plot else table)
    return found
