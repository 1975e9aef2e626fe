"""What a worker reported, or how it died, as outcomes for the queue store. Pure but for the wall clock that is passed in.

Who pays for what: a failure of the function spends a retry; the death of a process is charged to the one job that it was running; several
become suspects, and so does what had returned and was not reported; whatever had not begun goes back unspent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ..job import SUSPICION_LIMIT, Attempt, JobFault, JobState, Record, StoredJob, add_attempt
from ..queue.store import Outcome, OutcomeKind
from ..retry import RetryPolicy
from ..wire.messages import Result, ResultKind, TaskInfo

UNSERVED_DELAY_MS = 1_000


class Costs(msgspec.Struct, frozen=True):
    """The node's side of the rules: defaults where neither the job nor its task says otherwise."""

    max_retries: int
    retry: RetryPolicy
    crash_limit: int


class Judge:
    """Turns reports into outcomes for one node. `uniform` draws from [0, 1) for the jitter."""

    def __init__(self, node: str, costs: Costs, uniform: Callable[[], float]) -> None:
        self._node, self._costs, self._uniform = node, costs, uniform

    def of_results(self, items: Sequence[tuple[StoredJob, int, Result]], worker: str, now_ms: int) -> list[Outcome]:
        """One batch of one worker. The usual case, a first attempt that completed, is spelt out: it is the node's hottest loop."""
        node, outcomes = self._node, []
        completed, finish = JobState.COMPLETED, OutcomeKind.FINISH
        for job, fence, result in items:
            if result.kind == _COMPLETED and not job.attempts:
                started_ms, ended_ms = result.started_us // 1000, result.ended_us // 1000
                job.attempts = (Attempt(fence, node, worker, started_ms, ended_ms, "completed"),)
                record = Record(job, completed, now_ms, result.data)
                outcomes.append(Outcome(fence, job, finish, record))
            else:
                outcomes.append(self.of_result(job, fence, worker, result, now_ms))
        return outcomes

    def of_result(self, job: StoredJob, fence: int, worker: str, result: Result, now_ms: int) -> Outcome:
        kind = result.kind
        if (
            kind == ResultKind.UNSERVED
        ):  # the application changed under its process; the node's own look comes first otherwise
            return Outcome(fence, job, OutcomeKind.SNOOZE, None, UNSERVED_DELAY_MS)
        attempt = Attempt(
            fence,
            self._node,
            worker,
            result.started_us // 1000,
            result.ended_us // 1000,
            _OUTCOME_NAMES[kind],
            result.error,
        )
        add_attempt(job, attempt)
        if kind == ResultKind.COMPLETED:
            record = Record(job, JobState.COMPLETED, now_ms, result.data)
            return Outcome(fence, job, OutcomeKind.FINISH, record)
        if kind == ResultKind.RETRY:
            job.retries += 1
            job.suspicion = 0
            return Outcome(fence, job, OutcomeKind.RETRY, None, result.delay_ms)
        if kind == ResultKind.SNOOZE:
            job.suspicion = 0
            return Outcome(fence, job, OutcomeKind.SNOOZE, None, result.delay_ms)
        return self._failed(job, fence, result.error or JobFault("Unknown", "the worker gave no reason"), now_ms)

    def of_crash(
        self, job: StoredJob, fence: int, worker: str, fault: JobFault, *, started_ms: int, now_ms: int
    ) -> Outcome:
        """The one job that was running, as far as is known. Before the crash that would be the last it goes into quarantine: there it is
        the only one that can have done it, and takes no neighbours along. What came from there goes back there."""
        job.crashes += 1
        if job.crashes >= self._costs.crash_limit - 1:
            job.suspicion = max(job.suspicion, SUSPICION_LIMIT)
        add_attempt(job, Attempt(fence, self._node, worker, started_ms, now_ms, "crashed", fault))
        if job.crashes >= self._costs.crash_limit:
            told = JobFault(
                "WorkerCrashed", f"{fault.message}; {job.crashes} crashes, the limit is {self._costs.crash_limit}"
            )
            return self._failed(job, fence, told, now_ms)
        return Outcome(fence, job, OutcomeKind.RELEASE)

    def of_suspicion(
        self, job: StoredJob, fence: int, worker: str, fault: JobFault, *, started_ms: int, now_ms: int
    ) -> Outcome:
        """One of several that may have been the death of their process: runs again at once; at the second time alone, so that it can be
        charged."""
        job.suspicion += 1
        add_attempt(job, Attempt(fence, self._node, worker, started_ms, now_ms, "lost", fault))
        return Outcome(fence, job, OutcomeKind.RELEASE)

    def of_cancel(
        self, job: StoredJob, fence: int, worker: str, fault: JobFault, *, started_ms: int, now_ms: int
    ) -> Outcome:
        """Told to stop, and still running when its process was killed. Back unspent: the store ends it as cancelled."""
        add_attempt(job, Attempt(fence, self._node, worker, started_ms, now_ms, "cancelled", fault))
        return Outcome(fence, job, OutcomeKind.RELEASE)

    def of_timeout(
        self,
        job: StoredJob,
        fence: int,
        worker: str,
        fault: JobFault,
        *,
        task: TaskInfo | None,
        started_ms: int,
        now_ms: int,
    ) -> Outcome:
        """Killed at its hard limit: a failure of the function, retried as one."""
        add_attempt(job, Attempt(fence, self._node, worker, started_ms, now_ms, "timeout", fault))
        if job.retries >= self.max_retries_of(job, task):
            return self._failed(job, fence, fault, now_ms)
        delay_s = self._policy_of(task).delay_s(job.retries, self._uniform())
        job.retries += 1
        job.suspicion = 0
        return Outcome(fence, job, OutcomeKind.RETRY, None, int(delay_s * 1000))

    def max_retries_of(self, job: StoredJob, task: TaskInfo | None) -> int:
        options = job.spec.options
        if options is not None and options.max_retries is not None:
            return options.max_retries
        if task is not None and task.max_retries is not None:
            return task.max_retries
        return self._costs.max_retries

    def _policy_of(self, task: TaskInfo | None) -> RetryPolicy:
        if task is None or task.retry is None:
            return self._costs.retry
        return RetryPolicy(**msgspec.structs.asdict(task.retry))

    def unserved(self, job: StoredJob, fence: int, known: list[str], now_ms: int) -> Outcome:
        names = ", ".join(sorted(known)[:20])
        fault = JobFault("UnknownTask", f"no node serves task {job.spec.type!r} in queue {job.spec.queue!r}; known tasks: {names}")
        return self._failed(job, fence, fault, now_ms)

    @staticmethod
    def _failed(job: StoredJob, fence: int, fault: JobFault, now_ms: int) -> Outcome:
        return Outcome(fence, job, OutcomeKind.FINISH, Record(job, JobState.FAILED, now_ms, b"", fault))


_COMPLETED = int(ResultKind.COMPLETED)
_OUTCOME_NAMES = {
    int(ResultKind.COMPLETED): "completed",
    int(ResultKind.FAILED): "failed",
    int(ResultKind.RETRY): "retried",
    int(ResultKind.SNOOZE): "snoozed",
}


def released(job: StoredJob, fence: int) -> Outcome:
    """Not started: back as it came."""
    return Outcome(fence, job, OutcomeKind.RELEASE)
