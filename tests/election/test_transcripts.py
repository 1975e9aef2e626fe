"""What the commands of each transcript bring about is what stands there; transcript.py says how to read and rewrite them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.election.transcript import paths, played

pytestmark = pytest.mark.covers("cluster:raft")


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_a_transcript_says_what_happens(path: Path) -> None:
    assert played(path) == path.read_text()
