"""Listings over queue, outbox and records: no job is lost, none shown twice, no page is over its limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.queue.making import ALL, BENCHES, Bench, Producer, SQLiteBench, add, completed, run_all
from tests.records.making import START_MS
from zjp.errors import InvalidJob, StoreUnavailable
from zjp.job import JobFilter, JobState, JobView
from zjp.node import listing
from zjp.node.jobs import Jobs
from zjp.queue.store import QueueStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.wire.messages import REPLY_BYTES_MAX

pytestmark = pytest.mark.covers("main-path:8")

ANY = JobFilter()
COMPLETED = JobFilter(state=JobState.COMPLETED)
PAGE = 7
SCAN = 20


class Stage:
    """Jobs over real stores; the outbox is emptied only by `drain`."""

    def __init__(self, bench: Bench, queue: QueueStore, records: SQLiteRecordStore) -> None:
        self.bench, self.queue, self.records = bench, queue, records
        self.jobs = Jobs(queue, records)
        self.producer = Producer()

    async def finish(self, count: int, payload: bytes = b"\x80") -> list[bytes]:
        """So many more jobs are in the outbox; their ids, oldest first."""
        ids = await add(self.queue, *[self.producer.spec(payload=payload) for _ in range(count)])
        done: list[bytes] = []
        while len(done) < count:  # a claim hands out no more than is in memory
            done += await run_all(self.queue, count - len(done))
        assert done == ids
        return ids

    async def drain(self, count: int) -> None:
        items = await self.queue.outbox(count)
        await self.records.append(items)
        await self.queue.outbox_remove(items)

    async def walk(self, wanted: JobFilter = ANY, limit: int = PAGE) -> list[list[JobView]]:
        pages: list[list[JobView]] = []
        cursor = b""
        while not pages or cursor:
            page = await self.jobs.list(wanted, cursor, limit)
            assert len(page.jobs) <= limit
            pages.append(page.jobs)
            cursor = page.cursor
        return pages

    async def shown(self, wanted: JobFilter = ANY, limit: int = PAGE) -> list[bytes]:
        return [view.id for page in await self.walk(wanted, limit) for view in page]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    bench = SQLiteBench(tmp_path)
    records = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()
    yield Stage(bench, await bench.open(), records)
    await records.close()
    await bench.close()


@pytest.fixture(params=sorted(BENCHES))
async def either(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """The same on each kind of queue, where a page looks at few items."""
    monkeypatch.setattr(listing, "SCAN_MAX", SCAN)
    bench = BENCHES[request.param](tmp_path)
    records = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()
    yield Stage(bench, await bench.open(), records)
    await records.close()
    await bench.close()


@pytest.mark.parametrize("drained", [0, 3, 20, 40])
async def test_finished_jobs_are_listed_newest_first_wherever_they_are(stage: Stage, drained: int) -> None:
    finished = await stage.finish(40)
    await stage.drain(drained)
    waiting = await add(stage.queue, *stage.producer.specs(10))
    for limit in (1, PAGE, 100):
        assert await stage.shown(COMPLETED, limit) == finished[::-1]
        assert await stage.shown(ANY, limit) == [*waiting, *finished[::-1]]


async def test_a_page_goes_on_into_the_outbox_and_into_the_records(stage: Stage) -> None:
    finished = await stage.finish(4)
    await stage.drain(2)
    (waiting,) = await add(stage.queue, stage.producer.spec())
    (page,) = await stage.walk(limit=50)
    assert [view.id for view in page] == [waiting, *finished[::-1]]


async def test_a_filter_finds_what_is_rare_in_the_outbox(stage: Stage) -> None:
    (rare,) = await add(stage.queue, stage.producer.spec(tags=("t",)))
    await run_all(stage.queue, 1)
    await stage.finish(20)
    assert await stage.shown(JobFilter(tag="t")) == [rare]
    assert await stage.shown(JobFilter(state=JobState.FAILED)) == []


async def test_a_job_that_runs_again_is_listed_once_as_what_it_is_now(stage: Stage) -> None:
    in_records, in_outbox, other = await stage.finish(3)
    await stage.drain(1)
    await stage.jobs.requeue([in_records, in_outbox], [1, 1])
    assert await stage.shown() == [in_records, in_outbox, other]
    assert await stage.shown(COMPLETED) == [other]
    await run_all(stage.queue, 2)
    assert sorted(await stage.shown()) == sorted([in_records, in_outbox, other])


async def test_a_record_that_was_written_but_not_taken_out_of_the_outbox_is_listed_once(stage: Stage) -> None:
    finished = await stage.finish(10)
    await stage.records.append(await stage.queue.outbox(5))
    assert await stage.shown() == finished[::-1]


async def test_nothing_is_lost_when_the_outbox_is_emptied_under_way(stage: Stage) -> None:
    finished = await stage.finish(30)
    seen: list[bytes] = []
    cursor = b""
    for count in (0, 4, 9, 17):
        await stage.drain(count)
        page = await stage.jobs.list(COMPLETED, cursor, PAGE)
        seen += [view.id for view in page.jobs]
        cursor = page.cursor
    while cursor:
        page = await stage.jobs.list(COMPLETED, cursor, PAGE)
        seen += [view.id for view in page.jobs]
        cursor = page.cursor
    assert set(seen) == set(finished)


@pytest.mark.parametrize("limit", [PAGE, 100])
async def test_all_of_an_outbox_is_listed_that_is_larger_than_what_one_page_looks_at(either: Stage, limit: int) -> None:
    """Fails on a look at the oldest: the newest were in no page."""
    finished = await either.finish(3 * SCAN + 5)
    assert await either.shown(COMPLETED, limit) == finished[::-1]
    assert await either.shown(ANY, limit) == finished[::-1]
    assert await either.shown(JobFilter(tag="none"), limit) == []


async def test_no_page_leaves_out_what_stands_while_the_outbox_moves(either: Stage) -> None:
    """Records arrive, jobs finish, and some run again and finish anew between the pages."""
    finished = await either.finish(80)
    stays = set(finished)
    seen: list[bytes] = []
    cursor, pages = b"", 0
    while cursor or not pages:
        page = await either.jobs.list(COMPLETED, cursor, PAGE)
        seen += [view.id for view in page.jobs]
        cursor, pages = page.cursor, pages + 1
        assert pages < 60
        if pages < 10:
            await either.drain(3)
            await add(either.queue, *either.producer.specs(2))
            again = finished[5 * pages : 5 * pages + 2]
            stays -= set(again)
            await either.jobs.requeue(again, [1] * len(again))
            if pages % 2:
                await run_all(either.queue)
    assert set(seen) >= stays


async def test_a_job_that_finished_twice_before_the_records_had_it_is_listed_once(either: Stage) -> None:
    finished = await either.finish(3 * SCAN)
    again = [finished[1], finished[30]]
    await either.jobs.requeue(again, [1] * len(again))
    await run_all(either.queue, 2)
    left = [one for one in finished if one not in again]
    assert await either.shown(COMPLETED) == [*again[::-1], *left[::-1]]


async def test_what_is_in_the_queue_is_listed_while_the_records_are_away(stage: Stage) -> None:
    finished = await stage.finish(10)
    await stage.records.close()
    first = await stage.jobs.list(COMPLETED, b"", 50)
    assert [view.id for view in first.jobs] == finished[::-1]
    with pytest.raises(StoreUnavailable):
        await stage.jobs.list(COMPLETED, first.cursor, 50)


async def test_a_page_is_cut_before_it_is_too_large_for_a_reply(stage: Stage) -> None:
    payload = b"\x81\xa1x\xc6" + (900_000).to_bytes(4, "big") + bytes(900_000)
    finished = await stage.finish(24, payload)
    await stage.drain(12)
    waiting = await add(stage.queue, *[stage.producer.spec(payload=payload) for _ in range(5)])
    pages = await stage.walk(limit=100)
    assert [view.id for page in pages for view in page] == [*waiting, *finished[::-1]]
    assert all(sum(len(view.payload) for view in page) <= REPLY_BYTES_MAX for page in pages)


@pytest.mark.parametrize("cursor", [b"X", b"O\x01", b"O" + b"\xff" * 8, b"L?", b"R?"])
async def test_a_cursor_that_is_none_is_refused(stage: Stage, cursor: bytes) -> None:
    with pytest.raises(InvalidJob, match="cursor"):
        await stage.jobs.list(ANY, cursor, 10)


async def test_a_running_job_is_listed_before_those_that_wait(stage: Stage) -> None:
    first, second = await add(stage.queue, *stage.producer.specs(2))
    claim = await stage.queue.claim(1, ALL)
    pages = await stage.walk()
    assert [(view.id, view.status) for page in pages for view in page] == [
        (first, JobState.RUNNING),
        (second, JobState.PENDING),
    ]
    await stage.queue.finish([completed(claim.fence, claim.jobs[0])])
    assert await stage.shown() == [second, first]
