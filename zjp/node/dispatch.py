"""From the queue to the workers and back: claims what the workers have credit for, and writes what became of it.

Two loops, each with one store call in flight; what gathers meanwhile is the next batch, so a lone job waits for nobody and batches grow
under load by themselves:

    claim loop    woken by: credit (a little later where the last claim had left nothing), a hint that jobs are ready, the next due time,
                  and once a second in any case
    finish loop   woken by: results, returned jobs, deaths of workers. A store that is away is asked again; outcomes are held meanwhile,
                  and claiming stops at OUTCOMES_HELD_MAX of them (writing.py)

Two slow loops: one renews the lease and notices pauses and purges by the queue's version, one tends what is due or expired. They are
apart, since what is due waits for a commit, and no slow disk may cost a node its lease.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..errors import Unavailable
from ..job import JobFault, StoredJob
from ..log import event
from ..queue.store import Claim, Outcome, OutcomeKind, QueueStore
from ..wire.messages import Result, TaskInfo
from ..worker.pool import CrashReport, Pool
from .feed import FeedDesk
from .outcomes import Judge, released
from .places import Places
from .stats import NodeStats
from .unserved import Unserved, words_of
from .writing import STORE_RETRY_S, Writing

OUTCOMES_HELD_MAX = 20_000
"""Results that wait for a store that is away, before the node stops claiming."""
FINISH_MAX = 2_000
CLAIM_MAX = 1_000
BELT_S = 1.0
"""A hint may be lost: an idle node claims this often anyway."""
CREDIT_S = 0.25
"""And one at work so soon after a report. If it claimed with each, it would have the turn nearly always, and be handed nothing."""
TEND_MAX = 1_000
REFUSED_RETRY_S = 5.0
"""When outcomes that the store refuses are tried again."""
SETTLE_S, SETTLE_HURRY_S = 10.0, 1.0
"""How long a drain waits for a store that does not take outcomes; in a hurry, the shorter. What is not written is found lost at the next
start, and runs again."""

log = logging.getLogger(__name__)


class Dispatch:
    """Joins one queue store and one pool of workers."""

    def __init__(
        self, store: QueueStore, judge: Judge, stats: NodeStats, *, weights: Mapping[str, int], renew_s: float, lease_s: float = math.inf,
        feed: FeedDesk | None = None, places: Places | None = None,
    ) -> None:  # fmt: skip
        """`lease_s`: how long after a renewal others may take this node's jobs; infinite: nobody does."""
        self._places = places
        self._feed = feed or FeedDesk()
        self.pool: Pool | None = None  # made after this object: its callbacks are methods here
        self.is_claiming = False
        self.is_ready = asyncio.Event()
        """A worker has loaded the application."""
        self.tasks: dict[str, TaskInfo] = {}
        self._store, self._judge, self._stats = store, judge, stats
        self._weights, self._renew_s, self._lease_s = weights, renew_s, lease_s
        self._wake = asyncio.Event()
        self._has_all = False
        """The last claim left nothing behind that is ready: a hint tells of what becomes so, and for credit there is time."""
        self._later: asyncio.TimerHandle | None = None
        self._outcomes: list[Outcome] = []
        self._outcomes_wake = asyncio.Event()
        self._finishing = 0
        self._refused: list[Outcome] = []
        self._refused_due = 0.0
        self._writing = Writing(self._finish, held=self._tell_held, broke=lambda: stats.add("zjp_internal_errors_total"))
        self._written: list[asyncio.Future[None]] = []
        self._hurry = asyncio.Event()
        self._next_due_s: float | None = None
        self._version = 0
        self._unserved = Unserved()
        self._progress: dict[bytes, tuple[int, bytes]] = {}
        self.on_taken: Callable[[str], None] = lambda address: None
        """Another node has this one's name, at that address."""
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._store.on_ready, self._store.on_claimed, self._store.room = self.wake, self._take_handed, self._credit
        self._loops = [asyncio.create_task(loop()) for loop in (self._claim_loop, self._finish_loop, self._renew_loop, self._tend_loop)]

    async def drain(self, grace_s: float) -> bool:
        """Claim nothing more, let what runs finish, hand back the rest. True: all of it finished."""
        self.is_claiming = False
        assert self.pool is not None
        rest = await self.pool.stop(grace_s)
        self._add([released(job, fence) for job, fence in rest])
        return await self._settled() and not rest

    def hurry(self) -> None:
        """A drain under way is to end soon."""
        self._hurry.set()

    async def _settled(self) -> bool:
        """Wait until every outcome so far is written. False: the store does not take them."""
        writing = asyncio.create_task(self._until_written())
        hurrying = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({writing, hurrying}, timeout=SETTLE_S, return_when=asyncio.FIRST_COMPLETED)
        if hurrying.done():
            await asyncio.wait({writing}, timeout=SETTLE_HURRY_S)
        if writing.done():
            hurrying.cancel()
            return True
        event(
            log,
            logging.ERROR,
            "outcomes.not_written",
            count=self._held_count,
            reason="the queue's store does not take them; these jobs run again after the next start",
        )
        for task in (writing, hurrying):
            task.cancel()
        return False

    async def _until_written(self) -> None:
        while self._held_count:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._written.append(done)
            await done

    async def stop(self) -> None:
        if self._later is not None:
            self._later.cancel()
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def wake(self) -> None:
        self._wake.set()

    # ── claiming ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _claim_loop(self) -> None:
        pause_s = STORE_RETRY_S[0]
        while True:
            await self._claim_moment()
            try:
                while await self._claim_once():
                    pass
                pause_s = STORE_RETRY_S[0]
            except Unavailable as fault:
                event(log, logging.WARNING, "claim.refused", reason=str(fault))
                pause_s = min(pause_s * 2, STORE_RETRY_S[1])
                await asyncio.sleep(pause_s * (0.5 + random.random()))
                self.wake()
            except Exception:
                log.exception("claim.failed")
                self._stats.add("zjp_internal_errors_total")
                await asyncio.sleep(1.0)

    async def _claim_moment(self) -> None:
        delay_s = BELT_S if self._next_due_s is None else min(BELT_S, max(self._next_due_s, 0.0))
        timer = asyncio.get_running_loop().call_later(delay_s, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()

    async def _claim_once(self) -> bool:
        """True: there may be more, and credit for it."""
        credit = self._credit()
        if credit <= 0:
            self._has_all = False
            self._next_due_s = None  # what is due, even overdue, waits for credit, which wakes
            await self._take_back_lost()
            return False
        began = time.perf_counter()
        claim = await self._store.claim(credit, self._weights)
        self._stats.store_took("claim", time.perf_counter() - began)
        self._next_due_s = claim.next_due_s
        self._take(claim)
        return len(claim.jobs) >= credit

    def _take_handed(self, claim: Claim) -> None:
        self._feed.handed(claim.jobs)
        self._take(claim)

    def _take(self, claim: Claim) -> None:
        self._has_all = claim.is_all
        self._saw_version(claim.version)
        if not self.is_claiming:
            self._release(claim)
        elif claim.jobs:
            self._hand_out(claim.fence, claim.jobs)

    def _credit(self) -> int:
        if not self.is_claiming or self.pool is None or not self.tasks or len(self._outcomes) + len(self._refused) >= OUTCOMES_HELD_MAX:
            return 0
        return min(self.pool.credit(), CLAIM_MAX)

    async def _take_back_lost(self) -> None:
        """A claim whose answer was lost holds jobs that nobody knows of, however long this node claims nothing: they are for others. So is
        a hint."""
        self._release(await self._store.claim(0, self._weights))

    def _release(self, claim: Claim) -> None:
        if claim.jobs:
            self._add([released(job, claim.fence) for job in claim.jobs])

    def _hand_out(self, fence: int, jobs: Sequence[StoredJob]) -> None:
        tasks = self.tasks
        served = [job for job in jobs if job.spec.type in tasks]
        if len(served) != len(jobs):
            self._add([self._refuse_unserved(job, fence) for job in jobs if job.spec.type not in tasks])
        assert self.pool is not None
        if served:
            self._feed.started(served)
            self.pool.dispatch(fence, served)

    def _refuse_unserved(self, job: StoredJob, fence: int) -> Outcome:
        """A type that this node does not serve goes back unspent; when nobody has served it for long enough, its jobs fail."""
        task = job.spec.type
        delay_s, is_new = self._unserved.seen(task, job.spec.queue, time.monotonic())
        if delay_s is None:
            return self._judge.unserved(job, fence, list(self.tasks), int(time.time() * 1000))
        if is_new:
            event(log, logging.WARNING, "task.unknown", type=task, known=sorted(self.tasks)[:20])
        return Outcome(fence, job, OutcomeKind.SNOOZE, None, int(delay_s * 1000))

    def _saw_version(self, version: int) -> None:
        if version != self._version:
            self._version = version
            if self.pool is not None:
                self.pool.recall()

    # ── what the pool reports ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_ready(self, tasks: Mapping[str, TaskInfo]) -> None:
        self.tasks = dict(tasks)
        self._unserved.now_served(self.tasks)
        for task in self.tasks.values():
            if task.queue and "*" not in self._weights and task.queue not in self._weights:
                event(
                    log,
                    logging.WARNING,
                    "task.queue_not_served",
                    task=task.name,
                    queue=task.queue,
                    reason="this node does not serve the queue the task's jobs go to; name it in QUEUES (--queues), or use *",
                )
        self.is_ready.set()
        self._stats.known_types = self.tasks.keys()
        self.wake()

    def on_credit(self) -> None:
        if not self._has_all:
            self._wake.set()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(CREDIT_S, self._claim_later)

    def _claim_later(self) -> None:
        self._later = None
        self._wake.set()

    def on_results(self, worker: str, items: Sequence[tuple[StoredJob, int, Result]]) -> None:
        self._add(self._judge.of_results(items, worker, int(time.time() * 1000)))
        self._stats.ran(items)
        self.on_credit()

    def on_returned(self, items: Sequence[tuple[StoredJob, int]]) -> None:
        self._add([released(job, fence) for job, fence in items])

    def on_progress(self, progress: Mapping[bytes, bytes]) -> None:
        assert self.pool is not None
        for job_id, data in progress.items():
            held = self.pool.find(job_id)
            if held is not None:
                self._progress[job_id] = held.fence, data

    def _take_progress(self) -> dict[bytes, bytes]:
        """Of the attempts that still run: an id may be held by the next one by now."""
        assert self.pool is not None
        progress, self._progress = self._progress, {}
        held = {job_id: self.pool.find(job_id) for job_id in progress}
        return {job_id: data for job_id, (fence, data) in progress.items() if (now := held[job_id]) is not None and now.fence == fence}

    def on_crashed(self, report: CrashReport) -> None:
        now_ms = int(time.time() * 1000)
        judge, worker = self._judge, report.worker
        fault = JobFault("WorkerCrashed", report.cause)
        outcomes = [released(job, fence) for job, fence in report.innocent]
        if report.charged is not None:
            job, fence, started_ms = report.charged
            outcomes.append(judge.of_crash(job, fence, worker, fault, started_ms=started_ms, now_ms=now_ms))
        for job, fence, started_ms in report.suspects:
            outcomes.append(judge.of_suspicion(job, fence, worker, fault, started_ms=started_ms, now_ms=now_ms))
        for job, fence, started_ms, timed_out in report.timed_out:
            task = self.tasks.get(job.spec.type)
            outcomes.append(
                judge.of_timeout(job, fence, worker, timed_out, task=task, started_ms=started_ms, now_ms=now_ms)
            )
        for job, fence, started_ms, stopped in report.cancelled:
            outcomes.append(judge.of_cancel(job, fence, worker, stopped, started_ms=started_ms, now_ms=now_ms))
        self._stats.add("zjp_worker_crashes_total")
        self._add(outcomes)

    # ── writing outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, outcomes: list[Outcome]) -> None:
        """What is released is hinted by the store once it is ready again."""
        self._outcomes += outcomes
        self._outcomes_wake.set()

    async def _finish_loop(self) -> None:
        while True:
            await self._outcomes_moment()
            while self._outcomes:
                batch, self._outcomes = self._outcomes[:FINISH_MAX], self._outcomes[FINISH_MAX:]
                self._finishing = len(batch)
                self._note_refused(await self._writing.insist(batch))
                self._finishing = 0
            written, self._written = self._written, []
            for done in written:
                if not done.done():
                    done.set_result(None)

    async def _outcomes_moment(self) -> None:
        """There are outcomes to write, or those that were refused are due."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, self._refused_due - loop.time()), self._outcomes_wake.set) if self._refused else None
        await self._outcomes_wake.wait()
        self._outcomes_wake.clear()
        if timer is not None:
            timer.cancel()
            if loop.time() >= self._refused_due:
                self._outcomes += self._refused
                self._refused = []

    def _note_refused(self, outcomes: list[Outcome]) -> None:
        if outcomes and not self._refused:
            self._refused_due = asyncio.get_running_loop().time() + REFUSED_RETRY_S
        self._refused += outcomes

    async def _finish(self, batch: list[Outcome]) -> None:
        began = time.perf_counter()
        refused = await self._store.finish(batch)
        self._stats.store_took("finish", time.perf_counter() - began)
        self._count(batch, refused)
        if refused:
            self._stats.add("zjp_fenced_writes_total", len(refused))
            event(log, logging.INFO, "outcome.refused", count=len(refused), reason="the claim no longer holds the job")

    def _count(self, batch: Sequence[Outcome], refused: Sequence[bytes]) -> None:
        """What was written. Nearly always all of the batch; else what was refused counts for nothing, and what was being cancelled
        here has become so."""
        assert self.pool is not None
        cancelling, accepted = self.pool.cancelling, batch
        if refused:
            left = Counter(refused)
            accepted = []
            for outcome in batch:
                if left[outcome.job.spec.id] > 0:
                    left[outcome.job.spec.id] -= 1
                    cancelling.discard(outcome.job.spec.id)  # with its lease it lost whoever cancelled it
                else:
                    accepted.append(outcome)
        if cancelling:
            ended = [outcome for outcome in accepted if outcome.job.spec.id in cancelling]
            self._stats.cancelled(ended)
            self._feed.cancelled([outcome.job for outcome in ended])
            accepted = [outcome for outcome in accepted if outcome.job.spec.id not in cancelling]
            cancelling.difference_update([outcome.job.spec.id for outcome in ended])
        self._stats.settled(accepted)
        self._feed.settled(accepted)

    @property
    def _held_count(self) -> int:
        return self._finishing + len(self._outcomes) + len(self._refused)

    def _tell_held(self, reason: str) -> None:
        event(log, logging.WARNING, "outcome.held", count=self._held_count, reason=reason)

    # ── the slow loops ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _renew_loop(self) -> None:
        await self._again_and_again(self._renew_once, refused="lease.not_renewed", failed="renew.failed")

    async def _tend_loop(self) -> None:
        await self._again_and_again(self._tend_once, refused="queue.not_tended", failed="tend.failed")

    async def _again_and_again(self, deed: Callable[[], Awaitable[None]], *, refused: str, failed: str) -> None:
        """`refused`, `failed`: what is logged when the store is away, and when we broke."""
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                await deed()
            except Unavailable as fault:
                event(log, logging.WARNING, refused, reason=str(fault))
            except Exception:
                log.exception(failed)
                self._stats.add("zjp_internal_errors_total")

    async def _renew_once(self) -> None:
        began = time.monotonic()  # before it is sent: the store counts from when it comes
        renewal = await self._store.renew(self._take_progress())
        assert self.pool is not None
        if renewal.taken_by is not None:
            self.on_taken(renewal.taken_by)
        if not renewal.alive:
            event(
                log, logging.WARNING, "lease.lost", reason="not renewed in time; what was running runs again elsewhere"
            )
            self.pool.recall()
            self.pool.cancel(list(self.pool.held))  # what runs has lost its fence
        if renewal.taken_by is None:
            self.pool.keep(began + self._lease_s)
        if renewal.cancelling:
            self.pool.cancel(renewal.cancelling)
        self._saw_version(renewal.version)

    async def _tend_once(self) -> None:
        if self._store.is_shared:
            places = self._places
            served = await self._store.publish([*words_of(self.tasks, self._weights), *([places.word] if places else [])])
            self._unserved.now_served(places.read(served) if places else served)
        tended = await self._store.tend(TEND_MAX)
        if tended.reaped:
            self._stats.add("zjp_leases_expired_total", tended.reaped)
        if tended.promoted or tended.reaped:
            self.wake()
