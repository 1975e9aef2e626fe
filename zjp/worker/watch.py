"""Everything about time in the pool, looked at by one slow tick: hard time-outs, cancelled jobs, jobs behind a long one.

What runs is read from the processes' mark files, so the clock of a job starts when the job does and not when it was handed out: a job that
waits in a process is never timed out. The pool first sees a job running at most one tick after its start; so a limit is kept to within
two ticks.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..job import JobFault, StoredJob, format_id
from ..units import show_duration
from ..wire.messages import TaskInfo
from .child import Child
from .ledger import Ledger
from .settings import PoolSettings

TICK_S = 0.05
STUCK_S = 10.0
"""A process that has jobs, runs none and reports nothing for so long is broken. It is ended, and judged as if it had died by itself.
Counted in ticks: a machine that slept is no reason."""
RECALL_AFTER_S = 0.1
"""One unforeseen long job must not hold up the hundreds behind it for longer."""


class Watch:
    """Looks at one process at a time. Kills where it must; everything else it only says."""

    __slots__ = ("_cancelling", "_ledger", "_settings")

    def __init__(self, settings: PoolSettings, ledger: Ledger) -> None:
        self._settings, self._ledger = settings, ledger
        self._cancelling: dict[bytes, tuple[int, float]] = {}
        """id -> (fence, monotonic time at which it is killed)"""

    def cancels(self, job_id: bytes, fence: int, now: float) -> bool:
        """Start the grace time of a held job. False: it has started already."""
        if self._cancelling.get(job_id, (None,))[0] == fence:
            return False
        self._cancelling[job_id] = (fence, now + self._settings.cancel_grace_s)
        return True

    def look(self, child: Child, now: float, tasks: Mapping[str, TaskInfo]) -> bool:
        """True: what it has not started should be called back."""
        running = self._see_running(child, now)
        self._end_if_stuck(child)
        for (job_id, fence), first_seen in running.items():
            if first_seen < now:  # also seen by the tick before this one
                self._ledger.charge_slot(job_id, child)
            job = self._ledger.held[job_id][0]
            limit_s = self.limit_s(job, tasks)
            if now - first_seen >= limit_s:
                child.overran[job_id] = _overran(limit_s)
                child.kill(
                    f"job {format_id(job_id)} ran longer than its limit of {show_duration(limit_s)}: its process was killed"
                )
            elif self._cancelling.get(job_id, (None,))[0] == fence and now >= self._cancelling[job_id][1]:
                grace = show_duration(self._settings.cancel_grace_s)
                why = f"was cancelled and did not stop within {grace}: its process was killed"
                child.overstayed[job_id] = JobFault("Cancelled", f"the job {why}")
                child.kill(f"job {format_id(job_id)} {why}")
        return child.count > child.slots and now - child.moved_at >= RECALL_AFTER_S

    @staticmethod
    def is_held_up(child: Child, now: float) -> bool:
        """All that it holds runs, and it waits for that. After `look`."""
        return 0 < child.count == len(child.running) and now - child.moved_at >= RECALL_AFTER_S

    def forget_gone(self) -> None:
        """Drop grace times of jobs that are no longer here."""
        if self._cancelling:
            held = self._ledger.held
            self._cancelling = {
                job_id: kept
                for job_id, kept in self._cancelling.items()
                if job_id in held and held[job_id][1] == kept[0]
            }

    def limit_s(self, job: StoredJob, tasks: Mapping[str, TaskInfo]) -> float:
        """The job's own hard limit, else its task's, else the setting."""
        options = job.spec.options
        if options is not None and options.timeout_ms is not None:
            return options.timeout_ms / 1000
        task = tasks.get(job.spec.type)
        if task is not None and task.timeout_ms is not None:
            return task.timeout_ms / 1000
        return self._settings.job_timeout_s

    @staticmethod
    def _end_if_stuck(child: Child) -> None:
        if child.running or child.stuck_at != child.moved_at:
            child.stuck_at, child.stuck_ticks = child.moved_at, 0
            return
        child.stuck_ticks += 1
        if child.stuck_ticks * TICK_S >= STUCK_S:
            child.is_stuck = True
            child.kill(
                f"it started none of its {child.count} jobs, and reported none, within {STUCK_S:g} s: the process was killed"
            )

    def _see_running(self, child: Child, now: float) -> dict[tuple[bytes, int], float]:
        held, before = self._ledger.held, child.running
        child.running = {
            mark: before.get(mark, now)
            for mark in child.marks.read()
            if mark[0] in held and held[mark[0]][1] == mark[1] and held[mark[0]][2] is child
        }
        return child.running


def _overran(limit_s: float) -> JobFault:
    limit = show_duration(limit_s)
    return JobFault(
        "Timeout", f"the attempt ran longer than its limit of {limit} and was killed; raise timeout, or split the work"
    )
