"""Plays every golden story in every way that must not change its rows."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from tests import golden_runner as golden
from tests.golden_runner import Story

STORIES = golden.stories()
OTHER = next((story for story in STORIES if story.name == "five-recipients-sent-deferred-bounced"), STORIES[0])
SHUFFLES = 5
# words that rows may hold: hosts and programs of the log, members of closed lists
_CANARY = re.compile(
    rb'<([^<>\s]+@[^<>\s]+)>|\[([0-9a-fA-F.:]{7,})\]|([a-z0-9.-]+\.example\.(?:com|net|org))|: ([0-9A-Za-z]{10,20}): '
    rb"|header Subject: (.{8,60}?) from "
)

stories = pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)


def same(story: Story, rows: list[str] | None) -> None:
    said = [] if rows is None else golden.difference(story, rows)
    assert not said, "\n".join([story.name, *said])


@stories
def test_as_written(story: Story) -> None:
    same(story, golden.as_written(story))


@stories
def test_byte_by_byte(story: Story) -> None:
    same(story, golden.chunked(story, golden.byte_by_byte))


@stories
def test_cut_anywhere(story: Story) -> None:
    same(story, golden.chunked(story, golden.cut_anywhere(random.Random(story.name))))


@stories
def test_in_one_batch(story: Story) -> None:
    same(story, golden.in_one_batch(story))


@stories
def test_lines_of_one_second_in_any_order(story: Story) -> None:
    for seed in range(SHUFFLES):
        same(story, golden.shuffled(story, random.Random(f"{story.name} {seed}")))


@stories
def test_interleaved_with_another_story(story: Story) -> None:
    same(story, golden.interleaved(story, OTHER, random.Random(story.name)))


@pytest.mark.parametrize("form", [*golden.FORMATS, "rfc 5424"])
@stories
def test_each_syslog_format(story: Story, form: str) -> None:
    same(story, golden.reformatted(story, form))


@stories
def test_stopped_and_resumed_after_every_line(story: Story, tmp_path: Path) -> None:
    same(story, golden.resumed(story, tmp_path))


@stories
def test_nothing_raw_is_kept(story: Story) -> None:
    """No address, IP, host, queue id or subject of the log stands in a row, a count or open state."""
    player = golden.Player(story, golden.SqliteStore.memory(), journal=True)
    for kind, text in story.steps:
        if kind == golden.PASS:
            player.wait(text)
        else:
            player.feed(text)
    player.end()
    player.store.close()
    hosts = {line.split(b" ")[place] for line in story.lines for place in (1, 2, 3, 4) if line.count(b" ") > place}
    found = {part for line in story.lines for match in _CANARY.findall(line) for part in match if part}
    plain = story.settings.get("queue_id") == "plain"
    canaries = {word for word in found - hosts if not (plain and word.isalnum())}
    kept = repr([(batch.rows, batch.rejects) for batch in player.batches]).encode() + b"".join(player.states)
    kept += json.dumps(player.pipe.counts).encode() + repr(player.pipe).encode()
    leaked = [word for word in canaries if word in kept]
    assert not leaked


def test_there_are_stories() -> None:
    assert len(STORIES) >= 60
