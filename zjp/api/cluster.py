"""What all nodes together tell: who is there, what each counts, and how fast jobs finish.

The node behind the gate answers for itself; the others are asked through it, at the same time, each with a second to answer. A node that
does not is shown with what the mesh knows of it. How many jobs finish per second is worked out here, from the counters as they rise
between two samples: they are the nodes' own, so nothing is counted twice, and a node that begins anew begins at nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..client.asyncio import AsyncClient
from ..client.deeds import expect
from ..client.packing import unpack
from ..errors import ZjpError
from ..job import JobFilter, JobState, format_id
from ..job_json import time_json
from ..log import event
from ..wire import messages as m
from ..wire.desk import AskFeed, Feed
from ..wire.seen import ClusterNode, ClusterReply
from .asking import ask
from .glance import Glance

CLUSTER_S = 1.0
NODE_LIMIT_S = 1.5
STATS_LIMIT_S = 3.0
SAMPLE_S = 5.0
FEED_GRACE_S = 5.0
WINDOWS_S: Mapping[str, float] = {"1m": 60.0, "5m": 300.0, "15m": 900.0}
RUNNING_SHOWN_MAX = m.LIST_LIMIT_MAX
"""Jobs whose worker is looked up for the list of workers."""
FINISHED = "zjp_jobs_finished_total"
Table = dict[str, Any]

log = logging.getLogger(__name__)


class Rates:
    """Jobs that finished and that failed, as sums that only rise, over the last quarter of an hour."""

    class _Sample(NamedTuple):
        at: float
        finished: float
        failed: float

    def __init__(self) -> None:
        self._samples: deque[Rates._Sample] = deque(maxlen=int(max(WINDOWS_S.values()) / SAMPLE_S) + 2)
        self._last: dict[tuple[str, int], tuple[float, float]] = {}
        """By node and boot, its counters."""

    def take(self, tables: Iterable[Table], now: float) -> None:
        """One look at all nodes that answered. `now`: monotonic seconds."""
        finished = failed = 0.0
        is_first = not self._samples
        if not is_first:
            _, finished, failed = self._samples[-1]
        eldest_s = 0.0
        for table in tables:
            key = (table["node"], table["boot"])
            counts = finished_of(table)
            before = self._last.get(key, (0.0, 0.0) if is_first or table["uptime_s"] < SAMPLE_S * 3 else counts)
            finished += max(0.0, counts[0] - before[0])
            failed += max(0.0, counts[1] - before[1])
            self._last[key] = counts
            eldest_s = max(eldest_s, table["uptime_s"])
        if is_first:
            self._samples.append(self._Sample(now - eldest_s, 0.0, 0.0))
        self._samples.append(self._Sample(now, finished, failed))

    def per_second(self, now: float) -> tuple[dict[str, float], dict[str, float]]:
        """(finished, failed), by window. Of a younger system: over its age."""
        if not self._samples:
            return dict.fromkeys(WINDOWS_S, 0.0), dict.fromkeys(WINDOWS_S, 0.0)
        done: dict[str, float] = {}
        lost: dict[str, float] = {}
        last = self._samples[-1]
        for name, window_s in WINDOWS_S.items():
            first = self._at(last.at - window_s)
            took_s = max(1.0, last.at - max(first.at, last.at - window_s))
            done[name] = round((last.finished - first.finished) / took_s, 3)
            lost[name] = round((last.failed - first.failed) / took_s, 3)
        return done, lost

    def _at(self, at: float) -> _Sample:
        """The sums as of then: between two samples they are taken to rise evenly."""
        after = next(sample for sample in self._samples if sample.at >= at)
        before = next((sample for sample in reversed(self._samples) if sample.at < at), None)
        if before is None:
            return after
        share = (at - before.at) / (after.at - before.at)
        return self._Sample(
            at,
            before.finished + share * (after.finished - before.finished),
            before.failed + share * (after.failed - before.failed),
        )


def finished_of(table: Table) -> tuple[float, float]:
    """(completed and failed, failed) of one node since it started. Cancelled jobs were not worked on."""
    done = lost = 0.0
    for series in table["metrics"].get(FINISHED, {}).get("series", ()):
        outcome = series["labels"][-1]
        if outcome in ("completed", "failed"):
            done += series["value"]
            lost += series["value"] if outcome == "failed" else 0.0
    return done, lost


async def stats_of(client: AsyncClient) -> Table:
    """What the node that is spoken to counts. Raises: ZjpError, soon: whoever looks wants to know what is wrong."""
    reply = await ask(client, m.Stats, m.AskStats(), STATS_LIMIT_S)
    table: Table = unpack(reply.table, "the node's stats")
    return table


class Cluster:
    """`stats`: of the node that is spoken to."""

    def __init__(self, client: AsyncClient, stats: Glance[Table], stop: asyncio.Event) -> None:
        self._client, self._own, self._stop = client, stats, stop
        self.reply: Glance[ClusterReply] = Glance(client.cluster, CLUSTER_S)
        self.tables: Glance[dict[str, Table]] = Glance(self._ask_all, CLUSTER_S)
        self.rates = Rates()

    async def sample(self) -> None:
        """Look now and then, for the rates; until the process stops."""
        while not self._stop.is_set():
            try:
                self.rates.take((await self.tables()).values(), time.monotonic())
            except ZjpError as fault:
                event(log, logging.DEBUG, "api.no_sample", reason=str(fault))
            except Exception:
                log.exception("api.sampling_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), SAMPLE_S)

    async def _ask_all(self) -> dict[str, Table]:
        reply, own = await asyncio.gather(self.reply(), self._own())
        others = [one.node for one in reply.nodes if one.node != own["node"] and one.is_up]
        answers = await asyncio.gather(*(self._ask(node) for node in others))
        found = {own["node"]: own}
        found.update({table["node"]: table for table in answers if table is not None})
        return found

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
        queues = [queue_of(count) for count in own["queues"]]
        done, lost = self.rates.per_second(time.monotonic())
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
            "throughput": done,
            "failures": lost,
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
        tables, running = await asyncio.gather(self.tables(), self._running())
        return [
            worker_json(node, worker, running) for node, table in sorted(tables.items()) for worker in table["workers"]
        ]

    async def _running(self) -> dict[tuple[str, str], list[str]]:
        """Ids of running jobs, by node and worker."""
        wanted = m.List(JobFilter(state=JobState.RUNNING), b"", RUNNING_SHOWN_MAX)
        page = await ask(self._client, m.Page, wanted)
        found: dict[tuple[str, str], list[str]] = {}
        for view in page.jobs:
            found.setdefault((view.node, view.worker), []).append(format_id(view.id))
        return found


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


def worker_json(node: str, worker: Mapping[str, Any], running: Mapping[tuple[str, str], list[str]]) -> dict[str, Any]:
    current = worker.get("current")
    return {
        "node": node,
        "name": worker["name"],
        "pid": worker["pid"] or None,
        "state": worker["state"],
        "slots": worker["slots"],
        "busy": worker["busy"],
        "current": running.get((node, worker["name"]), [])
        if current is None
        else [format_id(job_id) for job_id in current],
        "done": worker["done"],
        "failed": worker["failed"],
        "rss_bytes": worker["rss_bytes"],
        "started_at": time_json(worker.get("started_ms", 0)),
    }
