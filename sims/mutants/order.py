"""Bugs in who is first: C12 leader tokens, C14 order, C16 schedule."""

from __future__ import annotations

from ..lines import Duty, Lead, Lease, Line, Run, Submit, Tick
from .plant import NoPlace, Ops, drop, edit, edited, every, first, job_of, plant


@plant("C12", "schedules")
def two_nodes_led_under_one_token(ops: Ops) -> Ops:
    lead = first(ops, Lead)
    return [*ops, edited(lead, node="impostor", t=lead.t + 1, t0=lead.t)]


@plant("C12", "schedules")
def a_token_fell(ops: Ops) -> Ops:
    leads = every(ops, Lead)
    if len(leads) < 2:
        raise NoPlace
    return [*ops, edited(leads[0], t=leads[-1].t + 2, t0=leads[-1].t + 1)]


@plant("C12", "schedules")
def a_deposed_leader_wrote(ops: Ops) -> Ops:
    return edit(ops, first(ops, Duty, lambda line: line.type == "fail" and line.tok > 0), type="ok")


@plant("C14", "plain")
def a_job_overtook_an_earlier_one(ops: Ops) -> Ops:
    early, late = _two_in_a_row(ops)
    moved = {early: _submit_times(ops, late), late: _submit_times(ops, early)}
    return [_moved(op, moved) for op in ops]


@plant("C16", "schedules", also="C13")
def a_tick_made_two_jobs(ops: Ops) -> Ops:
    run = first(ops, Run, lambda line: line.key.startswith("nightly"))
    lines = [op for op in ops if job_of(op) == run.job]
    return [*ops, *(_renamed(op) for op in lines)]


@plant("C16", "schedules", also="C13")
def a_tick_was_missed_by_a_standing_leader(ops: Ops) -> Ops:
    leads = every(ops, Lead)
    tick = first(ops, Tick, lambda line: not any(line.t <= lead.t <= line.t1 for lead in leads))
    job = first(ops, Run, lambda line: line.key == tick.key).job
    return drop(ops, lambda op: job_of(op) == job)


def _two_in_a_row(ops: Ops) -> tuple[str, str]:
    """Two jobs of one level, acknowledged one after the other, then claimed one after the other."""
    claims: dict[str, tuple[int, int]] = {}
    for position, lease in enumerate(every(ops, Lease)):
        claims.setdefault(lease.job, (position, lease.t))
    acks = every(ops, Submit, lambda line: line.type == "ok" and line.job in claims)
    for early in acks:
        for late in acks:
            is_level = early.priority == late.priority and early.t < late.t
            if is_level and claims[early.job][0] < claims[late.job][0] and late.t < claims[early.job][1]:
                return early.job, late.job
    raise NoPlace


def _submit_times(ops: Ops, job: str) -> dict[str, int]:
    return {line.type: line.t for line in every(ops, Submit, lambda line: line.job == job)}


def _moved(op: Line, moved: dict[str, dict[str, int]]) -> Line:
    if isinstance(op, Submit) and op.job in moved:
        return edited(op, t=moved[op.job][op.type])
    return op


def _renamed(op: Line) -> Line:
    return edited(op, job="twin", **({"ek": "e-twin"} if hasattr(op, "ek") else {}))
