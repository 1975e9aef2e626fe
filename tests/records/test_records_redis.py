"""What only the records in Redis promise: a bound on their number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.records.making import id_of, make_item
from tests.redis import shared_redis
from zjp.job import JobFilter
from zjp.records.redis import RedisRecordStore

pytestmark = pytest.mark.covers("settings:RECORDS_MAX", "redis:nodes")

MOST = 50


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[RedisRecordStore]:
    made = RedisRecordStore(shared_redis().unix_url, namespace=str(tmp_path), ttl_s=0, count_max=MOST)
    await made.open()
    yield made
    await made.close()


async def test_the_oldest_make_room_for_the_newest(records: RedisRecordStore) -> None:
    items = [make_item(number) for number in range(MOST + 30)]
    for start in range(0, len(items), 16):
        await records.append(items[start : start + 16])
    assert await records.count() == MOST
    kept = [one.record.job.spec.id for one in items[-MOST:]]
    page = await records.list(JobFilter(), b"", 500)
    assert [record.job.spec.id for record in page.records] == kept[::-1]
    assert await records.get([items[0].record.job.spec.id]) == {}


async def test_those_of_the_window_are_kept_until_it_is_over_and_then_pruned_to_the_bound(tmp_path: Path) -> None:
    server = shared_redis()
    items = [make_item(number) for number in range(MOST + 30)]
    last_ms = items[-1].record.finished_ms
    store = RedisRecordStore(server.unix_url, namespace=str(tmp_path), ttl_s=0, count_max=MOST, dedup_s=60.0)
    await store.open()
    server.set_clock(last_ms)
    await store.append(items)
    assert (await store.count(), await store.prune(1000)) == (MOST + 30, 0)
    server.set_clock(last_ms + 60_000)
    assert [await store.prune(20) for _ in range(3)] == [20, 10, 0]
    assert set(await store.get([one.record.job.spec.id for one in items])) == {one.record.job.spec.id for one in items[-MOST:]}
    await store.close()


async def test_what_a_clock_that_ran_ahead_has_dated_keeps_nothing_longer_than_the_window(tmp_path: Path) -> None:
    server = shared_redis()
    items = [make_item(number) for number in range(2 * MOST)]
    first_ms = items[0].record.finished_ms
    store = RedisRecordStore(server.unix_url, namespace=str(tmp_path), ttl_s=0, count_max=MOST, dedup_s=60.0)
    await store.open()
    ahead = [replace(one, record=structs.replace(one.record, finished_ms=one.record.finished_ms + 86_400_000)) for one in items[:MOST]]
    server.set_clock(first_ms + 1_000)
    await store.append(ahead)
    await store.append(items[MOST:])
    assert (await store.count(), await store.prune(1000)) == (2 * MOST, 0), "all of them came within the window"
    server.set_clock(first_ms + 62_000)
    assert [await store.prune(30) for _ in range(3)] == [30, 20, 0]
    assert set(await store.get([id_of(one) for one in items])) == {id_of(one) for one in items[MOST:]}
    await store.close()
