"""What the demo can honestly say: the records of its jobs against a plain loop over the same files. Pure but for reading the files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..job import JobState, JobView
from ..job_json import unpacked
from . import show
from .demo_index import CannotIndex, index_of, is_flaky

CLOCK_STEP_MS = 1
"""Times are cut to whole ms on their way into the records."""
MISMATCHES_SHOWN = 10
LOST_ATTEMPTS = ("crashed", "lost")


@dataclass(frozen=True, slots=True)
class Asked:
    """One submitted job."""

    id: bytes
    path: str | bytes
    delay_ms: int = 0


@dataclass(slots=True)
class Report:
    """Filled by `judge`. `mismatches`: one text per job that is not as the plain loop says."""

    jobs: int
    seconds: float
    killed: int | None = None
    """The pid."""
    wanted_kill: bool = False
    completed: int = 0
    failed: int = 0
    retries: int = 0
    delayed: int = 0
    lost: int = 0
    hit: int = 0
    again_ms: int = 0
    """The longest time from the kill, as the node saw it, to the next attempt of a job that it hit."""
    waits_ms: list[int] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)

    def fault(self) -> str:
        """What is not as it must be; empty when all is well."""
        if self.lost:
            return f"{self.lost} jobs were lost"
        if self.mismatches:
            return f"{len(self.mismatches)} results are not what the plain loop says"
        if self.killed is not None and not self.hit:
            return "the kill hit no started job, so nothing was shown"
        if self.wanted_kill and self.killed is None:
            return "no worker ran a job long enough to be killed half-way; take a larger folder, or --no-kill"
        return ""

    def lines(self) -> Iterator[str]:
        yield f"jobs {self.jobs}"
        yield f"seconds {self.seconds:.2f}"
        yield f"jobs/s {self.jobs / self.seconds:.0f}"
        yield f"completed {self.completed}"
        yield f"failed for good {self.failed}"
        yield f"wait p50 {show.age(percentile(self.waits_ms, 0.50) / 1000)}"
        yield f"wait p99 {show.age(percentile(self.waits_ms, 0.99) / 1000)}"
        yield f"retries {self.retries}"
        yield f"delayed {self.delayed}"
        yield f"crashes survived {0 if self.killed is None else 1}"
        yield f"started jobs hit by them {self.hit}"
        if self.hit:
            yield f"all run again within {show.age(self.again_ms / 1000)}"
        yield f"different from the plain loop {len(self.mismatches)}"
        yield f"lost {self.lost}"


def judge(asked: Sequence[Asked], found: Mapping[bytes, JobView], seconds: float, killed: int | None) -> Report:
    """`found`: what the node answers for each id, after all were waited for."""
    report = Report(jobs=len(asked), seconds=seconds, killed=killed)
    for one in asked:
        view = found.get(one.id)
        if view is None or not view.status.is_final:
            report.lost += 1
            report.mismatches.append(f"{show.clean(str(one.path))}: {_lost(view)}")
            continue
        report.completed += view.status is JobState.COMPLETED
        report.failed += view.status is JobState.FAILED
        report.retries += view.retries
        report.delayed += one.delay_ms > 0
        report.hit += any(attempt.outcome in LOST_ATTEMPTS for attempt in view.attempts)
        report.again_ms = max(report.again_ms, _again_ms(view))
        first_ms = min((attempt.started_ms for attempt in view.attempts if attempt.started_ms), default=view.started_ms)
        report.waits_ms.append(first_ms - view.created_ms - one.delay_ms)
        report.mismatches += [f"{show.clean(str(one.path))}: {text}" for text in differences(one, view)]
    return report


def differences(one: Asked, view: JobView) -> Iterator[str]:
    """What is not as it must be, by the plain loop's own work on the same file."""
    expected: Any
    try:
        expected, state = index_of(one.path), JobState.COMPLETED
    except CannotIndex:
        expected, state = None, JobState.FAILED
    if view.status is not state:
        error = f" ({view.error.type}: {view.error.message})" if view.error else ""
        yield f"is {view.status.value}{error}, the plain loop says {state.value}"
    elif unpacked(view.result) != expected:
        yield f"result is {unpacked(view.result)}, the plain loop says {expected}"
    retries = 1 if expected is not None and is_flaky(expected) else 0
    if view.retries != retries:
        yield f"was retried {view.retries} times, it fails {retries} times"
    if one.delay_ms and view.started_ms + CLOCK_STEP_MS < view.created_ms + one.delay_ms:
        yield f"started {view.started_ms - view.created_ms} ms after its submit, with a delay of {one.delay_ms} ms"


def _lost(view: JobView | None) -> str:
    if view is None:
        return "the node does not know the job"
    return f"is {view.status.value} after {len(view.attempts)} attempts: {', '.join(one.outcome for one in view.attempts)}"


def _again_ms(view: JobView) -> int:
    pairs = zip(view.attempts, view.attempts[1:], strict=False)
    return max((after.started_ms - hit.ended_ms for hit, after in pairs if hit.outcome in LOST_ATTEMPTS), default=0)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; 0 when there is none."""
    ordered = sorted(values)
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)]) if ordered else 0.0
