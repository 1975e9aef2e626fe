"""Look-ups and deeds by id over queue and records: what fits into one reply, and why a job is not run again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.queue.making import ALL, Producer, SQLiteBench, add, completed, run_all
from tests.records.making import START_MS
from zjp.job import JobFault, JobState, JobView
from zjp.node.jobs import Jobs
from zjp.node.room import Room, size_bytes
from zjp.queue.store import QueueStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.wire.messages import MESSAGE_BYTES_MAX, REPLY_BYTES_MAX

pytestmark = pytest.mark.covers("main-path:8")


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[QueueStore]:
    bench = SQLiteBench(tmp_path)
    yield await bench.open()
    await bench.close()


@pytest.fixture
async def jobs(queue: QueueStore, tmp_path: Path) -> AsyncIterator[Jobs]:
    records = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()
    yield Jobs(queue, records)
    await records.close()


@pytest.fixture
def producer() -> Producer:
    return Producer()


def large(size: int) -> bytes:
    return b"\x81\xa1x\xc6" + size.to_bytes(4, "big") + bytes(size)


async def test_look_up_gives_the_first_that_fit_into_one_reply(queue: QueueStore, jobs: Jobs, producer: Producer) -> None:
    ids = await add(queue, *[producer.spec(payload=large(1 << 20)) for _ in range(40)])
    asked = [b"?" * 16, *ids]
    seen: list[JobView | None] = []
    while len(seen) < len(asked):
        seen += (found := await jobs.get(asked[len(seen) :]))
        assert 1 <= len(found) <= 8
    assert [None if view is None else view.id for view in seen] == [None, *ids]


async def test_look_up_of_many_small_ones_is_one_reply(queue: QueueStore, jobs: Jobs, producer: Producer) -> None:
    ids = await add(queue, *producer.specs(1000))
    assert [view.id for view in await jobs.get(ids) if view is not None] == ids


async def test_wait_tells_the_first_that_fit_and_the_others_when_asked_again(
    queue: QueueStore, jobs: Jobs, producer: Producer
) -> None:
    ids = await add(queue, *producer.specs(20))
    claim = await queue.claim(20, ALL)
    await queue.finish([completed(claim.fence, job, large(1 << 20)) for job in claim.jobs])
    first = await jobs.wait(ids, 0)
    assert [view.id for view in first if view is not None] == ids[:7]
    assert len(await jobs.wait(ids[7:], 0)) == 7


class Watched:
    """The queue as it is, with what was read of it. `is_shared` as told: another node may finish jobs."""

    def __init__(self, queue: QueueStore, *, is_shared: bool = False) -> None:
        self._queue, self.is_shared = queue, is_shared
        self.looks: list[list[bytes]] = []
        self.has_looked = asyncio.Event()

    async def get(self, ids: Sequence[bytes]) -> Any:
        self.looks.append(list(ids))
        found = await self._queue.get(ids)
        self.has_looked.set()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


async def waiting(queue: QueueStore, jobs: Jobs, ids: Sequence[bytes], *, is_shared: bool = False) -> tuple[Watched, asyncio.Task[Any]]:
    """A wait that has looked once."""
    watched = Watched(queue, is_shared=is_shared)
    jobs._queue = watched  # type: ignore[assignment]
    queue.on_finished = jobs.finished
    task = asyncio.create_task(jobs.wait(ids, 30_000))
    await watched.has_looked.wait()
    return watched, task


async def test_wait_never_reads_many_large_jobs_at_once(queue: QueueStore, jobs: Jobs, producer: Producer) -> None:
    """Fails on one that reads all of them for a reply that holds seven: a hundred kept everybody else from Redis for seconds."""
    ids = await add(queue, *[producer.spec(payload=large(1 << 20)) for _ in range(60)])
    ids += await add(queue, producer.spec(priority=10))
    watched = jobs._queue = Watched(queue)  # type: ignore[assignment]
    await run_all(queue, 1)
    assert [view.id for view in await jobs.wait(ids, 0) if view is not None] == ids[-1:]
    assert max(len(look) for look in watched.looks) == 16


async def test_a_woken_wait_reads_only_what_it_was_told_of(queue: QueueStore, jobs: Jobs, producer: Producer) -> None:
    """Fails on one that reads all of a thousand jobs each time that one of them ends."""
    ids = await add(queue, *producer.specs(500))
    watched, task = await waiting(queue, jobs, ids)
    claim = await queue.claim(2, ALL)
    await queue.finish([completed(claim.fence, job) for job in claim.jobs])
    assert [view.id for view in await task if view is not None] == ids[:2]
    assert [job_id for look in watched.looks for job_id in look] == [*ids, *ids[:2]]


async def test_a_wait_on_a_shared_queue_reads_all_again_when_nobody_told_it(queue: QueueStore, jobs: Jobs, producer: Producer) -> None:
    ids = await add(queue, *producer.specs(3))
    watched, task = await waiting(queue, jobs, ids, is_shared=True)
    queue.on_finished = None  # what another node tells may be lost
    await run_all(queue, 1)
    assert [view.id for view in await task if view is not None] == ids[:1]
    assert watched.looks == [ids, ids]


async def test_a_wait_that_is_told_of_a_job_that_runs_again_goes_on(queue: QueueStore, jobs: Jobs, producer: Producer) -> None:
    ids = await add(queue, *producer.specs(2))
    watched, task = await waiting(queue, jobs, ids)
    watched.has_looked.clear()
    jobs.finished(ids[1:])
    await watched.has_looked.wait()
    await run_all(queue, 1)
    assert [view.id for view in await task if view is not None] == ids[:1]
    assert watched.looks == [ids, ids[1:], ids[:1]]


def test_one_job_fits_whatever_its_size_and_texts_count_with_what_they_may_need() -> None:
    huge = JobView(b"x" * 16, "t", "default", 5, JobState.FAILED, bytes(REPLY_BYTES_MAX + 1), 0)
    room = Room()
    assert [room.takes(huge), room.takes(JobView(b"x" * 16, "t", "default", 5, JobState.PENDING, b"\x80", 0))] == [True, False]
    told = JobView(b"x" * 16, "t", "default", 5, JobState.FAILED, b"\x80", 0, error=JobFault("E", "abc", "äb"))
    assert size_bytes(told) == 1 + 3 + 8
    assert REPLY_BYTES_MAX < MESSAGE_BYTES_MAX / 2


async def test_a_job_whose_unique_key_another_one_holds_is_told_apart_from_a_live_one(
    queue: QueueStore, jobs: Jobs, producer: Producer
) -> None:
    (first,) = await add(queue, producer.spec(unique_key="k"))
    await run_all(queue, 1)
    (holder,) = await add(queue, producer.spec(unique_key="k"))
    assert await jobs.requeue([first, holder, b"?" * 16], [1, 1, -1]) == ["unique", "live", "unknown"]
    await run_all(queue, 1)
    assert await jobs.requeue([first], [1]) == ["requeued"]
    assert await jobs.requeue([first], [2]) == ["live"]
