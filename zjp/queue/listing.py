"""Look-ups and listings: what the file says, joined with what the loop knows.

A look-up reads the file first and asks the claims and the outbox afterwards: a job that moves meanwhile is found where it went. Between
a commit and its application a finished job is in neither; so what is found nowhere is asked for again behind all that is under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..job import JobFilter, JobState, Record
from ..wire.messages import REPLY_BYTES_MAX
from . import browsing
from .browsing import CLAIMED, LATER, READY, Cursor, Found, Page, Room
from .journal import Journal
from .layout import ROW_BITS
from .reader import Reader
from .state import OpenClaim, State
from .store import SCAN_MAX, Live, LivePage

ONLY_IN: Mapping[JobState, int] = {
    JobState.RUNNING: CLAIMED,
    JobState.CANCELLING: CLAIMED,
    JobState.PENDING: READY,
    JobState.SCHEDULED: LATER,
    JobState.RETRYING: LATER,
}
"""Where the jobs of a state are; a claimed job may also stand where it was when the listing began."""


class Lister:
    def __init__(self, state: State, journal: Journal, reader: Reader, node: str) -> None:
        self._state = state
        self._journal = journal
        self._reader = reader
        self._node = node

    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]:
        known = {job_id: record for job_id in ids if (record := self._finished(job_id)) is not None}
        wanted = [job_id for job_id in ids if job_id not in known]
        found = await self._reader.run(lambda db: browsing.find_live(db, wanted)) if wanted else {}
        if any(job_id not in found and self._finished(job_id) is None for job_id in wanted):
            await self._journal.hear()  # it may have left the file in a commit that the loop has not heard of
        return [known.get(job_id) or self._finished(job_id) or self._live(found.get(job_id)) for job_id in ids]

    def _finished(self, job_id: bytes) -> Record | None:
        if job_id in self._state.requeued:
            return None
        item = self._state.outbox.get(job_id)
        return None if item is None else item.record

    def _live(self, found: Found | None) -> Live | None:
        if found is None:
            return None
        job = found.job
        if not found.row:
            return Live(job, browsing.later_state(found.is_retry))
        claim = self._state.find_claim(job.spec.id)
        if claim is None:
            return Live(job, JobState.PENDING)
        job.progress = self._state.progress.get(job.spec.id, job.progress)
        return Live(job, self._claimed_state(job.spec.id), self._node, claim.fence)

    def _claimed_state(self, job_id: bytes) -> JobState:
        return JobState.CANCELLING if job_id in self._state.cancelling else JobState.RUNNING

    async def list(self, wanted: JobFilter, cursor_data: bytes, limit: int) -> LivePage:
        """Phase by phase, until the page is full (jobs, bytes) or enough was looked at. Raises: InvalidJob."""
        if cursor_data:
            cursor = browsing.unpack_cursor(cursor_data)
        else:
            cursor = Cursor(CLAIMED, max(self._state.claims, default=0))
        jobs: list[Live] = []
        scanned, left_bytes = 0, REPLY_BYTES_MAX
        while True:
            room = Room(limit - len(jobs), SCAN_MAX - scanned, left_bytes, is_empty=not jobs)
            page = await self._look(wanted, cursor, room)
            scanned += page.scanned
            left_bytes -= page.data_bytes
            jobs += [live for one in page.found if (live := self._live(one)) is not None]
            if page.cursor is not None:
                return LivePage(jobs, browsing.pack_cursor(page.cursor), scanned)
            if cursor.phase == LATER:
                return LivePage(jobs, b"", scanned)
            cursor = Cursor(cursor.phase + 1, cursor.fence)
            if len(jobs) >= limit or scanned >= SCAN_MAX:
                return LivePage(jobs, browsing.pack_cursor(cursor), scanned)

    async def _look(self, wanted: JobFilter, cursor: Cursor, room: Room) -> Page:
        only_in = None if wanted.state is None else ONLY_IN.get(wanted.state, -1)
        if only_in is not None and only_in != cursor.phase and not (only_in == CLAIMED and cursor.phase == READY):
            return Page(room)
        if cursor.phase == LATER:
            return await self._reader.run(lambda db: browsing.list_later(db, cursor, wanted, room))
        before = self._rows(lambda claim: claim.fence <= cursor.fence)
        if cursor.phase == CLAIMED:
            place = _place(cursor.row) if cursor.row else (0, 0)
            rows = sorted((row for row in before if _place(row) > place), key=_place)
            return await self._reader.run(lambda db: browsing.list_claimed(db, rows, cursor, wanted, before, room))
        since = self._rows(lambda claim: claim.fence > cursor.fence)
        levels = self._levels(wanted.queue)
        return await self._reader.run(
            lambda db: browsing.list_ready(db, levels, cursor, wanted, since, skip=before, room=room)
        )

    def _levels(self, queue: str) -> Sequence[int]:
        levels = self._state.window.levels.values()
        return sorted((level.number for level in levels if not queue or level.queue.name == queue), key=browsing.list_order)

    def _rows(self, is_wanted: Callable[[OpenClaim], bool]) -> dict[int, JobState]:
        """Rows of claimed jobs; those whose outcome is being written are still running."""
        return {
            row if row >= 0 else ~row: self._claimed_state(job_id)
            for claim in self._state.claims.values()
            if is_wanted(claim)
            for job_id, row in claim.held.items()
        }


def _place(row: int) -> tuple[int, int]:
    return browsing.list_order(row >> ROW_BITS), row
