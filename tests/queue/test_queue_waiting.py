"""What every queue store promises about jobs that wait: delays, cancel, promote, pause, purge, and running finished jobs again."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.making import (
    ALL,
    START_MS,
    Bench,
    Producer,
    add,
    archive,
    completed,
    failed,
    ids_of,
    pending,
    released,
    retried,
    run_all,
    snoozed,
)
from zjp.job import JobState, Record
from zjp.queue.redis import store as redis_store
from zjp.queue.reruns import Reruns
from zjp.queue.store import CancelKind, Live, Overtaken, QueueStore

pytestmark = pytest.mark.covers("main-path:5")


async def state_of(store: QueueStore, job_id: bytes) -> JobState | None:
    (found,) = await store.get([job_id])
    return None if found is None else found.state


# ── delay ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_delayed_job_is_never_early(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, producer.spec(delay_ms=1000))
    claim = await store.claim(1, ALL)
    assert (len(claim.jobs), claim.next_due_s) == (0, 1.0)
    bench.pass_time(0.999)
    await store.tend(100)
    assert not (await store.claim(1, ALL)).jobs
    bench.pass_time(0.001)
    assert ids_of(await store.claim(1, ALL)) == [job_id]


async def test_run_at_in_the_past_means_now(store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, producer.spec(run_at_ms=START_MS - 1000))
    assert ids_of(await store.claim(1, ALL)) == [job_id]


async def test_run_at_in_the_future_waits(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, producer.spec(run_at_ms=START_MS + 2000))
    assert (await store.tend(10)).next_due_s == 2.0
    bench.pass_time(2.0)
    assert ids_of(await store.claim(1, ALL)) == [job_id]


async def test_due_jobs_go_to_the_back_in_the_order_of_their_times(bench: Bench, store: QueueStore, producer: Producer) -> None:
    late, early = producer.spec(delay_ms=900), producer.spec(delay_ms=300)
    await add(store, late, early)
    now = producer.spec()
    await add(store, now)
    bench.pass_time(1.0)
    await store.tend(10)
    assert ids_of(await store.claim(10, ALL)) == [now.id, early.id, late.id]


async def test_tend_promotes_a_bounded_number_and_says_when_the_next_is_due(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *(producer.spec(delay_ms=100) for _ in range(5)), producer.spec(delay_ms=3000))
    bench.pass_time(1.0)
    first = await store.tend(3)
    assert (first.promoted, first.next_due_s) == (3, 0.0)
    second = await store.tend(3)
    assert (second.promoted, second.next_due_s) == (2, 2.0)
    assert await pending(store) == 5


async def test_next_due_is_none_when_nothing_is_delayed(bench: Bench, store: QueueStore, producer: Producer) -> None:
    assert (await store.tend(10)).next_due_s is None
    (job_id,) = await add(store, producer.spec(delay_ms=500))
    await store.cancel([job_id])
    bench.pass_time(1.0)
    await store.tend(10)
    assert (await store.tend(10)).next_due_s is None


async def test_delayed_jobs_survive_a_crash(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, producer.spec(delay_ms=1000))
    store = await bench.crash()
    assert await state_of(store, job_id) is JobState.SCHEDULED
    assert (await store.claim(1, ALL)).next_due_s == 1.0
    bench.pass_time(1.0)
    assert ids_of(await store.claim(1, ALL)) == [job_id]


async def test_due_job_keeps_its_priority(bench: Bench, store: QueueStore, producer: Producer) -> None:
    urgent = producer.spec(priority=10, delay_ms=100)
    await add(store, urgent, *producer.specs(3))
    bench.pass_time(0.2)
    await store.tend(10)
    assert ids_of(await store.claim(1, ALL)) == [urgent.id]


# ── cancel ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_cancelled_waiting_job_never_starts(store: QueueStore, producer: Producer) -> None:
    first, second, third = await add(store, *producer.specs(3))
    assert await store.cancel([second]) == [CancelKind.CANCELLED]
    assert ids_of(await store.claim(10, ALL)) == [first, third]
    assert await state_of(store, second) is JobState.CANCELLED
    assert [item.record.job.spec.id for item in await store.outbox(10)] == [second]


async def test_cancelled_delayed_job_never_starts(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, producer.spec(delay_ms=1000))
    assert await store.cancel([job_id]) == [CancelKind.CANCELLED]
    bench.pass_time(2.0)
    await store.tend(10)
    assert not (await store.claim(10, ALL)).jobs
    assert await state_of(store, job_id) is JobState.CANCELLED


async def test_cancelled_retrying_job_ends(store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec())
    claim = await store.claim(1, ALL)
    await store.finish([retried(claim.fence, claim.jobs[0], 1000)])
    assert await store.cancel(ids_of(claim)) == [CancelKind.CANCELLED]


@pytest.mark.parametrize("outcome", [completed, failed, released, lambda f, j: retried(f, j, 10), lambda f, j: snoozed(f, j, 10)])
async def test_claimed_job_that_is_cancelled_becomes_cancelled_whatever_its_outcome(  # type: ignore[no-untyped-def]
    store: QueueStore, producer: Producer, outcome
) -> None:
    await add(store, producer.spec())
    claim = await store.claim(1, ALL)
    (job,) = claim.jobs
    assert await store.cancel([job.spec.id]) == [CancelKind.CANCELLING]
    assert await state_of(store, job.spec.id) is JobState.CANCELLING
    assert list((await store.renew({})).cancelling) == [job.spec.id]
    assert await store.finish([outcome(claim.fence, job)]) == []
    assert await state_of(store, job.spec.id) is JobState.CANCELLED
    assert list((await store.renew({})).cancelling) == []
    assert not (await store.claim(1, ALL)).jobs


async def test_cancel_says_what_it_found(bench: Bench, store: QueueStore, producer: Producer) -> None:
    outbox, records = await add(store, *producer.specs(2))
    await run_all(store, 1)
    await archive(bench, store)
    bench.finished[records] = bench.finished.pop(outbox)
    await run_all(store, 1)
    bench.finished = {records: bench.finished[records]}
    (waiting,) = await add(store, producer.spec())
    asked = [waiting, records, producer.id(), waiting]
    expected = [CancelKind.CANCELLED, CancelKind.FINISHED, CancelKind.UNKNOWN, CancelKind.CANCELLED]
    assert await store.cancel(asked) == expected
    assert await store.cancel([waiting]) == [CancelKind.FINISHED]


async def test_cancelling_survives_a_crash_and_ends_the_job(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec())
    claim = await store.claim(1, ALL)
    await store.cancel(ids_of(claim))
    store = await bench.crash()
    assert await state_of(store, ids_of(claim)[0]) is JobState.CANCELLED
    assert not (await store.claim(1, ALL)).jobs


async def test_cancel_beside_claims_gives_each_job_to_one_of_them(store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(200))

    async def claim_all() -> set[bytes]:
        got: set[bytes] = set()
        while claim := ids_of(await store.claim(7, ALL)):
            got.update(claim)
            await asyncio.sleep(0)
        return got

    verdicts, claimed = await asyncio.gather(store.cancel(ids[::2]), claim_all())
    cancelled = {job_id for job_id, verdict in zip(ids[::2], verdicts, strict=True) if verdict is CancelKind.CANCELLED}
    assert claimed | cancelled == set(ids)
    assert not claimed & cancelled
    assert set(verdicts) <= {CancelKind.CANCELLED, CancelKind.CANCELLING}


async def test_same_job_cancelled_many_times_at_once_ends_once(store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(3))
    await asyncio.gather(*(store.cancel(ids) for _ in range(5)))
    assert store.backlog().count == 3
    assert await pending(store) == 0


# ── promote ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_promoted_job_is_ready_now(store: QueueStore, producer: Producer) -> None:
    delayed, ready = await add(store, producer.spec(delay_ms=100_000), producer.spec())
    assert await store.promote([delayed, ready, producer.id(), delayed]) == [True, False, False, False]
    assert ids_of(await store.claim(10, ALL)) == [ready, delayed]


async def test_promoted_retry_keeps_its_counts(store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec())
    claim = await store.claim(1, ALL)
    await store.finish([retried(claim.fence, claim.jobs[0], 50_000)])
    assert await store.promote(ids_of(claim)) == [True]
    assert [job.retries for job in (await store.claim(1, ALL)).jobs] == [1]


# ── pause and purge ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_paused_queue_takes_jobs_and_gives_none(store: QueueStore, producer: Producer) -> None:
    await store.pause("a")
    await add(store, producer.spec("a"), producer.spec("b"))
    assert [job.spec.queue for job in (await store.claim(10, ALL)).jobs] == ["b"]
    assert {count.queue: count.paused for count in await store.counts()} == {"a": True, "b": False}
    await store.resume("a")
    assert [job.spec.queue for job in (await store.claim(10, ALL)).jobs] == ["a"]


async def test_pause_survives_a_crash(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec())
    await store.pause("default")
    store = await bench.crash()
    assert not (await store.claim(10, ALL)).jobs
    await store.resume("default")
    assert len((await store.claim(10, ALL)).jobs) == 1


async def test_version_rises_with_pause_resume_and_purge(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec())
    versions = [(await store.renew({})).version]
    for change in (store.pause, store.resume, store.purge):
        await change("default")
        versions.append((await store.renew({})).version)
        assert (await store.claim(1, ALL)).version == versions[-1]
    store = await bench.crash()
    versions.append((await store.renew({})).version)
    assert versions == sorted(set(versions))


async def test_purge_cancels_what_waits_and_leaves_the_rest(store: QueueStore, producer: Producer) -> None:
    running = await add(store, *producer.specs(2, "a"))
    claim = await store.claim(2, ALL)
    waiting = await add(store, *producer.specs(3, "a", 1), *producer.specs(3, "a", 9), producer.spec("a", delay_ms=1000))
    (other,) = await add(store, producer.spec("b"))
    assert await store.purge("a") == 7
    assert [await state_of(store, job_id) for job_id in waiting] == [JobState.CANCELLED] * 7
    assert [await state_of(store, job_id) for job_id in running] == [JobState.RUNNING] * 2
    assert ids_of(await store.claim(10, ALL)) == [other]
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    assert await store.purge("a") == 0
    assert await store.purge("never seen") == 0


async def test_jobs_handed_back_after_a_purge_run_again(store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(6))
    claim = await store.claim(3, ALL)
    assert await store.purge("default") == 3
    await store.finish([released(claim.fence, job) for job in claim.jobs])
    new = await add(store, *producer.specs(2))
    assert ids_of(await store.claim(10, ALL)) == [*ids[:3], *new]


async def test_purge_of_many_beside_submits_takes_only_what_was_there(bench: Bench, producer: Producer) -> None:
    store = await bench.open(outbox_count_max=20_000)
    before = await add(store, *producer.specs(5000))
    count, after = await asyncio.gather(store.purge("default"), add(store, *producer.specs(100)))
    claimed = ids_of(await store.claim(10_000, ALL))
    assert count + len(claimed) == len(before) + len(after)
    assert set(claimed) <= set(after)


async def full_of_one(bench: Bench, producer: Producer) -> tuple[QueueStore, bytes]:
    """A store whose outbox holds the one record that it may. Its queue `a` is empty, in `c` one job runs."""
    store = await bench.open(outbox_count_max=1)
    ids = await add(store, producer.spec("a"), producer.spec("b"), producer.spec("b", delay_ms=60_000), producer.spec("c"))
    assert ids_of(await store.claim(1, {"c": 1})) == ids[3:]
    assert await store.cancel(ids[:1]) == [CancelKind.CANCELLED]
    return store, ids[0]


@pytest.mark.parametrize("queue", ["a", "c"])
async def test_purge_of_a_queue_where_nothing_waits_asks_for_no_room_in_the_outbox(bench: Bench, producer: Producer, queue: str) -> None:
    store, _ = await full_of_one(bench, producer)
    async with asyncio.timeout(30):
        assert await store.purge(queue) == 0
    assert store.backlog().count == 1


async def test_purge_at_a_full_outbox_ends_nothing_and_all_when_there_is_room(bench: Bench, producer: Producer) -> None:
    store, cancelled = await full_of_one(bench, producer)
    purging = asyncio.create_task(store.purge("b"))
    await store.counts()
    assert store.backlog().count == 1
    assert [item.record.job.spec.id for item in await store.outbox(10)] == [cancelled]
    async with asyncio.timeout(30):
        while not purging.done():
            await archive(bench, store)
            await asyncio.sleep(0)
    assert await purging == 2
    assert {count.queue: (count.pending, count.scheduled) for count in await store.counts()}["b"] == (0, 0)


@pytest.mark.parametrize("count_max", [1, 2, 10, 100])
async def test_purge_of_more_than_the_outbox_holds_leaves_the_other_queues_their_half_of_it(
    bench: Bench, producer: Producer, count_max: int
) -> None:
    """Fails on a purge that goes on to the bound, at which no queue takes a job or gives one."""
    store = await bench.open(outbox_count_max=count_max)
    some = 5 + count_max
    delayed = [producer.spec("b", delay_ms=5000) for _ in range(some)]
    ids = await add(store, *producer.specs(some, "b"), *producer.specs(2, "b", 9), *delayed)
    await add(store, *producer.specs(300, "a"))
    await store.cancel(ids[5:6])
    purging = asyncio.create_task(store.purge("b"))
    were_full = 0
    async with asyncio.timeout(60):
        while not purging.done():
            assert store.backlog().count <= max(1, count_max // 2)
            if count_max > 1:
                await add(store, producer.spec("a"))
                assert len((await store.claim(1, {"a": 1})).jobs) == 1
            were_full += store.backlog().count == max(1, count_max // 2)
            await archive(bench, store)
            await asyncio.sleep(0)
    assert await purging == 2 * some + 1
    assert were_full
    assert {count.queue: (count.pending, count.scheduled) for count in await store.counts()}["b"] == (0, 0)


async def test_purge_leaves_the_other_queues_half_of_the_outboxs_bytes(bench: Bench, producer: Producer) -> None:
    """Fails on one that counts jobs only, and asks for the bytes before each thousand of them."""
    store = await bench.open(outbox_bytes_max=100_000)
    large = b"\xc5" + (9_997).to_bytes(2, "big") + bytes(9_997)
    await add(store, *[producer.spec("b", payload=large, **options) for options in [{}, {"delay_ms": 5000}] for _ in range(12)])
    purging = asyncio.create_task(store.purge("b"))
    async with asyncio.timeout(60):
        while not purging.done():
            assert store.backlog().data_bytes < 50_000 + 11_000
            await add(store, producer.spec("a"))
            await archive(bench, store)
            await asyncio.sleep(0)
    assert await purging == 24


async def test_purge_leaves_no_delayed_job_out_while_others_become_due(bench: Bench, producer: Producer) -> None:
    """Fails on one that goes on at a rank: a thousand before it are gone when it may."""
    store = await bench.open(outbox_count_max=1)
    (cancelled,) = await add(store, producer.spec())
    for count in (1000, 500):
        await add(store, *(producer.spec("other", delay_ms=1000) for _ in range(count)))
    mine = await add(store, *(producer.spec("q", delay_ms=60_000) for _ in range(5)))
    await store.cancel([cancelled])
    purging = asyncio.create_task(store.purge("q"))
    for _ in range(5):  # it comes as far as its first job, and waits for room
        await store.counts()
    bench.pass_time(1.5)
    assert (await store.tend(1000)).promoted == 1000
    async with asyncio.timeout(30):
        while not purging.done():
            await archive(bench, store)
            await asyncio.sleep(0)
    assert await purging == 5
    await archive(bench, store)
    assert [bench.finished[job_id].state for job_id in mine] == [JobState.CANCELLED] * 5
    assert {count.queue: count.scheduled for count in await store.counts()}["other"] == 500


# ── run again ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def finished_record(store: QueueStore, producer: Producer, **options: object) -> Record:
    await add(store, producer.spec(**options))
    claim = await store.claim(1, ALL)
    (job,) = claim.jobs
    job.retries, job.crashes = 3, 1
    await store.finish([failed(claim.fence, job)])
    (record,) = await store.get([job.spec.id])
    assert isinstance(record, Record)
    return record


async def test_requeued_job_runs_again_as_its_next_run(bench: Bench, store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer)
    await archive(bench, store)
    assert await store.requeue([record]) == [True]
    assert await state_of(store, record.job.spec.id) is JobState.PENDING
    (job,) = (await store.claim(1, ALL)).jobs
    assert (job.spec.id, job.run, job.retries, job.crashes) == (record.job.spec.id, 2, 0, 0)


async def test_requeued_job_is_live_though_the_outbox_still_has_its_former_run(bench: Bench, store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer)
    await store.requeue([record])
    (live,) = await store.get([record.job.spec.id])
    assert isinstance(live, Live)
    store = await bench.crash()
    (live,) = await store.get([record.job.spec.id])
    assert isinstance(live, Live)
    assert live.job.run == 2
    await run_all(store)
    (again,) = await store.get([record.job.spec.id])
    assert isinstance(again, Record)
    assert again.job.run == 2
    assert [item.record.job.run for item in await store.outbox(10)][-1] == 2


async def test_removing_a_former_run_leaves_the_later_one(store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer)
    former = await store.outbox(10)
    await store.requeue([record])
    await run_all(store)
    await store.outbox_remove(former)
    assert [item.record.job.run for item in await store.outbox(10)] == [2]


async def test_live_job_is_not_requeued(store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer)
    assert await store.requeue([record, record]) == [True, False]
    assert await store.requeue([record]) == [False]
    claim = await store.claim(10, ALL)
    assert len(claim.jobs) == 1
    assert await store.requeue([record]) == [False]
    await store.finish([retried(claim.fence, claim.jobs[0], 1000)])
    assert await store.requeue([record]) == [False]


async def test_former_run_is_not_requeued_when_a_later_one_finished(store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer)
    await store.requeue([record])
    await run_all(store)
    assert await store.requeue([record]) == [False]


async def test_former_run_is_not_requeued_when_a_later_one_has_left_for_the_records_since(
    bench: Bench, store: QueueStore, producer: Producer
) -> None:
    """Nothing but the mark tells the store of the later run. Who looks again after that finds it."""
    record = await finished_record(store, producer)
    await archive(bench, store)
    since = (await store.look([]))[0]
    assert await store.requeue([record], since) == [True]
    await run_all(store)
    await archive(bench, store)
    assert await store.get([record.job.spec.id]) == [None]
    assert await store.requeue([record], since) == [False]
    later = bench.finished[record.job.spec.id]
    assert await store.requeue([later], (await store.look([]))[0]) == [True]


async def test_requeue_that_too_many_others_have_overtaken_is_not_carried_out(
    bench: Bench, store: QueueStore, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "RERUNS_KEPT", 3)
    if hasattr(store, "_state"):
        store._state.reruns = Reruns(3)
    records = [await finished_record(store, producer) for _ in range(5)]
    await archive(bench, store)
    begun, *marks = (await store.look([]))[0], *[(await store.requeue([one]), (await store.look([]))[0])[1] for one in records[:4]]
    assert marks == sorted({*marks, begun})[1:]
    await run_all(store)
    await archive(bench, store)
    with pytest.raises(Overtaken):
        await store.requeue(records[:1] + records[4:], begun)
    assert await store.requeue(records[2:], marks[1]) == [False, False, True]
    assert await pending(store) == 1


async def test_requeue_respects_a_unique_key_and_takes_it(store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer, unique_key="u")
    (holder,) = await add(store, producer.spec(unique_key="u"))
    assert await store.requeue([record]) == [False]
    await store.cancel([holder])
    assert await store.requeue([record]) == [True]
    answers = await store.submit([producer.spec(unique_key="u")])
    assert [answer.id for answer in answers] == [record.job.spec.id]


async def test_repeat_of_a_requeued_job_exists(bench: Bench, store: QueueStore, producer: Producer) -> None:
    record = await finished_record(store, producer)
    await archive(bench, store)
    await store.requeue([record])
    (answer,) = await store.submit([record.job.spec])
    assert answer.kind.value == "existed"
    assert await pending(store) == 1
