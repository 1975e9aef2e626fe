"""Figures of a run that no check gives: how soon jobs of the dead ran again, how busy the workers were, what drains cost. From the history.

A kill of a worker is *calm* when the nemesis found the crew complete and no backlog before it, and left it alone until the jobs it
hit ran again; only such kills say how soon the node recovers from one. The others are a storm of faults: they say what is survived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sims.checkers.case import Case, Casebook, began
from sims.lines import Fault, Line, Nack, Release, Run
from tests.chaos.jobs import SLOTS
from zjp.job import Priority

NS = 1_000_000_000
CALM = "calm"
"""Last word of the fault line of such a kill."""


@dataclass(frozen=True)
class Times:
    """In seconds, rising."""

    seconds: Sequence[float]

    @property
    def count(self) -> int:
        return len(self.seconds)

    def at(self, share: float) -> float:
        """A quantile, 0.0 when there is nothing."""
        return self.seconds[min(self.count - 1, int(share * self.count))] if self.seconds else 0.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """`worker_reruns`: after calm kills, jobs of normal priority and above; `low_reruns`: the others, which wait for those first.
    `hand_backs`: from a calm kill until the job was ready again, whatever its priority. `node_reruns` count from the kill, so with the
    node's start. `spent_by_drains`: attempts. `leases_lost_early`: the store gave a lease up though it had been renewed less than a
    lease ago."""

    worker_reruns: Times
    low_reruns: Times
    hand_backs: Times
    storm_reruns: Times
    node_reruns: Times
    busy: float
    jobs_per_s: float
    handed_back_by_drains: int
    spent_by_drains: int
    leases_lost_early: int


def measure(ops: Sequence[Line]) -> Figures:
    book = Casebook(ops)
    runs = Runs(book)
    reruns: dict[str, list[float]] = {"calm": [], "low": [], "storm": [], "node": []}
    hand_backs: list[float] = []
    for fault in book.faults:
        if fault.kind == "kill":
            mood = "node" if fault.node else "calm" if fault.val.endswith(CALM) else "storm"
            for case, again_t in runs.again(fault):
                reruns["low" if mood == "calm" and is_low(case) else mood].append((again_t - fault.t) / NS)
            if mood == "calm":
                hand_backs += [(ready_t - fault.t) / NS for ready_t in runs.handed_back(fault)]
    times = {mood: Times(sorted(seconds)) for mood, seconds in reruns.items()}
    handed_back, spent = _drain_cost(book, runs)
    return Figures(
        worker_reruns=times["calm"],
        low_reruns=times["low"],
        hand_backs=Times(sorted(hand_backs)),
        storm_reruns=times["storm"],
        node_reruns=times["node"],
        busy=runs.busy(),
        jobs_per_s=runs.per_s(),
        handed_back_by_drains=handed_back,
        spent_by_drains=spent,
        leases_lost_early=_lost_early(book),
    )


def is_low(case: Case) -> bool:
    """Whether it waits for jobs of normal priority before it runs again."""
    return any(submit.priority < Priority.NORMAL for submit in (*case.asked, *case.acks))


class Runs:
    """All runs, by process and by time."""

    def __init__(self, book: Casebook) -> None:
        self._by_pid: dict[int, list[tuple[Case, Run]]] = {}
        self._starts: list[int] = []
        self._busy_ns = self._jobs = 0
        for case in book.cases.values():
            self._jobs += bool(case.runs)
            ends = {end.fence: end.t for end in case.ends}
            for run in case.runs:
                self._by_pid.setdefault(run.pid, []).append((case, run))
                self._starts.append(run.t)
                self._busy_ns += max(0, ends.get(run.fence, run.t) - run.t)
        self._starts.sort()

    def hit(self, fault: Fault) -> Iterator[tuple[Case, Run]]:
        """Those that were started in the victims, and whose end the store had not been told."""
        for pid in fault.pids:
            for case, run in self._by_pid.get(pid, ()):
                if run.t <= fault.t1 and not case.requeues and not _was_told(case, run, fault.t):
                    yield case, run

    def handed_back(self, fault: Fault) -> Iterator[int]:
        """When the store had each of them ready again."""
        for case, run in self.hit(fault):
            yield from (end.t for end in case.accepted(Release) if end.fence == run.fence and end.t > fault.t)

    def again(self, fault: Fault) -> Iterator[tuple[Case, int]]:
        """When each of them ran again; those that did not (cancelled, given up, reported after all) are left out."""
        for case, run in self.hit(fault):
            if any(isinstance(end, Nack) and end.fence == run.fence and end.type == "ok" for end in case.claim_ends):
                continue  # its failure was reported: what follows is a retry, after its delay
            later = [other.t for other in case.runs if other.fence > run.fence and other.t > fault.t]
            if later:
                yield case, min(later)

    def busy(self) -> float:
        """Share of the slots' time, from the first run to the last, that tasks spent running to their end."""
        return self._busy_ns / self._span_ns() / SLOTS

    def per_s(self) -> float:
        return self._jobs / self._span_ns() * NS

    def _span_ns(self) -> int:
        return max(1, self._starts[-1] - self._starts[0]) if self._starts else 1


def _was_told(case: Case, run: Run, t: int) -> bool:
    return any(end.fence == run.fence and end.type in ("ok", "fail") and end.t < t for end in case.claim_ends)


def _drain_cost(book: Casebook, runs: Runs) -> tuple[int, int]:
    """(jobs that drains cut off and handed back, those of them whose next run counts as another attempt)."""
    handed_back = spent = 0
    for fault in book.faults:
        if fault.kind != "drain":
            continue
        for case, run in runs.hit(fault):
            later = sorted((other for other in case.runs if other.fence > run.fence), key=lambda other: other.fence)
            has_ended = any(end.fence == run.fence for end in case.ends)
            if later and not has_ended:
                handed_back += 1
                spent += later[0].attempt > run.attempt
    return handed_back, spent


def _lost_early(book: Casebook) -> int:
    """A renewal counts from when it was asked for: it was carried out some time before its answer."""
    count = 0
    lease_ns = max((opened.lease_ms for opened in book.opens), default=0) * 1_000_000
    born_at = {(opened.node, opened.boot): opened.t for opened in book.opens}
    for life, renewals in book.renewals.items():
        kept_at = born_at.get(life, 0)
        for renewal in renewals:
            count += renewal.type == "fail" and renewal.t - kept_at < lease_ns
            kept_at = began(renewal)
    return count
