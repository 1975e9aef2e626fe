"""The judge of merged logs sees each fault that is planted in them, and none in good ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cluster import judge, report
from tests.cluster.deeds import Seen
from tests.cluster.experiment import Outcome, Plan
from tests.cluster.netns import NAMESPACES, Network, what_is_missing
from tests.cluster.stage import Sample
from tests.cluster.watch import Agreed, Line, Watch, read_line

pytestmark = pytest.mark.covers("cluster:live")

GOOD = [
    Line(1.0, "a", "fence_installed", "a", 1),
    Line(1.0, "a", "leader_elected", "a", 1),
    Line(1.1, "b", "leader_elected", "a", 1),
    Line(1.1, "c", "leader_elected", "a", 1),
    Line(5.0, "b", "leader_lost", "a", 1),
    Line(5.2, "b", "leader_elected", "b", 2),
    Line(5.3, "b", "fence_installed", "b", 2),
    Line(5.4, "c", "leader_elected", "b", 2),
]
SAMPLES = [Sample(1.0, 1, "a:1"), Sample(5.3, 2, "b:1")]


def names(faults: list[str]) -> list[str]:
    return [fault.partition(":")[0] for fault in faults]


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
def test_good_log_breaks_nothing(algorithm: str) -> None:
    assert judge.broken(algorithm, GOOD, SAMPLES) == []


@pytest.mark.parametrize(("algorithm", "name"), [("bully", "B1"), ("raft", "R1"), ("gossip", "C1")])
def test_two_leaders_of_one_epoch_are_seen(algorithm: str, name: str) -> None:
    assert names(judge.broken(algorithm, [*GOOD, Line(5.5, "a", "leader_elected", "a", 2)], SAMPLES)) == [name]


def test_epoch_with_two_owners_in_the_store_is_seen() -> None:
    assert names(judge.broken("raft", GOOD, [*SAMPLES, Sample(5.4, 2, "c:1")])) == ["C1"]


def test_store_and_nodes_that_name_different_leaders_are_seen() -> None:
    assert set(names(judge.broken("raft", GOOD, [SAMPLES[0], Sample(5.3, 2, "c:1")]))) == {"C1", "C2b"}


def test_store_whose_epoch_falls_is_seen() -> None:
    assert names(judge.broken("raft", GOOD, [*SAMPLES, Sample(6.0, 1, "a:1")])) == ["C2"]


def test_office_that_the_store_never_gave_is_seen() -> None:
    assert names(judge.broken("raft", [*GOOD, Line(7.0, "b", "fence_installed", "b", 3)], SAMPLES)) == ["C2b"]


def test_office_in_an_epoch_below_the_one_before_is_seen() -> None:
    assert names(judge.broken("raft", [*GOOD, Line(7.0, "a", "fence_installed", "a", 1)], SAMPLES)) == ["C2"]


def test_follower_that_goes_back_to_a_former_epoch_is_seen() -> None:
    assert names(judge.broken("bully", [*GOOD, Line(7.0, "c", "leader_elected", "a", 1)], SAMPLES)) == ["C3"]


def test_new_life_may_know_less_with_gossip_only() -> None:
    lines = [*GOOD, Line(6.0, "c", "node.started"), Line(7.0, "c", "leader_elected", "a", 1)]
    assert judge.broken("gossip", lines, SAMPLES) == []
    assert names(judge.broken("raft", lines, SAMPLES)) == ["C3"]


def test_missing_and_doubled_ticks_are_seen() -> None:
    assert judge.ticks_broken([3, 1, 2]) == []
    assert judge.ticks_broken([1, 2, 2, 4]) == ["C6: the tick of 2 has 2 jobs", "C6: the tick of 3 is missing"]


def test_spans_without_a_leader_are_from_its_end_to_the_next_in_office() -> None:
    assert judge.leaderless(GOOD, [(4.5, "a")], until=9.0) == [(4.5, 5.3)]
    assert judge.leaderless(GOOD, [(4.5, "a"), (8.0, "b")], until=9.0) == [(4.5, 5.3), (8.0, 9.0)]


def test_quantile_is_a_value_that_was_measured() -> None:
    assert [judge.quantile([3.0, 1.0, 2.0, 4.0], share) for share in (0.5, 0.99, 1.0)] == [2.0, 4.0, 4.0]
    assert judge.quantile([], 0.5) != judge.quantile([], 0.5)


def test_nodes_agree_when_all_follow_one_that_is_in_office(tmp_path: Path) -> None:
    logs = {name: tmp_path / name for name in "abc"}
    watch = Watch(logs)
    for number, line in enumerate(GOOD):
        told = {"event": f"cluster.{line.event}", "at": f"2030-01-01T00:00:0{line.at:.3f}Z", "node": line.about, "epoch": line.epoch}
        with logs[line.node].open("a") as log:
            log.write(json.dumps(told) + "\nsome other line\n")
        assert (watch.agreed("abc") is not None) == (number == 3)
    late = watch.agreed("bc", above=1)
    assert isinstance(late, Agreed)
    assert (late.leader, late.epoch, round(late.at % 10, 3)) == ("b", 2, 5.4)
    assert watch.agreed("bc", above=2) is None
    watch.forget("b")
    assert watch.agreed("bc") is None


def test_lines_of_other_matters_are_left_out() -> None:
    assert read_line("a", b"{") is None
    assert read_line("a", b'{"event": "job.failed", "at": "2030-01-01T00:00:00.000Z"}') is None


def test_report_says_what_was_run_and_what_broke() -> None:
    seen = Seen("kill", 2, took=[0.5, 0.6])
    good, bad = Outcome(Plan(algorithm="raft"), [seen]), Outcome(Plan(algorithm="bully"), [seen], broken=["C1: two"])
    text = report.markdown([good, bad], "python -m tests.cluster", "2030-01-01")
    assert "| kill | 2 | 0.500 | 0.600 | 0.600 |" in text
    assert "**All invariants held, all times are within their limits.**" in text
    assert "- C1: two" in text


def test_networks_are_removed_after_a_failure_and_after_a_killed_run() -> None:
    if missing := what_is_missing():
        pytest.skip(missing)
    try:
        with Network(2) as network:
            assert sorted(path.name for path in NAMESPACES.glob(f"{network.name}-*")) == [network.namespace(0), network.namespace(1)]
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert list(NAMESPACES.glob(f"zjp{os.getpid()}-*")) == []


def test_networks_of_one_process_may_follow_one_another_at_once() -> None:
    if missing := what_is_missing():
        pytest.skip(missing)
    for _ in range(3):
        with Network(2) as network:
            network.isolate(0)
    assert not (NAMESPACES / network.namespace(0)).exists()
