"""A bounded line of work that is read in one pass and done in another, so that reading never waits for doing.

A node's one ROUTER brings what peers say, which must be heard within milliseconds, and what clients ask, which may cost as many to look
at. The door reads everything at once, hands the peers' messages on where it reads them, and puts the clients' here. The lane does them in
turns of SLICE_S; between two turns the loop reads again. So a flood of requests delays a peer's message by a slice and what the loop has
besides, however long the lane is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVarTuple

SLICE_S = 0.005
COUNT_MAX = 10_000
BYTES_MAX = 64 << 20

Item = TypeVarTuple("Item")


class Lane(Generic[*Item]):
    """`offer`, and `work` is called with each item, in order, soon."""

    def __init__(self, work: Callable[[*Item], None], *, count_max: int = COUNT_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._work = work
        self._count_max, self._bytes_max = count_max, bytes_max
        self._items: deque[tuple[int, tuple[*Item]]] = deque()
        self._bytes = 0
        self._turn_is_due = False

    def offer(self, size_bytes: int, *item: *Item) -> bool:
        """False: the lane is full, and the item was not taken. One item alone always fits."""
        if self._items and (len(self._items) >= self._count_max or self._bytes + size_bytes > self._bytes_max):
            return False
        self._items.append((size_bytes, item))
        self._bytes += size_bytes
        self._schedule()
        return True

    def is_empty(self) -> bool:
        return not self._items

    def clear(self) -> None:
        self._items.clear()
        self._bytes = 0

    def _schedule(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_is_due = False
        end = time.monotonic() + SLICE_S
        try:
            while self._items:
                size_bytes, item = self._items.popleft()
                self._bytes -= size_bytes
                self._work(*item)
                if time.monotonic() >= end:
                    break
        finally:  # an item that raises is told of by the loop, and costs the others nothing
            if self._items:
                self._schedule()
