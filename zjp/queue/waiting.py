"""The loop's side of everything that befalls jobs that wait: cancelled, promoted, purged, paused, run again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

from ..errors import InvalidJob, OutcomeUnknown, StoreFull, StoreUnavailable, Unavailable
from ..job import Record, StoredJob, format_id
from .browsing import find_rows
from .database import Database
from .intake import level_for
from .journal import Journal
from .layout import QUEUES_MAX, purge_limits
from .moving import (
    CancelOperation,
    PauseStatements,
    PromoteOperation,
    PurgeLaterOperation,
    PurgeOperation,
    PurgeRoom,
    RequeueOperation,
    Statements,
    Withdrawn,
    has_later,
    has_waiting,
)
from .reader import Reader
from .state import Lapsed, State
from .store import CancelKind, FinishedLookup
from .window import Level

CANCEL_TRIES = 5
"""A job that moves each time it is looked for: more moves than this in some ms do not happen."""
TOLD_S = 2.0
"""For so long a cancel waits for a file that takes nothing; then whoever asked is told so."""


class Waiting:
    def __init__(
        self, state: State, journal: Journal, reader: Reader, *, node: str, finished: FinishedLookup, outbox_limits: tuple[int, int],
        now_s: Callable[[], float], wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        """`drained` is set when the outbox may take more records again."""
        self._state, self._journal, self._reader = state, journal, reader
        self._node, self._finished, self._limits = node, finished, purge_limits(*outbox_limits)
        self._now, self._wall_ms = now_s, wall_ms
        self.drained = asyncio.Event()
        self._purges: set[asyncio.Task[int]] = set()

    # ── cancel ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelKind]:
        answers: dict[bytes, CancelKind] = {}
        left, rows = set(ids), dict[bytes, int]()
        for _ in range(CANCEL_TRIES):
            asked = list(left)
            rows = await self._reader.run(lambda db, asked=asked: find_rows(db, asked))  # type: ignore[misc]
            await self._cancel(left, rows, answers)
            left -= answers.keys()
            if not left:
                break
            await self._journal.hear()  # an outcome is being written, or it moved since it was looked up
        self._check_written(left & rows.keys())
        finished = await self._finished(list(left)) if left else {}
        answers.update({job_id: CancelKind.FINISHED if job_id in finished else CancelKind.UNKNOWN for job_id in left})
        return [answers[job_id] for job_id in ids]

    def _check_written(self, ids: set[bytes]) -> None:
        """Of ids that are in the file. Raises: StoreFull, StoreUnavailable: what becomes of the job is decided by what waits for room."""
        for job_id in ids:
            if self._state.outbox.get(job_id) is None or job_id in self._state.requeued:
                fault = StoreFull if isinstance(self._journal.trouble, StoreFull) else StoreUnavailable
                raise fault(f"what has become of job {format_id(job_id)} is being written: {self._journal.trouble or 'try again later'}")

    async def _cancel(self, ids: set[bytes], rows: Mapping[bytes, int], answers: dict[bytes, CancelKind]) -> None:
        state = self._state
        marks: list[bytes] = []
        withdrawn: list[Withdrawn] = []
        losses = {one.row: one for one in state.lapsed}
        for job_id in ids:
            claim = state.find_claim(job_id)
            if claim is None:
                if (row := rows.get(job_id)) is not None and (one := self._withdraw(job_id, row, losses)) is not None:
                    withdrawn.append(one)
            elif claim.held[job_id] >= 0:
                marks.append(job_id)
                state.cancelling.add(job_id)
        later = [job_id for job_id in ids if job_id not in rows and job_id not in marks]
        if withdrawn or later or marks:
            operation = CancelOperation(state, withdrawn, later, marks, node=self._node, now_ms=self._wall_ms())
            answers.update(dict.fromkeys(await self._written(operation), CancelKind.CANCELLED))
            answers.update(dict.fromkeys(marks, CancelKind.CANCELLING))
        for job_id in ids - answers.keys():
            if job_id not in state.requeued and state.outbox.get(job_id) is not None:
                answers[job_id] = CancelKind.FINISHED

    async def _written(self, operation: CancelOperation) -> set[bytes]:
        """Raises: OutcomeUnknown, when it waits for room. It is carried out as soon as there is some."""
        written = self._journal.put(operation)
        while not (await asyncio.wait([written], timeout=TOLD_S))[0]:
            if self._journal.trouble is not None:
                raise OutcomeUnknown(f"the cancel waits to be written: {self._journal.trouble}")
        ids: set[bytes] = written.result()
        return ids

    def _withdraw(self, job_id: bytes, row: int, losses: Mapping[int, Lapsed]) -> Withdrawn | None:
        """From the window, so that no claim takes it. None: another cancel has it."""
        level, is_waiting = self._state.window.level_of(row), row not in self._state.lapsing
        return Withdrawn(level, row, job_id, is_waiting, losses.get(row)) if level.withdraw(row, is_waiting=is_waiting) else None

    # ── promote, requeue ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def promote(self, ids: Sequence[bytes]) -> list[bool]:
        await self._journal.hear()  # levels are known to have delayed jobs only once those are applied
        operation = PromoteOperation(self._state, len(ids), now_ms=self._wall_ms(), now=self._now(), ids=list(dict.fromkeys(ids)))
        promoted: set[bytes] = await self._journal.put(operation)
        return [_take(promoted, job_id) for job_id in ids]

    async def requeue(self, records: Sequence[Record], since: int | None) -> list[bool]:
        await self._journal.hear()  # a later run whose outcome is being written must be seen
        if since is None:
            since = self._state.reruns.mark
        self._state.reruns.check(since)
        jobs: dict[Level, list[StoredJob]] = {}
        seen: set[bytes] = set()
        now_ms = self._wall_ms()
        for record in records:
            spec = record.job.spec
            if spec.id not in seen and self._may_run_again(record, since):
                seen.add(spec.id)
                job = StoredJob(spec, record.job.created_ms, now_ms, run=record.job.run + 1, attempts=record.job.attempts)
                jobs.setdefault(level_for(self._state, spec.queue, spec.priority), []).append(job)
        if not jobs:
            return [False] * len(records)
        requeued: set[bytes] = await self._journal.put(RequeueOperation(self._state, jobs, self._now()))
        return [_take(requeued, record.job.spec.id) for record in records]

    def _may_run_again(self, record: Record, since: int) -> bool:
        """One that is put and not yet written does no harm: its run is live when this one is written."""
        job_id, run = record.job.spec.id, record.job.run
        if self._state.reruns.was_made(job_id, run + 1, since):
            return False
        item = self._state.outbox.get(job_id)
        return (item is None or item.record.job.run <= run) and self._state.find_claim(job_id) is None

    # ── pause, purge ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def set_paused(self, name: str, is_paused: bool) -> None:
        queue = self._state.queue(name)
        if queue is None:
            raise InvalidJob(f"queue {name!r} is one more than the limit of {QUEUES_MAX}; `zjp queues list` shows those there are")
        sql = "INSERT INTO queues VALUES(?1, ?2, ?3) ON CONFLICT(number) DO UPDATE SET is_paused = ?3"
        before = queue.is_paused
        # A pause holds from here on, before it is written: no claim that has seen the new version may come between.
        queue.is_paused = before or is_paused
        try:
            await self._journal.put(PauseStatements((sql, [(queue.number, name, is_paused)]), self._next_version()))
        except BaseException:
            queue.is_paused = before
            raise
        queue.is_stored, queue.is_paused = True, is_paused

    def _next_version(self) -> tuple[str, Sequence[Sequence[object]]]:
        self._state.version += 1
        return "INSERT OR REPLACE INTO facts VALUES('version', ?)", [(self._state.version,)]

    async def purge(self, name: str) -> int:
        queue = self._state.window.queues.get(name)
        if queue is None:
            return 0
        # In one tick: no claim that has seen the new version may take what is purged.
        written = self._journal.put(Statements(self._next_version()))
        claimed = frozenset(row if row >= 0 else ~row for claim in self._state.claims.values() for row in claim.held.values())
        bounds = [(level, level.purge()) for level in queue.levels]
        task = asyncio.create_task(self._purge(bounds, claimed | self._state.lapsing, written), name="zjp-queue-purge")
        self._purges.add(task)
        task.add_done_callback(self._purges.discard)
        return await asyncio.shield(task)  # once begun it goes on: the window has let go of the jobs

    async def _purge(
        self, bounds: Sequence[tuple[Level, int]], claimed: frozenset[int], written: asyncio.Future[None]
    ) -> int:
        """In chunks, each of them one step; none of the jobs can be claimed from the first moment on."""
        state = self._state
        with contextlib.suppress(Unavailable):  # only so that the version does not fall at a restart
            await written
        count = 0
        for level, until in bounds:
            after: int | None = level.first_row
            while after is not None:
                room = await self._wait_for_room(lambda db, at=after, to=until: has_waiting(db, at, to, claimed))  # type: ignore[misc]
                operation = PurgeOperation(state, level, after, claimed, until=until, room=room, now_ms=self._wall_ms())
                ended, after = await self._journal.put(operation)
                count += ended
        numbers = [level.number for level, _ in bounds]
        after = 0
        while after is not None:
            room = await self._wait_for_room(lambda db, at=after: has_later(db, at, numbers))  # type: ignore[misc]
            ended, after = await self._journal.put(PurgeLaterOperation(state, numbers, after, room, self._wall_ms()))
            count += ended
        return count

    async def _wait_for_room(self, is_needed: Callable[[Database], bool]) -> PurgeRoom:
        """A purge makes a record of every job: as many as the outbox takes of it, then as fast as the records take them. Where there is
        none to end, nobody waits."""
        while not self._room().has_some and await self._reader.run(is_needed):
            if self._room().has_some:  # made while the reader looked
                break
            self.drained.clear()
            await self.drained.wait()
        return self._room()

    def _room(self) -> PurgeRoom:
        held = self._state.outbox.backlog()
        return PurgeRoom(self._limits[0] - held.count, self._limits[1] - held.data_bytes)

    async def close(self) -> None:
        """End purges that are under way: what they have not reached waits again after the next start."""
        for task in self._purges:
            task.cancel()
        if self._purges:
            await asyncio.wait(self._purges)


def _take(ids: set[bytes], job_id: bytes) -> bool:
    """Whether it is among them; a second time it is not."""
    if job_id not in ids:
        return False
    ids.discard(job_id)
    return True
