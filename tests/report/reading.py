"""Reads a report as a program does: its tables, headings and what it points to."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "path", "use", "hr", "img", "input"}
Row = dict[str, str]


@dataclass
class Read(HTMLParser):
    """One page: tables by caption, each a list of rows by their head."""

    text: str
    tables: dict[str, list[Row]] = field(default_factory=dict)
    headings: list[tuple[int, str]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self, convert_charrefs=True)
        self._open: list[str] = []
        self._cells: list[str] = []
        self._head: list[str] = []
        self._caption = ""
        self._words = ""
        self.feed(self.text)
        self.close()
        assert self._open == [], "each element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("th", "td", "caption", "h1", "h2", "h3"):
            self._words = ""
        elif tag == "tr":
            self._cells = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "caption":
            self._caption, self._head = self._words, []
            assert self._caption not in self.tables
            self.tables[self._caption] = []
        elif tag in ("th", "td"):
            self._cells.append(self._words)
        elif tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), self._words))
        elif tag == "tr" and not self._head:
            self._head = self._cells
        elif tag == "tr":
            self.tables[self._caption].append(dict(zip(self._head, self._cells, strict=True)))

    def handle_data(self, data: str) -> None:
        self._words += data

    def table(self, caption: str, head: str) -> dict[str, Row]:
        """A table's rows by the cell under a head."""
        rows = self.tables[caption]
        found = {row[head]: row for row in rows}
        assert len(found) == len(rows)
        return found


def number(cell: str) -> int:
    """A number with its thousands apart, as a page writes it."""
    value = int(cell.replace(",", ""))
    assert f"{value:,}" == cell
    return value
