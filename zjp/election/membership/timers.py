"""The many deadlines of a core behind the one timer that its driver has. A heap, from which a cancelled entry falls when it is reached."""

from __future__ import annotations

from enum import IntEnum
from heapq import heapify, heappop, heappush

from ..core import Time


class What(IntEnum):
    """What a deadline is for; with a name or number where there are several of the kind."""

    PERIOD = 0
    DIRECT = 1
    """The ping of this period was not answered directly."""
    NACK = 2
    SUSPICION = 3
    GOSSIP = 4
    GREET = 5
    SYNC = 6
    CONTACT = 7
    FORGET = 8


Key = tuple[What, str | int]


class Timers:
    def __init__(self) -> None:
        self._at: dict[Key, Time] = {}
        self._heap: list[tuple[Time, int, Key]] = []
        self._count = 0
        """Equal times fire in the order in which they were set."""

    def __contains__(self, key: Key) -> bool:
        return key in self._at

    def set(self, key: Key, at: Time) -> None:
        """Replaces a deadline of the same key."""
        self._at[key] = at
        self._count += 1
        heappush(self._heap, (at, self._count, key))

    def cancel(self, key: Key) -> None:
        self._at.pop(key, None)

    def clear(self) -> None:
        self._at.clear()
        self._heap.clear()

    def pop_due(self, now: Time) -> Key | None:
        """One that is due, which is thereby no longer set."""
        at = self.next()
        if at is None or at > now:
            return None
        key = heappop(self._heap)[2]
        del self._at[key]
        return key

    def next(self) -> Time | None:
        heap = self._heap
        while heap:
            at, _, key = heap[0]
            if self._at.get(key) == at:
                return at
            heappop(heap)
        return None

    def shift(self, lag: Time) -> None:
        """All of them later: for so long this process did not run."""
        self._at = {key: at + lag for key, at in self._at.items()}
        self._heap = [(at + lag, count, key) for at, count, key in self._heap]
        heapify(self._heap)
