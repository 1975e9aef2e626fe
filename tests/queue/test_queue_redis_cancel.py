"""Cancels in Redis of jobs in every place: what each costs the server beside many claims, and what is kept of attempts that were lost."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

import pytest

from tests.queue.making import ALL, NODE, Producer, RedisBench, add, completed, ids_of, pending, released
from tests.queue.test_queue_redis_hints import listening
from tests.queue.test_queue_redis_nodes import let_lapse
from zjp.job import JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import CancelKind

pytestmark = pytest.mark.covers("redis:nodes")

CLAIMS = 12
STRANGER = b"?" * 16


async def verdicts(bench: RedisBench, store: RedisQueueStore, ids: Sequence[bytes]) -> tuple[str, int]:
    """Of the script, which takes an id twice as well: a letter for each, and how often it asked a set for ids."""
    bench.server.send(b"CONFIG", b"RESETSTAT")
    told, *_ = await store._ask("cancel", list(ids))
    stats = bench.server.send(b"INFO", b"commandstats").decode()
    asked = re.findall(r"cmdstat_(?:sismember|smismember|smembers|spop):calls=(\d+)", stats)
    return b"".join(told).decode(), sum(map(int, asked))


async def held_by_claims(store: RedisQueueStore, producer: Producer, size: int) -> list[bytes]:
    ids = await add(store, *producer.specs(CLAIMS * size))
    for _ in range(CLAIMS):
        await store.claim(size, ALL)
    return ids


# ── what it costs ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_cancel_of_many_asks_each_claim_once(redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, size: int) -> None:
    """Fails on a script that asks each claim for each id. `size`: of a claim, far below the ids that are sought, or above."""
    producer = Producer()
    running = await held_by_claims(one, producer, size)
    done, back, theirs = await add(two, *producer.specs(3))
    claim = await two.claim(3, ALL)
    assert await two.finish([completed(claim.fence, claim.jobs[0]), released(claim.fence, claim.jobs[1])]) == []
    waiting = await add(two, *producer.specs(20))
    later = await add(two, *(producer.spec(delay_ms=60_000) for _ in range(10)))
    some = [*waiting, STRANGER, theirs, *running[-2:], *later, done, back]
    told, asked = await verdicts(redis_bench, two, [*some, *some])
    first = "w" * 20 + "u" + "c" * 3 + "w" * 10 + "fw"
    assert told == first + first.replace("w", "f")
    assert asked <= CLAIMS + 1
    states = [one.state for one in await two.get([theirs, *running[-2:]]) if one is not None]
    assert states == [JobState.CANCELLING] * 3
    assert await pending(two) == 0


async def test_cancel_of_more_than_one_question_holds_finds_them_all(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    """Some claims hold more than is sought, so they are asked, 500 ids at a time."""
    producer = Producer()
    ids = await add(one, *producer.specs(6000))
    for _ in range(3):
        await one.claim(2000, ALL)
    waiting = await add(two, *producer.specs(500))
    sought = [*ids[:300], *waiting, *ids[4000:4200]]
    told, asked = await verdicts(redis_bench, two, sought)
    assert told == "c" * 300 + "w" * 500 + "c" * 200
    assert asked <= 3 * 2


@pytest.mark.parametrize("size", [1, 3, 100])
async def test_cancel_of_many_on_their_way_back_asks_each_lapsed_claim_once(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, size: int
) -> None:
    producer = Producer()
    lost = await held_by_claims(one, producer, size)
    await let_lapse(redis_bench, two, moves=0)
    waiting = await add(two, *producer.specs(30))
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    some = [*waiting, lost[0], lost[-1]]
    assert await two.cancel(some) == [CancelKind.CANCELLED] * 32
    stats = redis_bench.server.send(b"INFO", b"commandstats").decode()
    found = re.findall(r"cmdstat_(?:sismember|smismember|smembers|srem):calls=(\d+)", stats)
    assert sum(map(int, found)) <= 2 * CLAIMS + len(some) + 2, "a removal for each that ended, and one for each that was found there"
    await two.tend(10_000)
    assert ids_of(await two.claim(10_000, ALL)) == lost[1:-1]


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_marked", [False, True], ids=["cancelled on its way back", "and before, while it ran"])
async def test_record_of_a_job_that_is_cancelled_on_its_way_back_has_the_lost_attempt(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore, is_marked: bool
) -> None:
    """Fails on a script that takes it from the lapsed claim and notes nothing."""
    ids = await add(one, *Producer().specs(4))
    claims = [await one.claim(2, ALL), await one.claim(2, ALL)]
    if is_marked:
        assert await two.cancel(ids[1:3]) == [CancelKind.CANCELLING] * 2
    await let_lapse(redis_bench, two, moves=0)
    assert await two.cancel(ids[1:3]) == [CancelKind.CANCELLED] * 2
    expected = [(claim.fence, NODE, "lost") for claim in claims]
    records = [found for found in await two.get(ids[1:3]) if isinstance(found, Record)]
    moved = [item.record for item in await two.outbox(10)]
    for ended in (records, moved):
        told = [[(one.fence, one.node, one.outcome) for one in record.job.attempts] for record in ended]
        assert told == [[one] for one in expected]
        assert {record.state for record in ended} == {JobState.CANCELLED}
    await two.tend(100)
    again = await two.claim(10, ALL)
    assert ids_of(again) == [ids[0], ids[3]]
    assert [[one.fence for one in job.attempts] for job in again.jobs] == [[claim.fence] for claim in claims]


# ── what they leave in the lists ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_claim_drops_some_thousand_entries_of_cancelled_jobs_and_asks_to_come_again(
    redis_bench: RedisBench, one: RedisQueueStore
) -> None:
    """Fails on a claim that walks over all of them: the server heard nobody for seconds. And where they are dropped one by one."""
    producer = Producer()
    for _ in range(11):
        await one.cancel(await add(one, *producer.specs(1_000)))
        await one.outbox_remove(await one.outbox(1_000))
    (last,) = await add(one, *producer.specs(1))
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    claim = await one.claim(1, ALL)
    assert (list(claim.jobs), claim.next_due_s) == ([], 0.0)
    assert redis_bench.server.send(b"LLEN", b"{zjp:zjp}:q:\x05default") == b":1000\r\n"
    stats = redis_bench.server.send(b"INFO", b"commandstats").decode()
    assert sum(int(calls) for calls in re.findall(r"calls=(\d+)", stats)) < 1_000
    assert await pending(one) == 1
    assert ids_of(await one.claim(1, ALL)) == [last]
    assert redis_bench.server.send(b"EXISTS", b"{zjp:zjp}:stale", b"{zjp:zjp}:seats") == b":0\r\n"


async def test_a_job_run_again_has_its_turn_among_entries_that_are_dropped(one: RedisQueueStore) -> None:
    """Its former entries stand within and beyond what one look takes."""
    ids = await add(one, *Producer().specs(900))
    for _ in range(3):
        await one.cancel(ids)
        records = [each for each in await one.get(ids) if isinstance(each, Record)]
        assert await one.requeue(records) == [True] * 900
    await one.cancel(ids[10:890])
    assert ids_of(await one.claim(7, ALL)) == ids[:7]
    assert ids_of(await one.claim(100, ALL)) == [*ids[7:10], *ids[890:]]
    assert not (await one.claim(100, ALL)).jobs
    assert await pending(one) == 0


async def test_end_of_a_job_whose_node_came_back_is_told_to_those_who_wait_on_another(
    redis_bench: RedisBench, one: RedisQueueStore, two: RedisQueueStore
) -> None:
    """It was being cancelled when that was killed. Fails on a script that tells nobody: who waits is noted there for ever."""
    await listening(two)
    (waited,) = await add(one, *Producer().specs(1))
    await one.claim(1, ALL)
    told: asyncio.Queue[object] = asyncio.Queue()
    two.on_finished = told.put_nowait
    await two.watch([waited])
    assert await two.cancel([waited]) == [CancelKind.CANCELLING]
    await one.disconnect()
    await redis_bench.join("node-1", 2)
    assert await asyncio.wait_for(told.get(), 5.0) == [waited]
    assert redis_bench.server.send(b"EXISTS", b"{zjp:zjp}:w") == b":0\r\n"
