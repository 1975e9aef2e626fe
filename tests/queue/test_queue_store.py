"""What every queue store promises about jobs that are submitted and claimed.

THE suite, with its continuations beside it: test_queue_finish.py,
test_queue_outbox.py, test_queue_waiting.py, test_queue_lives.py, test_queue_views.py.
A new store is one more parameter of the `bench` fixture.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from tests.queue.making import (
    ALL,
    DEDUP_S,
    OTHER_PAYLOAD,
    PAYLOAD,
    STARVATION_S,
    Bench,
    Producer,
    add,
    archive,
    completed,
    ids_of,
    pending,
    retried,
    run_all,
)
from zjp.errors import JobConflict
from zjp.job import JobSpec, Record
from zjp.queue.store import Durability, QueueStore, SubmitKind

pytestmark = pytest.mark.covers("main-path:5")


# ── submit ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_store_names_what_its_acknowledgement_is_worth(store: QueueStore) -> None:
    assert store.level in set(Durability)


async def test_submitted_jobs_are_claimed_as_they_were_asked_for(store: QueueStore, producer: Producer) -> None:
    specs = [producer.spec(max_retries=2, tags=("a", "b")), producer.spec()]
    await add(store, *specs)
    claim = await store.claim(10, ALL)
    assert [job.spec for job in claim.jobs] == specs
    assert [(job.run, job.retries, job.crashes, job.suspicion, job.attempts) for job in claim.jobs] == [(1, 0, 0, 0, ())] * 2


async def test_repeat_of_a_waiting_job_makes_no_second_one(store: QueueStore, producer: Producer) -> None:
    specs = producer.specs(5)
    await add(store, *specs)
    assert {answer.kind for answer in await store.submit(specs)} == {SubmitKind.EXISTED}
    assert await pending(store) == 5


async def test_repeat_of_a_running_job_exists(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    await add(store, spec)
    await store.claim(1, ALL)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]


async def test_repeat_of_a_delayed_job_exists(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec(delay_ms=5000)
    await add(store, spec)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]


async def test_repeat_of_a_job_in_the_outbox_exists(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    await add(store, spec)
    await run_all(store)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]
    assert await pending(store) == 0


async def test_repeat_of_a_job_that_is_in_the_records_exists(bench: Bench, store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    await add(store, spec)
    await run_all(store)
    await archive(bench, store)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]
    assert await pending(store) == 0


async def test_repeat_is_recognised_by_the_next_life(bench: Bench, store: QueueStore, producer: Producer) -> None:
    waiting, finished = producer.specs(2)
    await add(store, finished)
    await run_all(store)
    await archive(bench, store)
    await add(store, waiting)
    store = await bench.crash()
    assert [answer.kind for answer in await store.submit([waiting, finished])] == [SubmitKind.EXISTED] * 2


async def test_batch_that_was_never_stored_is_stored_when_it_comes_late(store: QueueStore, producer: Producer) -> None:
    late, early = producer.specs(3), producer.specs(3)
    await add(store, *early)
    await add(store, *late)
    assert ids_of(await store.claim(10, ALL)) == [spec.id for spec in (*early, *late)]


async def test_partly_stored_ids_are_told_apart(store: QueueStore, producer: Producer) -> None:
    first, second, third = producer.specs(3)
    await add(store, first, third)
    answers = await store.submit([first, second, third])
    assert [answer.kind for answer in answers] == [SubmitKind.EXISTED, SubmitKind.CREATED, SubmitKind.EXISTED]


@pytest.mark.parametrize("change", [{"payload": OTHER_PAYLOAD}, {"type": "other"}, {"queue": "other"}])
async def test_same_id_with_other_content_is_a_conflict_and_stores_nothing(
    store: QueueStore, producer: Producer, change: dict[str, object]
) -> None:
    spec, new = producer.specs(2)
    await add(store, spec)
    other = JobSpec(**({"id": spec.id, "type": spec.type, "payload": spec.payload} | change))  # type: ignore[arg-type]
    with pytest.raises(JobConflict, match="exists with another type, queue or payload"):
        await store.submit([new, other])
    assert await pending(store) == 1


async def test_same_id_with_other_content_is_a_conflict_after_it_has_finished(bench: Bench, store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    await add(store, spec)
    await run_all(store)
    await archive(bench, store)
    with pytest.raises(JobConflict):
        await store.submit([JobSpec(spec.id, spec.type, OTHER_PAYLOAD)])


async def test_same_id_twice_in_one_request_is_one_job(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    assert [answer.kind for answer in await store.submit([spec, spec])] == [SubmitKind.CREATED, SubmitKind.EXISTED]
    assert await pending(store) == 1


async def test_same_id_twice_in_one_request_with_other_content_is_a_conflict(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    with pytest.raises(JobConflict):
        await store.submit([spec, JobSpec(spec.id, spec.type, OTHER_PAYLOAD)])
    assert await pending(store) == 0


async def test_same_request_sent_at_once_many_times_makes_each_job_once(store: QueueStore, producer: Producer) -> None:
    specs = producer.specs(20)
    answers = await asyncio.gather(*(store.submit(specs[at:] + specs[:at]) for at in range(10)))
    kinds = Counter(answer.kind for batch in answers for answer in batch)
    assert kinds == {SubmitKind.CREATED: 20, SubmitKind.EXISTED: 180}
    assert len((await store.claim(1000, ALL)).jobs) == 20


async def test_nobody_waits_while_an_id_that_came_late_is_looked_for_in_records_that_are_away(bench: Bench, producer: Producer) -> None:
    is_asked, is_back = asyncio.Event(), asyncio.Event()

    async def finished(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        is_asked.set()
        await is_back.wait()
        return {}

    store = await bench.open(finished=finished)
    late, next_one = producer.specs(2)
    await store.submit([next_one])
    looking = asyncio.ensure_future(store.submit([late]))
    await is_asked.wait()
    async with asyncio.timeout(10):
        for other in (Producer(), Producer(), producer):
            assert [answer.kind for answer in await store.submit(other.specs(2))] == [SubmitKind.CREATED] * 2
    assert not looking.done()
    is_back.set()
    assert [answer.kind for answer in await looking] == [SubmitKind.CREATED]


async def test_repeats_beside_workers_and_the_records_make_each_job_once(bench: Bench, store: QueueStore, producer: Producer) -> None:
    specs = producer.specs(60)
    await add(store, *specs)
    is_over = False

    async def repeat() -> None:
        while not is_over:
            assert {answer.kind for answer in await store.submit(specs)} == {SubmitKind.EXISTED}

    async def work() -> None:
        nonlocal is_over
        ran: list[bytes] = []
        while len(ran) < len(specs):
            ran += await run_all(store, 2)
            if len(ran) % 3 == 0:
                await archive(bench, store)
        is_over = True
        assert ran == [spec.id for spec in specs]

    await asyncio.gather(repeat(), work())
    assert await pending(store) == 0


async def test_id_made_by_the_caller_is_recognised(bench: Bench, store: QueueStore) -> None:
    specs = [JobSpec(bytes([at]) * 16, "noop", b"\x80") for at in (9, 3, 200)]
    await add(store, *specs)
    await run_all(store)
    await archive(bench, store)
    assert {answer.kind for answer in await store.submit(specs)} == {SubmitKind.EXISTED}


async def test_id_made_by_the_caller_is_known_for_a_day_without_the_records(store: QueueStore, bench: Bench, producer: Producer) -> None:
    spec = producer.spec(caller_id=True)
    await add(store, spec)
    await run_all(store)
    await store.outbox_remove(await store.outbox(10))
    bench.pass_time(23 * 3600)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]
    bench.pass_time(2 * 3600)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.CREATED]


@pytest.mark.covers("settings:DEDUP_WINDOW")
async def test_repeat_of_a_live_job_after_the_window_makes_no_second_one(bench: Bench, store: QueueStore, producer: Producer) -> None:
    ready, delayed = producer.spec(), producer.spec(delay_ms=10 * 3600 * 1000)
    await add(store, ready, delayed)
    for _ in range(3):
        bench.pass_time(DEDUP_S)
        await store.tend(100)
    assert {answer.kind for answer in await store.submit([ready, delayed])} == {SubmitKind.EXISTED}


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_idempotency_key_names_the_first_job(store: QueueStore, producer: Producer) -> None:
    first, second = producer.spec(idempotency_key="k"), producer.spec(idempotency_key="k")
    await add(store, first)
    (answer,) = await store.submit([second])
    assert (answer.kind, answer.id) == (SubmitKind.EXISTED, first.id)
    assert await pending(store) == 1


async def test_idempotency_key_is_not_released_when_the_job_finishes(bench: Bench, store: QueueStore, producer: Producer) -> None:
    first, second = producer.spec(idempotency_key="k"), producer.spec(idempotency_key="k")
    await add(store, first)
    await run_all(store)
    await archive(bench, store)
    store = await bench.open()
    (answer,) = await store.submit([second])
    assert (answer.kind, answer.id) == (SubmitKind.EXISTED, first.id)


async def test_idempotency_key_is_free_again_after_a_day(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec(idempotency_key="k"))
    bench.pass_time(24 * 3600 + 1)
    await add(store, producer.spec(idempotency_key="k"))


async def test_idempotency_key_with_other_content_is_a_conflict_and_stores_nothing(store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec(idempotency_key="k"))
    with pytest.raises(JobConflict, match="'k' belongs to job"):
        await store.submit([producer.spec(), producer.spec(payload=OTHER_PAYLOAD, idempotency_key="k")])
    assert await pending(store) == 1


async def test_same_idempotency_key_twice_in_one_request_is_one_job(store: QueueStore, producer: Producer) -> None:
    first, second = producer.spec(idempotency_key="k"), producer.spec(idempotency_key="k")
    answers = await store.submit([first, second])
    assert [(answer.kind, answer.id) for answer in answers] == [(SubmitKind.CREATED, first.id), (SubmitKind.EXISTED, first.id)]


async def test_idempotency_key_stands_for_the_holder_of_the_unique_key_that_answered_it(
    bench: Bench, store: QueueStore, producer: Producer
) -> None:
    def request(payload: bytes = PAYLOAD) -> JobSpec:
        return producer.spec(payload=payload, unique_key="u", idempotency_key="k")

    (holder,) = await add(store, producer.spec(payload=OTHER_PAYLOAD, unique_key="u"))
    answers = await store.submit([request(), request()])
    assert [(answer.kind, answer.id) for answer in answers] == [(SubmitKind.UNIQUE, holder), (SubmitKind.EXISTED, holder)]
    await run_all(store)
    await archive(bench, store)
    store = await bench.open()
    (answer,) = await store.submit([request()])
    assert (answer.kind, answer.id) == (SubmitKind.EXISTED, holder)
    with pytest.raises(JobConflict, match="'k' belongs to job"):  # the content is that of the request, not of the job that answered it
        await store.submit([request(OTHER_PAYLOAD)])
    bench.pass_time(24 * 3600 + 1)
    await add(store, request())


async def test_callers_id_stands_for_the_holder_of_the_unique_key_that_answered_it(store: QueueStore, producer: Producer) -> None:
    (holder,) = await add(store, producer.spec(unique_key="u"))
    spec = producer.spec(unique_key="u", caller_id=True)
    assert [(answer.kind, answer.id) for answer in await store.submit([spec])] == [(SubmitKind.UNIQUE, holder)]
    await store.cancel([holder])
    assert [(answer.kind, answer.id) for answer in await store.submit([spec])] == [(SubmitKind.EXISTED, holder)]


async def test_unique_key_is_held_until_the_job_finishes(store: QueueStore, producer: Producer) -> None:
    holder, other = producer.spec(unique_key="u"), producer.spec(unique_key="u")
    await add(store, holder)
    (answer,) = await store.submit([other])
    assert (answer.kind, answer.id) == (SubmitKind.UNIQUE, holder.id)
    claim = await store.claim(10, ALL)
    assert ids_of(claim) == [holder.id]
    assert [answer.kind for answer in await store.submit([other])] == [SubmitKind.UNIQUE]
    await store.finish([completed(claim.fence, claim.jobs[0])])
    await add(store, other)


async def test_unique_key_is_held_over_a_retry(store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec(unique_key="u"))
    claim = await store.claim(1, ALL)
    await store.finish([retried(claim.fence, claim.jobs[0], 1000)])
    assert [answer.kind for answer in await store.submit([producer.spec(unique_key="u")])] == [SubmitKind.UNIQUE]


async def test_unique_key_is_free_after_cancel_and_after_purge(store: QueueStore, producer: Producer) -> None:
    (first,) = await add(store, producer.spec(unique_key="u"))
    await store.cancel([first])
    await add(store, producer.spec(unique_key="u"))
    await store.purge("default")
    await add(store, producer.spec(unique_key="u"))


async def test_unique_key_of_a_later_holder_survives_the_end_of_the_former(store: QueueStore, producer: Producer) -> None:
    (first,) = await add(store, producer.spec(unique_key="u"))
    await store.cancel([first])
    await add(store, producer.spec(unique_key="u"))
    await store.cancel([first])
    assert [answer.kind for answer in await store.submit([producer.spec(unique_key="u")])] == [SubmitKind.UNIQUE]


# ── claim ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_fences_rise_with_every_claim(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(10))
    fences = [(await store.claim(2, ALL)).fence for _ in range(5)]
    assert fences == sorted(set(fences))
    assert fences[0] > 0
    assert fences[-1] < 1 << 53


async def test_claim_takes_no_more_than_asked_and_nothing_twice(store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(10))
    claims = [await store.claim(4, ALL) for _ in range(4)]
    assert [len(claim.jobs) for claim in claims] == [4, 4, 2, 0]
    assert [job_id for claim in claims for job_id in ids_of(claim)] == ids


async def test_higher_priority_first_then_first_in_first_out(store: QueueStore, producer: Producer) -> None:
    low, high, normal = producer.specs(3, priority=1), producer.specs(3, priority=10), producer.specs(3, priority=5)
    await add(store, *low, *high)
    await add(store, *normal)
    assert ids_of(await store.claim(10, ALL)) == [spec.id for spec in (*high, *normal, *low)]


async def test_claim_of_nothing_takes_nothing(store: QueueStore, producer: Producer) -> None:
    """Nodes without credit ask so for what they may have claimed; here every answer came."""
    ids = await add(store, *producer.specs(2))
    assert ids_of(await store.claim(0, ALL)) == []
    assert ids_of(await store.claim(1, ALL)) == ids[:1]
    assert ids_of(await store.claim(0, ALL)) == []
    assert ids_of(await store.claim(2, ALL)) == ids[1:]


async def test_claim_serves_only_the_queues_it_names(store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec("a"), producer.spec("b"))
    claim = await store.claim(10, {"b": 1, "c": 1})
    assert [job.spec.queue for job in claim.jobs] == ["b"]
    assert not (await store.claim(10, {"b": 1})).jobs


async def test_queues_share_claims_by_their_weights(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(100, "critical"), *producer.specs(100, "default"), *producer.specs(100, "low"))
    weights = {"critical": 6, "default": 3, "low": 1}
    in_one = Counter(job.spec.queue for job in (await store.claim(50, weights)).jobs)
    assert in_one == {"critical": 30, "default": 15, "low": 5}
    one_by_one = Counter([(await store.claim(1, weights)).jobs[0].spec.queue for _ in range(20)])
    assert one_by_one == {"critical": 12, "default": 6, "low": 2}


async def test_star_serves_each_queue_that_is_not_named(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(50, "named"), *producer.specs(50, "x"), *producer.specs(50, "y"))
    found = Counter(job.spec.queue for job in (await store.claim(40, {"named": 2, "*": 1})).jobs)
    assert found == {"named": 20, "x": 10, "y": 10}


async def test_an_empty_queue_leaves_its_share_to_the_others(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(3, "a"), *producer.specs(50, "b"))
    found = Counter(job.spec.queue for job in (await store.claim(40, {"a": 10, "b": 1})).jobs)
    assert found == {"a": 3, "b": 37}


@pytest.mark.covers("settings:STARVATION_LIMIT")
async def test_level_that_starves_gets_one_job_in_sixteen(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(200, priority=10), *producer.specs(5, priority=1))
    assert {job.spec.priority for job in (await store.claim(32, ALL)).jobs} == {10}
    for _ in range(int(STARVATION_S)):
        bench.pass_time(1.01)
        await store.renew({})
    priorities = [job.spec.priority for _ in range(16) for job in (await store.claim(1, ALL)).jobs]
    assert Counter(priorities) == {10: 15, 1: 1}


async def test_level_that_was_served_just_now_does_not_starve(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(100, priority=10), *producer.specs(5, priority=1))
    for _ in range(int(STARVATION_S)):
        bench.pass_time(0.9)
        await store.renew({})
    assert {job.spec.priority for job in (await store.claim(50, ALL)).jobs} == {10}
