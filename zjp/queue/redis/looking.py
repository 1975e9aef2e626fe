"""Look-ups, counts and listings.

A listing goes through what is claimed, then level by level, then what is delayed. Its cursor holds a place that stays while jobs come and
go: in a level's list the number of entries that ever left it (`heads`) plus the index; claims remember from which places their jobs came,
so what was claimed since the listing began is shown where it stood.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from ...errors import InvalidJob
from ...job import JobFilter, JobState, Record, StoredJob
from ...wire.messages import REPLY_BYTES_MAX
from ..state import encode_job
from ..store import SCAN_MAX, Live, LivePage, OutboxPage, QueueCount
from .layout import (
    Segment,
    add_losses,
    is_finished,
    later_state,
    node_of,
    outbox_items,
    read_claim,
    read_job,
    read_record,
)

CHUNK_MIN, CHUNK = 16, 500
"""Jobs that a listing reads at first, and at most: a page that ends for its bytes has not read 500 large ones."""
COMPARED_MAX = 1_000_000
"""Entries of lists that one page compares to find out where a job stands that was cancelled and run again: some 40 ms of the server."""
CLAIMED, READY, LATER = range(3)
RETURNED, LISTED = range(2)
ONLY_IN = {
    JobState.RUNNING: CLAIMED, JobState.CANCELLING: CLAIMED, JobState.PENDING: READY, JobState.SCHEDULED: LATER, JobState.RETRYING: LATER,
}  # fmt: skip
Ask = Callable[[str, list[Any]], Awaitable[Any]]
"""A script by name, or a plain command when the name is in capitals."""


class Cursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """`fence`: the highest claim when the listing began. CLAIMED: behind (at = fence, row = index). READY: in `level`; part 0: returned
    jobs behind `id`, part 1: list entries from place `row` on. LATER: behind due time `at` and `id`."""

    phase: int
    fence: int
    at: int = 0
    row: int = 0
    level: bytes = b""
    id: bytes = b""
    part: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def unpack_cursor(data: bytes) -> Cursor:
    """Raises: InvalidJob."""
    try:
        cursor = _decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError):
        cursor = None
    if cursor is None or not CLAIMED <= cursor.phase <= LATER or min(cursor.at, cursor.row, cursor.fence) < 0:
        raise InvalidJob("cursor is none that a listing gave; begin again without one")
    return cursor


class Found(msgspec.Struct, frozen=True):
    live: Live | Record | None
    place: str
    """The claim's fence, `d`, or empty: ready."""


class Looker:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def find(self, ids: Sequence[bytes]) -> list[Found]:
        rows: list[Any] = []
        for at in range(0, len(ids), CHUNK):
            rows += await self._ask("get", list(ids[at : at + CHUNK]))
        return [_found(*row) for row in rows]

    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]:
        return [found.live for found in await self.find(ids)] if ids else []

    async def counts(self) -> list[QueueCount]:
        now_ms, *queues = await self._ask("counts", [])
        counted = []
        for name, paused, scheduled, retrying, running, levels in queues:
            pending = sum(levels[::2])
            heads = [read_job(value) for value in levels[1::2] if value]
            oldest_ms = max((now_ms - max(job.created_ms, job.due_ms) for job in heads), default=0)
            counted.append(QueueCount(name.decode(), pending, scheduled, retrying, running, bool(paused), max(0, oldest_ms) / 1000))
        return counted

    async def newest(self, older: int, limit: int) -> OutboxPage:
        most = min(limit, CHUNK)
        left, scanned, values, places, rare = await self._ask("newest", [older, most, COMPARED_MAX * most // SCAN_MAX])
        return OutboxPage(outbox_items(values, rare), places, left, scanned)

    # ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def list(self, wanted: JobFilter, cursor_data: bytes, limit: int) -> LivePage:
        """Raises: InvalidJob."""
        if cursor_data:
            cursor = unpack_cursor(cursor_data)
        else:
            cursor = Cursor(CLAIMED, int(await self._ask("GET", [b"fence"]) or 0))
        listing = Listing(self._ask, self.find, wanted, cursor, limit)
        return await listing.run()


class Listing:
    """One page. `jobs` and `scanned` grow until one of them is at its bound; `cursor` is behind the last one looked at."""

    def __init__(
        self, ask: Ask, find: Callable[[Sequence[bytes]], Awaitable[list[Found]]], wanted: JobFilter, cursor: Cursor, limit: int
    ) -> None:
        self._ask, self._find, self._wanted, self._limit = ask, find, wanted, limit
        self.cursor = cursor
        self.jobs: list[Live] = []
        self.scanned = 0
        self._compared = 0
        self._left_bytes = REPLY_BYTES_MAX

    async def run(self) -> LivePage:
        only_in = None if self._wanted.state is None else ONLY_IN.get(self._wanted.state, -1)
        fence = self.cursor.fence
        for phase, look in ((CLAIMED, self._claimed), (READY, self._ready), (LATER, self._later)):
            if phase < self.cursor.phase:
                continue
            if phase > self.cursor.phase:
                self.cursor = Cursor(phase, fence)
            is_wanted = only_in is None or only_in == phase or (only_in == CLAIMED and phase == READY)
            if is_wanted and not await look():
                return LivePage(self.jobs, _encode(self.cursor), self.scanned)
        return LivePage(self.jobs, b"", self.scanned)

    @property
    def _is_full(self) -> bool:
        return len(self.jobs) >= self._limit or self.scanned >= SCAN_MAX

    async def _look_at(self, ids: Sequence[bytes], cursors: Sequence[Cursor], places: Callable[[str, Cursor], bool]) -> bool:
        """False: the page is full; what is behind stays for the next."""
        at, step = 0, CHUNK_MIN
        while at < len(ids):
            found = await self._find(ids[at : at + step])
            for one, cursor in zip(found, cursors[at : at + step], strict=True):
                if self._is_full or not self._take(one, is_here=places(one.place, cursor)):
                    return False
                self.scanned += 1
                self.cursor = cursor
            at, step = at + step, min(step * 4, CHUNK)
        return True

    def _take(self, one: Found, *, is_here: bool) -> bool:
        """False: it belongs on the page, and there is no room for it."""
        live = one.live
        if not isinstance(live, Live) or not is_here or not self._wanted.accepts(live.job, live.state):
            return True
        self._left_bytes -= len(encode_job(live.job))
        if self._left_bytes < 0 and self.jobs:
            return False
        self.jobs.append(live)
        return True

    async def _claims(self) -> list[tuple[int, Any]]:
        """(fence, claim), in order."""
        rows = await self._ask("HGETALL", [b"claims"])
        flat = [part for pair in rows.items() for part in pair] if isinstance(rows, dict) else rows
        return sorted((int(flat[at]), read_claim(flat[at + 1])) for at in range(0, len(flat), 2)) if flat else []

    async def _claimed(self) -> bool:
        start, fence_max = self.cursor, self.cursor.fence
        ids: list[bytes] = []
        cursors: list[Cursor] = []
        for fence, claim in await self._claims():
            mine = [job_id for segment in claim.segments for job_id in segment.ids]
            for index, job_id in enumerate(mine, 1):
                if fence <= fence_max and (fence, index) > (start.at, start.row):
                    ids.append(job_id)
                    cursors.append(Cursor(CLAIMED, fence_max, fence, index))
        # By that claim still: what was handed back and claimed again stands in the rows of both.
        return await self._look_at(ids, cursors, lambda place, cursor: place == str(cursor.at))

    async def _ready(self) -> bool:
        levels = {bytes(part) for key in (b"ready", b"heads") for part in await self._ask("HKEYS", [key])}
        chosen = [level for level in levels if not self._wanted.queue or level[1:].decode() == self._wanted.queue]
        for level in sorted(chosen, key=_order):
            if self.cursor.level and _order(level) < _order(self.cursor.level):
                continue
            if level != self.cursor.level:
                self.cursor = Cursor(READY, self.cursor.fence, level=level)
            if not await self._look_at_level(level):
                return False
        return True

    async def _look_at_level(self, level: bytes) -> bool:
        if self.cursor.part == RETURNED:
            segments = await self._claimed_since(level)
            if not await self._look_at_returned(level, [job_id for segment in segments if segment.place is None for job_id in segment.ids]):
                return False
            self.cursor = Cursor(READY, self.cursor.fence, level=level, part=LISTED)
        return await self._look_at_list(level)

    async def _claimed_since(self, level: bytes) -> list[Segment]:
        since = [claim for number, claim in await self._claims() if number > self.cursor.fence]
        return [segment for claim in since for segment in claim.segments if segment.level == level]

    async def _look_at_returned(self, level: bytes, claimed: Sequence[bytes]) -> bool:
        ids = set(claimed) | set(await self._ask("ZRANGE", [b"back:" + level, 0, -1]))
        after = sorted(job_id for job_id in ids if job_id > self.cursor.id)
        cursors = [Cursor(READY, self.cursor.fence, level=level, id=job_id) for job_id in after]
        return await self._look_at(after, cursors, _is_unlisted(self.cursor.fence))

    async def _look_at_list(self, level: bytes) -> bool:
        """From a place on; what was claimed from there before it could be looked at comes first."""
        fence, is_unlisted = self.cursor.fence, _is_unlisted(self.cursor.fence)
        while True:
            most = min(CHUNK, max(1, SCAN_MAX - self.scanned))
            arguments = [level, self.cursor.row, most, COMPARED_MAX - self._compared]
            place, looked, compared, *flat = await self._ask("listed", arguments)
            self._compared += compared
            if place > self.cursor.row and not await self._look_at_claimed(level, place):
                return False
            if not looked:
                return True
            ids = flat[1::2]
            cursors = [Cursor(READY, fence, row=place + number, level=level, part=LISTED) for number in flat[::2]]
            scanned = self.scanned
            is_through = await self._look_at(ids, cursors, is_unlisted)
            if is_through:
                self.cursor = Cursor(READY, fence, row=place + looked, level=level, part=LISTED)
            self.scanned = scanned + self.cursor.row - place  # with the stale ones
            if not is_through or self.scanned >= SCAN_MAX or self._compared >= COMPARED_MAX:
                return False

    async def _look_at_claimed(self, level: bytes, until: int) -> bool:
        """Up to that place the list's entries have been taken."""
        fence, from_place = self.cursor.fence, self.cursor.row
        since = sorted(
            (segment.place + index, job_id)
            for segment in await self._claimed_since(level) if segment.place is not None
            for index, job_id in enumerate(segment.ids) if from_place <= segment.place + index < until
        )  # fmt: skip
        cursors = [Cursor(READY, fence, row=place + 1, level=level, part=LISTED) for place, _ in since]
        if not await self._look_at([job_id for _, job_id in since], cursors, _is_unlisted(fence)):
            return False
        self.cursor = Cursor(READY, fence, row=until, level=level, part=LISTED)
        return True

    async def _later(self) -> bool:
        while True:
            start = self.cursor
            flat = await self._ask("later", [start.at, start.id, CHUNK])
            ids = flat[::2]
            cursors = [Cursor(LATER, start.fence, at=int(float(due)), id=job_id) for job_id, due in zip(ids, flat[1::2], strict=True)]
            if not await self._look_at(ids, cursors, lambda place, _: place == "d"):
                return False
            if len(ids) < CHUNK:
                return True


def _is_unlisted(fence: int) -> Callable[[str, Cursor], bool]:
    """Ready, or claimed after the listing began."""
    return lambda place, _: not place or (place.isdigit() and int(place) > fence)


def _order(level: bytes) -> tuple[int, bytes]:
    return -level[0], level[1:]


def _found(value: bytes, place: bytes, life: bytes, marked: int, lost: bytes, progress: bytes) -> Found:
    if not value:
        return Found(None, "")
    if is_finished(value):
        record = read_record(value)
        add_losses(record.job, lost, b"")
        return Found(record, "")
    job: StoredJob = add_losses(read_job(value), lost, progress)
    if place == b"d":
        return Found(Live(job, later_state(value)), "d")
    if not place:
        return Found(Live(job, JobState.PENDING), "")
    state = JobState.CANCELLING if marked else JobState.RUNNING
    return Found(Live(job, state, node_of(life.decode()), int(place)), place.decode())
