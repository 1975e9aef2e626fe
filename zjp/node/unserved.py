"""Task types that jobs ask for and this node does not serve: how long that has been so. Pure: the monotonic time is passed in.

The time is the type's, not the job's: however many jobs of it there are, each learns on its next turn that nobody has served it for
UNSERVED_GRACE_S, and fails. A type that nobody has asked for during that time is forgotten: a job that comes later has all of it again.

Jobs come back ever more rarely, at most every 15 s, so a type is never forgotten while jobs of it wait.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

UNSERVED_GRACE_S = 60.0
UNSERVED_DELAY_S = (1.0, 15.0)
UNSERVED_TYPES_MAX = 1_000
"""Types that have a time of their own; all further ones share one. Names come from clients, and nothing bounds how many they think of."""
_FURTHER = ""


class Unserved:
    def __init__(self) -> None:
        self._times: dict[str, tuple[float, float]] = {}
        """type -> monotonic (first asked for, last asked for)"""
        self._told: dict[str, float] = {}
        """type -> when it was last told as new. On a queue that nodes of several applications share, a type is new again each second."""

    def seen(self, task: str, now: float) -> tuple[float | None, bool]:
        """A job of this type was claimed. Returns (seconds until it should come again, or None when it should fail; first of its
        type, which is told once in UNSERVED_GRACE_S)."""
        task = self._counted_as(task, now)
        since, last = self._times.get(task, (now, now))
        is_new = task not in self._times or now - last >= UNSERVED_GRACE_S
        if is_new:
            since = now
        self._times[task] = since, now
        waited_s = now - since
        if waited_s >= UNSERVED_GRACE_S:
            return None, False
        return min(max(waited_s, UNSERVED_DELAY_S[0]), UNSERVED_DELAY_S[1]), is_new and self._is_to_be_told(task, now)

    def now_served(self, tasks: Iterable[str]) -> None:
        """The application, or another node's, has these: should one of them vanish, its time begins anew."""
        for task in tasks:
            self._times.pop(task, None)

    def _is_to_be_told(self, task: str, now: float) -> bool:
        if now - self._told.get(task, -math.inf) < UNSERVED_GRACE_S:
            return False
        if len(self._told) >= UNSERVED_TYPES_MAX:
            self._told = {name: at for name, at in self._told.items() if now - at < UNSERVED_GRACE_S}
        self._told[task] = now
        return True

    def _counted_as(self, task: str, now: float) -> str:
        if task in self._times or len(self._times) < UNSERVED_TYPES_MAX:
            return task
        if now - min(last for _, last in self._times.values()) >= UNSERVED_GRACE_S:
            self._times = {name: times for name, times in self._times.items() if now - times[1] < UNSERVED_GRACE_S}
            return self._counted_as(task, now)
        return _FURTHER
