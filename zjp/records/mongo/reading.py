"""Look-ups and pages of listings.

A page is read off the index of one filter, newest first. Where more is asked for than one index knows (a type and a state, say), the
documents it names are looked at, SCAN_MAX at most for one page: the order of the SCAN_MAX-th, read off the index alone, bounds the query.
A range of creation times that holds few records is read as a whole and sorted; one that holds many is looked for like the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from ...job import JobFilter, Record
from ...wire.messages import REPLY_BYTES_MAX
from ..cursor import write_cursor
from ..store import RecordPage
from .documents import BY_CREATED, Plan, created_between, ids_of, plan_of, record_of

SCAN_MAX = 10_000
"""Documents that one page looks at."""
IDS_PER_FIND = 1000

Records = AsyncCollection[dict[str, Any]]


async def get(records: Records, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    found = {}
    for start in range(0, len(ids), IDS_PER_FIND):
        some = ids_of(ids[start : start + IDS_PER_FIND])
        async for document in records.find({"_id": {"$in": some}}, {"data": 1}):
            record = record_of(document)
            if record is not None:
                found[record.job.spec.id] = record
    return found


async def list_page(records: Records, wanted: JobFilter, below: int, limit: int) -> RecordPage:
    plan = plan_of(wanted)
    floor = 0
    if created := created_between(wanted):
        count = await records.count_documents(created, hint=BY_CREATED, limit=SCAN_MAX)
        if count < SCAN_MAX:
            plan = Plan(BY_CREATED, created, {**plan.where, **plan.rest})
    if plan.rest and plan.by != BY_CREATED:
        floor = await _floor(records, plan, below)
    page = _Page(limit)
    await page.fill(records, plan, floor, below)
    if not plan.rest:
        return page.ended(write_cursor(page.order) if page.is_cut else b"", len(page.records))
    if page.is_cut:
        return page.ended(write_cursor(page.order), await _count(records, plan, page.order, below))
    if floor:
        return page.ended(write_cursor(floor), SCAN_MAX)
    return page.ended(b"", await _count(records, plan, 0, below))


async def _floor(records: Records, plan: Plan, below: int) -> int:
    """The order of the last that one page may look at; 0 when there are fewer."""
    found = records.find(
        {**plan.where, "order": {"$lt": below}},
        {"_id": 0, "order": 1},
        sort=[("order", -1)],
        hint=plan.by,
        skip=SCAN_MAX - 1,
        limit=1,
    )
    async for document in found:
        order: int = document["order"]
        return order
    return 0


async def _count(records: Records, plan: Plan, least: int, below: int) -> int:
    """What there is for the index alone, from the order `least` on."""
    where = {**plan.where, "order": {"$gte": least, "$lt": below}}
    return await records.count_documents(where, hint=plan.by, limit=SCAN_MAX)


class _Page:
    """A page in the making. `order`: that of the last document it took; `is_cut`: there was more than it has room for. A document that is
    no record takes a place as well: it was one of those the server was asked for, and behind it there may be more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data_bytes = self._taken = 0
        self.records: list[Record] = []
        self.order = 0
        self.is_cut = False

    async def fill(self, records: Records, plan: Plan, least: int, below: int) -> None:
        found = records.find(
            {**plan.where, **plan.rest, "order": {"$gte": least, "$lt": below}},
            {"order": 1, "data": 1},
            sort=[("order", -1)],
            hint=plan.by,
            limit=self._limit + 1,
            allow_disk_use=plan.by == BY_CREATED or None,
        )
        async with found:
            async for document in found:
                if not self._take(document):
                    return

    def _take(self, document: Mapping[str, Any]) -> bool:
        record = record_of(document)
        size = 0 if record is None else len(document["data"])
        is_too_much = self._data_bytes + size > REPLY_BYTES_MAX and self.records
        if self._taken >= self._limit or is_too_much:
            self.is_cut = True
            return False
        self.order = document["order"]
        self._taken += 1
        if record is not None:
            self.records.append(record)
            self._data_bytes += size
        return True

    def ended(self, cursor: bytes, scanned: int) -> RecordPage:
        return RecordPage(records=self.records, cursor=cursor, scanned=scanned)
