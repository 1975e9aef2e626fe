"""Jobs that may be what kills processes: each runs alone, in a process that runs nothing else.

A job comes here when its suspicion has reached SUSPICION_LIMIT: processes died that it had begun in as one of several. Here a death can be
charged, as a process runs one job in its life: what an earlier one left behind (a thread, a timer) ends no process of the next. It is
started when a job comes that finds none, and ends after its job, or when none has come for QUARANTINE_IDLE_S.
There may be as many as one worker process has slots: so what one death made suspect need not wait for each other.
"""

from __future__ import annotations

from ..job import StoredJob
from .child import Child, Phase
from .credit import PREFETCH_US
from .crew import Crew
from .ledger import Items, Ledger

QUARANTINE_IDLE_S = 10.0


class Quarantine:
    """`next_jobs` says what to send to whom; the pool sends it."""

    __slots__ = ("_crew", "_ledger", "_waiting")

    def __init__(self, crew: Crew, ledger: Ledger) -> None:
        self._crew, self._ledger = crew, ledger
        self._waiting: list[bytes] = []
        """Few: they come some at a time out of deaths."""

    def add(self, job: StoredJob, fence: int, now: float) -> None:
        self._ledger.held[job.spec.id] = (job, fence, None, now, 0)
        self._waiting.append(job.spec.id)

    def next_jobs(self, now: float) -> list[tuple[Child, StoredJob, int]]:
        """The next jobs for the processes that are free, theirs from now on. Starts processes for those that find none."""
        given: list[tuple[Child, StoredJob, int]] = []
        if not self._waiting:
            return given
        for seat in self._crew.quarantine:
            child = seat.child
            if self._waiting and child is not None and child.phase is Phase.READY and not child.count:
                job_id = self._waiting.pop(0)
                job, fence, *_ = self._ledger.held[job_id]
                self._ledger.held[job_id] = (job, fence, child, now, PREFETCH_US)
                seat.handed += 1
                given.append((child, job, fence))
        self._start_for(len(self._waiting))
        return given

    def _start_for(self, count: int) -> None:
        seats = self._crew.quarantine
        count -= sum(seat.child is not None and seat.child.phase is Phase.STARTING for seat in seats)
        for seat in seats:
            if count > 0 and (seat.child is None or seat.child.phase in (Phase.RETIRING, Phase.GONE)):
                self._crew.fill(seat)
                count -= 1

    def withdraw(self, job_id: bytes) -> tuple[StoredJob, int] | None:
        """Take out a job that waits here."""
        if job_id not in self._waiting:
            return None
        self._waiting.remove(job_id)
        entry = self._ledger.held.pop(job_id)
        return entry[0], entry[1]

    def withdraw_all(self) -> Items:
        taken = [self.withdraw(job_id) for job_id in list(self._waiting)]
        return [item for item in taken if item is not None]

    def end_if_idle(self, now: float) -> bool:
        """True: a process is there and idle, so ask again later."""
        idle = False
        for seat in self._crew.quarantine:
            child = seat.child
            if child is None or child.phase is not Phase.READY:
                continue
            if child.count or now - child.moved_at < QUARANTINE_IDLE_S:
                idle = True
            else:
                self._crew.retire(child)
        return idle
