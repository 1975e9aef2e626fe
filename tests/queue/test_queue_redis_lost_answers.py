"""Claims and outcomes whose answers are lost for longer than a call takes: the next call has them, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from scripts.redis_sentinels import wait_until
from sims.proxy import FaultProxy
from tests.queue.making import ALL, Producer, RedisBench, add, completed, failed, ids_of, pending, released, retried
from zjp.errors import StoreUnavailable
from zjp.job import JobState
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import CancelKind, Live, Outcome
from zjp.redis import lane
from zjp.redis.lane import Lane

pytestmark = pytest.mark.covers("redis:away", "redis:nodes")

KEYS = b"{zjp:zjp}:"


@pytest.fixture
async def one(redis_bench: RedisBench, proxy: FaultProxy) -> AsyncIterator[RedisQueueStore]:
    """Behind the proxy."""
    redis_bench.url = "redis://{}:{}".format(*proxy.address)
    store = await redis_bench.open()
    redis_bench.url = ""
    yield store
    await store.disconnect()


def count_of(bench: RedisBench, command: bytes, key: bytes) -> int:
    return int(bench.server.send(command, KEYS + key)[1:])


async def lose(proxy: FaultProxy, store: RedisQueueStore, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes out, and no answer comes within the time of a call."""
    for each in store._lanes.values():
        each._stop_timer()  # set for the former calls, whose time was longer
    proxy.down.is_blackhole = True
    with monkeypatch.context() as patch:
        patch.setattr(lane, "CALL_S", 0.2)
        with pytest.raises(StoreUnavailable):
            await call
    proxy.heal()
    proxy.cut()


def arguments_of_calls(store: RedisQueueStore) -> list[list[Any]]:
    """Of the scripts that it calls from now on, as they were when the call was made."""
    sent: list[list[Any]] = []
    retold = store._scripts.retold

    async def noted(name: str, lane: Lane, arguments: list[Any], repeat_at: int | None) -> Any:
        sent.append([*arguments])
        return await retold(name, lane, arguments, repeat_at)

    store._scripts.retold = noted  # type: ignore[method-assign]
    return sent


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(lane, "CALL_S", 15.0)
    return monkeypatch


# ── claims ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_claim_of_nothing_brings_what_a_lost_answer_held_and_no_more(
    redis_bench: RedisBench, proxy: FaultProxy, one: RedisQueueStore, patience: pytest.MonkeyPatch
) -> None:
    """Fails on a store that asks for it only with the next claim: a node that claims nothing more holds it as long as it lives."""
    ids = await add(one, *Producer().specs(5))
    assert ids_of(await one.claim(1, ALL)) == ids[:1]
    await lose(proxy, one, one.claim(2, ALL), patience)
    wait_until(lambda: count_of(redis_bench, b"HLEN", b"claims") == 2)
    found = await one.claim(0, ALL)
    assert sorted(ids_of(found)) == ids[1:3]
    assert not (await one.claim(0, ALL)).jobs
    assert await one.finish([released(found.fence, job) for job in found.jobs]) == []
    assert ids_of(await one.claim(10, ALL)) == ids[1:]


async def test_claim_of_nothing_takes_nothing(one: RedisQueueStore, proxy: FaultProxy, patience: pytest.MonkeyPatch) -> None:
    """Whether the lost call was carried out or never came."""
    ids = await add(one, *Producer().specs(3))
    assert not (await one.claim(0, ALL)).jobs
    await one.claim(1, {"another": 1})
    proxy.up.is_blackhole = True
    await lose(proxy, one, one.claim(2, ALL), patience)
    assert not (await one.claim(0, ALL)).jobs
    assert ids_of(await one.claim(3, ALL)) == ids


@pytest.mark.parametrize("count", [0, 1])
async def test_claim_that_comes_after_its_repeat_takes_nothing(
    proxy: FaultProxy, one: RedisQueueStore, patience: pytest.MonkeyPatch, count: int
) -> None:
    """The network sends again what was on its way when the connection was given up. Fails on a script that carries out what it gets: nobody
    would know of those jobs."""
    ids = await add(one, *Producer().specs(4))
    await one.claim(1, {"another": 1})
    sent = arguments_of_calls(one)
    proxy.up.is_blackhole = True
    await lose(proxy, one, one.claim(2, ALL), patience)
    assert ids_of(await one.claim(count, ALL)) == ids[:count]
    fence, *_, values, _, _, _ = await one._scripts("claim", one._lane("claim"), sent[0])
    assert (fence, values) == (b"0", [])
    assert ids_of(await one.claim(5, ALL)) == ids[count:]


async def test_repeat_of_a_claim_that_comes_after_the_next_one_takes_nothing(redis_bench: RedisBench) -> None:
    """Fails on a script that takes any repeat for the newest call: nobody would know of those jobs."""
    store = await redis_bench.open()
    ids = await add(store, *Producer().specs(4))
    sent = arguments_of_calls(store)
    assert ids_of(await store.claim(1, ALL)) == ids[:1]
    assert ids_of(await store.claim(1, ALL)) == ids[1:2]
    late = sent[0]
    late[4] = b"1"
    fence, *_, values, _, _, _ = await store._scripts("claim", store._lane("claim"), late)
    assert (fence, values) == (b"0", [])
    assert ids_of(await store.claim(5, ALL)) == ids[2:]


async def test_repeat_that_comes_after_a_repeat_that_found_nothing_takes_nothing(
    proxy: FaultProxy, one: RedisQueueStore, two: RedisQueueStore, patience: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it. Fails on a script in which only a claim that brought jobs is known to have been here."""
    await one.claim(1, {"another": 1})
    sent = arguments_of_calls(one)
    proxy.down.is_blackhole = True
    await lose(proxy, one, one.claim(2, ALL), patience)
    assert not (await one.claim(2, ALL)).jobs
    ids = await add(two, *Producer().specs(3))
    late = sent[0]
    late[4] = b"1"
    fence, *_, values, _, _, _ = await one._scripts("claim", one._lane("claim"), late)
    assert (fence, values) == (b"0", [])
    assert ids_of(await one.claim(5, ALL)) == ids


async def test_lost_claim_of_a_job_that_is_cancelled_ends_it(
    redis_bench: RedisBench, proxy: FaultProxy, one: RedisQueueStore, two: RedisQueueStore, patience: pytest.MonkeyPatch
) -> None:
    ids = await add(two, *Producer().specs(2))
    await one.claim(1, ALL)
    await lose(proxy, one, one.claim(1, ALL), patience)
    wait_until(lambda: count_of(redis_bench, b"HLEN", b"claims") == 2)
    assert await two.cancel(ids[1:]) == [CancelKind.CANCELLING]
    found = await one.claim(0, ALL)
    assert await one.finish([released(found.fence, job) for job in found.jobs]) == []
    (record,) = await two.get(ids[1:])
    assert record is not None
    assert record.state is JobState.CANCELLED


# ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("records_max", [0, 1000])
async def test_outcomes_whose_answer_was_lost_are_told_as_written_when_they_are_repeated(
    redis_bench: RedisBench, proxy: FaultProxy, patience: pytest.MonkeyPatch, records_max: int
) -> None:
    """Fails on a store that gives each call a number of its own: the repeat finds nothing held any more, and all is refused."""
    redis_bench.url = "redis://{}:{}".format(*proxy.address)
    one = await redis_bench.open(records_max=records_max)
    told: list[bytes] = []
    one.on_finished = told.extend
    ids = await add(one, *Producer().specs(4))
    claim = await one.claim(4, ALL)
    await one.finish([completed(claim.fence, claim.jobs[0])])
    make = [completed, completed, failed, released]
    outcomes = [kind(claim.fence, job) for kind, job in zip(make, claim.jobs, strict=True)]  # the first is refused: written before
    told.clear()
    await lose(proxy, one, one.finish(outcomes), patience)
    wait_until(lambda: count_of(redis_bench, b"EXISTS", b"c:%d" % claim.fence) == 0)
    assert await one.finish(outcomes) == ids[:1]
    assert told == ids[1:3]
    assert not one._held
    assert await one.finish(outcomes) == ids, "it was answered: the next one is a new one"
    assert ids_of(await one.claim(4, ALL)) == ids[3:]
    await one.disconnect()


async def test_outcomes_that_never_arrived_are_written_by_the_repeat(
    proxy: FaultProxy, one: RedisQueueStore, patience: pytest.MonkeyPatch
) -> None:
    ids = await add(one, *Producer().specs(3))
    claim = await one.claim(3, ALL)
    await one.finish([completed(claim.fence, claim.jobs[0])])
    outcomes = [completed(claim.fence, job) for job in claim.jobs[1:]]
    proxy.up.is_blackhole = True
    await lose(proxy, one, one.finish(outcomes), patience)
    assert await one.finish(outcomes) == []
    assert [item.record.job.spec.id for item in await one.outbox(10)] == ids


async def test_outcomes_whose_caller_gave_up_are_told_as_written_when_they_are_repeated(one: RedisQueueStore) -> None:
    await add(one, *Producer().specs(3))
    claim = await one.claim(3, ALL)
    outcomes = [completed(claim.fence, job) for job in claim.jobs]
    asked = asyncio.create_task(one.finish(outcomes))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert await one.finish(outcomes) == []
    assert len(await one.outbox(10)) == 3


class Forgetful:
    """The script that takes outcomes; of the calls with these numbers (from 1 on) the answer is lost."""

    def __init__(self, store: RedisQueueStore, *lost: int) -> None:
        self._call, self._lost, self._count = store._finishing._call, lost, 0
        store._finishing._call = self

    async def __call__(self, arguments: list[Any]) -> Any:
        self._count += 1
        reply = await self._call(arguments)
        if self._count in self._lost:
            raise StoreUnavailable("planted")
        return reply


async def insist(store: RedisQueueStore, outcomes: Sequence[Outcome]) -> list[bytes]:
    while True:
        try:
            return await store.finish(outcomes)
        except StoreUnavailable:
            continue


@pytest.mark.parametrize("lost", [(1,), (2,), (1, 3), (1, 2, 4, 5)])
async def test_batch_with_jobs_that_are_cancelled_is_written_once_whichever_answers_are_lost(
    one: RedisQueueStore, lost: tuple[int, ...]
) -> None:
    """Two calls, the second for those that must end as cancelled. Fails on a store that begins again with the first."""
    ids = await add(one, *Producer().specs(5))
    claim = await one.claim(5, ALL)
    await one.finish([completed(claim.fence, claim.jobs[0])])
    await one.cancel(ids[2:4])
    told: list[bytes] = []
    one.on_finished = told.extend
    Forgetful(one, *lost)
    outcomes = [completed(claim.fence, job) for job in claim.jobs[:4]] + [retried(claim.fence, claim.jobs[4], 60_000)]
    assert await insist(one, outcomes) == ids[:1]
    assert sorted(told) == ids[1:4]
    states = [found.state for found in await one.get(ids) if found is not None]
    assert states == [JobState.COMPLETED, JobState.COMPLETED, JobState.CANCELLED, JobState.CANCELLED, JobState.RETRYING]
    assert one.backlog().count == 4


async def test_repeat_behind_another_batch_is_judged_anew(one: RedisQueueStore) -> None:
    """The server has the last answer only, and it is another's. Never from a node, which insists on one batch at a time."""
    ids = await add(one, *Producer().specs(3))
    claim = await one.claim(3, ALL)
    lost, other = ([completed(claim.fence, job) for job in jobs] for jobs in (claim.jobs[:2], claim.jobs[2:]))
    Forgetful(one, 1)
    with pytest.raises(StoreUnavailable):
        await one.finish(lost)
    assert await one.finish(other) == []
    assert await one.finish(lost) == ids[:2]
    assert len(await one.outbox(10)) == 3


async def test_other_outcomes_of_the_same_jobs_are_no_repeat(one: RedisQueueStore) -> None:
    """Fails on a store that goes by ids: what was not written would be told as written."""
    ids = await add(one, *Producer().specs(2))
    claim = await one.claim(2, ALL)
    Forgetful(one, 1)
    with pytest.raises(StoreUnavailable):
        await one.finish([released(claim.fence, job) for job in claim.jobs])
    assert await one.finish([completed(claim.fence, job) for job in claim.jobs]) == ids
    assert await pending(one) == 2


async def test_repeat_on_a_server_that_never_had_the_batch_is_written(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    """As after a fail-over that lost the tail."""
    await add(one, *Producer().specs(2))
    claim = await one.claim(2, ALL)
    await one.finish([completed(claim.fence, claim.jobs[0])])
    former = redis_bench.server.send(b"HGET", KEYS + b"calls", one._life)
    rest = [completed(claim.fence, claim.jobs[1])]
    Forgetful(one, 1)
    with pytest.raises(StoreUnavailable):
        await one.finish(rest)
    job_id = claim.jobs[1].spec.id  # back to what the other knew
    redis_bench.server.send(b"HSET", KEYS + b"calls", one._life, former.split(b"\r\n")[1])
    redis_bench.server.send(b"HSET", KEYS + b"j", job_id, b"l")
    redis_bench.server.send(b"SADD", KEYS + b"c:%d" % claim.fence, job_id)
    redis_bench.server.send(b"HSET", KEYS + b"open:" + one._life, b"%d" % claim.fence, b"1")
    assert await one.finish(rest) == []


async def test_repeat_after_the_lease_was_lost_is_refused(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore) -> None:
    ids = await add(two, *Producer().specs(2))
    claim = await one.claim(2, ALL)
    for _ in range(17):
        redis_bench.pass_time(1.0)
        await two.renew({})
        await two.tend(100)
    again = await two.claim(2, ALL)
    outcomes = [completed(claim.fence, job) for job in claim.jobs]
    Forgetful(one, 1)
    with pytest.raises(StoreUnavailable):
        await one.finish(outcomes)
    assert await one.finish(outcomes) == ids
    (live, _) = await two.get(ids)
    assert isinstance(live, Live)
    assert (live.node, live.fence) == ("node-2", again.fence)
