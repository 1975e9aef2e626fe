"""A pool of real worker processes, and a desk that stands in for the node: it hands out jobs, takes back what comes, and keeps count."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgpack
import pytest

from zjp.job import SUSPICION_LIMIT, JobSpec, Options, StoredJob, make_id
from zjp.wire.messages import Result, ResultKind, TaskInfo
from zjp.worker.pool import CrashReport, Pool, PoolSettings

CRASH_LIMIT = 3
DEADLINE_S = 20.0


class Desk:
    """Jobs that wait are handed out as credit allows. What comes back unspent waits again at the front."""

    def __init__(self, settings: PoolSettings) -> None:
        self.pool = Pool(
            settings,
            on_ready=self._on_ready,
            on_results=self._on_results,
            on_returned=self._on_returned,
            on_crashed=self._on_crashed,
            on_progress=self._on_progress,
            on_credit=self._hand_out,
            on_not_ready=self._on_not_ready,
        )
        self.tasks: dict[str, TaskInfo] = {}
        self.not_ready: list[str] = []
        self.results: dict[bytes, Result] = {}
        self.reported: list[tuple[bytes, int]] = []
        self.workers: dict[bytes, str] = {}
        self.reports: list[CrashReport] = []
        self.dead: list[bytes] = []
        self.returned: Counter[bytes] = Counter()
        self.given: Counter[bytes] = Counter()
        self.charges: Counter[bytes] = Counter()
        self.progress: dict[bytes, Any] = {}
        self.fence = 0
        self.is_handing_out = True
        self._waiting: list[StoredJob] = []
        self._count = 0
        self._changed = asyncio.Event()

    async def start(self) -> Desk:
        await self.pool.start()
        processes = self.pool._settings.processes
        await self.until(lambda: bool(self.not_ready) or self.ready_count() == processes)
        return self

    def ready_count(self) -> int:
        return sum(state.state == "ready" for state in self.pool.states())

    def submit(
        self, task: str, payload: Mapping[str, Any] | None = None, *, priority: int = 5, **options: Any
    ) -> bytes:
        """One job; returns its id."""
        return self.submit_many([(task, payload or {})], priority=priority, **options)[0]

    def submit_many(
        self, wanted: Sequence[tuple[str, Mapping[str, Any]]], *, priority: int = 5, **options: Any
    ) -> list[bytes]:
        jobs = [self.job(task, payload, priority=priority, **options) for task, payload in wanted]
        self._waiting += jobs
        self._hand_out()
        return [job.spec.id for job in jobs]

    def job(
        self,
        task: str,
        payload: Mapping[str, Any],
        *,
        priority: int = 5,
        retries: int = 0,
        suspicion: int = 0,
        **options: Any,
    ) -> StoredJob:
        self._count += 1
        spec = JobSpec(
            make_id(1_700_000_000_000, 1, self._count),
            task,
            msgpack.packb(payload),
            priority=priority,
            options=Options(**options) if options else None,
        )
        return StoredJob(spec, 1_700_000_000_000, retries=retries, suspicion=suspicion)

    def put(self, job: StoredJob) -> bytes:
        self._waiting.append(job)
        self._hand_out()
        return job.spec.id

    async def result(self, job_id: bytes) -> Result:
        await self.until(lambda: job_id in self.results)
        return self.results[job_id]

    async def value(self, job_id: bytes) -> Any:
        result = await self.result(job_id)
        assert result.kind == ResultKind.COMPLETED, result
        return msgpack.unpackb(result.data)

    async def until(self, claim: Callable[[], bool], within_s: float = DEADLINE_S) -> None:
        """Looks again at whatever the pool tells, and every 10 ms for what it does not."""
        end = asyncio.get_running_loop().time() + within_s
        while not claim():
            self._changed.clear()
            assert asyncio.get_running_loop().time() < end, f"not within {within_s} s: {self}"
            try:
                await asyncio.wait_for(self._changed.wait(), 0.01)
            except TimeoutError:
                pass

    def __str__(self) -> str:
        counts = f"{len(self.results)} results, {len(self._waiting)} waiting, {len(self.pool.held)} held"
        return f"{counts}, {self.pool.states()}, {self.reports[-3:]}"

    def _hand_out(self) -> None:
        while self.is_handing_out and self._waiting and (credit := self.pool.credit()) > 0:
            batch, self._waiting = self._waiting[:credit], self._waiting[credit:]
            self.fence += 1
            self.given.update(job.spec.id for job in batch)
            self.pool.dispatch(self.fence, batch)

    def _on_ready(self, tasks: Mapping[str, TaskInfo]) -> None:
        self.tasks = dict(tasks)
        self._changed.set()

    def _on_not_ready(self, reason: str) -> None:
        self.not_ready.append(reason)
        self._changed.set()

    def _on_results(self, worker: str, items: Sequence[tuple[StoredJob, int, Result]]) -> None:
        for job, fence, result in items:
            assert (job.spec.id, fence) not in self.reported, "a job was reported twice"
            self.reported.append((job.spec.id, fence))
            self.results[job.spec.id] = result
            self.workers[job.spec.id] = worker
        self._hand_out()
        self._changed.set()

    def _on_returned(self, items: Sequence[tuple[StoredJob, int]]) -> None:
        self.returned.update(job.spec.id for job, _ in items)
        self._waiting[:0] = [job for job, _ in items]
        self._changed.set()

    def _on_crashed(self, report: CrashReport) -> None:
        self.reports.append(report)
        back = [job for job, _ in report.innocent]
        for job, *_ in report.suspects:
            job.suspicion += 1
            back.append(job)
        if report.charged is not None:
            job = report.charged[0]
            job.crashes += 1
            self.charges[job.spec.id] += 1
            if job.crashes >= CRASH_LIMIT - 1:  # as the node does
                job.suspicion = max(job.suspicion, SUSPICION_LIMIT)
            if job.crashes < CRASH_LIMIT:
                back.append(job)
            else:
                self.dead.append(job.spec.id)
        self._waiting[:0] = back
        self._hand_out()
        self._changed.set()

    def _on_progress(self, progress: Mapping[bytes, bytes]) -> None:
        self.progress.update({job_id: msgpack.unpackb(data) for job_id, data in progress.items()})
        self._changed.set()


Open = Callable[..., Awaitable[Desk]]


@pytest.fixture
async def desk_of() -> AsyncIterator[Open]:
    """`await desk_of(slots=2, ...)`: a started desk; ended after the test."""
    desks: list[Desk] = []

    async def make(**settings: Any) -> Desk:
        chosen = {"app": "tests.fakes:app", "node": "n1", "slots": 1, "processes": 1, **settings}
        desks.append(Desk(PoolSettings(**chosen)))
        return await desks[-1].start()

    yield make
    for desk in desks:
        desk.is_handing_out = False
        await desk.pool.stop(0.0)
