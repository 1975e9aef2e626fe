"""docs/metrics.md is what the table of metrics says."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.metrics_page import markdown
from zjp.metrics import TABLE

pytestmark = pytest.mark.covers("metrics:table")


def test_page_of_metrics_is_up_to_date() -> None:
    written = (Path(__file__).parent.parent.parent / "docs" / "metrics.md").read_text()
    assert written == markdown(), "run make docs to write docs/metrics.md again"


def test_page_names_every_metric_once_with_its_meaning() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `") and line.count("|") == 5]
    assert sorted(line.split("`")[1] for line in rows) == sorted(TABLE)
    assert all(TABLE[line.split("`")[1]].help in line for line in rows)
