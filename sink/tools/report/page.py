"""The page of a report: one HTML file that needs nothing else.

No script, no font and nothing of the network, and a policy in it that lets a browser fetch none. Behind each plot is
a table with its numbers, which a screen reader reads; the plot itself is one image to it.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from sink.tools.report.figures import DASHES, MARKS, draw
from sink.tools.report.parts import Curves, Dots, Figure, Section, Table, colour

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE: Final = Path(__file__).with_name("style.css").read_text(encoding="utf-8")  # while root may read it
_SIGNS: Final = dict(zip(MARKS, "●■◆▲", strict=True))
_LINES: Final = dict(zip(DASHES, ("solid", "dashed", "dotted", "dashdot"), strict=True))


def page(title: str, facts: Sequence[tuple[str, str]], sections: Sequence[Section], notes: Sequence[str]) -> str:
    """Return the whole file; facts stand under the title, notes at the end."""
    parts = [
        "<!DOCTYPE html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">', '<meta name="referrer" content="no-referrer">',
        '<link rel="icon" href="data:,">', f"<title>{escape(title)}</title>",
        f"<style>\n{_STYLE}</style>", "</head>", "<body>",
        '<a class="skip" href="#main">To the numbers</a>', "<header>", f"<h1>{escape(title)}</h1>",
        '<dl class="facts">',
        *(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts), "</dl>", "</header>",
    ]  # fmt: skip
    if sections:
        parts += ['<nav aria-label="Sections">', "<ul>"]
        parts += [f'<li><a href="#{one.name}">{escape(one.title)}</a></li>' for one in sections]
        parts += ["</ul>", "</nav>"]
    parts.append('<main id="main" tabindex="-1">')
    parts += [_section(one) for one in sections] or ['<p class="empty">No row was logged in this time.</p>']
    parts += ["</main>", "<footer>", *(f"<p>{escape(note)}</p>" for note in notes), "</footer>", "</body>", "</html>"]
    return "\n".join(parts) + "\n"


def _section(one: Section) -> str:
    parts = [f'<section id="{one.name}" aria-labelledby="{one.name}-title">',
             f'<h2 id="{one.name}-title">{escape(one.title)}</h2>']  # fmt: skip
    if one.words:
        parts.append(f"<p>{escape(one.words)}</p>")
    parts += [_figure(part) if isinstance(part, Figure) else _table(part) for part in one.parts]
    return "\n".join([*parts, "</section>"])


def _figure(one: Figure) -> str:
    label = escape(f"{one.title}. The table below has the numbers.")
    plots = [
        f'<div class="plot {size}" role="img" aria-label="{label}">'
        f"{draw(one.plot, f'{one.name}-{size}', narrow=size == 'narrow')}</div>"
        for size in ("wide", "narrow")
    ]
    return "\n".join([
        f'<figure id="{one.name}">', f"<figcaption><h3>{escape(one.title)}</h3></figcaption>", _legend(one), *plots,
        "<details>", f"<summary>Numbers: {escape(one.title)}</summary>", _table(one.table), "</details>", "</figure>",
    ])  # fmt: skip


def _legend(one: Figure) -> str:
    """Return the names of the plot's series beside their colours, where there are several."""
    if len(one.plot.series) < 2:
        return ""
    keys = []
    for number, name in enumerate(one.plot.series):
        sign, kind = "", "block"
        if isinstance(one.plot, Curves):
            kind = _LINES[DASHES[number]]
        elif isinstance(one.plot, Dots):
            sign, kind = _SIGNS[MARKS[number]], "sign"
        hue = colour(name, number)
        keys.append(f'<li><span class="key {kind} {hue}" aria-hidden="true">{sign}</span>{escape(name)}</li>')
    return f'<ul class="legend" aria-label="Legend">{"".join(keys)}</ul>'


def _table(one: Table) -> str:
    """Return a table in a box that scrolls by itself, also by keys."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in one.head)
    rows = [
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for first, *cells in one.rows
    ]
    caption = escape(one.caption)
    return "\n".join([
        f'<div class="scroll" role="region" tabindex="0" aria-label="{caption}">', "<table>",
        f"<caption>{caption}</caption>", f"<thead><tr>{head}</tr></thead>", "<tbody>", *rows, "</tbody>", "</table>",
        "</div>",
    ])  # fmt: skip
