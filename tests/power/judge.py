"""What a power cut did to what had been promised. Pure: an account, the moment of the cut, and two looks at the jobs.

    first    as the machine came back, before anything else happened
    last     when all work was done

    lost          acknowledged, and nowhere
    undone        its end was told, and it is not ended, or in another way
    two ends      it had ended in one way at the first look, and in another at the last
    torn          some jobs of one request that was never answered are there and some are not
    stuck         there at the first look, not ended at the last
    corrupt       the store's own check does not say ok, or it does not start

A loss is excused while it is not older than the store said it could be (`loss_age_max_s`). Answers that were on their way at the cut and
arrived after it count like all others; their age is below zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.power.ledger import Account

NOTHING = ""
"""The outcome of a job that is there and has not ended."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one cut. Ages in seconds before the cut, of acknowledgements that came to nothing."""

    acknowledged: int
    """since the cut before; kept from then: what was on this disk already"""
    kept: int
    on_their_way: int
    """acknowledgements that arrived after the cut had begun"""
    told: int
    found: int
    finished: int
    lost_ages_s: Sequence[float] = ()
    undone_ages_s: Sequence[float] = ()
    excused: int = 0
    two_ends: Sequence[str] = ()
    torn: Sequence[str] = ()
    stuck: Sequence[str] = ()
    corrupt: Sequence[str] = ()
    wrong: Sequence[str] = ()
    """Sentences; empty: the store kept its promise."""

    @property
    def ages_s(self) -> list[float]:
        """Of all losses."""
        return [*self.lost_ages_s, *self.undone_ages_s]


def judge(
    account: Account,
    cut_ns: int,
    first: Mapping[str, str],
    last: Mapping[str, str],
    *,
    loss_age_max_s: float | None,
    corrupt: Sequence[str] = (),
) -> Verdict:
    """`first`, `last`: job -> outcome, or NOTHING while it has none; a job that is missing is not in the store.

    `loss_age_max_s` None: nothing may be lost.
    """
    lost = {job: _age_s(cut_ns, at_ns) for job, at_ns in account.acknowledged.items() if job not in first}
    undone = {
        job: _age_s(cut_ns, told.at_ns)
        for job, told in account.told.items()
        if job not in lost and first.get(job, NOTHING) != told.outcome
    }
    losses = [*lost.items(), *undone.items()]
    grave = {job for job, age_s in losses if loss_age_max_s is None or age_s > loss_age_max_s}
    two_ends = [job for job, outcome in first.items() if outcome != NOTHING and last.get(job) != outcome]
    torn = [ids[0] for ids in account.open if 0 < sum(job in first for job in ids) < len(ids)]
    stuck = [job for job in first if last.get(job, NOTHING) == NOTHING]
    new = sum(at_ns >= account.since_ns for at_ns in account.acknowledged.values())
    return Verdict(
        acknowledged=new, kept=len(account.acknowledged) - new,
        on_their_way=sum(at_ns >= cut_ns for at_ns in account.acknowledged.values()),
        told=sum(told.at_ns >= account.since_ns for told in account.told.values()),
        found=len(first), finished=sum(outcome != NOTHING for outcome in first.values()),
        lost_ages_s=sorted(lost.values()), undone_ages_s=sorted(undone.values()), excused=len(losses) - len(grave),
        two_ends=two_ends, torn=torn, stuck=stuck, corrupt=corrupt,
        wrong=_sentences(lost.keys() & grave, undone.keys() & grave, two_ends, torn, stuck, corrupt),
    )  # fmt: skip


def describe(verdict: Verdict) -> str:
    lost, undone = len(verdict.lost_ages_s), len(verdict.undone_ages_s)
    oldest = f", the oldest {max(verdict.ages_s):.3f} s old" if verdict.ages_s else ""
    return (
        f"{verdict.acknowledged} acknowledged, {verdict.kept} of before, {verdict.told} ends told; "
        f"back: {verdict.found} jobs, {verdict.finished} finished; lost {lost}, undone {undone}{oldest}"
    )


def _sentences(
    lost: set[str], undone: set[str], two_ends: Sequence[str], torn: Sequence[str], stuck: Sequence[str], corrupt: Sequence[str]
) -> list[str]:
    counted = (
        (sorted(lost), "acknowledged jobs lost"),
        (sorted(undone), "ends undone that had been told"),
        (two_ends, "jobs with two ends"),
        (torn, "requests torn"),
        (stuck, "jobs stuck"),
    )
    return [f"{len(jobs)} {what}, first {jobs[0]}" for jobs, what in counted if jobs] + [f"corrupt: {said}" for said in corrupt]


def _age_s(cut_ns: int, at_ns: int) -> float:
    return (cut_ns - at_ns) / 1e9
