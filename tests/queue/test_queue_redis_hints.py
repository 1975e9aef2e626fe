"""How nodes on one Redis tell one another that jobs are ready, or final. Each test names the simpler model that would fail it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.queue.making import ALL, Producer, RedisBench, add, released, run_all
from tests.queue.test_queue_redis_nodes import let_lapse
from zjp.queue.redis import RedisQueueStore

pytestmark = pytest.mark.covers("redis:nodes")

WAIT_S = 5.0


async def heard(event: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_S):
        await event.wait()


def on_ready(store: RedisQueueStore) -> asyncio.Event:
    event = asyncio.Event()
    store.on_ready = event.set
    return event


async def listening(*stores: RedisQueueStore) -> None:
    async with asyncio.timeout(WAIT_S):
        for store in stores:
            assert store._hints is not None
            await store._hints.is_listening.wait()


async def test_submit_on_one_node_wakes_an_idle_other(one: RedisQueueStore, two: RedisQueueStore) -> None:
    await listening(one, two)
    event = on_ready(two)
    assert not (await two.claim(10, ALL)).jobs
    await add(one, *Producer().specs(1))
    await heard(event)
    assert len((await two.claim(10, ALL)).jobs) == 1


@pytest.mark.parametrize("weights", [{"default": 1}, {"*": 1}, {"other": 1, "*": 1}])
async def test_hint_reaches_who_serves_the_queue(one: RedisQueueStore, two: RedisQueueStore, weights: dict[str, int]) -> None:
    await listening(two)
    event = on_ready(two)
    await two.claim(10, weights)
    await add(one, *Producer().specs(1))
    await heard(event)


async def test_full_node_is_noted_as_idle_for_none_of_its_queues(one: RedisQueueStore, two: RedisQueueStore, producer: Producer) -> None:
    """A hint takes it out of one of them. Fails on a model that takes it out of the others only when it believes itself to be there."""
    await listening(two)
    event = on_ready(two)
    await two.claim(10, {"high": 3, "low": 1})
    await add(one, *producer.specs(2, "high"))
    await heard(event)
    assert len((await two.claim(2, {"high": 3, "low": 1})).jobs) == 2
    event.clear()
    await add(one, *producer.specs(1, "low"))
    await asyncio.sleep(0.05)
    assert not event.is_set()


async def test_who_makes_jobs_of_a_queue_ready_that_it_does_not_serve_hints_one_that_does(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, producer: Producer
) -> None:
    """Fails on a model in which a claim takes itself for awake whatever it made ready."""
    await listening(two)
    event = on_ready(two)
    await two.claim(10, {"theirs": 1})
    await add(one, producer.spec("theirs", delay_ms=500))
    await heard(event)
    assert (await two.claim(10, {"theirs": 1})).next_due_s
    event.clear()
    redis_bench.pass_time(1.0)
    assert not (await one.claim(10, {"mine": 1})).jobs
    await heard(event)
    assert len((await two.claim(10, {"theirs": 1})).jobs) == 1


async def test_claim_that_leaves_jobs_behind_wakes_the_next_idle_node(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    """Fails on a model in which only who brings jobs hints: what one node has no room for would wait for the others' poll."""
    two, three = await redis_bench.join("node-2"), await redis_bench.join("node-3")
    await listening(two, three)
    events = {two: on_ready(two), three: on_ready(three)}
    for idle in events:
        assert not (await idle.claim(10, ALL)).jobs
    await add(one, *Producer().specs(10))
    taken = 0
    for room in (4, 6):
        async with asyncio.timeout(WAIT_S):
            while not (hinted := [store for store, event in events.items() if event.is_set()]):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        (first,) = hinted
        del events[first]
        taken += len((await first.claim(room, ALL)).jobs)
    assert taken == 10
    three = await redis_bench.join("node-4")
    await listening(three)
    assert not (await three.claim(10, ALL)).jobs
    event = on_ready(three)
    await add(one, *Producer().specs(2))
    await heard(event)
    event.clear()
    assert len((await three.claim(2, ALL)).jobs) == 2
    await asyncio.sleep(0.05)
    assert not event.is_set(), "nothing was left"


async def test_node_that_got_less_than_it_asked_for_is_woken_too(one: RedisQueueStore, two: RedisQueueStore) -> None:
    """Fails on a model in which only empty claims register: such a node has free slots and waits for its slow poll."""
    await listening(two)
    event = on_ready(two)
    await add(one, *Producer().specs(1))
    assert len((await two.claim(10, ALL)).jobs) == 1
    await add(one, *Producer().specs(1))
    await heard(event)


@pytest.mark.parametrize("deed", ["release", "resume", "lapse", "return"])
async def test_whatever_makes_jobs_ready_wakes(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, deed: str) -> None:
    await listening(two)
    await add(one, *Producer().specs(1))
    if deed == "resume":
        await one.pause("default")
    claim = await one.claim(1, ALL)
    await two.claim(10, ALL)
    event = on_ready(two)
    if deed == "release":
        await one.finish([released(claim.fence, claim.jobs[0])])
    elif deed == "resume":
        await one.resume("default")
    elif deed == "return":
        await one.disconnect()
        await redis_bench.join("node-1", 2)
    else:
        three = await redis_bench.join("node-3")
        await let_lapse(redis_bench, three)
        # node 2 is silent, too: it is idle, and hears of it all the same
    await heard(event)


async def test_lives_that_ended_idle_are_forgotten_where_no_job_ever_comes(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    """Fails on a model in which a hint alone takes them out: each restart of a node leaves one behind."""
    weights = {"default": 1, "quiet": 1}
    for boot in range(1, 6):
        other = await redis_bench.join("node-2", boot)
        await other.claim(1, weights)
        await other.disconnect()
    await one.claim(1, weights)
    idle = await one._ask("SMEMBERS", [b"idle:quiet"])
    assert sorted(idle) == [b"node-1:1", b"node-2:5"]


async def test_finishing_wakes_those_who_wait_on_another_node(one: RedisQueueStore, two: RedisQueueStore) -> None:
    await listening(two)
    waited, other = await add(one, *Producer().specs(2))
    told: list[bytes] = []
    event = asyncio.Event()
    two.on_finished = _collect(told, event)
    await two.watch([waited])
    await run_all(one)
    await heard(event)
    assert told == [waited]
    assert other not in told


async def test_cancel_wakes_those_who_wait_on_another_node(one: RedisQueueStore, two: RedisQueueStore) -> None:
    await listening(two)
    (waited,) = await add(one, *Producer().specs(1))
    told: list[bytes] = []
    event = asyncio.Event()
    two.on_finished = _collect(told, event)
    await two.watch([waited])
    await one.cancel([waited])
    await heard(event)
    assert told == [waited]


def _collect(told: list[bytes], event: asyncio.Event) -> Callable[[object], None]:
    def take(ids: object) -> None:
        assert isinstance(ids, list)
        told.extend(ids)
        event.set()

    return take


async def test_a_job_of_a_queue_that_its_sender_does_not_serve_wakes_who_does(one: RedisQueueStore, two: RedisQueueStore) -> None:
    await listening(two)
    ready = on_ready(two)
    await one.claim(5, {"another": 1})
    await two.claim(5, ALL)
    ready.clear()
    await add(one, *Producer().specs(1))
    await heard(ready)
