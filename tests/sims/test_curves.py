"""The published curves in their quick form: all of them run, say what they measured, and draw it."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner

from sims.__main__ import main
from sims.curves import published
from sims.curves.command import ASKED_FOR, CURVES
from sims.curves.crowd import Setting, settle
from sims.curves.elections import SERVERS, Terms, elect_many
from sims.curves.intervals import mean, proportion, quantile, rate
from zjp.election.core import MS, Health

pytestmark = pytest.mark.covers("cluster:simulator")

REPORT = Path(__file__).parent.parent.parent / "docs" / "reports" / "election-curves.json"


def test_the_quick_form_of_every_curve_writes_numbers_pictures_and_the_report(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["curves", "--quick", "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "reports" / "election-curves.json").read_text())
    text = (tmp_path / "reports" / "election-curves.md").read_text()
    assert [*results, *ASKED_FOR] == list(CURVES)
    for result in results.values():
        assert result["rows"]
        assert all(row["low"] <= row["value"] <= row["high"] for row in result["rows"])
        assert all(verdict["text"] in text for verdict in result["verdicts"])
        for picture in result["pictures"]:
            assert ElementTree.fromstring((tmp_path / "pictures" / picture).read_text()).tag.endswith("svg")


def test_an_election_from_fresh_timers_takes_the_first_timeout_and_the_round_trips() -> None:
    terms = Terms(1, 300 * MS, 30 * MS, 0)
    took = [election.took for election in elect_many(terms, 50, 1) if not election.is_split]
    assert min(took) >= (300 + 4 * 30) * MS
    without = Terms(1, 300 * MS, 30 * MS, 0, has_pre_vote=False)
    faster = [election.took for election in elect_many(without, 50, 1) if not election.is_split]
    assert min(took) - min(faster) == 2 * 30 * MS


def test_the_formula_of_split_votes_gives_the_rates_of_the_text() -> None:
    for latency, rate_ in published.SPLIT_TEXT.items():
        assert published.split_rate(SERVERS, 4, latency) == pytest.approx(rate_, abs=0.0005)
    assert published.split_rate(SERVERS, 3, 0.2) == pytest.approx(0.5, abs=0.02)


def test_a_settled_crowd_knows_all_of_its_members_alive_and_follows_one_leader() -> None:
    cluster = settle(Setting(20, 3), lambda node, happened: None)
    for node in cluster.nodes:
        view = node.core.view()
        assert {name for name, member in view.members.items() if member.health is Health.ALIVE} == set(cluster.by_name)
        assert view.leader == "n19"


def test_intervals_hold_the_true_value_about_as_often_as_they_say() -> None:
    rng = random.Random(5)
    misses = [0, 0, 0, 0]
    for _ in range(300):
        drawn = [rng.random() for _ in range(200)]
        events = sum(rng.random() < 0.004 for _ in range(1000))
        found = (
            mean(drawn),
            quantile(drawn, 0.9),
            proportion(sum(value < 0.05 for value in drawn), 200),
            rate(events, 1000),
        )
        for place, (true, estimate) in enumerate(zip((0.5, 0.9, 0.05, 0.004), found, strict=True)):
            misses[place] += not estimate.low <= true <= estimate.high
    assert all(miss <= 30 for miss in misses), misses


def test_what_was_never_seen_still_has_an_upper_end() -> None:
    assert rate(0, 1.0).low == 0.0
    assert rate(0, 1.0).high == pytest.approx(3.689, abs=0.01)
    assert rate(3, 1.0).low == pytest.approx(0.619, abs=0.01)
    assert proportion(0, 200).high == pytest.approx(0.0188, abs=0.001)


def test_the_long_form_is_reported_for_every_curve_with_command_commit_seeds_duration_and_verdicts() -> None:
    results = json.loads(REPORT.read_text())
    assert set(results) == set(CURVES)
    for name, result in results.items():
        assert result["command"] == f"python -m sims curves --only {name}"
        assert result["commit"]
        assert result["seeds"]
        assert result["cpu_s"] > 0
        assert result["verdicts"]
    assert results["wan"]["rows"][0]["count"] == 10_000
