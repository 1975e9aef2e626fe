"""What this node saw happen to the cluster, kept for whoever asks later: elections, members, what operators did.

    core ──told──┐
    mesh ──met───┼──► waiting ──once a second, in bulk──► records (events.py)
    operators ───┘        └──► the last few hundred, here: what is told while the records are away, or have not got it yet

Nobody waits for an event, and none is promised: those that the records do not take wait for the next second, the oldest beyond HELD_MAX are
dropped and counted in the log, and a node that dies takes its last second with it. Kinds: `election`, `member`, `mesh`, `audit`; what it
was stands in the data under `what`, and who did it under `who`.

Since when no leader is known is counted here too, as a figure of its own. What an election cost is told with it, counted from the last
that was heard of the former leader: one that falls silent leads nobody any more, long before it is given up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from ..election.core import MS, SECOND, Happened, Kind, Time
from ..errors import Unavailable
from ..job import make_id
from ..log import event
from ..records.events import Event, EventFilter, place_of
from ..records.store import RecordStore
from ..wire.seen import HISTORY_MAX, Change
from .stats import NodeStats

EVERY_S = 1.0
LAST_S = 1.0
"""For the last of them, at the end."""
HELD_MAX = 2_000
APPEND_MAX = 500
PAGE = 500
PAGES_MAX = 4
"""Of the records, for one history: other nodes' events lie between ours."""
ELECTION, MEMBER, MESH, AUDIT = "election", "member", "mesh", "audit"

log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Chronicle:
    """`start`, then `stop`; what happens before or after is kept, but reaches no records."""

    def __init__(
        self,
        node: str,
        records: RecordStore,
        stats: NodeStats,
        *,
        wall_ms: Callable[[], int] = _wall_ms,
        now: Callable[[], Time] = time.monotonic_ns,
    ) -> None:
        self._node, self._records, self._stats = node, records, stats
        self._wall_ms, self._now = wall_ms, now
        self._session, self._made = secrets.randbits(42), 0
        self._waiting: deque[Event] = deque()
        self._recent: deque[Event] = deque(maxlen=HISTORY_MAX)
        """Elections only."""
        self._dropped = 0
        self._is_away = False
        self._leaderless_since: Time | None = now()
        """When the last one was heard last; none, now: since the start."""
        self._counted_since = self._leaderless_since
        """What is before is in the metric."""
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="chronicle")

    async def stop(self) -> None:
        if self._loop is None:
            return
        self._loop.cancel()
        await asyncio.gather(self._loop, return_exceptions=True)
        self._loop = None
        try:
            async with asyncio.timeout(LAST_S):
                await self.flush()
        except TimeoutError:
            event(log, logging.WARNING, "events.not_written", count=len(self._waiting))

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def told(self, happened: Happened) -> None:
        """By the election core."""
        is_of_member = happened.kind.value.startswith("member_")
        data = {
            "what": happened.kind.value,
            "epoch": happened.epoch,
            "why": happened.why,
            "took_ms": round(happened.took / MS),
        }
        if happened.kind is Kind.LEADER_ELECTED:
            data["leaderless_ms"] = round(self.leaderless_for / MS)
            if happened.took:
                self._stats.election_took(happened.took / SECOND)
        self._keep(MEMBER if is_of_member else ELECTION, happened.node, data)

    def met(self, peer: str, is_up: bool) -> None:
        """By the mesh."""
        self._keep(MESH, peer, {"what": "met" if is_up else "lost"})

    def did(self, what: str, subject: str, who: str, **more: Any) -> None:
        """An operator, through this node."""
        self._keep(AUDIT, subject, {"what": what, "who": who, **more})

    def _keep(self, kind: str, subject: str, data: dict[str, Any]) -> None:
        at_ms = self._wall_ms()
        self._made += 1
        one = Event(make_id(at_ms, self._session, self._made), at_ms, kind, self._node, subject, _encode(data))
        if kind == ELECTION:
            self._recent.append(one)
        self._waiting.append(one)
        if len(self._waiting) > HELD_MAX:
            self._waiting.popleft()
            self._dropped += 1

    # ── without a leader ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def leader_is(self, name: str, silent: Time = 0) -> None:
        """As this node knows it now; empty: nobody, and for `silent` nothing had been heard of the former one."""
        if name:
            self.count()
            self._leaderless_since = None
        elif self._leaderless_since is None:
            self._counted_since = self._now()
            self._leaderless_since = self._counted_since - silent

    @property
    def leaderless_for(self) -> Time:
        return 0 if self._leaderless_since is None else self._now() - self._leaderless_since

    def count(self) -> None:
        """Bring the metric up to now."""
        if self._leaderless_since is not None and self._counted_since is not None:
            now = self._now()
            self._stats.add("zjp_leaderless_seconds_total", (now - self._counted_since) / SECOND)
            self._counted_since = now

    # ── to the records ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.flush()
            except Exception:
                log.exception("events.failed")
                self._stats.add("zjp_internal_errors_total")

    async def flush(self) -> None:
        """All that waits; what the records do not take stays. An event that was appended twice is there once."""
        try:
            while self._waiting:
                part = [self._waiting[index] for index in range(min(APPEND_MAX, len(self._waiting)))]
                await self._records.append_events(part)
                written = {one.id for one in part}
                while self._waiting and self._waiting[0].id in written:
                    self._waiting.popleft()
        except Unavailable as fault:
            if not self._is_away:
                event(log, logging.WARNING, "events.put_off", reason=str(fault), waiting=len(self._waiting))
            self._is_away = True
            return
        if self._is_away:
            event(log, logging.INFO, "events.written_again", dropped=self._dropped)
            self._is_away, self._dropped = False, 0

    # ── looking back ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def waiting(self) -> list[Event]:
        """What the records do not have yet."""
        return list(self._waiting)

    async def history(self, limit: int) -> list[Change]:
        """The latest changes of the leadership that this node saw, in this life and before, newest first."""
        limit = max(1, min(limit, HISTORY_MAX))
        found = {one.id: one for one in self._recent}
        if len(found) < limit:
            try:
                found |= await self._recorded(limit)
            except Unavailable as fault:
                event(log, logging.WARNING, "history.records_away", reason=str(fault))
        newest = sorted(found.values(), key=place_of, reverse=True)
        return [change_of(one) for one in newest[:limit]]

    async def _recorded(self, limit: int) -> dict[bytes, Event]:
        """Raises: Unavailable."""
        found: dict[bytes, Event] = {}
        cursor = b""
        for _ in range(PAGES_MAX):
            page = await self._records.list_events(EventFilter(kind=ELECTION), cursor, PAGE)
            found |= {one.id: one for one in page.events if one.node == self._node}
            cursor = page.cursor
            if not cursor or len(found) >= limit:
                break
        return found


def change_of(one: Event) -> Change:
    data = _decode(one.data)
    return Change(
        one.at_ms, str(data.get("what", "")), one.subject, int(data.get("epoch", 0)), str(data.get("why", "")),
        int(data.get("took_ms", 0)), int(data.get("leaderless_ms", 0)),
    )  # fmt: skip
