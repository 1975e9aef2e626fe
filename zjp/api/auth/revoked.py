"""Tokens that were ended before their time by a log-out, until they would have expired anyway. Bounded.

A log-out counts at once where it was asked for. Through the audit, where it stands with the token's number, the other HTTP doors of the
cluster learn of it, and this one after a restart: within seconds, as long as the records answer. What must end everywhere for sure ends by
the user's epoch: change the password.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from typing import Protocol

from ...errors import WireError, ZjpError
from ...log import event
from ...tokens import Claims
from ...wire.desk import EVENTS_MAX, Events

REVOKED_MAX = 100_000
"""One user's log-outs are bounded by log-ins, and those by the time that a password takes: this is hours of nothing else."""
LOGOUT = "logout"
LOOK_S = 2.0
OVERLAP_S = 60.0
"""Looked at again each time: clocks differ, and records come late."""
LOOK_BACK_S_MAX = 86400.0
PAGES_MAX = 20

log = logging.getLogger(__name__)


class Revoked:
    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._by_end: list[tuple[int, str]] = []

    def __contains__(self, claims: Claims) -> bool:
        return claims.jti in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, jti: str, expires_at: int, now: float) -> None:
        """Times in Unix seconds. When there is no room, the one that would expire first is forgotten."""
        while self._by_end and (self._by_end[0][0] <= now or len(self._by_end) >= REVOKED_MAX):
            self._ids.discard(heapq.heappop(self._by_end)[1])
        if jti not in self._ids and expires_at > now:
            self._ids.add(jti)
            heapq.heappush(self._by_end, (expires_at, jti))


class Source(Protocol):
    """What of a client is needed here."""

    async def events(
        self, kind: str = "", *, since_ms: int = 0, until_ms: int = 0, cursor: bytes = b"", limit: int = 50
    ) -> Events: ...


class Logouts:
    """Reads the audit for log-outs, now and then, while somebody shows tokens. Nobody waits for it. `life_s`: of a token."""

    def __init__(
        self,
        source: Source,
        revoked: Revoked,
        life_s: float,
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source, self._revoked, self._clock, self._wall = source, revoked, clock, wall
        self._since = wall() - min(life_s, LOOK_BACK_S_MAX) - OVERLAP_S
        self._looked_at = -1e9
        self._reading: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Begin to read, unless it was read a moment ago, or is being read."""
        now = self._clock()
        if now - self._looked_at >= LOOK_S and (self._reading is None or self._reading.done()):
            self._looked_at = now
            self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        began, cursor = self._wall(), b""
        try:
            for _ in range(PAGES_MAX):
                page = await self._source.events(
                    "audit", since_ms=int(self._since * 1000), cursor=cursor, limit=EVENTS_MAX
                )
                for seen in page.events:
                    if seen.what == LOGOUT:
                        self._take(seen.subject)
                cursor = page.cursor
                if not cursor:
                    break
            self._since = began - OVERLAP_S
        except (ZjpError, TimeoutError) as fault:
            level = (
                logging.ERROR if isinstance(fault, WireError) else logging.DEBUG
            )  # who serves requests tells of a node that is away
            event(log, level, "auth.logouts_not_read", error=str(fault))

    def _take(self, subject: str) -> None:
        *_, jti, expires_at = ["", "", *subject.split(" ")]
        if jti and expires_at.isascii() and expires_at.isdigit():
            self._revoked.add(jti, int(expires_at), self._wall())


def subject_of(claims: Claims) -> str:
    """What the audit has of a token that was ended: whose, its number, and until when that matters."""
    return f"{claims.name} {claims.jti} {claims.expires_at}"
