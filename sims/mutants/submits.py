"""Bugs at the door: C1 lost, C2 unexpected, C3 duplicate key, C11 early, C13 conservation."""

from __future__ import annotations

from ..lines import Effect, End, Final, Nack, Promote, Run, Scan, Seen, Submit
from .plant import Ops, drop, edit, edit_job, edited, every, final_of, first, job_of, plant

HOUR_NS = 3_600_000_000_000


@plant("C1", "plain", also="C13")
def acknowledged_and_forgotten(ops: Ops) -> Ops:
    job = first(ops, Submit, lambda line: line.type == "ok").job
    return drop(ops, lambda op: job_of(op) == job and not isinstance(op, Submit))


@plant("C1", "plain", also="C13", outside=True)
def never_taken_up_after_the_drain(ops: Ops) -> Ops:
    job = first(ops, Submit, lambda line: line.type == "ok").job
    ops = drop(ops, lambda op: job_of(op) == job and isinstance(op, Run | End | Effect | Seen))
    return edit(ops, final_of(ops, job), val="ready", attempts=[])


@plant("C1", "unknown outcomes", also="C13", outside=True)
def ran_after_an_unknown_submit_and_vanished(ops: Ops) -> Ops:
    unknown = {line.job for line in every(ops, Submit, lambda line: line.type == "info")}
    job = first(ops, Run, lambda run: run.job in unknown).job
    return drop(ops, lambda op: isinstance(op, Final) and op.job == job)


@plant("C2", "plain", also="C13", outside=True)
def ran_though_nobody_submitted_it(ops: Ops) -> Ops:
    job = first(ops, Run).job
    return drop(ops, lambda op: isinstance(op, Submit) and op.job == job)


@plant("C2", "plain", also="C13", outside=True)
def ran_though_it_was_refused(ops: Ops) -> Ops:
    return edit(ops, first(ops, Submit, lambda line: line.type == "ok"), type="fail")


@plant("C2", "plain", also="C13", outside=True)
def ran_before_it_was_submitted(ops: Ops) -> Ops:
    run = first(ops, Run)
    return [edited(op, t=op.t + HOUR_NS) if isinstance(op, Submit) and op.job == run.job else op for op in ops]


@plant("C2", "plain", also="C13")
def stored_though_nobody_submitted_it(ops: Ops) -> Ops:
    return [*ops, edited(first(ops, Final), job="stranger", key="stranger", val="cancelled", attempts=[])]


@plant("C3", "repeats", also="C1", outside=True)
def a_repeat_made_another_job(ops: Ops) -> Ops:
    repeat = first(ops, Submit, lambda line: line.existed)
    return edit(ops, repeat, job="another", existed=False)


@plant("C3", "unknown outcomes", also="C13", outside=True)
def a_job_ran_under_two_ids(ops: Ops) -> Ops:
    job = first(ops, Run).job
    twin = [edited(op, job="twin", ek="e-twin") for op in every(ops, Run | Effect, lambda op: op.job == job)]  # type: ignore[arg-type]
    return [*ops, *twin, edited(final_of(ops, job), job="twin")]


@plant("C11", "delayed")
def a_delayed_job_started_early(ops: Ops) -> Ops:
    job = first(ops, Submit, lambda line: line.due > 0 and _is_plain(ops, line.job)).job
    start = first(ops, Run, lambda run: run.job == job).t
    return edit_job(ops, job, Submit, due=start + 500_000_000)


@plant("C11", "retries")
def a_retry_started_before_its_delay(ops: Ops) -> Ops:
    nack = first(ops, Nack, lambda line: line.type == "ok" and line.due > 0)
    again = first(ops, Run, lambda run: run.job == nack.job and run.fence > nack.fence)
    return edit(ops, nack, due=again.t + 500_000_000)


@plant("C13", "plain")
def a_scan_misses_a_job(ops: Ops) -> Ops:
    scan = first(ops, Scan, lambda line: line.done > 0 and not line.drained)
    return edit(ops, scan, done=scan.done - 1, metrics={})


@plant("C13", "plain")
def a_scan_counts_a_job_twice(ops: Ops) -> Ops:
    scan = first(ops, Scan, lambda line: not line.drained)
    return edit(ops, scan, leased=scan.leased + 1, metrics={})


@plant("C13", "plain")
def the_metrics_drifted(ops: Ops) -> Ops:
    scan = first(ops, Scan, lambda line: line.ready > 0)
    return edit(ops, scan, metrics=scan.metrics | {"ready": scan.ready - 1})


@plant("C13", "plain")
def a_claim_was_left_after_the_drain(ops: Ops) -> Ops:
    scan = first(ops, Scan, lambda line: line.drained)
    return edit(ops, scan, leased=1, done=scan.done - 1, metrics={})


def _is_plain(ops: Ops, job: str) -> bool:
    """Run once, and not promoted."""
    kinds = [type(op) for op in ops if job_of(op) == job]
    return kinds.count(Run) == 1 and Promote not in kinds
