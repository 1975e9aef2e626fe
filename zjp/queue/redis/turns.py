"""Whose turn it is to claim for this life: one call at a time, by number.

The server keeps the answer to a life's last claim only. So none leaves before the one before it was answered, or is known to be lost: then
the next one asks for that answer again, under the same number. A claim waits for its turn; a submit that hands its jobs over takes it only
where nobody else has it or waits for it.
"""

from __future__ import annotations

import asyncio


class Turns:
    """`begin` or `take`, then `end` in any case."""

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[asyncio.Future[None]] = []
        self._last = 0
        self._lost: int | None = None

    @property
    def has_lost(self) -> bool:
        return self._lost is not None

    def take(self) -> int:
        """The number of the call; 0: somebody else has the turn, or waits for it, or there is something to be asked again."""
        return 0 if self._is_taken or self._waiting or self.has_lost else self._next()

    @property
    def is_taken(self) -> bool:
        return self._is_taken

    async def begin(self) -> tuple[int, bool]:
        """Waits for the turn. The number of the call, and whether it is asked again."""
        while self._is_taken:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            finally:
                self._waiting.remove(waiter)
        if self._lost is None:
            return self._next(), False
        self._is_taken = True
        return self._lost, True

    def _next(self) -> int:
        self._is_taken = True
        self._last += 1
        return self._last

    def end(self, *, lost: int | None = None) -> None:
        """`lost`: the number, when the answer is not known."""
        self._is_taken, self._lost = False, lost
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
