"""What the tests of queue stores are made of: jobs, outcomes, and for each store a way to open it, crash it and let time pass."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tests.redis import shared_redis
from zjp.job import JobFault, JobSpec, JobState, Options, Record, StoredJob, make_id
from zjp.queue.redis import RedisQueueStore
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Claim, Life, LostClaims, Outcome, OutcomeKind, QueueStore, SubmitKind

START_MS = 1_780_000_000_000
LEASE_S = 15.0
STARVATION_S = 60.0
DEDUP_S = 600.0
NODE = "node-1"
ALL = {"*": 1}
_marks = itertools.count(1 << 52)
PAYLOAD = b"\x81\xa1n\x01"
OTHER_PAYLOAD = b"\x81\xa1n\x02"


class Producer:
    """Numbers its jobs as a client's session does."""

    _sessions = itertools.count(1)

    def __init__(self) -> None:
        self._session = next(self._sessions)
        self._count = itertools.count()

    def id(self) -> bytes:
        return make_id(START_MS, self._session, next(self._count))

    def spec(self, queue: str = "default", priority: int = 5, *, payload: bytes = PAYLOAD, **options: Any) -> JobSpec:
        return JobSpec(self.id(), "noop", payload, queue, priority, Options(**options) if options else None)

    def specs(self, count: int, queue: str = "default", priority: int = 5) -> list[JobSpec]:
        return [self.spec(queue, priority) for _ in range(count)]


def marked(started: Sequence[bytes]) -> dict[bytes, int]:
    """As workers would have left it: under fences above all that were told, since the claim that was open is the last one."""
    return {job_id: next(_marks) for job_id in started}


class Bench(Protocol):
    """One store under test. `open` begins the next life of the same node on the same data; limits are those of the constructor."""

    finished: dict[bytes, Record]
    """The records, as far as the store can ask for them."""

    async def open(self, *started: bytes, **limits: Any) -> QueueStore: ...

    async def crash(self, *started: bytes, **limits: Any) -> QueueStore:
        """As if the process of the store opened last had been killed now; then `open`."""

    passed_s: float
    """By `pass_time` and `lose_lease`."""

    @property
    def lost(self) -> LostClaims:
        """What the last `open` answered."""

    def pass_time(self, seconds: float) -> None:
        """For the store's clocks. Longer than a pause that it forgives: see `lose_lease`."""

    async def lose_lease(self, store: QueueStore) -> None:
        """Let the lease of the store opened last end without a renewal, and have it noticed."""

    async def close(self) -> None: ...


class SQLiteBench:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "queue-1.db"
        self._boot = 0
        self._stores: list[SQLiteQueueStore] = []
        self.passed_s = 0.0
        self.finished: dict[bytes, Record] = {}
        self.lost = LostClaims(0, 0)

    @property
    def path(self) -> Path:
        return self._path

    def make(self, **limits: Any) -> SQLiteQueueStore:
        async def finished(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
            return {job_id: self.finished[job_id] for job_id in ids if job_id in self.finished}

        settings: dict[str, Any] = {
            "lease_s": LEASE_S, "starvation_s": STARVATION_S, "dedup_s": DEDUP_S, "outbox_count_max": 10_000,
            "outbox_bytes_max": 1 << 28, "disk_reserve_bytes": 0, "finished": finished,
            "now_s": lambda: 1000.0 + self.passed_s, "wall_ms": lambda: START_MS + round(self.passed_s * 1000),
        }  # fmt: skip
        return SQLiteQueueStore(self._path, **(settings | limits))

    async def open(self, *started: bytes, **limits: Any) -> SQLiteQueueStore:
        await self.close()
        store = self.make(**limits)
        self._boot += 1
        self.lost = await store.open(Life(NODE, self._boot), marked(started))
        self._stores.append(store)
        return store

    async def crash(self, *started: bytes, **limits: Any) -> SQLiteQueueStore:
        """A copy of the files as they are is what a process that is killed leaves behind."""
        left = self._path.with_name(f"queue-{self._boot + 1}.db")
        for ending in ("-wal", ""):  # the journal first: what the file takes over from it meanwhile is in both
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{self._path}{ending}", f"{left}{ending}")
        await self.close()
        self._path = left
        return await self.open(*started, **limits)

    def pass_time(self, seconds: float) -> None:
        self.passed_s += seconds

    async def lose_lease(self, store: QueueStore) -> None:
        for _ in range(int(LEASE_S / 2) + 1):
            self.pass_time(2.0)
            await store.tend(1000)

    async def close(self) -> None:
        while self._stores:
            await self._stores.pop().close()


class RedisBench:
    """One server for all tests of the process, emptied for each. Its wall clock is the bench's."""

    def __init__(self, folder: Path) -> None:
        self._boot = 0
        self.stores: list[RedisQueueStore] = []
        self.passed_s = 0.0
        self.finished: dict[bytes, Record] = {}
        self.lost = LostClaims(0, 0)
        self.server = shared_redis()
        self.url = ""
        """Other than the server's own: of what stands before it."""
        self.server.send(b"FLUSHALL")
        self.server.set_clock(START_MS)

    def make(self, **limits: Any) -> RedisQueueStore:
        async def finished(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
            return {job_id: self.finished[job_id] for job_id in ids if job_id in self.finished}

        settings: dict[str, Any] = {
            "lease_s": LEASE_S, "starvation_s": STARVATION_S, "dedup_s": DEDUP_S, "outbox_count_max": 10_000,
            "outbox_bytes_max": 1 << 28, "finished": finished, "now_s": lambda: 1000.0 + self.passed_s,
        }  # fmt: skip
        return RedisQueueStore(self.url or self.server.unix_url, **(settings | limits))

    async def open(self, *started: bytes, **limits: Any) -> RedisQueueStore:
        await self.close()
        return await self._begin(*started, **limits)

    async def _begin(self, *started: bytes, **limits: Any) -> RedisQueueStore:
        store = self.make(**limits)
        self._boot += 1
        self.lost = await store.open(Life(NODE, self._boot), marked(started))
        self.stores.append(store)
        return store

    async def join(self, node: str, boot: int = 1, *, home: str = "", address: str = "", **limits: Any) -> RedisQueueStore:
        """Another node on the same queue."""
        store = self.make(**limits)
        await store.open(Life(node, boot, home, address), {})
        self.stores.append(store)
        return store

    async def crash(self, *started: bytes, **limits: Any) -> RedisQueueStore:
        while self.stores:
            await self.stores.pop().disconnect()
        return await self._begin(*started, **limits)

    def pass_time(self, seconds: float) -> None:
        self.passed_s += seconds
        self.server.set_clock(START_MS + round(self.passed_s * 1000))

    async def lose_lease(self, store: QueueStore) -> None:
        for _ in range(int(LEASE_S / 2) + 1):
            self.pass_time(2.0)
            await store.tend(1000)

    async def close(self) -> None:
        while self.stores:
            await self.stores.pop().close()


BENCHES: dict[str, Callable[[Path], Bench]] = {"sqlite": SQLiteBench, "redis": RedisBench}
"""A new store is one more entry."""


# ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def completed(fence: int, job: StoredJob, result: bytes = b"\xc0") -> Outcome:
    return Outcome(fence, job, OutcomeKind.FINISH, Record(job, JobState.COMPLETED, START_MS, result))


def failed(fence: int, job: StoredJob) -> Outcome:
    return Outcome(fence, job, OutcomeKind.FINISH, Record(job, JobState.FAILED, START_MS, error=JobFault("ValueError", "no")))


def retried(fence: int, job: StoredJob, delay_ms: int) -> Outcome:
    job.retries += 1
    return Outcome(fence, job, OutcomeKind.RETRY, delay_ms=delay_ms)


def snoozed(fence: int, job: StoredJob, delay_ms: int) -> Outcome:
    return Outcome(fence, job, OutcomeKind.SNOOZE, delay_ms=delay_ms)


def released(fence: int, job: StoredJob) -> Outcome:
    return Outcome(fence, job, OutcomeKind.RELEASE)


def ids_of(claim: Claim) -> list[bytes]:
    return [job.spec.id for job in claim.jobs]


async def add(store: QueueStore, *specs: JobSpec) -> list[bytes]:
    """Submit jobs that must be new."""
    answers = await store.submit(list(specs))
    assert {answer.kind for answer in answers} == {SubmitKind.CREATED}
    return [answer.id for answer in answers]


async def run_all(store: QueueStore, count: int = 1000) -> list[bytes]:
    """Claim and complete what is ready."""
    claim = await store.claim(count, ALL)
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    return ids_of(claim)


async def archive(bench: Bench, store: QueueStore) -> None:
    """What the records' writer does: take all of the outbox, then remove it."""
    items = await store.outbox(10_000)
    bench.finished.update({item.record.job.spec.id: item.record for item in items})
    await store.outbox_remove(items)


async def pending(store: QueueStore, queue: str = "default") -> int:
    return next((count.pending for count in await store.counts() if count.queue == queue), 0)
