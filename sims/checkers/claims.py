"""Checks on who may act for a job: C4 double effect, C5 stale effect, C6 claims overlap, C9 unexplained run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ..lines import Ack, ClaimEnd, Dead, Effect, Lease, Nack, Release
from .case import Case, Casebook, began
from .check import check
from .excuse import Excuses


@check("C4", "double effect", "at most one accepted effect for each effect key", needs=("effect",))
def double_effect(book: Casebook) -> Iterator[str]:
    for key, effects in book.accepted_effects.items():
        if len(effects) > 1:
            yield f"effect {key!r} was accepted {len(effects)} times: {[(e.job, e.fence, e.t) for e in effects]}"


@check(
    "C5", "stale effect", "no effect is accepted from a claim once a later claim of that job acts, unless a fault hit its holder",
    needs=("effect",), also={"lease": "no lease lines: judged by the fences the sink saw, not by those granted"},
)  # fmt: skip
def stale_effect(book: Casebook) -> Iterator[str]:
    excuses = Excuses(book)
    for case in book.cases.values():
        highest = 0
        for effect in case.effects:
            if effect.type == "ok" and effect.fence < highest:
                yield f"job {case.job}: effect accepted with fence {effect.fence} after the sink had seen {highest}"
            highest = max(highest, effect.fence)
            if effect.type == "ok" and len(case.leases) > 1:
                yield from _acts_after_loss(case, effect, excuses)


def _acts_after_loss(case: Case, effect: Effect, excuses: Excuses) -> Iterator[str]:
    # A lease is no mutual exclusion: a paused holder may act late, and the sink cannot know of a claim that has not spoken to it.
    # Without a fault nobody should act for a job that was given to another.
    later = [lease for lease in case.leases if lease.fence > effect.fence and lease.t < effect.t]
    if not later or any(
        lease.fence == effect.fence and excuses.is_claim_lost(lease, effect.t) for lease in case.leases
    ):
        return  # its holder was hit, or silent for a whole lease and has not heard yet
    runs = [run for run in case.runs if run.fence == effect.fence]
    if not any(excuses.run_was_hit(run, run.t, effect.t) for run in runs):
        yield f"job {case.job}: effect accepted with fence {effect.fence} at {effect.t}, fence {later[0].fence} was granted before"


@check(
    "C6", "claims overlap",
    "fences of a job only rise; it is granted again only after its claim ended; only the newest claim's report counts, once; "
    "nothing runs without a claim",
    needs=("lease",),
)  # fmt: skip
def claims_overlap(book: Casebook) -> Iterator[str]:
    excuses = Excuses(book)
    for case in book.cases.values():
        if len(case.leases) > 1:
            yield from _fences_rise(case)
            yield from _one_holder(case, excuses)
        if len(case.claim_ends) > 1 or len(case.leases) > 1:
            yield from _reports_count_once(case)
        granted = [lease.fence for lease in case.leases]
        for run in case.runs:
            if run.fence not in granted:
                yield f"job {case.job} ran with fence {run.fence}, which was never granted for it"


def _fences_rise(case: Case) -> Iterator[str]:
    for first, second in pairwise(case.leases):
        # A line may be written late; a call that began after the other had returned is surely the later one.
        is_later = began(second) >= first.t
        if second.fence == first.fence or (second.fence < first.fence and is_later):
            yield f"job {case.job} was granted with fence {second.fence} after fence {first.fence}"


def _one_holder(case: Case, excuses: Excuses) -> Iterator[str]:
    leases = sorted(case.leases, key=lambda lease: lease.fence)
    for first, second in pairwise(leases):
        if not _may_have_ended(case, first, second.t) and not excuses.is_claim_lost(first, second.t):
            yield f"job {case.job} was granted with fence {second.fence} at {second.t} while fence {first.fence} held it"


def _may_have_ended(case: Case, lease: Lease, until: int) -> bool:
    # `fail` is sure, an unanswered invoke may have been carried out.
    return any(
        end.fence == lease.fence and end.type != "fail" and began(end) <= until and not _was_refused(case, end)
        for end in case.claim_ends
    )


def _was_refused(case: Case, end: ClaimEnd) -> bool:
    return end.type == "invoke" and any(
        other.type == "fail" and other.fence == end.fence and began(other) == end.t for other in case.claim_ends
    )


def _reports_count_once(case: Case) -> Iterator[str]:
    counted: dict[int, ClaimEnd] = {}
    for end in case.accepted(Ack, Dead, Nack, Release):
        if end.fence in counted:
            yield f"job {case.job}: two reports of fence {end.fence} counted, at {counted[end.fence].t} and {end.t}"
        counted[end.fence] = end
        newer = [lease.fence for lease in case.leases if lease.fence > end.fence and lease.t < began(end)]
        if newer:
            yield f"job {case.job}: a report of fence {end.fence} counted at {end.t}, fence {newer[0]} was granted before"


@check(
    "C9", "unexplained run",
    "one run for each claim; a further run needs the earlier one's failure, the loss of its claim, or a fault that hit its process",
    needs=("run",),
    also={"end": "no end lines: failures of tasks are known from nack lines only"},
)  # fmt: skip
def unexplained_run(book: Casebook) -> Iterator[str]:
    excuses = Excuses(book)
    for case in book.cases.values():
        if len(case.runs) < 2:
            continue
        runs = sorted(case.runs, key=lambda run: (run.fence, run.t))
        for first, second in pairwise(runs):
            if first.fence == second.fence:
                yield f"job {case.job} ran twice with fence {first.fence}, at {first.t} and {second.t}"
            elif not excuses.is_rerun_explained(case, first, second):
                yield f"job {case.job} ran with fence {first.fence} at {first.t} and again with {second.fence} at {second.t}: no cause"
