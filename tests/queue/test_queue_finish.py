"""What every queue store promises about outcomes, and about callers that give up. A continuation of test_queue_store.py."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.making import (
    ALL,
    Bench,
    Producer,
    add,
    completed,
    failed,
    ids_of,
    released,
    retried,
    run_all,
    snoozed,
)
from zjp.job import JobState, Record
from zjp.queue.store import Live, Outcome, OutcomeKind, QueueStore

pytestmark = pytest.mark.covers("main-path:5")


# ── finish ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_finished_job_is_in_the_outbox_with_its_record(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(2))
    claim = await store.claim(2, ALL)
    outcomes = [completed(claim.fence, claim.jobs[0], b"\xa2ok"), failed(claim.fence, claim.jobs[1])]
    assert await store.finish(outcomes) == []
    items = await store.outbox(10)
    assert [item.record for item in items] == [outcome.record for outcome in outcomes]
    assert await store.get(ids_of(claim)) == [outcome.record for outcome in outcomes]


async def test_repeated_finish_is_refused_and_changes_nothing(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(3))
    claim = await store.claim(3, ALL)
    outcomes = [completed(claim.fence, job) for job in claim.jobs]
    assert await store.finish(outcomes) == []
    assert await store.finish([failed(claim.fence, job) for job in claim.jobs]) == ids_of(claim)
    assert {item.record.state for item in await store.outbox(10)} == {JobState.COMPLETED}


async def test_finish_sent_twice_at_once_counts_once(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(3))
    claim = await store.claim(3, ALL)
    answers = await asyncio.gather(
        *(store.finish([completed(claim.fence, job) for job in claim.jobs]) for _ in range(2))
    )
    assert sorted(map(len, answers)) == [0, 3]
    assert store.backlog().count == 3


async def test_outcomes_are_refused_one_by_one(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(4))
    first, second = await store.claim(2, ALL), await store.claim(2, ALL)
    outcomes = [
        completed(first.fence, first.jobs[0]),
        completed(second.fence, first.jobs[1]),  # held, but by another claim
        completed(second.fence + 1, second.jobs[0]),  # no such claim
        completed(second.fence, second.jobs[1]),
    ]
    assert await store.finish(outcomes) == [first.jobs[1].spec.id, second.jobs[0].spec.id]
    assert {item.record.job.spec.id for item in await store.outbox(10)} == {
        first.jobs[0].spec.id,
        second.jobs[1].spec.id,
    }
    (count,) = await store.counts()
    assert count.running == 2


async def test_retry_waits_for_its_delay_and_keeps_its_counts(
    bench: Bench, store: QueueStore, producer: Producer
) -> None:
    await add(store, *producer.specs(1))
    claim = await store.claim(1, ALL)
    assert await store.finish([retried(claim.fence, claim.jobs[0], 2000)]) == []
    (live,) = await store.get(ids_of(claim))
    assert isinstance(live, Live)
    assert live.state is JobState.RETRYING
    bench.pass_time(1.9)
    assert not (await store.claim(1, ALL)).jobs
    bench.pass_time(0.2)
    again = await store.claim(1, ALL)
    assert [job.retries for job in again.jobs] == [1]
    assert again.fence > claim.fence


async def test_snoozed_job_shows_as_scheduled(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(1))
    claim = await store.claim(1, ALL)
    await store.finish([snoozed(claim.fence, claim.jobs[0], 2000)])
    (live,) = await store.get(ids_of(claim))
    assert isinstance(live, Live)
    assert live.state is JobState.SCHEDULED


async def test_released_jobs_go_to_the_front_as_they_are_given_back(store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(6))
    claim = await store.claim(3, ALL)
    for job in claim.jobs:
        job.suspicion = 1
    assert await store.finish([released(claim.fence, job) for job in claim.jobs]) == []
    again = await store.claim(6, ALL)
    assert ids_of(again) == ids
    assert [job.suspicion for job in again.jobs] == [1, 1, 1, 0, 0, 0]
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == ids[:3]


async def test_mixed_outcomes_of_one_batch_each_go_their_way(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(4))
    claim = await store.claim(4, ALL)
    done, again, later, back = claim.jobs
    fence = claim.fence
    outcomes = [completed(fence, done), retried(fence, again, 1000), snoozed(fence, later, 1000), released(fence, back)]
    assert await store.finish(outcomes) == []
    (count,) = await store.counts()
    assert (count.pending, count.retrying, count.scheduled, count.running) == (1, 1, 1, 0)
    assert store.backlog().count == 1


async def test_finishing_wakes_those_who_wait(store: QueueStore, producer: Producer) -> None:
    told: list[bytes] = []
    store.on_finished = told.extend
    first, second = await add(store, *producer.specs(2))
    await run_all(store, 1)
    await store.cancel([second])
    assert told == [first, second]


async def test_hint_tells_that_jobs_are_ready(store: QueueStore, producer: Producer) -> None:
    hints: list[int] = []
    store.on_ready = lambda: hints.append(1)
    await add(store, *producer.specs(100))
    assert len(hints) == 1
    claim = await store.claim(1, ALL)
    await store.finish([released(claim.fence, claim.jobs[0])])
    assert len(hints) == 2


async def test_finish_with_no_outcomes_is_nothing(store: QueueStore) -> None:
    assert await store.finish([]) == []
    assert await store.outbox(10) == []


async def test_outcome_kinds_are_all_handled(store: QueueStore, producer: Producer) -> None:
    for kind in OutcomeKind:
        await add(store, *producer.specs(1))
        claim = await store.claim(1, ALL)
        job = claim.jobs[0]
        outcome = Outcome(claim.fence, job, kind, Record(job, JobState.COMPLETED, 1), 60_000)
        assert await store.finish([outcome]) == []
        assert await store.finish([outcome]) == [job.spec.id]


# ── callers that give up ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_submit_whose_caller_gave_up_is_stored_once_or_not_at_all(store: QueueStore, producer: Producer) -> None:
    for _ in range(20):
        spec = producer.spec()
        asked = asyncio.create_task(store.submit([spec]))
        await asyncio.sleep(0)
        asked.cancel()
        (answer,) = await store.submit([spec])
        assert answer.id == spec.id
        assert ids_of(await store.claim(10, ALL)) == [spec.id]


async def test_caller_that_gives_up_takes_nobody_with_it(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *(producer.spec(delay_ms=10) for _ in range(5)))
    bench.pass_time(1.0)
    first, second = asyncio.create_task(store.tend(100)), asyncio.create_task(store.tend(100))
    claiming = asyncio.create_task(store.claim(10, ALL))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert len((await claiming).jobs) == 5


async def test_outcomes_whose_caller_gave_up_count_all_the_same(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(3))
    claim = await store.claim(3, ALL)
    finishing = asyncio.create_task(store.finish([completed(claim.fence, job) for job in claim.jobs]))
    await asyncio.sleep(0)
    finishing.cancel()
    assert await store.finish([failed(claim.fence, job) for job in claim.jobs]) == ids_of(claim)
    await store.pause("other")
    assert {item.record.state for item in await store.outbox(10)} == {JobState.COMPLETED}
