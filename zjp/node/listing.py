"""One page of a listing: live jobs in the order they will run, then finished ones, newest first.

    live  ──►  outbox  ──►  records          the way of a job, so what moves on while a listing is under way is ahead of it

A cursor is the phase and the place in it; a page goes on into the next phase while it has room. What is finished but not yet in the
records stands in the outbox, which a listing reads from its newest end: the place is how many items are older than the last one
listed. Items are appended at the new end and go at the old one, so a place may come to stand before what was listed already (a job is
then listed twice), never behind what was not.

Which phase shows a job that is in several (run again while its record is there, or in the records and not yet taken out of the outbox) is
decided by a look-up: the same that `get` answers by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import InvalidJob, Unavailable
from ..job import FINAL_STATES, JobFilter, JobView, Record, view_record
from ..queue.store import SCAN_MAX, Live, QueueStore
from ..records.store import RecordStore
from ..wire.messages import Page
from .room import Room

LIVE, OUTBOX, RECORDS = b"L", b"O", b"R"
ALL_OF_IT = (1 << 31) - 1
"""More than any outbox holds (OUTBOX_MAX)."""
_PLACE_BYTES = 8


class Listing:
    """`show` makes the view of a live job."""

    def __init__(self, queue: QueueStore, records: RecordStore, show: Callable[[Live], JobView]) -> None:
        self._queue, self._records, self._show = queue, records, show

    async def page(self, wanted: JobFilter, cursor: bytes, limit: int) -> Page:
        """Up to `limit` jobs, as many as fit into one reply. Raises: InvalidJob on a cursor that is none."""
        is_final = wanted.state in FINAL_STATES
        phases = {LIVE: self._live, OUTBOX: self._outbox, RECORDS: self._finished}
        cursor = cursor or (OUTBOX if is_final else LIVE)
        views: list[JobView] = []
        scanned, room = 0, Room()
        while cursor:
            here = cursor
            if here[:1] not in phases:
                raise InvalidJob("cursor is none that a listing gave; begin again without one")
            try:
                part = await phases[here[:1]](wanted, here[1:], limit - len(views))
            except Unavailable:
                if not views:
                    raise
                break  # what was found is shown; the next page says what is wrong
            scanned += part.scanned
            if not all(room.takes(view) for view in part.jobs) and views:
                cursor = here  # it does not fit beside the phase before: the next page begins with it
                break
            views += part.jobs
            cursor = part.cursor
            if len(views) >= limit or scanned >= SCAN_MAX or cursor[:1] == here[:1]:
                break
        return Page(views, cursor, scanned)

    async def _live(self, wanted: JobFilter, place: bytes, limit: int) -> Page:
        found = await self._queue.list(wanted, place, limit)
        views = [self._show(entry) for entry in found.jobs]
        after = OUTBOX if wanted.state is None else b""
        return Page(views, LIVE + found.cursor if found.cursor else after, found.scanned)

    async def _outbox(self, wanted: JobFilter, place: bytes, limit: int) -> Page:
        most = SCAN_MAX if self._queue.is_shared else ALL_OF_IT  # a shared one is read from its server: not a million for a page
        items = await self._queue.outbox(min(_read_place(place), most))
        older = len(items)
        matching: list[Record] = []
        room = Room()
        while older and len(matching) < limit and len(items) - older < SCAN_MAX:
            record = items[older - 1].record
            if wanted.accepts(record.job, record.state):
                if not room.takes(view_record(record)):
                    break
                matching.append(record)
            older -= 1
        found = await self._queue.get([record.job.spec.id for record in matching]) if matching else []
        shown = [record for record, now in zip(matching, found, strict=True) if not isinstance(now, Live)]
        after = OUTBOX + older.to_bytes(_PLACE_BYTES, "big") if older else RECORDS
        return Page([view_record(record) for record in shown], after, len(items) - older)

    async def _finished(self, wanted: JobFilter, place: bytes, limit: int) -> Page:
        found = await self._records.list(wanted, place, limit)
        shown = await self._in_records_only(found.records)
        return Page([view_record(record) for record in shown], RECORDS + found.cursor if found.cursor else b"", found.scanned)

    async def _in_records_only(self, records: Sequence[Record]) -> list[Record]:
        """Without those that run again, and those that the outbox showed."""
        ids = [record.job.spec.id for record in records]
        found = await self._queue.get(ids) if ids else []
        return [record for record, now in zip(records, found, strict=True) if now is None]


def _read_place(place: bytes) -> int:
    """How many of the oldest items are to be listed. Raises: InvalidJob."""
    if not place:
        return ALL_OF_IT
    if len(place) != _PLACE_BYTES or (older := int.from_bytes(place, "big")) > ALL_OF_IT:
        raise InvalidJob("cursor is none that a listing gave; begin again without one")
    return older
