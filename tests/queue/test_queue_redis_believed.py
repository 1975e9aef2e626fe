"""Outcomes of a claim that holds what its node believes are not asked for one by one. What the claim does not hold is refused all the same.

A job leaves a claim behind its node's back when the answer of the finish that took it was lost, and it is not repeated as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.queue.making import ALL, Producer, RedisBench, add, completed, ids_of, released
from zjp.job import StoredJob
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Claim, Live, OutboxItem, Outcome

pytestmark = pytest.mark.covers("redis:nodes")

KEYS = b"{zjp:zjp}:"


def take_away(bench: RedisBench, claim: Claim, *jobs: StoredJob) -> None:
    for job in jobs:
        assert bench.server.send(b"SREM", KEYS + b"c:%d" % claim.fence, job.spec.id) == b":1\r\n"


async def ask(store: RedisQueueStore, *command: bytes) -> Any:
    return await store._lane("other").call(lambda _: command)


def outcomes_of(claim: Claim) -> list[Outcome]:
    return [completed(claim.fence, job) for job in claim.jobs]


def ids_in(items: Sequence[OutboxItem]) -> list[bytes]:
    return sorted(item.record.job.spec.id for item in items)


async def claim_of(store: RedisQueueStore, count: int, queues: int) -> Claim:
    producer = Producer()
    await add(store, *(producer.spec(f"queue-{number % queues}") for number in range(count)))
    claim = await store.claim(count, {f"queue-{number}": 1 for number in range(queues)})
    assert len(claim.jobs) == count
    return claim


@pytest.mark.parametrize("queues", [1, 2, 3])
@pytest.mark.parametrize("gone", [0, 3, 5])
async def test_job_that_left_the_claim_is_refused_alone(redis_bench: RedisBench, one: RedisQueueStore, queues: int, gone: int) -> None:
    """In whichever section of its fence it is. Fails on a script that does not look how many the claim holds."""
    claim = await claim_of(one, 6, queues)
    take_away(redis_bench, claim, claim.jobs[gone])
    ids = ids_of(claim)
    assert await one.finish(outcomes_of(claim)) == ids[gone : gone + 1]
    assert ids_in(await one.outbox(10)) == sorted(ids[:gone] + ids[gone + 1 :])
    assert redis_bench.server.send(b"EXISTS", KEYS + b"c:%d" % claim.fence) == b":0\r\n"


@pytest.mark.parametrize("part", [2, 4])
async def test_job_that_left_the_claim_is_refused_alone_in_a_later_part(redis_bench: RedisBench, one: RedisQueueStore, part: int) -> None:
    """A finish of some of the claim's jobs before and after; one by one or several of two queues together."""
    claim = await claim_of(one, 12, 2)
    ids, refused = ids_of(claim), list[bytes]()
    outcomes = outcomes_of(claim)
    refused += await one.finish(outcomes[:part])
    take_away(redis_bench, claim, claim.jobs[7])
    for at in range(part, 12, part):
        refused += await one.finish(outcomes[at : at + part])
    assert refused == ids[7:8]
    assert ids_in(await one.outbox(20)) == sorted(ids[:7] + ids[8:])


async def test_job_that_left_a_claim_of_more_than_one_chunk_is_refused_alone(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    claim = await claim_of(one, 1100, 1)
    take_away(redis_bench, claim, claim.jobs[700])
    assert await one.finish(outcomes_of(claim)) == ids_of(claim)[700:701]
    assert one.backlog().count == 1099


async def test_outcome_that_is_told_again_hides_no_job_that_left(redis_bench: RedisBench, one: RedisQueueStore) -> None:
    """Of one fence, in two sections. Fails on a store that takes the first one off the claim's size for the second, though it had left
    before: then the size is right by chance."""
    claim = await claim_of(one, 8, 2)
    again, gone, *others = sorted(outcomes_of(claim), key=lambda outcome: outcome.job.spec.id)
    assert again.job.spec.queue != gone.job.spec.queue
    assert await one.finish([again]) == []
    take_away(redis_bench, claim, gone.job)
    assert await one.finish([again, gone]) == [again.job.spec.id, gone.job.spec.id]
    assert len(await one.outbox(20)) == 1
    assert await one.finish(others) == []


async def claimed_twice(bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, first: int) -> tuple[Claim, Claim]:
    """A fail-over that lost a claim, to a server whose clock is behind: another node is given that very fence. `first`: place of the job
    that it has under it, among those that are ready."""
    known = {key: await ask(one, b"DUMP", key) for key in await ask(one, b"KEYS", b"*")}
    mine = await one.claim(1, ALL)
    await ask(one, b"FLUSHALL")
    for key, dump in known.items():
        await ask(one, b"RESTORE", key, b"0", dump)
    bench.pass_time(-1.0)
    if first:
        earlier = await two.claim(first, ALL)
        assert await two.finish(outcomes_of(earlier)) == []
    bench.pass_time(1.0)
    theirs = await two.claim(1, ALL)
    assert theirs.fence == mine.fence
    return mine, theirs


@pytest.mark.parametrize("records_max", [0, 1000])
async def test_fence_that_a_replaced_server_gives_out_again_is_its_new_holders(redis_bench: RedisBench, records_max: int) -> None:
    """Fails on a script that goes by a claim's size whoever has it: the claim is gone, and the job of its holder would never run again."""
    one = await redis_bench.open(records_max=records_max)
    two = await redis_bench.join("node-2", records_max=records_max)
    ids = await add(one, *Producer().specs(2))
    mine, theirs = await claimed_twice(redis_bench, one, two, 1)
    assert (ids_of(mine), ids_of(theirs)) == (ids[:1], ids[1:])
    assert await one.finish(outcomes_of(mine)) == ids[:1]
    assert await two.finish(outcomes_of(theirs)) == []
    assert not any(isinstance(found, Live) for found in await two.get(ids))


@pytest.mark.parametrize("make", [completed, released])
async def test_outcome_under_a_fence_that_was_given_out_again_is_refused_though_it_is_the_same_job(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, make: Callable[[int, StoredJob], Outcome]
) -> None:
    """Fails on a script that asks what the claim holds, and not whose it is."""
    ids = await add(one, *Producer().specs(1))
    mine, theirs = await claimed_twice(redis_bench, one, two, 0)
    assert ids_of(mine) == ids_of(theirs) == ids
    assert await one.finish([make(mine.fence, mine.jobs[0])]) == ids
    assert await two.finish(outcomes_of(theirs)) == []
