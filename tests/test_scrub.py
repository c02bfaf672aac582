"""Lines that were scrubbed: their rows are those of the raw lines, and nothing raw is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import golden_runner as golden
from tests.golden_runner import Story
from tests.scrubbed import STORIES as NEIGHBOURS
from tests.scrubbed import renamed, retold, rows, scrubbed, shortened

STORIES = golden.stories()

@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_scrubbed_lines_give_the_rows_of_the_raw_ones(story: Story) -> None:
    assert renamed(rows(scrubbed(story), named=True)) == shortened(rows(story, named=False))


@pytest.mark.parametrize("path", sorted(NEIGHBOURS.glob("*.scrubbed")), ids=lambda path: path.stem)
def test_lines_of_other_programs(path: Path) -> None:
    """`make golden` rewrites them; the diff is the review."""
    assert path.read_text() == "\n".join(retold(path)) + "\n"
