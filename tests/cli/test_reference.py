"""docs/cli.md is what the commands themselves say."""

from __future__ import annotations

from pathlib import Path

import pytest

from zjp.cli import VERBS
from zjp.cli.reference import markdown

pytestmark = pytest.mark.covers("main-path:10")

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_is_up_to_date() -> None:
    assert DOCS.read_text() == markdown(), "run: python -m zjp.cli.reference > docs/cli.md"


def test_the_reference_names_every_verb() -> None:
    assert all(f"## zjp {verb}\n" in markdown() for verb in VERBS)
