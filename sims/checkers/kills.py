"""What the kills hit: a kill counts only when the history shows a started job in the victim. Figures, no judgement.

A job of the victim was, at the moment of the kill, in one of

    claim    granted to that node, not started (needs lease lines; kills of nodes only, since a claim does not name the worker)
    run      between its run and its end line
    result   ended in the task, its outcome not yet on its way to the store (without ack lines: ended, and run again after the kill)
    ack      its report was under way to the store (needs ack lines)
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator

import msgspec

from ..lines import End, Fault, Lease, Run
from .case import Case, Casebook, began

LEASES_LOOKED_AT = 10_000
"""A node holds no more unstarted jobs than this; older claims of it are over."""


class Kills(msgspec.Struct, frozen=True, kw_only=True):
    """`started`: kills that hit a started job. `moments`: how many kills hit at least one job there; a kill may hit several.
    `rerun_*_s`: from the signal to the next run of a job that was running in the victim."""

    total: int
    started: int
    moments: dict[str, int]
    hit_jobs: int
    rerun_p50_s: float
    rerun_p99_s: float
    rerun_max_s: float


def count_kills(book: Casebook) -> dict[str, Kills]:
    """By what was killed: the first word of the fault's `val` (worker, node ...)."""
    by_target: dict[str, list[Fault]] = {}
    for fault in book.faults:
        if fault.kind == "kill":
            by_target.setdefault(fault.val.partition(" ")[0] or "unknown", []).append(fault)
    if not by_target:
        return {}
    holders = _Holders(book)
    return {target: _count(holders, faults) for target, faults in by_target.items()}


def _count(holders: _Holders, faults: list[Fault]) -> Kills:
    moments: Counter[str] = Counter(dict.fromkeys(("claim", "run", "result", "ack"), 0))
    reruns: list[int] = []
    started = hit_jobs = 0
    for fault in faults:
        hits = list(holders.hits(fault))
        moments.update({moment for moment, _, _ in hits})
        running = [(case, run) for _, case, run in hits if run is not None]
        started += bool(running)
        hit_jobs += len(running)
        reruns += [again for case, run in running if (again := _rerun_ns(case, run, fault)) is not None]
    reruns.sort()
    return Kills(
        total=len(faults),
        started=started,
        moments=dict(moments),
        hit_jobs=hit_jobs,
        rerun_p50_s=_quantile_s(reruns, 0.5),
        rerun_p99_s=_quantile_s(reruns, 0.99),
        rerun_max_s=_quantile_s(reruns, 1.0),
    )


def _rerun_ns(case: Case, run: Run, fault: Fault) -> int | None:
    return min(
        (later.t - fault.t for later in case.runs if later.fence > run.fence and later.t > fault.t), default=None
    )


def _quantile_s(sorted_ns: list[int], q: float) -> float:
    if not sorted_ns:
        return 0.0
    return sorted_ns[min(len(sorted_ns) - 1, int(q * len(sorted_ns)))] / 1e9


class _Holders:
    """Who held what: runs by process, claims by node."""

    def __init__(self, book: Casebook) -> None:
        self._has_reports = "ack" in book.kinds
        self._runs: dict[int, list[tuple[Case, Run]]] = {}
        self._leases: dict[str, list[tuple[int, Case, Lease]]] = {}
        for case in book.cases.values():
            for run in case.runs:
                self._runs.setdefault(run.pid, []).append((case, run))
            for lease in case.leases:
                self._leases.setdefault(lease.node, []).append((lease.t, case, lease))
        for leases in self._leases.values():
            leases.sort(key=lambda held: held[0])

    def hits(self, fault: Fault) -> Iterator[tuple[str, Case, Run | None]]:
        """(moment, case, its run if it was started) for each job that the victim held."""
        for pid in fault.pids:
            for case, run in self._runs.get(pid, ()):
                moment = self._moment(case, run, fault)
                if moment:
                    yield moment, case, run
        if fault.node:
            yield from self._claimed(fault)

    def _moment(self, case: Case, run: Run, fault: Fault) -> str:
        if run.t > fault.t1:
            return ""
        ends = [end for end in case.ends if end.fence == run.fence and end.t < fault.t]
        if not ends:
            return "" if self._is_reported(case, run.fence, fault.t) else "run"
        if not self._has_reports:
            return "result" if _rerun_ns(case, run, fault) is not None and not _is_failure(ends) else ""
        if self._is_reported(case, run.fence, fault.t):
            return ""
        return "ack" if any(e.fence == run.fence and began(e) <= fault.t1 for e in case.claim_ends) else "result"

    @staticmethod
    def _is_reported(case: Case, fence: int, until: int) -> bool:
        return any(e.fence == fence and e.type in ("ok", "fail") and e.t < until for e in case.claim_ends)

    def _claimed(self, fault: Fault) -> Iterator[tuple[str, Case, Run | None]]:
        leases = self._leases.get(fault.node, [])
        last = bisect_right(leases, fault.t1, key=lambda held: held[0])
        for _, case, lease in leases[max(0, last - LEASES_LOOKED_AT) : last]:
            if not _is_over(case, lease, fault) and not any(run.fence == lease.fence for run in case.runs):
                yield "claim", case, None


def _is_over(case: Case, lease: Lease, fault: Fault) -> bool:
    return any(end.fence == lease.fence and end.type == "ok" and end.t < fault.t for end in case.claim_ends) or any(
        other.fence > lease.fence and other.t <= fault.t for other in case.leases
    )


def _is_failure(ends: list[End]) -> bool:
    return any(end.type != "ok" for end in ends)
