"""Bugs at the end of a job: C7 cancel, C8 two ends, C10 done without effect, C15 retries."""

from __future__ import annotations

from ..lines import Ack, AttemptSeen, Cancel, Dead, Effect, End, Final, Run, Seen, Submit
from .plant import Ops, drop, edit, edit_job, edited, every, final_of, first, plant


@plant("C7", "cancels", outside=True, also="C8 C11")
def a_cancelled_job_started(ops: Ops) -> Ops:
    cancel = first(ops, Cancel, lambda line: line.val == "cancelled")
    run = first(ops, Run)
    names = {"job": cancel.job, "key": cancel.job.replace("j", "k"), "ek": "", "attempt": 0}
    return [*ops, edited(run, **names, t=cancel.t + 1, fence=100_000)]


@plant("C7", "cancels", also="C8 C13")
def a_job_that_was_being_cancelled_ended_as_done(ops: Ops) -> Ops:
    cancel = first(ops, Cancel, lambda line: line.val == "cancelling")
    final = final_of(ops, cancel.job)
    run = first(ops, Run, lambda run: run.job == cancel.job)
    first(ops, Effect, lambda effect: effect.job == cancel.job and effect.type == "ok")
    return edit(ops, final, val="done", attempts=[AttemptSeen(fence=run.fence, outcome="completed")])


@plant("C8", "plain", also="C6")
def a_job_was_finished_twice(ops: Ops) -> Ops:
    ack = first(ops, Ack, lambda line: line.type == "ok")
    return [*ops, edited(ack, t=ack.t + 1)]


@plant("C8", "plain", also="C6")
def a_job_was_done_and_dead(ops: Ops) -> Ops:
    ack = first(ops, Ack, lambda line: line.type == "ok")
    return [*ops, Dead(p=ack.p, type="ok", t=ack.t + 1, t0=ack.t, job=ack.job, fence=ack.fence)]


@plant("C8", "plain", also="C13", outside=True)
def a_client_was_told_what_the_record_does_not_say(ops: Ops) -> Ops:
    job = first(ops, Seen, lambda line: line.val == "done").job
    return edit(ops, final_of(ops, job), val="dead", attempts=[])


@plant("C8", "plain", also="C13")
def a_finished_job_was_back_in_the_queue(ops: Ops) -> Ops:
    job = first(ops, Ack, lambda line: line.type == "ok").job
    return edit(ops, final_of(ops, job), val="ready", attempts=[])


@plant("C8", "plain", also="C9", outside=True)
def a_job_ran_again_after_a_client_saw_it_done(ops: Ops) -> Ops:
    seen = first(ops, Seen)
    run = first(ops, Run, lambda run: run.job == seen.job)
    return [*ops, edited(run, fence=run.fence + 100_000, t=seen.t + 1)]


@plant("C8", "worker kills", outside=True)
def an_outcome_of_a_lost_claim_was_recorded(ops: Ops) -> Ops:
    """The fence is off: the record was completed by the earlier of two runs."""
    last = {run.job: run.fence for run in every(ops, Run)}
    final = first(
        ops, Final, lambda line: line.val == "done" and any(_is_earlier(run, line, last) for run in every(ops, Run))
    )
    early = first(ops, Run, lambda run: _is_earlier(run, final, last))
    return edit(ops, final, attempts=[AttemptSeen(fence=early.fence, outcome="completed")])


@plant("C8", "retries", outside=True)
def the_attempts_of_a_record_are_out_of_order(ops: Ops) -> Ops:
    final = first(ops, Final, lambda line: len(line.attempts) > 1)
    return edit(ops, final, attempts=final.attempts[::-1])


@plant("C8", "plain", outside=True)
def a_job_has_two_records(ops: Ops) -> Ops:
    return [*ops, first(ops, Final)]


@plant("C8", "dead letters", outside=True)
def a_dead_job_has_a_completed_attempt(ops: Ops) -> Ops:
    final = first(ops, Final, lambda line: line.val == "dead")
    return edit(ops, final, attempts=[edited_attempt(final.attempts[-1])])


@plant("C10", "plain", outside=True)
def an_effect_is_missing(ops: Ops) -> Ops:
    effect = first(ops, Effect, lambda line: line.type == "ok")
    return drop(ops, lambda op: op is effect)


@plant("C10", "plain", outside=True)
def a_job_was_acknowledged_before_it_ran(ops: Ops) -> Ops:
    job = first(ops, Run).job
    return drop(ops, lambda op: isinstance(op, Run | Effect | End) and op.job == job)


@plant("C10", "plain", outside=True)
def an_attempt_that_never_ran_completed_it(ops: Ops) -> Ops:
    final = first(ops, Final, lambda line: line.val == "done")
    return edit(ops, final, attempts=[AttemptSeen(fence=final.attempts[-1].fence + 100_000, outcome="completed")])


@plant("C15", "retries", outside=True)
def a_task_was_retried_too_often(ops: Ops) -> Ops:
    return edit_job(ops, _failed_job(ops), Submit, max_retries=0)


@plant("C15", "dead letters", outside=True)
def a_job_was_given_up_too_soon(ops: Ops) -> Ops:
    discarded = {end.job for end in every(ops, End, lambda end: end.val == "discard")}
    job = first(ops, Final, lambda line: line.val == "dead" and line.job not in discarded).job
    return edit_job(ops, job, Submit, max_retries=9)


@plant("C15", "retries", outside=True)
def a_failure_did_not_count_as_an_attempt(ops: Ops) -> Ops:
    return edit_job(ops, _failed_job(ops), Run, attempt=1)


@plant("C15", "retries", outside=True)
def the_record_counts_too_many_retries(ops: Ops) -> Ops:
    return edit(ops, first(ops, Final), retries=9)


def _failed_job(ops: Ops) -> str:
    """One that raised and ran again."""
    runs = [run.job for run in every(ops, Run)]
    return first(ops, End, lambda end: end.val == "raise" and runs.count(end.job) > 1).job


def _is_earlier(run: Run, final: Final, last: dict[str, int]) -> bool:
    return run.job == final.job and run.fence < last[run.job]


def edited_attempt(attempt: AttemptSeen) -> AttemptSeen:
    return AttemptSeen(fence=attempt.fence, outcome="completed")
