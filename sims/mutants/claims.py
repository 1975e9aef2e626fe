"""Bugs in who may act: C4 double effect, C5 stale effect, C6 claims overlap, C9 unexplained run."""

from __future__ import annotations

from ..lines import Ack, ClaimEnd, Effect, End, Expire, Fault, Lease, Line, Nack, Open, Release, Renew, Run
from .plant import NoPlace, Ops, drop, edit, edited, every, first, job_of, plant


@plant("C4", "worker kills")
def the_sink_took_an_effect_twice(ops: Ops) -> Ops:
    return edit(ops, first(ops, Effect, lambda line: line.val == "duplicate"), type="ok", val="")


@plant("C4", "node kills", outside=True)
def two_jobs_made_one_effect(ops: Ops) -> Ops:
    one, other = every(ops, Effect, lambda line: line.type == "ok")[:2]
    return [*ops, edited(other, ek=one.ek)]


@plant("C5", "pauses", also="C4", outside=True)
def the_sink_took_an_old_fence(ops: Ops) -> Ops:
    return edit(ops, first(ops, Effect, lambda line: line.val == "stale"), type="ok", val="")


@plant("C5", "plain", also="C6")
def a_holder_acted_after_its_job_was_given_away(ops: Ops) -> Ops:
    effect = first(ops, Effect)
    lease = first(ops, Lease, lambda line: line.job == effect.job)
    return [*ops, edited(lease, fence=lease.fence + 1_000, t=effect.t - 1, t0=effect.t - 1)]


@plant("C6", "plain")
def a_job_was_granted_while_it_was_held(ops: Ops) -> Ops:
    run = first(ops, Run)
    lease = first(ops, Lease, lambda line: line.job == run.job)
    end = first(ops, End, lambda line: line.job == run.job)
    return [*ops, edited(lease, fence=lease.fence + 1_000, t=end.t + 1, t0=end.t + 1)]


@plant("C6", "plain", also="C9")
def a_lease_was_taken_from_who_had_renewed_in_time(ops: Ops) -> Ops:
    run = first(ops, Run)
    lease = first(ops, Lease, lambda line: line.job == run.job)
    end = first(ops, End, lambda line: line.job == run.job)
    told = Renew(t=end.t + 1, p=lease.p, type="fail", node=lease.node, boot=lease.boot, t0=end.t + 1)
    return [*ops, told, edited(lease, fence=lease.fence + 1_000, t=end.t + 2, t0=end.t + 2)]


@plant("C6", "pauses", also="C9")
def a_store_that_was_away_forgot_who_held_a_job(ops: Ops) -> Ops:
    run = first(ops, Run)
    lease = first(ops, Lease, lambda line: line.job == run.job)
    end = first(ops, End, lambda line: line.job == run.job)
    away = Fault(t=run.t, p="nemesis", type="ok", t1=end.t + 1, kind="store", val="redis kill")
    return [*ops, away, edited(lease, fence=lease.fence + 1_000, t=end.t + 2, t0=end.t + 2)]


@plant("C6", "plain")
def one_claim_granted_a_job_twice(ops: Ops) -> Ops:
    lease = first(ops, Lease)
    return [*ops, edited(lease, t=lease.t + 1)]


@plant("C6", "node kills", also="C5 C9 C10")
def a_fence_fell_after_a_restart(ops: Ops) -> Ops:
    again = _second_lease(ops)
    low: dict[int, int] = {again.fence: 0}
    return [_with_fence(op, low) if job_of(op) == again.job else op for op in ops]


@plant("C6", "pauses", also="C8")
def a_report_of_a_lost_claim_counted(ops: Ops) -> Ops:
    leases = every(ops, Lease)
    refused = first(ops, Ack, lambda line: line.type == "fail" and any(_took_over(lease, line) for lease in leases))
    return edit(ops, refused, type="ok")


@plant("C6", "plain")
def a_report_counted_twice(ops: Ops) -> Ops:
    ack = first(ops, Ack, lambda line: line.type == "ok")
    return [*ops, Release(p=ack.p, type="ok", t=ack.t + 1, t0=ack.t0, job=ack.job, fence=ack.fence)]


@plant("C6", "plain")
def a_job_ran_without_a_claim(ops: Ops) -> Ops:
    job = first(ops, Run).job
    return drop(ops, lambda op: isinstance(op, Lease) and op.job == job)


@plant("C6", "pauses", also="C5 C9")
def a_renewing_node_was_reaped(ops: Ops) -> Ops:
    """The lease was judged by a clock that jumped: the node was never silent."""
    lost = _second_lease(ops)
    ops = drop(ops, lambda op: isinstance(op, Fault) or (isinstance(op, Renew) and op.type == "fail"))
    lives = {(op.node, op.boot) for op in every(ops, Open)}
    times = range(0, lost.t + 1_000_000_000, 1_000_000_000)
    return [*ops, *(Renew(p=node, type="ok", t=t, node=node, boot=boot) for node, boot in lives for t in times)]


@plant("C9", "plain", also="C6")
def a_job_ran_twice_for_no_reason(ops: Ops) -> Ops:
    run = first(ops, Run)
    return [*ops, edited(run, t=run.t - 1, fence=0)]


@plant("C9", "plain", outside=True)
def a_job_was_run_twice_in_one_claim(ops: Ops) -> Ops:
    run = first(ops, Run)
    return [*ops, edited(run, t=run.t + 1)]


@plant("C9", "worker kills", outside=True)
def a_job_was_lost_with_a_worker_that_nobody_killed(ops: Ops) -> Ops:
    _needs_lost_run(ops)
    return drop(ops, lambda op: isinstance(op, Fault))


@plant("C9", "worker kills", outside=True)
def another_worker_was_killed(ops: Ops) -> Ops:
    _needs_lost_run(ops)
    return [edited(op, pids=[99_999]) if isinstance(op, Fault) else op for op in ops]


@plant("C9", "worker kills", outside=True)
def only_the_clock_was_touched(ops: Ops) -> Ops:
    _needs_lost_run(ops)
    return [edited(op, kind="clock") if isinstance(op, Fault) else op for op in ops]


@plant("C9", "worker kills")
def a_started_job_was_handed_back(ops: Ops) -> Ops:
    """The release is there, the reason for it is not."""
    _needs_lost_run(ops)
    return drop(ops, lambda op: isinstance(op, Fault))


def _needs_lost_run(ops: Ops) -> None:
    """Some job ran again though its task had not failed."""
    failed = {(end.job, end.fence) for end in every(ops, End) if end.type != "ok"}
    last = {run.job: run.fence for run in every(ops, Run)}
    first(ops, Run, lambda run: run.fence < last[run.job] and (run.job, run.fence) not in failed)


def _took_over(lease: Lease, end: Ack) -> bool:
    return lease.job == end.job and lease.fence > end.fence and lease.t < end.t0


def _second_lease(ops: Ops) -> Lease:
    leased: set[str] = set()
    runs = {(run.job, run.fence) for run in every(ops, Run)}
    for lease in every(ops, Lease):
        if lease.job in leased and (lease.job, lease.fence) in runs:
            return lease
        leased.add(lease.job)
    raise NoPlace


def _with_fence(op: Line, fences: dict[int, int]) -> Line:
    if isinstance(op, Lease | Run | End | Effect | ClaimEnd | Nack | Expire) and op.fence in fences:
        return edited(op, fence=fences[op.fence])
    return op
