"""One answer for many askers: who asks within a moment gets what the first one got."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Glance(Generic[T]):
    """The latest answer to one question, shared by all who ask within `fresh_s`. A failure is told to those who waited for it, and not
    kept."""

    def __init__(self, ask: Callable[[], Awaitable[T]], fresh_s: float) -> None:
        self._ask, self._fresh_s = ask, fresh_s
        self._fresh_until = -1e9
        self._answer: asyncio.Future[T] | None = None

    async def __call__(self) -> T:
        now = asyncio.get_running_loop().time()
        answer = self._answer
        is_old = now >= self._fresh_until
        if answer is None or (answer.done() and (is_old or answer.cancelled() or answer.exception() is not None)):
            self._fresh_until = now + self._fresh_s
            answer = self._answer = asyncio.ensure_future(self._ask())
        return await asyncio.shield(answer)

    def hasten(self, fresh_s: float) -> None:
        """From now on the answer, or the one that is being made, is fresh for so long at most. For who makes it and sees that it lacks
        something."""
        self._fresh_until = min(self._fresh_until, asyncio.get_running_loop().time() + fresh_s)
