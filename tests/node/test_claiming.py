"""When a node on Redis claims: with credit at once where jobs may have been left behind, else soon; with a hint always at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.node.test_stats import JUDGE, WEIGHTS
from tests.queue.making import Producer, RedisBench, add
from zjp.job import StoredJob
from zjp.node import dispatch as dispatch_module
from zjp.node.dispatch import Dispatch
from zjp.node.stats import NodeStats
from zjp.queue.redis import RedisQueueStore
from zjp.wire.messages import TaskInfo
from zjp.worker.pool import Pool, PoolSettings

pytestmark = pytest.mark.covers("redis:nodes")

WITHIN_S = 10.0
QUIET_S = 0.2


class Node:
    """A dispatch at work whose workers take `room` jobs, and no more until it is set anew; `other` is another node on the same queue."""

    def __init__(self, bench: RedisBench, store: RedisQueueStore, other: RedisQueueStore) -> None:
        self.bench, self.store, self.other, self.producer = bench, store, other, Producer()
        self.room = 0
        self.got: list[bytes] = []
        self.claims = 0
        self.dispatch = dispatch = Dispatch(store, JUDGE, NodeStats("n1", 1), weights=WEIGHTS, renew_s=60.0)
        dispatch.pool = Pool(
            PoolSettings(app="none:app"), on_ready=dispatch.on_ready, on_results=dispatch.on_results, on_returned=dispatch.on_returned,
            on_crashed=dispatch.on_crashed, on_progress=dispatch.on_progress, on_credit=dispatch.on_credit,
        )  # fmt: skip
        dispatch.pool.credit, dispatch.pool.dispatch = lambda: self.room, self._start  # type: ignore[method-assign]
        self._claim, store.claim = store.claim, self._counted  # type: ignore[method-assign]

    async def _counted(self, *asked: object) -> object:
        self.claims += 1
        return await self._claim(*asked)  # type: ignore[arg-type]

    def _start(self, fence: int, jobs: Sequence[StoredJob]) -> None:
        self.got += [job.spec.id for job in jobs]
        self.room -= len(jobs)

    def scripts_called(self) -> int:
        return int(self.bench.server.send(b"INFO", b"commandstats").partition(b"cmdstat_evalsha:calls=")[2].partition(b",")[0])

    def has_room(self, count: int) -> None:
        self.room = count
        self.dispatch.on_credit()

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not is_so():  # noqa: ASYNC110 - it is what the node's own loops change
                await asyncio.sleep(0.001)

    async def idle(self, room: int) -> None:
        """It has claimed with that room, and found nothing."""
        self.has_room(room)
        await self.until(lambda: self.dispatch._has_all)


@pytest.fixture
async def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    monkeypatch.setattr(dispatch_module, "BELT_S", 600.0)
    bench = RedisBench(tmp_path)
    made = Node(bench, await bench.join("one"), await bench.join("other"))
    for store in (made.store, made.other):
        await store._hints.is_listening.wait()  # type: ignore[union-attr]
    await made.store._lane("submit").call(lambda _: (b"PING",))  # from here on its connection stands, and submits may hand over
    made.dispatch.start()
    made.dispatch.is_claiming = True
    made.dispatch.on_ready({"noop": TaskInfo("noop")})
    yield made
    await made.dispatch.stop()
    await made.store.close()
    await bench.close()


async def test_credit_waits_where_all_was_claimed_and_a_hint_does_not(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails on a node that claims with each result: under load it would hold the turn nearly always, and be handed nothing."""
    monkeypatch.setattr(dispatch_module, "CREDIT_S", 600.0)
    await node.idle(10)
    ids = await add(node.other, *node.producer.specs(3))
    await node.until(lambda: node.got == ids and node.dispatch._has_all)
    claims = node.claims
    for room in range(7, 10):
        node.has_room(room)
        await asyncio.sleep(QUIET_S / 3)
    assert node.claims == claims
    ids += await add(node.other, *node.producer.specs(1))
    await node.until(lambda: node.got == ids)


async def test_node_at_work_comes_soon_for_what_it_was_not_hinted_of(node: Node) -> None:
    """Fails on a node whose credit is no reason to claim at all: a hint that was lost costs a second then, while its workers wait."""
    await node.idle(10)
    assert node.bench.server.send(b"DEL", b"{zjp:zjp}:idle:*") == b":1\r\n"
    ids = await add(node.other, *node.producer.specs(3))
    claims = node.claims
    for _ in range(100):
        node.has_room(10)
    await node.until(lambda: node.got == ids)
    assert node.claims <= claims + 2


async def test_credit_is_a_reason_to_claim_where_jobs_were_left_behind(node: Node) -> None:
    await node.idle(2)
    ids = await add(node.other, *node.producer.specs(5))
    for claimed in (2, 4, 5):
        await node.until(lambda claimed=claimed: node.got == ids[:claimed])  # type: ignore[misc]
        node.has_room(2)


async def test_node_that_was_handed_all_it_had_room_for_claims_when_it_has_room_again(node: Node) -> None:
    """It is idle no more, so nobody hints it. Fails on a node that goes by the claim before: the job would wait for the poll."""
    await node.idle(2)
    ids = await add(node.store, *node.producer.specs(2))
    assert node.got == ids
    ids += await add(node.other, *node.producer.specs(1))
    node.has_room(1)
    await node.until(lambda: node.got == ids)


@pytest.mark.parametrize("knows", [True, False])
async def test_hint_that_comes_while_there_is_no_room_is_not_forgotten_and_goes_on_to_the_next(node: Node, knows: bool) -> None:
    """It was noted as idle for its room, which its jobs have used up. Fails on a node that keeps the hint to itself. `knows`: that it still
    is noted; of several queues a submit that fills it takes it out of one."""
    await node.idle(2)
    node.room, node.store._is_idle = 0, knows
    heard = asyncio.Event()
    node.other.on_ready = heard.set
    assert not (await node.other.claim(5, WEIGHTS)).jobs
    third = await node.bench.join("third")
    assert node.bench.server.send(b"SREM", b"{zjp:zjp}:idle:*", b"other:1") == b":1\r\n"  # so that it is the node that is hinted
    ids = await add(third, *node.producer.specs(1))
    assert node.bench.server.send(b"SADD", b"{zjp:zjp}:idle:*", b"other:1") == b":1\r\n"
    await asyncio.wait_for(heard.wait(), WITHIN_S)
    assert not node.dispatch._has_all
    node.has_room(1)
    await node.until(lambda: node.got == ids)


async def test_full_node_says_nothing_to_redis_when_it_is_not_noted_as_idle(node: Node) -> None:
    await node.idle(2)
    node.room = 0
    await add(node.store, *node.producer.specs(2))
    await node.until(lambda: not node.store._is_idle and not node.store._is_hinted)
    asked = node.scripts_called()
    for _ in range(5):
        await node.dispatch._claim_once()
    assert node.scripts_called() == asked
