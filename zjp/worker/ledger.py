"""Which process holds which job: the table that makes sure that each job leaves the pool exactly once.

Results are matched by id *and* process: what a process reports that is no longer (or not yet again) its own is dropped
here, and the store's fence would refuse it as well. No sockets, no callbacks; everything works on batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..job import StoredJob
from ..wire.messages import Result, ResultKind
from .child import Child
from .credit import PREFETCH_US, Credit
from .reports import Held

Entry = tuple[StoredJob, int, Child | None, float, int]
"""(job, fence, process or None while it waits for the quarantine, monotonic time of the hand-out, cost in us). A tuple: one per job."""
Items = list[tuple[StoredJob, int]]


class Ledger:
    """`held` by id. `parked`: claimed again while an earlier claim of the same job, whose fence is dead, still runs here."""

    __slots__ = ("credit", "held", "parked")

    def __init__(self, credit: Credit) -> None:
        self.credit = credit
        self.held: dict[bytes, Entry] = {}
        self.parked: dict[bytes, tuple[StoredJob, int]] = {}

    def settle(self, child: Child, results: Sequence[Result], now: float) -> list[tuple[StoredJob, int, Result]]:
        """Take out what `child` finished, and learn from how long it took."""
        take, items = self.held.pop, []
        load_us = run_us = run_count = failed = 0
        run_type = ""
        for result in results:
            entry = take(result.id, None)
            if entry is None:
                continue
            job, fence, holder, _, cost_us = entry
            if holder is not child:
                self.held[result.id] = entry
                continue
            items.append((job, fence, result))
            load_us += cost_us
            if result.kind:
                failed += result.kind == ResultKind.FAILED
            if job.spec.type != run_type:
                if run_count:
                    self.credit.learn(run_type, run_us, run_count)
                run_type, run_us, run_count = job.spec.type, 0, 0
            run_us += result.ended_us - result.started_us
            run_count += 1
        if run_count:
            self.credit.learn(run_type, run_us, run_count)
        self._lighten(child, len(items), load_us, now)
        child.done += len(items)
        child.failed += failed
        return items

    def take_back(self, child: Child, ids: Iterable[bytes], now: float) -> Items:
        """Take out what `child` gave back without having started it."""
        items: Items = []
        load_us = 0
        for job_id in ids:
            entry = self.held.get(job_id)
            if entry is not None and entry[2] is child:
                del self.held[job_id]
                items.append((entry[0], entry[1]))
                load_us += entry[4]
        self._lighten(child, len(items), load_us, now)
        return items

    def of_child(self, child: Child, progress: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """What of this is about jobs that `child` holds."""
        held = self.held
        return {job_id: data for job_id, data in progress.items() if job_id in held and held[job_id][2] is child}

    def take_all(self, child: Child) -> list[tuple[StoredJob, int, float]]:
        """Take out everything that a process held when it ended, as (job, fence, since)."""
        lost = [(job, fence, since) for job, fence, holder, since, _ in self.held.values() if holder is child]
        for job, *_ in lost:
            del self.held[job.spec.id]
        child.count = child.load_us = 0
        return lost

    def charge_slot(self, job_id: bytes, child: Child) -> None:
        """This one runs longer than expected: it takes a whole slot's credit from now on, so nothing more is put behind it."""
        entry = self.held[job_id]
        if entry[4] < PREFETCH_US:
            child.load_us += PREFETCH_US - entry[4]
            self.held[job_id] = (*entry[:4], PREFETCH_US)

    def unparked(self) -> Items:
        """Parked jobs whose former claim is gone, to be handed out now."""
        free = [job_id for job_id in self.parked if job_id not in self.held]
        return [self.parked.pop(job_id) for job_id in free]

    def find(self, job_id: bytes) -> Held | None:
        entry = self.held.get(job_id)
        return None if entry is None else _shown(entry)

    def picture(self) -> dict[bytes, Held]:
        return {job_id: _shown(entry) for job_id, entry in self.held.items()}

    @staticmethod
    def _lighten(child: Child, count: int, load_us: int, now: float) -> None:
        child.count -= count
        child.load_us -= load_us
        child.moved_at = now


def _shown(entry: Entry) -> Held:
    job, fence, child, since, _ = entry
    return Held(job, fence, child.name if child is not None else "", since)
