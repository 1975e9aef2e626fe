"""The verdict on a steady run sees each fault that is planted in its outcome, and none in a good one; the report says both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sims.checkers import judge_ops
from sims.lines import Final
from tests.chaos.steady import report
from tests.chaos.steady.backlog import Sample
from tests.chaos.steady.cost import Cost
from tests.chaos.steady.experiment import Deeds, Outcome, Plan
from tests.chaos.steady.figures import acked, delays
from tests.chaos.steady.load import Asked, Told
from tests.chaos.steady.scan import Kept
from tests.chaos.steady.test_backlog import at, life_of
from tests.chaos.steady.verdict import faults_of, slowness

pytestmark = pytest.mark.covers("cluster:load")

RATE = 10.0
AWAY = (at(20), at(30))
KILLED = at(5)


def good() -> Outcome:
    """100 jobs in 50 s: one leader killed, then Mongo away."""
    jobs = [f"j{number}" for number in range(500)]
    ops = [line for number, job in enumerate(jobs) for line in life_of(job, *(number / 10 + late for late in (0, 0.01, 0.02, 0.03)))]
    ops += [Final(t=at(60), p="s", type="ok", job=job, val="done", key=job) for job in jobs]
    ops.sort(key=lambda line: line.t)
    samples = [Sample(at(tenth / 10), 1, 2, 200 if AWAY[0] < at(tenth / 10) <= AWAY[1] else 0) for tenth in range(500)]
    return Outcome(
        plan=Plan(rate=RATE, seconds=5.0, mongo_away_s=10.0), deeds=Deeds([KILLED], [0.5], [1.2], AWAY, at(50)), samples=samples,
        told=Told(500, 0, 0, 50.0, 0.01), asked=[Asked(at(25), at(24), at(0.02), "j240", "ok")], delays=delays(ops, AWAY),
        kept=Kept(500, 0, frozenset(jobs), [1, 2, 3]), verdict=judge_ops(ops), elections=[], acked=acked(ops), empty_s=0.1, lines=len(ops),
        judged_s=0.1, cost=Cost({"nodes": 90.0}, 0.5, 0.6), machine=0.7,
    )  # fmt: skip


def waiting(outcome: Outcome, since: float, until: float) -> Outcome:
    samples = [replace(one, waiting=99) if at(since) <= one.t <= at(until) else one for one in outcome.samples]
    return replace(outcome, samples=samples)


def told(outcome: Outcome, **fields: int) -> Outcome:
    return replace(outcome, told=Told(**{name: fields.get(name, getattr(outcome.told, name)) for name in Told.__struct_fields__}))


def kept(outcome: Outcome, **fields: Any) -> Outcome:
    return replace(outcome, kept=replace(outcome.kept, **fields))


def full_outbox(outcome: Outcome) -> Outcome:
    return replace(outcome, samples=[replace(one, outbox=99) if one.t > AWAY[0] else one for one in outcome.samples])


def slow_without_mongo(outcome: Outcome) -> Outcome:
    ops = life_of("a", 1.0, 1.1, 1.2, 1.3) + life_of("b", 25.0, 25.1, 28.0, 28.1)
    return replace(outcome, delays=delays(sorted(ops, key=lambda line: line.t), AWAY))


def test_good_outcome_has_no_fault_and_is_called_good() -> None:
    assert faults_of(good()) == []
    page = report.markdown([good()], "python -m tests.chaos.steady", "2030-01-01")
    assert "**Good**: verdict valid, lost 0" in page
    assert "| outbox as before, from Mongo being back | 0.1 s |" in page


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (lambda one: waiting(one, 5.2, 7.5), "the backlog was not back to its level within 2 s"),
        (lambda one: waiting(one, 5.2, 50.0), "the backlog was not back to its level within 2 s"),
        (lambda one: told(one, refused=3), "3 refused"),
        (lambda one: told(one, jobs=400), "8 jobs/s were submitted"),
        (lambda one: kept(one, ids=one.kept.ids - {"j7"}), "1 lost"),
        (lambda one: kept(one, doubled=2), "2 doubled"),
        (lambda one: kept(one, ticks=[]), "fired nothing"),
        (lambda one: replace(one, elections=["C6: the tick of 7 is missing"]), "tick of 7"),
        (lambda one: replace(one, asked=[Asked(at(25), at(24), at(0.02), "j240", "NotFound")]), "j240: NotFound"),
        (lambda one: replace(one, asked=[Asked(at(25), at(24), at(3.0), "j240", "ok")]), "told within 3.000 s"),
        (slow_without_mongo, "a job waited 2.900 s"),
        (full_outbox, "outbox was as before None"),
        (lambda one: replace(one, deeds=replace(one.deeds, kills=[])), "0 kills of the leader"),
        (lambda one: replace(one, deeds=replace(one.deeds, complaints=["outlived"])), "outlived"),
    ],
)  # fmt: skip
def test_fault_is_seen(plant: Callable[[Outcome], Outcome], says: str) -> None:
    faults = faults_of(plant(good()))
    assert any(says in fault for fault in faults), faults


def test_limits_in_time_give_way_to_a_slow_machine_and_promises_do_not() -> None:
    late = waiting(good(), 5.2, 7.5)
    assert faults_of(late, 5.0) == []
    assert faults_of(kept(late, doubled=2), 5.0) != []
    assert slowness(replace(late, deeds=replace(late.deeds, restarts=[6.0]))) == 4.0
