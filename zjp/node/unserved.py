"""Task types that jobs ask for and this node does not serve: how long that has been so. Pure: the monotonic time is passed in.

The time is that of a type in a queue, not the job's: however many jobs of it there are, each learns on its next turn that nobody has
served it for UNSERVED_GRACE_S, and fails. A type that nobody has asked for during that time is forgotten: a job that comes later has all of
it again.

Jobs come back ever more rarely, at most every 15 s, so a type is never forgotten while jobs of it wait.

Nodes tell one another what they serve in words: a task type, and behind tabs the queues they serve, unless these are all. A node that has
the application and not the queue never gets the job.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

UNSERVED_GRACE_S = 60.0
UNSERVED_DELAY_S = (1.0, 15.0)
UNSERVED_TYPES_MAX = 1_000
"""Types that have a time of their own; all further ones share one. Names come from clients, and nothing bounds how many they think of."""
_FURTHER = "", ""


def words_of(tasks: Iterable[str], queues: Collection[str]) -> list[str]:
    """What a node says that serves these tasks' jobs in these queues, or in all (`*` is among them)."""
    ending = "" if "*" in queues else "".join([f"\t{queue}" for queue in sorted(queues)])
    return [task + ending for task in sorted(tasks)]


class Unserved:
    def __init__(self) -> None:
        self._times: dict[tuple[str, str], tuple[float, float]] = {}
        """type, queue -> monotonic (first asked for, last asked for)"""
        self._told: dict[tuple[str, str], float] = {}
        """Likewise -> when it was last told as new. Where nodes of several applications share a queue, a type is new again each second."""

    def seen(self, task: str, queue: str, now: float) -> tuple[float | None, bool]:
        """A job of this type was claimed from this queue. Returns (seconds until it should come again, or None when it should fail; first
        of its type, which is told once in UNSERVED_GRACE_S)."""
        key = self._counted_as((task, queue), now)
        since, last = self._times.get(key, (now, now))
        is_new = key not in self._times or now - last >= UNSERVED_GRACE_S
        if is_new:
            since = now
        self._times[key] = since, now
        waited_s = now - since
        if waited_s >= UNSERVED_GRACE_S:
            return None, False
        return min(max(waited_s, UNSERVED_DELAY_S[0]), UNSERVED_DELAY_S[1]), is_new and self._is_to_be_told(key, now)

    def now_served(self, words: Iterable[str]) -> None:
        """This node or others serve these: should one of them vanish, its time begins anew."""
        if not self._times:
            return
        everywhere: set[str] = set()
        in_queues: set[tuple[str, str]] = set()
        for word in words:
            task, *queues = word.split("\t")
            in_queues.update([(task, queue) for queue in queues])
            if not queues:
                everywhere.add(task)
        self._times = {key: times for key, times in self._times.items() if key[0] not in everywhere and key not in in_queues}

    def _is_to_be_told(self, key: tuple[str, str], now: float) -> bool:
        if now - self._told.get(key, -math.inf) < UNSERVED_GRACE_S:
            return False
        if len(self._told) >= UNSERVED_TYPES_MAX:
            self._told = {name: at for name, at in self._told.items() if now - at < UNSERVED_GRACE_S}
        self._told[key] = now
        return True

    def _counted_as(self, key: tuple[str, str], now: float) -> tuple[str, str]:
        if key in self._times or len(self._times) < UNSERVED_TYPES_MAX:
            return key
        if now - min(last for _, last in self._times.values()) >= UNSERVED_GRACE_S:
            self._times = {name: times for name, times in self._times.items() if now - times[1] < UNSERVED_GRACE_S}
            return self._counted_as(key, now)
        return _FURTHER
