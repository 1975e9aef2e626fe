"""Why a job may run twice, or a claim end without a report: the faults that were injected, and what the store itself saw.

Everything else that runs twice is a bug, whatever a queue may promise ("at least once" is no licence to repeat without a cause).
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from ..lines import ClaimEnd, Expire, Fault, Lease, Nack, Open, Run
from .case import Case, Casebook, began

LATE_NS = 5_000_000_000
"""How long after a pause a woken process may still start what it no longer holds, and how long a report may be under way."""
EXCUSE_NOTHING = frozenset({"clock", "store"})
"""A store that was away must have kept what it acknowledged, leases too. Who could not renew for a whole lease is seen to be silent."""


class Excuses:
    """Answers which fault, death or silence touched a run or a claim."""

    def __init__(self, book: Casebook) -> None:
        self._book = book
        self._by_pid: dict[int, list[Fault]] = {}
        self._by_node: dict[str, list[Fault]] = {}
        self._everywhere: list[Fault] = []
        for fault in book.faults:
            if fault.kind not in EXCUSE_NOTHING:
                self._file(fault)
        self._doomed_at: dict[int, int] = {}
        for case in book.cases.values():
            for end in case.ends:
                if end.type == "info":
                    self._doomed_at[end.pid] = min(end.t, self._doomed_at.get(end.pid, end.t))
        self._opens: dict[str, list[Open]] = {}
        for opened in book.opens:
            self._opens.setdefault(opened.node, []).append(opened)
        self._lease_ms = max((opened.lease_ms for opened in book.opens), default=0)
        # (since when the new lease counts, until when the former one was kept): a lease counts from the moment the store was asked, at the
        # earliest; one that was lost was so when the answer came, at the latest.
        self._renewed_at = {
            life: sorted((began(renewal), began(renewal) if renewal.type == "ok" else renewal.t) for renewal in renewals)
            for life, renewals in book.renewals.items()
        }

    def _file(self, fault: Fault) -> None:
        for pid in fault.pids:
            self._by_pid.setdefault(pid, []).append(fault)
        if fault.node:
            self._by_node.setdefault(fault.node, []).append(fault)
        if not fault.node and not fault.pids:
            self._everywhere.append(fault)

    def run_was_hit(self, run: Run, since: int, until: int) -> bool:
        """Whether its process was touched in between: by a fault, by a task that took it down, or by a pause shortly before."""
        doomed_at = self._doomed_at.get(run.pid)
        return (
            (doomed_at is not None and doomed_at <= until)
            or _touches(self._faults_of(run), since, until)
            or self.run_was_delayed(run, since, until)
        )

    def run_was_delayed(self, run: Run, since: int, until: int) -> bool:
        """Whether its process was paused or cut off, and so may act for what it no longer holds."""
        return _touches(
            [fault for fault in self._faults_of(run) if fault.kind in ("stop", "cut")], since - LATE_NS, until
        )

    def _faults_of(self, run: Run) -> list[Fault]:
        return [*self._by_pid.get(run.pid, ()), *self._by_node.get(run.node, ()), *self._everywhere]

    def is_rerun_explained(self, case: Case, first: Run, second: Run) -> bool:
        """Whether something ended the earlier run's claim, or may have."""
        since, until = min(first.t, second.t), second.t
        return (
            any(end.fence == first.fence and end.type != "ok" for end in case.ends)
            or any(_gives_up(end, first.fence, until) for end in case.claim_ends)
            or self.run_was_hit(first, since, until)
            or case.is_requeued_between(since, until)
            or any(lease.fence == first.fence and self.is_claim_lost(lease, until) for lease in case.leases)
        )

    def claim_was_hit(self, lease: Lease, until: int) -> bool:
        """Since it was asked for: who was stopped before the answer came holds it all the same."""
        return _touches([*self._by_node.get(lease.node, ()), *self._everywhere], began(lease), until)

    def is_claim_lost(self, lease: Lease, until: int) -> bool:
        """Whether the store may have taken the claim from its holder by then: hit, reborn, or silent for a whole lease."""
        return (
            self.claim_was_hit(lease, until)
            or any(o.boot > lease.boot and began(o) <= until for o in self._opens.get(lease.node, ()))
            or self._was_silent(lease, until)
        )

    def _was_silent(self, lease: Lease, until: int) -> bool:
        if not self._lease_ms:
            renewals = self._book.renewals.get((lease.node, lease.boot), [])
            if any(renewal.type == "fail" and lease.t <= renewal.t and began(renewal) <= until for renewal in renewals):
                return True
            return any(reap.t >= lease.t and began(reap) <= until and reap.count for reap in self._book.reaps)
        signs = self._signs_of_life(lease, until)
        return any(kept - since >= self._lease_ms * 1_000_000 for (since, _), (_, kept) in pairwise(signs))

    def _signs_of_life(self, lease: Lease, until: int) -> list[tuple[int, int]]:
        """When the holder's lease began to count anew: its last renewal before the claim, those after it; then the moment looked at."""
        renewed_at = self._renewed_at.get((lease.node, lease.boot), [])
        born_at = [began(o) for o in self._opens.get(lease.node, ()) if o.boot == lease.boot] or [lease.t]
        first = bisect_left(renewed_at, (began(lease) + 1,)) - 1  # it may have been granted as soon as it was asked for
        before = renewed_at[first] if first >= 0 else (born_at[0], born_at[0])
        after = renewed_at[first + 1 : bisect_left(renewed_at, (until + 1,))]
        return [before, *((since, min(kept, until)) for since, kept in after), (until, until)]


def _gives_up(end: ClaimEnd, fence: int, until: int) -> bool:
    """A hand-back (`release`) is no reason: what was started is not handed back without a failure or a fault."""
    return isinstance(end, Nack | Expire) and end.fence == fence and end.type != "fail" and began(end) <= until


def _touches(faults: list[Fault], since: int, until: int) -> bool:
    return any(fault.t <= until and fault.t1 >= since for fault in faults)
