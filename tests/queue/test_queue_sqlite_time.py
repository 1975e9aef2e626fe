"""What happens in the SQLite queue beside the jobs, and between two of its commits: no stall, no race, no growth."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.queue.making import ALL, LEASE_S, NODE, Producer, SQLiteBench, add, completed, ids_of
from zjp.job import ATTEMPTS_KEPT
from zjp.queue import moving
from zjp.queue.database import Database
from zjp.queue.journal import Glance
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Life, LostClaims

pytestmark = pytest.mark.covers("main-path:5")


@pytest.fixture
async def bench(tmp_path: Path) -> object:
    made = SQLiteBench(tmp_path)
    yield made
    await made.close()


def rows_of(store: SQLiteQueueStore, table: str) -> int:
    assert store._db is not None
    count: int = store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return count


class Stall(Glance):
    """Holds the writer up, as a slow disk does."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def write(self, db: Database) -> None:
        assert self.go_on.wait(30)


async def test_claim_beside_a_pause_gets_nothing_of_the_queue(bench: SQLiteBench, producer: Producer) -> None:
    """Else it has seen the version that calls jobs back, and keeps what it took."""
    store = await bench.open()
    await add(store, *producer.specs(10))
    stall = Stall()
    store._journal.put(stall)
    pausing = asyncio.create_task(store.pause("default"))
    await asyncio.sleep(0)
    claim = await store.claim(10, ALL)
    stall.go_on.set()
    await pausing
    assert ids_of(claim) == []


async def test_claim_beside_a_purge_gets_nothing_of_the_queue(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, *producer.specs(10))
    stall = Stall()
    store._journal.put(stall)
    purging = asyncio.create_task(store.purge("default"))
    await asyncio.sleep(0)
    claim = await store.claim(10, ALL)
    stall.go_on.set()
    assert (ids_of(claim), await purging) == ([], 10)


async def test_progress_goes_with_the_job(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, *producer.specs(5))
    claim = await store.claim(5, ALL)
    await store.renew(dict.fromkeys(ids_of(claim), b"\x93\x01\x02\xa0"))
    await store._journal.hear()
    assert rows_of(store, "progress") == 5
    await store.finish([completed(claim.fence, job) for job in claim.jobs])
    assert (rows_of(store, "progress"), store._state.progress) == (0, {})


async def test_progress_told_while_the_outcome_is_written_leaves_nothing(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, producer.spec())
    claim = await store.claim(1, ALL)
    stall = Stall()
    store._journal.put(stall)
    finishing = asyncio.create_task(store.finish([completed(claim.fence, claim.jobs[0])]))
    await asyncio.sleep(0)
    await store.renew({claim.jobs[0].spec.id: b"\x93\x01\x02\xa0"})
    stall.go_on.set()
    assert await finishing == []
    await store._journal.hear()
    assert (rows_of(store, "progress"), store._state.progress) == (0, {})


async def test_progress_of_a_lost_claim_goes_with_it(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, producer.spec())
    claim = await store.claim(1, ALL)
    await store.renew({claim.jobs[0].spec.id: b"\x93\x01\x02\xa0"})
    await store._journal.hear()
    await bench.lose_lease(store)
    assert (rows_of(store, "progress"), store._state.progress) == (0, {})


async def test_a_job_that_is_lost_again_and_again_keeps_a_bounded_number_of_attempts(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    (job_id,) = await add(store, producer.spec())
    for _ in range(ATTEMPTS_KEPT + 3):
        assert ids_of(await store.claim(1, ALL)) == [job_id]
        store = await bench.open(job_id)
    (job,) = (await store.claim(1, ALL)).jobs
    assert len(job.attempts) == ATTEMPTS_KEPT


async def test_keys_whose_window_is_over_go_however_many_they_are(
    bench: SQLiteBench, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "KEYS_FORGOTTEN_MAX", 10)
    store = await bench.open()
    await add(store, *(producer.spec(idempotency_key=f"k{number}") for number in range(45)))
    bench.pass_time(25 * 3600)
    for _ in range(6):
        bench.pass_time(1)
        await store.tend(10)
        await store._journal.hear()
    assert rows_of(store, "idem") == 0


async def test_a_slow_disk_costs_nobody_the_lease(bench: SQLiteBench, producer: Producer) -> None:
    """What is due is promoted by a commit; whoever waits for that must not be who renews."""
    store = await bench.open()
    await add(store, producer.spec(), producer.spec(delay_ms=1000))
    claim = await store.claim(1, ALL)
    stall = Stall()
    store._journal.put(stall)
    bench.pass_time(1)
    tending = asyncio.create_task(store.tend(10))
    for _ in range(int(LEASE_S)):
        bench.pass_time(1)
        assert (await store.renew({})).alive
        store._judge_lease()
    stall.go_on.set()
    await tending
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []


class SlowToOpen(SQLiteQueueStore):
    go_on: threading.Event
    is_opening: threading.Event

    def _open_file(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        self.is_opening.set()
        assert self.go_on.wait(30)
        return super()._open_file(life, started)


async def test_open_that_is_cancelled_lets_the_file_go(bench: SQLiteBench) -> None:
    made = bench.make()
    made.__class__ = SlowToOpen
    assert isinstance(made, SlowToOpen)
    made.go_on, made.is_opening = threading.Event(), threading.Event()
    opening = asyncio.create_task(made.open(Life(NODE, 1), {}))
    await asyncio.to_thread(made.is_opening.wait, 30)
    opening.cancel()
    await asyncio.sleep(0)
    made.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await made.close()
    await bench.open()
