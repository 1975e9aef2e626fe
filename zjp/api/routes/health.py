"""Is it well: overall, alive, ready. Open to everybody, cheap, and without secrets."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from ... import __version__
from ...errors import NodeUnreachable, ZjpError
from ..desk import Desk
from ..table import Answer, Call, NoQuery, Route

LOOK_S = 4.0
"""A node that has not answered by then is not ready."""


class HealthShape(msgspec.Struct):
    """`status`: ok, degraded (it works, but somebody should look) or down. `reasons`: why it is not ok."""

    status: str
    version: str
    node: str | None
    leader: str | None
    reasons: list[str]


class AliveShape(msgspec.Struct):
    status: str


class ReadyShape(msgspec.Struct):
    """`reasons`: why it is not ready."""

    status: str
    reasons: list[str]


async def health(call: Call[None, NoQuery]) -> Answer:
    """200 also when something is wrong: what has to be done about it is in the body. Probes use the other two."""
    table, reasons = await look(call.desk)
    told = HealthShape("down" if reasons else "ok", __version__, None, None, reasons)
    if table is not None:
        told.node, told.leader = table["node"], table["leader"]["node"] or None
        if told.leader is None:
            reasons.append("nobody leads; schedules and clean-up wait")
        if table["workers"] and not all(worker["state"] == "ready" for worker in table["workers"]):
            reasons.append("not every worker process is ready")
        if reasons and told.status == "ok":
            told.status = "degraded"
    return Answer(told)


async def alive(call: Call[None, NoQuery]) -> Answer:
    """The loop turns."""
    return Answer(AliveShape("ok"))


async def ready(call: Call[None, NoQuery]) -> Answer:
    _, reasons = await look(call.desk)
    return Answer(ReadyShape("not ready" if reasons else "ready", reasons), 503 if reasons else 200)


async def look(desk: Desk) -> tuple[dict[str, Any] | None, list[str]]:
    """What the node counts, and why it takes no jobs. It counts what waits by asking the store, so that is asked with it."""
    if desk.stop.is_set():
        return None, ["this process is stopping"]
    try:
        table = await asyncio.wait_for(desk.stats(), LOOK_S)
    except TimeoutError:
        return None, [f"the node has not answered within {LOOK_S:g} s"]
    except NodeUnreachable:
        return None, ["the node cannot be reached"]
    except ZjpError as fault:
        return None, [f"the node refuses: {fault.code}"]
    return table, reasons_of(table)


def reasons_of(table: dict[str, Any]) -> list[str]:
    reasons = []
    if table["is_draining"]:
        reasons.append("the node is draining")
    workers = table["workers"]
    if workers and not any(worker["state"] == "ready" for worker in workers):
        reasons.append("no worker process is ready")
    return reasons


GROUP = "Health"
ROUTES = (
    Route("GET", "/health", None, "How it is, in detail.", health, None, NoQuery, HealthShape, group=GROUP),
    Route("GET", "/healthz", None, "Alive: the process answers.", alive, None, NoQuery, AliveShape, group=GROUP),
    Route(
        "GET", "/readyz", None, "Ready: the store answers, workers are up, it is not draining.", ready, None, NoQuery, ReadyShape,
        statuses={503: "Not ready; `reasons` says why."}, group=GROUP,
    ),
)  # fmt: skip
