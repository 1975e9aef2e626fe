"""What an idle node submits is handed to it in the step that stores it: as by a claim, and only what a claim would have brought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from scripts.redis_sentinels import wait_until
from sims.proxy import FaultProxy
from tests.queue.making import ALL, Producer, RedisBench, add, completed, ids_of, pending, released
from zjp.errors import OutcomeUnknown, StoreUnavailable
from zjp.job import JobFilter, JobState
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.turns import Turns
from zjp.queue.store import CancelKind, Claim, Live
from zjp.redis import lane

pytestmark = pytest.mark.covers("redis:nodes")

ROOM = 5
KEYS = b"{zjp:zjp}:"


class Node:
    """Takes what it is handed, and notes when it is told that something may be ready."""

    def __init__(self, store: RedisQueueStore, room: int = ROOM) -> None:
        self.store, self.handed, self.told = store, list[Claim](), 0
        store.on_claimed, store.room, store.on_ready = self.handed.append, lambda: room, self._ready

    def _ready(self) -> None:
        self.told += 1

    async def idle(self, queues: dict[str, int] = ALL) -> Node:
        await self.store._lane("submit").call(lambda _: (b"PING",))  # from here on its connection stands
        assert not (await self.store.claim(ROOM, queues)).jobs
        self.told = 0
        return self


@pytest.fixture
async def store(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.open()


@pytest.fixture
async def node(store: RedisQueueStore) -> Node:
    return await Node(store).idle()


async def counted(store: RedisQueueStore) -> tuple[int, int]:
    (count,) = await store.counts()
    return count.pending, count.running


@pytest.mark.parametrize("count", [1, 3, ROOM])
async def test_jobs_for_an_idle_node_come_with_their_submit(node: Node, producer: Producer, count: int) -> None:
    store = node.store
    ids = await add(store, *producer.specs(count))
    (claim,) = node.handed
    assert ids_of(claim) == ids
    assert node.told == 0, "they are here"
    assert await counted(store) == (0, count)
    assert not (await store.claim(ROOM, ALL)).jobs
    found = await store.get(ids)
    assert [entry.state for entry in found if isinstance(entry, Live)] == [JobState.RUNNING] * count
    assert [entry.job for entry in found if isinstance(entry, Live)] == list(claim.jobs), "as the queue has them"
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    assert await counted(store) == (0, 0)


async def test_idle_node_gets_one_request_after_the_other_and_each_fence_is_higher(node: Node, producer: Producer) -> None:
    ids = [job_id for _ in range(3) for job_id in await add(node.store, *producer.specs(2))]
    assert [job_id for claim in node.handed for job_id in ids_of(claim)] == ids
    fences = [claim.fence for claim in node.handed]
    assert fences == sorted(set(fences))
    last = await node.store.claim(ROOM, ALL)
    assert not last.jobs
    for claim in node.handed:
        assert await node.store.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def more_than_room(node: Node, _: RedisBench, producer: Producer) -> list[bytes]:
    return await add(node.store, *producer.specs(ROOM + 1))


async def paused(node: Node, _: RedisBench, producer: Producer) -> list[bytes]:
    await node.store.pause("default")
    ids = await add(node.store, *producer.specs(1))
    await node.store.resume("default")
    return ids


async def something_is_ready(node: Node, bench: RedisBench, producer: Producer) -> list[bytes]:
    other = await bench.join("node-2")
    first = await add(other, producer.spec(priority=1))
    return [*await add(node.store, producer.spec(priority=1)), *first][::-1]


async def several_levels(node: Node, _: RedisBench, producer: Producer) -> list[bytes]:
    return await add(node.store, producer.spec(priority=9), producer.spec(priority=2))


async def one_with_a_key(node: Node, _: RedisBench, producer: Producer) -> list[bytes]:
    return await add(node.store, producer.spec(unique_key="one"))


async def entry_of_a_cancelled_job(node: Node, bench: RedisBench, producer: Producer) -> list[bytes]:
    other = await bench.join("node-2")
    (cancelled,) = await add(other, *producer.specs(1))
    assert await other.cancel([cancelled]) == [CancelKind.CANCELLED]
    return await add(node.store, *producer.specs(1))


@pytest.mark.parametrize("case", [more_than_room, paused, something_is_ready, several_levels, one_with_a_key, entry_of_a_cancelled_job])
async def test_what_a_claim_would_have_to_sort_out_is_left_to_a_claim(
    node: Node, redis_bench: RedisBench, producer: Producer, case: Callable[..., Any]
) -> None:
    ids = await case(node, redis_bench, producer)
    assert node.handed == []
    assert node.told >= 1
    node.store.room = None
    assert ids_of(await node.store.claim(10, ALL)) == ids


async def test_node_that_is_not_idle_or_does_not_serve_the_queue_is_handed_nothing(
    store: RedisQueueStore, redis_bench: RedisBench, producer: Producer
) -> None:
    node = Node(store)
    ids = await add(store, *producer.specs(1))
    assert (node.handed, node.told) == ([], 1), "it has claimed nothing yet"
    assert ids_of(await store.claim(1, ALL)) == ids
    ids = await add(store, *producer.specs(1))
    assert node.handed == [], "it had no room"
    assert ids_of(await store.claim(5, ALL)) == ids
    named = {"another": 1, "named": 2}
    node = await Node(await redis_bench.join("node-2")).idle(named)
    await add(node.store, *producer.specs(1))
    assert (node.handed, node.told) == ([], 1), "it does not serve the queue"
    assert len((await store.claim(5, ALL)).jobs) == 1
    await node.idle(named)
    ids = await add(node.store, *producer.specs(2, "named"))
    assert [ids_of(claim) for claim in node.handed] == [ids]


async def test_node_that_is_full_by_it_is_idle_no_more_and_another_is_told_of_the_next(
    node: Node, redis_bench: RedisBench, producer: Producer
) -> None:
    other = Node(await redis_bench.join("node-2"))
    await other.idle()
    async with asyncio.timeout(5.0):
        while not redis_bench.server.send(b"PUBSUB", b"NUMSUB", KEYS + b"life:node-2:1").endswith(b":1\r\n"):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await add(node.store, *producer.specs(ROOM))
    assert len(node.handed) == 1
    other.told = 0
    (last,) = await add(node.store, *producer.specs(1))
    assert len(node.handed) == 1
    async with asyncio.timeout(5.0):
        while not other.told:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert ids_of(await other.store.claim(5, ALL)) == [last]


async def test_node_that_dies_with_them_loses_them_as_any_claim(node: Node, redis_bench: RedisBench, producer: Producer) -> None:
    ids = await add(node.store, *producer.specs(2))
    again = await redis_bench.crash(ids[0])
    assert (redis_bench.lost.jobs, redis_bench.lost.suspects) == (2, 1)
    claim = await again.claim(5, ALL)
    assert ids_of(claim) == ids
    assert [job.suspicion for job in claim.jobs] == [1, 0]
    assert await again.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_what_was_handed_is_cancelled_and_listed_as_what_was_claimed(node: Node, producer: Producer) -> None:
    ids = await add(node.store, *producer.specs(2))
    later = [*await add(node.store, *producer.specs(ROOM + 1))]
    page = await node.store.list(JobFilter(), b"", 3)
    rest = await node.store.list(JobFilter(), page.cursor, 10)
    assert [entry.job.spec.id for entry in [*page.jobs, *rest.jobs]] == [*ids, *later]
    assert await node.store.cancel(ids[:1]) == [CancelKind.CANCELLING]
    (claim,) = node.handed
    assert await node.store.finish([released(claim.fence, claim.jobs[0]), released(claim.fence, claim.jobs[1])]) == []
    assert await pending(node.store) == 1 + len(later)
    node.store.room = None
    assert ids_of(await node.store.claim(20, ALL)) == [ids[1], *later], "handed back, it stands in front again"


# ── answers that are lost ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def far(redis_bench: RedisBench, proxy: FaultProxy) -> AsyncIterator[Node]:
    """Behind the proxy."""
    redis_bench.url = "redis://{}:{}".format(*proxy.address)
    store = await redis_bench.open()
    redis_bench.url = ""
    await add(store, *Producer().specs(1))  # from here on the lane is connected
    assert len((await store.claim(ROOM, ALL)).jobs) == 1
    yield await Node(store).idle()
    await store.disconnect()


async def test_next_claim_brings_what_a_submit_had_handed_over_whose_answer_was_lost(
    far: Node, redis_bench: RedisBench, proxy: FaultProxy, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails on a store whose next claim takes the next number: they would be held by a node that does not know of them."""
    specs = producer.specs(2)
    proxy.down.is_blackhole = True
    with monkeypatch.context() as patch:
        patch.setattr(lane, "CALL_S", 0.2)
        with pytest.raises(OutcomeUnknown):
            await far.store.submit(specs)
    wait_until(lambda: redis_bench.server.send(b"HLEN", KEYS + b"claims") == b":2\r\n")
    proxy.heal()
    proxy.cut()
    assert (far.handed, far.told) == ([], 1)
    claim = await far.store.claim(ROOM, ALL)
    assert sorted(ids_of(claim)) == [spec.id for spec in specs]
    assert await far.store.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_submit_that_never_came_hands_nothing_over_when_it_comes_late(
    far: Node, proxy: FaultProxy, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network kept it back until a claim had gone before. Fails on a script that does not look at the number."""
    script = far.store._scripts["submit"]
    sent: list[list[Any]] = []
    command = script.command
    monkeypatch.setattr(script, "command", lambda arguments: sent.append([*arguments]) or command(arguments))
    proxy.up.is_blackhole = True
    with monkeypatch.context() as patch:
        patch.setattr(lane, "CALL_S", 0.2)
        with pytest.raises((OutcomeUnknown, StoreUnavailable)):
            await far.store.submit(producer.specs(1))
    proxy.heal()
    proxy.cut()
    assert not (await far.store.claim(ROOM, ALL)).jobs
    late = await far.store._scripts("submit", far.store._lane("other"), sent[0])
    assert late[:1] + late[3:] == [b"ok", b"0"]
    assert len((await far.store.claim(ROOM, ALL)).jobs) == 1


# ── whose turn it is ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_claim_at_a_time_and_a_lost_one_is_asked_again() -> None:
    turns = Turns()
    assert await turns.begin() == (1, False)
    assert turns.take() == 0
    second = asyncio.create_task(turns.begin())
    await asyncio.sleep(0)
    assert not second.done()
    turns.end(lost=1)
    assert await second == (1, True)
    turns.end()
    assert turns.take() == 2
    turns.end(lost=2)
    assert (turns.take(), turns.has_lost) == (0, True), "that is for a claim"
    assert await turns.begin() == (2, True)


async def test_who_waits_for_the_turn_has_it_next() -> None:
    """Fails on a lock that is free until the one who waits has woken up: a submit would then wait behind a whole claim, or go before it."""
    turns = Turns()
    assert turns.take() == 1
    waiting = asyncio.create_task(turns.begin())
    await asyncio.sleep(0)
    turns.end()
    assert turns.take() == 0
    assert await waiting == (2, False)
    turns.end()
    waiting = asyncio.create_task(turns.begin())
    assert turns.take() == 3
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    turns.end()
    assert turns.take() == 4, "who gave up waits no more"


async def test_claim_that_waited_for_its_turn_takes_what_there_is_room_for_by_then(store: RedisQueueStore, producer: Producer) -> None:
    """Fails on a store that goes by the room of before: the node would have twice what it can take."""
    node = await Node(store).idle()
    room = ROOM
    store.room = lambda: room - sum(len(claim.jobs) for claim in node.handed)
    first = asyncio.create_task(store.submit(producer.specs(ROOM - 2)))
    second = asyncio.create_task(store.submit(producer.specs(ROOM)))
    await asyncio.sleep(0)
    claims = [asyncio.create_task(store.claim(ROOM, ALL))]
    await asyncio.gather(first, second)
    claim = await claims[0]
    assert [len(handed.jobs) for handed in node.handed] == [ROOM - 2]
    assert len(claim.jobs) <= 2


async def test_close_answers_what_had_gathered_behind_a_submit_under_way(store: RedisQueueStore, producer: Producer) -> None:
    """Fails on a store that waits for the one that is under way only."""
    asked = [asyncio.create_task(store.submit(producer.specs(1000))) for _ in range(4)]
    await asyncio.sleep(0)
    await store.close()
    assert [len(answers) for answers in await asyncio.gather(*asked)] == [1000] * 4


async def test_submits_at_level_replica_hand_nothing_over(store: RedisQueueStore, producer: Producer) -> None:
    """They may wait a second for a replica, and claims would wait with them."""
    node = await Node(store).idle()
    store._deeds.is_replicated = True
    asked = asyncio.create_task(store.submit(producer.specs(1)))
    with pytest.raises(OutcomeUnknown):
        await asked
    assert node.handed == []
