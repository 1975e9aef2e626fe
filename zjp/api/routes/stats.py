"""Numbers: queues, throughput, this node, the leader."""

from __future__ import annotations

import msgspec

from ...wire.messages import Role
from ..shapes import QueueShape, Time
from ..table import Answer, Call, NoQuery, Route


class LeaderOf(msgspec.Struct):
    node: str
    epoch: int


class Totals(msgspec.Struct):
    pending: int
    scheduled: int
    retrying: int
    running: int


class WorkersOf(msgspec.Struct):
    """Of all nodes that answer. `busy`: jobs that run."""

    total: int
    ready: int
    busy: int
    slots: int


class NodesOf(msgspec.Struct):
    alive: int
    total: int


class StatsShape(msgspec.Struct):
    """`throughput`: jobs per second that completed or failed, on all nodes, over 1m, 5m and 15m; `failures`: those that failed for good.
    `records`: finished jobs that are kept; `backlog`: those on their way there."""

    at: Time
    node: str
    version: str
    uptime_seconds: float
    is_draining: bool
    algorithm: str
    leader: LeaderOf | None
    totals: Totals
    queues: list[QueueShape]
    records: int
    backlog: int
    throughput: dict[str, float]
    failures: dict[str, float]
    workers: WorkersOf
    nodes: NodesOf


async def stats(call: Call[None, NoQuery]) -> Answer:
    return Answer(await call.desk.cluster.stats_json())


ROUTES = (
    Route(
        "GET", "/api/v1/stats", Role.WORKER, "Queue depths, throughput, this node, the leader.", stats, None, NoQuery, StatsShape,
        group="Numbers",
    ),
)  # fmt: skip
