"""The queue in one SQLite file, owned by one node. (Skeleton: the signature others build against.)"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..job import JobFilter, JobSpec, Record
from .store import (
    Backlog,
    CancelKind,
    Claim,
    Durability,
    FinishedLookup,
    Life,
    Live,
    LivePage,
    LostClaims,
    OutboxItem,
    Outcome,
    QueueCount,
    Renewal,
    Submitted,
    Tended,
)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SQLiteQueueStore:
    level: Durability
    on_ready: Callable[[], None] | None
    on_finished: Callable[[Sequence[bytes]], None] | None

    def __init__(
        self,
        path: str | Path,
        *,
        lease_s: float,
        starvation_s: float,
        dedup_s: float,
        outbox_count_max: int,
        outbox_bytes_max: int,
        disk_reserve_bytes: int,
        finished: FinishedLookup,
        now_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        raise NotImplementedError

    async def open(self, life: Life, started: frozenset[bytes]) -> LostClaims: raise NotImplementedError
    async def close(self) -> None: raise NotImplementedError
    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]: raise NotImplementedError
    async def requeue(self, records: Sequence[Record]) -> list[bool]: raise NotImplementedError
    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim: raise NotImplementedError
    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]: raise NotImplementedError
    async def renew(self, progress: Mapping[bytes, bytes]) -> Renewal: raise NotImplementedError
    async def tend(self, limit: int) -> Tended: raise NotImplementedError
    async def cancel(self, ids: Sequence[bytes]) -> list[CancelKind]: raise NotImplementedError
    async def promote(self, ids: Sequence[bytes]) -> list[bool]: raise NotImplementedError
    async def pause(self, queue: str) -> None: raise NotImplementedError
    async def resume(self, queue: str) -> None: raise NotImplementedError
    async def purge(self, queue: str) -> int: raise NotImplementedError
    async def counts(self) -> list[QueueCount]: raise NotImplementedError
    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]: raise NotImplementedError
    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> LivePage: raise NotImplementedError
    async def outbox(self, limit: int) -> Sequence[OutboxItem]: raise NotImplementedError
    async def outbox_remove(self, items: Sequence[OutboxItem]) -> None: raise NotImplementedError
    def backlog(self) -> Backlog: raise NotImplementedError
