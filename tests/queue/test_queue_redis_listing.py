"""Listings of a queue in Redis whose lists hold more than the jobs that wait there: entries of jobs that were cancelled, also of such as
run again. Each job is listed once, where it will run, and what a page costs does not depend on them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.queue.making import ALL, NODE, Producer, RedisBench, add, ids_of, released
from zjp.job import JobFilter, JobState, Record
from zjp.queue.redis import RedisQueueStore, looking
from zjp.queue.store import Live

pytestmark = pytest.mark.covers("redis:nodes")

PENDING = JobFilter(state=JobState.PENDING)
PAGE = 50


@pytest.fixture
async def store(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.open()


async def shown(store: RedisQueueStore, limit: int) -> list[bytes]:
    listed: list[bytes] = []
    cursor = b""
    while True:
        page = await store.list(PENDING, cursor, limit)
        assert len(page.jobs) <= limit
        listed += [live.job.spec.id for live in page.jobs]
        cursor = page.cursor
        if not cursor:
            return listed


async def run_again(store: RedisQueueStore, ids: Sequence[bytes]) -> None:
    records = [one for one in await store.get(ids) if isinstance(one, Record)]
    assert await store.requeue(records) == [True] * len(ids)


def asked(bench: RedisBench, command: str) -> int:
    """How often, since `CONFIG RESETSTAT`."""
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", bench.server.send(b"INFO", b"commandstats").decode())
    return int(found[1]) if found else 0


async def cancel_and_run_some_again(store: RedisQueueStore, seed: int) -> list[bytes]:
    """Returns the jobs that wait, in their order."""
    dice = random.Random(seed)
    waiting = await add(store, *Producer().specs(40))
    gone: list[bytes] = []
    for _ in range(60):
        deed = dice.choice(("cancel", "cancel", "again", "again", "claim"))
        some = dice.sample(waiting if deed == "cancel" else gone, k=min(3, len(waiting if deed == "cancel" else gone)))
        if deed == "cancel" and some:
            await store.cancel(some)
            waiting, gone = [one for one in waiting if one not in some], gone + some
        elif deed == "again" and some:
            await run_again(store, some)
            waiting, gone = waiting + some, [one for one in gone if one not in some]
        elif deed == "claim" and dice.random() < 0.3:
            assert ids_of(await store.claim(1, ALL)) == waiting[:1]
            waiting = waiting[1:]
    return waiting


@pytest.mark.parametrize("seed", range(4))
async def test_each_job_is_listed_once_where_it_will_run(redis_bench: RedisBench, store: RedisQueueStore, seed: int) -> None:
    waiting = await cancel_and_run_some_again(store, seed)
    for limit in (1, 7, 100):
        assert await shown(store, limit) == waiting
    assert ids_of(await store.claim(100, ALL)) == waiting
    assert redis_bench.server.send(b"EXISTS", b"{zjp:zjp}:stale", b"{zjp:zjp}:seats") == b":0\r\n"


@pytest.mark.parametrize("compared_max", [1, 1_000])
async def test_where_no_version_noted_its_place_a_job_is_searched_for_within_bounds(
    redis_bench: RedisBench, store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch, compared_max: int
) -> None:
    monkeypatch.setattr(looking, "COMPARED_MAX", compared_max)
    waiting = await cancel_and_run_some_again(store, 5)
    redis_bench.server.send(b"DEL", b"{zjp:zjp}:seats")
    for limit in (1, 7, 100):
        assert await shown(store, limit) == waiting
    assert asked(redis_bench, "lpos") > 0


async def test_a_place_that_was_noted_for_a_former_run_is_not_believed(
    redis_bench: RedisBench, store: RedisQueueStore
) -> None:
    """A node of another version runs it again and notes nothing."""
    first, second = await add(store, *Producer().specs(2))
    for _ in range(2):
        seats = redis_bench.server.send(b"HGET", b"{zjp:zjp}:seats", first)
        await store.cancel([first])
        await run_again(store, [first])
    redis_bench.server.send(b"HSET", b"{zjp:zjp}:seats", first, seats.split(b"\r\n", 1)[1][:-2])
    assert await shown(store, 1) == [second, first]


@pytest.mark.parametrize("is_run_again", [False, True])
async def test_a_page_costs_no_more_because_many_were_cancelled(
    redis_bench: RedisBench, store: RedisQueueStore, is_run_again: bool
) -> None:
    """Fails on a look through the whole list for each of them."""
    ids = [job_id for _ in range(2) for job_id in await add(store, *Producer().specs(1000))]
    gone = ids[:600]
    await store.cancel(gone)
    if is_run_again:
        await run_again(store, gone)
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    page = await store.list(JobFilter(), b"", PAGE)
    assert [live.job.spec.id for live in page.jobs] == ids[600 : 600 + PAGE]
    assert page.scanned == 600 + PAGE
    assert asked(redis_bench, "lpos") == 0
    assert asked(redis_bench, "evalsha") < 10


async def test_entries_of_cancelled_jobs_count_as_looked_at(
    store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "SCAN_MAX", 100)
    *gone, last = await add(store, *Producer().specs(251))
    await store.cancel(gone)
    cursor, pages = b"", []
    while not pages or cursor:
        page = await store.list(PENDING, cursor, PAGE)
        pages.append((page.scanned, [live.job.spec.id for live in page.jobs]))
        cursor = page.cursor
    assert pages == [(100, []), (100, []), (51, [last])]


@pytest.mark.parametrize("listed", [1, 3, 5])
async def test_what_is_claimed_between_pages_is_listed_where_it_stood_whatever_was_cancelled_before_it(
    store: RedisQueueStore, listed: int
) -> None:
    """Fails on a claim that remembers the place of its first job only, and counts on as if no entry behind it had been stale."""
    ids = await add(store, *Producer().specs(12))
    gone = [*ids[:4], ids[6], ids[9]]
    await store.cancel(gone)
    waiting = [one for one in ids if one not in gone]
    first = await store.list(JobFilter(), b"", listed)
    assert ids_of(await store.claim(100, ALL)) == waiting
    rest = await store.list(JobFilter(), first.cursor, 100)
    assert [live.job.spec.id for live in (*first.jobs, *rest.jobs)] == waiting


async def test_what_is_claimed_while_a_page_is_made_is_on_it(store: RedisQueueStore) -> None:
    """Fails on a look at the claims that comes before the look at the list: what is claimed in between is in neither."""
    ids = await add(store, *Producer().specs(10))
    ask, claims = store._looker._ask, []

    async def claim_first(name: str, arguments: list[Any]) -> Any:
        if name in {"HGET", "listed"} and not claims:
            claims.append(await store.claim(4, ALL))
        return await ask(name, arguments)

    store._looker._ask = claim_first
    page = await store.list(JobFilter(), b"", 100)
    assert len(claims) == 1
    assert [live.job.spec.id for live in page.jobs] == ids


async def test_what_was_handed_back_and_claimed_again_is_listed_once(store: RedisQueueStore) -> None:
    """Fails on a look at claims that takes all that one of them once held for what it holds."""
    ids = await add(store, *Producer().specs(3))
    claim = await store.claim(3, ALL)
    await store.finish([released(claim.fence, job) for job in claim.jobs[:2]])
    assert ids_of(await store.claim(3, ALL)) == ids[:2]
    page = await store.list(JobFilter(), b"", 100)
    assert sorted(live.job.spec.id for live in page.jobs) == ids


@pytest.mark.parametrize("size", [1, 3, 40])
async def test_look_up_of_many_ids_asks_each_claim_once(redis_bench: RedisBench, store: RedisQueueStore, size: int) -> None:
    """Fails on a look-up that asks each claim for each id. `size`: of a claim, far below the ids that are sought, or above."""
    producer, claims = Producer(), 12
    running = await add(store, *producer.specs(claims * size))
    for _ in range(claims):
        await store.claim(size, ALL)
    other = await redis_bench.join("node-2")
    waiting = await add(other, *producer.specs(21))
    (theirs,) = ids_of(await other.claim(1, ALL))
    waiting.remove(theirs)
    delayed = await add(store, *(producer.spec(delay_ms=60_000) for _ in range(10)))
    await store.cancel(running[-1:])
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    found = await store.get([*waiting, theirs, *running[-2:], *delayed, theirs, b"?" * 16])
    told = [(one.state.value, one.node) for one in found if isinstance(one, Live)]
    mine = [("running", NODE), ("cancelling", NODE)]
    assert told == [("pending", "")] * 20 + [("running", "node-2"), *mine] + [("scheduled", "")] * 10 + [("running", "node-2")]
    assert found[-1] is None
    assert sum(asked(redis_bench, command) for command in ("sismember", "smismember", "smembers")) <= claims + 1 + 4
    assert await store.get(running[:1]) == await other.get(running[:1])
