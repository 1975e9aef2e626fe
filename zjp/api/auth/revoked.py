"""Tokens that were ended before their time by a log-out, until they would have expired anyway. Bounded.

Lives in one process. What must end everywhere at once ends by the user's epoch: change the password.
"""

from __future__ import annotations

import heapq

from ...tokens import Claims

REVOKED_MAX = 100_000
"""One user's log-outs are bounded by log-ins, and those by the time that a password takes: this is hours of nothing else."""


class Revoked:
    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._by_end: list[tuple[int, str]] = []

    def __contains__(self, claims: Claims) -> bool:
        return claims.jti in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, claims: Claims, now: float) -> None:
        """`now` in Unix seconds. When there is no room, the one that would expire first is forgotten."""
        while self._by_end and (self._by_end[0][0] <= now or len(self._by_end) >= REVOKED_MAX):
            self._ids.discard(heapq.heappop(self._by_end)[1])
        if claims.jti not in self._ids and claims.expires_at > now:
            self._ids.add(claims.jti)
            heapq.heappush(self._by_end, (claims.expires_at, claims.jti))
