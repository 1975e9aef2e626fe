"""Look-ups and deeds by id over queue and records: what fits into one reply, and why a job is not run again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

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
    assert await jobs.requeue([first, holder, b"?" * 16]) == ["unique", "live", "unknown"]
    await run_all(queue, 1)
    assert await jobs.requeue([first]) == ["requeued"]
    assert await jobs.requeue([first]) == ["live"]
