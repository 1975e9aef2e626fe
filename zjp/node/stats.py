"""What the node counts, and the one Stats message that tells it all: the table of metrics.py, the workers, the state.

Counting happens once per batch. Gauges are read when somebody asks. How long attempts ran is counted when they are reported, whatever
comes of them; that a job is finished or retried only when the store has accepted it.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from .. import __version__
from ..job import JobState, StoredJob, format_id
from ..metrics import Counters
from ..queue.store import Backlog, Outcome, OutcomeKind, QueueCount
from ..wire.messages import LeaderReply, Result, ResultKind
from ..worker.pool import WorkerState
from .rates import Rate

UNKNOWN = "unknown"
_OUTCOMES = {
    int(ResultKind.COMPLETED): "completed",
    int(ResultKind.FAILED): "failed",
    int(ResultKind.RETRY): "retried",
    int(ResultKind.SNOOZE): "snoozed",
}


class NodeStats:
    def __init__(self, node: str, boot: int) -> None:
        self._node, self._boot = node, boot
        self._started = time.monotonic()
        self._counters = Counters()
        self._finished, self._failed = Rate(), Rate()
        self._counters.set("zjp_build_info", 1, (__version__, platform.python_version()))
        self.known_types: Collection[str] = ()

    def add(self, name: str, amount: float = 1, labels: tuple[str, ...] = ()) -> None:
        self._counters.add(name, amount, labels)

    def submitted(self, created: int, repeated: int) -> None:
        self._counters.add("zjp_jobs_submitted_total", created)
        if repeated:
            self._counters.add("zjp_submits_repeated_total", repeated)

    def ran(self, items: Sequence[tuple[StoredJob, int, Result]]) -> None:
        """One batch of reported attempts: looked at once, and one update per kind of job and outcome in it, not per job."""
        waits_s: list[float] = []
        runs_s: list[float] = []
        alike: dict[tuple[str, str, int], list[float]] = {}
        task, queue, kind = "", "", -1
        for job, _, result in items:
            spec = job.spec
            if result.kind != kind or spec.type != task or spec.queue != queue:  # nearly always the same as of the one before
                task, queue, kind = spec.type, spec.queue, result.kind
                runs_s = alike.setdefault((task, queue, kind), [])
            started_us = result.started_us
            runs_s.append((result.ended_us - started_us) * 1e-6)
            waits_s.append(started_us * 1e-6 - (job.due_ms or job.created_ms) * 1e-3)
        for (task, queue, kind), taken_s in alike.items():
            labels = (self._shown(task), queue, _OUTCOMES.get(kind, UNKNOWN))
            self._counters.observe_many("job_processing_duration_seconds", taken_s, labels)
        if waits_s:
            self._counters.observe_many("zjp_job_wait_seconds", waits_s)

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        """One batch of outcomes that the store accepted, counted like `ran`."""
        task = queue = ""
        what: JobState | OutcomeKind | None = None
        count = 0
        for outcome in outcomes:
            spec, record = outcome.job.spec, outcome.record
            became = outcome.kind if record is None else record.state
            if became is what and spec.type == task and spec.queue == queue:
                count += 1
            else:
                self._ended_alike(task, queue, what, count)
                task, queue, what, count = spec.type, spec.queue, became, 1
        self._ended_alike(task, queue, what, count)

    def cancelled(self, outcomes: Sequence[Outcome]) -> None:
        """Those of jobs that the store ended as cancelled, whatever their outcome says. Few: one update each."""
        for outcome in outcomes:
            self._ended_alike(outcome.job.spec.type, outcome.job.spec.queue, JobState.CANCELLED, 1)

    def withdrawn(self, kinds: Iterable[tuple[str, str]]) -> None:
        """Types and queues of jobs that were cancelled while they waited."""
        for (task, queue), count in Counter(kinds).items():
            self._settled_alike(task, queue, JobState.CANCELLED, count)

    def purged(self, queue: str, count: int) -> None:
        """So many jobs of a queue ended as cancelled, of types that nobody looked at."""
        if count:
            self._counters.add("zjp_jobs_finished_total", count, (UNKNOWN, queue, JobState.CANCELLED.value))

    def _ended_alike(self, task: str, queue: str, what: JobState | OutcomeKind | None, count: int) -> None:
        """Here, after an attempt: what the rates count, unlike jobs that end while they wait."""
        self._settled_alike(task, queue, what, count)
        if isinstance(what, JobState):
            self._finished.add(count)
            if what is JobState.FAILED:
                self._failed.add(count)

    def _settled_alike(self, task: str, queue: str, what: JobState | OutcomeKind | None, count: int) -> None:
        if isinstance(what, JobState):
            self._counters.add("zjp_jobs_finished_total", count, (self._shown(task), queue, what.value))
        elif what is OutcomeKind.RETRY:
            self._counters.add("zjp_retries_total", count)

    def _shown(self, task: str) -> str:
        return task if task in self.known_types else UNKNOWN

    def election_took(self, seconds: float) -> None:
        self._counters.observe_many("zjp_election_duration_seconds", (seconds,))

    def members(self, by_status: Mapping[str, int]) -> None:
        self._counters.replace("zjp_members", {(status,): count for status, count in by_status.items()})

    def store_took(self, operation: str, seconds: float) -> None:
        self._counters.observe("zjp_store_seconds", seconds, (operation,))

    def table(
        self,
        *,
        counts: Sequence[QueueCount],
        workers: Sequence[WorkerState],
        backlog: Backlog,
        records_count: int,
        refused: int = 0,
        is_draining: bool,
        leader: LeaderReply,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> bytes:
        """The Stats message's body. `more`: further rows, as they stand."""
        counters = self._counters
        uptime_s = time.monotonic() - self._started
        counters.set("node_uptime_seconds", uptime_s)
        counters.set("worker_active_gauge", sum(1 for worker in workers if worker.busy))
        counters.set("zjp_records_backlog", backlog.count)
        counters.set("zjp_records_refused", refused)
        counters.set("zjp_election_term", leader.epoch)
        counters.set("zjp_is_leader", leader.is_here and leader.is_in_office)
        counters.replace("zjp_worker_rss_bytes", {(worker.name,): worker.rss_bytes for worker in workers})
        counters.replace("zjp_queue_oldest_seconds", {(count.queue,): count.oldest_s for count in counts})
        depths: dict[tuple[str, ...], float] = {
            (count.queue, state): getattr(count, state)
            for count in counts
            for state in ("pending", "scheduled", "retrying", "running")
        }
        counters.replace("queue_depth_gauge", depths)
        table: dict[str, Any] = {
            "node": self._node,
            "boot": self._boot,
            "version": __version__,
            "uptime_s": uptime_s,
            "is_draining": is_draining,
            "leader": {"node": leader.node, "epoch": leader.epoch, "is_here": leader.is_here},
            "records": records_count,
            "backlog": backlog,
            "queues": [msgspec.structs.asdict(count) for count in counts],
            "workers": [
                msgspec.structs.asdict(worker) | {"current": [format_id(job_id) for job_id in worker.current]} for worker in workers
            ],
            "throughput": self._finished.per_second(),
            "failures": self._failed.per_second(),
            "metrics": counters.snapshot(),
            **more,
        }
        return msgspec.msgpack.encode(table)
