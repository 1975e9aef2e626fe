"""What happens, to everybody who watches: one look at the nodes for all streams.

    pump (while somebody watches) ──► stats every 2 s when they differ, every 15 s anyway; leader on change
    followers, one per node       ──► jobs as they come into a state
                                        │
                                        ▼
    a bounded queue per stream ──► server-sent events

A stream that does not keep up is ended rather than fed with holes: the browser connects again and begins with the present. Streams also
end after LIFE_S, so that a caller whose token or role has gone meanwhile does not go on watching.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import msgspec

from ..errors import ZjpError
from ..job import format_id
from ..job_json import time_json
from ..log import event
from ..wire.desk import AskFeed, Feed
from .caller import Problem
from .cluster import Cluster

STATS_EVERY_S = 2.0
STATS_LEAST_S = 15.0
KEEP_ALIVE_S = 15.0
FEED_WAIT_S = 5.0
RETRY_S = 2.0
LIFE_S = 900.0
STREAMS_MAX = 500
HELD_MAX = 64
"""Events that wait for one stream."""
UNCOUNTED = frozenset({"at", "uptime_seconds"})
"""Of stats: what differs when nothing has happened."""

encode = msgspec.json.Encoder().encode
log = logging.getLogger(__name__)


def sse(name: str, data: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode(data) + b"\n\n"


class Live:
    """One per process. `stop`: the process is ending, and with it every stream."""

    def __init__(self, cluster: Cluster, stop: asyncio.Event) -> None:
        self._cluster, self._stop = cluster, stop
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._followers: dict[str, asyncio.Task[None]] = {}
        self._last: dict[str, tuple[object, float, bytes]] = {}
        """By event: what was told last, when, as bytes."""

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The events for one watcher. Raises: Problem 503, ZjpError before the first one."""
        if len(self._watchers) >= STREAMS_MAX:
            raise Problem(
                503,
                "Service Unavailable",
                f"{STREAMS_MAX} streams are open already; ask /api/v1/stats now and then instead",
            )
        await self._look()
        return self._events()

    async def _events(self) -> AsyncGenerator[bytes, None]:
        mine: asyncio.Queue[bytes | None] = asyncio.Queue(HELD_MAX)
        self._watchers.add(mine)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.ensure_future(self._run())
        loop = asyncio.get_running_loop()
        end = loop.time() + LIFE_S
        try:
            yield b"retry: %d\n\n" % (RETRY_S * 1000) + b"".join(told for _, _, told in self._last.values())
            while loop.time() < end:
                try:
                    part = await asyncio.wait_for(mine.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    part = b": keep-alive\n\n"
                if part is None:
                    return
                yield part
        finally:
            self._watchers.discard(mine)

    def _tell(self, part: bytes | None) -> None:
        for watcher in list(self._watchers):
            try:
                watcher.put_nowait(part)
            except asyncio.QueueFull:
                self._cut(watcher)

    def _cut(self, watcher: asyncio.Queue[bytes | None]) -> None:
        self._watchers.discard(watcher)
        with suppress(asyncio.QueueEmpty):
            watcher.get_nowait()
        watcher.put_nowait(None)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        """While somebody watches."""
        try:
            while self._watchers and not self._stop.is_set():
                await self._try_look()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), STATS_EVERY_S)
        finally:
            for follower in self._followers.values():
                follower.cancel()
            self._followers.clear()
            self._last.clear()
            self._tell(None)

    async def _try_look(self) -> None:
        try:
            await self._look()
        except ZjpError as fault:
            event(log, logging.DEBUG, "api.nothing_to_tell", reason=str(fault))
        except Exception:
            log.exception("api.looking_failed")

    async def _look(self) -> None:
        """Raises: ZjpError."""
        stats, reply = await asyncio.gather(self._cluster.stats_json(), self._cluster.reply())
        self._tell_new(
            "stats", stats, {name: value for name, value in stats.items() if name not in UNCOUNTED}, STATS_LEAST_S
        )
        leader = {
            "node": reply.leader or None, "epoch": reply.epoch, "fencing_token": reply.epoch, "algorithm": reply.algorithm,
            "has_quorum": reply.has_quorum, "is_in_office": reply.is_in_office,
        }  # fmt: skip
        self._tell_new("leader", leader, leader, None)
        if self._watchers:
            self._follow_those({one.node for one in reply.nodes if one.is_up or one.node == reply.node}, own=reply.node)

    def _follow_those(self, nodes: set[str], own: str) -> None:
        for node in list(self._followers):
            if node not in nodes or self._followers[node].done():
                self._followers.pop(node).cancel()
        for node in nodes - self._followers.keys():
            self._followers[node] = asyncio.ensure_future(self._follow(node, is_own=node == own))

    def _tell_new(self, name: str, data: object, core: object, least_s: float | None) -> None:
        """To all, when its core differs or the last time is too long ago."""
        now = asyncio.get_running_loop().time()
        if name in self._last:
            before, at, _ = self._last[name]
            if before == core and (least_s is None or now - at < least_s):
                return
        part = sse(name, data)
        self._last[name] = core, now, part
        self._tell(part)

    async def _follow(self, node: str, *, is_own: bool) -> None:
        """What happens to jobs on one node."""
        place = 0
        while self._watchers and not self._stop.is_set():
            try:
                feed = await self._cluster.feed(node, AskFeed(place, round(FEED_WAIT_S * 1000)), is_own=is_own)
            except ZjpError as fault:
                event(log, logging.DEBUG, "api.no_feed", node=node, reason=str(fault))
                await asyncio.sleep(RETRY_S)
                continue
            except Exception:
                log.exception("api.following_failed")
                await asyncio.sleep(RETRY_S)
                continue
            place = feed.place
            if feed.happened or feed.left_out:
                self._tell(sse("jobs", feed_json(feed, node)))


def feed_json(feed: Feed, node: str) -> dict[str, Any]:
    happened = [
        {
            "at": time_json(one.at_ms),
            "id": format_id(one.id),
            "type": one.type,
            "queue": one.queue,
            "state": one.state,
            "node": node,
        }
        for one in feed.happened
    ]
    return {"happened": happened, "left_out": feed.left_out}
