"""What all nodes together tell: who is there, what each counts, and how fast jobs finish.

The node behind the gate answers for itself; the others are asked through it, at the same time, each with a second to answer. A node that
does not, or cannot since its store is away, is shown with what the mesh knows of it: who is there and who leads is in the nodes' memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ..client.asyncio import AsyncClient
from ..client.deeds import expect
from ..client.packing import unpack
from ..errors import ZjpError
from ..job_json import time_json
from ..wire import messages as m
from ..wire.desk import AskFeed, Feed
from ..wire.seen import ClusterNode, ClusterReply
from .asking import ask
from .glance import Glance

CLUSTER_S = 1.0
PARTIAL_S = 0.1
"""How long tables are kept that lack a node which should be there: it may answer in the next moment, as all do after an outage of the
store. Above zero, so that one that always refuses is not asked for every caller."""
NODE_LIMIT_S = 1.5
STATS_LIMIT_S = 3.0
FEED_GRACE_S = 5.0
WINDOWS = ("1m", "5m", "15m")
Table = dict[str, Any]


async def stats_of(client: AsyncClient) -> Table:
    """What the node that is spoken to counts. Raises: ZjpError, soon: whoever looks wants to know what is wrong."""
    reply = await ask(client, m.Stats, m.AskStats(), STATS_LIMIT_S)
    table: Table = unpack(reply.table, "the node's stats")
    return table


class Cluster:
    """`stats`: of the node that is spoken to."""

    def __init__(self, client: AsyncClient, stats: Glance[Table]) -> None:
        self._client, self._own = client, stats
        self.reply: Glance[ClusterReply] = Glance(client.cluster, CLUSTER_S)
        self.tables: Glance[dict[str, Table]] = Glance(self._ask_all, CLUSTER_S)

    async def _ask_all(self) -> dict[str, Table]:
        reply, own = await asyncio.gather(self.reply(), self._ask_own())
        others = [one.node for one in reply.nodes if one.node != reply.node and one.is_up]
        answers = [own, *await asyncio.gather(*(self._ask(node) for node in others))]
        if None in answers:
            self.tables.hasten(PARTIAL_S)
        return {table["node"]: table for table in answers if table is not None}

    async def _ask_own(self) -> Table | None:
        try:
            return await asyncio.wait_for(self._own(), NODE_LIMIT_S)
        except (ZjpError, TimeoutError):
            return None

    async def _ask(self, node: str) -> Table | None:
        try:
            reply = await asyncio.wait_for(self._client.ask_node(node, m.AskStats()), NODE_LIMIT_S)
        except (ZjpError, TimeoutError):
            return None
        return unpack(reply.table, f"the stats of {node}") if isinstance(reply, m.Stats) else None

    async def feed(self, node: str, request: AskFeed, *, is_own: bool) -> Feed:
        """What happened to jobs there. Raises: ZjpError."""
        if is_own:
            return await ask(self._client, Feed, request, request.timeout_ms / 1000 + FEED_GRACE_S)
        reply = await self._client.ask_node(node, request)
        return expect(Feed, reply)

    # ── as it is shown ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stats_json(self) -> dict[str, Any]:
        own, reply, tables = await asyncio.gather(self._own(), self.reply(), self.tables())
        tables = tables | {own["node"]: own}
        queues = [queue_of(count) for count in own["queues"]]
        workers = [worker for table in tables.values() for worker in table["workers"]]
        return {
            "at": time_json(time.time_ns() // 1_000_000),
            "node": own["node"],
            "version": own["version"],
            "uptime_seconds": round(own["uptime_s"], 3),
            "is_draining": own["is_draining"],
            "algorithm": reply.algorithm,
            "leader": {"node": reply.leader, "epoch": reply.epoch} if reply.leader else None,
            "totals": {
                state: sum(queue[state] for queue in queues)
                for state in ("pending", "scheduled", "retrying", "running")
            },
            "queues": queues,
            "records": own["records"],
            "backlog": own["backlog"]["count"],
            "throughput": _added(tables.values(), "throughput"),
            "failures": _added(tables.values(), "failures"),
            "workers": {
                "total": len(workers),
                "ready": sum(worker["state"] == "ready" for worker in workers),
                "busy": sum(worker["busy"] for worker in workers),
                "slots": sum(worker["slots"] for worker in workers),
            },
            "nodes": {"alive": sum(one.health == "alive" for one in reply.nodes), "total": len(reply.nodes)},
        }

    async def nodes_json(self) -> list[dict[str, Any]]:
        reply, tables = await asyncio.gather(self.reply(), self.tables())
        return [node_json(one, reply, tables.get(one.node)) for one in reply.nodes]

    async def workers_json(self) -> list[dict[str, Any]]:
        own, tables = await asyncio.gather(self._own(), self.tables())
        tables = tables | {own["node"]: own}
        return [worker_json(node, worker) for node, table in sorted(tables.items()) for worker in table["workers"]]


def _added(tables: Iterable[Table], what: str) -> dict[str, float]:
    """Jobs per second of all nodes, by window."""
    shares = [table[what] for table in tables]
    return {window: round(sum(share[window] for share in shares), 3) for window in WINDOWS}


def queue_of(count: Mapping[str, Any]) -> dict[str, Any]:
    return {**{name: count[name] for name in _QUEUE}, "oldest_seconds": round(count["oldest_s"], 3)}


_QUEUE = ("queue", "pending", "scheduled", "retrying", "running", "paused")


def node_json(one: ClusterNode, reply: ClusterReply, table: Table | None) -> dict[str, Any]:
    workers = table["workers"] if table is not None else []
    return {
        "id": one.node,
        "address": one.address or None,
        "role": one.role,
        "status": one.health,
        "version": table["version"] if table is not None else None,
        "priority": one.priority,
        "is_leader": one.node == reply.leader,
        "is_draining": table["is_draining"] if table is not None else None,
        "slots": sum(worker["slots"] for worker in workers) if table is not None else None,
        "busy": sum(worker["busy"] for worker in workers) if table is not None else None,
        "uptime_seconds": round(table["uptime_s"], 3) if table is not None else None,
        "boot": one.boot or None,
        "since": time_json(one.since_ms),
    }


def worker_json(node: str, worker: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "node": node,
        "name": worker["name"],
        "pid": worker["pid"] or None,
        "state": worker["state"],
        "slots": worker["slots"],
        "busy": worker["busy"],
        "current": worker["current"],
        "done": worker["done"],
        "failed": worker["failed"],
        "rss_bytes": worker["rss_bytes"],
        "started_at": time_json(worker["started_at_ms"]),
    }
