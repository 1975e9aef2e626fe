"""What every queue store promises to the leader: its step is whole or nothing, done once, and refused to whoever is not installed."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.making import ALL, LEASE_S, Bench, Producer, RedisBench, add, ids_of, pending, run_all
from tests.queue.test_queue_redis_nodes import let_lapse
from zjp.errors import StoreFull
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Document, DocumentKind, Fired, Lead, Life, QueueStore, SubmitKind, Submitted

pytestmark = pytest.mark.covers("cluster:duties")

SCHEDULE = DocumentKind.SCHEDULE
LEAD = ("node-1:1", 3)


def document(data: bytes = b"1", version: int = 0, name: str = "nightly") -> Document:
    return Document(name, data, version)


async def led(store: QueueStore, owner: str = LEAD[0], epoch: int = LEAD[1]) -> None:
    assert (await store.claim_lead(owner, epoch, 5.0, is_elected=True)).epoch == epoch


# ── the fence ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_step_of_the_leader_changes_the_document_and_stores_the_jobs(bench: Bench, store: QueueStore, producer: Producer) -> None:
    await led(store)
    specs = [*producer.specs(2), producer.spec("mail", 10, tags=("x",))]
    assert await store.fire(*LEAD, SCHEDULE, document(), specs) == Fired(1)
    store = await bench.crash()
    assert list(await store.documents(SCHEDULE)) == [Document("nightly", b"1", 1)]
    assert set(ids_of(await store.claim(10, ALL))) == {spec.id for spec in specs}


async def test_fired_jobs_are_run_and_looked_up_as_all_others(store: QueueStore, producer: Producer) -> None:
    await led(store)
    (spec,) = producer.specs(1)
    await store.fire(*LEAD, SCHEDULE, document(), [spec])
    (found,) = await store.get([spec.id])
    assert found is not None
    assert found.job.spec == spec
    assert await run_all(store) == [spec.id]


@pytest.mark.parametrize("asker", [("node-1:1", 2), ("node-1:1", 4), ("node-1:2", 3), ("node-2:1", 3), ("", 0)])
async def test_step_of_another_epoch_owner_or_boot_is_refused_with_what_is_installed(
    store: QueueStore, producer: Producer, asker: tuple[str, int]
) -> None:
    await led(store)
    answer = await store.fire(*asker, SCHEDULE, document(), producer.specs(2))
    assert answer == Fired(0, Lead(3, "node-1:1", 5.0))
    assert list(await store.documents(SCHEDULE)) == []
    assert await pending(store) == 0


async def test_step_is_refused_where_nobody_was_ever_installed(store: QueueStore, producer: Producer) -> None:
    assert await store.fire(*LEAD, SCHEDULE, document(), producer.specs(1)) == Fired(0, Lead(0, "", 0.0))


async def test_step_is_refused_once_the_lead_is_over_or_given_up_and_taken_again_when_it_is_renewed(
    bench: Bench, store: QueueStore, producer: Producer
) -> None:
    await led(store)
    bench.pass_time(5.0)
    assert (await store.fire(*LEAD, SCHEDULE, document(), producer.specs(1))).refused_by == Lead(3, "node-1:1", 0.0)
    assert await store.renew_lead(*LEAD, 5.0)
    assert (await store.fire(*LEAD, SCHEDULE, document(), producer.specs(1))).version == 1
    assert await store.release_lead(*LEAD)
    assert (await store.fire(*LEAD, SCHEDULE, document(b"2", 1), producer.specs(1))).refused_by is not None


async def test_deposed_leader_is_refused_two_hundred_times(store: QueueStore, producer: Producer) -> None:
    for epoch in range(1, 201):
        await led(store, "old:1", 2 * epoch)
        await led(store, "new:1", 2 * epoch + 1)
        answer = await store.fire("old:1", 2 * epoch, SCHEDULE, document(), producer.specs(1))
        assert answer.refused_by is not None
    assert await pending(store) == 0


# ── once ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_same_step_is_taken_once(store: QueueStore, producer: Producer) -> None:
    await led(store)
    specs = producer.specs(2)
    answers = await asyncio.gather(*(store.fire(*LEAD, SCHEDULE, document(), specs) for _ in range(5)))
    assert sorted(answer.version for answer in answers) == [0, 0, 0, 0, 1]
    assert await pending(store) == 2


async def test_next_leader_cannot_repeat_a_step_of_the_former(store: QueueStore, producer: Producer) -> None:
    await led(store)
    specs = producer.specs(2)
    await store.fire(*LEAD, SCHEDULE, document(), specs)
    await led(store, "node-2:1", 4)
    assert await store.fire("node-2:1", 4, SCHEDULE, document(), specs) == Fired(0)
    assert (await store.fire("node-2:1", 4, SCHEDULE, document(b"2", 1), producer.specs(1))).version == 2
    assert await pending(store) == 3


async def test_job_that_is_live_already_is_left_out(store: QueueStore, producer: Producer) -> None:
    await led(store)
    known, new = producer.specs(2)
    await add(store, known)
    answer = await store.fire(*LEAD, SCHEDULE, document(), [known, new])
    assert answer == Fired(1, None, (Submitted(known.id, SubmitKind.EXISTED),))
    assert await pending(store) == 2


async def test_job_whose_unique_key_is_held_is_left_out(store: QueueStore, producer: Producer) -> None:
    await led(store)
    first, second, third = (producer.spec(unique_key="report") for _ in range(3))
    answer = await store.fire(*LEAD, SCHEDULE, document(), [first, second])
    assert answer.others == (Submitted(first.id, SubmitKind.UNIQUE),)
    await run_all(store)
    assert (await store.fire(*LEAD, SCHEDULE, document(b"2", 1), [third])).others == ()
    assert await pending(store) == 1


async def test_document_that_changed_meanwhile_stops_the_step(store: QueueStore, producer: Producer) -> None:
    await led(store)
    await store.put_document(SCHEDULE, "nightly", b"0", 0)
    await store.put_document(SCHEDULE, "nightly", b"1", 1)
    assert await store.fire(*LEAD, SCHEDULE, document(b"2", 1), producer.specs(1)) == Fired(0)
    await store.remove_document(SCHEDULE, "nightly", 2)
    assert await store.fire(*LEAD, SCHEDULE, document(b"2", 2), producer.specs(1)) == Fired(0)
    assert await pending(store) == 0


async def test_full_outbox_refuses_the_step_whole(bench: Bench, producer: Producer) -> None:
    store = await bench.open(outbox_count_max=2)
    await led(store)
    await add(store, *producer.specs(2))
    await run_all(store)
    with pytest.raises(StoreFull):
        await store.fire(*LEAD, SCHEDULE, document(), producer.specs(1))
    assert list(await store.documents(SCHEDULE)) == []
    assert (await store.fire(*LEAD, DocumentKind.CLUSTER, document(), [])).version == 1


async def test_fired_jobs_are_hinted(store: QueueStore, producer: Producer) -> None:
    await led(store)
    hints: list[int] = []
    store.on_ready = lambda: hints.append(1)
    await store.fire(*LEAD, SCHEDULE, document(), producer.specs(1))
    assert hints


# ── the dead, on a shared queue ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def pair(redis: RedisBench) -> tuple[RedisQueueStore, RedisQueueStore]:
    """(the leader's store, that of a node which dies)"""
    leader = await redis.open()
    other = await redis.join("node-2", 7)
    await led(leader)
    return leader, other


DEAD = Life("node-2", 7)


async def reap(leader: RedisQueueStore) -> tuple[bool, int]:
    answer = await leader.reap_dead(*LEAD, DEAD, 3.0, 1000)
    return answer.was_reaped, answer.jobs


async def test_jobs_of_a_dead_node_go_back_when_it_was_silent_long_enough(redis_bench: RedisBench, producer: Producer) -> None:
    leader, other = await pair(redis_bench)
    ids = await add(leader, *producer.specs(5))
    late = await other.claim(5, ALL)
    await let_lapse(redis_bench, leader, 2)
    assert await reap(leader) == (False, 0)
    await let_lapse(redis_bench, leader, 1)
    assert await reap(leader) == (True, 5)
    assert await reap(leader) == (False, 0)
    assert ids_of(await leader.claim(5, ALL)) == ids
    assert not (await other.renew({})).alive
    assert late.fence


async def test_node_that_renews_is_not_reaped_however_dead_the_others_hold_it(redis_bench: RedisBench, producer: Producer) -> None:
    leader, other = await pair(redis_bench)
    await add(leader, *producer.specs(2))
    await other.claim(2, ALL)
    for _ in range(int(3 * LEASE_S)):
        redis_bench.pass_time(1.0)
        await leader.renew({})
        assert (await other.renew({})).alive
        await leader.renew_lead(*LEAD, 5.0)
        assert await reap(leader) == (False, 0)


@pytest.mark.parametrize("away_s", [1.6, 2.4, 2.9, 4.0, 60.0])
async def test_nobody_is_reaped_for_an_outage_of_the_store(redis_bench: RedisBench, producer: Producer, away_s: float) -> None:
    """Fails on a model that looks at the age of the last renewal alone: after an outage nobody has renewed."""
    leader, other = await pair(redis_bench)
    await add(leader, *producer.specs(2))
    await other.claim(2, ALL)
    redis_bench.pass_time(0.9)
    await leader.renew({})
    redis_bench.pass_time(away_s)
    await leader.renew_lead(*LEAD, 5.0)
    assert await reap(leader) == (False, 0)
    await let_lapse(redis_bench, leader, 2)
    assert await reap(leader) == (False, 0)
    assert (await other.renew({})).alive


async def test_paused_node_that_was_reaped_registers_anew_by_itself(redis_bench: RedisBench, producer: Producer) -> None:
    leader, other = await pair(redis_bench)
    await let_lapse(redis_bench, leader, 3)
    assert await reap(leader) == (True, 0)
    assert not (await other.renew({})).alive
    assert (await other.renew({})).alive
    await add(leader, *producer.specs(1))
    assert len((await other.claim(1, ALL)).jobs) == 1


async def test_dead_are_reaped_by_the_installed_leader_only(redis_bench: RedisBench, producer: Producer) -> None:
    leader, other = await pair(redis_bench)
    await add(leader, *producer.specs(1))
    await other.claim(1, ALL)
    await let_lapse(redis_bench, leader, 3)
    await led(leader, "node-3:1", 4)
    answer = await leader.reap_dead(*LEAD, DEAD, 3.0, 1000)
    assert (answer.was_reaped, answer.refused_by) == (False, Lead(4, "node-3:1", 5.0))
    assert (await other.renew({})).alive


async def test_former_or_later_life_of_a_dead_node_is_left_alone(redis_bench: RedisBench) -> None:
    leader, other = await pair(redis_bench)
    await let_lapse(redis_bench, leader, 3)
    for boot in (6, 8):
        assert not (await leader.reap_dead(*LEAD, Life("node-2", boot), 3.0, 1000)).was_reaped
    assert (await other.renew({})).alive
