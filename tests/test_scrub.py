"""Lines that were scrubbed: their rows are those of the raw lines, and nothing raw is in them."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from tests import golden_runner as golden
from tests.golden_runner import LINE, RULES, YEAR, Story
from tests.judges.program import LOCAL_DOMAINS, ROOT, SAMPLES, TOKEN, unpacked
from tests.scrubbed import STORIES as NEIGHBOURS
from tests.scrubbed import renamed, retold, rows, scrubbed, scrubber, shortened

STORIES = golden.stories()

@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_scrubbed_lines_give_the_rows_of_the_raw_ones(story: Story) -> None:
    assert renamed(rows(scrubbed(story), named=True)) == shortened(rows(story, named=False))


@pytest.mark.parametrize("name", [name.format(form) for name in SAMPLES for form in ("iso8601", "traditional")])
def test_scrubbed_samples_give_the_rows_of_the_raw_ones(name: str, tmp_path: Path) -> None:
    """Of three hosts and thousands of lines, among them header lines with our tokens and hostile senders."""
    lines = unpacked(name, tmp_path).read_bytes().split(b"\n")[:-1]
    rules = replace(RULES, trusted_networks=(ip_network("127.0.2.0/24"),), header_tokens=(TOKEN.encode(),))
    rules = replace(rules, local_domains=frozenset(map(str.encode, LOCAL_DOMAINS)))
    story = Story(name, tuple((LINE, line) for line in lines), (), rules)
    second = scrubbed(story)
    # The lab's clients have addresses of 127.0.0.0/8, which stay as they are.
    second = replace(second, rules=replace(second.rules, trusted_networks=rules.trusted_networks))
    found, expected = renamed(rows(second, named=True)), shortened(rows(story, named=False))
    assert len(found) > 60
    assert found == expected


def test_the_manuals_example_is_true() -> None:
    """With the key of the golden stories."""
    raw, shown = (
        " ".join(block.split())
        for block in re.findall(r"((?:^    \S.*\n)+)", (ROOT / "docs/scrub.md").read_text(), re.M)[1:3]
    )
    line = scrubber(RULES, YEAR, digits=6).line(raw.replace("Nov 2", "Nov  2").encode())
    assert line.decode() == shown.replace("Nov 2", "Nov  2")


@pytest.mark.parametrize("path", sorted(NEIGHBOURS.glob("*.scrubbed")), ids=lambda path: path.stem)
def test_lines_of_other_programs(path: Path) -> None:
    """`make golden` rewrites them; the diff is the review."""
    assert path.read_text() == "\n".join(retold(path)) + "\n"
