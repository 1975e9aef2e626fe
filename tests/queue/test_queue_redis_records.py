"""What a queue in Redis promises that keeps the records beside it: the step that ends a job makes its record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.queue.kept import KeptBench
from tests.queue.making import ALL, DEDUP_S, START_MS, Producer, add, completed, failed, ids_of, run_all
from zjp.job import JobFilter, JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import SubmitKind, Submitted
from zjp.records.redis import RedisRecordStore

pytestmark = pytest.mark.covers("settings:RECORDS_MAX", "redis:nodes")

ANY = JobFilter()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[KeptBench]:
    made = KeptBench(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(bench: KeptBench) -> RedisQueueStore:
    return await bench.open()


@pytest.fixture
async def records(bench: KeptBench) -> AsyncIterator[RedisRecordStore]:
    made = RedisRecordStore(bench.server.unix_url, ttl_s=60, count_max=100_000, wall_ms=lambda: START_MS + round(bench.passed_s * 1000))
    await made.open()
    yield made
    await made.close()


async def listed(records: RedisRecordStore) -> list[Record]:
    return list((await records.list(ANY, b"", 500)).records)


async def move_outbox(store: RedisQueueStore, records: RedisRecordStore) -> None:
    items = await store.outbox_share(1000)
    await records.append(items)
    await store.outbox_remove(items)


async def test_what_is_finished_has_left_the_queue_and_is_a_record_newest_first(
    store: RedisQueueStore, records: RedisRecordStore, producer: Producer
) -> None:
    ids = await add(store, *producer.specs(1200))
    claim = await store.claim(1200, ALL)
    outcomes = [(failed if number % 2 else completed)(claim.fence, job) for number, job in enumerate(claim.jobs)]
    assert await store.finish(outcomes) == []
    assert await store.get(ids) == [None] * 1200
    assert store.backlog().count == 0
    assert await records.count() == 1200
    assert await records.get(ids) == {outcome.job.spec.id: outcome.record for outcome in outcomes}
    assert await listed(records) == [outcome.record for outcome in outcomes[:-501:-1]]
    assert await store.outbox_share(10) == ()


async def test_an_outcome_that_is_refused_makes_no_record(store: RedisQueueStore, records: RedisRecordStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(3))
    claim = await store.claim(3, ALL)
    outcomes = [completed(claim.fence, job) for job in claim.jobs]
    assert await store.finish(outcomes[:1]) == []
    assert await store.finish(outcomes) == ids[:1]
    assert await store.finish(outcomes) == ids
    assert await records.count() == 3


async def test_a_job_cancelled_while_it_ran_goes_by_the_outbox(
    store: RedisQueueStore, records: RedisRecordStore, producer: Producer
) -> None:
    ids = await add(store, *producer.specs(2))
    claim = await store.claim(2, ALL)
    await store.cancel(ids[:1])
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    assert store.backlog().count == 1
    await move_outbox(store, records)
    assert {record.job.spec.id: record.state for record in await listed(records)} == {
        ids[0]: JobState.CANCELLED, ids[1]: JobState.COMPLETED,
    }  # fmt: skip
    assert await store.get(ids) == [None] * 2


async def test_a_second_run_replaces_the_record_and_is_the_newest(
    store: RedisQueueStore, records: RedisRecordStore, producer: Producer
) -> None:
    ids = await add(store, *producer.specs(5))
    await run_all(store)
    former = (await records.get(ids[:1]))[ids[0]]
    assert await store.requeue([former]) == [True]
    await run_all(store)
    found = await listed(records)
    assert [record.job.spec.id for record in found] == [ids[0], *ids[:0:-1]]
    assert found[0].job.run == 2
    assert await records.count() == 5
    assert await store.requeue([former]) == [False], "a later run has finished meanwhile"


async def test_the_oldest_records_make_room_whoever_wrote_them(bench: KeptBench, records: RedisRecordStore, producer: Producer) -> None:
    store = await bench.open(records_max=10, dedup_s=1.0)
    ids = await add(store, *producer.specs(16))
    for count in (7, 7, 2):
        await run_all(store, count)
        bench.pass_time(1.0)
    assert [record.job.spec.id for record in await listed(records)] == ids[:5:-1]
    await store.requeue([(await records.get(ids[6:7]))[ids[6]]])
    await run_all(store)
    bench.pass_time(1.0)
    assert [record.job.spec.id for record in await listed(records)] == [ids[6], *ids[:6:-1]]
    await add(store, *producer.specs(4))
    await run_all(store)
    assert [record.job.spec.id for record in await listed(records)][4:] == [ids[6], *ids[:10:-1]]


async def test_a_repeat_within_the_window_is_told_however_many_have_finished_since(bench: KeptBench, producer: Producer) -> None:
    store = await bench.open(records_max=5)
    spec = producer.spec()
    await add(store, spec)
    await run_all(store)
    for _ in range(20):
        bench.pass_time(DEDUP_S / 20 - 0.1)
        await store.renew({})
        await add(store, *producer.specs(3))
        await run_all(store)
    assert await store.submit([spec]) == [Submitted(spec.id, SubmitKind.EXISTED)]
    assert not (await store.claim(1, ALL)).jobs


async def test_what_a_burst_left_goes_in_steps_with_what_finishes_after_the_window(
    bench: KeptBench, records: RedisRecordStore, producer: Producer
) -> None:
    store = await bench.open(records_max=5)
    for _ in range(4):
        await add(store, *producer.specs(1000))
        await run_all(store)
    assert await records.count() == 4000
    bench.pass_time(DEDUP_S)
    await store.renew({})
    left = []
    for _ in range(5):
        await add(store, producer.spec())
        await run_all(store)
        left.append(await records.count())
    assert left == [4001 - 1002, 4002 - 2004, 4003 - 3006, 5, 5]


async def test_records_are_pruned_by_the_time_they_were_finished(
    bench: KeptBench, store: RedisQueueStore, records: RedisRecordStore, producer: Producer
) -> None:
    await add(store, *producer.specs(6))
    await run_all(store, 4)
    bench.pass_time(30)
    await store.renew({})
    await run_all(store, 2)
    bench.pass_time(31)
    assert [await records.prune(3) for _ in range(3)] == [3, 1, 0]
    assert await records.count() == 2


async def test_a_finish_whose_answer_was_lost_gets_the_same_answer_and_one_record(
    store: RedisQueueStore, records: RedisRecordStore, producer: Producer
) -> None:
    ids = await add(store, *producer.specs(2))
    claim = await store.claim(2, ALL)
    await store.finish([completed(claim.fence, claim.jobs[0])])
    lane, sent = store._lane("finish"), []
    call = lane._once

    async def lose_the_first(one: object) -> object:
        reply = await call(one)  # type: ignore[arg-type]
        sent.append(reply)
        if len(sent) == 1:
            raise ConnectionResetError
        return reply

    lane._once = lose_the_first  # type: ignore[method-assign]
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == ids[:1]
    assert len(sent) == 2
    assert await records.count() == 2


async def test_ids_of_a_claim_in_several_queues_and_runs_all_become_records(
    store: RedisQueueStore, records: RedisRecordStore, producer: Producer
) -> None:
    await add(store, *producer.specs(3), *producer.specs(3, "other"), producer.spec(unique_key="u"))
    done = await run_all(store)
    await store.requeue(list((await records.get(done[::2])).values()))
    await add(store, *producer.specs(2))
    claim = await store.claim(100, ALL)
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    found = await records.get([*done, *ids_of(claim)])
    assert {job_id: record.job.run for job_id, record in found.items()} == {
        **dict.fromkeys(done, 1), **{job.spec.id: job.run for job in claim.jobs},
    }  # fmt: skip
    assert await records.count() == 9
