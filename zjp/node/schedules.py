"""What clients ask about schedules: add, list, change, remove, run now. Any node answers; the leader fires them (duties.py).

A schedule is a document in the queue's store. A change reads it, makes a new one and writes that if nobody was faster; else it begins
again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..errors import InvalidJob, JobConflict, NotFound, Unavailable
from ..job import ID_BYTES, JobSpec, Limits
from ..queue.store import DocumentKind, QueueStore
from ..schedule import SCHEDULES_MAX, Schedule, ScheduleChange, is_same_plan, job_of
from ..ticks import altered, begun
from ..wire.messages import REPLY_BYTES_MAX
from ..wire.messages import Schedules as SchedulesReply

TRIES_MAX = 20
"""The leader moves a schedule on at every tick, so a change may find it changed a few times."""

_KIND = DocumentKind.SCHEDULE
_decode = msgspec.msgpack.Decoder(Schedule).decode
_encode = msgspec.msgpack.Encoder().encode


class Schedules:
    """`on_change`: called when one was added, changed or removed here."""

    def __init__(self, queue: QueueStore, limits: Limits, on_change: Callable[[], None]) -> None:
        self._queue, self._limits, self._on_change = queue, limits, on_change

    async def add(self, asked: Schedule) -> SchedulesReply:
        """Raises: InvalidJob, PayloadTooLarge, JobConflict."""
        made = begun(asked, self._queue.now_ms(), self._limits)
        documents = await self._queue.documents(_KIND)
        if len(documents) >= SCHEDULES_MAX and all(document.name != made.name for document in documents):
            raise InvalidJob(
                f"there are {len(documents)} schedules, the limit is {SCHEDULES_MAX}; remove some, or submit with a delay"
            )
        if not await self._queue.put_document(_KIND, made.name, _encode(made), 0):
            there, _ = await self._find(made.name)
            if not is_same_plan(there, made):
                raise JobConflict(f"schedule {made.name!r} is there already and differs; change it, or remove it first")
            return SchedulesReply([there])
        self._on_change()
        return SchedulesReply([made])

    async def list(self, name: str, after: str) -> SchedulesReply:
        """Raises: NotFound, when one is named."""
        if name:
            return SchedulesReply([(await self._find(name))[0]])
        found: list[Schedule] = []
        size_bytes = 0
        for document in await self._queue.documents(_KIND):
            if document.name <= after:
                continue
            size_bytes += len(document.data)
            if found and (size_bytes > REPLY_BYTES_MAX or len(found) == SCHEDULES_MAX):
                return SchedulesReply(found, has_more=True)
            found.append(_decode(document.data))
        return SchedulesReply(found)

    async def change(self, name: str, change: ScheduleChange) -> SchedulesReply:
        """Raises: NotFound, InvalidJob, PayloadTooLarge, Unavailable."""
        for _ in range(TRIES_MAX):
            there, version = await self._find(name)
            new = altered(there, change, self._queue.now_ms(), self._limits)
            if await self._queue.put_document(_KIND, name, _encode(new), version):
                self._on_change()
                return SchedulesReply([new])
        raise _restless(name)

    async def remove(self, name: str) -> bool:
        """Raises: Unavailable."""
        for _ in range(TRIES_MAX):
            version = next(
                (document.version for document in await self._queue.documents(_KIND) if document.name == name), 0
            )
            if not version:
                return False
            if await self._queue.remove_document(_KIND, name, version):
                self._on_change()
                return True
        raise _restless(name)

    async def job(self, name: str, job_id: bytes) -> JobSpec:
        """The schedule's job under that id. Raises: NotFound, InvalidJob."""
        if len(job_id) != ID_BYTES:
            raise InvalidJob(f"id is {len(job_id)} bytes, it must be {ID_BYTES}")
        return job_of((await self._find(name))[0], job_id)

    async def _find(self, name: str) -> tuple[Schedule, int]:
        """With its version. Raises: NotFound."""
        for document in await self._queue.documents(_KIND):
            if document.name == name:
                return _decode(document.data), document.version
        raise NotFound(f"no schedule {name[:100]!r}; `zjp schedules list` shows those there are")


def _restless(name: str) -> Unavailable:
    return Unavailable(f"schedule {name!r} changed {TRIES_MAX} times meanwhile; ask again")
