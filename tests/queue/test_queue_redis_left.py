"""Who moves what out of a shared outbox under load: each node its own, and what others left as well, though its own never ends."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from tests.queue.making import START_MS, Producer, RedisBench, add, run_all
from zjp.job import JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.left import LOOK_S
from zjp.queue.store import Outcome, OutcomeKind

pytestmark = pytest.mark.covers("redis:nodes")

ROUND_S = 0.3
BATCH = 20


class Load:
    """A node that in each round finishes something before all of the former is moved. `ahead_s`: of its clock."""

    def __init__(self, bench: RedisBench, store: RedisQueueStore, *, ahead_s: float = 0.0) -> None:
        self.bench, self.store, self.ahead_s = bench, store, ahead_s
        self.producer = Producer()

    async def finish(self, count: int) -> None:
        await add(self.store, *self.producer.specs(count, "busy"))
        claim = await self.store.claim(count, {"busy": 1})
        now_ms = START_MS + round((self.bench.passed_s + self.ahead_s) * 1000)
        records = [Record(job, JobState.COMPLETED, now_ms) for job in claim.jobs]
        outcomes = [Outcome(claim.fence, record.job, OutcomeKind.FINISH, record) for record in records]
        assert await self.store.finish(outcomes) == []

    async def round(self) -> list[bytes]:
        """What was moved."""
        items = await self.store.outbox_share(BATCH)
        self.bench.pass_time(ROUND_S)  # in which the records take them
        await self.finish(2)
        await self.store.outbox_remove(items)
        return [item.record.job.spec.id for item in items]

    async def rounds(self, count: int) -> list[list[bytes]]:
        return [await self.round() for _ in range(count)]


async def purge(store: RedisQueueStore, count: int) -> set[bytes]:
    ids = await add(store, *Producer().specs(count, "later"))
    assert await store.purge("later") == count
    return set(ids)


def scripts_asked(bench: RedisBench) -> int:
    found = re.search(r"cmdstat_evalsha:calls=(\d+)", bench.server.send(b"INFO", b"commandstats").decode())
    return int(found[1]) if found else 0


async def test_what_was_purged_arrives_though_the_node_never_gets_through_with_its_own(
    redis_bench: RedisBench, one: RedisQueueStore
) -> None:
    """Fails on a node that looks at the others' only when it has none of its own."""
    load = Load(redis_bench, one)
    await load.finish(2)
    purged = await purge(one, 30)
    moved = await load.rounds(20)
    assert purged <= {job_id for batch in moved for job_id in batch}


@pytest.mark.parametrize("ahead_s", [0.0, 3600.0, -3600.0])
async def test_what_a_dead_node_left_arrives_whatever_its_clock_said(
    redis_bench: RedisBench, one: RedisQueueStore, ahead_s: float
) -> None:
    """Fails on a node that goes by the age of records alone."""
    dead, load = Load(redis_bench, await redis_bench.join("node-2"), ahead_s=ahead_s), Load(redis_bench, one)
    await dead.finish(30)
    left = {item.record.job.spec.id for item in await dead.store.outbox(100)}
    await load.finish(2)
    moved = await load.rounds(50)
    assert left <= {job_id for batch in moved for job_id in batch}


async def test_at_least_every_second_share_is_of_the_nodes_own(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    load = Load(redis_bench, one)
    await load.finish(2)
    purged = await purge(one, 200)
    await load.rounds(12)
    shares = [bool(purged & set(batch)) for batch in await load.rounds(10)]
    assert shares in ([True, False] * 5, [False, True] * 5)


async def test_a_node_alone_that_keeps_up_asks_the_server_for_nothing(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    load = Load(redis_bench, one)
    for _ in range(20):
        await load.finish(5)
        redis_bench.server.send(b"CONFIG", b"RESETSTAT")
        items = await one.outbox_share(BATCH)
        assert len(items) == 5
        assert scripts_asked(redis_bench) == 0
        await one.outbox_remove(items)
        redis_bench.pass_time(ROUND_S)


async def test_what_another_node_is_just_moving_is_left_to_it(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    """And the looks at it are LOOK_S apart."""
    two = await redis_bench.join("node-2")
    loads = [Load(redis_bench, one), Load(redis_bench, two)]
    for load in loads:
        await load.finish(3)
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    moved: list[Sequence[list[bytes]]] = [[await load.round() for load in loads] for _ in range(20)]
    mine, its = ({job_id for both in moved for job_id in both[at]} for at in (0, 1))
    assert mine
    assert its
    assert not mine & its
    looks = scripts_asked(redis_bench) - 20 * 2 * 4  # a submit, a claim, a finish and a removal in each round
    assert looks <= 2 * 2 * (20 * 2 * ROUND_S / LOOK_S + 1)


async def test_what_is_beyond_the_bounds_of_memory_is_moved_as_well(
    redis_bench: RedisBench, one: RedisQueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zjp.queue.redis.fresh.FRESH_MAX", 3)
    load = Load(redis_bench, one)
    ids = await add(one, *Producer().specs(20))
    assert await run_all(one) == ids
    moved = await load.rounds(40)
    assert set(ids) <= {job_id for batch in moved for job_id in batch}
