"""An outcome that the queue's store refuses for good holds up no other, and its job ends with the reason."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.node.test_stats import JUDGE, WEIGHTS
from tests.queue.making import ALL, Producer, RedisBench, add, completed, retried
from zjp.job import JobState, Record
from zjp.node import dispatch as dispatch_module
from zjp.node import writing
from zjp.node.dispatch import Dispatch
from zjp.node.stats import NodeStats
from zjp.node.writing import LARGE_BYTES, Writing, bytes_of
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Claim, Live, Outcome, Refused
from zjp.redis import lane
from zjp.worker.pool import Pool, PoolSettings

pytestmark = pytest.mark.covers("redis:full")

WITHIN_S = 30.0
CALL_S = 0.4
LARGE = bytes(2 << 20)


class Node:
    """A dispatch at work, whose server takes values of up to 1 MiB."""

    def __init__(self, bench: RedisBench, store: RedisQueueStore) -> None:
        self.bench, self.store = bench, store
        self.dispatch = Dispatch(store, JUDGE, NodeStats("n1", 1), weights=WEIGHTS, renew_s=1.0)
        self.dispatch.pool = Pool(
            PoolSettings(app="none:app"),
            on_ready=self.dispatch.on_ready, on_results=self.dispatch.on_results, on_returned=self.dispatch.on_returned,
            on_crashed=self.dispatch.on_crashed, on_progress=self.dispatch.on_progress, on_credit=self.dispatch.on_credit,
        )  # fmt: skip

    def limit(self, size: bytes) -> None:
        assert self.bench.server.send(b"CONFIG", b"SET", b"proto-max-bulk-len", size) == b"+OK\r\n"

    async def claim(self, count: int) -> Claim:
        return await self.store.claim(count, ALL)

    async def until_finished(self, ids: Sequence[bytes]) -> list[Record]:
        async with asyncio.timeout(WITHIN_S):
            while True:
                found = [one for one in await self.store.get(ids) if isinstance(one, Record)]
                if len(found) == len(ids):
                    return found
                await asyncio.sleep(0.01)

    async def until_held(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.dispatch._held_count != count:  # noqa: ASYNC110 - the node's own loops change it
                await asyncio.sleep(0.01)


@pytest.fixture(params=["a socket", "TCP"])
async def node(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """Over TCP the server's word is heard mostly, over a socket only that the connection is gone."""
    monkeypatch.setattr(lane, "CALL_S", CALL_S)
    monkeypatch.setattr(writing, "STORE_RETRY_S", (0.01, 0.02))
    bench = RedisBench(tmp_path)
    bench.url = bench.server.url if request.param == "TCP" else ""
    made = Node(bench, await bench.open())
    made.limit(b"1mb")
    made.dispatch.start()
    yield made
    made.limit(b"512mb")
    await made.dispatch.stop()
    await bench.close()


async def test_result_that_redis_refuses_fails_its_job_and_holds_up_no_other(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    """Fails on a node that repeats the batch for as long as the server is set so."""
    ids = await add(node.store, *Producer().specs(20))
    claim = await node.claim(20)
    results = {4: LARGE, 11: LARGE + b"more"}
    node.dispatch._add([completed(claim.fence, job, results.get(number, b"\xc0")) for number, job in enumerate(claim.jobs)])
    records = await node.until_finished(ids)
    assert [number for number, record in enumerate(records) if record.state is not JobState.COMPLETED] == [4, 11]
    for number in (4, 11):
        record = records[number]
        assert (record.state, record.result) == (JobState.FAILED, b"")
        assert record.error is not None
        assert record.error.type == "ResultRefused"
        for words in (f"the result is {len(results[number])} bytes", "proto-max-bulk-len", "CONFIG SET", "return a reference"):
            assert words in record.error.message
    assert [one.message for one in caplog.records].count("outcome.result_refused") == 2
    async with asyncio.timeout(WITHIN_S):
        await node.dispatch._until_written()
    assert not (await node.claim(20)).jobs


async def test_once_the_limit_is_raised_results_of_that_size_are_written_again(node: Node) -> None:
    ids = await add(node.store, *Producer().specs(3))
    claim = await node.claim(3)
    node.dispatch._add([completed(claim.fence, claim.jobs[0], LARGE)])
    (refused,) = await node.until_finished(ids[:1])
    node.limit(b"512mb")
    node.dispatch._add([completed(claim.fence, job, LARGE) for job in claim.jobs[1:]])
    taken = await node.until_finished(ids[1:])
    assert [record.state for record in (refused, *taken)] == [JobState.FAILED, JobState.COMPLETED, JobState.COMPLETED]
    assert node.dispatch._writing._refused_bytes == 0


async def test_job_that_is_too_large_itself_is_tried_again_behind_the_others(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it can be left out."""
    monkeypatch.setattr(dispatch_module, "REFUSED_RETRY_S", 0.1)
    producer = Producer()
    node.limit(b"512mb")
    (large,) = await add(node.store, producer.spec(payload=LARGE))
    claim = await node.claim(1)
    node.limit(b"1mb")
    ids = await add(node.store, *producer.specs(5))
    others = await node.claim(5)
    node.dispatch._add([retried(claim.fence, claim.jobs[0], 60_000), *(completed(others.fence, job) for job in others.jobs)])
    await node.until_finished(ids)
    (found,) = await node.store.get([large])
    assert isinstance(found, Live)
    assert found.state is JobState.RUNNING
    await node.until_held(1)
    node.limit(b"512mb")
    await node.until_held(0)
    (found,) = await node.store.get([large])
    assert isinstance(found, Live)
    assert found.state is JobState.RETRYING


async def test_connection_that_ends_now_and_then_is_no_refusal(node: Node) -> None:
    node.limit(b"512mb")
    await add(node.store, *Producer().specs(3))
    for _ in range(3):
        claim = await node.claim(1)
        node.bench.server.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
        with contextlib.suppress(Exception):
            await node.store.counts()
        assert await node.store.finish([completed(claim.fence, claim.jobs[0], LARGE)]) == []


# ── by a store that is made to refuse ────────────────────────────────────────────────────────────────────────────────────────────────


class Refusing:
    """Takes a batch unless `refuses(batch)`."""

    def __init__(self, refuses: Callable[[list[Outcome]], bool]) -> None:
        self.refuses = refuses
        self.taken: list[Outcome] = []
        self.calls = 0

    async def finish(self, batch: list[Outcome]) -> None:
        self.calls += 1
        if self.refuses(batch):
            raise Refused("not this one")
        self.taken += batch

    def writing(self) -> Writing:
        return Writing(self.finish, held=lambda reason: None, broke=lambda: None)


@pytest.fixture
async def outcomes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Outcome]]:
    """The third has a large result."""
    monkeypatch.setattr(writing, "STORE_RETRY_S", (0.0, 0.0))
    bench = RedisBench(tmp_path)
    store = await bench.open()
    await add(store, *Producer().specs(16))
    claim = await store.claim(16, ALL)
    yield [completed(claim.fence, job, LARGE if number == 2 else b"\xc0") for number, job in enumerate(claim.jobs)]
    await bench.close()


async def test_store_that_refuses_everything_costs_no_result(outcomes: list[Outcome]) -> None:
    """Fails on a node that drops a result without knowing that the rest would be taken."""
    store = Refusing(lambda batch: True)
    left = await store.writing().insist(outcomes)
    assert {id(outcome) for outcome in left} == {id(outcome) for outcome in outcomes}
    assert len(left) == len(outcomes)
    assert outcomes[2].record is not None
    assert outcomes[2].record.result == LARGE


async def test_small_one_that_is_refused_is_given_back_and_all_others_are_written(outcomes: list[Outcome]) -> None:
    poison = outcomes[9]
    store = Refusing(lambda batch: poison in batch)
    left = await store.writing().insist(outcomes)
    assert [id(one) for one in left] == [id(poison)]
    assert len(store.taken) == len(outcomes) - 1


async def test_batch_that_is_too_large_as_a_whole_is_written_in_parts(outcomes: list[Outcome]) -> None:
    store = Refusing(lambda batch: len(batch) > 3)
    assert await store.writing().insist(outcomes) == []
    assert {id(one) for one in store.taken} == {id(one) for one in outcomes}


async def test_batch_that_is_refused_once_is_repeated_as_it_is(outcomes: list[Outcome]) -> None:
    """What was carried out unheard must be asked for again in the same call."""
    store = Refusing(lambda batch: store.calls == 1)
    assert await store.writing().insist(outcomes) == []
    assert (store.calls, store.taken) == (2, outcomes)


async def test_while_a_size_is_known_to_be_refused_such_outcomes_come_last_and_alone(outcomes: list[Outcome]) -> None:
    store = Refusing(lambda batch: any(bytes_of(outcome) > LARGE_BYTES for outcome in batch))
    made = store.writing()
    assert await made.insist(outcomes[:8]) == []
    calls, store.taken = store.calls, []
    assert await made.insist([outcomes[2], *outcomes[8:]]) == []
    assert store.calls - calls == 3
    assert [id(one) for one in store.taken[:-1]] == [id(one) for one in outcomes[8:]]
    record = store.taken[-1].record
    assert record is not None
    assert (record.state, record.result) == (JobState.FAILED, b"")
