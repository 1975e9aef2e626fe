"""What every queue store promises about finished jobs until the records have them."""

from __future__ import annotations

import pytest

from tests.queue.making import ALL, Bench, Producer, add, archive, completed, run_all
from zjp.errors import StoreFull
from zjp.queue.store import QueueStore

pytestmark = pytest.mark.covers("main-path:5", "settings:OUTBOX_MAX", "settings:OUTBOX_MAX_BYTES")


async def test_outbox_gives_the_oldest_again_until_they_are_removed(store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(6))
    await run_all(store, 4)
    await run_all(store, 2)
    first = await store.outbox(3)
    assert [item.record.job.spec.id for item in first] == ids[:3]
    assert [item.record.job.spec.id for item in await store.outbox(3)] == ids[:3]
    await store.outbox_remove(first)
    assert [item.record.job.spec.id for item in await store.outbox(10)] == ids[3:]
    assert store.backlog().count == 3


async def test_outbox_survives_a_crash(bench: Bench, store: QueueStore, producer: Producer) -> None:
    ids = await add(store, *producer.specs(3))
    await run_all(store)
    before = await store.outbox(10)
    store = await bench.crash()
    after = await store.outbox(10)
    assert [(item.record, item.data) for item in after] == [(item.record, item.data) for item in before]
    await store.outbox_remove(after)
    store = await bench.crash()
    assert (store.backlog().count, store.backlog().data_bytes) == (0, 0)
    assert await store.get(ids) == [None] * 3


async def test_removing_an_item_twice_does_no_harm(store: QueueStore, producer: Producer) -> None:
    await add(store, *producer.specs(3))
    await run_all(store)
    items = await store.outbox(2)
    await store.outbox_remove(items)
    await store.outbox_remove(items)
    assert store.backlog().count == 1


async def test_full_outbox_stops_claims_and_submits_but_not_outcomes(bench: Bench, producer: Producer) -> None:
    store = await bench.open(outbox_count_max=3)
    await add(store, *producer.specs(10))
    claim = await store.claim(4, ALL)
    await run_all(store, 3)
    assert not (await store.claim(1, ALL)).jobs
    with pytest.raises(StoreFull, match=r"3 finished jobs .* the limit is 3 .*outbox\.stuck, outbox\.refused.*zjp_records_refused"):
        await store.submit([producer.spec()])
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    await archive(bench, store)
    assert len((await store.claim(10, ALL)).jobs) == 3
    await add(store, producer.spec())


async def test_outbox_is_bounded_by_bytes_too(bench: Bench, producer: Producer) -> None:
    store = await bench.open(outbox_bytes_max=2000)
    await add(store, *producer.specs(2))
    claim = await store.claim(1, ALL)
    await store.finish([completed(claim.fence, claim.jobs[0], b"\xda\x07\xd0" + b"x" * 2000)])
    assert not (await store.claim(1, ALL)).jobs
    with pytest.raises(StoreFull):
        await store.submit([producer.spec()])
