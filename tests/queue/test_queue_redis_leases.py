"""Nodes with leases of different lengths on one Redis: whose pass it is decides nothing."""

from __future__ import annotations

import pytest

from tests.queue.making import ALL, Producer, RedisBench, add, completed, ids_of
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Claim

pytestmark = pytest.mark.covers("redis:nodes", "settings:LEASE_DURATION")

SHORT_S, LONG_S = 2.0, 15.0
PERIOD_S = 0.6


@pytest.fixture
async def short(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.join("short", lease_s=SHORT_S)


@pytest.fixture
async def long(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.join("long", lease_s=LONG_S)


async def live_on(bench: RedisBench, seconds: float, *stores: RedisQueueStore, period_s: float = PERIOD_S) -> None:
    for _ in range(round(seconds / period_s)):
        bench.pass_time(period_s)
        for store in stores:
            await store.renew({})
            await store.tend(100)


async def holding(bench: RedisBench, holder: RedisQueueStore, other: RedisQueueStore) -> Claim:
    await live_on(bench, 3.0, holder, other)
    await add(other, *Producer().specs(1))
    claim = await holder.claim(1, ALL)
    await live_on(bench, PERIOD_S, holder, other)
    return claim


@pytest.mark.parametrize("away_s", [2.1, 2.5, 2.9, 10.0])
async def test_outage_takes_a_short_lease_from_nobody_though_one_with_a_long_one_is_back_first(
    redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore, away_s: float
) -> None:
    """Fails on a pass that goes by the lease of whoever makes it."""
    claim = await holding(redis_bench, short, long)
    redis_bench.pass_time(away_s)
    assert (await long.renew({})).alive
    assert (await long.tend(100)).reaped == 0
    redis_bench.pass_time(0.3)
    await long.tend(100)
    assert (await short.renew({})).alive
    assert await short.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_short_lease_of_a_dead_node_ends_in_time_under_the_passes_of_one_with_a_long_one(
    redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore
) -> None:
    """It renews every second, and its loops may be in step."""
    claim = await holding(redis_bench, short, long)
    await live_on(redis_bench, SHORT_S + 1, long, period_s=1.05)
    assert ids_of(await long.claim(1, ALL)) == ids_of(claim)


async def test_short_lease_of_a_dead_node_ends_though_passes_are_rare(
    redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore
) -> None:
    """Fails on a pass that spares it again and again: each gap is long for a lease of that length."""
    claim = await holding(redis_bench, short, long)
    await live_on(redis_bench, SHORT_S + LONG_S + 4, long, period_s=2.0)
    assert ids_of(await long.claim(1, ALL)) == ids_of(claim)


async def test_pass_with_a_short_lease_shortens_nobodys(redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore) -> None:
    """After an outage of which one node returns later. Fails on a pass that sets every lease to its own."""
    claim = await holding(redis_bench, long, short)
    redis_bench.pass_time(3.5)
    await live_on(redis_bench, 2 * SHORT_S, short)
    assert (await long.renew({})).alive
    assert await long.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_node_that_gave_its_registration_up_is_not_waited_for(
    redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore
) -> None:
    claim = await holding(redis_bench, short, long)
    await short.close()
    await live_on(redis_bench, 1.0, long, period_s=1.0)
    assert ids_of(await long.claim(1, ALL)) == ids_of(claim)


async def test_clock_set_back_ends_no_lease_and_none_lasts_for_ever(
    redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore
) -> None:
    """Fails on a lease reckoned from a moment that is yet to come."""
    claim = await holding(redis_bench, short, long)
    redis_bench.passed_s -= 3600.0
    await live_on(redis_bench, 1.2, long, short)
    assert (await short.renew({})).alive
    await live_on(redis_bench, LONG_S + 3, long, period_s=1.0)
    assert ids_of(await long.claim(1, ALL)) == ids_of(claim)


async def test_node_that_brings_late_outcomes_and_never_renews_again_leaves_nothing_behind(
    redis_bench: RedisBench, short: RedisQueueStore, long: RedisQueueStore
) -> None:
    """Fails on a script that notes each answer for a repeat: a node whose name another has taken over ends, and nobody removes that."""
    claim = await holding(redis_bench, short, long)
    await live_on(redis_bench, SHORT_S + 2 * PERIOD_S, long)
    for _ in range(2):
        assert await short.finish([completed(claim.fence, claim.jobs[0])]) == ids_of(claim)
    await short.disconnect()
    again = await long.claim(1, ALL)
    assert await long.finish([completed(again.fence, again.jobs[0])]) == []
    assert await long._ask("HKEYS", [b"calls"]) == [b"long:1"]
