"""One look at a whole cluster, as `zjp top` shows it: the same picture over ZeroMQ and over HTTP.

Over ZeroMQ the node that answers is asked for its numbers, and through it the other nodes, for LOOK_LIMIT_S altogether; how
many jobs finish per second is worked out from two looks. Over HTTP the API has done all that.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import NotAllowed, ZjpError
from ..job import JobFilter, JobState, JobView, format_id
from ..job_json import fault_json, time_json
from ..wire import messages as m
from ..wire.seen import ClusterNode, ClusterReply

if TYPE_CHECKING:
    from ..client.blocking import Client
    from ..client.http_blocking import HttpDoor

RUNNING_MAX = 200
FAILURES_MAX = 20
LOOK_LIMIT_S = 2.0
FINISHED = "zjp_jobs_finished_total"
STATES = ("pending", "scheduled", "retrying", "running")


@dataclass(frozen=True, slots=True)
class NodeRow:
    """Figures are None where the node could not be asked."""

    node: str
    role: str
    health: str
    slots: int | None
    busy: int | None
    uptime_s: float | None
    is_draining: bool | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """`current`: (type, id) of the jobs that it runs, as far as they were listed."""

    node: str
    name: str
    pid: int | None
    state: str
    slots: int
    busy: int
    done: int
    failed: int
    rss_bytes: int
    current: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """`done_per_s`, `failed_per_s`: None at the first look over ZeroMQ. `workers` None: the role may not see them."""

    at_ms: int
    node: str
    version: str
    is_draining: bool
    leader: str
    epoch: int
    algorithm: str
    has_quorum: bool
    done_per_s: float | None
    failed_per_s: float | None
    queues: list[m.QueueCount]
    nodes: list[NodeRow]
    workers: list[WorkerRow] | None
    failures: list[JobView]

    @property
    def totals(self) -> dict[str, int]:
        return {state: sum(getattr(count, state) for count in self.queues) for state in STATES}

    @property
    def alive_count(self) -> int:
        return sum(node.health == "alive" for node in self.nodes)

    @property
    def busy(self) -> tuple[int, int]:
        """(jobs that run, slots) of the nodes that answered."""
        return sum(node.busy or 0 for node in self.nodes), sum(node.slots or 0 for node in self.nodes)

    def as_json(self) -> dict[str, Any]:
        busy, slots = self.busy
        return {
            "at": time_json(self.at_ms),
            "node": self.node,
            "version": self.version,
            "is_draining": self.is_draining,
            "leader": {"node": self.leader, "epoch": self.epoch} if self.leader else None,
            "algorithm": self.algorithm,
            "has_quorum": self.has_quorum,
            "totals": self.totals,
            "done_per_second": self.done_per_s,
            "failed_per_second": self.failed_per_s,
            "slots": slots,
            "busy": busy,
            "queues": [_queue_json(count) for count in self.queues],
            "nodes": [_row_json(node) for node in self.nodes],
            "workers": None if self.workers is None else [_worker_json(worker) for worker in self.workers],
            "failures": [_failure_json(view) for view in self.failures],
        }


class Lookout:
    """Looks again and again with one client; remembers what the rates need."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._meter = Meter()

    def look(self) -> Picture:
        """Raises: ZjpError, TimeoutError."""
        from ..client.http_blocking import HttpDoor

        door = self._client._door  # the API tells more than a client has methods for
        if isinstance(door, HttpDoor):
            return self._by_http(door)
        return self._by_node()

    def _by_node(self) -> Picture:
        client = self._client
        table, cluster = client.stats(), client.cluster()
        tables = {table["node"]: table, **self._others(cluster)}
        done, failed = self._meter.take(tables.values(), time.monotonic())
        current = current_of(self._page(JobState.RUNNING, RUNNING_MAX))
        return Picture(
            at_ms=_now_ms(),
            node=table["node"],
            version=table["version"],
            is_draining=table["is_draining"],
            leader=cluster.leader,
            epoch=cluster.epoch,
            algorithm=cluster.algorithm,
            has_quorum=cluster.has_quorum,
            done_per_s=done,
            failed_per_s=failed,
            queues=[m.QueueCount(**queue) for queue in table["queues"]],
            nodes=[_node_row(node, tables.get(node.node)) for node in cluster.nodes],
            workers=[row for name in sorted(tables) for row in _worker_rows(tables[name], current)],
            failures=self._page(JobState.FAILED, FAILURES_MAX),
        )

    def _others(self, cluster: ClusterReply) -> dict[str, Mapping[str, Any]]:
        from ..client.packing import unpack

        found, end = {}, time.monotonic() + LOOK_LIMIT_S
        for node in cluster.nodes:
            if node.node == cluster.node or not node.is_up or time.monotonic() > end:
                continue
            try:
                reply = self._client.ask_node(node.node, m.AskStats())
            except (ZjpError, TimeoutError):
                continue  # it is shown without figures
            if isinstance(reply, m.Stats):
                found[node.node] = unpack(reply.table, f"the stats of {node.node}")
        return found

    def _by_http(self, door: HttpDoor) -> Picture:
        stats, cluster = self._client.stats(), door.document("/cluster", LOOK_LIMIT_S)
        try:
            listed = door.document("/workers", LOOK_LIMIT_S)["items"]
        except NotAllowed:
            listed = None
        current = current_of(self._page(JobState.RUNNING, RUNNING_MAX))
        return Picture(
            at_ms=_now_ms(),
            node=stats["node"],
            version=stats["version"],
            is_draining=stats["is_draining"],
            leader=cluster["leader"] or "",
            epoch=cluster["epoch"],
            algorithm=cluster["algorithm"],
            has_quorum=cluster["has_quorum"],
            done_per_s=stats["throughput"]["1m"],
            failed_per_s=stats["failures"]["1m"],
            queues=self._client.queues(),
            nodes=[
                NodeRow(
                    node["id"],
                    node["role"],
                    node["status"],
                    node["slots"],
                    node["busy"],
                    node["uptime_seconds"],
                    node["is_draining"],
                )
                for node in cluster["nodes"]
            ],
            workers=None if listed is None else [_worker_row(worker["node"], worker, current) for worker in listed],
            failures=self._page(JobState.FAILED, FAILURES_MAX),
        )

    def _page(self, state: JobState, limit: int) -> list[JobView]:
        """One page and no more: a look must stay cheap however many jobs there are."""
        from ..client.deeds import expect

        return expect(m.Page, self._client._ask(m.List(JobFilter(state=state), b"", limit))).jobs


class Meter:
    """Jobs that finished and failed per second between two looks, from counters that only rise, by node and boot."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, int], tuple[float, float]] = {}
        self._at: float | None = None

    def take(self, tables: Iterable[Mapping[str, Any]], now: float) -> tuple[float | None, float | None]:
        """(finished, failed); None at the first look. A node that is seen for the first time counts from then on."""
        counts = {(table["node"], table["boot"]): _finished_of(table) for table in tables}
        before, began, self._at = self._before, self._at, now
        self._before = {**before, **counts}
        if began is None or now <= began:
            return None, None
        risen = [(was, counts[key]) for key, was in before.items() if key in counts]
        done, failed = (sum(max(0.0, now_[part] - was[part]) for was, now_ in risen) / (now - began) for part in (0, 1))
        return done, failed


def _finished_of(table: Mapping[str, Any]) -> tuple[float, float]:
    """(completed and failed, failed) since the node started."""
    series = table["metrics"].get(FINISHED, {}).get("series", ())
    by_outcome = [(one["labels"][-1], one["value"]) for one in series]
    failed = sum(value for outcome, value in by_outcome if outcome == "failed")
    return failed + sum(value for outcome, value in by_outcome if outcome == "completed"), failed


def current_of(running: Iterable[JobView]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(type, id) of jobs that run, by node and worker."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for view in running:
        found.setdefault((view.node, view.worker), []).append((view.type, format_id(view.id)))
    return found


def _node_row(node: ClusterNode, table: Mapping[str, Any] | None) -> NodeRow:
    if table is None:
        return NodeRow(node.node, node.role, node.health, None, None, None, None)
    slots, busy = (sum(worker[name] for worker in table["workers"]) for name in ("slots", "busy"))
    return NodeRow(node.node, node.role, node.health, slots, busy, table["uptime_s"], table["is_draining"])


def _worker_rows(table: Mapping[str, Any], current: Mapping[tuple[str, str], list[tuple[str, str]]]) -> list[WorkerRow]:
    return [_worker_row(table["node"], worker, current) for worker in table["workers"]]


def _worker_row(
    node: str, worker: Mapping[str, Any], current: Mapping[tuple[str, str], list[tuple[str, str]]]
) -> WorkerRow:
    return WorkerRow(
        node, worker["name"], worker["pid"] or None, worker["state"], worker["slots"], worker["busy"], worker["done"],
        worker["failed"], worker["rss_bytes"], current.get((node, worker["name"]), []),
    )  # fmt: skip


def _queue_json(count: m.QueueCount) -> dict[str, Any]:
    told = {state: getattr(count, state) for state in STATES}
    return {"queue": count.queue, **told, "paused": count.paused, "oldest_seconds": round(count.oldest_s, 3)}


def _row_json(node: NodeRow) -> dict[str, Any]:
    return {
        "id": node.node, "role": node.role, "status": node.health, "slots": node.slots, "busy": node.busy,
        "uptime_seconds": node.uptime_s, "is_draining": node.is_draining,
    }  # fmt: skip


def _worker_json(worker: WorkerRow) -> dict[str, Any]:
    names = ("node", "name", "pid", "state", "slots", "busy", "done", "failed", "rss_bytes")
    return {**{name: getattr(worker, name) for name in names}, "current": [job_id for _, job_id in worker.current]}


def _failure_json(view: JobView) -> dict[str, Any]:
    return {
        "id": format_id(view.id), "type": view.type, "queue": view.queue, "completed_at": time_json(view.finished_ms),
        "error": fault_json(view.error),
    }  # fmt: skip


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
