"""Lines that were scrubbed: their rows are those of the raw lines, and nothing raw is in them."""

from __future__ import annotations

import re

import pytest

from tests import golden_runner as golden
from tests.golden_runner import Story
from tests.scrubbed import renamed, rows, scrubbed, shortened

STORIES = golden.stories()

@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_scrubbed_lines_give_the_rows_of_the_raw_ones(story: Story) -> None:
    assert renamed(rows(scrubbed(story), named=True)) == shortened(rows(story, named=False))


# What may stand in a scrubbed line: names of the log's own hosts and programs, and words of closed lists.
CANARY = re.compile(
    rb"([0-9A-Za-z._+'-]+@[0-9A-Za-z.-]+)|(?<![\d.])(\d{1,3}(?:\.\d{1,3}){3})(?![\d.])"
    rb"|([a-z0-9-]+(?:\.[a-z0-9-]+)*\.example(?:\.(?:com|net|org))?|example\.(?:com|net|org))"
)
