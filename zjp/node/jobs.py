"""Looking jobs up, waiting for them, and acting on them by id: the queue and the records joined.

A job moves in one direction, queue -> outbox -> records, so a look-up asks in that order and finds it at every moment of its life.

Waiting costs a finished job nothing when nobody waits: the store tells which ids became final, and `finished` compares them with the
waited-for ones. A waiter registers first and reads the state afterwards, so what finishes in between is not missed. Woken, it reads only
those it was told of; all of them again each LOOK_AGAIN_S.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence

from ..job import FINAL_STATES, JobFilter, JobState, JobView, Record, view_live, view_record
from ..queue.store import Live, QueueStore
from ..records.store import RecordStore
from ..wire.messages import REPLY_BYTES_MAX, CancelKind, Page
from ..worker.pool import Pool
from .listing import Listing
from .retries import Retries, latest_of
from .room import Room, size_bytes

WAIT_MS_MAX = 60_000
"""A longer wait is asked again by the client: a dead connection must not hold a waiter for ever."""
LOOK_AGAIN_S = 1.0
"""Where other nodes finish jobs too: what they tell may be lost."""
LOOK_MIN, LOOK_GROWTH = 16, 8
"""Jobs that a look-up reads first, and how many times more with each further step, unless those read last were so large that it would be
more than a reply holds: a thousand large payloads are never read for a reply that holds eight of them, nor at once, which would keep
everybody else from the store; and a thousand small ones cost three reads."""


class Waiter:
    """`told`: of its ids those that became final since it looked last."""

    __slots__ = ("told", "woken")

    def __init__(self) -> None:
        self.told: set[bytes] = set()
        self.woken = asyncio.Event()

    def tell(self, job_id: bytes) -> None:
        self.told.add(job_id)
        self.woken.set()

    def take(self) -> set[bytes]:
        told, self.told = self.told, set()
        self.woken.clear()
        return told


class Jobs:
    def __init__(self, queue: QueueStore, records: RecordStore) -> None:
        self.pool: Pool | None = None
        self._queue, self._records = queue, records
        self._listing = Listing(queue, records, self._view_live)
        self._retries = Retries(queue, records)
        self.runs, self.requeue = self._retries.runs, self._retries.requeue
        self._waiters: dict[bytes, set[Waiter]] = {}

    async def get(self, ids: Sequence[bytes]) -> list[JobView | None]:
        """The first of `ids`, in order, as many as fit into one reply; at least one."""
        views: list[JobView | None] = []
        room = Room()

        def take(view: JobView | None) -> bool:
            if view is not None and not room.takes(view):
                return False
            views.append(view)
            return True

        await self._look_through(ids, take)
        return views

    async def _look_through(self, ids: Sequence[bytes], take: Callable[[JobView | None], bool]) -> None:
        """Step by step, until `take` has enough and says False."""
        at, step = 0, LOOK_MIN
        while at < len(ids):
            views = await self._look_up(ids[at : at + step])
            if not all(take(view) for view in views):
                return
            at += step
            read_bytes = sum(size_bytes(view) for view in views if view is not None)
            step = max(1, min(step * LOOK_GROWTH, REPLY_BYTES_MAX * len(views) // max(1, read_bytes)))

    async def _look_up(self, ids: Sequence[bytes]) -> list[JobView | None]:
        found = await latest_of(ids, await self._queue.get(ids), self._records)
        return [self._view(found.get(job_id)) for job_id in ids]

    async def records_of(self, ids: Sequence[bytes]) -> dict[bytes, Record]:
        """Those of `ids` that are finished."""
        found = await latest_of(ids, await self._queue.get(ids), self._records)
        return {job_id: entry for job_id, entry in found.items() if isinstance(entry, Record)}

    def _view(self, entry: Live | Record | None) -> JobView | None:
        if entry is None:
            return None
        return view_record(entry) if isinstance(entry, Record) else self._view_live(entry)

    def _view_live(self, live: Live) -> JobView:
        worker, started_ms = "", 0
        if self.pool is not None and live.state in (JobState.RUNNING, JobState.CANCELLING):
            held = self.pool.find(live.job.spec.id)
            if held is not None:
                worker, started_ms = held.worker, int((time.time() - (time.monotonic() - held.since)) * 1000)
        return view_live(live.job, live.state, node=live.node, worker=worker, started_ms=started_ms)

    # ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def wait(self, ids: Sequence[bytes], timeout_ms: int) -> list[JobView | None]:
        """Those of `ids` that are final (None for the unknown) and fit into one reply, as soon as there is one; [] after the time."""
        deadline = time.monotonic() + min(timeout_ms, WAIT_MS_MAX) / 1000
        waiter = Waiter()
        self._register(ids, waiter)
        try:
            if self._queue.is_shared:
                await self._queue.watch(ids)
            return await self._wait(ids, waiter, deadline)
        finally:
            self._forget(ids, waiter)

    async def _wait(self, ids: Sequence[bytes], waiter: Waiter, deadline: float) -> list[JobView | None]:
        asked, look_again_at = ids, 0.0
        while True:
            if asked is ids:
                look_again_at = time.monotonic() + LOOK_AGAIN_S if self._queue.is_shared else math.inf
            final = await self._final(asked)
            now = time.monotonic()
            if final or now >= deadline:
                return final
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(deadline, look_again_at) - now)):
                    await waiter.woken.wait()
            told = waiter.take()
            is_time = not told or time.monotonic() >= look_again_at
            asked = ids if is_time else [job_id for job_id in ids if job_id in told]

    def _register(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        for job_id in ids:
            self._waiters.setdefault(job_id, set()).add(waiter)

    def _forget(self, ids: Sequence[bytes], waiter: Waiter) -> None:
        for job_id in ids:
            held = self._waiters.get(job_id)
            if held is not None:
                held.discard(waiter)
                if not held:
                    del self._waiters[job_id]

    async def _final(self, ids: Sequence[bytes]) -> list[JobView | None]:
        chosen: list[JobView | None] = []
        room = Room()

        def take(view: JobView | None) -> bool:
            if view is None or view.status in FINAL_STATES:
                if view is not None and not room.takes(view):
                    return False
                chosen.append(view)
            return True

        await self._look_through(ids, take)
        return chosen

    def finished(self, ids: Sequence[bytes]) -> None:
        """The store's `on_finished`."""
        if not self._waiters:
            return
        for job_id in ids:
            for waiter in self._waiters.get(job_id, ()):
                waiter.tell(job_id)

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, ids: Sequence[bytes]) -> list[str]:
        kinds = await self._queue.cancel(ids)
        told = [job_id for job_id, kind in zip(ids, kinds, strict=True) if kind is CancelKind.CANCELLING]
        if told and self.pool is not None:
            self.pool.cancel(told)
        unknown = [job_id for job_id, kind in zip(ids, kinds, strict=True) if kind is CancelKind.UNKNOWN]
        finished = await self._records.get(unknown) if unknown else {}
        return [
            (CancelKind.FINISHED if kind is CancelKind.UNKNOWN and job_id in finished else kind).value
            for job_id, kind in zip(ids, kinds, strict=True)
        ]

    async def promote(self, ids: Sequence[bytes]) -> list[str]:
        return ["promoted" if done else "not-delayed" for done in await self._queue.promote(ids)]

    # ── listing, last since its name hides the type ──────────────────────────────────────────────────────────────────────────────────

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> Page:
        return await self._listing.page(wanted, cursor, limit)
