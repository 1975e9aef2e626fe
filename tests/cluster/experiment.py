"""The long form: many deeds to one stage per algorithm, their figures, and what speaks against them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from scripts.redis_server import RedisServer
from tests.cluster import deeds, judge
from tests.cluster.deeds import Seen
from tests.cluster.late import LateDoors
from tests.cluster.limits import CUT_EXTRA_S, FAIL_OVER_P50_S, FAIL_OVER_S, GIVE_UP_S, INTERVAL_S, LEADER_SHARE
from tests.cluster.netns import Network
from tests.cluster.stage import Act, Stage
from tests.system.running import NotInTime

CHANGES_MAX = {5: 0, 10: 1}
"""By percent of packets lost, in ten minutes."""

LATE_P50 = 1.6
"""In timeouts, when one is given: with delay."""
MEDIAN_OF = 10
"""Of fewer a median says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    algorithm: str
    nodes: int = 3
    kills: int = 20
    zombies: int = 20
    cuts: int = 5
    """Of the leader; and as many in each direction alone."""
    stopped_s: float = 10.0
    """Of every tenth stopped leader; the others go on as soon as another leads."""
    follower_cuts: int = 1
    follower_cut_s: float = 60.0
    losses: tuple[int, ...] = (5, 10, 25)
    lose_s: float = 0.0
    """Each; 0: none. The goals speak of 600."""
    load_s: float = 0.0
    """The leader killed again and again while jobs are submitted; 0: not."""
    load_every_s: float = 5.0
    delay_ms: float = 0.0
    """Of what one node says to another, and up to a fifth more; on loopback."""
    timeout_s: float = 0.0
    """ELECTION_TIMEOUT; 0: the default."""
    idle_s: float = 0.0
    """In which nothing is done and no leader may change."""
    on_loopback: bool = False


@dataclass(slots=True)
class Outcome:
    plan: Plan
    seen: list[Seen] = field(default_factory=list)
    lines: int = 0
    samples: int = 0
    ticks: int = 0
    leaderless_s: float = 0.0
    took_s: float = 0.0
    broken: list[str] = field(default_factory=list)
    """Invariants: wrong on any machine."""
    missed: list[str] = field(default_factory=list)
    """Times: wrong on one that does nothing else."""

    @property
    def is_good(self) -> bool:
        return not self.broken and not self.missed


def run(plan: Plan, folder: Path, tell: Callable[[str], None] = print) -> Outcome:
    """`folder`: for logs and data. Raises: NotInTime when the nodes do not agree again; what the judge says by then is told first."""
    outcome = Outcome(plan)
    begun = time.monotonic()
    redis = RedisServer()
    redis.start()
    with ExitStack() as stack:
        stack.callback(redis.stop)
        network = None if plan.on_loopback else stack.enter_context(Network(plan.nodes))
        late = LateDoors(plan.delay_ms / 1000, plan.delay_ms / 5000) if plan.delay_ms else None
        if late is not None:
            stack.callback(late.stop)
        settings = {"election_timeout": f"{plan.timeout_s:g}s"} if plan.timeout_s else {}
        stage = stack.enter_context(Stage(folder, redis, plan.algorithm, plan.nodes, network, late=late, **settings))
        try:
            stage.agreed()
            stage.schedule()
            _do(plan, stage, outcome, tell)
            _judge_ticks(stage, outcome)
        except NotInTime as fault:
            outcome.broken.append(f"not settled: {fault}")
        _judge(stage, outcome)
    outcome.took_s = time.monotonic() - begun
    return outcome


def _do(plan: Plan, stage: Stage, outcome: Outcome, tell: Callable[[str], None]) -> None:
    def often(kind: str, count: int, deed: Callable[[Seen], None]) -> None:
        if not count:
            return
        seen = Seen(kind)
        outcome.seen.append(seen)
        for number in range(count):
            deed(seen)
            if number % 10 == 9 or number == count - 1:
                tell(f"{plan.algorithm}: {kind} {number + 1} of {count}")

    often("idle", int(plan.idle_s > 0), lambda seen: deeds.idle(stage, seen, plan.idle_s))
    often("kill", plan.kills, lambda seen: deeds.kill_leader(stage, seen))
    often("stop", plan.zombies, lambda seen: deeds.stop_leader(stage, seen, plan.stopped_s if seen.count % 10 == 0 else 0.0))
    often("kill under load", int(plan.load_s > 0), lambda seen: deeds.kill_leaders(stage, seen, plan.load_s, plan.load_every_s))
    if stage.network is None:
        return
    often("cut", plan.cuts, lambda seen: deeds.cut_leader(stage, seen))
    often("mute", plan.cuts, lambda seen: deeds.cut_leader(stage, seen, deafens=False))
    often("deaf", plan.cuts, lambda seen: deeds.cut_leader(stage, seen, mutes=False))
    often("follower away", plan.follower_cuts, lambda seen: deeds.cut_follower(stage, seen, plan.follower_cut_s))
    for percent in plan.losses if plan.lose_s else ():
        often(f"loss {percent} %", 1, lambda seen, percent=percent: deeds.lose(stage, seen, percent, plan.lose_s))  # type: ignore[misc]


# ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _judge_ticks(stage: Stage, outcome: Outcome) -> None:
    ticks = stage.ticks()
    outcome.ticks = len(ticks)
    outcome.broken += judge.ticks_broken(ticks)


def _judge(stage: Stage, outcome: Outcome) -> None:
    stage.watch.look()
    lines, samples = stage.watch.lines, stage.witness.samples
    outcome.lines, outcome.samples = len(lines), len(samples)
    outcome.broken += judge.broken(stage.algorithm, lines, samples)
    outcome.broken += [fault for seen in outcome.seen for fault in seen.faults]
    outcome.missed += [fault for seen in outcome.seen for fault in _slow(outcome.plan, seen)]
    spans = judge.leaderless(lines, _ends(stage.acts), time.time())
    outcome.leaderless_s = sum(until - since for since, until in spans)
    outcome.missed += _lost_too_long(outcome.plan, stage.acts, spans)


def _ends(acts: list[Act]) -> list[tuple[float, str]]:
    return [(act.at, act.node) for act in acts if act.kind in ("kill", "stop")]


def _slow(plan: Plan, seen: Seen) -> list[str]:
    """The limits are from the last heartbeat, which may have been an interval before the deed."""
    algorithm, faults = plan.algorithm, []
    extra_s = CUT_EXTRA_S if not seen.kind.startswith("kill") or not plan.on_loopback else 0.0
    if plan.timeout_s:
        took_s, limit_s = judge.quantile(seen.took, 0.5) + INTERVAL_S[algorithm], LATE_P50 * plan.timeout_s
        return [f"{seen.kind}: p50 of fail-overs {took_s:.3f} s, the limit is {limit_s:g} s"] if took_s > limit_s else _changed(seen)
    for share, limits in ((0.5, FAIL_OVER_P50_S), (0.99, FAIL_OVER_S)):
        took_s, limit_s = judge.quantile(seen.took, share) + INTERVAL_S[algorithm], limits[algorithm] + extra_s
        if took_s > limit_s and (share > 0.5 or len(seen.took) >= MEDIAN_OF):
            faults.append(f"{seen.kind}: p{share * 100:.0f} of fail-overs {took_s:.3f} s, the limit is {limit_s:g} s")
    left_s, limit_s = judge.quantile(seen.left, 1.0), GIVE_UP_S[algorithm] + extra_s
    if left_s > limit_s:
        faults.append(f"{seen.kind}: a leader cut off gave up after {left_s:.3f} s, the limit is {limit_s:g} s")
    return [*faults, *_changed(seen)]


def _changed(seen: Seen) -> list[str]:
    faults = []
    if seen.kind == "idle" and seen.changes:
        faults.append(f"{seen.changes} changes of leader while nothing was done")
    if seen.kind == "follower away" and seen.changes:
        faults.append(f"{seen.changes} of {seen.count} followers that came back changed the leader")
    percent = int(seen.kind.split()[1]) if seen.kind.startswith("loss") else 0
    if seen.changes > CHANGES_MAX.get(percent, seen.changes):
        faults.append(f"{seen.kind}: {seen.changes} changes of leader")
    return faults


def _lost_too_long(plan: Plan, acts: list[Act], spans: list[tuple[float, float]]) -> list[str]:
    """At 25 % loss."""
    for act in acts:
        if act.kind == "lose 25 %":
            end = act.at + plan.lose_s
            without_s = sum(max(0.0, min(until, end) - max(since, act.at)) for since, until in spans)
            if without_s > (1 - LEADER_SHARE) * plan.lose_s:
                return [f"at 25 % loss {without_s:.1f} s of {plan.lose_s:g} s were without a leader"]
    return []
