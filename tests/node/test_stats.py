"""What a node counts: attempts when they are reported, finished jobs and retries when the store has accepted them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.queue.making import Producer
from zjp.config import Settings
from zjp.job import JobFault, JobSpec, StoredJob
from zjp.node.dispatch import Dispatch
from zjp.node.outcomes import Costs, Judge
from zjp.node.stats import NodeStats
from zjp.node.stores import make_queue
from zjp.queue.store import Backlog, Life, Outcome, QueueStore
from zjp.retry import RetryPolicy
from zjp.wire.messages import CancelKind, LeaderReply, Result, ResultKind, TaskInfo
from zjp.worker.pool import Pool, PoolSettings
from zjp.worker.reports import CrashReport

pytestmark = pytest.mark.covers("main-path:8")

WEIGHTS = {"*": 1}
FAULT = JobFault("Timeout", "too long")
JUDGE = Judge("n1", Costs(max_retries=0, retry=RetryPolicy(), crash_limit=1), lambda: 0.5)


class Desk:
    """A dispatch without its loops: the test claims, reports, and has written what became of it."""

    def __init__(self, store: QueueStore) -> None:
        self.store, self.stats, self.producer = store, NodeStats("n1", 1), Producer()
        self.dispatch = Dispatch(store, JUDGE, self.stats, weights=WEIGHTS, renew_s=1.0)
        self.dispatch.pool = Pool(
            PoolSettings(app="none:app"),
            on_ready=self.dispatch.on_ready, on_results=self.dispatch.on_results, on_returned=self.dispatch.on_returned,
            on_crashed=self.dispatch.on_crashed, on_progress=self.dispatch.on_progress, on_credit=self.dispatch.on_credit,
        )  # fmt: skip
        self.dispatch.on_ready({"noop": TaskInfo("noop")})

    async def claim(self, count: int) -> list[tuple[StoredJob, int]]:
        await self.store.submit(self.producer.specs(count))
        claim = await self.store.claim(count, WEIGHTS)
        return [(job, claim.fence) for job in claim.jobs]

    async def write(self) -> None:
        batch, self.dispatch._outcomes = self.dispatch._outcomes, []
        await self.dispatch._finish(batch)

    def reported(self, items: Sequence[tuple[StoredJob, int]], kind: ResultKind) -> None:
        self.dispatch.on_results("w1", [(job, fence, a_result(job.spec, kind)) for job, fence in items])

    def series(self, name: str) -> dict[tuple[str, ...], Any]:
        return series_of(self.stats, name)

    @property
    def finished(self) -> dict[tuple[str, ...], float]:
        return self.series("zjp_jobs_finished_total")

    @property
    def retries(self) -> float:
        return self.series("zjp_retries_total")[()]


def a_result(spec: JobSpec, kind: ResultKind, started_us: int = 1_000_000, ended_us: int = 1_500_000) -> Result:
    return Result(spec.id, kind, started_us, ended_us, error=FAULT if kind != ResultKind.COMPLETED else None)


def series_of(stats: NodeStats, name: str) -> dict[tuple[str, ...], Any]:
    leader = LeaderReply("", 0, "candidate", "alone", False, False, True)
    table = stats.table(counts=[], workers=[], backlog=Backlog(0, 0), records_count=0, is_draining=False, leader=leader)
    series = msgspec.msgpack.decode(table)["metrics"][name]["series"]
    return {tuple(one["labels"]): one.get("value", one) for one in series}


def crash(**told: Any) -> CrashReport:
    return CrashReport(worker="w1", pid=1, exit_code=-11, rss_bytes=0, cause="it died", **told)


@asynccontextmanager
async def opened_desk(folder: Path) -> AsyncIterator[Desk]:
    async def none(ids: Sequence[bytes]) -> dict[bytes, Any]:
        return {}

    store = make_queue(Settings(disk_reserve_bytes=0), folder, none)
    await store.open(Life("n1", 1), {})
    yield Desk(store)
    await store.close()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened_desk(tmp_path) as made:
        yield made


async def test_finished_jobs_are_counted_by_type_queue_and_outcome(desk: Desk) -> None:
    items = await desk.claim(5)
    desk.reported(items[:3], ResultKind.COMPLETED)
    desk.reported(items[3:], ResultKind.FAILED)
    assert desk.finished == {}
    await desk.write()
    assert desk.finished == {("noop", "default", "completed"): 3, ("noop", "default", "failed"): 2}


async def test_rates_count_what_finished_after_an_attempt_and_what_failed_of_it(desk: Desk) -> None:
    now = [1000.0]
    for rate in (desk.stats._finished, desk.stats._failed):
        rate.__init__(lambda: now[0])  # type: ignore[misc]
    items = await desk.claim(9)
    desk.reported(items[:6], ResultKind.COMPLETED)
    desk.reported(items[6:8], ResultKind.FAILED)
    desk.reported(items[8:], ResultKind.RETRY)
    await desk.write()
    desk.stats.withdrawn([("noop", "default")])
    now[0] += 2
    leader = LeaderReply("", 0, "candidate", "alone", False, False, True)
    table = msgspec.msgpack.decode(
        desk.stats.table(
            counts=[], workers=[], backlog=Backlog(0, 0), records_count=0, is_draining=False, leader=leader, more={"app": True}
        )
    )
    assert (table["throughput"]["1m"], table["failures"]["15m"], table["app"]) == (4.0, 1.0, True)


async def test_what_the_store_refuses_is_not_counted(desk: Desk) -> None:
    items = await desk.claim(2)
    desk.reported(items, ResultKind.COMPLETED)
    await desk.write()
    desk.reported([(job, fence) for job, fence in items], ResultKind.COMPLETED)
    await desk.write()
    assert desk.finished == {("noop", "default", "completed"): 2}
    assert desk.series("zjp_fenced_writes_total")[()] == 2


async def test_attempts_are_measured_whether_or_not_they_count(desk: Desk) -> None:
    desk.reported(await desk.claim(2), ResultKind.RETRY)
    (measured,) = desk.series("job_processing_duration_seconds").values()
    assert (measured["labels"], sum(measured["counts"]), measured["sum"]) == (["noop", "default", "retried"], 2, 1.0)


async def test_a_time_out_a_crash_and_a_type_that_nobody_serves_are_counted_as_failed(desk: Desk) -> None:
    (late, one), (crashed, two), (strange, three) = await desk.claim(3)
    desk.dispatch.on_crashed(crash(timed_out=[(late, one, 1, FAULT)]))
    desk.dispatch.on_crashed(crash(charged=(crashed, two, 1)))
    strange.spec = msgspec.structs.replace(strange.spec, type="nobody-knows")
    desk.dispatch._add([JUDGE.unserved(strange, three, ["noop"], 1)])
    await desk.write()
    assert desk.finished == {("noop", "default", "failed"): 2, ("unknown", "default", "failed"): 1}


async def test_a_retry_after_a_time_out_is_counted_as_one(desk: Desk) -> None:
    (late, one), again = await desk.claim(2)
    desk.dispatch.tasks["noop"] = TaskInfo("noop", max_retries=5)
    desk.dispatch.on_crashed(crash(timed_out=[(late, one, 1, FAULT)]))
    desk.reported([again], ResultKind.RETRY)
    await desk.write()
    assert (desk.retries, desk.finished) == (2, {})


async def test_a_job_cancelled_while_it_ran_is_counted_as_cancelled_whatever_it_reported(desk: Desk) -> None:
    items = await desk.claim(3)
    ids = [job.spec.id for job, _ in items]
    assert desk.dispatch.pool is not None
    desk.dispatch.pool._ledger.held |= {job.spec.id: (job, fence, None, 0.0, 0) for job, fence in items}
    assert await desk.store.cancel(ids[:2]) == [CancelKind.CANCELLING] * 2
    desk.dispatch.pool.cancel(ids[:2])
    desk.dispatch.pool.cancel([bytes(16)])  # not here: nobody would take it out again
    desk.reported([items[0], items[2]], ResultKind.COMPLETED)
    desk.dispatch.on_returned([items[1]])
    await desk.write()
    assert desk.finished == {("noop", "default", "cancelled"): 2, ("noop", "default", "completed"): 1}
    assert desk.dispatch.pool.cancelling == set()


def test_a_clock_that_was_set_back_makes_no_sum_fall() -> None:
    """The wait is the difference of two wall clocks."""
    stats = NodeStats("n1", 1)
    job = StoredJob(Producer().spec(), created_ms=10_000)
    stats.ran([(job, 1, a_result(job.spec, ResultKind.COMPLETED, 4_000_000, 4_000_100))])
    waits = series_of(stats, "zjp_job_wait_seconds")[()]
    assert (waits["sum"], waits["counts"][0]) == (0, 1)


def test_groups_in_one_batch_are_each_counted_whole() -> None:
    stats, producer = NodeStats("n1", 1), Producer()
    stats.known_types = {"noop"}
    jobs = [StoredJob(producer.spec(queue), created_ms=1) for queue in "aabba"]
    kinds = [ResultKind.COMPLETED, ResultKind.FAILED, ResultKind.COMPLETED, ResultKind.COMPLETED, ResultKind.COMPLETED]
    items = [(job, 1, a_result(job.spec, kind)) for job, kind in zip(jobs, kinds, strict=True)]
    outcomes: list[Outcome] = JUDGE.of_results(items, "w1", 5)
    stats.ran(items)
    stats.settled(outcomes)
    expected = {("noop", "a", "completed"): 2, ("noop", "a", "failed"): 1, ("noop", "b", "completed"): 2}
    assert series_of(stats, "zjp_jobs_finished_total") == expected
    assert {key: sum(one["counts"]) for key, one in series_of(stats, "job_processing_duration_seconds").items()} == expected
    assert sum(series_of(stats, "zjp_job_wait_seconds")[()]["counts"]) == 5
