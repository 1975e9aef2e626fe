"""What the node counts, and the one Stats message that tells it all: the table of metrics.py, the workers, the state.

Counting happens once per batch. Gauges are read when somebody asks.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from .. import __version__
from ..job import StoredJob
from ..metrics import Counters
from ..queue.store import Backlog, QueueCount
from ..wire.messages import Result, ResultKind
from ..worker.pool import WorkerState

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
        self._counters.set("zjp_build_info", 1, (__version__, platform.python_version()))
        self.known_types: Collection[str] = ()

    def add(self, name: str, amount: float = 1) -> None:
        self._counters.add(name, amount)

    def submitted(self, created: int, repeated: int) -> None:
        self._counters.add("zjp_jobs_submitted_total", created)
        if repeated:
            self._counters.add("zjp_submits_repeated_total", repeated)

    def finished(self, items: Sequence[tuple[StoredJob, int, Result]]) -> None:
        """One batch of results: one update per run of jobs of the same kind in it, not per job."""
        waits_s: list[float] = []
        runs_s: list[float] = []
        group: tuple[str, str, int] | None = None
        for job, _, result in items:
            spec = job.spec
            if group is None or group[0] != spec.type or group[2] != result.kind or group[1] != spec.queue:
                if group is not None:
                    self._finished_alike(group, runs_s)
                group, runs_s = (spec.type, spec.queue, result.kind), []
            runs_s.append((result.ended_us - result.started_us) * 1e-6)
            waits_s.append(result.started_us * 1e-6 - (job.due_ms or job.created_ms) * 1e-3)
        if group is not None:
            self._finished_alike(group, runs_s)
            self._counters.observe_many("zjp_job_wait_seconds", waits_s)

    def _finished_alike(self, group: tuple[str, str, int], runs_s: list[float]) -> None:
        task, queue, kind = group
        labels = (task if task in self.known_types else UNKNOWN, queue, _OUTCOMES.get(kind, UNKNOWN))
        self._counters.observe_many("job_processing_duration_seconds", runs_s, labels)
        if kind in (ResultKind.COMPLETED, ResultKind.FAILED):
            self._counters.add("zjp_jobs_finished_total", len(runs_s), labels)
        elif kind == ResultKind.RETRY:
            self._counters.add("zjp_retries_total", len(runs_s))

    def store_took(self, operation: str, seconds: float) -> None:
        self._counters.observe_many("zjp_store_seconds", (seconds,), (operation,))

    def table(
        self,
        *,
        counts: Sequence[QueueCount],
        workers: Sequence[WorkerState],
        backlog: Backlog,
        records_count: int,
        is_draining: bool,
    ) -> bytes:
        """The Stats message's body."""
        counters = self._counters
        uptime_s = time.monotonic() - self._started
        counters.set("node_uptime_seconds", uptime_s)
        counters.set("worker_active_gauge", sum(1 for worker in workers if worker.busy))
        counters.set("zjp_records_backlog", backlog.count)
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
            "records": records_count,
            "backlog": backlog,
            "queues": [msgspec.structs.asdict(count) for count in counts],
            "workers": [msgspec.structs.asdict(worker) for worker in workers],
            "metrics": counters.snapshot(),
        }
        return msgspec.msgpack.encode(table)
