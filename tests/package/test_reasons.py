"""A machine that can't run the package's tests says why, and they are skipped there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.package import suites


def test_whoever_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert suites.reason_to_skip() == "only root may make Debian's suites; run it so"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets that far")
def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suites, "PATH", str(tmp_path))
    assert suites.reason_to_skip() == "mmdebstrap is missing: packaging/prepare debian"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gets that far")
def test_a_machine_that_may_not_mount_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a container without privileges, or one whose own files lie in an overlay."""
    monkeypatch.setattr(suites, "OVERLAY", "exit 1")
    said = suites.reason_to_skip()
    assert said is not None
    assert said.startswith("this machine may not mount an overlay")
