"""What every queue store promises when leases end, nodes die and lives follow one another."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.making import (
    ALL,
    LEASE_S,
    NODE,
    START_MS,
    Bench,
    Producer,
    add,
    completed,
    ids_of,
    pending,
    released,
    run_all,
)
from zjp.job import Attempt, JobState, Record
from zjp.queue.store import CancelKind, Live, LostClaims, QueueStore

pytestmark = pytest.mark.covers("main-path:5", "settings:LEASE_DURATION")


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_outcome_of_a_zombie_is_refused(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(3))
    claim = await store.claim(2, ALL)
    await bench.lose_lease(store)
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == ids_of(claim)
    assert not (await store.renew({})).alive
    again = await store.claim(3, ALL)
    assert ids_of(again)[:2] == ids_of(claim)
    assert again.fence > claim.fence
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == ids_of(claim)
    assert await store.finish([completed(again.fence, job) for job in again.jobs]) == []


async def test_lost_jobs_go_back_unspent_with_the_loss_among_their_attempts(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(1))
    claim = await store.claim(1, ALL)
    await bench.lose_lease(store)
    await store.renew({})
    (job,) = (await store.claim(1, ALL)).jobs
    assert (job.retries, job.crashes, job.suspicion) == (0, 0, 0)
    assert [(attempt.fence, attempt.node, attempt.outcome) for attempt in job.attempts] == [(claim.fence, NODE, "lost")]


async def test_renewed_lease_is_kept(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(1))
    claim = await store.claim(1, ALL)
    for _ in range(int(3 * LEASE_S)):
        bench.pass_time(1.0)
        assert (await store.renew({})).alive
        assert (await store.tend(100)).reaped == 0
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []


async def test_lost_lease_is_told_once_and_claims_wait_for_it(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(2))
    await store.claim(1, ALL)
    await bench.lose_lease(store)
    assert not (await store.claim(2, ALL)).jobs
    assert not (await store.renew({})).alive
    assert (await store.renew({})).alive
    assert len((await store.claim(2, ALL)).jobs) == 2


async def test_tend_reaps_a_bounded_number(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(5))
    await store.claim(5, ALL)
    for _ in range(int(LEASE_S / 2)):
        bench.pass_time(2.0)
        assert (await store.tend(2)).reaped == 0
    bench.pass_time(2.0)
    assert [(await store.tend(2)).reaped for _ in range(4)] == [2, 2, 1, 0]
    assert await pending(store) == 5


async def test_pause_of_the_whole_process_costs_nobody_its_lease(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(1))
    claim = await store.claim(1, ALL)
    bench.pass_time(10 * LEASE_S)
    assert (await store.tend(100)).reaped == 0
    assert (await store.renew({})).alive
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []


async def test_cancelled_job_of_a_lost_lease_ends_and_does_not_come_back(bench: Bench, store: QueueStore, producer: Producer) -> None:
    """With the lost attempt in its record. Fails on a script that ends it before it notes the loss."""
    (job_id,) = await add(store, *producer.specs(1))
    claim = await store.claim(1, ALL)
    await store.cancel([job_id])
    await bench.lose_lease(store)
    await store.renew({})
    assert not (await store.claim(1, ALL)).jobs
    (record,) = await store.get([job_id])
    assert record is not None
    assert record.state is JobState.CANCELLED
    assert [(attempt.fence, attempt.outcome) for attempt in record.job.attempts] == [(claim.fence, "lost")]


async def test_cancel_beside_the_reaper_ends_each_job_once(bench: Bench, store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(40))
    await store.claim(40, ALL)
    for _ in range(int(LEASE_S / 2)):
        bench.pass_time(2.0)
        await store.tend(10)
    bench.pass_time(2.0)
    await store.tend(10)  # the others are on their way back
    verdicts, _, more, *_ = await asyncio.gather(
        store.cancel(ids[:20]), store.tend(10), store.cancel(ids[10:30]), store.tend(10), store.tend(10), store.renew({})
    )
    await store.tend(100)
    assert set(verdicts) == {CancelKind.CANCELLED}
    assert set(more) <= {CancelKind.CANCELLED, CancelKind.FINISHED}
    assert await pending(store) == 10
    assert ids_of(await store.claim(100, ALL)) == ids[30:]
    assert store.backlog().count == 30
    records = [item.record for item in await store.outbox(100)]
    assert [[attempt.outcome for attempt in record.job.attempts] for record in records] == [["lost"]] * 30


@pytest.mark.parametrize("is_marked", [False, True], ids=["cancelled on its way back", "and before, while it ran"])
async def test_record_of_a_job_that_is_cancelled_on_its_way_back_has_the_lost_attempt(
    bench: Bench, store: QueueStore, producer: Producer, is_marked: bool
) -> None:
    """Fails on a store that takes it from there and notes nothing."""
    ids = await add(store, *producer.specs(4))
    claims = [await store.claim(2, ALL), await store.claim(2, ALL)]
    if is_marked:
        assert await store.cancel(ids[1:3]) == [CancelKind.CANCELLING] * 2
    for _ in range(int(LEASE_S / 2) + 1):
        bench.pass_time(2.0)
        await store.tend(0)
    lost_ms = START_MS + round(bench.passed_s * 1000)
    assert await store.cancel(ids[1:3]) == [CancelKind.CANCELLED] * 2
    moved = [item.record for item in await store.outbox(10)]
    for ended in (await store.get(ids[1:3]), moved):
        records = [found for found in ended if isinstance(found, Record)]
        assert [record.job.attempts for record in records] == [
            (Attempt(claim.fence, NODE, "", START_MS, lost_ms, "lost"),) for claim in claims
        ]
        assert {record.state for record in records} == {JobState.CANCELLED}
    assert not (await store.renew({})).alive
    await store.tend(10)
    again = await store.claim(10, ALL)
    assert ids_of(again) == [ids[0], ids[3]]
    assert [[one.fence for one in job.attempts] for job in again.jobs] == [[claim.fence] for claim in claims]


# ── progress ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_progress_of_running_jobs_is_seen(store: QueueStore, producer: Producer) -> None:
    running, waiting = await add(store, *producer.specs(2))
    await store.claim(1, ALL)
    await store.renew({running: b"\x2a", waiting: b"\x2b"})
    shown = await store.get([running, waiting])
    assert [live.job.progress for live in shown if isinstance(live, Live)] == [b"\x2a", b""]


async def test_progress_survives_the_loss_of_the_node(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, *producer.specs(1))
    await store.claim(1, ALL)
    await store.renew({job_id: b"\x2a"})
    await store.pause("other")  # written after it
    store = await bench.crash()
    assert [job.progress for job in (await store.claim(1, ALL)).jobs] == [b"\x2a"]


# ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_everything_is_there_after_an_orderly_stop(bench: Bench, store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(5))
    await store.claim(2, ALL)
    store = await bench.open()
    assert bench.lost == LostClaims(2, 0)
    assert ids_of(await store.claim(10, ALL)) == ids


async def test_everything_acknowledged_is_there_after_a_crash(bench: Bench, store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(2500))
    done = await run_all(store, 500)
    store = await bench.crash()
    assert ids_of(await store.claim(10_000, ALL)) == ids[500:]
    assert {item.record.job.spec.id for item in await store.outbox(10_000)} == set(done)


async def test_started_jobs_of_a_dead_node_are_suspects_and_the_others_go_back_unspent(
    bench: Bench, store: QueueStore, producer: Producer
) -> None:
    ids = await add(store, *producer.specs(4))
    claim = await store.claim(3, ALL)
    await store.pause("other")  # the claim is written behind: now it is
    store = await bench.crash(ids[1])
    assert bench.lost == LostClaims(3, 1)
    again = await store.claim(10, ALL)
    assert ids_of(again) == ids
    assert [job.suspicion for job in again.jobs] == [0, 1, 0, 0]
    lost = again.jobs[1].attempts
    assert [(attempt.fence, attempt.node, attempt.outcome) for attempt in lost] == [(claim.fence, NODE, "lost")]
    assert again.jobs[0].attempts == ()


async def test_suspicion_grows_with_every_loss(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, *producer.specs(1))
    for expected in (1, 2, 3):
        await store.claim(1, ALL)
        store = await bench.crash(job_id)
        (live,) = await store.get([job_id])
        assert isinstance(live, Live)
        assert live.job.suspicion == expected
        assert len(live.job.attempts) == expected


async def test_job_that_finished_before_the_crash_is_no_suspect(bench: Bench, store: QueueStore, producer: Producer) -> None:
    (job_id,) = await add(store, *producer.specs(1))
    await run_all(store)
    await bench.crash(job_id)
    assert bench.lost == LostClaims(0, 0)


async def test_former_life_owns_nothing(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(2))
    former = await store.claim(1, ALL)
    store = await bench.crash()
    assert await store.finish([completed(former.fence, former.jobs[0])]) == ids_of(former)
    assert await pending(store) == 2


async def test_fences_rise_over_crashes(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(20))
    fences = []
    for _ in range(4):
        fences += [(await store.claim(1, ALL)).fence for _ in range(3)]
        store = await bench.crash()
    assert fences == sorted(set(fences))


async def test_unique_and_idempotency_keys_survive_a_crash(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await add(store, producer.spec(unique_key="u"), producer.spec(idempotency_key="i"))
    store = await bench.crash()
    answers = await store.submit([producer.spec(unique_key="u"), producer.spec(idempotency_key="i")])
    assert [answer.kind.value for answer in answers] == ["unique", "existed"]


async def test_order_is_kept_over_crashes_releases_and_new_jobs(bench: Bench, store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(4))
    claim = await store.claim(3, ALL)
    await store.finish([released(claim.fence, claim.jobs[1])])
    store = await bench.crash()
    ids += await add(store, *producer.specs(2))
    assert ids_of(await store.claim(10, ALL)) == ids


async def test_closed_store_can_be_opened_again_and_again(bench: Bench, producer: Producer) -> None:
    expected = []
    for _ in range(4):
        store = await bench.open()
        expected += await add(store, *producer.specs(2))
    assert ids_of(await store.claim(100, ALL)) == expected
