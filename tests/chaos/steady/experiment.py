"""One steady run from start to verdict: a constant load, the leader killed again and again or Mongo away, drain to empty, scan, judge."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sims.checkers import Verdict, judge
from sims.history import Recorder, load
from tests.chaos.processes import grips_on, until_all_ended
from tests.chaos.stage import ORPHAN_LIMIT_S
from tests.chaos.steady import cost
from tests.chaos.steady.backlog import Sample, Sampler, level_before
from tests.chaos.steady.cost import Cost
from tests.chaos.steady.figures import Delays, acked, delays
from tests.chaos.steady.load import Asked, Told
from tests.chaos.steady.scan import Kept, scan, until_empty
from tests.chaos.steady.stage import SteadyStage, steady_stage
from tests.cluster import judge as elections
from tests.system.running import NotInTime

BEFORE_S, AFTER_S = 10.0, 5.0
"""Of an outage of Mongo: what is compared with it, and what comes once it is caught up."""
CATCH_UP_LIMIT_S = 120.0
SETTLE_LIMIT_S = 15.0
"""After the last kill, for the backlog to be back."""
LOOK_S = 0.1
SUCCESSOR_S = 1.0
"""A killed node is started again once another leads, and after this at the latest."""
BACK_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`leader_kill_every_s` for `seconds`, then Mongo away for `mongo_away_s`; 0: not."""

    algorithm: str = "raft"
    nodes: int = 3
    rate: float = 2000.0
    seconds: float = 300.0
    leader_kill_every_s: float = 5.0
    mongo_away_s: float = 0.0
    effects_each: int = 1
    """One of so many jobs asks the sink; the others are followed without an effect. 0: none asks."""
    warm_up_s: float = 5.0
    seed: int = 1


@dataclass(slots=True)
class Deeds:
    """What was done, in ns of the histories' clock. `offices`: from each kill to the next leader in office (s)."""

    kills: list[int] = field(default_factory=list)
    offices: list[float] = field(default_factory=list)
    restarts: list[float] = field(default_factory=list)
    away: tuple[int, int] | None = None
    ended: int = 0
    complaints: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Outcome:
    plan: Plan
    deeds: Deeds
    samples: list[Sample]
    told: Told
    asked: list[Asked]
    delays: Delays
    kept: Kept
    verdict: Verdict
    elections: list[str]
    """What the judge of logs says against them."""
    acked: frozenset[str]
    empty_s: float
    lines: int
    judged_s: float
    cost: Cost
    """Of the second half of the warm-up, before anything was done."""
    machine: float
    """Share of the machine's time that was used while the load ran, by whomever."""

    @property
    def lost(self) -> int:
        return next(finding.violations for finding in self.verdict.findings if finding.id == "C1")

    @property
    def double_effects(self) -> int:
        return next(finding.violations for finding in self.verdict.findings if finding.id == "C4")


def run(plan: Plan, folder: Path) -> Outcome:
    """Raises: NotInstalled, Missing, NotInTime, AssertionError of the load; the folder keeps the histories and the nodes' logs."""
    deeds = Deeds()
    staged = steady_stage(folder, plan.algorithm, plan.nodes, can_cut_mongo=plan.mongo_away_s > 0)
    with staged as stage, contextlib.closing(_recorder(folder, "nemesis")) as recorder:
        stage.agreed()
        stage.schedule("beat")
        sampler = Sampler(stage.redis.socket, stage.prefix_of_keys)
        sampler.start()
        stage.start_load(plan.rate, plan.effects_each, plan.seed)
        _rest(plan.warm_up_s / 2)
        first = cost.read(stage)
        _rest(plan.warm_up_s / 2)
        spent = cost.between(first, cost.read(stage), plan.rate)
        if plan.leader_kill_every_s:
            _kill_leaders(plan, stage, sampler, deeds, recorder)
        if plan.mongo_away_s:
            _take_mongo_away(plan, stage, sampler, deeds, recorder)
        deeds.ended = time.monotonic_ns()
        machine = cost.between(first, cost.read(stage), plan.rate).machine
        told, asked = stage.stop_load()
        paused_at = stage.pause_schedule()
        empty_s = until_empty(stage, deeds.complaints)
        sampler.stop()
        with contextlib.closing(_recorder(folder, "scan")) as scanner:
            kept = scan(stage, scanner, paused_at)
        stage.watch.look()
        codes = [node.stop() for node in stage.nodes.values()]
    if any(codes):
        deeds.complaints.append(f"the last nodes ended with the exit codes {codes} though they were idle")
    deeds.complaints += _errors(stage)
    began = time.monotonic()
    history = load([folder / "h"])
    return Outcome(
        plan=plan, deeds=deeds, samples=sampler.samples, told=told, asked=asked, delays=delays(history.ops, deeds.away), kept=kept,
        verdict=judge(history), elections=_elections(stage, kept.ticks), acked=acked(history.ops), empty_s=empty_s, lines=len(history.ops),
        judged_s=time.monotonic() - began, cost=spent, machine=machine,
    )  # fmt: skip


# ── the deeds ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _kill_leaders(plan: Plan, stage: SteadyStage, sampler: Sampler, deeds: Deeds, recorder: Recorder) -> None:
    """At a fixed pace, unless a killed node has not come back by then: two of three away is another experiment."""
    began = time.monotonic()
    for number in range(int(plan.seconds / plan.leader_kill_every_s)):
        _rest(began + number * plan.leader_kill_every_s - time.monotonic())
        _kill_leader(stage, deeds, recorder)
    last = time.monotonic()
    level = level_before(sampler.samples, deeds.kills[-1], plan.rate)
    _rest(began + plan.seconds - last)
    while sampler.samples[-1].waiting > level and time.monotonic() < last + SETTLE_LIMIT_S:
        _rest(LOOK_S)


def _kill_leader(stage: SteadyStage, deeds: Deeds, recorder: Recorder) -> None:
    old = stage.agreed(within_s=BACK_S)
    node = stage.nodes[old.leader]
    numbers = node.numbers()  # type: ignore[attr-defined]
    grips = grips_on(numbers[1:])
    since = time.monotonic_ns()
    act = stage.kill(old.leader)
    if until_all_ended(grips, ORPHAN_LIMIT_S) is None:
        deeds.complaints.append(f"workers of {old.leader} outlived it by more than {ORPHAN_LIMIT_S:g} s")
    recorder.write("fault", "ok", t=since, t1=time.monotonic_ns(), kind="kill", val="node leader", node=old.leader, pids=numbers)
    deeds.kills.append(since)
    with contextlib.suppress(NotInTime):  # the elections' judge tells how long it took
        stage.agreed(stage.but(old.leader), above=old.epoch, within_s=SUCCESSOR_S)
    launched = time.monotonic()
    stage.restart(old.leader)
    deeds.restarts.append(time.monotonic() - launched)
    stage.agreed(above=old.epoch, within_s=BACK_S)
    offices = [one.at for one in stage.watch.lines if one.event == "fence_installed" and one.at > act.at and one.epoch > old.epoch]
    deeds.offices.append(min(offices) - act.at)


def _take_mongo_away(plan: Plan, stage: SteadyStage, sampler: Sampler, deeds: Deeds, recorder: Recorder) -> None:
    stage.agreed(within_s=BACK_S)
    _rest(BEFORE_S)
    since = time.monotonic_ns()
    outbox = max((one.outbox for one in sampler.samples[-20:]), default=0)
    stage.cut_mongo()
    _rest(plan.mongo_away_s)
    stage.heal_mongo()
    back = time.monotonic_ns()
    recorder.write("fault", "ok", t=since, t1=back, kind="store", val=f"mongo away {plan.mongo_away_s:g} s")
    deeds.away = (since, back)
    limit = time.monotonic() + CATCH_UP_LIMIT_S
    while sampler.samples[-1].outbox > outbox and time.monotonic() < limit:
        _rest(LOOK_S)
    _rest(AFTER_S)


def _rest(seconds: float) -> None:
    """Time is the experiment here: nothing is waited for."""
    threading.Event().wait(max(0.0, seconds))


# ── after them ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _recorder(folder: Path, actor: str) -> Recorder:
    return Recorder(folder / "h" / f"{actor}.jsonl", actor)


def _elections(stage: SteadyStage, ticks: list[int]) -> list[str]:
    return elections.broken(stage.algorithm, stage.watch.lines, stage.witness.samples) + elections.ticks_broken(ticks)


def _errors(stage: SteadyStage) -> list[str]:
    """What a node itself called an error, in any of its lives."""
    found = []
    for name, node in stage.nodes.items():
        for line in node.log_text().splitlines():
            if line.startswith("Traceback") or '"level": "error"' in line or '"level":"error"' in line:
                found.append(f"log of {name}: {line[:300]}")
    return found
