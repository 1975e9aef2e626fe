"""A full disk under the SQLite queue: submits are refused, and what was acknowledged still runs and finishes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queue.making import ALL, Producer, SQLiteBench, add, archive, completed, ids_of, pending
from zjp.errors import OutcomeUnknown, StoreFull
from zjp.job import JobFilter, JobState
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import CancelKind, Live, Outcome

pytestmark = pytest.mark.covers("main-path:5", "settings:DISK_RESERVE")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """40 MB of its own. Needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def fill_up(store: SQLiteQueueStore, producer: Producer) -> list[bytes]:
    stored: list[bytes] = []
    payload = b"\x81\xa1n\xc5\xff\x00" + b"x" * 0xFF00
    try:
        while True:
            stored += await add(store, *(producer.spec(payload=payload) for _ in range(10)))
    except StoreFull:
        return stored


async def pause_and_resume_for_ever(store: SQLiteQueueStore) -> None:
    while True:  # what the log still holds of its room serves, too
        await store.pause("default")
        await store.resume("default")


def remove_ballast_and_fill(folder: Path) -> Path:
    next(folder.glob("*.ballast")).unlink()
    return fill(folder)


def fill(folder: Path, name: str = "other") -> Path:
    """The file that takes all the room."""
    taken = folder / name
    subprocess.run(["dd", "if=/dev/zero", f"of={taken}", "bs=4k"], capture_output=True, check=False)
    return taken


async def test_submits_are_refused_below_the_reserve(small_disk: Path, producer: Producer) -> None:
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=30 << 20)
    (small_disk / "other").write_bytes(b"x" * (15 << 20))
    bench.pass_time(2.0)
    with pytest.raises(StoreFull, match="less than 31457280 bytes free; make room, or lower DISK_RESERVE"):
        await store.submit([producer.spec()])
    (small_disk / "other").unlink()
    bench.pass_time(2.0)
    await add(store, producer.spec())
    await bench.close()


async def test_full_disk_refuses_submits_and_still_finishes_jobs(small_disk: Path, producer: Producer) -> None:
    bench = SQLiteBench(small_disk)
    store = await bench.open()
    early = await add(store, *producer.specs(50))
    claim = await store.claim(50, ALL)
    stored = early + await fill_up(store, producer)
    async with asyncio.timeout(20):
        assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
        await archive(bench, store)
        while (claim := await store.claim(5, ALL)).jobs:
            await store.cancel(ids_of(claim)[:1])
            assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
            await archive(bench, store)
    assert bench.finished.keys() == set(stored)
    await add(store, *producer.specs(50))  # the room of the finished ones is used again
    store = await bench.open()
    assert await pending(store) == 50
    page = await store.list(JobFilter(), b"", 100)
    assert len(page.jobs) == 50
    await bench.close()


async def test_more_finishes_on_a_full_disk_than_the_room_set_aside_holds_at_once(small_disk: Path, producer: Producer) -> None:
    """Fails on a journal that takes new room for each commit, and on one that tries all outcomes that wait in one."""
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    ids = await add(store, *(producer.spec(payload=b"\x81\xa1n\xc5\xff\x00" + b"x" * 0xFF00) for _ in range(200)))
    store = await bench.open(disk_reserve_bytes=0)  # whose log is short
    outcomes: list[Outcome] = []
    while (claim := await store.claim(200, ALL)).jobs:
        outcomes += [completed(claim.fence, job) for job in claim.jobs]
    taken = fill(small_disk)
    async with asyncio.timeout(20):
        assert await store.finish(outcomes) == []
    assert store.backlog().count == len(ids)
    taken.unlink()
    await bench.close()


async def test_look_ups_are_answered_while_outcomes_wait_for_room(small_disk: Path, producer: Producer) -> None:
    """Fails on look-ups that wait for whatever is to be written, as that may take until somebody frees room."""
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    done, running = await add(store, *producer.specs(2))
    claim = await store.claim(2, ALL)
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []
    await archive(bench, store)
    taken = remove_ballast_and_fill(small_disk)
    await fill_up(store, producer)
    finishing = asyncio.create_task(store.finish([completed(claim.fence, claim.jobs[1], b"\xc6\x00\x80\x00\x00" + bytes(1 << 23))]))
    async with asyncio.timeout(5):
        unknown, moved, waits = await store.get([bytes(16), done, running])
    assert unknown is None
    assert moved is None  # in the records
    assert isinstance(waits, Live)
    assert waits.state is JobState.RUNNING
    assert not finishing.done()
    taken.unlink()
    async with asyncio.timeout(20):
        assert await finishing == []
    await bench.close()


async def test_what_an_operator_asks_is_answered_while_an_outcome_waits_for_room(small_disk: Path, producer: Producer) -> None:
    """Fails on a store that waits for all that is to be written before it cancels, promotes or runs a job again."""
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    (delayed,) = await add(store, producer.spec(delay_ms=60_000))
    done, running = await add(store, *producer.specs(2))
    claim = await store.claim(2, ALL)
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []
    await archive(bench, store)
    (waiting,) = await add(store, producer.spec())
    taken = remove_ballast_and_fill(small_disk)
    await fill_up(store, producer)
    finishing = asyncio.create_task(store.finish([completed(claim.fence, claim.jobs[1], b"\xc6\x00\x80\x00\x00" + bytes(1 << 23))]))
    async with asyncio.timeout(8):
        with pytest.raises(StoreFull, match="is being written: the queue's disk is full"):
            await store.cancel([running])
        with pytest.raises(OutcomeUnknown, match="the cancel waits to be written: the queue's disk is full"):
            await store.cancel([waiting])
        with pytest.raises(StoreFull, match="is being written: the queue's disk is full"):
            await store.cancel([waiting])
        with contextlib.suppress(StoreFull):
            await store.promote([delayed])
        with contextlib.suppress(StoreFull):
            await store.requeue([bench.finished[done]])
    assert not finishing.done()
    taken.unlink()
    async with asyncio.timeout(20):
        assert await finishing == []
        assert await store.cancel([running, waiting]) == [CancelKind.FINISHED] * 2
        assert [record.state for record in await store.get([waiting])] == [JobState.CANCELLED]
    await bench.close()


async def test_queues_are_paused_and_go_on_in_the_room_that_is_set_aside(small_disk: Path, producer: Producer) -> None:
    """Fails on a journal that refuses a pause on a full disk, and on one that does so once before it gives that room up."""
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    await add(store, producer.spec())
    taken = fill(small_disk)
    await fill_up(store, producer)
    for is_paused in (True, False, True):
        taken_again = fill(small_disk, "again")
        async with asyncio.timeout(5):
            await (store.pause if is_paused else store.resume)("default")
        assert [count.paused for count in await store.counts()] == [is_paused]
    assert not (await store.claim(1, ALL)).jobs
    taken.unlink()
    taken_again.unlink()
    store = await bench.open()
    assert [count.paused for count in await store.counts()] == [True]
    await bench.close()


async def test_a_pause_for_which_there_is_no_room_at_all_is_refused_and_does_not_hold(small_disk: Path, producer: Producer) -> None:
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    remove_ballast_and_fill(small_disk)
    await fill_up(store, producer)
    async with asyncio.timeout(5):
        with pytest.raises(StoreFull):
            await pause_and_resume_for_ever(store)
    assert [count.paused for count in await store.counts()] == [False]
    (small_disk / "other").unlink()
    await store.pause("default")
    await bench.close()


async def test_room_that_was_set_aside_and_taken_away_by_somebody_stops_nothing(small_disk: Path, producer: Producer) -> None:
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    await add(store, *producer.specs(3))
    claim = await store.claim(3, ALL)
    taken = remove_ballast_and_fill(small_disk)
    finishing = asyncio.create_task(store.finish([completed(claim.fence, job) for job in claim.jobs]))
    await fill_up(store, producer)
    taken.unlink()
    async with asyncio.timeout(20):
        assert await finishing == []
        await add(store, producer.spec())
    await bench.close()


async def test_delayed_jobs_become_ready_on_the_room_that_is_set_aside(small_disk: Path, producer: Producer) -> None:
    """Fails on a journal that gives that room up for outcomes alone: with nothing running, no job ever would again."""
    bench = SQLiteBench(small_disk)
    store = await bench.open(disk_reserve_bytes=0)
    ids = await add(store, *(producer.spec(delay_ms=1_000) for _ in range(200)))
    taken = fill(small_disk)
    bench.pass_time(2.0)
    async with asyncio.timeout(20):
        for _ in range(5):
            try:
                await store.tend(1_000)
                break
            except StoreFull:  # the first one is refused, and gives the room to the next
                bench.pass_time(2.0)
    assert sorted(ids_of(await store.claim(1_000, ALL))) == sorted(ids)
    taken.unlink()
    await bench.close()
