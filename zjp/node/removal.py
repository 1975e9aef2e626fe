"""Jobs that an operator removes: cancelled where they are not finished, and their records taken away.

A job's way is queue -> outbox -> records, and what is taken from the records while the outbox still holds it would be written there again.
So a record is removed once the queue knows nothing of the job any more; who asks waits WAIT_S for that, and what takes longer (it runs,
and is being cancelled; the records are away) is seen to afterwards, for as long as this node lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from ..errors import Unavailable
from ..log import event
from ..queue.store import QueueStore
from ..records.store import RecordStore
from ..wire import messages as m
from ..wire.desk import RemoveJobs
from ..wire.messages import CancelKind
from .askers import Asker

WAIT_S = 1.0
LOOK_S = (0.005, 0.5)
"""Between two looks, doubling; who waits sees most within the first few."""
WAITING_MAX = 10_000
LOOK_MAX = 1_000

log = logging.getLogger(__name__)


Cancel = Callable[[Sequence[bytes]], Awaitable[list[str]]]


class Removal:
    """`cancel`: as a user's cancel, counted as such. `start`, then `stop`."""

    def __init__(self, queue: QueueStore, records: RecordStore, cancel: Cancel) -> None:
        self._queue, self._records, self._cancel = queue, records, cancel
        self._waiting: dict[bytes, None] = {}
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="removal")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def ask(self, request: RemoveJobs, asker: Asker) -> m.Reply:
        """Raises: Unavailable."""
        if len(self._waiting) + len(request.ids) > WAITING_MAX:
            raise Unavailable(
                f"{len(self._waiting)} jobs wait for their removal, the limit is {WAITING_MAX}; ask again later"
            )
        verdicts = await self._cancel(request.ids)
        known = [
            job_id for job_id, verdict in zip(request.ids, verdicts, strict=True) if verdict != CancelKind.UNKNOWN.value
        ]
        self._waiting |= dict.fromkeys(known)
        self._woken.set()
        await self._await_gone(set(known))
        return m.Verdicts([
            "unknown" if verdict == CancelKind.UNKNOWN.value else "removing" if job_id in self._waiting else "removed"
            for job_id, verdict in zip(request.ids, verdicts, strict=True)
        ])  # fmt: skip

    async def _await_gone(self, ids: set[bytes]) -> None:
        with contextlib.suppress(Unavailable):
            end, pause_s = time.monotonic() + WAIT_S, LOOK_S[0]
            while ids and not await self._look(list(ids)[:LOOK_MAX]):
                if time.monotonic() >= end:
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LOOK_S[1])

    async def _look(self, ids: list[bytes]) -> bool:
        """Remove the records of those that have left the queue. True: those were all. Raises: Unavailable."""
        found = await self._queue.get(ids)
        gone = [job_id for job_id, entry in zip(ids, found, strict=True) if entry is None and job_id in self._waiting]
        if gone:
            await self._records.remove(gone)
            for job_id in gone:
                self._waiting.pop(job_id, None)
        return not any(job_id in self._waiting for job_id in ids)

    async def _run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            await asyncio.sleep(WAIT_S)  # whoever asked sees to most of it
            while self._waiting:
                try:
                    await self._look(list(self._waiting)[:LOOK_MAX])
                except Unavailable as fault:
                    event(log, logging.WARNING, "removal.put_off", reason=str(fault), waiting=len(self._waiting))
                self._waiting |= {
                    job_id: self._waiting.pop(job_id) for job_id in list(self._waiting)[:LOOK_MAX]
                }  # others first, next time
                await asyncio.sleep(LOOK_S[1])
