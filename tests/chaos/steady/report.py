"""What steady runs say: text for the terminal, Markdown for docs/reports/."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence

import zmq

from sims.checkers.__main__ import describe
from tests.chaos.figures import Times
from tests.chaos.report import checks_table, table, times
from tests.chaos.steady.experiment import Outcome
from tests.chaos.steady.figures import answers
from tests.chaos.steady.stage import LEASE_S, WORKERS
from tests.chaos.steady.verdict import faults_of, lost_records, summary
from tests.cluster.report import commit

HEAD = """\
# A cluster under a constant load

Real nodes in a mesh with keys, on one Redis, records in the Mongo-wire server, {workers} worker processes each, lease {lease:g} s. A
producer submits at a constant rate, open loop; each job is followed from its submit to its record, and one history of all is judged, as are
the nodes' logs. How: `tests/chaos/steady/`. The checks: `sims/checkers/`. The backlog is the jobs that wait in queues, read from the store
ten times a second; it is back from the moment after which it stays within its level before the kill (mean and three deviations of 2 s, at
least what comes in a quarter of a second) until the next. This page is written by the run:"""


def text(outcome: Outcome, slack: float = 1.0) -> str:
    lines = [describe(outcome.verdict), "", *(f"{name}: {value}" for name, value in _figures(outcome))]
    return "\n".join([*lines, *(f"NOT GOOD: {fault}" for fault in faults_of(outcome, slack))])


def markdown(outcomes: Sequence[Outcome], command: str, begun: str, slack: float = 1.0) -> str:
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    versions = f"Python {platform.python_version()}, pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}"
    parts = [HEAD.format(workers=WORKERS, lease=LEASE_S), f"    {command}", f"{begun}, commit {commit()}, {machine}, {versions}."]
    for outcome in outcomes:
        parts += _section(outcome, slack)
    return "\n\n".join(parts) + "\n"


def _section(outcome: Outcome, slack: float) -> Iterator[str]:
    plan, faults = outcome.plan, faults_of(outcome, slack)
    yield f"## {plan.algorithm}, {plan.nodes} nodes, {plan.rate:g} jobs/s"
    said = f"verdict {'valid' if outcome.verdict.is_valid else 'INVALID'}, lost {outcome.lost}, double effects {outcome.double_effects}"
    limits = "" if slack == 1.0 else f" (limits in time times {slack:g})"
    yield "\n".join([f"**{'NOT GOOD' if faults else 'Good'}**{limits}: {said}.", *(f"- {fault}" for fault in faults)])
    yield table(("figure", "value"), list(_figures(outcome)))
    yield checks_table(outcome.verdict)


def _figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    told, counts = outcome.told, outcome.verdict.counts
    yield "jobs submitted", f"{told.jobs:,} in {told.seconds:.0f} s, {told.jobs / max(told.seconds, 1e-9):.0f} a second"
    yield "load behind its own clock, at most", f"{told.late_s:.2f} s"
    yield "acknowledged, refused, unknown", f"{counts['submits_acked']:,}, {told.refused}, {told.unknown}"
    yield "runs", f"{counts['runs']:,}, {counts['jobs_run_again']} jobs ran more than once"
    yield "lost, double effects", f"{outcome.lost}, {outcome.double_effects} ({counts.get('effects', 0):,} effects)"
    yield "records in Mongo, lost, doubled", f"{outcome.kept.records:,}, {len(lost_records(outcome))}, {outcome.kept.doubled}"
    yield "ticks of the schedule", f"{len(outcome.kept.ticks)}, one a second"
    if outcome.deeds.kills:
        yield from _kill_figures(outcome)
    if outcome.deeds.away is not None:
        yield from _mongo_figures(outcome)
    for name, phase in outcome.delays.items():
        yield f"from request to acknowledgement, {name}", times(phase.submits)
        yield f"from acknowledgement to claim, {name}", times(phase.starts)
        yield f"from acknowledgement to the end, stored, {name}", times(phase.ends)
    waiting = Times(sorted(one.waiting for one in outcome.samples))
    yield "jobs waiting, at any time", f"p50 {waiting.at(0.5):g}, p99 {waiting.at(0.99):g}, max {waiting.at(1.0):g}"
    roles = ", ".join(f"{role} {us:.0f}" for role, us in sorted(outcome.cost.us_per_job.items(), key=lambda one: -one[1]))
    yield "processor time per job before any fault, in us", f"{roles}; {outcome.cost.cores:.2f} cores in all"
    yield "the machine busy, with this and all else", f"{outcome.machine:.0%} while the load ran"
    yield "after the load", f"empty in {outcome.empty_s:.1f} s"
    yield "history", f"{outcome.lines:,} lines, judged in {outcome.judged_s:.0f} s"


def _kill_figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    deeds, found = outcome.deeds, summary(outcome)
    kills = outcome.verdict.kills.get("node")
    yield "kills of the leader", f"{len(deeds.kills)}, {kills.started if kills else 0} hit a started job"
    yield "from the kill to the next leader in office", times(Times(sorted(deeds.offices)))
    yield "the killed node started again", times(Times(sorted(deeds.restarts)))
    left = f"; {found.not_back} not by the next kill" if found.not_back else ""
    yield "backlog back to its level after", times(found.backs) + left
    peaks = Times(sorted(one.peak for one in found.recoveries))
    levels = Times(sorted(one.level for one in found.recoveries))
    yield "highest backlog after a kill", f"p50 {peaks.at(0.5):.0f}, max {peaks.at(1.0):.0f}; level before p50 {levels.at(0.5):.0f}"
    told = answers(outcome.asked, None)
    yield "results asked for, told after", f"{told.asked}, {times(told.took)}"


def _mongo_figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    told, found = answers(outcome.asked, outcome.deeds.away), summary(outcome)
    assert outcome.deeds.away is not None
    since, back = outcome.deeds.away
    yield "Mongo away", f"{(back - since) / 1e9:.1f} s"
    yield "results of jobs finished meanwhile, told after", f"{told.asked} asked for, {times(told.took)}"
    yield "records waiting in the outbox, at most", f"{max(one.outbox for one in outcome.samples):,}"
    yield "outbox as before, from Mongo being back", "never" if found.caught_up_s is None else f"{found.caught_up_s:.1f} s"
