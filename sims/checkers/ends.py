"""Checks on how jobs end: C7 cancel, C8 two ends, C10 done without effect, C15 retries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..lines import FINAL_VALUES, Ack, Dead, Final
from .case import Case, Casebook, began, key_of
from .check import check
from .excuse import LATE_NS, Excuses

Report = Ack | Dead

COMPLETED_ATTEMPTS = {"done": (1, 1), "cancelled": (0, 1)}
"""How many attempts of a job in that final state completed, least and most; none in any other. A job may complete while it is cancelled."""


@check(
    "C7", "cancel", "no run starts after `cancelled` was acknowledged; what was acknowledged as cancelled or cancelling ends cancelled",
    needs=("cancel",),
)  # fmt: skip
def cancel(book: Casebook) -> Iterator[str]:
    excuses = Excuses(book)
    for case in book.cases.values():
        for acked in case.acks_of_cancel("cancelled"):
            for run in (run for run in case.runs if run.t > acked.t):
                if not case.is_requeued_between(acked.t, run.t) and not excuses.run_was_delayed(run, acked.t, run.t):
                    yield f"job {case.job} was cancelled at {acked.t} and started at {run.t}"
        acks = case.acks_of_cancel("cancelled", "cancelling")
        if acks and case.final() in FINAL_VALUES - {"cancelled"} and not case.requeues:
            yield f"job {case.job} was {acks[0].val} at {acks[0].t} and ended {case.final()}"


@check(
    "C8", "two ends", "a job ends once, in one way: reports, what clients were told and the final scan agree; nothing rises again",
    needs=("final",), also={"ack": "no ack lines: the end is known from clients and the final scan only"},
)  # fmt: skip
def two_ends(book: Casebook) -> Iterator[str]:
    excuses = Excuses(book)
    for case in book.cases.values():
        reports: list[Report] = [end for end in case.claim_ends if isinstance(end, Ack | Dead) and end.type == "ok"]
        if len(reports) > 1 or case.cancels or len(case.finals) > 1:
            yield from _counted_once(case, reports)
        if reports or case.seen:
            yield from _final_agrees(case, reports)
        if case.seen or (reports and len(case.leases) > 1):
            yield from _stays_ended(case, reports, excuses)
        for final in case.finals:
            if final.attempts:
                yield from _attempts_agree(case, final)


def _counted_once(case: Case, reports: list[Report]) -> Iterator[str]:
    ends = [(end.t, _word(case, end)) for end in reports]
    ends += [(line.t, "cancelled") for line in case.acks_of_cancel("cancelled")[:1]]
    if len(ends) > 1 + len(case.requeues):
        yield f"job {case.job} ended {len(ends)} times: {sorted(ends)}"
    if len(case.finals) > 1:
        yield f"job {case.job} is {len(case.finals)} times in the final scan: {[final.val for final in case.finals]}"


def _word(case: Case, end: Report) -> str:
    """The state that a counted report leads to; a job that is being cancelled ends cancelled, whatever was reported."""
    if end.val == "cancelled" or (case.cancels and case.acks_of_cancel("cancelling", "cancelled")):
        return "cancelled"
    return "done" if isinstance(end, Ack) else "dead"


def _final_agrees(case: Case, reports: list[Report]) -> Iterator[str]:
    if not case.finals or case.requeues:
        return
    final = case.final()
    for end in reports:
        word = _word(case, end)
        if final != word and not (final == "cancelled" and any(line.type == "info" for line in case.cancels)):
            yield f"job {case.job}: fence {end.fence} reported it {word} at {end.t}, the final scan says {final!r}"
    for seen in case.seen:
        if final != seen.val:
            yield f"job {case.job}: a client was told {seen.val} at {seen.t}, the final scan says {final!r}"


def _stays_ended(case: Case, reports: list[Report], excuses: Excuses) -> Iterator[str]:
    for end in reports:
        for lease in case.leases:
            if began(lease) > end.t and not case.is_requeued_between(began(end), lease.t):
                yield f"job {case.job} ended at {end.t} and was granted again with fence {lease.fence} at {lease.t}"
    for seen in case.seen:
        # A woken holder may start late with its old fence; a higher one was granted after the end.
        highest = max((run.fence for run in case.runs if run.t <= seen.t), default=0)
        for run in (run for run in case.runs if run.t > seen.t and run.fence > highest):
            if not case.is_requeued_between(0, run.t) and not excuses.run_was_delayed(run, seen.t, run.t):
                yield f"job {case.job}: a client was told {seen.val} at {seen.t}, and it ran again at {run.t}"


def _attempts_agree(case: Case, final: Final) -> Iterator[str]:
    fences = [attempt.fence for attempt in final.attempts]
    if len(fences) > 1 and any(b <= a for a, b in pairwise(fences)):
        yield f"job {case.job}: the fences of its attempts do not rise: {fences}"
    completed = [attempt.fence for attempt in final.attempts if attempt.outcome == "completed"]
    if case.requeues:
        return
    least, most = COMPLETED_ATTEMPTS.get(final.val, (0, 0))
    if not least <= len(completed) <= most:
        yield f"job {case.job} is {final.val} and {len(completed)} of its attempts completed"
    for fence in completed:
        later = [run.fence for run in case.runs if run.fence > fence]
        if later:
            yield f"job {case.job} was completed by fence {fence}, and ran with fence {later[0]}, which was granted before that"


@check(
    "C10", "done without effect", "a job that is done has run, in the attempt that completed it, and its effect is in the sink",
    needs=("final", "run"), also={"effect": "no effect lines: runs only"},
)  # fmt: skip
def done_without_effect(book: Casebook) -> Iterator[str]:
    for case in book.cases.values():
        if case.final() != "done":
            continue
        if not case.runs:
            yield f"job {case.job} is done and never ran"
            continue
        fences = [run.fence for run in case.runs]
        for fence in _completing_fences(case):
            if fence not in fences:
                yield f"job {case.job}: fence {fence} completed it and never ran"
        key = case.runs[-1].ek
        if key and key not in book.accepted_effects:
            yield f"job {case.job} is done and its effect {key!r} is not in the sink"


def _completing_fences(case: Case) -> list[int]:
    fences = [end.fence for end in case.claim_ends if end.type == "ok" and isinstance(end, Ack)]
    return fences + [attempt.fence for attempt in case.finals[-1].attempts if attempt.outcome == "completed"]


@check(
    "C15", "retries", "a task fails at most max_retries + 1 times, never runs after its last failure, and is given up no sooner",
    needs=("submit", "run"), also={"end": "no end lines: failures are known from the final lines only"},
)  # fmt: skip
def retries(book: Casebook) -> Iterator[str]:
    excuses = Excuses(book)
    for case in book.cases.values():
        asked = book.asked.get(key_of(case.runs[0])) if case.runs else None
        if asked is None or asked.max_retries < 0 or case.requeues:
            continue
        # A job with one run that did not raise, and that was not given up, has nothing to count.
        if len(case.runs) > 1 or case.final() != "done":
            failures = _sure_failures(case, excuses)
            yield from _within_limit(case, failures, asked.max_retries)
            yield from _attempts_count(case, failures)
        if case.finals and case.finals[-1].retries > asked.max_retries + 1:
            yield f"job {case.job} counts {case.finals[-1].retries} retries, max_retries is {asked.max_retries}"


def _sure_failures(case: Case, excuses: Excuses) -> list[int]:
    """Fences of the runs that raised and lived to report it; a report that a fault may have swallowed is no spent attempt."""
    raised = {end.fence: end.t for end in case.ends if end.type == "fail" and end.val == "raise"}
    if not raised:
        return []
    runs = sorted(case.runs, key=lambda run: run.fence)
    sure: list[int] = []
    for index, run in enumerate(runs):
        if run.fence in raised:
            until = runs[index + 1].t if index + 1 < len(runs) else raised[run.fence] + LATE_NS
            if not excuses.run_was_hit(run, run.t, until) and not _was_refused_with_cause(case, run.fence, excuses):
                sure.append(run.fence)
    return sure


def _was_refused_with_cause(case: Case, fence: int, excuses: Excuses) -> bool:
    """Its claim was lost before its report came, so nothing was spent."""
    refused_at = [end.t for end in case.claim_ends if end.fence == fence and end.type == "fail"]
    return bool(refused_at) and any(
        lease.fence == fence and excuses.is_claim_lost(lease, refused_at[-1]) for lease in case.leases
    )


def _within_limit(case: Case, failures: list[int], max_retries: int) -> Iterator[str]:
    if len(failures) > max_retries + 1:
        yield f"job {case.job} failed {len(failures)} times, max_retries is {max_retries}"
    if len(failures) > max_retries:
        last = failures[max_retries]
        again = [run.fence for run in case.runs if run.fence > last]
        if again:
            yield f"job {case.job} ran with fence {again[0]} after its last allowed failure with fence {last}"
    # Only where every run ended by raising is there no other cause (crash, time-out, Discard) for giving up.
    if case.final() == "dead" and len(failures) == len(case.runs) <= max_retries:
        yield f"job {case.job} was given up after {len(failures)} failures, max_retries is {max_retries}"


def _attempts_count(case: Case, failures: list[int]) -> Iterator[str]:
    runs = sorted((run for run in case.runs if run.attempt), key=lambda run: run.fence)
    for first, second in pairwise(runs):
        if second.attempt < first.attempt + (first.fence in failures):
            yield f"job {case.job}: attempt {first.attempt} (fence {first.fence}) is followed by {second.attempt} (fence {second.fence})"
