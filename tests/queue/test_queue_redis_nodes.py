"""Several nodes on one Redis: leases, zombies, lives, hints. Each test names the simpler model that would fail it."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.making import (
    ALL,
    LEASE_S,
    Producer,
    RedisBench,
    add,
    archive,
    completed,
    failed,
    ids_of,
    pending,
    released,
    run_all,
)
from zjp.job import JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.store import MOVE_MAX
from zjp.queue.store import CancelKind, Life, Live

pytestmark = pytest.mark.covers("redis:nodes")


async def let_lapse(bench: RedisBench, alive: RedisQueueStore, seconds: float = LEASE_S + 1, moves: int = 1000) -> None:
    """Time passes, and only `alive` renews and tends. `moves`: jobs that it moves each time; 0: those of lost leases stay on their way."""
    for _ in range(int(seconds)):
        bench.pass_time(1.0)
        await alive.renew({})
        await alive.tend(moves)


# ── leases and zombies ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_jobs_of_a_silent_node_run_elsewhere(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    ids = await add(one, *Producer().specs(10))
    await one.claim(5, ALL)
    await let_lapse(redis_bench, two)
    assert ids_of(await two.claim(10, ALL)) == ids


async def test_every_late_outcome_of_a_zombie_is_refused(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    """Fails on a model that asks whether the job is unfinished instead of who holds it."""
    producer = Producer()
    for _ in range(20):
        await add(one, *producer.specs(5))
        late = await one.claim(5, ALL)
        await let_lapse(redis_bench, two)
        again = await two.claim(5, ALL)
        assert ids_of(again) == ids_of(late)
        assert await one.finish([completed(late.fence, job) for job in late.jobs[:3]]) == ids_of(late)[:3]
        assert await one.finish([released(late.fence, job) for job in late.jobs[3:]]) == ids_of(late)[3:]
        assert await two.finish([failed(again.fence, job) for job in again.jobs]) == []
        assert not (await one.renew({})).alive
    assert {item.record.state for item in await two.outbox(1000)} == {JobState.FAILED}


async def test_zombie_claims_nothing_until_it_was_told(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    producer = Producer()
    await add(one, *producer.specs(2))
    await let_lapse(redis_bench, two)
    assert not (await one.claim(1, ALL)).jobs
    assert not (await one.renew({})).alive
    assert len((await one.claim(1, ALL)).jobs) == 1


async def test_node_that_renews_is_never_reaped(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, producer: Producer
) -> None:
    await add(one, *producer.specs(3))
    claim = await one.claim(3, ALL)
    for _ in range(int(3 * LEASE_S)):
        redis_bench.pass_time(1.0)
        assert (await one.renew({})).alive
        assert (await two.tend(100)).reaped == 0
    assert await one.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_nobody_is_reaped_for_an_outage(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, producer: Producer
) -> None:
    """Fails on a model that judges leases by time alone: after an outage all of them are over."""
    await add(one, *producer.specs(3))
    claim = await one.claim(3, ALL)
    redis_bench.pass_time(10 * LEASE_S)
    assert (await two.tend(100)).reaped == 0
    redis_bench.pass_time(1.0)
    assert (await two.tend(100)).reaped == 0
    assert (await one.renew({})).alive
    assert await one.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_short_lease_outlasts_an_outage_that_ate_most_of_it(redis_bench: RedisBench, producer: Producer) -> None:
    """Fails on a model that takes only silence of three seconds for an outage: a lease of three had a second left when the store went."""
    one = await redis_bench.open(lease_s=3.0)
    two = await redis_bench.join("node-2", lease_s=3.0)
    await add(one, *producer.specs(3))
    claim = await one.claim(3, ALL)
    redis_bench.pass_time(1.0)
    await two.renew({})
    redis_bench.pass_time(2.2)  # the store was away
    assert (await two.tend(1000)).reaped == 0
    assert (await one.renew({})).alive
    assert await one.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_jump_of_the_server_clock_reaps_nobody(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    """Fails on a model that trusts TIME: it is a wall clock."""
    await add(one, *Producer().specs(3))
    claim = await one.claim(3, ALL)
    for _ in range(int(LEASE_S) - 2):
        redis_bench.pass_time(1.0)
        await two.tend(100)
    monotonic_s = redis_bench.passed_s
    redis_bench.pass_time(2.9)  # short of what is taken for an outage, and past the lease
    redis_bench.passed_s = monotonic_s
    assert (await two.tend(100)).reaped == 0
    assert (await one.renew({})).alive
    assert await one.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_node_that_starts_again_owns_nothing_of_its_former_life(
    redis_bench: RedisBench, one: RedisQueueStore, producer: Producer
) -> None:
    """Fails on a model with one lease per node name."""
    ids = await add(one, *producer.specs(4))
    former = await one.claim(2, ALL)
    again = await redis_bench.join("node-1", 2)
    assert await one.finish([completed(former.fence, job) for job in former.jobs]) == ids_of(former)
    assert not (await one.renew({})).alive
    assert not (await one.renew({})).alive
    assert not (await one.claim(4, ALL)).jobs
    assert ids_of(await again.claim(10, ALL)) == ids


async def test_node_without_its_boot_file_is_not_locked_out(redis_bench: RedisBench, one: RedisQueueStore, producer: Producer) -> None:
    await add(one, *producer.specs(2))
    again = await redis_bench.join("node-1", 1)
    assert len((await again.claim(2, ALL)).jobs) == 2


async def test_node_that_leaves_gives_its_jobs_to_the_others_at_once(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    ids = await add(one, *Producer().specs(3))
    await one.claim(3, ALL)
    await one.close()
    redis_bench.pass_time(1.0)
    await two.renew({})
    await two.tend(100)
    assert ids_of(await two.claim(3, ALL)) == ids


async def test_retried_job_is_not_reaped_with_its_old_claim(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    """Fails on a model whose reaper puts back whatever a claim once held and is unfinished."""
    ids = await add(one, *Producer().specs(2))
    claim = await one.claim(2, ALL)
    await one.finish([released(claim.fence, claim.jobs[0])])
    mine = await two.claim(1, ALL)
    assert ids_of(mine) == ids[:1]
    await let_lapse(redis_bench, two)
    assert ids_of(await two.claim(10, ALL)) == ids[1:]
    assert await two.finish([completed(mine.fence, mine.jobs[0])]) == []


async def test_two_reapers_give_each_job_back_once(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    ids = await add(one, *Producer().specs(50))
    await one.claim(50, ALL)
    three = await redis_bench.join("node-3")
    for _ in range(int(LEASE_S)):
        redis_bench.pass_time(1.0)
        await two.renew({})
        await three.renew({})
    redis_bench.pass_time(1.0)
    reaped = await asyncio.gather(*(store.tend(20) for _ in range(3) for store in (two, three)))
    assert sum(tended.reaped for tended in reaped) == 50
    assert await pending(two) == 50
    assert sorted(ids_of(await two.claim(100, ALL))) == sorted(ids)


async def test_life_whose_name_is_a_later_ones_is_told_so_and_its_end_leaves_the_name(
    redis_bench: RedisBench, one: RedisQueueStore
) -> None:
    """Fails on a model that takes a name off the list of homes whoever it is that leaves."""
    redis_bench.pass_time(LEASE_S + 1)
    later = await redis_bench.join("node-1", home="elsewhere", address="tcp://there:1")
    renewal = await one.renew({})
    assert (renewal.alive, renewal.taken_by) == (False, "tcp://there:1")
    await one.close()
    assert b"elsewhere\ntcp://there:1" in redis_bench.server.send(b"HGET", later._prefix + b"homes", b"node-1")
    assert (await later.renew({})).alive


async def test_new_folder_under_an_old_name_is_told_its_number(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    """Fails on a model whose node goes by the number in its folder: its leader would declare dead a life that never was."""
    assert redis_bench.lost.boot == 0
    redis_bench.pass_time(LEASE_S + 1)
    store = redis_bench.make()
    assert (await store.open(Life("node-1", 1, "elsewhere", ""), {})).boot == 2
    await store.close()


async def test_queue_that_a_flush_took_is_seen_and_purged_when_jobs_come_again(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    producer = Producer()
    await add(one, *producer.specs(1))
    redis_bench.server.send(b"FLUSHALL")
    await add(one, *producer.specs(2))
    assert await one.purge("default") == 2
    await one.renew({})
    await add(one, *producer.specs(1))
    assert [(count.queue, count.pending) for count in await one.counts()] == [("default", 1)]


# ── stale list entries and runs ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_entry_of_a_cancelled_job_is_no_second_turn_for_its_next_run(one: RedisQueueStore, two: RedisQueueStore) -> None:
    """Fails on a model that leaves the list alone and believes every entry whose job is live."""
    first, second = await add(one, *Producer().specs(2))
    await one.cancel([first])
    (record,) = await one.get([first])
    assert isinstance(record, Record)
    assert await two.requeue([record]) == [True]
    assert await pending(one) == 2
    claim = await one.claim(10, ALL)
    assert ids_of(claim) == [second, first]
    assert not (await two.claim(10, ALL)).jobs


@pytest.mark.parametrize("times", [1, 3])
async def test_stale_and_true_entry_of_one_job_taken_together(one: RedisQueueStore, times: int) -> None:
    """Fails on a model that reads the count of stale entries once for all entries of an id: the true one went with them."""
    first, *others = await add(one, *Producer().specs(9))
    for _ in range(times):
        await one.cancel([first])
        (record,) = await one.get([first])
        assert isinstance(record, Record)
        assert await one.requeue([record]) == [True]
    assert ids_of(await one.claim(20, ALL)) == [*others, first]
    assert await pending(one) == 0


async def test_late_removal_of_a_former_run_leaves_the_live_job(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    """Two nodes drain the outbox; the job is run again between their removals. Fails on removal by id."""
    (job_id,) = await add(one, *Producer().specs(1))
    await run_all(one)
    items = await two.outbox(10)
    await archive(redis_bench, one)
    assert await one.requeue([items[0].record]) == [True]
    await two.outbox_remove(items)
    assert ids_of(await two.claim(1, ALL)) == [job_id]


async def test_two_writers_drain_each_record_and_lose_none(one: RedisQueueStore, two: RedisQueueStore) -> None:
    """Fails on removal by place: each would cut off what the other has just read."""
    ids = await add(one, *Producer().specs(300))
    await run_all(one)
    seen: set[bytes] = set()

    async def drain(store: RedisQueueStore) -> None:
        while items := await store.outbox(17):
            seen.update(item.record.job.spec.id for item in items)
            await store.outbox_remove(items)

    await asyncio.gather(drain(one), drain(two))
    assert seen == set(ids)
    assert await one.outbox(10) == []
    assert (one.backlog().count, one.backlog().data_bytes) == (0, 0)


# ── the same view everywhere ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_job_is_looked_up_and_cancelled_from_any_node(one: RedisQueueStore, two: RedisQueueStore) -> None:
    running, waiting = await add(one, *Producer().specs(2))
    claim = await one.claim(1, ALL)
    (live,) = await two.get([running])
    assert isinstance(live, Live)
    assert (live.state, live.node, live.fence) == (JobState.RUNNING, "node-1", claim.fence)
    assert await two.cancel([running, waiting]) == [CancelKind.CANCELLING, CancelKind.CANCELLED]
    assert list((await one.renew({})).cancelling) == [running]
    assert list((await two.renew({})).cancelling) == []


async def test_pause_on_one_node_is_seen_by_the_other(one: RedisQueueStore, two: RedisQueueStore) -> None:
    before = (await two.renew({})).version
    await add(one, *Producer().specs(1))
    await one.pause("default")
    assert (await two.renew({})).version > before
    assert not (await two.claim(1, ALL)).jobs


async def test_same_ids_through_two_nodes_at_once_are_one_job_each(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    specs = Producer().specs(40)
    await add(one, Producer().spec())
    for start in range(0, 40, 8):
        batch = specs[start : start + 8]
        late = batch[:4][::-1]  # not rising: suspected, so looked up first
        await asyncio.gather(one.submit(late), two.submit(late), one.submit(batch), two.submit(batch))
    assert await pending(one) == 41


async def test_fences_rise_over_all_nodes(one: RedisQueueStore, two: RedisQueueStore) -> None:
    await add(one, *Producer().specs(20))
    fences = [(await store.claim(1, ALL)).fence for _ in range(5) for store in (one, two)]
    assert fences == sorted(set(fences))


async def test_claims_side_by_side_share_the_jobs(one: RedisQueueStore, two: RedisQueueStore) -> None:
    ids = await add(one, *Producer().specs(500))

    async def claim_all(store: RedisQueueStore) -> list[bytes]:
        got: list[bytes] = []
        while claim := ids_of(await store.claim(7, ALL)):
            got += claim
        return got

    mine, others = await asyncio.gather(claim_all(one), claim_all(two))
    assert sorted(mine + others) == sorted(ids)
    assert mine
    assert others


async def test_jobs_of_lost_leases_that_are_more_than_one_claim_gives_back_are_due_at_once(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, producer: Producer
) -> None:
    """Fails on a model whose claim says that it brought all: a node that then waits for hints would have them back in a second's steps."""
    ids = await add(one, *producer.specs(MOVE_MAX + 10))
    await one.claim(len(ids), ALL)
    await let_lapse(redis_bench, two, moves=0)
    claim = await two.claim(1000, ALL)
    assert (len(claim.jobs), claim.next_due_s) == (MOVE_MAX, 0.0)
    rest = await two.claim(1000, ALL)
    assert (len(rest.jobs), rest.next_due_s, rest.is_all) == (10, None, True)
    assert sorted(ids_of(claim) + ids_of(rest)) == ids


# ── who moves the outbox ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_node_moves_what_it_finished_itself(one: RedisQueueStore, two: RedisQueueStore) -> None:
    await add(one, *Producer().specs(4))
    claims = [await one.claim(2, ALL), await two.claim(2, ALL)]
    for store, claim in zip((one, two), claims, strict=True):
        await store.finish([completed(claim.fence, job) for job in claim.jobs])
    for store, claim in zip((one, two), claims, strict=True):
        assert [item.record.job.spec.id for item in await store.outbox_share(10)] == ids_of(claim)


async def test_what_a_dead_node_left_is_moved_by_one_of_the_others(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    await add(two, *Producer().specs(3))
    done = await run_all(two)
    three = await redis_bench.join("node-3")
    assert [item.record.job.spec.id for item in await one.outbox_share(10)] == done
    assert not await three.outbox_share(10), "it is the first one's turn"
    redis_bench.pass_time(3)
    assert [item.record.job.spec.id for item in await three.outbox_share(10)] == done


# ── what nodes serve ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_nodes_know_what_the_others_serve_while_these_live(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    assert await one.publish(["email"]) == {"email"}
    assert await two.publish(["email", "resize"]) == {"email", "resize"}
    assert await one.publish(["email"]) == {"email", "resize"}
    await let_lapse(redis_bench, one)
    assert await one.publish(["email"]) == {"email"}


async def test_what_nodes_serve_is_read_by_nodes_of_before_and_theirs_here(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    """They know types alone. Fails on a model that tells them words with queues: they would fail the jobs of a type that is served."""
    assert await one.publish(["email\tmails\tothers", "records n1 Redis"]) == {"email\tmails\tothers", "records n1 Redis"}
    send = redis_bench.server.send
    assert b"email\nrecords n1 Redis" in send(b"HGET", b"{zjp:zjp}:serves", b"node-1:1")
    send(b"HSET", b"{zjp:zjp}:serves", b"node-2:1", b"sms")
    assert await one.publish(["email"]) == {"email", "sms"}
    assert await two.publish(["sms\tmails"]) == {"email", "sms\tmails"}
    await two.close()
    await one.tend(100)  # takes its registration away
    assert await one.publish(["email"]) == {"email"}
    assert send(b"HLEN", b"{zjp:zjp}:served") == b":1\r\n"
