"""Jobs that may be what kills processes: each runs alone, one after the other, in one process that runs nothing else.

A job comes here when its suspicion has reached SUSPICION_LIMIT: processes died while it was one of several that ran. Here a death can be
charged. The process has one slot, is started when the first such job comes, and ends when none has come for QUARANTINE_IDLE_S.
"""

from __future__ import annotations

from ..job import StoredJob
from .child import Child, Phase
from .credit import PREFETCH_US
from .crew import Crew
from .ledger import Items, Ledger

QUARANTINE_IDLE_S = 10.0


class Quarantine:
    """`next_job` says what to send to whom; the pool sends it."""

    __slots__ = ("_crew", "_idle_since", "_ledger", "_waiting")

    def __init__(self, crew: Crew, ledger: Ledger) -> None:
        self._crew, self._ledger = crew, ledger
        self._waiting: list[bytes] = []
        """Few: they come one by one out of deaths."""
        self._idle_since = 0.0

    def add(self, job: StoredJob, fence: int, now: float) -> None:
        self._ledger.held[job.spec.id] = (job, fence, None, now, 0)
        self._waiting.append(job.spec.id)

    def next_job(self, now: float) -> tuple[Child, StoredJob, int] | None:
        """The next job for the process, when there is one and it is free; it is the process's from now on.

        Starts the process if need be, and then there is nothing yet.
        """
        if not self._waiting:
            return None
        child = self._crew.quarantine.child
        if child is None or child.phase in (Phase.RETIRING, Phase.GONE):
            self._crew.fill(self._crew.quarantine)
            return None
        if child.phase is not Phase.READY or child.count:
            return None
        job_id = self._waiting.pop(0)
        job, fence, *_ = self._ledger.held[job_id]
        self._ledger.held[job_id] = (job, fence, child, now, PREFETCH_US)
        self._crew.quarantine.handed += 1
        return child, job, fence

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
        child = self._crew.quarantine.child
        if child is None or child.phase is not Phase.READY or child.count or self._waiting:
            self._idle_since = 0.0
            return False
        self._idle_since = self._idle_since or now
        if now - self._idle_since < QUARANTINE_IDLE_S:
            return True
        self._crew.retire(child)
        return False
