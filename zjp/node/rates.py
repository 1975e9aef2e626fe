"""How many jobs a node finishes: counts by second over the last quarter of an hour, bumped per batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

WINDOWS_S: Mapping[str, int] = MappingProxyType({"1m": 60, "5m": 300, "15m": 900})
RING_S = max(WINDOWS_S.values()) + 1
"""One more than the longest: the present second is not over, and is left out."""


class Rate:
    """`now`: monotonic seconds."""

    __slots__ = ("_counts", "_now", "_second", "_started")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._started = self._second = int(now())
        self._counts = [0] * RING_S

    def add(self, count: int) -> None:
        self._counts[self._turn() % RING_S] += count

    def per_second(self) -> dict[str, float]:
        """By window: the mean over its whole seconds, or over those since the start where they are fewer."""
        second = self._turn()
        told = {}
        for name, window_s in WINDOWS_S.items():
            seconds = range(max(self._started, second - window_s), second)
            told[name] = sum(self._counts[one % RING_S] for one in seconds) / len(seconds) if seconds else 0.0
        return told

    def _turn(self) -> int:
        """The present second; the places of those that have passed since the last look are empty."""
        second = int(self._now())
        for one in range(max(self._second + 1, second - RING_S + 1), second + 1):
            self._counts[one % RING_S] = 0
        self._second = second
        return second
