"""A server that cannot save its data takes no writes. What is there can be read on: jobs, their numbers, listings, records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest

from scripts.redis_sentinels import wait_until
from scripts.redis_server import RedisServer
from tests.queue.leader_cases import CASES
from tests.queue.making import ALL, Producer, add, completed, released
from tests.queue.script_cases import Case
from tests.queue.test_scripts_at_maxmemory import NEVER, PACKAGES, plant, tried, world_of
from tests.records.making import make_item
from tests.redis import allowances, start_redis
from zjp.errors import StoreUnavailable
from zjp.job import JobFilter, JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Life, Refused
from zjp.records.redis import RedisRecordStore
from zjp.redis import lane
from zjp.redis.script import READING, names

pytestmark = pytest.mark.covers("redis:full")

DISK = "disk"


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    (tmp_path / DISK).mkdir()
    made = start_redis(options={"save": "3600 1", "dir": str(tmp_path / DISK)})
    yield made
    made.stop()


def fill_up_disk(server: RedisServer, folder: Path) -> None:
    """Its folder is gone, so no file can be made there, whoever runs it."""
    (folder / DISK).rmdir()
    server.send(b"BGSAVE")
    wait_until(lambda: b"rdb_last_bgsave_status:err" in server.send(b"INFO", b"persistence"))
    assert b"MISCONF" in server.send(b"SET", b"key", b"value")


@pytest.fixture
async def stores(server: RedisServer) -> AsyncIterator[tuple[RedisQueueStore, RedisRecordStore]]:
    store = RedisQueueStore(
        server.unix_url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000, outbox_bytes_max=1 << 24, finished=_nothing
    )
    records = RedisRecordStore(server.unix_url, ttl_s=60, count_max=20, events_ttl_s=60, events_max=3)
    await store.open(Life("node-1", 1), {})
    await records.open()
    yield store, records
    await records.close()
    await store.disconnect()


@pytest.mark.parametrize("has_flags", allowances())
async def test_jobs_can_be_read_on(
    server: RedisServer, stores: tuple[RedisQueueStore, RedisRecordStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_flags: bool
) -> None:
    """Fails where a script that only reads begins with a removal, or says that it may run out of memory and nothing more."""
    store, records = stores
    store._scripts._has_flags = has_flags
    store._scripts._known.clear()
    ready, running, done, gone = await add(store, *Producer().specs(4))
    later = (await add(store, Producer().spec(delay_ms=60_000)))[0]
    await store.cancel([gone])
    claim = await store.claim(3, ALL)
    by_id = {job.spec.id: job for job in claim.jobs}
    await store.finish([completed(claim.fence, by_id[done]), released(claim.fence, by_id[ready])])
    await records.append([make_item(number) for number in range(3)])
    fill_up_disk(server, tmp_path)

    found = await store.get([ready, running, later, done, gone])
    told = [one.state for one in found if one is not None]
    assert told == [JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED, JobState.COMPLETED, JobState.CANCELLED]
    assert [(one.pending, one.running, one.scheduled) for one in await store.counts()] == [(1, 1, 1)]
    page = await store.list(JobFilter(), b"", 10)
    assert {live.job.spec.id for live in page.jobs} == {ready, running, later}
    assert len((await store.newest(10, 10)).items) == 2
    assert len((await records.list(JobFilter(), b"", 10)).records) == 3
    monkeypatch.setattr(lane, "CALL_S", 0.2)
    with pytest.raises(StoreUnavailable, match="its disk is full"):
        await store.submit(Producer().specs(1))
    with pytest.raises(StoreUnavailable) as told:
        await store.finish([completed(claim.fence, by_id[running])])
    assert not isinstance(told.value, Refused), "it is held until the server can save again"


async def test_repeat_of_a_submit_is_looked_up_on(
    server: RedisServer, stores: tuple[RedisQueueStore, RedisRecordStore], tmp_path: Path
) -> None:
    store, _ = stores
    await add(store, *Producer().specs(1))
    fill_up_disk(server, tmp_path)
    generations, values = await store._ask("seek", [0, b"?" * 16])
    assert (generations, values) == ([], [b""])


@pytest.mark.parametrize(("package", "script", "case"), [(one[0], one[1], one[3]) for one in CASES if one[1] in READING])
async def test_what_says_that_it_writes_nothing_writes_nothing(tmp_path: Path, package: str, script: str, case: Case) -> None:
    async with world_of(tmp_path, case, has_flags=False) as (world, deed):
        plant(world, package, script, NEVER)
        assert await tried(world, deed)
        assert world.bench.server.send(b"EXISTS", b"writes") == b":0\r\n"


def test_scripts_that_read_are_there() -> None:
    assert {name for package in PACKAGES for name in names(package)} >= READING
