"""Every metric: its name, labels and help text, and the counters behind them.

`TABLE` is the promise to users; a series that is not in it cannot be counted. `Counters` holds plain numbers and bucket arrays,
bumped once per batch by whoever did the work, and gives all of it as one plain dict (`snapshot`), which is what the Stats message
carries. Rendering for Prometheus happens elsewhere (api/exposition.py), from that dict. Pure: durations come from the caller, no clock is
read.

One endpoint tells what two processes count: the node, and the HTTP process that serves /metrics and asks the node for its table. Some
figures are no counters at all and stand in the node's state already; they are rows here too and are read off there. `Teller` says which.

Labels are bounded: a task type that no node registers is counted as `unknown` by the caller, and beyond `SERIES_MAX` different
label values of one metric all further ones are counted together as `other`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import fsum
from types import MappingProxyType
from typing import Any

SERIES_MAX = 1000
"""Label combinations of one metric."""
OTHER = "other"


class MetricKind(Enum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Teller(Enum):
    """Who knows the numbers of a row."""

    NODE = "node"
    STATE = "state"
    """The node's state in the Stats message, beside its counters."""
    HTTP = "http"
    """The process that serves the HTTP API and /metrics."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table. `bounds`: upper bounds of a histogram's buckets, rising; the last bucket, +Inf, is not named."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = ()
    teller: Teller = Teller.NODE


RUN_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""From a no-op task to JOB_TIMEOUT's default."""
WAIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0)
"""From an idle system's latency to a backlog of hours."""
STORE_BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""From a round trip to the two seconds after which a store counts as down."""

ELECTION_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From one round trip to several rounds that failed."""

HTTP_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""From one submit in a batch to the longest wait for a result."""

_C, _G, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM

_ROWS = (
    Metric(
        "job_processing_duration_seconds",
        _H,
        ("type", "queue", "outcome"),
        "How long attempts ran, by outcome.",
        RUN_BOUNDS_S,
    ),
    Metric("worker_active_gauge", _G, (), "Worker processes that run a job right now."),
    Metric("queue_depth_gauge", _G, ("queue", "state"), "Jobs that are not finished, by state."),
    Metric("node_uptime_seconds", _G, (), "Seconds since this node started."),
    Metric("zjp_jobs_submitted_total", _C, (), "Jobs this node accepted and stored."),
    Metric("zjp_jobs_finished_total", _C, ("type", "queue", "outcome"), "Jobs this node finished; of purged ones the type is unknown."),
    Metric("zjp_job_wait_seconds", _H, (), "From due to started.", WAIT_BOUNDS_S),
    Metric("zjp_queue_oldest_seconds", _G, ("queue",), "Age of the oldest job that is due."),
    Metric("zjp_retries_total", _C, (), "Failed attempts that were given another one."),
    Metric("zjp_leases_expired_total", _C, (), "Jobs taken back from nodes that fell silent."),
    Metric("zjp_fenced_writes_total", _C, (), "Writes refused: the attempt no longer held the job, or the node no longer led."),
    Metric("election_leader_changes_total", _C, ("algorithm",), "Leaders that this node saw come."),
    Metric("zjp_election_term", _G, (), "The epoch of the leadership, as far as this node knows."),
    Metric("zjp_is_leader", _G, (), "1 while this node does the leader's duties."),
    Metric("zjp_members", _G, ("status",), "Nodes of the cluster as this one sees them."),
    Metric("zjp_election_duration_seconds", _H, (), "Elections that this node won, from the first step to the last.", ELECTION_BOUNDS_S),
    Metric("zjp_leaderless_seconds_total", _C, (), "How long this node knew of no leader."),
    Metric("zjp_peer_drops_total", _C, ("why",), "Messages between nodes that were refused, or could not be sent."),
    Metric("zjp_schedule_ticks_total", _C, (), "Jobs that this node made for schedules, as the leader."),
    Metric("zjp_store_seconds", _H, ("operation",), "Time of one operation of the queue store.", STORE_BOUNDS_S),
    Metric("zjp_submits_repeated_total", _C, (), "Submitted jobs that existed already, or whose unique key was held."),
    Metric("zjp_api_ends_total", _C, (), "Ends of the HTTP API's process that the node did not ask for."),
    Metric("zjp_worker_crashes_total", _C, (), "Worker processes that died, or were killed at a time limit."),
    Metric(
        "zjp_wire_errors_total", _C, (), "Messages refused because they were no message of this protocol or cluster."
    ),
    Metric("zjp_connections_refused_total", _C, ("reason",), "Handshakes, and messages of revoked keys, that CURVE refused."),
    Metric("zjp_replies_dropped_total", _C, (), "Replies to clients that were gone."),
    Metric("zjp_internal_errors_total", _C, (), "Errors of zjp itself; the log has each with its traceback."),
    Metric("zjp_records_backlog", _G, (), "Finished jobs that wait for the records."),
    Metric("zjp_records_refused", _G, (), "Finished jobs that the records refuse for good, as far as this node tried."),
    Metric("zjp_worker_rss_bytes", _G, ("worker",), "Resident memory of a worker process."),
    Metric("zjp_build_info", _G, ("version", "python"), "Always 1; the labels say what runs."),
    Metric("zjp_slots", _G, (), "Jobs that may run at once on this node.", teller=Teller.STATE),
    Metric("zjp_slots_busy", _G, (), "Jobs that run on this node right now.", teller=Teller.STATE),
    Metric("zjp_queue_paused", _G, ("queue",), "1 while the queue is paused.", teller=Teller.STATE),
    Metric("zjp_node_draining", _G, (), "1 while this node takes no new jobs.", teller=Teller.STATE),
    Metric("zjp_records", _G, (), "Finished jobs in the records.", teller=Teller.STATE),
    Metric("zjp_up", _G, (), "1 while the node answers the process that serves this.", teller=Teller.HTTP),
    Metric("zjp_store_up", _G, (), "1 while the node can read its queue.", teller=Teller.HTTP),
    Metric(
        "zjp_http_requests_seconds",
        _H,
        ("method", "route", "status"),
        "Time of HTTP requests; of streams, until they began.",
        HTTP_BOUNDS_S,
        Teller.HTTP,
    ),
    Metric("zjp_api_cpu_seconds_total", _C, (), "CPU time of the HTTP process.", teller=Teller.HTTP),
    Metric("zjp_api_rss_bytes", _G, (), "Resident memory of the HTTP process.", teller=Teller.HTTP),
    Metric("zjp_api_start_time_seconds", _G, (), "When the HTTP process started, as Unix time.", teller=Teller.HTTP),
)

TABLE: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ROWS})
"""Name -> row, for everything this version tells."""


@dataclass(slots=True)
class _Buckets:
    """One histogram series. `counts[i]`: values at most `bounds[i]` and above the bound before; the last: above all."""

    counts: list[int]
    sum: float = 0.0


@dataclass(slots=True)
class Counters:
    """The numbers of one process. Not shared between threads.

    Label values are given as a tuple in the order of the metric's `labels`. What the node counts without labels is 0 from the start;
    anything else has no series before it is told.
    """

    _numbers: dict[str, dict[tuple[str, ...], float]] = field(default_factory=dict)
    _buckets: dict[str, dict[tuple[str, ...], _Buckets]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for metric in TABLE.values():
            if metric.kind is MetricKind.HISTOGRAM:
                self._buckets[metric.name] = {}
            else:
                is_zero = metric.teller is Teller.NODE and not metric.labels
                self._numbers[metric.name] = {(): 0} if is_zero else {}

    def add(self, name: str, amount: float = 1, labels: tuple[str, ...] = ()) -> None:
        """Raise a counter."""
        assert TABLE[name].kind is _C, f"{name} is no counter"
        assert amount >= 0, f"{name} cannot fall, given {amount}"
        series = self._numbers[name]
        labels = _bounded(name, labels, series)
        series[labels] = series.get(labels, 0) + amount

    def set(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Set a gauge."""
        assert TABLE[name].kind is _G, f"{name} is no gauge"
        series = self._numbers[name]
        series[_bounded(name, labels, series)] = value

    def replace(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set all series of a gauge at once; those not named are gone (a queue that was emptied, a worker that ended)."""
        assert TABLE[name].kind is _G, f"{name} is no gauge"
        self._numbers[name] = {}
        for labels, value in values.items():
            self.set(name, value, labels)

    def observe(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Count one value into a histogram, as `observe_many` does."""
        buckets, value = self._of(name, labels), max(value, 0.0)
        buckets.counts[bisect_left(TABLE[name].bounds, value)] += 1
        buckets.sum += value

    def observe_many(self, name: str, values: Iterable[float], labels: tuple[str, ...] = ()) -> None:
        """Count values into a histogram. What is below 0 counts as 0: the difference of two looks at a wall clock that was set back
        meanwhile, and a sum must not fall."""
        bounds, buckets = TABLE[name].bounds, self._of(name, labels)
        # Sorting the batch once and finding each bound in it is several times cheaper than finding each value among the bounds.
        counts, ordered, below = buckets.counts, sorted(values), 0
        if ordered and ordered[0] < 0:
            ordered = [max(value, 0.0) for value in ordered]
        for index, bound in enumerate(bounds):
            upto = bisect_right(ordered, bound, below)
            counts[index] += upto - below
            below = upto
        counts[-1] += len(ordered) - below
        buckets.sum += fsum(ordered)

    def _of(self, name: str, labels: tuple[str, ...]) -> _Buckets:
        series = self._buckets[name]
        labels = _bounded(name, labels, series)
        buckets = series.get(labels)
        if buckets is None:
            buckets = series[labels] = _Buckets([0] * (len(TABLE[name].bounds) + 1))
        return buckets

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """All of it as plain data, in the order of the table: name -> type, help, labels, bounds, series.

        A series is `{"labels": [...], "value": x}`, or for a histogram `{"labels": [...], "counts": [...], "sum": s}` with one
        count per bucket (not cumulated), the last being +Inf.
        """
        return {metric.name: {**_described(metric), "series": self._series(metric)} for metric in TABLE.values()}

    def _series(self, metric: Metric) -> list[dict[str, Any]]:
        if metric.kind is MetricKind.HISTOGRAM:
            found = self._buckets[metric.name].items()
            return [
                {"labels": list(labels), "counts": list(series.counts), "sum": series.sum} for labels, series in found
            ]
        return [{"labels": list(labels), "value": value} for labels, value in self._numbers[metric.name].items()]


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """An upper estimate of a quantile of a histogram: the bound of the bucket it falls in; None when empty, inf beyond the last.

    `share`: 0.5 for the median, 0.99 for p99.
    """
    wanted = share * sum(counts)
    reached = 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        reached += count
        if count and reached >= wanted:
            return bound
    return None


def _described(metric: Metric) -> dict[str, Any]:
    return {
        "type": metric.kind.value,
        "help": metric.help,
        "labels": list(metric.labels),
        "bounds": list(metric.bounds),
    }


def _bounded(name: str, labels: tuple[str, ...], series: Mapping[tuple[str, ...], Any]) -> tuple[str, ...]:
    expected = TABLE[name].labels
    assert len(labels) == len(expected), f"{name} has labels {expected}, given {labels}"
    if labels in series or len(series) < SERIES_MAX:
        return labels
    return (OTHER,) * len(labels)
