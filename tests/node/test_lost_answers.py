"""A node whose link to Redis loses answers for longer than a call takes: it holds nothing that it does not know of, and counts right."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.redis_sentinels import wait_until
from sims.proxy import FaultProxy
from tests.node.test_stats import JUDGE, WEIGHTS, series_of
from tests.queue.making import Producer, RedisBench, add, completed, ids_of
from zjp.errors import StoreUnavailable
from zjp.job import JobState
from zjp.node.dispatch import Dispatch
from zjp.node.stats import NodeStats
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Live
from zjp.redis import lane
from zjp.wire.messages import TaskInfo
from zjp.worker.pool import Pool, PoolSettings

pytestmark = pytest.mark.covers("redis:away")

WITHIN_S = 30.0
CALL_S = 0.2


class Linked:
    """A dispatch at work whose pool has no credit, on a Redis behind the proxy; `other` has a link of its own."""

    def __init__(self, bench: RedisBench, proxy: FaultProxy, store: RedisQueueStore, other: RedisQueueStore) -> None:
        self.bench, self.proxy, self.store, self.other, self.stats = bench, proxy, store, other, NodeStats("n1", 1)
        self.dispatch = Dispatch(store, JUDGE, self.stats, weights=WEIGHTS, renew_s=1.0)
        self.dispatch.pool = Pool(
            PoolSettings(app="none:app"),
            on_ready=self.dispatch.on_ready, on_results=self.dispatch.on_results, on_returned=self.dispatch.on_returned,
            on_crashed=self.dispatch.on_crashed, on_progress=self.dispatch.on_progress, on_credit=self.dispatch.on_credit,
        )  # fmt: skip

    def claims(self) -> int:
        return int(self.bench.server.send(b"HLEN", b"{zjp:zjp}:claims")[1:])

    def heal(self) -> None:
        self.proxy.heal()
        self.proxy.cut()

    async def until(self, is_so: Callable[[], Any]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not await is_so():  # noqa: ASYNC110 - what is looked at is on the server
                await asyncio.sleep(0.005)


@pytest.fixture
async def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Linked]:
    bench = RedisBench(tmp_path)
    async with FaultProxy("127.0.0.1", bench.server.port) as proxy:
        other = await bench.join("other")
        bench.url = "redis://{}:{}".format(*proxy.address)
        made = Linked(bench, proxy, await bench.join("linked"), other)
        yield made
        await made.dispatch.stop()
        await made.store.disconnect()
        await bench.close()


@pytest.mark.parametrize("state", ["drained", "busy", "without an application"])
async def test_job_of_a_claim_whose_answer_was_lost_goes_back_though_the_node_claims_nothing_more(
    linked: Linked, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails on a node that asks for it only with its next claim: the job hung for as long as the node lived, even when it was cancelled."""
    dispatch, store = linked.dispatch, linked.store
    (job_id,) = await add(linked.other, Producer().spec())
    await store.claim(1, {"another": 1})
    linked.proxy.down.is_blackhole = True
    with monkeypatch.context() as patch:
        patch.setattr(lane, "CALL_S", CALL_S)
        with pytest.raises(StoreUnavailable):
            await store.claim(1, WEIGHTS)
    wait_until(lambda: linked.claims() == 1)
    if state != "without an application":
        dispatch.on_ready({"noop": TaskInfo("noop")})
    dispatch.is_claiming = state != "drained"
    dispatch.start()
    linked.heal()

    async def is_back() -> bool:
        (live,) = await linked.other.get([job_id])
        assert isinstance(live, Live)
        return live.state is JobState.PENDING

    await linked.until(is_back)
    claim = await linked.other.claim(1, WEIGHTS)
    assert ids_of(claim) == [job_id]
    assert (claim.jobs[0].attempts, claim.jobs[0].suspicion) == ((), 0)


async def test_node_without_credit_does_not_come_again_for_what_is_due(linked: Linked) -> None:
    """Fails on a node that keeps the last claim's due time: overdue, it asked itself again without a pause until a worker was free."""
    dispatch = linked.dispatch
    dispatch.on_ready({"noop": TaskInfo("noop")})
    dispatch.is_claiming = True
    dispatch._next_due_s = 0.0
    assert not await dispatch._claim_once()
    assert dispatch._next_due_s is None


async def test_answer_that_comes_when_the_node_is_drained_goes_back(linked: Linked) -> None:
    """It was claimed before that. Fails on a node that runs it all the same."""
    dispatch, store = linked.dispatch, linked.store
    (job_id,) = await add(linked.other, Producer().spec())
    dispatch.on_ready({"noop": TaskInfo("noop")})
    dispatch.is_claiming = True
    dispatch.pool.credit = lambda: 1  # type: ignore[method-assign, union-attr]
    await store.claim(1, {"another": 1})
    linked.proxy.down.latency_s = 0.3
    asked = asyncio.create_task(dispatch._claim_once())

    async def is_claimed() -> bool:
        return linked.claims() > 0

    await linked.until(is_claimed)
    dispatch.is_claiming = False
    await asked
    linked.proxy.heal()  # a first call on a slow link, log-in and script and all, may take longer than a call may
    assert [outcome.kind.value for outcome in dispatch._outcomes] == ["release"]
    assert await store.finish(dispatch._outcomes) == []
    assert ids_of(await linked.other.claim(1, WEIGHTS)) == [job_id]


async def test_outcomes_whose_answer_was_lost_count_as_finished(
    linked: Linked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Fails on a store that takes the repeat for a new batch: all would count as refused, which is an alarm."""
    dispatch, store = linked.dispatch, linked.store
    await add(linked.other, *Producer().specs(20))
    claim = await store.claim(20, WEIGHTS)
    await store.finish([completed(claim.fence, claim.jobs[0])])
    monkeypatch.setattr(lane, "CALL_S", CALL_S)
    linked.proxy.down.is_blackhole = True
    dispatch.start()
    dispatch._add([completed(claim.fence, job) for job in claim.jobs[1:]])

    async def are_held() -> bool:
        return len(await linked.other.outbox(100)) == 20 and any(record.message == "outcome.held" for record in caplog.records)

    await linked.until(are_held)
    monkeypatch.setattr(lane, "CALL_S", 15.0)
    linked.heal()
    async with asyncio.timeout(WITHIN_S):
        await dispatch._until_written()
    assert series_of(linked.stats, "zjp_fenced_writes_total")[()] == 0
    assert sum(series_of(linked.stats, "zjp_jobs_finished_total").values()) == 19
