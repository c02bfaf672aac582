"""The page in a real browser: quiet, alone, within its window, readable in both themes and without a mouse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.judges.program import Program
from tests.report import looks
from tests.report.browser import Browser

THEMES = ("light", "dark")
WIDTHS = (360, 1440)
STORES = ("weeks", "day", "empty")


@pytest.fixture(scope="module")
def pages(weeks: Program, day: Program, empty: Program, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, program in zip(STORES, (weeks, day, empty), strict=True):
        made[name] = tmp_path_factory.mktemp("pages") / f"{name}.html"
        program.run("report", "--output", str(made[name]))
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("store", STORES)
def test_a_page_is_quiet_alone_and_readable(
    store: str, theme: str, width: int, pages: dict[str, Path], browser: Browser
) -> None:
    browser.look(width=width, theme=theme)
    browser.load(pages[store])
    assert browser.complaints() == []
    assert browser.requests() == [pages[store].as_uri()]
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") == browser.run("innerWidth") == width
    assert browser.run(looks.TOO_WIDE) == []
    assert browser.run(looks.UNSOUND) == []
    if store == "empty":
        assert browser.run("document.querySelector('main').innerText") == "No row was logged in this time."
        return
    assert browser.run(looks.PALE) == []
    assert browser.run(looks.OVERLAPS) == []
    assert browser.run(looks.SMALLEST_LABEL) >= 9  # px
    if store == "weeks":
        assert browser.run("document.querySelectorAll('figure').length") >= 13


@pytest.mark.parametrize(
    ("look", "style"),
    [
        ("TOO_WIDE", "h2 { width: 2000px }"), ("OVERLAPS", ".plot text { font-size: 40px !important }"),
        ("PALE", ":root { --stone: #d0d0d0 }"), ("PALE", "p { color: #999 }"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_seen(
    look: str, style: str, pages: dict[str, Path], browser: Browser, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.html"
    changed.write_text(pages["weeks"].read_text().replace("</style>", f"{style}</style>"))
    browser.look(width=360, theme="light")
    browser.load(changed)
    assert browser.run(getattr(looks, look)) != []


def test_the_themes_differ(pages: dict[str, Path], browser: Browser) -> None:
    seen = set()
    for theme in THEMES:
        browser.look(width=1440, theme=theme)
        browser.load(pages["weeks"])
        seen.add(browser.run("""getComputedStyle(document.body).backgroundColor + getComputedStyle(
            document.querySelector('.plot [style*="--sea"]')).fill"""))
    assert len(seen) == 2 and all("rgb" in one for one in seen)


@pytest.mark.parametrize("width", WIDTHS)
def test_axes_have_units_and_thousands_are_apart(width: int, pages: dict[str, Path], browser: Browser) -> None:
    browser.look(width=width, theme="light")
    browser.load(pages["weeks"])
    plots = browser.run(looks.LABELS)
    assert len(plots) >= 13
    units = re.compile(r"final outcomes|attempts|refusals|^time|% of|hour|day")
    assert [labels for labels in plots if not any(map(units.search, labels))] == []
    numbers = [label for labels in plots for label in labels if re.fullmatch(r"[\d,]+", label)]
    assert [label for label in numbers if len(label) > 3 and f"{int(label.replace(',', '')):,}" != label] == []
    assert any("," in label for label in numbers)


def test_it_is_used_by_keys_alone(pages: dict[str, Path], browser: Browser) -> None:
    browser.look(width=1440, theme="light")
    browser.load(pages["weeks"])
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.className") == "skip"
    assert browser.run("document.activeElement.getBoundingClientRect().left") >= 0
    browser.press("Enter", 13)
    assert browser.run("document.activeElement.id") == "main"
    for _ in range(30):
        browser.press("Tab", 9)
        if browser.run("document.activeElement.tagName") == "SUMMARY":
            break
    assert not browser.run("document.activeElement.parentElement.open")
    browser.press("Enter", 13)
    assert browser.run("document.activeElement.parentElement.open")
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.getAttribute('role')") == "region"  # a wide table scrolls by keys
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_screen_reader_is_told_each_figure(pages: dict[str, Path], browser: Browser) -> None:
    browser.look(width=1440, theme="light")
    browser.load(pages["weeks"])
    tree = browser.send("Accessibility.getFullAXTree")["nodes"]
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in tree if not node["ignored"]]
    images = [name for role, name in seen if role in ("image", "img")]
    assert len(images) == browser.run("document.querySelectorAll('figure').length")
    assert all(name.endswith("The table below has the numbers.") for name in images)
    assert {"banner", "navigation", "main", "contentinfo"} <= {role for role, _ in seen}


def test_on_paper_it_is_light_and_shows_its_tables(pages: dict[str, Path], browser: Browser) -> None:
    browser.look(width=800, theme="dark", media="print")
    browser.load(pages["weeks"])
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("document.querySelector('nav').getBoundingClientRect().height") == 0
    assert browser.run("[...document.querySelectorAll('table')].every(one => one.getBoundingClientRect().height > 20)")
    assert browser.run(looks.PALE) == []


def test_a_browser_may_fetch_nothing_from_it(pages: dict[str, Path], browser: Browser, tmp_path: Path) -> None:
    """Its policy holds also where somebody put a picture, a script and a font into it."""
    text = pages["day"].read_text()
    for word in ("http:", "https:", "<script", "@import", "url(http", "src="):
        assert word not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)
    changed = tmp_path / "changed.html"
    more = '<img src="http://192.0.2.1/a.png"><script>document.title = 1</script></main>'
    changed.write_text(text.replace("</main>", more))
    browser.load(changed)
    assert browser.complaints() != []
    assert browser.run("document.title") == "Mail report"
