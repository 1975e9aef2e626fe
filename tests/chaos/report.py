"""What a run says: as text for the terminal, as Markdown for docs/reports/. And whether it is good."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Iterator, Sequence

import zmq

from sims.checkers import Finding, Verdict
from sims.checkers.__main__ import describe
from sims.checkers.kills import Kills
from tests.chaos.experiment import Outcome, Plan
from tests.chaos.figures import Times
from tests.chaos.nemesis import Toll
from tests.chaos.outages import MONGO, REDIS_KILL, REDIS_STOP, RESET
from tests.chaos.shared_figures import WAIT_LIMIT_S, SharedFigures
from tests.chaos.stage import SHARED_LEASE_S

RERUN_LIMIT_S = 1.0
"""A killed worker's job runs again within this (p99)."""
ORPHAN_LIMIT_S = 1.0
"""Workers die within this after their node."""
SLACK = 5.0
"""For busy machines: what is beyond its limit by more than this is wrong. The exact figure is always told."""
START_S = 1.0
"""A node is up again within this on an idle machine."""
TAKEOVER_S = 2.0
"""Beyond the lease: a killed node's job runs again within this (p99)."""
RESUME_LIMIT_S = 2.0
MOMENTS = ("claim", "run", "result", "ack")


def faults_of(outcome: Outcome) -> list[str]:
    """What speaks against the run; empty: it is good."""
    return [*_broken_promises(outcome), *_missed_goals(outcome)]


def _broken_promises(outcome: Outcome) -> Iterator[str]:
    verdict, toll, figures = outcome.verdict, outcome.toll, outcome.figures
    if not verdict.is_valid:
        yield f"the checker says INVALID: {', '.join(verdict.violated) or 'nothing was checked'}"
    if outcome.lost or outcome.double_effects:
        yield f"lost {outcome.lost}, double effects {outcome.double_effects}"
    slack = SLACK * _slowness(toll)
    p99_s = figures.worker_reruns.at(0.99)
    if p99_s > RERUN_LIMIT_S * slack:
        yield f"jobs of killed workers ran again after {p99_s:.3f} s (p99), the limit is {RERUN_LIMIT_S:g} s"
    slowest_s = max(toll.orphan_s, default=0.0)
    if slowest_s > ORPHAN_LIMIT_S * slack:
        yield f"workers outlived their killed node by {slowest_s:.3f} s, the limit is {ORPHAN_LIMIT_S:g} s"
    if figures.spent_by_drains:
        yield f"drains spent {figures.spent_by_drains} attempts"
    if figures.leases_lost_early:
        yield f"the store gave up {figures.leases_lost_early} leases that had been renewed in time"
    if bad_codes := set(toll.drain_codes) - {0, 75}:
        yield f"drains ended with exit codes {sorted(bad_codes)}"
    if outcome.shared is not None:
        yield from _broken_between_nodes(outcome.shared, slack)
    yield from toll.complaints
    yield from outcome.damage


def _broken_between_nodes(shared: SharedFigures, slack: float) -> Iterator[str]:
    p99_s = shared.takeovers.at(0.99)
    if p99_s > SHARED_LEASE_S + TAKEOVER_S + slack:
        yield f"jobs of killed nodes ran again after {p99_s:.3f} s (p99), the limit is {SHARED_LEASE_S + TAKEOVER_S:g} s"
    if shared.zombies_refused < shared.zombies:
        yield f"{shared.zombies} zombies came late, {shared.zombies_refused} were refused everything"
    # Half of them waiting is no busy machine; some of them may be one.
    if shared.mongo_starts.at(0.5) > WAIT_LIMIT_S or shared.mongo_starts.at(1.0) > WAIT_LIMIT_S * slack:
        yield f"{shared.mongo_waited} jobs waited while Mongo was away, up to {shared.mongo_starts.at(1.0):.3f} s"
    if shared.records_lost or shared.records_doubled:
        yield f"records: {shared.records_lost} lost, {shared.records_doubled} doubled"
    if shared.resumed.at(1.0) > RESUME_LIMIT_S * slack:
        yield f"{shared.resumed.at(1.0):.3f} s passed from Redis being back to the next submit, the limit is {RESUME_LIMIT_S:g} s"


def _slowness(toll: Toll) -> float:
    """1.0, or more where starting a node takes longer than START_S: then everything does, and first of all a new worker process."""
    return max(1.0, Times(sorted(toll.restart_s)).at(0.5) / START_S)


def _missed_goals(outcome: Outcome) -> Iterator[str]:
    plan, counted, others = outcome.plan, outcome.counted, outcome.toll.others
    goals = [
        ("kills of a worker", plan.kills, counted.get("worker", 0)),
        ("kills of a node", plan.node_kills, counted.get("node", 0)),
        ("zombies", plan.zombies, outcome.shared.zombies if outcome.shared is not None else 0),
    ]
    asked = ((REDIS_KILL, plan.redis_kills), (REDIS_STOP, plan.redis_stops), (RESET, plan.resets), (MONGO, plan.mongo_outages))
    goals += [(name, wanted, others[name]) for name, wanted in asked]
    for name, wanted, count in goals:
        if count < wanted:
            yield f"{name}: {count} counted, {wanted} were wanted; allow more time with --limit"


def text(outcome: Outcome) -> str:
    """For the terminal: the checker's own words, then the figures."""
    lines = [describe(outcome.verdict), "", *(f"{name}: {value}" for name, value in _figures(outcome))]
    return "\n".join([*lines, *(f"NOT GOOD: {fault}" for fault in faults_of(outcome))])


def command(plan: Plan) -> str:
    """What repeats the plan. (The same seed gives the same plan; the moments differ, as the processes are real.)"""
    words = ["python -m tests.chaos", f"--kills {plan.kills}", f"--node-kills {plan.node_kills}", f"--drains {plan.drains}"]
    words += [f"--others {plan.others}"]
    if plan.queue != "sqlite":
        words += [f"--queue {plan.queue}", f"--nodes {plan.nodes}", *([f"--records {plan.records}"] if plan.records else [])]
        words += [f"--redis-kills {plan.redis_kills}", f"--redis-stops {plan.redis_stops}", f"--redis-stop-s {plan.redis_stop_s:g}"]
        words += [f"--resets {plan.resets}", f"--zombies {plan.zombies}"]
    if plan.records:
        words += [f"--mongo-outages {plan.mongo_outages}", f"--mongo-away-s {plan.mongo_away_s:g}"]
    words += [f"--calm-share {plan.calm_share:g}", f"--seed {plan.seed}", f"--limit {plan.limit_s:g}"]
    return " ".join([*words, *([f"--store {plan.store}"] if plan.store else [])])


def _figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    figures, toll, counts = outcome.figures, outcome.toll, outcome.verdict.counts
    yield "lost", str(outcome.lost)
    yield "double effects", str(outcome.double_effects)
    yield "jobs acknowledged", str(counts["submits_acked"])
    yield "runs", f"{counts['runs']}, {counts['jobs_run_again']} jobs ran more than once"
    yield "jobs per second", f"{figures.jobs_per_s:.0f}, slots busy {figures.busy:.0%}"
    yield "job of a killed worker is ready again", times(figures.hand_backs)
    yield "and runs again", times(figures.worker_reruns)
    yield "the same of low priority, after those above it", times(figures.low_reruns)
    yield "the same in a storm of faults", times(figures.storm_reruns)
    yield "job of a killed node runs again, its start included", times(figures.node_reruns)
    yield "node up again after a kill or a drain", times(Times(sorted(toll.restart_s)))
    yield "workers dead after their node was killed", times(Times(sorted(toll.orphan_s)))
    yield "drains", f"{times(Times(sorted(toll.drain_s)))}, exit codes {dict(toll.drain_codes)}"
    yield "jobs handed back by drains", f"{figures.handed_back_by_drains}, attempts spent {figures.spent_by_drains}"
    yield "other faults", ", ".join(f"{count} {name}" for name, count in sorted(toll.others.items())) or "none"
    if outcome.shared is not None:
        yield from _shared_figures(outcome.shared, toll)
    yield "duration", f"{outcome.faults_s:.0f} s of faults, empty {outcome.empty_s:.1f} s after them"


def _shared_figures(shared: SharedFigures, toll: Toll) -> Iterator[tuple[str, str]]:
    yield f"the same, calm (lease {SHARED_LEASE_S:g} s)", times(shared.takeovers)
    yield "calm, of low priority, after those above it", times(shared.low_takeovers)
    yield "jobs that ran on more than one node", str(shared.ran_on_another_node)
    late = f"late outcomes refused {shared.late_refused} of {shared.late_outcomes}"
    yield "zombies refused", f"{shared.zombies_refused} of {shared.zombies}; {late}"
    yield "from Redis being back to the next acknowledged submit", times(shared.resumed)
    yield "starts of a node that found no Redis", str(toll.failed_starts)
    yield "records lost, doubled", f"{shared.records_lost}, {shared.records_doubled}"
    if shared.records_in_mongo is not None:
        yield "records in Mongo", str(shared.records_in_mongo)
        yield "jobs waiting while Mongo was away", f"{shared.mongo_waited} of {shared.mongo_jobs}"
        yield "from acknowledgement to claim meanwhile", times(shared.mongo_starts)
        yield "ends that clients were told of meanwhile", str(shared.mongo_told)


def times(some: Times) -> str:
    if not some.count:
        return "none"
    return f"p50 {some.at(0.5):.3f} s, p99 {some.at(0.99):.3f} s, max {some.at(1.0):.3f} s ({some.count})"


HEAD = """\
# Chaos on the main path

A real node under load; workers and the node itself killed at chosen moments, drained, stopped and started again; then the history is
judged. How: `tests/chaos/`. The checks: `sims/checkers/`. This page is written by the run:"""
SHARED_HEAD = """\
# Chaos on nodes that share a queue

Real nodes on one Redis under load; workers, nodes and Redis itself killed, Redis stopped, connections reset, nodes paused past their lease
and woken, MongoDB taken away where records are there; then one history of all of them is judged. How: `tests/chaos/`. The checks:
`sims/checkers/`; a fault of Redis or MongoDB excuses nothing there. Redis writes and syncs its file before it answers: with
`everysec` a kill -9 of it takes what a slow disk kept waiting. What a power cut takes is in power-cuts.md. This page is written
by the run:"""
MOMENTS_TEXT = """\
A kill counts when the history shows a started job in the victim. One kill can hit several moments: claim (granted, not started), run,
result (ended, not yet on its way to the store), ack (its report under way to the store)."""

# ── Markdown ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def markdown(outcome: Outcome) -> str:
    faults = faults_of(outcome)
    verdict = outcome.verdict
    said = f"verdict {'valid' if verdict.is_valid else 'INVALID'}, lost {outcome.lost}, double effects {outcome.double_effects}"
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, libzmq {zmq.zmq_version()}"
    parts = [
        HEAD if outcome.shared is None else SHARED_HEAD,
        f"    {command(outcome.plan)}",
        f"**{'NOT GOOD' if faults else 'Good'}**: {said}.",
        *(f"- {fault}" for fault in faults),
        _kill_table(verdict.kills),
        MOMENTS_TEXT,
        table(("figure", "value"), list(_figures(outcome))),
        "## Checks",
        checks_table(verdict),
        f"{versions}, {os.cpu_count()} cores, {verdict.counts['lines']} lines of history.",
    ]
    return "\n\n".join(parts) + "\n"


def _kill_table(kills: dict[str, Kills]) -> str:
    rows = [
        (target, str(one.total), str(one.started), *(str(one.moments.get(moment, 0)) for moment in MOMENTS))
        for target, one in kills.items()
    ]
    return table(("killed", "kills", "counted", *MOMENTS), rows)


def checks_table(verdict: Verdict) -> str:
    return table(("check", "sentence", "verdict"), [_check_row(finding) for finding in verdict.findings])


def _check_row(finding: Finding) -> tuple[str, str, str]:
    if not finding.is_checked:
        said = f"not applicable: {finding.reason}"
    else:
        said = f"{finding.violations} violations" if finding.violations else "ok"
    return f"{finding.id} {finding.name}", finding.sentence, said


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
