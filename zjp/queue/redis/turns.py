"""Whose turn it is to claim for this life: one call at a time, by number.

The server keeps the answer to a life's last claim only. So none leaves before the one before it was answered, or is known to be lost: then
the next one asks for that answer again, under the same number.
"""

from __future__ import annotations

import asyncio


class Turns:
    """`begin`, then `end` in any case."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._last = 0
        self._lost: int | None = None

    @property
    def has_lost(self) -> bool:
        return self._lost is not None

    @property
    def is_free(self) -> bool:
        """Nobody has the turn, and nothing has to be asked again."""
        return self._lost is None and not self._lock.locked()

    async def begin(self) -> tuple[int, bool]:
        """Waits for the turn. The number of the call, and whether it is asked again."""
        await self._lock.acquire()
        if self._lost is not None:
            return self._lost, True
        self._last += 1
        return self._last, False

    def end(self, *, lost: int | None = None) -> None:
        """`lost`: the number, when the answer is not known."""
        self._lost = lost
        self._lock.release()
