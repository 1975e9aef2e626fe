"""Nodes and their workers: who is there, what they do, drain and resume."""

from __future__ import annotations

from typing import Any

import msgspec

from ...client.deeds import expect
from ...errors import NotFound
from ...wire import messages as m
from ...wire.messages import Role
from ...wire.seen import DrainNode
from ..shapes import PageOf, Time
from ..table import Answer, Call, NoQuery, Route


class NodeShape(msgspec.Struct):
    """`status`: alive, suspect, dead or left, `since` when. Figures are null where the node could not be
    asked, or its store is away."""

    id: str
    address: str | None
    role: str
    status: str
    version: str | None
    priority: int
    is_leader: bool
    is_draining: bool | None
    slots: int | None
    busy: int | None
    uptime_seconds: float | None
    boot: int | None
    since: Time


class NodePage(PageOf):
    items: list[NodeShape]


class WorkerShape(msgspec.Struct):
    """A worker process. `busy`: jobs that it runs; `current`: their ids, as far as they are known."""

    node: str
    name: str
    pid: int | None
    state: str
    slots: int
    busy: int
    current: list[str]
    done: int
    failed: int
    rss_bytes: int
    started_at: Time


class WorkerPage(PageOf):
    items: list[WorkerShape]


class ClusterShape(msgspec.Struct):
    """As the answering `node` sees it. `quorum` 0: the store alone decides who leads. `is_leader_idle`: the store does not confirm the
    leader, so schedules do not fire. `kept_voters`, `other_voters`: those that the node kept, and those that the store names instead, which
    is why it has no part in elections; empty while the two are the same."""

    name: str
    node: str
    leader: str | None
    epoch: int
    algorithm: str
    quorum: int
    has_quorum: bool
    voters: list[str]
    nodes: list[NodeShape]
    is_leader_idle: bool
    kept_voters: list[str]
    other_voters: list[str]


class DrainShape(msgspec.Struct):
    """`held`: jobs that the node still holds."""

    node: str
    is_draining: bool
    held: int


async def workers(call: Call[None, NoQuery]) -> Answer:
    return Answer({"items": await call.desk.cluster.workers_json(), "cursor": None})


async def nodes(call: Call[None, NoQuery]) -> Answer:
    return Answer({"items": await call.desk.cluster.nodes_json(), "cursor": None})


async def cluster(call: Call[None, NoQuery]) -> Answer:
    seen = call.desk.cluster
    reply = await seen.reply()
    told = {
        "name": call.desk.settings.cluster_name,
        "node": reply.node,
        "leader": reply.leader or None,
        "epoch": reply.epoch,
        "algorithm": reply.algorithm,
        "quorum": reply.quorum,
        "has_quorum": reply.has_quorum,
        "voters": reply.voters,
        "nodes": await seen.nodes_json(),
        "is_leader_idle": reply.is_leader_idle,
        "kept_voters": reply.kept_voters,
        "other_voters": reply.other_voters,
    }
    return Answer(told)


async def drain(call: Call[None, NoQuery]) -> Answer:
    return await _set_draining(call, is_draining=True)


async def resume(call: Call[None, NoQuery]) -> Answer:
    return await _set_draining(call, is_draining=False)


async def _set_draining(call: Call[Any, Any], *, is_draining: bool) -> Answer:
    node, client = call.path["node"], call.desk.voice(call.caller)
    reply = await client.cluster()
    if node == reply.node:
        held = await client.drain(node, is_draining)
    elif node in {one.node for one in reply.nodes}:
        held = expect(m.Done, await client.ask_node(node, DrainNode(node, is_draining))).count
    else:
        raise NotFound(f"no node {node!r}; /api/v1/nodes lists those that are")
    return Answer(DrainShape(node, is_draining, held))


GROUP = "Cluster"
_MISSING = {404: "No such node."}
ROUTES = (
    Route(
        "GET", "/api/v1/workers", Role.ADMIN, "Every worker process of every node that answers.", workers, None, NoQuery, WorkerPage,
        group=GROUP,
    ),
    Route("GET", "/api/v1/nodes", Role.ADMIN, "Every node, with its load.", nodes, None, NoQuery, NodePage, group=GROUP),
    Route(
        "GET", "/api/v1/cluster", Role.WORKER, "Who is in the cluster and who leads it.", cluster, None, NoQuery, ClusterShape,
        group=GROUP,
    ),
    Route(
        "POST", "/api/v1/nodes/{node}/drain", Role.ADMIN, "The node takes no more jobs and finishes what runs.", drain, None, NoQuery,
        DrainShape, statuses=_MISSING, group=GROUP,
    ),
    Route(
        "POST", "/api/v1/nodes/{node}/resume", Role.ADMIN, "Undo a drain.", resume, None, NoQuery, DrainShape, statuses=_MISSING,
        group=GROUP,
    ),
)  # fmt: skip
