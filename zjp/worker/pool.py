"""The node's side of the workers: who gets the next job, what came back, who died. No store, no decision about outcomes.

    node ──dispatch──► Pool ──PUSH, one per process──► worker processes ──one PULL for all──► Pool ──callbacks──► node

The pool knows at every moment what each process holds. A job leaves it by exactly one of the callbacks: with its result,
returned unspent, or in the report of its process's death. Plain PUSH to several workers would strand jobs in the pipe of a
dead one, and nobody would know which; so each process has a socket of its own, and gets only what it has credit for.

One slow tick looks after everything that is about time: there is no timer, task or future per job. It runs only while
something is held, or a process is on its way in or out.

    ledger.py      which process holds which job        crew.py, child.py   the processes
    watch.py       time-outs, recall                    verdict.py          who pays for a death
    quarantine.py  suspects, each alone                 credit.py           how much a process may hold

All methods belong to the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import zmq

from ..balance import Balancer
from ..errors import WireError
from ..job import SUSPICION_LIMIT, StoredJob
from ..log import event
from ..transport.pump import Pump, set_limits
from ..wire.codec import decode_from_worker
from ..wire.messages import NotReady, Progress, Ready, Result, Results, Returned, StopJobs, TaskInfo
from .child import Child, Phase
from .credit import LARGE_BYTES, PREFETCH_US, Credit, cost_of_large
from .crew import Crew, Seat, make_run_folder, outbox_of, sweep_run_folder
from .ledger import Items, Ledger
from .quarantine import Quarantine
from .reports import Callbacks, CrashReport, Held, WorkerState
from .settings import PoolSettings, spread
from .verdict import judge
from .watch import TICK_S, Watch

__all__ = ["CrashReport", "Held", "Pool", "PoolSettings", "WorkerState"]

IDLE_TICK_S = 1.0

log = logging.getLogger(__name__)


class Pool:
    """`await start()`, then `dispatch` what `credit` allows; at the end `await stop(grace_s)`.

    What the callbacks mean stands at `reports.Callbacks`. Until it is started the pool has no credit, and everything else does nothing.
    """

    def __init__(
        self,
        settings: PoolSettings,
        *,
        on_ready: Callable[[Mapping[str, TaskInfo]], None],
        on_results: Callable[[str, Sequence[tuple[StoredJob, int, Result]]], None],
        on_returned: Callable[[Sequence[tuple[StoredJob, int]]], None],
        on_crashed: Callable[[CrashReport], None],
        on_progress: Callable[[Mapping[bytes, bytes]], None],
        on_credit: Callable[[], None],
        on_not_ready: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.tasks: dict[str, TaskInfo] = {}
        self.cancelling: set[bytes] = set()
        """Ids that `cancel` was told of while they were here. Whoever has written what became of one takes it out."""
        self._settings = settings
        self._tell = Callbacks(
            on_ready=on_ready,
            on_results=on_results,
            on_returned=on_returned,
            on_crashed=on_crashed,
            on_progress=on_progress,
            on_credit=on_credit,
            on_not_ready=on_not_ready,
        )
        self._balancer = Balancer(settings.strategy)
        self._credit = Credit(max(spread(settings.slots, settings.processes)))
        self._ledger = Ledger(self._credit)
        self._watch = Watch(settings, self._ledger)
        self._crew = Crew(settings, self._died)
        self._quarantine = Quarantine(self._crew, self._ledger)
        self._is_started = False
        self._timer: asyncio.TimerHandle | None = None
        self._cut_off: Items = []
        self._lease_until = math.inf
        self._all_gone = asyncio.Event()

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Start the processes; `on_ready` or `on_not_ready` follows. Raises: OSError when folder or socket cannot be made."""
        self._loop = asyncio.get_running_loop()
        self._note = Path(self._settings.marks_folder) / "run" if self._settings.marks_folder else None
        if self._note is not None:
            self._note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            sweep_run_folder(self._note)
        self._run_folder = make_run_folder()
        if self._note is not None:
            self._note.write_text(self._run_folder)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        outbox = self._context.socket(zmq.PULL)
        set_limits(outbox, linger_ms=0, high_water_mark=0)  # bounded by credit: each message answers a job
        outbox.bind(outbox_of(self._run_folder))
        self._pump = Pump(outbox, self._received)
        self._pump.start()
        self._crew.open(self._context, self._run_folder)
        self._is_started = True
        self._ensure_tick()

    async def stop(self, grace_s: float) -> Items:
        """Let what runs finish for `grace_s`, then kill. What had not started is told by `on_returned` at once, results by `on_results` as
        they come; the answer is what the kill cut off, as (job, fence), to be handed back unspent. Empty: all that had started finished."""
        crew = self._crew
        crew.is_stopping = True
        if not self._is_started:
            return []
        for child in list(crew.children.values()):
            crew.retire(child)
        self._give_back(self._withdraw_waiting())
        self._ensure_tick()
        if crew.children:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), max(grace_s, 0.001))
        self.kill()
        if crew.children:
            await self._all_gone.wait()
        self._close()
        self._is_started = False
        return self._cut_off

    def kill(self) -> None:
        """All processes, at once. A `stop` under way ends soon after; without one, nothing is told of what they held."""
        self._crew.is_stopping = True
        for child in self._crew.children.values():
            child.is_silent = True
            child.kill("the node is stopping")

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pump.stop()
        self._pump.socket.close(linger=0)
        self._crew.close()
        self._context.term()
        shutil.rmtree(self._run_folder, ignore_errors=True)
        if self._note is not None:
            self._note.unlink(missing_ok=True)

    # ── what the node asks ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def credit(self) -> int:
        """How many jobs of the recent mix it would take now."""
        if time.monotonic() > self._lease_until:
            return 0
        total_us = 0
        for seat in self._crew.seats:
            if seat.child is not None:
                room_us, left = seat.child.room()
                if room_us > 0:
                    total_us += min(room_us, self._credit.room_of(left))
        return self._credit.jobs_for(total_us)

    def dispatch(self, fence: int, jobs: Sequence[StoredJob]) -> None:
        """Hand out jobs of one claim, in order. What turns out to need more room than there is comes back through `on_returned`; so does
        all of it when the lease has ended."""
        seats, now = self._crew.seats, time.monotonic()
        if now > self._lease_until:
            self._give_back([(job, fence) for job in jobs])
            return
        children, rooms_us, lefts, refused, total_us = [], [], [], [], 0
        lots: list[list[StoredJob]] = []
        for seat in seats:
            room_us, left = seat.child.room() if seat.child is not None else (0, 0)
            children.append(seat.child)
            rooms_us.append(room_us)
            lefts.append(left)
            lots.append([])
        is_counted, full = min(lefts) < len(jobs), {}
        held, cost_of, pick = self._ledger.held, self._credit.costs_us.get, self._balancer.pick
        is_random, draw = self._settings.strategy == "random", 0.0
        for job in jobs:
            spec = job.spec
            if job.suspicion >= SUSPICION_LIMIT or spec.id in held:
                self._set_aside(job, fence, now)
                continue
            # Few suspects in one process: the next death there sends all that it had begun into quarantine.
            cost_us = PREFETCH_US if job.suspicion else cost_of(spec.type, PREFETCH_US)
            if len(spec.payload) > LARGE_BYTES:
                cost_us = cost_of_large(cost_us, len(spec.payload))
            total_us += cost_us
            if is_random:
                draw = random.random()
            index = pick(rooms_us, spec.priority, draw)
            if index < 0:
                refused.append((job, fence))
                continue
            rooms_us[index] -= cost_us
            lots[index].append(job)
            if is_counted and len(lots[index]) >= lefts[index]:
                full[index], rooms_us[index] = rooms_us[index], 0
            held[spec.id] = (job, fence, children[index], now, cost_us)
        if total_us:
            self._credit.learn_mix(total_us, len(jobs))
        for index, lot in enumerate(lots):
            if lot:
                self._hand(seats[index], fence, lot, full.get(index, rooms_us[index]))
        self._feed_quarantine()
        self._ensure_tick()
        self._give_back(refused)

    def cancel(self, ids: Iterable[bytes]) -> None:
        """These are being cancelled: back if not started, else the task is told, and its process killed after the grace time. Ids that
        are not here, or were told before, are passed over."""
        back: Items = []
        for job_id in ids:
            if job_id in self._ledger.held or job_id in self._ledger.parked:
                self.cancelling.add(job_id)
            if job_id in self._ledger.parked:
                back.append(self._ledger.parked.pop(job_id))
            waiting = self._quarantine.withdraw(job_id)
            if waiting is not None:
                back.append(waiting)
            else:
                self._tell_to_stop(job_id)
        self._give_back(back)

    def keep(self, until: float) -> None:
        """The claims behind all that is here are known to hold until then (monotonic): after it nothing is started, here and in the
        processes. Not called: no limit. When the claims were lost call `recall` first: a process that has not answered that keeps the
        former limit until it does, so it starts nothing of what was lost."""
        had_ended, self._lease_until = time.monotonic() > self._lease_until, until
        for child in self._crew.children.values():
            if not child.is_recalled:
                child.marks.keep(until)
        if had_ended:
            self._tell.on_credit()

    def log_as(self, level: str, format: str) -> None:
        """LOG_LEVEL and LOG_FORMAT of all processes, and of those to come."""
        self._crew.log_as(level, format)

    def recall(self) -> None:
        """Everything that has not started comes back through `on_returned`."""
        for child in self._crew.children.values():
            child.recall()
        self._give_back(self._withdraw_waiting())

    @property
    def held(self) -> Mapping[bytes, Held]:
        """What the workers have, by id: a picture of now. `find` is cheaper for one."""
        return self._ledger.picture()

    def find(self, job_id: bytes) -> Held | None:
        return self._ledger.find(job_id)

    def states(self) -> list[WorkerState]:
        return self._crew.states(self._ledger.held)

    def skew(self) -> float:
        """By how much the busiest process was given more jobs per slot than the mean, as a share: 0.0 is even, 1.0 twice the mean."""
        handed = [seat.handed / seat.slots for seat in self._crew.seats]
        return max(handed) * len(handed) / sum(handed) - 1.0 if any(handed) else 0.0

    # ── handing out ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hand(self, seat: Seat, fence: int, lot: list[StoredJob], room_us: int) -> None:
        child = seat.child
        assert child is not None
        seat.handed += len(lot)
        child.give(fence, lot, child.slots * PREFETCH_US - room_us)

    def _set_aside(self, job: StoredJob, fence: int, now: float) -> None:
        """A suspect, or a job that is still here under a former claim (whose lease was lost): that one has to go first."""
        job_id = job.spec.id
        replaced = self._quarantine.withdraw(job_id) or self._ledger.parked.pop(job_id, None)
        if replaced is not None:
            self._give_back([replaced])
        if job_id in self._ledger.held:
            self._ledger.parked[job_id] = (job, fence)
            self._tell_to_stop(job_id)
        else:
            self._quarantine.add(job, fence, now)

    def _tell_to_stop(self, job_id: bytes) -> None:
        entry = self._ledger.held.get(job_id)
        if entry is not None and entry[2] is not None and self._watch.cancels(job_id, entry[1], time.monotonic()):
            entry[2].send(StopJobs([job_id]))

    def _feed_quarantine(self) -> None:
        now = time.monotonic()
        for child, job, fence in self._quarantine.next_jobs(now) if now <= self._lease_until else ():
            child.give(fence, [job], PREFETCH_US)

    # ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _received(self, frames: list[bytes]) -> None:
        try:
            message = decode_from_worker(frames[0])
        except WireError as fault:
            event(log, logging.ERROR, "worker.garbled", reason=str(fault))
            return
        child = self._crew.children.get(message.worker)
        if child is None:  # judged already: what it held has been given back
            return
        if isinstance(message, Results):
            self._finished(child, message.results)
        elif isinstance(message, Returned):
            self._returned(child, message.ids)
        elif isinstance(message, Progress):
            self._tell.on_progress(self._ledger.of_child(child, message.progress))
        elif isinstance(message, Ready):
            self._ready(child, message.tasks)
        elif isinstance(message, NotReady):
            child.is_silent = True
            self._tell.on_not_ready(message.reason)

    def _finished(self, child: Child, results: Sequence[Result]) -> None:
        items = self._ledger.settle(child, results, time.monotonic())
        if items:
            self._tell.on_results(child.name, items)
        self._freed(child)

    def _returned(self, child: Child, ids: Sequence[bytes]) -> None:
        child.is_recalled = False
        child.marks.keep(self._lease_until)
        self._give_back(self._ledger.take_back(child, ids, time.monotonic()))
        self._freed(child)
        self._tell.on_credit()

    def _freed(self, child: Child) -> None:
        if self._ledger.parked:
            for job, fence in self._ledger.unparked():
                self.dispatch(fence, [job])
        if 0 < child.jobs_max <= child.done:
            self._recycle(child, f"it has run {child.done} jobs")
        if self._crew.seat_of(child).is_quarantine:
            if child.done:
                self._crew.retire(child)
                self._ensure_tick()
            self._feed_quarantine()

    def _ready(self, child: Child, tasks: Sequence[TaskInfo]) -> None:
        self._crew.became_ready(child)
        child.marks.keep(self._lease_until)
        served = {task.name: task for task in tasks}
        if served != self.tasks:
            self.tasks = served
            self._tell.on_ready(served)
        if self._crew.is_stopping:
            self._crew.retire(child)
        self._feed_quarantine()
        self._tell.on_credit()

    def _give_back(self, items: Sequence[tuple[StoredJob, int]]) -> None:
        if items:
            self._tell.on_returned(items)

    def _withdraw_waiting(self) -> Items:
        parked = list(self._ledger.parked.values())
        self._ledger.parked.clear()
        return parked + self._quarantine.withdraw_all()

    # ── time, and deaths ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ensure_tick(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = time.monotonic()
        self._timer = None
        for child in list(self._crew.children.values()):
            if child.phase is not Phase.GONE:
                self._look(child, now)
        self._watch.forget_gone()
        self._crew.tend(now)
        self._feed_quarantine()
        has_idle = self._quarantine.end_if_idle(now)
        if self._ledger.held or any(self._crew.unsettled()):
            self._ensure_tick()
        elif has_idle:
            self._timer = self._loop.call_later(IDLE_TICK_S, self._tick)

    def _look(self, child: Child, now: float) -> None:
        is_too_large = self._crew.is_too_large(child)
        if child.count and self._watch.look(child, now, self.tasks):
            child.recall()
        if self._crew.seat_of(child).is_quarantine:  # it runs one job in its life
            return
        if is_too_large and (not child.stays_until or (child.done and now >= child.stays_until)):
            self._recycle(child, f"it uses {child.rss_bytes} bytes, WORKER_MAX_RSS is {self._settings.max_rss_bytes}")
        elif child.is_spent and self._watch.is_held_up(child, now):
            self._recycle(child, f"it has begun the last of its {child.jobs_max} jobs")

    def _recycle(self, child: Child, why: str) -> None:
        if child.phase is Phase.READY:
            event(log, logging.INFO, "worker.recycled", worker=child.name, reason=why)
            self._crew.retire(child)
            self._ensure_tick()
            seat = self._crew.seat_of(child)
            if not seat.is_quarantine:
                self._crew.fill(seat)

    def _died(self, child: Child) -> None:
        lost = self._ledger.take_all(child)
        if child.is_silent:
            self._cut_off += [(job, fence) for job, fence, _ in lost]
        elif not child.was_ready:
            self._tell.on_not_ready(f"{child.exit_text()} before it was ready")
        elif lost or child.retired_at == 0.0:
            self._tell_of_crash(child, lost)
        if self._ledger.parked:
            for job, fence in self._ledger.unparked():
                self.dispatch(fence, [job])
        self._ensure_tick()
        if self._crew.is_stopping and not self._crew.children:
            self._all_gone.set()

    def _tell_of_crash(self, child: Child, lost: Sequence[tuple[StoredJob, int, float]]) -> None:
        process = CrashReport(
            worker=child.name,
            pid=child.pid,
            exit_code=child.exit_code,
            rss_bytes=child.rss_bytes,
            cause=child.exit_text(),
        )
        report = judge(
            lost,
            set(child.marks.read()),
            latest=set(child.marks.read_latest()),
            has_finished=child.done > 0,
            seen=child.running,
            overran=child.overran,
            overstayed=child.overstayed,
            cancelling=self.cancelling,
            was_killed=bool(child.killed_for) and not child.is_stuck,
            clock=(time.monotonic(), time.time_ns() // 1_000_000),
            process=process,
        )
        event(
            log,
            logging.WARNING,
            "worker.died",
            worker=child.name,
            pid=child.pid,
            cause=report.cause,
            held=len(lost),
            suspects=len(report.suspects),
        )
        self._tell.on_crashed(report)
