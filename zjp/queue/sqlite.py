"""The queue in one SQLite file, owned by one node: the store as the node's loop sees it.

    loop's thread                    writer's thread (journal.py)     reader's thread (reader.py)
    State: window, claims, outbox    the one write connection         look-ups, listings,
    every method below               operations, many per commit      next rows of a level

A method decides in the loop, puts one operation into the journal and returns when it is committed (`synchronous=FULL`: on the disk) and
applied. Claims are decided from memory and wait for nothing. Where the steps live: submitting.py, claiming.py, moving.py, listing.py,
recovery.py. Why no job is handed out twice or forgotten between file and memory: window.py. Leases: lease.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import StoreFull, StoreUnavailable
from ..job import JobFilter, JobSpec, Record, StoredJob
from . import standing
from .claiming import ClaimOperation, FinishOperation, OutboxRemoval, ReapOperation, pieces
from .database import MEMORY, Database, Lock, open_database
from .disk import Disk
from .intake import Intake
from .journal import Journal
from .lease import Lease
from .listing import Lister
from .moving import ForgetKeysOperation, PromoteOperation, Statements
from .reader import Reader
from .recovery import load, recover
from .sessions import Sessions
from .state import OpenClaim, State
from .store import (
    Backlog,
    Beside,
    CancelKind,
    Claim,
    Document,
    DocumentKind,
    Durability,
    FinishedLookup,
    Fired,
    Lead,
    Life,
    Live,
    LivePage,
    LostClaims,
    OutboxItem,
    OutboxPage,
    Outcome,
    QueueCount,
    Reaped,
    Renewal,
    RerunMark,
    Submitted,
    Tended,
    outbox_full,
)
from .submitting import write_sessions
from .waiting import Waiting

MOVE_MAX = 500
"""Jobs that one claim promotes, and that one step reaps."""
PRUNE_EVERY_S = 60.0
T = TypeVar("T")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SQLiteQueueStore:
    is_shared: bool = False

    def __init__(
        self,
        path: str | Path,
        *,
        lease_s: float,
        starvation_s: float,
        dedup_s: float,
        outbox_count_max: int,
        outbox_bytes_max: int,
        disk_reserve_bytes: int,
        finished: FinishedLookup,
        now_s: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        """`path`: the file, or `:memory:`. `now_s` and `wall_ms`: the clocks for leases and for due times."""
        self._path = str(path)
        self._lease_s, self._disk_reserve_bytes, self._finished = lease_s, disk_reserve_bytes, finished
        self._outbox_count_max, self._outbox_bytes_max = outbox_count_max, outbox_bytes_max
        self._now, self._wall_ms = now_s, wall_ms
        self.level = Durability.PROCESS if self._path == MEMORY else Durability.DISK
        self.on_ready: Callable[[], None] | None = None
        self.on_finished: Callable[[Sequence[bytes]], None] | None = None
        self.on_claimed: Callable[[Claim], None] | None = None
        self.room: Callable[[], int] | None = None
        self._state = State(starvation_s)
        self._sessions = Sessions(dedup_s)
        self._promoting: asyncio.Future[set[bytes]] | None = None
        self._progress: asyncio.Future[None] | None = None
        self._pruned_at = now_s()
        self._lock: Lock | None = None
        self._db: Database | None = None

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        self._node = life.node
        lost = await self._opened(life, started)
        assert self._db is not None
        disk = None if self._path == MEMORY else Disk(self._path, self._disk_reserve_bytes)
        if disk is not None:
            disk.fill_ballast()
        self._disk = disk
        self._lease = Lease(self._lease_s, self._now())
        self._journal = Journal(self._db, disk, asyncio.get_running_loop(), seal=write_sessions, after=self._after_commit)
        self._reader = Reader(self._path, self._journal, self._state)
        self._lister = Lister(self._state, self._journal, self._reader, life.node)
        self._intake = Intake(
            self._state, self._journal, self._reader,
            sessions=self._sessions, finished=self._finished, now_s=self._now, wall_ms=self._wall_ms,
        )  # fmt: skip
        self._waiting = Waiting(
            self._state, self._journal, self._reader, node=life.node, finished=self._finished,
            outbox_limits=(self._outbox_count_max, self._outbox_bytes_max), now_s=self._now, wall_ms=self._wall_ms,
        )  # fmt: skip
        self._reader.feed()
        return lost

    async def _opened(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        """A thread cannot be stopped half-way: whoever is cancelled waits until the file is open, and closes it."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._open_file, life, started))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await asyncio.wait([opening])
            await asyncio.to_thread(self._close_file)
            raise

    def _open_file(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        if self._path != MEMORY:
            self._lock = Lock(Path(f"{self._path}.lock"))
        try:
            self._db = open_database(self._path)
            lost = recover(self._db, life, started, self._wall_ms())
            load(self._db, self._state, self._sessions, self._now())
        except BaseException:
            self._close_file()
            raise
        return lost

    async def close(self) -> None:
        if self._db is None:
            return
        await self._waiting.close()
        with contextlib.suppress(StoreUnavailable):
            self._journal.put(Statements(("INSERT OR REPLACE INTO facts VALUES('is_clean', 1)", [()])))
        await self._journal.close()
        self._reader.close()
        await asyncio.to_thread(self._close_file)

    def _close_file(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _after_commit(self) -> None:
        """Once per commit: the hints."""
        state = self._state
        if state.window.levels:
            self._reader.feed()
        if state.became_final:
            ids, state.became_final = state.became_final, []
            if self.on_finished is not None:
                self.on_finished(ids)
        if state.became_ready:
            state.became_ready = False
            if self.on_ready is not None:
                self.on_ready()

    # ── submit ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        self._check_room()
        return await self._intake.submit(specs)

    def _check_room(self) -> None:
        """Raises: StoreFull, StoreUnavailable."""
        self._journal.check()
        if self._is_outbox_full():
            backlog = self.backlog()
            raise outbox_full(backlog.count, backlog.data_bytes, (self._outbox_count_max, self._outbox_bytes_max))
        if self._disk is not None and self._disk.is_low(self._now()):
            raise StoreFull(
                f"the disk of {self._path} has less than {self._disk_reserve_bytes} bytes free; make room, or lower DISK_RESERVE"
            )

    def _is_outbox_full(self) -> bool:
        backlog = self._state.outbox.backlog()
        return backlog.count >= self._outbox_count_max or backlog.data_bytes >= self._outbox_bytes_max

    # ── claim and finish ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        self._judge_lease()
        if count <= 0 or not self._lease.is_alive or self._is_outbox_full():
            return Claim(0, (), None, self._state.version)
        moving = {future for future in (self._promote_due(MOVE_MAX), self._reap(MOVE_MAX)) if future is not None}
        window = self._state.window
        while not (shares := window.take(count, weights, self._now())):
            self._reader.feed()
            waits = moving | (self._reader.under_way if window.is_servable(weights) else set())
            if not waits:
                return self._empty()
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for read in done - moving:
                read.result()  # a file that cannot be read is no empty queue
            moving -= done
        self._reader.feed()
        rows: list[int] = []
        jobs: list[StoredJob] = []
        is_strict = False
        for level, entries in shares:
            level.queue.running += len(entries)
            is_strict = is_strict or entries[0][0] <= self._state.strict_to.get(level.number, 0)
            rows += [row for row, _ in entries]
            jobs += [job for _, job in entries]
        claim = OpenClaim(self._state.next_fence, dict(zip([job.spec.id for job in jobs], rows, strict=True)), self._wall_ms())
        self._state.next_fence += 1
        self._state.claims[claim.fence] = claim
        operation = ClaimOperation(claim, self._node)
        if is_strict:
            await self._until_written(self._journal.put(operation), claim, jobs)
        else:
            self._journal.put_behind(operation)
        return Claim(claim.fence, jobs, self._next_due_s(), self._state.version)

    async def _until_written(self, written: asyncio.Future[None], claim: OpenClaim, jobs: Sequence[StoredJob]) -> None:
        """The claim must be on disk before its jobs run. If it is not, or nobody waits for it any more, they go back."""
        try:
            await written
        except BaseException:
            if self._state.claims.pop(claim.fence, None) is not None:
                rows = list(claim.held.values())
                self._state.count_running(rows, -1)
                self._state.give_back(zip(rows, jobs, strict=True), self._now())
            raise

    def _empty(self) -> Claim:
        return Claim(0, (), self._next_due_s(), self._state.version)

    def _next_due_s(self) -> float | None:
        due_ms = self._state.next_due_ms
        return None if due_ms is None else max(0.0, (due_ms - self._wall_ms()) / 1000)

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        if self._disk is None or not (self._disk.is_tight(self._now()) or self._journal.trouble):
            return await self._finish(outcomes)
        return [job_id for piece in pieces(outcomes) for job_id in await self._finish(piece)]

    async def _finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        operation = FinishOperation(self._state, self._wall_ms(), self._now())
        refused = operation.plan(outcomes)
        if operation.size:
            await self._journal.put(operation)
        return refused

    async def renew(self, progress: Mapping[bytes, bytes]) -> Renewal:
        self._judge_lease()
        state = self._state
        mine = {job_id: data for job_id, data in progress.items() if state.is_running(job_id)}
        if not self._lease.renew(self._now()):
            return Renewal(False, state.version)
        state.progress.update(mine)
        if mine and (self._progress is None or self._progress.done()):  # written behind: a renewal must not wait for a slow disk
            rows = [(job_id, data) for job_id, data in state.progress.items() if state.is_running(job_id)]
            self._progress = self._journal.put(Statements(("INSERT OR REPLACE INTO progress VALUES(?, ?)", rows)))
        return Renewal(True, state.version, [job_id for job_id in state.cancelling if state.find_claim(job_id) is not None])

    async def tend(self, limit: int) -> Tended:
        self._judge_lease()
        self._prune()
        promoting, reaping = self._promote_due(limit), self._reap(limit)
        promoted = len(await asyncio.shield(promoting)) if promoting is not None else 0  # a claim may wait for it, too
        reaped = int(await reaping) if reaping is not None else 0
        return Tended(promoted, reaped, self._next_due_s())

    def _judge_lease(self) -> None:
        if self._lease.has_ended(self._now()):
            self._state.lapse_all()

    def _promote_due(self, limit: int) -> asyncio.Future[set[bytes]] | None:
        """One promotion at a time: it finds what is due when it is written."""
        due_ms, now_ms = self._state.next_due_ms, self._wall_ms()
        if self._promoting is not None and not self._promoting.done():
            return self._promoting
        if due_ms is None or due_ms > now_ms:
            return None
        self._promoting = self._journal.put(PromoteOperation(self._state, limit, now_ms=now_ms, now=self._now()))
        return self._promoting

    def _reap(self, limit: int) -> asyncio.Future[int] | None:
        lapsed, self._state.lapsed = self._state.lapsed[:limit], self._state.lapsed[limit:]
        if not lapsed:
            return None
        return self._journal.put(ReapOperation(self._state, lapsed, self._node, now_ms=self._wall_ms(), now=self._now()))

    def _prune(self) -> None:
        """Forget sessions and keys whose window is over."""
        now = self._now()
        if now - self._pruned_at < PRUNE_EVERY_S:
            return
        self._pruned_at = now
        gone = self._sessions.prune(self._wall_ms())
        self._journal.put(
            Statements(
                ("DELETE FROM sessions WHERE session = ? AND seen_ms = ?", list(gone.items())),
                ("INSERT OR REPLACE INTO facts VALUES('floor_ms', ?)", [(self._sessions.floor_ms,)]),
            )
        )
        self._journal.put(ForgetKeysOperation(self._wall_ms())).add_done_callback(self._forgot_keys)

    def _forgot_keys(self, forgotten: asyncio.Future[bool]) -> None:
        """Where there are more, the next look is due at once."""
        if not forgotten.cancelled() and forgotten.exception() is None and not forgotten.result():
            self._pruned_at = self._now() - PRUNE_EVERY_S

    # ── jobs that wait ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelKind]:
        return await self._waiting.cancel(ids)

    async def promote(self, ids: Sequence[bytes]) -> list[bool]:
        return await self._waiting.promote(ids)

    async def requeue(self, records: Sequence[Record], since: RerunMark | None = None) -> list[bool]:
        self._check_room()
        return await self._waiting.requeue(records, None if since is None else since.place)

    async def look(self, ids: Sequence[bytes]) -> tuple[RerunMark, list[Live | Record | None]]:
        return RerunMark(self._state.reruns.mark), await self.get(ids)

    async def confirm(self, since: RerunMark) -> None:
        """What can be found is on disk."""

    async def pause(self, queue: str) -> None:
        await self._waiting.set_paused(queue, True)

    async def resume(self, queue: str) -> None:
        await self._waiting.set_paused(queue, False)
        if self.on_ready is not None:
            self.on_ready()

    async def purge(self, queue: str) -> int:
        return await self._waiting.purge(queue)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def counts(self) -> list[QueueCount]:
        now_ms = self._wall_ms()
        return [
            QueueCount(
                queue.name, queue.pending, queue.scheduled, queue.retrying, queue.running, queue.is_paused, queue.oldest_ms(now_ms) / 1000
            )
            for queue in self._state.window.queues.values()
        ]

    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]:
        return await self._lister.get(ids)

    async def outbox(self, limit: int) -> Sequence[OutboxItem]:
        return self._state.outbox.oldest(limit)

    async def newest(self, older: int, limit: int) -> OutboxPage:
        return self._state.outbox.newest(older, limit)

    async def outbox_share(self, limit: int) -> Sequence[OutboxItem]:
        return await self.outbox(limit)

    async def publish(self, tasks: Sequence[str]) -> frozenset[str]:
        return frozenset(tasks)

    async def outbox_remove(self, items: Sequence[OutboxItem]) -> None:
        rows = self._state.outbox.remove(items)
        self._waiting.drained.set()
        if rows:
            await self._journal.put(OutboxRemoval(rows))

    @property
    def commits(self) -> int:
        """Transactions so far."""
        return self._journal.commits

    async def watch(self, ids: Sequence[bytes]) -> None:
        """Every end of a job is told here anyway."""

    # ── beside the jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim_lead(self, owner: str, epoch: int, for_s: float, *, is_elected: bool = False) -> Lead:
        now_ms = self._wall_ms()
        until_ms = now_ms + round(for_s * 1000)
        return await self._decide(lambda db: standing.claim_lead(db, owner, epoch, until_ms, now_ms=now_ms, is_elected=is_elected))

    async def renew_lead(self, owner: str, epoch: int, for_s: float) -> bool:
        until_ms = self._wall_ms() + round(for_s * 1000)
        return await self._decide(lambda db: standing.set_lead_end(db, owner, epoch, until_ms))

    async def release_lead(self, owner: str, epoch: int) -> bool:
        return await self._decide(lambda db: standing.set_lead_end(db, owner, epoch, 0))

    async def documents(self, kind: DocumentKind) -> Sequence[Document]:
        return await self._reader.run(lambda db: standing.read_documents(db, kind))

    async def put_document(self, kind: DocumentKind, name: str, data: bytes, version: int, *, beside: Beside | None = None) -> int:
        return await self._decide(lambda db: standing.put_document(db, kind, name, data, version, beside=beside))

    async def remove_document(self, kind: DocumentKind, name: str, version: int, *, beside: Beside | None = None) -> bool:
        return await self._decide(lambda db: standing.remove_document(db, kind, name, version, beside=beside))

    async def fire(self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]) -> Fired:
        if jobs:
            self._check_room()
        return await self._intake.fire((owner, epoch), kind, document, jobs)

    async def reap_dead(self, owner: str, epoch: int, life: Life, silent_s: float, limit: int) -> Reaped:
        return Reaped(False)  # one node has the file; its former lives were taken back when it opened it

    def now_ms(self) -> int:
        return self._wall_ms()

    async def _decide(self, decide: Callable[[Database], T]) -> T:
        value: T = await self._journal.put(standing.Decision(decide))
        return value

    def backlog(self) -> Backlog:
        return self._state.outbox.backlog()

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> LivePage:
        return await self._lister.list(wanted, cursor, limit)
