"""What speaks against a steady run: promises that hold on any machine, and limits in time. `slack`: factor on times, for busy machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.chaos.figures import Times
from tests.chaos.steady.backlog import Recovery, Sample, back_within, level_before, recoveries
from tests.chaos.steady.experiment import Outcome
from tests.chaos.steady.figures import BEFORE, MEANWHILE, answers

BACK_LIMIT_S = 2.0
"""After each kill of the leader the backlog is back to its level."""
CAUGHT_UP_LIMIT_S = 30.0
WAIT_LIMIT_S = 2.0
"""From acknowledgement to claim, of any job while Mongo is away."""
WAIT_EXTRA_S = 0.1
"""The p99 of the same may be so much above the p99 before."""
ANSWER_LIMIT_S = 1.0
"""An answer at once (p99): it had to wait for nothing that is away."""
START_S = 1.5
"""A killed node is up again within this on a machine that does nothing else."""
KILLS_SHARE = 0.9
"""Of the kills that the pace asks for."""
RATE_SHARE = 0.98
FAULTS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Summary:
    recoveries: list[Recovery]
    caught_up_s: float | None
    """From Mongo being back until the outbox was as before; None: not, or it was not away."""

    @property
    def backs(self) -> Times:
        return Times(sorted(one.back_s for one in self.recoveries if one.back_s is not None))

    @property
    def not_back(self) -> int:
        return sum(one.back_s is None for one in self.recoveries)


def summary(outcome: Outcome) -> Summary:
    deeds, rate = outcome.deeds, outcome.plan.rate
    until = deeds.away[0] if deeds.away is not None else deeds.ended
    return Summary(recoveries(outcome.samples, deeds.kills, until, rate), _caught_up_s(outcome))


def _caught_up_s(outcome: Outcome) -> float | None:
    if outcome.deeds.away is None:
        return None

    def outbox(sample: Sample) -> int:
        return sample.outbox

    since, back = outcome.deeds.away
    return back_within(outcome.samples, back, level_before(outcome.samples, since, outcome.plan.rate, outbox), outbox)


def faults_of(outcome: Outcome, slack: float = 1.0) -> list[str]:
    """Empty: it is good."""
    return [*_broken(outcome), *_late(outcome, slack)]


def slowness(outcome: Outcome) -> float:
    """1.0, or more where starting a node takes longer than START_S: then everything does."""
    return max(1.0, Times(sorted(outcome.deeds.restarts)).at(0.5) / START_S)


def _broken(outcome: Outcome) -> Iterator[str]:
    if not outcome.verdict.is_valid:
        yield f"the checker says INVALID: {', '.join(outcome.verdict.violated) or 'nothing was checked'}"
    lost = len(lost_records(outcome))
    if lost or outcome.kept.doubled:
        yield f"records: {lost} lost, {outcome.kept.doubled} doubled"
    if not outcome.kept.ticks:
        yield "the schedule fired nothing"
    if outcome.told.refused or outcome.told.unknown:
        yield f"submits: {outcome.told.refused} refused, {outcome.told.unknown} with no answer"
    yield from outcome.elections
    yield from outcome.deeds.complaints
    wrong = answers(outcome.asked, outcome.deeds.away).faults
    if wrong:
        yield f"{len(wrong)} results were not told: {'; '.join(wrong[:FAULTS_SHOWN])}"


def lost_records(outcome: Outcome) -> frozenset[str]:
    return outcome.acked - outcome.kept.ids


def _late(outcome: Outcome, slack: float) -> Iterator[str]:
    plan, deeds, found = outcome.plan, outcome.deeds, summary(outcome)
    rate = outcome.told.jobs / outcome.told.seconds if outcome.told.seconds else 0.0
    if rate < RATE_SHARE * plan.rate:
        yield f"{rate:.0f} jobs/s were submitted, {plan.rate:g} were wanted"
    if plan.leader_kill_every_s:
        wanted = int(plan.seconds / plan.leader_kill_every_s)
        if len(deeds.kills) * slack < KILLS_SHARE * wanted:
            yield f"{len(deeds.kills)} kills of the leader, {wanted} were wanted"
        limit_s = BACK_LIMIT_S * slack
        late = sum(one.is_later_than(limit_s) for one in found.recoveries)
        if late:
            yield f"after {late} of {len(found.recoveries)} kills the backlog was not back to its level within {limit_s:g} s"
    if plan.mongo_away_s:
        yield from _late_without_mongo(outcome, found, slack)


def _late_without_mongo(outcome: Outcome, found: Summary, slack: float) -> Iterator[str]:
    before, meanwhile = outcome.delays[BEFORE].starts, outcome.delays[MEANWHILE].starts
    if meanwhile.at(0.99) > before.at(0.99) + WAIT_EXTRA_S * slack:
        yield f"jobs started {meanwhile.at(0.99):.3f} s after their acknowledgement (p99) without Mongo, {before.at(0.99):.3f} s before"
    if meanwhile.at(1.0) > WAIT_LIMIT_S * slack:
        yield f"a job waited {meanwhile.at(1.0):.3f} s while Mongo was away, the limit is {WAIT_LIMIT_S:g} s"
    told = answers(outcome.asked, outcome.deeds.away)
    if not told.asked or told.took.at(0.99) > ANSWER_LIMIT_S * slack:
        yield f"results while Mongo was away: {told.asked} asked for, told within {told.took.at(0.99):.3f} s (p99)"
    if found.caught_up_s is None or found.caught_up_s > CAUGHT_UP_LIMIT_S:
        yield f"the outbox was as before {found.caught_up_s} s after Mongo was back, the limit is {CAUGHT_UP_LIMIT_S:g} s"
