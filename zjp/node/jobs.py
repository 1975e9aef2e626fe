"""Looking jobs up, waiting for them, and acting on them by id: the queue and the records joined.

A job moves in one direction, queue -> outbox -> records, so a look-up asks in that order and finds it at every moment of its life.

Waiting costs a finished job nothing when nobody waits: the store tells which ids became final, and `finished` compares them with the
waited-for ones. A waiter registers first and reads the state afterwards, so what finishes in between is not missed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import islice

from ..job import FINAL_STATES, JobFilter, JobState, JobView, Record, view_live, view_record
from ..queue.store import SCAN_MAX, Live, QueueStore
from ..records.store import RecordStore
from ..wire.messages import CancelKind, Page
from ..worker.pool import Pool

WAIT_MS_MAX = 60_000
"""A longer wait is asked again by the client: a dead connection must not hold a waiter for ever."""
LOOK_AGAIN_S = 1.0
"""Where other nodes finish jobs too: what they tell may be lost."""
REPLY_BYTES_MAX = 8 << 20
"""Views in one reply of `wait`; the rest is told when asked again."""
_LIVE, _RECORDS = b"L", b"R"


class Jobs:
    def __init__(self, queue: QueueStore, records: RecordStore) -> None:
        self.pool: Pool | None = None
        self._queue, self._records = queue, records
        self._waiters: dict[bytes, set[asyncio.Future[None]]] = {}

    async def get(self, ids: Sequence[bytes]) -> list[JobView | None]:
        found = await self._queue.get(ids)
        missing = [job_id for job_id, entry in zip(ids, found, strict=True) if entry is None]
        records = await self._records.get(missing) if missing else {}
        return [
            self._view(entry if entry is not None else records.get(job_id))
            for job_id, entry in zip(ids, found, strict=True)
        ]

    async def records_of(self, ids: Sequence[bytes]) -> dict[bytes, Record]:
        """Those of `ids` that are finished."""
        found = await self._queue.get(ids)
        here = {entry.job.spec.id: entry for entry in found if isinstance(entry, Record)}
        missing = [job_id for job_id, entry in zip(ids, found, strict=True) if entry is None]
        return {**(await self._records.get(missing) if missing else {}), **here}

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
        """Those of `ids` that are final (None for the unknown), as soon as there is one; [] after the time."""
        deadline = time.monotonic() + min(timeout_ms, WAIT_MS_MAX) / 1000
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._register(ids, wake)
        try:
            if self._queue.is_shared:
                await self._queue.watch(ids)
            while True:
                final = self._final(await self.get(ids))
                left_s = deadline - time.monotonic()
                if final or left_s <= 0:
                    return final
                await asyncio.wait([wake], timeout=min(left_s, LOOK_AGAIN_S) if self._queue.is_shared else left_s)
                if wake.done():
                    self._forget(ids, wake)
                    wake = asyncio.get_running_loop().create_future()
                    self._register(ids, wake)
        finally:
            self._forget(ids, wake)

    def _register(self, ids: Sequence[bytes], wake: asyncio.Future[None]) -> None:
        for job_id in ids:
            self._waiters.setdefault(job_id, set()).add(wake)

    def _forget(self, ids: Sequence[bytes], wake: asyncio.Future[None]) -> None:
        for job_id in ids:
            held = self._waiters.get(job_id)
            if held is not None:
                held.discard(wake)
                if not held:
                    del self._waiters[job_id]

    @staticmethod
    def _final(views: Sequence[JobView | None]) -> list[JobView | None]:
        chosen: list[JobView | None] = []
        size_bytes = 0
        for view in views:
            if view is None:
                chosen.append(None)
            elif view.status in FINAL_STATES and (not chosen or size_bytes < REPLY_BYTES_MAX):
                chosen.append(view)
                size_bytes += len(view.payload) + len(view.result)
        return chosen

    def finished(self, ids: Sequence[bytes]) -> None:
        """The store's `on_finished`."""
        if not self._waiters:
            return
        for job_id in ids:
            for wake in self._waiters.get(job_id, ()):
                if not wake.done():
                    wake.set_result(None)

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

    async def requeue(self, ids: Sequence[bytes]) -> list[str]:
        records = await self.records_of(ids)
        asked = list(records.values())
        done = (
            dict(zip((record.job.spec.id for record in asked), await self._queue.requeue(asked), strict=True))
            if asked
            else {}
        )
        live = await self._queue.get([job_id for job_id in ids if job_id not in done])
        known = {entry.job.spec.id for entry in live if entry is not None}
        return [
            ("requeued" if done[job_id] else "live") if job_id in done else ("live" if job_id in known else "unknown")
            for job_id in ids
        ]

    async def promote(self, ids: Sequence[bytes]) -> list[str]:
        return ["promoted" if done else "not-delayed" for done in await self._queue.promote(ids)]

    # ── listing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> Page:
        """Live ones first, then the records; the cursor says where to go on, and in which of the two."""
        is_final = wanted.state in FINAL_STATES
        if not is_final and cursor[:1] != _RECORDS:
            live = await self._queue.list(wanted, cursor[1:], limit)
            views = [self._view_live(entry) for entry in live.jobs]
            if live.cursor:
                return Page(views, _LIVE + live.cursor, live.scanned)
            if wanted.state is not None or len(views) >= limit:
                return Page(views, b"" if wanted.state is not None else _RECORDS, live.scanned)
            rest = await self._list_records(wanted, b"", limit - len(views))
            return Page(views + rest.jobs, rest.cursor, live.scanned + rest.scanned)
        return await self._list_records(wanted, cursor[1:], limit)

    async def _list_records(self, wanted: JobFilter, cursor: bytes, limit: int) -> Page:
        """The first page begins with what is still on its way to the records: who was told that a job is final finds it listed."""
        fresh = {} if cursor else await self._fresh(wanted, limit)
        page = await self._records.list(wanted, cursor, limit)
        records = [*fresh.values(), *(record for record in page.records if record.job.spec.id not in fresh)]
        return Page(
            [view_record(record) for record in records], _RECORDS + page.cursor if page.cursor else b"", page.scanned
        )

    async def _fresh(self, wanted: JobFilter, limit: int) -> dict[bytes, Record]:
        """Newest first, from the outbox. Asked before the records: what moves in between is in both, never in neither."""
        items = reversed(await self._queue.outbox(SCAN_MAX))
        matching = (item.record for item in items if wanted.accepts(item.record.job, item.record.state))
        return {record.job.spec.id: record for record in islice(matching, limit)}
