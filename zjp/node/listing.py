"""One page of a listing: live jobs in the order they will run, then finished ones, newest first.

    live  ──►  outbox  ──►  records          the way of a job, so what moves on while a listing is under way is ahead of it

A cursor is the phase and the place in it; a page goes on into the next phase while it has room. What is finished but not yet in the
records stands in the outbox, which a listing reads from its newest end, some at a time: the place is how many items are older than the last
one listed. Items are appended at the new end and go at the old one, so a place may come to stand before what was listed already (a job is
then listed twice), never behind what was not.

Which phase shows a job that is in several (run again while its record is there, or in the records and not yet taken out of the outbox) is
decided by a look-up: the same that `get` answers by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import InvalidJob, Unavailable
from ..job import FINAL_STATES, JobFilter, JobView, Record, view_record
from ..queue.store import SCAN_MAX, Live, OutboxPage, QueueStore
from ..records.store import RecordStore
from ..wire.messages import Page
from .room import Room

LIVE, OUTBOX, RECORDS = b"L", b"O", b"R"
STEP_MIN, STEP = 16, 500
"""Items that are read from a shared outbox at first, and at most: a page that ends for its bytes has not read 500 large ones."""
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
        older, scanned = _read_place(place), 0
        step = STEP_MIN if self._queue.is_shared else SCAN_MAX
        matching: dict[bytes, Record] = {}
        room = Room()
        while older and len(matching) < limit and scanned < SCAN_MAX:
            asked = min(step, SCAN_MAX - scanned)
            page = await self._queue.newest(older, asked)
            older = _take(page, wanted, limit, room, matching)
            scanned += page.scanned - (older - page.older)
            if older > page.older or page.scanned < asked:
                break
            step = min(step * 4, STEP)
        found = await self._queue.get(list(matching)) if matching else []
        shown = [record for record, now in zip(matching.values(), found, strict=True) if not isinstance(now, Live)]
        after = OUTBOX + older.to_bytes(_PLACE_BYTES, "big") if older else RECORDS
        return Page([view_record(record) for record in shown], after, scanned)

    async def _finished(self, wanted: JobFilter, place: bytes, limit: int) -> Page:
        found = await self._records.list(wanted, place, limit)
        shown = await self._in_records_only(found.records)
        return Page([view_record(record) for record in shown], RECORDS + found.cursor if found.cursor else b"", found.scanned)

    async def _in_records_only(self, records: Sequence[Record]) -> list[Record]:
        """Without those that run again, and those that the outbox showed."""
        ids = [record.job.spec.id for record in records]
        found = await self._queue.get(ids) if ids else []
        return [record for record, now in zip(records, found, strict=True) if now is None]


def _take(page: OutboxPage, wanted: JobFilter, limit: int, room: Room, matching: dict[bytes, Record]) -> int:
    """Into `matching` what belongs there and fits. Returns how many items are older than the last one that was looked at."""
    for item, older in zip(page.items, page.places, strict=True):
        record = item.record
        if len(matching) >= limit:
            return older + 1
        if wanted.accepts(record.job, record.state) and record.job.spec.id not in matching:
            if not room.takes(view_record(record)):
                return older + 1
            matching[record.job.spec.id] = record
    return page.older


def _read_place(place: bytes) -> int:
    """How many of the oldest items are to be listed. Raises: InvalidJob."""
    if not place:
        return ALL_OF_IT
    if len(place) != _PLACE_BYTES or (older := int.from_bytes(place, "big")) > ALL_OF_IT:
        raise InvalidJob("cursor is none that a listing gave; begin again without one")
    return older
