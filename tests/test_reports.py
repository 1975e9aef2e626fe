"""The reports of the long forms: each says what was run, with which seeds, for how long, what was counted and what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.covers("main-path:judged:7")

REPORTS = Path(__file__).parent.parent / "docs" / "reports"


def test_long_forms_are_reported_with_command_seeds_duration_counts_and_verdict() -> None:
    lines = [line for line in (REPORTS / "main-path.md").read_text().splitlines() if line.startswith("| ")]
    head, rows = lines[0], [line.split("|")[1:-1] for line in lines[1:]]
    assert head == "| what | command | seeds | duration | counts | verdict |"
    assert {row[0].strip() for row in rows} >= {"chaos", "fuzz of the wire", "whole path"}
    assert all(cell.strip() for row in rows for cell in row)


def test_chaos_report_has_a_verdict_for_each_check() -> None:
    text = (REPORTS / "chaos-main-path.md").read_text()
    assert all(f"| C{number} " in text for number in range(1, 17))


@pytest.mark.covers("power:report")
def test_power_cuts_are_reported_with_command_commit_counts_and_verdict_of_each_store() -> None:
    text = (REPORTS / "power-cuts.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    cuts = {row[0]: int(row[1]) for row in rows[2:]}
    assert cuts["sqlite"] >= 20
    assert min(cuts["redis-always"], cuts["redis-everysec"]) >= 10
    assert "python -m tests.power --store all" in text
    assert "\nCommit " in text
    assert text.count("**Good.**") == len(cuts)
